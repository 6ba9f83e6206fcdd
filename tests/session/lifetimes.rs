//! Lifetimes with a manual clock: the server enforces them, independent of the cookie.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::time::Duration;

use http::StatusCode;
use sessile::event::EventKind;
use sessile::store::Store;
use sessile::testing::ManualClock;
use sessile::{ErrorKind, Lifetime, MemoryStore, Session, SessionLayer};
use support::client::{EventLog, Visitor, session_of};
use support::race::{DAY, HOUR, MINUTE, SECOND, World};

const MILLISECOND: Duration = Duration::from_millis(1);
/// The default time after the idle timeout during which a request under way can still commit.
const MARGIN: Duration = Duration::from_secs(5 * 60);

fn world(lifetime: Lifetime) -> World {
    World::with(|layer| layer.with_lifetime(lifetime))
}

/// Reads a session every `step`; returns the time at which it is expired.
async fn lives_for(world: &World, token: &str, step: Duration, max: Duration) -> Duration {
    let mut lived = Duration::ZERO;
    while lived < max {
        world.advance(step);
        lived += step;
        if !world.is_live(token).await {
            return lived;
        }
    }
    panic!("the session is still live after {max:?}");
}

// guarantee: 7
// checklist: 23
/// A session with an idle timeout of 10 minutes is live a millisecond before it, and expired at it.
#[tokio::test]
async fn idle_timeout_is_exact_to_the_millisecond() {
    let world = world(Lifetime::new().with_idle_timeout(10 * MINUTE));
    let token = world.begin().await;
    world.advance(10 * MINUTE - MILLISECOND);
    assert!(world.is_live(&token).await);
    let token = world.begin().await;
    world.advance(10 * MINUTE);
    assert!(!world.is_live(&token).await);
}

// guarantee: 7
/// Alternating reads and writes, 9 minutes apart, keep a session with an idle timeout of 10 minutes live for 3 hours.
#[tokio::test]
async fn reads_and_writes_extend_the_idle_timeout() {
    let world = world(Lifetime::new().with_idle_timeout(10 * MINUTE).with_absolute_timeout(DAY));
    let token = world.begin().await;
    for round in 0..20 {
        world.advance(9 * MINUTE);
        if round % 2 == 0 {
            assert!(world.is_live(&token).await);
        } else {
            world.insert(&token, "n", round).await.assert_silent(StatusCode::OK);
        }
    }
    assert!(world.is_live(&token).await);
}

/// A read within the first tenth of the idle timeout does not extend it; a read at a tenth does.
#[tokio::test]
async fn use_is_recorded_after_a_tenth_of_the_idle_timeout() {
    let world = world(Lifetime::new().with_idle_timeout(10 * MINUTE));
    let token = world.begin().await;
    // Too early to be recorded: the idle timeout counts from the creation.
    world.advance(MINUTE - MILLISECOND);
    assert!(world.is_live(&token).await);
    world.advance(9 * MINUTE + MILLISECOND);
    assert!(!world.is_live(&token).await);

    let token = world.begin().await;
    world.advance(MINUTE);
    assert!(world.is_live(&token).await);
    world.advance(10 * MINUTE - MILLISECOND);
    assert!(world.is_live(&token).await);
}

/// A request loads too early to be recorded and ends 9 minutes later; the idle timeout counts from its end.
#[tokio::test]
async fn slow_handler_extends_the_idle_timeout_at_its_end() {
    let world = world(Lifetime::new().with_idle_timeout(10 * MINUTE));
    let token = world.begin().await;
    let slow = world
        .hold(&token, |_, gate| async move {
            gate.wait().await;
            Ok(())
        })
        .await;
    world.advance(9 * MINUTE);
    slow.finish().await.assert_silent(StatusCode::OK);
    world.advance(10 * MINUTE - MILLISECOND);
    assert!(world.is_live(&token).await);
}

