//! Concurrent requests on one session: no acknowledged change is lost, and no value is taken twice.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use http::StatusCode;
use sessile::Session;
use support::client::session_of;
use support::race::{Answer, NO_TOKEN, World};
use support::store::{Fault, Op};
use tokio::sync::Barrier;
use tokio::task::JoinHandle;

const REQUESTS: usize = 50;
const ROUNDS: usize = 20;

/// Spawns fifty requests that all load the session before any of them continues.
fn spawn_requests<F, Fut>(world: &World, token: &str, work: F) -> Vec<JoinHandle<Answer>>
where
    F: Fn(usize, Session) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<String, sessile::Error>> + Send,
{
    let barrier = Arc::new(Barrier::new(REQUESTS));
    (0..REQUESTS)
        .map(|place| {
            let (barrier, work) = (Arc::clone(&barrier), work.clone());
            world.spawn(token, move |session| async move {
                barrier.wait().await;
                work(place, session).await
            })
        })
        .collect()
}

async fn join(requests: Vec<JoinHandle<Answer>>) -> Vec<Answer> {
    let mut answers = Vec::new();
    for request in requests {
        answers.push(request.await.unwrap());
    }
    answers
}

// guarantee: 1
/// Fifty requests load the session before any commits, and each inserts one key; all fifty keys are stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_concurrent_inserts_of_different_keys_are_all_kept() {
    for _ in 0..ROUNDS {
        let world = World::new();
        let token = world.begin().await;
        let requests = spawn_requests(&world, &token, |place, session| async move {
            session.insert(&format!("key {place}"), &place)?;
            Ok(String::new())
        });
        for answer in join(requests).await {
            answer.assert_silent(StatusCode::OK);
        }
        let stored = world.quiet().find_by_id(&support::client::session_of(&token)).await.unwrap().unwrap();
        for place in 0..REQUESTS {
            assert_eq!(stored.get::<usize>(&format!("key {place}")).unwrap(), Some(place));
        }
        assert_eq!(stored.keys().len(), REQUESTS + 1);
    }
}

// guarantee: 1
// checklist: 37
/// Fifty concurrent requests increment a counter; they return the numbers 1 to 50, and 50 is stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_concurrent_update_now_calls_return_distinct_numbers() {
    for _ in 0..ROUNDS {
        let world = World::new();
        let token = world.begin().await;
        let requests = spawn_requests(&world, &token, |_, session| async move {
            let number = session
                .update_now("count", |count: &mut usize| {
                    *count += 1;
                    *count
                })
                .await?;
            Ok(number.to_string())
        });
        let numbers: BTreeSet<usize> = join(requests).await.iter().map(|answer| answer.body.parse().unwrap()).collect();
        assert_eq!(numbers, (1..=REQUESTS).collect());
        assert_eq!(world.read::<usize>(&token, "count").await, Some(REQUESTS));
    }
}

/// Fifty concurrent requests push to one list; all fifty items are stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_concurrent_updates_of_a_list_keep_every_item() {
    for _ in 0..ROUNDS {
        let world = World::new();
        let token = world.begin().await;
        let requests = spawn_requests(&world, &token, |place, session| async move {
            session.update("list", move |list: &mut Vec<usize>| list.push(place))?;
            Ok(String::new())
        });
        for answer in join(requests).await {
            answer.assert_silent(StatusCode::OK);
        }
        let mut list: Vec<usize> = world.read(&token, "list").await.unwrap();
        list.sort_unstable();
        assert_eq!(list, (0..REQUESTS).collect::<Vec<_>>());
    }
}

/// Fifty concurrent requests call `take_now` on one value; exactly one receives it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn value_is_taken_by_one_of_fifty_requests() {
    for _ in 0..ROUNDS {
        let world = World::new();
        let token = world.begin().await;
        world.insert(&token, "coupon", 493).await.assert_ok();
        let requests = spawn_requests(&world, &token, |_, session| async move {
            let taken: Option<u32> = session.take_now("coupon").await?;
            Ok(taken.map(|taken| taken.to_string()).unwrap_or_default())
        });
        let taken: Vec<String> = join(requests).await.into_iter().map(|answer| answer.body).collect();
        let winners: Vec<&String> = taken.iter().filter(|body| !body.is_empty()).collect();
        assert_eq!(winners, ["493"]);
        assert_eq!(world.read::<u32>(&token, "coupon").await, None);
    }
}

/// Fifty concurrent requests insert the same key and log their commits; the stored value is the last logged one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn last_committed_insert_of_a_key_stays() {
    for _ in 0..ROUNDS {
        let world = World::new();
        let token = world.begin().await;
        let order = Arc::new(AtomicU32::new(0));
        let requests = spawn_requests(&world, &token, move |place, session| {
            let order = Arc::clone(&order);
            async move {
                // The list is committed with the key, so its last item names the last commit.
                session.insert("last", &place)?;
                session.update("commits", |commits: &mut u32| *commits += 1)?;
                session.update("order", move |list: &mut Vec<usize>| list.push(place))?;
                session.commit().await?;
                order.fetch_add(1, Ordering::SeqCst);
                Ok(String::new())
            }
        });
        join(requests).await;
        let list: Vec<usize> = world.read(&token, "order").await.unwrap();
        assert_eq!(world.read::<usize>(&token, "last").await, list.last().copied());
        assert_eq!(world.read::<u32>(&token, "commits").await, Some(50));
    }
}

