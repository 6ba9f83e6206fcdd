//! `MemoryStore`: freeing of expired records, the capacity limit, and consistency among threads.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::collections::BTreeSet;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use futures_util::FutureExt;
use http::StatusCode;
use sessile::store::{Expected, Outcome, Record, RecordParts, Store, StoreErrorKind, Touch, Version};
use sessile::testing::ManualClock;
use sessile::{Lifetime, MemoryStore, SessionId, Sessions};
use support::race::{DAY, HOUR, MINUTE, NO_TOKEN, SECOND, World};
use support::store::random;

/// Returns the output of a future that is ready at its first poll.
fn now<T>(answer: impl Future<Output = T>) -> T {
    answer.now_or_never().expect("the memory store does not wait")
}

/// Creates a world whose sessions have all expired but one, and returns that one's token.
async fn after_a_rush(sessions: usize, owned: bool) -> (World, String) {
    let world = World::with(|layer| {
        layer.with_lifetime(Lifetime::new().with_idle_timeout(10 * MINUTE).with_absolute_timeout(DAY))
    });
    for _ in 0..sessions {
        if owned {
            world.begin_signed_in("ada").await;
        } else {
            world.begin().await;
        }
    }
    world.advance(8 * MINUTE);
    let token = world.begin().await;
    // Records stay for five minutes after the idle timeout.
    world.advance(7 * MINUTE);
    assert_eq!(world.memory.len(), sessions + 1);
    (world, token)
}

// guarantee: 10
/// Reads of one session free the expired sessions of every shard, with and without an owner.
#[tokio::test]
async fn reads_of_one_session_free_all_expired_sessions() {
    for owned in [false, true] {
        let (world, token) = after_a_rush(3_000, owned).await;
        for _ in 0..512 {
            assert!(world.is_live(&token).await);
        }
        assert_eq!(world.memory.len(), 1);
        assert!(world.quiet().owned_by("ada").await.unwrap().is_empty());
    }
}

/// Writes to one session free the expired sessions of every shard.
#[tokio::test]
async fn writes_to_one_session_free_all_expired_sessions() {
    let (world, token) = after_a_rush(3_000, false).await;
    for n in 0..256 {
        world.insert(&token, "n", n).await.assert_ok();
    }
    assert_eq!(world.memory.len(), 1);
}

// guarantee: 10
/// Requests with an unknown token free expired sessions too.
#[tokio::test]
async fn requests_with_unknown_tokens_free_expired_sessions() {
    let (world, _) = after_a_rush(3_000, false).await;
    world.advance(8 * MINUTE);
    let unknown = World::new().begin().await;
    for _ in 0..512 {
        assert!(!world.is_live(&unknown).await);
    }
    assert!(world.memory.is_empty());
}

/// As many creations as sessions have expired free nearly all of these.
#[tokio::test]
async fn creations_free_expired_sessions() {
    let (world, _) = after_a_rush(3_000, false).await;
    world.advance(8 * MINUTE);
    for _ in 0..3_000 {
        world.begin().await;
    }
    // Each creation visits its own shard and the next one in turn, so the expired sessions are gone by now.
    assert!(world.memory.len() <= 3_150, "{} records", world.memory.len());
}

/// A session in use keeps its place, however long ago it was created.
#[tokio::test]
async fn a_session_in_use_is_not_freed() {
    let world = World::with(|layer| {
        layer.with_lifetime(Lifetime::new().with_idle_timeout(10 * MINUTE).with_absolute_timeout(DAY))
    });
    let mut tokens = Vec::new();
    for _ in 0..50 {
        tokens.push(world.begin().await);
    }
    for _ in 0..30 {
        world.advance(9 * MINUTE);
        for token in &tokens {
            assert!(world.is_live(token).await);
        }
    }
    assert_eq!(world.memory.len(), 50);
}

/// `delete_expired` deletes every expired session in one call and returns their number.
#[tokio::test]
async fn delete_expired_deletes_all_expired_sessions() {
    let (world, token) = after_a_rush(3_000, false).await;
    assert_eq!(world.sessions().delete_expired().await.unwrap(), 3_000);
    assert_eq!(world.memory.len(), 1);
    assert!(world.is_live(&token).await);
    assert_eq!(world.sessions().delete_expired().await.unwrap(), 0);
}

/// Creates a world whose store holds at most `limit` records.
fn bounded(limit: usize) -> World {
    let clock = ManualClock::new();
    let memory = MemoryStore::new().with_clock(&clock).with_capacity_limit(limit);
    World::over(memory, clock, |layer| layer)
}