/// Two requests with the cookie never load the session, which expires at its idle timeout.
#[tokio::test]
async fn handler_without_a_load_does_not_extend_the_session() {
    let world = world(Lifetime::new().with_idle_timeout(10 * MINUTE));
    let token = world.begin().await;
    for _ in 0..2 {
        world.advance(5 * MINUTE);
        world.send_unloaded(&token, |_| async { Ok(()) }).await.assert_silent(StatusCode::OK);
    }
    assert!(!world.is_live(&token).await);
}

// guarantee: 7
// checklist: 24
/// A session with constant reads, or with writes and rotations, expires exactly at its absolute timeout.
#[tokio::test]
async fn absolute_timeout_ends_a_busy_session() {
    let world = world(Lifetime::new().with_idle_timeout(10 * MINUTE).with_absolute_timeout(3 * HOUR));
    let token = world.begin().await;
    assert_eq!(lives_for(&world, &token, 30 * SECOND, DAY).await, 3 * HOUR);
    // Writes and rotations do not extend it either.
    let mut token = world.begin().await;
    for _ in 0..35 {
        world.advance(5 * MINUTE);
        let answer = world
            .send(&token, |session| async move {
                session.update("n", |n: &mut u32| *n += 1)?;
                session.rotate()
            })
            .await;
        token = answer.token();
    }
    world.advance(5 * MINUTE - MILLISECOND);
    assert!(world.is_live(&token).await);
    world.advance(MILLISECOND);
    assert!(!world.is_live(&token).await);
}

/// An unused session without an idle timeout is live until its absolute timeout of a day.
#[tokio::test]
async fn session_without_idle_timeout_ends_at_absolute_timeout() {
    let world = world(Lifetime::new().without_idle_timeout().with_absolute_timeout(DAY));
    let token = world.begin().await;
    world.advance(DAY - MILLISECOND);
    assert!(world.is_live(&token).await);
    world.advance(MILLISECOND);
    assert!(!world.is_live(&token).await);
}

/// `aal1`, `aal2` (the default) and `aal3` have the idle and absolute timeouts of NIST SP 800-63B.
#[tokio::test]
async fn presets_have_the_timeouts_of_the_nist_levels() {
    let idle = |lifetime: Lifetime, idle: Duration| async move {
        let world = world(lifetime);
        let token = world.begin().await;
        world.advance(idle - MILLISECOND);
        assert!(world.is_live(&token).await);
        let token = world.begin().await;
        world.advance(idle);
        assert!(!world.is_live(&token).await);
    };
    let absolute = |lifetime: Lifetime, step: Duration, absolute: Duration| async move {
        let world = world(lifetime);
        let token = world.begin().await;
        assert_eq!(lives_for(&world, &token, step, 2 * absolute).await, absolute);
    };
    idle(Lifetime::aal1(), 30 * DAY).await;
    absolute(Lifetime::aal1(), DAY, 30 * DAY).await;
    for default in [Lifetime::aal2(), Lifetime::new(), Lifetime::default()] {
        idle(default, HOUR).await;
        absolute(default, 30 * MINUTE, DAY).await;
    }
    idle(Lifetime::aal3(), 15 * MINUTE).await;
    absolute(Lifetime::aal3(), 10 * MINUTE, 12 * HOUR).await;
}

// guarantee: 7
// checklist: 16
/// The browser still keeps a cookie whose session has expired; a write creates another session.
#[tokio::test]
async fn cookie_of_an_expired_session_opens_nothing() {
    let world = world(Lifetime::new().with_idle_timeout(HOUR).with_absolute_timeout(2 * HOUR).with_max_age(2 * HOUR));
    let answer = world.send(support::race::NO_TOKEN, |session| async move { session.insert("n", &1) }).await;
    assert_eq!(answer.set[0].max_age(), Some(2 * 60 * 60));
    let token = answer.token();
    world.advance(HOUR);
    let late = world
        .send(&token, |session| async move {
            assert!(session.is_new());
            session.insert("n", &2)
        })
        .await;
    assert_ne!(session_of(&late.token()), session_of(&token));
}

async fn remember_me(session: Session) -> Result<(), sessile::Error> {
    session.set_lifetime(
        Lifetime::new().with_idle_timeout(14 * DAY).with_absolute_timeout(90 * DAY).with_max_age(90 * DAY),
    )
}