// guarantee: 1
/// Two requests load the same record and insert one key; both get 200, and the later commit's value stays.
#[tokio::test]
async fn later_of_two_inserts_of_one_key_stays() {
    let world = World::new();
    let token = world.begin().await;
    let (slow, quick) = world
        .overtake(
            &token,
            |session| async move { session.insert("theme", "slow") },
            |session| async move { session.insert("theme", "quick") },
        )
        .await;
    slow.assert_silent(StatusCode::OK);
    quick.assert_silent(StatusCode::OK);
    assert_eq!(world.read::<String>(&token, "theme").await.as_deref(), Some("slow"));
}

/// A removal commits before an insert that was loaded earlier; both take effect.
#[tokio::test]
async fn insert_merges_with_earlier_removal_of_another_key() {
    let world = World::new();
    let token = world.begin().await;
    world.insert(&token, "old", 1).await.assert_ok();
    let (slow, quick) = world
        .overtake(
            &token,
            |session| async move { session.insert("new", &1) },
            |session| async move {
                assert!(session.remove("old")?);
                Ok(())
            },
        )
        .await;
    slow.assert_ok();
    quick.assert_ok();
    assert_eq!(world.opens(&token).await.unwrap().keys, ["start", "new"]);
}

/// An insert commits before a removal that was loaded earlier; both take effect.
#[tokio::test]
async fn removal_merges_with_earlier_insert_of_another_key() {
    let world = World::new();
    let token = world.begin().await;
    world.insert(&token, "old", 1).await.assert_ok();
    let (slow, quick) = world
        .overtake(
            &token,
            |session| async move { session.remove("old").map(|_| ()) },
            |session| async move { session.insert("new", &1) },
        )
        .await;
    slow.assert_ok();
    quick.assert_ok();
    assert_eq!(world.opens(&token).await.unwrap().keys, ["start", "new"]);
}

/// An insert commits before a clear that was loaded earlier; no key remains, but the session does.
#[tokio::test]
async fn later_clear_removes_earlier_inserts() {
    let world = World::new();
    let token = world.begin().await;
    let (slow, _) = world
        .overtake(&token, |session| async move { session.clear() }, |session| async move { session.insert("new", &1) })
        .await;
    slow.assert_silent(StatusCode::OK);
    let opened = world.opens(&token).await.expect("the session stays live");
    assert!(opened.keys.is_empty());
}

/// A clear commits before an insert that was loaded earlier; only the inserted key remains.
#[tokio::test]
async fn insert_committed_after_a_clear_stays() {
    let world = World::new();
    let token = world.begin().await;
    world
        .overtake(&token, |session| async move { session.insert("new", &1) }, |session| async move { session.clear() })
        .await;
    assert_eq!(world.opens(&token).await.unwrap().keys, ["new"]);
}

/// A request clears the session and inserts a key; its commit is retried after a conflict, and only that key remains.
#[tokio::test]
async fn write_after_clear_survives_a_retry() {
    let world = World::new();
    let token = world.begin().await;
    world
        .overtake(
            &token,
            |session| async move {
                session.insert("before", &1)?;
                session.clear()?;
                session.insert("after", &1)
            },
            |session| async move { session.insert("meanwhile", &1) },
        )
        .await;
    assert_eq!(world.opens(&token).await.unwrap().keys, ["after"]);
}

/// Another request adds 100 first; the update's closure runs twice and both additions are stored.
#[tokio::test]
async fn update_runs_again_on_the_newer_record() {
    let world = World::new();
    let token = world.begin().await;
    world.insert(&token, "count", 10).await.assert_ok();
    let runs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    world
        .overtake(
            &token,
            move |session| async move {
                session.update("count", move |count: &mut u32| {
                    counted.fetch_add(1, Ordering::SeqCst);
                    *count += 1;
                })
            },
            |session| async move { session.update("count", |count: &mut u32| *count += 100) },
        )
        .await;
    assert_eq!(world.read::<u32>(&token, "count").await, Some(111));
    assert_eq!(runs.load(Ordering::SeqCst), 2);
}

/// A conflict makes `update_now` run again on 41; it returns 42.
#[tokio::test]
async fn update_now_returns_the_value_of_the_stored_run() {
    let world = World::new();
    let token = world.begin().await;
    let gate = world.faults.hold_before(Op::Set, 1);
    let slow = world.spawn(&token, |session| async move {
        let number = session.update_now("count", |count: &mut u32| {
            *count += 1;
            *count
        });
        Ok(number.await?.to_string())
    });
    gate.reached().await;
    world.insert(&token, "count", 41_u32).await.assert_ok();
    gate.release();
    assert_eq!(slow.await.unwrap().assert_ok().body, "42");
}