/// Creates an anonymous session with an idle timeout of so many hours, and returns its token.
async fn begin_for(world: &World, hours: u32) -> String {
    let lifetime = Lifetime::new().with_idle_timeout(hours * HOUR).with_absolute_timeout(30 * DAY);
    let answer = world.send(NO_TOKEN, move |session| async move {
        session.insert("n", &1)?;
        session.set_lifetime(lifetime)
    });
    answer.await.assert_ok().token()
}

/// A full store evicts anonymous sessions in the order of their expiry, and no signed-in session.
#[tokio::test]
async fn a_full_store_evicts_the_first_anonymous_session_to_expire() {
    let world = bounded(10);
    let signed_in = world.begin_signed_in("ada").await;
    let mut anonymous = Vec::new();
    for hours in [7, 3, 9, 2, 8, 5, 6, 10, 4] {
        anonymous.push((hours, begin_for(&world, hours).await));
    }
    anonymous.sort_unstable();
    while !anonymous.is_empty() {
        let newcomer = begin_for(&world, 100).await;
        assert_eq!(world.memory.len(), 10);
        let (hours, evicted) = anonymous.remove(0);
        assert!(!world.is_live(&evicted).await, "the session of {hours} hours is the first to expire");
        for (hours, kept) in &anonymous {
            assert!(world.is_live(kept).await, "the session of {hours} hours is not the first to expire");
        }
        assert!(world.is_live(&newcomer).await);
        assert!(world.is_live(&signed_in).await, "a signed-in session is never evicted");
    }
}

/// A full store frees expired sessions before it evicts a live one.
#[tokio::test]
async fn a_full_store_frees_expired_sessions_first() {
    let world = bounded(10);
    let signed_in = world.begin_signed_in("ada").await;
    let long = begin_for(&world, 100).await;
    for _ in 0..8 {
        world.begin().await;
    }
    world.advance(HOUR);
    assert!(world.is_live(&long).await);
    let newcomer = world.begin().await;
    assert!(world.is_live(&newcomer).await && world.is_live(&long).await);
    assert!(!world.is_live(&signed_in).await, "it was idle for an hour");
    assert!(world.memory.len() <= 10);
}

/// A store full of signed-in sessions answers creations with 503 and serves the existing sessions.
#[tokio::test]
async fn a_store_full_of_signed_in_sessions_refuses_creations() {
    let world = bounded(5);
    let mut tokens = Vec::new();
    for _ in 0..5 {
        tokens.push(world.begin_signed_in("ada").await);
    }
    for signs_in in [false, true] {
        let answer = world
            .send(NO_TOKEN, move |session| async move {
                if signs_in { session.sign_in("bob") } else { session.insert("n", &1) }
            })
            .await;
        answer.assert_silent(StatusCode::SERVICE_UNAVAILABLE);
    }
    for token in &mut tokens {
        world.insert(token, "n", 1).await.assert_silent(StatusCode::OK);
        *token = world.send(&*token, |session| async move { session.rotate() }).await.assert_ok().token();
        assert!(world.is_live(token).await);
    }
    assert_eq!(world.memory.len(), 5);
    world.send(&tokens[0], |session| async move { session.sign_out() }).await.assert_ok();
    assert!(world.is_live(&world.begin().await).await, "ending a session makes room");
}

/// A session that signs in while the store is full is not evicted afterwards.
#[tokio::test]
async fn a_session_signed_in_to_a_full_store_is_kept() {
    let world = bounded(3);
    let anonymous = world.begin().await;
    world.begin().await;
    world.begin().await;
    let signed_in = world.send(&anonymous, |session| async move { session.sign_in("ada") }).await.assert_ok().token();
    for _ in 0..10 {
        world.begin().await;
    }
    assert_eq!(world.opens(&signed_in).await.unwrap().keys, ["start"]);
    assert_eq!(world.memory.len(), 3);
}

/// A request whose session is evicted meanwhile is answered 200 without a cookie, as after any end of a session.
#[tokio::test]
async fn a_session_evicted_during_a_request_is_gone() {
    let world = bounded(1);
    let token = world.begin().await;
    let slow = world
        .hold(&token, |session, gate| async move {
            session.insert("slow", &1)?;
            gate.wait().await;
            Ok(())
        })
        .await;
    let newcomer = world.begin().await;
    slow.finish().await.assert_silent(StatusCode::OK);
    assert!(!world.is_live(&token).await);
    assert!(world.is_live(&newcomer).await);
}