/// A session with its own lifetime of 90 days keeps it over later writes, and its cookie is sent with a new `Max-Age`.
#[tokio::test]
async fn set_lifetime_persists_across_writes() {
    let world = World::new();
    let token = world.begin().await;
    let answer = world.send(&token, remember_me).await;
    assert_eq!(answer.set[0].max_age(), Some(90 * 24 * 60 * 60), "the cookie is sent again with the new Max-Age");
    assert_eq!(answer.token(), token);
    for day in 0..6 {
        world.advance(13 * DAY);
        world.insert(&token, "day", day).await.assert_ok();
    }
    world.advance(12 * DAY - MILLISECOND);
    assert!(world.is_live(&token).await);
    world.advance(MILLISECOND);
    assert!(!world.is_live(&token).await, "the absolute timeout is 90 days");

    let token = world.begin().await;
    world.send(&token, remember_me).await.assert_ok();
    world.advance(14 * DAY);
    assert!(!world.is_live(&token).await, "the idle timeout is 14 days");
}

const ADA: &str = "user:ada";

/// A sign-in of the same owner without a lifetime goes by the layer's: no `Max-Age`, and an hour of idle time.
#[tokio::test]
async fn sign_in_ends_the_lifetime_of_an_earlier_one() {
    let world = World::new();
    for earlier in [Some(ADA), None] {
        let remembered = world
            .send(support::race::NO_TOKEN, move |session| async move {
                earlier.map_or(Ok(()), |owner| session.sign_in(owner))?;
                remember_me(session).await
            })
            .await;
        assert_eq!(remembered.set[0].max_age(), Some(90 * 24 * 60 * 60));
        let again = world.send(&remembered.token(), |session| async move { session.sign_in(ADA) }).await;
        assert_eq!(again.set[0].max_age(), None);
        world.advance(HOUR - MILLISECOND);
        world.insert(&again.token(), "n", 1).await.assert_silent(StatusCode::OK);
        world.advance(HOUR);
        assert!(!world.is_live(&again.token()).await);
    }
}

/// A lifetime set before or after the sign-in, committed or not, is that of the session, also over another owner's.
#[tokio::test]
async fn sign_in_keeps_the_lifetime_of_its_request() {
    let world = World::new();
    for first in [None, Some(ADA), Some("user:bob")] {
        for steps in ["set, in", "set, commit, in", "in, set", "in, commit, set", "set, commit, in, commit"] {
            let start = world.send(support::race::NO_TOKEN, move |session| async move {
                session.insert("n", &1)?;
                first.map_or(Ok(()), |owner| session.sign_in(owner))
            });
            let answer = world
                .send(&start.await.token(), move |session| async move {
                    for step in steps.split(", ") {
                        match step {
                            "set" => remember_me(session.clone()).await?,
                            "in" => session.sign_in(ADA)?,
                            _ => session.commit().await?,
                        }
                    }
                    Ok(())
                })
                .await;
            assert_eq!(answer.set[0].max_age(), Some(90 * 24 * 60 * 60), "{steps} over {first:?}");
            world.advance(13 * DAY);
            assert!(world.is_live(&answer.token()).await, "{steps} over {first:?}");
        }
    }
}

/// A repeated authentication keeps the session's own lifetime and its `Max-Age`.
#[tokio::test]
async fn reauthentication_keeps_the_lifetime() {
    let world = World::new();
    let remembered = world
        .send(support::race::NO_TOKEN, |session| async move {
            session.sign_in(ADA)?;
            remember_me(session).await
        })
        .await;
    let again = world.send(&remembered.token(), |session| async move { session.reauthenticate() }).await;
    assert_eq!(again.set[0].max_age(), Some(90 * 24 * 60 * 60));
    world.advance(13 * DAY);
    assert!(world.is_live(&again.token()).await);
}

