//! Lifetimes, by a clock that the test moves: enforced on the server, whatever the cookie says.

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

fn world(lifetime: Lifetime) -> World {
    World::with(|layer| layer.with_lifetime(lifetime))
}

/// How long a session lives that is used every `step`, by reading.
async fn lives_for(world: &World, token: &str, step: Duration, most: Duration) -> Duration {
    let mut lived = Duration::ZERO;
    while lived < most {
        world.advance(step);
        lived += step;
        if !world.is_live(token).await {
            return lived;
        }
    }
    panic!("it lives on after {most:?}");
}

// guarantee: 7
// checklist: 23
#[tokio::test]
async fn an_idle_session_ends_on_the_millisecond() {
    let world = world(Lifetime::new().with_idle_timeout(10 * MINUTE));
    let token = world.begin().await;
    world.advance(10 * MINUTE - MILLISECOND);
    assert!(world.is_live(&token).await);
    let token = world.begin().await;
    world.advance(10 * MINUTE);
    assert!(!world.is_live(&token).await);
}

// guarantee: 7
#[tokio::test]
async fn reading_is_a_use_and_so_is_writing() {
    let world = world(Lifetime::new().with_idle_timeout(10 * MINUTE).with_absolute_timeout(DAY));
    let token = world.begin().await;
    for use_nr in 0..20 {
        world.advance(9 * MINUTE);
        if use_nr % 2 == 0 {
            assert!(world.is_live(&token).await);
        } else {
            world.insert(&token, "n", use_nr).await.assert_silent(StatusCode::OK);
        }
    }
    assert!(world.is_live(&token).await);
}