/// Creates a record for tests of the store alone; its state is no session's.
fn record(
    id: SessionId,
    version: u64,
    owner: Option<&str>,
    clock: &ManualClock,
    lives: Duration,
    state: &[u8],
) -> Record {
    Record::from_parts(RecordParts {
        id,
        version: Version::new(version),
        realm: "id".into(),
        owner: owner.map(Into::into),
        last_seen: clock.now(),
        expires_at: clock.now() + lives,
        state: state.into(),
    })
}

/// Returns a pseudorandom id, as spread over the shards as a session's.
fn id(number: u64) -> SessionId {
    let mut seed = number;
    let bits = (u128::from(random(&mut seed)) << 64) | u128::from(random(&mut seed));
    format!("{bits:032x}").parse().unwrap()
}

/// Calls `work` in so many threads that start together.
fn in_threads(threads: u64, work: impl Fn(u64) + Send + Sync) {
    let barrier = Barrier::new(usize::try_from(threads).unwrap());
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (barrier, work) = (&barrier, &work);
            scope.spawn(move || {
                barrier.wait();
                work(thread);
            });
        }
    });
}

/// 4,000 increments by compare-and-swap from eight threads leave a count of 4,000.
#[test]
fn compare_and_swap_counts_exactly_in_many_threads() {
    let clock = ManualClock::new();
    let store = MemoryStore::new().with_clock(&clock);
    let first = record(id(1), 1, None, &clock, HOUR, &0_u64.to_be_bytes());
    assert_eq!(now(store.set(&first, Expected::Absent)).unwrap(), Outcome::Written);
    in_threads(8, |_| {
        for _ in 0..500 {
            loop {
                let before = now(store.get(&id(1))).unwrap().unwrap();
                let count = u64::from_be_bytes(before.state().try_into().unwrap());
                let version = before.version().get();
                let next = record(id(1), version + 1, None, &clock, HOUR, &(count + 1).to_be_bytes());
                if now(store.set(&next, Expected::Version(before.version()))).unwrap() == Outcome::Written {
                    break;
                }
            }
        }
    });
    let after = now(store.get(&id(1))).unwrap().unwrap();
    assert_eq!(after.state(), 4_000_u64.to_be_bytes());
    assert_eq!(after.version(), Version::new(4_001));
}

/// Of threads that create one record, exactly one succeeds; the same holds for threads that delete it.
#[test]
fn one_of_many_threads_creates_or_deletes_a_record() {
    let clock = ManualClock::new();
    let store = MemoryStore::new().with_clock(&clock);
    for round in 0..200 {
        let created = std::sync::atomic::AtomicU32::new(0);
        let deleted = std::sync::atomic::AtomicU32::new(0);
        in_threads(4, |thread| {
            let mine = record(id(round), 1, None, &clock, HOUR, &thread.to_be_bytes());
            let written = now(store.set(&mine, Expected::Absent)).unwrap() == Outcome::Written;
            created.fetch_add(u32::from(written), std::sync::atomic::Ordering::SeqCst);
        });
        assert_eq!(store.len(), 1);
        in_threads(4, |_| {
            let gone = now(store.delete(&id(round), None)).unwrap();
            deleted.fetch_add(u32::from(gone), std::sync::atomic::Ordering::SeqCst);
        });
        assert_eq!((created.into_inner(), deleted.into_inner()), (1, 1));
        assert!(store.is_empty());
    }
}

// guarantee: 2
/// Writes and touches in other threads do not revive a deleted record, nor its entry in the index of owners.
#[test]
fn writes_in_many_threads_do_not_revive_a_deleted_record() {
    let clock = ManualClock::new();
    let store = MemoryStore::new().with_clock(&clock);
    for round in 0..300 {
        let first = record(id(round), 1, Some("ada"), &clock, HOUR, b"");
        assert_eq!(now(store.set(&first, Expected::Absent)).unwrap(), Outcome::Written);
        in_threads(4, |thread| {
            if thread == 0 {
                assert!(now(store.delete(&id(round), None)).unwrap());
                return;
            }
            for _ in 0..5 {
                let Some(before) = now(store.get(&id(round))).unwrap() else { return };
                let next = record(id(round), before.version().get() + 1, Some("ada"), &clock, HOUR, b"");
                let _ = now(store.set(&next, Expected::Version(before.version()))).unwrap();
                let touch = Touch::new(clock.now(), clock.now() + 2 * HOUR);
                now(store.touch(&before, touch)).unwrap();
            }
        });
        assert!(now(store.get(&id(round))).unwrap().is_none());
        assert!(now(store.owned_by("ada")).unwrap().is_empty());
        assert!(store.is_empty());
    }
}