/// A sign-in that runs again on a record with a lifetime set meanwhile goes by its own, or by the layer's.
#[tokio::test]
async fn retried_sign_in_decides_the_lifetime() {
    for remembers in [false, true] {
        let world = World::new();
        let token = world.begin_signed_in(ADA).await;
        let sign_in = move |session: Session| async move {
            session.sign_in(ADA)?;
            if remembers { remember_me(session).await } else { Ok(()) }
        };
        let (slow, quick) = world.overtake(&token, sign_in, remember_me).await;
        assert_eq!(quick.set[0].max_age(), Some(90 * 24 * 60 * 60));
        assert_eq!(slow.set[0].max_age(), remembers.then_some(90 * 24 * 60 * 60));
        world.advance(HOUR);
        assert_eq!(world.is_live(&slow.token()).await, remembers);
    }
}

/// A lifetime without `Max-Age` makes a persistent cookie one that the browser drops when it is closed.
#[tokio::test]
async fn lifetime_without_max_age_takes_the_cookie_back() {
    let persistent = Lifetime::new().with_max_age(DAY);
    for world in [World::new(), world(persistent)] {
        let token = world.begin().await;
        world.send(&token, remember_me).await.assert_ok();
        for _ in 0..2 {
            let back = world.send(&token, |session| async move { session.set_lifetime(Lifetime::new()) }).await;
            assert_eq!((back.assert_ok().token(), back.set[0].max_age()), (token.clone(), None));
        }
        world.advance(30 * MINUTE);
        let read = world.send(&token, |session| async move { session.get::<bool>("start").map(|_| ()) });
        read.await.assert_silent(StatusCode::OK);
    }
    let world = world(persistent);
    let token = world.begin().await;
    let back = world.send(&token, |session| async move { session.set_lifetime(Lifetime::new()) }).await;
    assert_eq!((back.token(), back.set[0].max_age()), (token, None));
}

/// The `Max-Age` of a cookie that several commits of one request set is that of the last lifetime.
#[tokio::test]
async fn last_lifetime_of_a_request_sets_max_age() {
    let world = World::new();
    for (has_session, is_remembered_last) in [(false, true), (true, true), (true, false), (false, false)] {
        let token = if has_session { Some(world.begin().await) } else { None };
        let answer = world.send(token, move |session| async move {
            session.insert("n", &1)?;
            if !is_remembered_last {
                remember_me(session.clone()).await?;
            }
            session.commit().await?;
            if is_remembered_last {
                return remember_me(session).await;
            }
            session.set_lifetime(Lifetime::new())
        });
        let expected = is_remembered_last.then_some(90 * 24 * 60 * 60);
        assert_eq!(answer.await.set[0].max_age(), expected, "{has_session} {is_remembered_last}");
    }
}

/// A lifetime set in the request of a sign-in stays after it and after a rotation, with its `Max-Age`.
#[tokio::test]
async fn set_lifetime_persists_across_sign_in_and_rotation() {
    let world = World::new();
    let token = world.begin().await;
    let answer = world
        .send(&token, |session| async move {
            remember_me(session.clone()).await?;
            session.sign_in("ada")
        })
        .await;
    assert_eq!(answer.set[0].max_age(), Some(90 * 24 * 60 * 60));
    let answer = world.send(&answer.token(), |session| async move { session.rotate() }).await;
    assert_eq!(answer.set[0].max_age(), Some(90 * 24 * 60 * 60));
    world.advance(13 * DAY);
    assert!(world.is_live(&answer.token()).await);
}

/// Reads, 13 days apart, keep a session with its own lifetime live until its absolute timeout.
#[tokio::test]
async fn use_extends_a_session_by_its_own_idle_timeout() {
    let world = World::new();
    let token = world.begin().await;
    world.send(&token, remember_me).await.assert_ok();
    assert_eq!(lives_for(&world, &token, 13 * DAY, 365 * DAY).await, 91 * DAY);
}

/// A session gets an idle timeout of a minute and expires a minute later.
#[tokio::test]
async fn shorter_lifetime_takes_effect_at_once() {
    let world = World::new();
    let token = world.begin().await;
    let shorter = Lifetime::new().with_idle_timeout(MINUTE).with_absolute_timeout(HOUR);
    world.send(&token, move |session| async move { session.set_lifetime(shorter) }).await.assert_ok();
    world.advance(MINUTE);
    assert!(!world.is_live(&token).await);
}