#[tokio::test]
async fn a_use_counts_to_a_tenth_of_the_idle_time() {
    let world = world(Lifetime::new().with_idle_timeout(10 * MINUTE));
    let token = world.begin().await;
    // Too early to be noted: what counts is the creation.
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

/// It was loaded too early for its use to be noted, and is answered late.
#[tokio::test]
async fn a_handler_that_takes_long_keeps_its_session_alive_until_its_answer() {
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

#[tokio::test]
async fn a_handler_that_loads_no_session_does_not_keep_it_alive() {
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
#[tokio::test]
async fn the_absolute_lifetime_ends_a_session_however_busy_it_is() {
    let world = world(Lifetime::new().with_idle_timeout(10 * MINUTE).with_absolute_timeout(3 * HOUR));
    let token = world.begin().await;
    assert_eq!(lives_for(&world, &token, 30 * SECOND, DAY).await, 3 * HOUR);
    // Nor does writing or rotating put it off.
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

#[tokio::test]
async fn a_session_without_an_idle_limit_ends_at_its_absolute_one() {
    let world = world(Lifetime::new().without_idle_timeout().with_absolute_timeout(DAY));
    let token = world.begin().await;
    world.advance(DAY - MILLISECOND);
    assert!(world.is_live(&token).await);
    world.advance(MILLISECOND);
    assert!(!world.is_live(&token).await);
}

#[tokio::test]
async fn the_presets_are_those_of_the_standard() {
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
#[tokio::test]
async fn a_cookie_that_outlives_its_session_opens_nothing() {
    let world = world(Lifetime::new().with_idle_timeout(HOUR).with_absolute_timeout(2 * HOUR).with_max_age(30 * DAY));
    let answer = world.send(support::race::NOBODY, |session| async move { session.insert("n", &1) }).await;
    assert_eq!(answer.set[0].max_age(), Some(2 * 60 * 60), "no longer than the session can live");
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

#[tokio::test]
async fn a_session_keeps_a_lifetime_of_its_own_across_writes() {
    let world = World::new();
    let token = world.begin().await;
    let answer = world.send(&token, remember_me).await;
    assert_eq!(answer.set[0].max_age(), Some(90 * 24 * 60 * 60), "the cookie is sent again, to last");
    assert_eq!(answer.token(), token);
    for day in 0..6 {
        world.advance(13 * DAY);
        world.insert(&token, "day", day).await.assert_ok();
    }
    world.advance(12 * DAY - MILLISECOND);
    assert!(world.is_live(&token).await);
    world.advance(MILLISECOND);
    assert!(!world.is_live(&token).await, "90 days in all");

    let token = world.begin().await;
    world.send(&token, remember_me).await.assert_ok();
    world.advance(14 * DAY);
    assert!(!world.is_live(&token).await, "14 days idle");
}

#[tokio::test]
async fn a_lifetime_set_before_a_sign_in_or_a_rotation_stays() {
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

#[tokio::test]
async fn a_use_extends_a_session_by_the_idle_time_of_its_own_lifetime() {
    let world = World::new();
    let token = world.begin().await;
    world.send(&token, remember_me).await.assert_ok();
    assert_eq!(lives_for(&world, &token, 13 * DAY, 365 * DAY).await, 91 * DAY);
}

#[tokio::test]
async fn a_shorter_lifetime_of_its_own_holds_at_once() {
    let world = World::new();
    let token = world.begin().await;
    let shorter = Lifetime::new().with_idle_timeout(MINUTE).with_absolute_timeout(HOUR);
    world.send(&token, move |session| async move { session.set_lifetime(shorter) }).await.assert_ok();
    world.advance(MINUTE);
    assert!(!world.is_live(&token).await);
}

#[tokio::test]
async fn a_session_that_a_shorter_lifetime_of_the_layer_has_ended_is_not_listed_as_its_owners() {
    let world = World::new();
    world.begin_signed_in("ada").await;
    world.advance(30 * MINUTE);
    assert_eq!(world.sessions().owned_by("ada").await.unwrap().len(), 1);
    let shorter = Lifetime::new().with_idle_timeout(10 * MINUTE);
    let redeployed = world.redeployed(|layer| layer.with_lifetime(shorter));
    assert!(redeployed.sessions().owned_by("ada").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_lifetime_that_cannot_work_is_refused_and_changes_nothing() {
    let world = World::new();
    let token = world.begin().await;
    let broken = [
        Lifetime::new().with_idle_timeout(Duration::ZERO),
        Lifetime::new().with_absolute_timeout(Duration::ZERO),
        Lifetime::new().with_refresh_interval(29 * SECOND),
        Lifetime::new().with_max_age(401 * DAY),
        Lifetime::new().with_max_age(Duration::ZERO),
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

#[tokio::test]
async fn shortening_the_layers_lifetime_applies_to_the_sessions_there_are() {
    let before = world(Lifetime::new().with_idle_timeout(HOUR).with_absolute_timeout(DAY));
    let (token, remembered) = (before.begin().await, before.begin().await);
    before.send(&remembered, remember_me).await.assert_ok();
    before.advance(10 * MINUTE);
    let after = before.redeployed(|layer| layer.with_lifetime(Lifetime::new().with_idle_timeout(10 * MINUTE)));
    assert!(before.is_live(&token).await);
    // The store knows of that use; from now on it counts ten minutes.
    assert!(after.is_live(&token).await);
    after.advance(10 * MINUTE);
    assert!(!after.is_live(&token).await);
    assert!(after.is_live(&remembered).await, "it has a lifetime of its own");
    let after = before.redeployed(|layer| layer.with_lifetime(Lifetime::new().with_absolute_timeout(10 * MINUTE)));
    assert!(!after.is_live(&token).await);
}

#[tokio::test]
async fn lengthening_the_layers_lifetime_revives_nothing() {
    let before = world(Lifetime::new().with_idle_timeout(10 * MINUTE));
    let token = before.begin().await;
    before.advance(10 * MINUTE);
    let after = before.redeployed(|layer| layer.with_lifetime(Lifetime::aal1()));
    assert!(!after.is_live(&token).await);
}

#[tokio::test]
async fn a_persistent_cookie_is_renewed_when_the_use_is_noted_and_at_no_other_time() {
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

#[tokio::test]
async fn a_cookie_for_the_browsers_session_is_never_sent_again() {
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

/// Uses a session every `step`, and keeps its cookie as a browser would: until its `Max-Age` is over.
async fn browser_keeps_it(lifetime: Lifetime, step: Duration, total: Duration) -> bool {
    let world = world(lifetime);
    let answer = world.send(support::race::NOBODY, |session| async move { session.insert("n", &1) }).await;
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
#[tokio::test]
async fn a_session_that_outlives_its_max_age_is_kept_by_a_browser_that_uses_it() {
    let year = Lifetime::new()
        .with_idle_timeout(100 * DAY)
        .with_absolute_timeout(1_000 * DAY)
        .with_max_age(Lifetime::MAX_COOKIE_AGE);
    assert!(browser_keeps_it(year, 9 * DAY, 900 * DAY).await, "400 days is the most that a browser keeps a cookie");
    let month = Lifetime::new().with_idle_timeout(30 * DAY).with_absolute_timeout(300 * DAY).with_max_age(2 * DAY);
    assert!(browser_keeps_it(month, DAY, 200 * DAY).await, "a Max-Age far below the idle time");
    let no_idle = Lifetime::new().without_idle_timeout().with_absolute_timeout(300 * DAY).with_max_age(7 * DAY);
    assert!(browser_keeps_it(no_idle, DAY, 200 * DAY).await, "no idle time");
}

#[tokio::test]
async fn listing_the_sessions_of_an_owner_leaves_out_those_that_have_ended() {
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

/// A layer by one clock, over a store in memory by another; both show the same to begin with. A visitor with a session.
async fn by_two_clocks() -> (ManualClock, ManualClock, MemoryStore, EventLog, Visitor) {
    let layers = ManualClock::new();
    let (stores, events) = (ManualClock::at(layers.now()), EventLog::default());
    let store = MemoryStore::new().with_clock(&stores);
    let layer = SessionLayer::builder(store.clone()).with_clock(&layers).with_event_hook(events.hook());
    let layer =
        layer.with_lifetime(Lifetime::new().with_idle_timeout(HOUR).with_absolute_timeout(2 * HOUR)).build().unwrap();
    let visitor = Visitor::with_session(&layer).await;
    events.take();
    (layers, stores, store, events, visitor)
}

async fn has_session(visitor: &mut Visitor) -> bool {
    visitor.visit(async |session: Session| session.contains("n").to_string()).await.text() == "true"
}

#[tokio::test]
async fn a_session_ends_by_the_clock_of_its_layer_though_that_of_the_store_has_not_moved() {
    let (layers, stores, store, events, mut visitor) = by_two_clocks().await;
    let id = session_of(&visitor.token().unwrap());
    layers.advance(HOUR - MILLISECOND);
    assert!(has_session(&mut visitor).await);
    // The use was noted at the layer's time, from which an hour is left.
    layers.advance(HOUR - MILLISECOND);
    assert!(has_session(&mut visitor).await);
    layers.advance(2 * MILLISECOND);
    assert!(!has_session(&mut visitor).await, "two hours are its absolute lifetime");
    assert_eq!(events.take(), [(EventKind::Expired, Some(id))]);
    assert!(store.get(&id).await.unwrap().is_some(), "to the store it is as young as ever");
    stores.advance(2 * HOUR);
    assert!(store.get(&id).await.unwrap().is_none());
}

#[tokio::test]
async fn a_record_expires_by_the_clock_of_its_store_though_that_of_the_layer_has_not_moved() {
    let (_, stores, store, events, mut visitor) = by_two_clocks().await;
    let id = session_of(&visitor.token().unwrap());
    stores.advance(HOUR - MILLISECOND);
    assert!(has_session(&mut visitor).await);
    assert_eq!(events.take(), []);
    stores.advance(MILLISECOND);
    assert!(!has_session(&mut visitor).await);
    assert_eq!(events.take(), [(EventKind::Unknown, None)], "the layer is told that there is none");
    assert!(store.get(&id).await.unwrap().is_none());
}

#[tokio::test]
async fn a_use_moves_the_expiry_by_the_clock_of_the_layer_and_that_of_the_store_is_held_against_it() {
    let (layers, stores, store, _, mut visitor) = by_two_clocks().await;
    let id = session_of(&visitor.token().unwrap());
    let begun = layers.now();
    layers.advance(30 * MINUTE);
    assert!(has_session(&mut visitor).await);
    let record = store.get(&id).await.unwrap().unwrap();
    assert_eq!((record.last_seen(), record.expires_at()), (begun + 30 * MINUTE, begun + 90 * MINUTE));
    stores.advance(90 * MINUTE - MILLISECOND);
    assert!(has_session(&mut visitor).await);
    stores.advance(MILLISECOND);
    assert!(!has_session(&mut visitor).await);
}

#[tokio::test]
async fn a_clock_that_is_moved_counts_though_the_store_goes_by_the_systems() {
    let clock = ManualClock::new();
    let layer = SessionLayer::builder(MemoryStore::new()).with_clock(&clock).build().unwrap();
    let mut visitor = Visitor::with_session(&layer).await;
    assert!(has_session(&mut visitor).await);
    clock.advance(HOUR);
    assert!(!has_session(&mut visitor).await);
}