/// After random operations in eight threads, each owner's list holds exactly the owner's live records.
#[test]
fn the_owner_index_is_exact_after_work_in_many_threads() {
    const IDS: u64 = 200;
    let owners = [None, Some("ada"), Some("bob"), Some("eve")];
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let clock = ManualClock::new();
    let store = MemoryStore::new().with_clock(&clock);
    in_threads(8, |thread| {
        let mut state = seed.wrapping_add(thread);
        for _ in 0..4_000 {
            let chosen = id(random(&mut state) % IDS);
            let owner = owners[usize::try_from(random(&mut state) % 4).unwrap()];
            let lives = SECOND * u32::try_from(1 + random(&mut state) % 100).unwrap();
            match random(&mut state) % 20 {
                0..=9 => {
                    let before = now(store.get(&chosen)).unwrap();
                    let version = before.as_ref().map_or(0, |before| before.version().get());
                    let expected = before.map_or(Expected::Absent, |before| Expected::Version(before.version()));
                    let _ = now(store.set(&record(chosen, version + 1, owner, &clock, lives, b""), expected)).unwrap();
                }
                10..=13 => drop(now(store.delete(&chosen, None)).unwrap()),
                14..=16 => {
                    if let Some(before) = now(store.get(&chosen)).unwrap() {
                        let touch = Touch::new(clock.now(), clock.now() + lives);
                        now(store.touch(&before, touch)).unwrap();
                    }
                }
                17 | 18 => {
                    for found in now(store.owned_by("ada")).unwrap() {
                        assert_eq!(found.owner(), Some("ada"));
                    }
                }
                _ => clock.advance(SECOND),
            }
        }
    });
    let live: Vec<Record> = (0..IDS).filter_map(|number| now(store.get(&id(number))).unwrap()).collect();
    assert!(!live.is_empty());
    for owner in ["ada", "bob", "eve"] {
        let expected: BTreeSet<SessionId> =
            live.iter().filter(|record| record.owner() == Some(owner)).map(|record| *record.id()).collect();
        let found: Vec<SessionId> = now(store.owned_by(owner)).unwrap().iter().map(|record| *record.id()).collect();
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
    }
    now(store.delete_expired()).unwrap();
    assert_eq!(store.len(), live.len());
}

/// Creations in eight threads evict anonymous sessions and keep to the limit.
#[test]
fn the_limit_holds_in_many_threads() {
    let clock = ManualClock::new();
    let store = MemoryStore::new().with_clock(&clock).with_capacity_limit(100);
    in_threads(8, |thread| {
        for number in 0..500 {
            let newcomer = record(id(thread * 1_000 + number), 1, None, &clock, HOUR, b"");
            assert_eq!(now(store.set(&newcomer, Expected::Absent)).unwrap(), Outcome::Written);
            // A creation under way counts as a record before it has made room, and there are eight threads.
            assert!(store.len() <= 108, "{} records", store.len());
        }
    });
    assert_eq!(store.len(), 100);
    let live = (0..8_u64).flat_map(|thread| (0..500).map(move |number| thread * 1_000 + number));
    assert_eq!(live.filter(|number| now(store.get(&id(*number))).unwrap().is_some()).count(), 100);
}

/// Creations of signed-in sessions in eight threads keep to the limit, and the others fail as unavailable.
#[test]
fn the_limit_holds_for_signed_in_sessions_in_many_threads() {
    let clock = ManualClock::new();
    let store = MemoryStore::new().with_clock(&clock).with_capacity_limit(100);
    let written = std::sync::atomic::AtomicUsize::new(0);
    in_threads(8, |thread| {
        for number in 0..100 {
            let newcomer = record(id(thread * 1_000 + number), 1, Some("ada"), &clock, HOUR, b"");
            match now(store.set(&newcomer, Expected::Absent)) {
                Ok(Outcome::Written) => drop(written.fetch_add(1, std::sync::atomic::Ordering::SeqCst)),
                Ok(Outcome::Refused) => panic!("no record has this id"),
                Err(error) => assert_eq!(error.kind(), StoreErrorKind::Unavailable),
            }
        }
    });
    assert_eq!(written.into_inner(), store.len());
    assert_eq!(now(store.owned_by("ada")).unwrap().len(), store.len());
    assert_eq!(store.len(), 100);
}