/// After a redeployment with a shorter idle timeout, `owned_by` does not list the expired session.
#[tokio::test]
async fn owned_by_applies_the_layers_shorter_idle_timeout() {
    let world = World::new();
    world.begin_signed_in("ada").await;
    world.advance(30 * MINUTE);
    assert_eq!(world.sessions().owned_by("ada").await.unwrap().len(), 1);
    let shorter = Lifetime::new().with_idle_timeout(10 * MINUTE);
    let redeployed = world.redeployed(|layer| layer.with_lifetime(shorter));
    assert!(redeployed.sessions().owned_by("ada").await.unwrap().is_empty());
}

/// `set_lifetime` with seven invalid lifetimes fails with `InvalidLifetime`; the session keeps its timeouts.
#[tokio::test]
async fn invalid_lifetime_is_refused_and_changes_nothing() {
    let world = World::new();
    let token = world.begin().await;
    let broken = [
        Lifetime::new().with_idle_timeout(Duration::ZERO),
        Lifetime::new().with_absolute_timeout(Duration::ZERO),
        Lifetime::new().with_refresh_interval(29 * SECOND),
        Lifetime::new().with_max_age(401 * DAY),
        Lifetime::new().with_max_age(Duration::ZERO),
        Lifetime::new().with_idle_timeout(DAY + MILLISECOND),
        Lifetime::new().with_max_age(DAY + MILLISECOND),
    ];
    for lifetime in broken {
        let answer = world
            .send(&token, move |session| async move {
                let error = session.set_lifetime(lifetime).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidLifetime);
                Err::<(), _>(error)
            })
            .await;
        answer.assert_silent(StatusCode::INTERNAL_SERVER_ERROR);
    }
    assert_eq!(lives_for(&world, &token, 30 * MINUTE, 2 * DAY).await, DAY);
}

/// After a redeployment old sessions get the shorter timeouts; a session with its own lifetime keeps it.
#[tokio::test]
async fn shorter_lifetime_of_the_layer_applies_to_old_sessions() {
    let before = world(Lifetime::new().with_idle_timeout(HOUR).with_absolute_timeout(DAY));
    let (token, remembered) = (before.begin().await, before.begin().await);
    before.send(&remembered, remember_me).await.assert_ok();
    before.advance(10 * MINUTE);
    let after = before.redeployed(|layer| layer.with_lifetime(Lifetime::new().with_idle_timeout(10 * MINUTE)));
    assert!(before.is_live(&token).await);
    // The store has recorded that use; from here on the idle timeout is ten minutes.
    assert!(after.is_live(&token).await);
    after.advance(10 * MINUTE);
    assert!(!after.is_live(&token).await);
    assert!(after.is_live(&remembered).await, "the session has its own lifetime");
    let short = Lifetime::new().without_idle_timeout().with_absolute_timeout(10 * MINUTE);
    let after = before.redeployed(|layer| layer.with_lifetime(short));
    assert!(!after.is_live(&token).await);
}

/// A session that expired before a redeployment with a longer lifetime stays expired.
#[tokio::test]
async fn longer_lifetime_of_the_layer_restores_no_session() {
    let before = world(Lifetime::new().with_idle_timeout(10 * MINUTE));
    let token = before.begin().await;
    before.advance(10 * MINUTE);
    let after = before.redeployed(|layer| layer.with_lifetime(Lifetime::aal1()));
    assert!(!after.is_live(&token).await);
}