/// Another request changes the value's type; the retry fails with 500 and discards the other insert.
#[tokio::test]
async fn update_of_a_changed_type_discards_the_whole_commit() {
    let world = World::new();
    let token = world.begin().await;
    let (slow, _) = world
        .overtake(
            &token,
            |session| async move {
                session.insert("kept", &1)?;
                session.update("value", |value: &mut u32| *value += 1)
            },
            |session| async move { session.insert("value", "a text") },
        )
        .await;
    slow.assert_silent(StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(world.opens(&token).await.unwrap().keys, ["start", "value"]);
    assert_eq!(world.read::<String>(&token, "value").await.as_deref(), Some("a text"));
}

/// Two inserts fit the size limit separately but not together; the later commit gets 413.
#[tokio::test]
async fn size_limit_applies_to_the_merged_session() {
    let world = World::with(|layer| layer.with_size_limit(1_000));
    let token = world.begin().await;
    let (slow, quick) = world
        .overtake(
            &token,
            |session| async move { session.insert("slow", &"x".repeat(600)) },
            |session| async move { session.insert("quick", &"x".repeat(600)) },
        )
        .await;
    quick.assert_silent(StatusCode::OK);
    slow.assert_silent(StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(world.opens(&token).await.unwrap().keys, ["start", "quick"]);
}

/// The commit deadline is zero, so the first conflict fails the request with 503 and discards its change.
#[tokio::test]
async fn conflicting_commit_fails_with_503_at_its_deadline() {
    let world = World::with(|layer| layer.with_commit_deadline(Duration::ZERO));
    let token = world.begin().await;
    let (slow, _) = world
        .overtake(
            &token,
            |session| async move { session.insert("slow", &1) },
            |session| async move { session.insert("quick", &1) },
        )
        .await;
    slow.assert_silent(StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(world.opens(&token).await.unwrap().keys, ["start", "quick"]);
}

/// The commit deadline is zero and the store is slow; a commit without a conflict still succeeds.
#[tokio::test]
async fn first_commit_attempt_may_exceed_the_deadline() {
    // With a deadline of zero, every attempt exceeds it.
    let world = World::with(|layer| layer.with_commit_deadline(Duration::ZERO));
    let token = world.begin().await;
    world.faults.pend(5);
    let answer = world.send(&token, |session| async move {
        session.insert("by the response", &1)?;
        session.update_now("at once", |n: &mut u32| *n += 1).await
    });
    answer.await.assert_silent(StatusCode::OK);
    assert_eq!(world.opens(&token).await.unwrap().keys, ["start", "by the response", "at once"]);
}

/// The first write takes longer than the deadline and then fails or conflicts; the retry still succeeds.
#[tokio::test]
async fn commit_deadline_starts_at_the_first_failed_attempt() {
    // So long that no load keeps the retry from its turn.
    const DEADLINE: Duration = Duration::from_secs(3);
    let retry = async |fails: bool| {
        let world = World::with(|layer| layer.with_commit_deadline(DEADLINE));
        let token = world.begin().await;
        let gate = world.faults.hold_before(Op::Set, 1);
        if fails {
            world.faults.fail(Op::Set, 1, Fault::Before);
        }
        let slow = world.spawn(&token, |session| async move { session.insert("slow", &1) });
        gate.reached().await;
        if !fails {
            // Written directly, since the faulty store blocks the first write.
            world.quiet().merge(&session_of(&token), &BTreeMap::from([("quick", 1)])).await.unwrap();
        }
        tokio::time::sleep(DEADLINE).await;
        gate.release();
        slow.await.unwrap().assert_silent(StatusCode::OK);
        let expected = if fails { ["start", "slow"].as_slice() } else { &["start", "quick", "slow"] };
        assert_eq!(world.opens(&token).await.unwrap().keys, expected);
    };
    tokio::join!(retry(false), retry(true));
}

/// A task of the handler starts a commit that the store holds; the response is sent only after the release.
#[tokio::test]
async fn response_waits_for_commit_of_a_spawned_task() {
    let world = World::new();
    let gate = world.faults.hold_before(Op::Set, 1);
    let reached = gate.clone();
    let mut request = world.call(NO_TOKEN, move |session| async move {
        session.insert("key", &1)?;
        tokio::spawn(async move { session.commit().await });
        reached.reached().await;
        Ok(())
    });
    // The handler returns as soon as the commit has started, so only the commit can delay the response.
    for _ in 0..100 {
        if let Some(answer) = (&mut request).now_or_never() {
            panic!("{answer:?} was sent before the commit");
        }
        tokio::task::yield_now().await;
    }
    gate.release();
    let answer = request.await;
    answer.assert_ok();
    assert_eq!(world.read::<u32>(&answer.token(), "key").await, Some(1));
}