/// A session created through one clone is found through another.
#[tokio::test]
async fn clones_share_their_sessions() {
    let store = MemoryStore::new();
    let (id, _) = Sessions::new(store.clone()).create(&std::collections::BTreeMap::from([("n", 1)])).await.unwrap();
    assert!(Sessions::new(Arc::new(store)).find_by_id(&id).await.unwrap().is_some());
}

/// Random operations on records of all sizes agree with a list of records, while the store grows and shrinks.
#[test]
fn the_store_holds_what_was_last_set() {
    let clock = ManualClock::new();
    let store = MemoryStore::new().with_clock(&clock);
    let mut model: Vec<Record> = Vec::new();
    let mut seed = 1;
    let mut pick = |of: usize| usize::try_from(random(&mut seed) % of as u64).unwrap();
    for step in 0..60_000_u64 {
        let grows = step / 20_000 != 1;
        let state = vec![u8::try_from(step % 251).unwrap(); [pick(40), pick(400), pick(1_100), 5_000][pick(4)]];
        let owner = [None, None, Some("ada"), Some("bob")][pick(4)];
        let lives = HOUR + SECOND * u32::try_from(pick(3_600)).unwrap();
        if model.is_empty() || pick(10) < if grows { 5 } else { 1 } {
            let new = record(id(step), 1, owner, &clock, lives, &state);
            assert_eq!(now(store.set(&new, Expected::Absent)).unwrap(), Outcome::Written);
            model.push(new);
            continue;
        }
        let number = pick(model.len());
        let known = &mut model[number];
        assert_eq!(now(store.get(known.id())).unwrap().as_ref(), Some(&*known));
        match pick(10) {
            0..5 => {
                let next = record(*known.id(), known.version().get() + 1, owner, &clock, lives, &state);
                assert_eq!(now(store.set(&next, Expected::Version(known.version()))).unwrap(), Outcome::Written);
                *known = next;
            }
            5..7 => {
                let touch = Touch::new(clock.now(), clock.now() + lives);
                assert!(now(store.touch(known, touch)).unwrap());
                known.touch(touch);
            }
            _ => {
                assert!(now(store.delete(known.id(), None)).unwrap());
                assert!(!now(store.delete(known.id(), None)).unwrap());
                model.swap_remove(number);
            }
        }
        assert_eq!(store.len(), model.len());
    }
    for owner in ["ada", "bob"] {
        let known: BTreeSet<SessionId> =
            model.iter().filter(|known| known.owner() == Some(owner)).map(|known| *known.id()).collect();
        let found: BTreeSet<SessionId> = now(store.owned_by(owner)).unwrap().iter().map(|found| *found.id()).collect();
        assert_eq!(found, known);
    }
    // Expired records are deleted and the others stay.
    model.sort_by_key(Record::expires_at);
    assert!(model.len() > 5_000, "{} records", model.len());
    while let Some(last) = model.last().map(Record::expires_at) {
        clock.advance(10 * MINUTE);
        let before = model.len();
        model.retain(|known| clock.now() < known.expires_at());
        assert_eq!(now(store.delete_expired()).unwrap(), (before - model.len()) as u64);
        assert_eq!(store.len(), model.len());
        for known in &model {
            assert_eq!(now(store.get(known.id())).unwrap().as_ref(), Some(known));
        }
        assert!(model.is_empty() || clock.now() < last);
    }
}

/// Ids chosen to share a shard are freed as they expire: each operation frees more of its own shard than it adds.
#[test]
fn records_with_chosen_ids_in_one_shard_are_freed() {
    let clock = ManualClock::new();
    let store = MemoryStore::new().with_clock(&clock);
    for number in 0..60_000 {
        let chosen = format!("{number:030x}42").parse().unwrap();
        let new = record(chosen, 1, None, &clock, 60 * SECOND, b"");
        assert_eq!(now(store.set(&new, Expected::Absent)).unwrap(), Outcome::Written);
        clock.advance(Duration::from_millis(10));
        assert!(store.len() <= 6_000, "6,000 are live, and {} are held", store.len());
    }
}