/// Requests within a tenth of the idle timeout set no cookie; later reads and writes send it again with its `Max-Age`.
#[tokio::test]
async fn persistent_cookie_is_renewed_only_with_a_recorded_use() {
    let world =
        world(Lifetime::new().with_idle_timeout(10 * DAY).with_absolute_timeout(300 * DAY).with_max_age(20 * DAY));
    let token = world.begin().await;
    for _ in 0..5 {
        world.advance(DAY - MILLISECOND);
        let read = world.send(&token, |session| async move { session.get::<bool>("start").map(|_| ()) });
        read.await.assert_silent(StatusCode::OK);
        world.insert(&token, "n", 1).await.assert_silent(StatusCode::OK);
        world.advance(DAY);
        let read = world.send(&token, |session| async move { session.get::<bool>("start").map(|_| ()) }).await;
        assert_eq!(read.assert_ok().token(), token);
        assert_eq!(read.set[0].max_age(), Some(20 * 24 * 60 * 60));
        world.advance(DAY);
        let write = world.insert(&token, "n", 2).await;
        assert_eq!(write.assert_ok().token(), token);
    }
}

/// Twenty rounds of reads and writes over a day set no cookie.
#[tokio::test]
async fn cookie_without_max_age_is_never_sent_again() {
    let world = World::new();
    let token = world.begin().await;
    for _ in 0..20 {
        world.advance(40 * MINUTE);
        world.insert(&token, "n", 1).await.assert_silent(StatusCode::OK);
        world.advance(30 * MINUTE);
        let read = world.send(&token, |session| async move { session.get::<bool>("start").map(|_| ()) });
        read.await.assert_silent(StatusCode::OK);
    }
}

/// Reads a session every `step`; returns whether a browser keeps its cookie, given each `Max-Age`.
async fn browser_keeps_cookie(lifetime: Lifetime, step: Duration, total: Duration) -> bool {
    let world = world(lifetime);
    let answer = world.send(support::race::NO_TOKEN, |session| async move { session.insert("n", &1) }).await;
    let (token, mut max_age) = (answer.token(), answer.set[0].max_age().unwrap());
    let (mut used, mut age) = (Duration::ZERO, Duration::ZERO);
    while used < total {
        world.advance(step);
        used += step;
        age += step;
        if age >= Duration::from_secs(u64::try_from(max_age).unwrap()) {
            return false;
        }
        let read = world.send(&token, |session| async move { session.get::<u32>("n").map(|_| ()) }).await;
        if let Some(cookie) = read.assert_ok().set.first() {
            (age, max_age) = (Duration::ZERO, cookie.max_age().unwrap());
        }
    }
    true
}

// checklist: 15
/// Three lifetimes longer than their `Max-Age`: a browser that uses the session regularly never loses the cookie.
#[tokio::test]
async fn regular_use_renews_the_cookie_before_its_max_age() {
    let year = Lifetime::new()
        .with_idle_timeout(100 * DAY)
        .with_absolute_timeout(1_000 * DAY)
        .with_max_age(Lifetime::MAX_COOKIE_AGE);
    assert!(browser_keeps_cookie(year, 9 * DAY, 900 * DAY).await, "a Max-Age of 400 days, the limit of browsers");
    let month = Lifetime::new().with_idle_timeout(30 * DAY).with_absolute_timeout(300 * DAY).with_max_age(2 * DAY);
    assert!(browser_keeps_cookie(month, DAY, 200 * DAY).await, "a Max-Age far below the idle timeout");
    let no_idle = Lifetime::new().without_idle_timeout().with_absolute_timeout(300 * DAY).with_max_age(7 * DAY);
    assert!(browser_keeps_cookie(no_idle, DAY, 200 * DAY).await, "no idle timeout");
}

/// Of an owner's two sessions, the expired one is not found by owner or by id.
#[tokio::test]
async fn owned_by_omits_expired_sessions() {
    let world = world(Lifetime::new().with_idle_timeout(10 * MINUTE));
    let old = world.begin_signed_in("ada").await;
    world.advance(6 * MINUTE);
    let new = world.begin_signed_in("ada").await;
    assert_eq!(world.sessions().owned_by("ada").await.unwrap().len(), 2);
    world.advance(6 * MINUTE);
    let left = world.sessions().owned_by("ada").await.unwrap();
    assert_eq!(left.iter().map(|session| session.id()).collect::<Vec<_>>(), [session_of(&new)]);
    assert!(world.sessions().find_by_id(&session_of(&old)).await.unwrap().is_none());
}

/// Returns a layer's clock, its store's clock (with the same start), the store, the events and a client with a session.
async fn two_clocks() -> (ManualClock, ManualClock, MemoryStore, EventLog, Visitor) {
    let layer_clock = ManualClock::new();
    let (store_clock, events) = (ManualClock::at(layer_clock.now()), EventLog::default());
    let store = MemoryStore::new().with_clock(&store_clock);
    let layer = SessionLayer::builder(store.clone()).with_clock(&layer_clock).with_event_hook(events.hook());
    let layer =
        layer.with_lifetime(Lifetime::new().with_idle_timeout(HOUR).with_absolute_timeout(2 * HOUR)).build().unwrap();
    let visitor = Visitor::with_session(&layer).await;
    events.take();
    (layer_clock, store_clock, store, events, visitor)
}

async fn has_session(visitor: &mut Visitor) -> bool {
    visitor.visit(async |session: Session| session.contains("n").to_string()).await.text() == "true"
}

/// The store's clock stands still; the layer expires the session at its absolute timeout and raises `Expired`.
#[tokio::test]
async fn session_expires_by_the_layers_clock() {
    let (layer_clock, store_clock, store, events, mut visitor) = two_clocks().await;
    let id = session_of(&visitor.token().unwrap());
    layer_clock.advance(HOUR - MILLISECOND);
    assert!(has_session(&mut visitor).await);
    // The use was recorded by the layer's clock, so an hour is left.
    layer_clock.advance(HOUR - MILLISECOND);
    assert!(has_session(&mut visitor).await);
    layer_clock.advance(2 * MILLISECOND);
    assert!(!has_session(&mut visitor).await, "the absolute timeout is two hours");
    assert_eq!(events.take(), [(EventKind::Expired, Some(id))]);
    assert!(store.get(&id).await.unwrap().is_some(), "the store's clock has not moved");
    store_clock.advance(2 * HOUR);
    assert!(store.get(&id).await.unwrap().is_none());
}

/// The layer's clock stands still; the store drops the record after the margin, and the layer raises `Unknown`.
#[tokio::test]
async fn record_expires_by_the_stores_clock() {
    let (_, store_clock, store, events, mut visitor) = two_clocks().await;
    let id = session_of(&visitor.token().unwrap());
    store_clock.advance(HOUR + MARGIN - MILLISECOND);
    assert!(has_session(&mut visitor).await);
    assert_eq!(events.take(), []);
    store_clock.advance(MILLISECOND);
    assert!(!has_session(&mut visitor).await);
    assert_eq!(events.take(), [(EventKind::Unknown, None)], "the layer finds no record");
    assert!(store.get(&id).await.unwrap().is_none());
}

/// A use after 30 minutes sets last use and expiry by the layer's clock; the store compares with its own clock.
#[tokio::test]
async fn use_sets_the_expiry_by_the_layers_clock() {
    let (layer_clock, store_clock, store, _, mut visitor) = two_clocks().await;
    let id = session_of(&visitor.token().unwrap());
    let begun = layer_clock.now();
    layer_clock.advance(30 * MINUTE);
    assert!(has_session(&mut visitor).await);
    let record = store.get(&id).await.unwrap().unwrap();
    assert_eq!((record.last_seen(), record.expires_at()), (begun + 30 * MINUTE, begun + 90 * MINUTE + MARGIN));
    store_clock.advance(90 * MINUTE + MARGIN - MILLISECOND);
    assert!(has_session(&mut visitor).await);
    store_clock.advance(MILLISECOND);
    assert!(!has_session(&mut visitor).await);
}

/// A layer with a manual clock expires a session of a store that uses the system clock.
#[tokio::test]
async fn manual_layer_clock_works_with_a_system_clock_store() {
    let clock = ManualClock::new();
    let layer = SessionLayer::builder(MemoryStore::new()).with_clock(&clock).build().unwrap();
    let mut visitor = Visitor::with_session(&layer).await;
    assert!(has_session(&mut visitor).await);
    clock.advance(HOUR);
    assert!(!has_session(&mut visitor).await);
}