/// A creation that is refused because the record exists evicts no record of a full store.
#[test]
fn a_refused_creation_evicts_nothing() {
    let clock = ManualClock::new();
    let store = MemoryStore::new().with_clock(&clock).with_capacity_limit(2);
    let known = [1, 2].map(|number| record(id(number), 1, None, &clock, HOUR, b"known"));
    for known in &known {
        assert_eq!(now(store.set(known, Expected::Absent)).unwrap(), Outcome::Written);
    }
    for number in [1, 2] {
        let again = record(id(number), 1, None, &clock, 2 * HOUR, b"again");
        assert_eq!(now(store.set(&again, Expected::Absent)).unwrap(), Outcome::Refused);
    }
    for known in &known {
        assert_eq!(now(store.get(known.id())).unwrap().as_ref(), Some(known));
    }
}

/// `delete_expired` yields to other tasks after each bounded step.
#[test]
fn delete_expired_yields_between_steps() {
    let clock = ManualClock::new();
    let store = MemoryStore::new().with_clock(&clock);
    for number in 0..200_000 {
        let new = record(id(number), 1, None, &clock, HOUR, b"");
        assert_eq!(now(store.set(&new, Expected::Absent)).unwrap(), Outcome::Written);
    }
    clock.advance(HOUR);
    let (mut deleting, mut waits) = (Box::pin(store.delete_expired()), 0);
    let deleted = loop {
        match deleting.as_mut().now_or_never() {
            Some(deleted) => break deleted.unwrap(),
            None => waits += 1,
        }
    };
    assert_eq!((deleted, store.len()), (200_000, 0));
    assert!(waits > 500, "it yielded {waits} times");
}

/// Returns the pages of a listing, each of at most `limit` records.
fn pages(store: &MemoryStore, limit: usize) -> Vec<Vec<Record>> {
    let mut pages = Vec::new();
    let mut after = None;
    loop {
        let page = now(store.list(after.as_ref(), limit)).unwrap();
        pages.push(page.records);
        after = page.next;
        if after.is_none() {
            return pages;
        }
    }
}

/// A page has at most 1,000 records, however large the limit, and the pages have every record once.
#[test]
fn a_page_has_at_most_1000_records() {
    let clock = ManualClock::new();
    let store = MemoryStore::new().with_clock(&clock);
    for number in 0..4_500 {
        let new = record(id(number), 1, None, &clock, HOUR, b"");
        assert_eq!(now(store.set(&new, Expected::Absent)).unwrap(), Outcome::Written);
    }
    for (limit, length) in [(usize::MAX, 1_000), (1_000, 1_000), (999, 999), (100, 100)] {
        let pages = pages(&store, limit);
        assert!(pages[..pages.len() - 1].iter().all(|page| page.len() == length), "limit {limit}");
        let ids: BTreeSet<_> = pages.iter().flatten().map(|record| *record.id()).collect();
        assert_eq!((ids.len(), pages.concat().len()), (4_500, 4_500), "limit {limit}");
    }
}

/// A listing and a count free the sessions of a mass expiry, in steps, and return the one that is left.
#[tokio::test]
async fn a_listing_frees_expired_sessions() {
    for counts in [false, true] {
        let (world, token) = after_a_rush(3_000, false).await;
        if counts {
            assert_eq!(world.memory.count().await.unwrap(), 1);
        } else {
            let page = world.memory.list(None, 10).await.unwrap();
            assert_eq!((page.records.len(), page.next), (1, None));
        }
        assert_eq!(world.memory.len(), 1);
        assert!(world.is_live(&token).await);
    }
}

/// Sessions that stay are in each of many listings, while threads create, touch and delete others in all shards.
#[test]
fn a_listing_misses_no_session_while_threads_write() {
    let clock = ManualClock::new();
    let store = MemoryStore::new().with_clock(&clock);
    let put = |number: u64| now(store.set(&record(id(number), 1, None, &clock, HOUR, b""), Expected::Absent)).unwrap();
    let stay: BTreeSet<_> = (0..500).map(id).collect();
    for number in 0..500 {
        assert_eq!(put(number), Outcome::Written);
    }
    let is_done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 1..=2_u64 {
            let (put, store, is_done) = (&put, &store, &is_done);
            scope.spawn(move || {
                for number in (thread * 1_000_000..).take_while(|_| !is_done.load(std::sync::atomic::Ordering::Relaxed))
                {
                    assert_eq!(put(number), Outcome::Written);
                    assert!(now(store.delete(&id(number.saturating_sub(20)), None)).is_ok());
                }
            });
        }
        for _ in 0..20 {
            let ids: BTreeSet<_> = pages(&store, 7).iter().flatten().map(|record| *record.id()).collect();
            let missing = stay.difference(&ids).count();
            is_done.store(missing > 0, std::sync::atomic::Ordering::Relaxed);
            assert_eq!(missing, 0);
        }
        is_done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
