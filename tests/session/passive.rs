//! Requests that do not count as use of their session.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::{polling, support};

use axum::Router;
use axum::routing::get;
use http::StatusCode;
use sessile::event::EventKind;
use sessile::passive::PassiveLayer;
use sessile::{Error, Lifetime, MemoryStore, Session, SessionHandle, SessionLayer};
use support::client::{Client, session_of};
use support::race::{DAY, HOUR, MINUTE, SECOND, World};
use support::store::Counts;

fn world() -> World {
    World::with(|layer| layer.with_lifetime(lifetime()))
}

const fn lifetime() -> Lifetime {
    Lifetime::new().with_idle_timeout(HOUR).with_absolute_timeout(DAY)
}

/// Marks a request as passive, and then uses its session.
async fn passive(handle: SessionHandle, run: impl AsyncFnOnce(Session) -> Result<(), Error>) -> Result<(), Error> {
    handle.set_passive(true);
    run(handle.load().await?).await
}

// guarantee: 7
/// Two days of polling end at the idle timeout, although each poll writes and some refresh the token.
#[tokio::test]
async fn passive_polling_ends_at_the_idle_timeout() {
    polling::passive_polling_ends_at_the_idle_timeout(MemoryStore::new()).await;
}

/// A passive request costs its own get and set: neither a touch nor a renewal of the cookie is due.
#[tokio::test]
async fn a_passive_request_renews_nothing() {
    let world = World::with(|layer| layer.with_lifetime(lifetime().with_max_age(HOUR)));
    let token = world.begin().await;
    world.advance(30 * MINUTE);
    let read = world.send_unloaded(&token, |handle| {
        passive(handle, async |session| session.get("start").map(drop::<Option<bool>>))
    });
    let (answer, cost) = world.cost(read).await;
    answer.assert_silent(StatusCode::OK);
    assert_eq!(cost, Counts::gets(1));
    let write = world.send_unloaded(&token, |handle| passive(handle, async |session| session.insert("n", &1)));
    let (answer, cost) = world.cost(write).await;
    answer.assert_silent(StatusCode::OK);
    assert_eq!(cost, Counts::gets(1).and_sets(1));
    world.advance(30 * MINUTE);
    assert!(!world.is_live(&token).await);
}

// guarantee: 1
/// A passive write is stored and keeps the times, also those that a touch has moved since the load.
#[tokio::test]
async fn a_passive_write_keeps_the_stored_times() {
    let world = world();
    let token = world.begin().await;
    world.advance(50 * MINUTE);
    let slow = world.clone();
    let other = token.clone();
    let answer = world.send_unloaded(&token, move |handle| {
        passive(handle, async move |session| {
            slow.advance(5 * MINUTE);
            // Another tab uses the session meanwhile.
            assert!(slow.is_live(&other).await);
            session.insert("read", &true)
        })
    });
    answer.await.assert_silent(StatusCode::OK);
    world.advance(50 * MINUTE);
    let id = session_of(&token);
    let stored = world.quiet().find_by_id(&id).await.unwrap().expect("the use of the other tab counts");
    assert_eq!(stored.get::<bool>("read").unwrap(), Some(true));
    world.advance(10 * MINUTE);
    assert!(!world.is_live(&token).await, "the passive write is no use");
}

/// The margin for slow requests is for uses: a passive write after the idle timeout is dropped, with an event.
#[tokio::test]
async fn a_passive_write_past_the_idle_timeout_is_dropped() {
    let world = world();
    let token = world.begin().await;
    let slow = world.clone();
    let answer = world.send_unloaded(&token, move |handle| {
        passive(handle, async move |session| {
            slow.advance(HOUR);
            session.insert("late", &1)?;
            let error = session.commit().await.unwrap_err();
            assert_eq!(error.kind(), sessile::ErrorKind::Ended);
            Ok(())
        })
    });
    answer.await;
    assert!(world.saw(EventKind::Dropped));
    assert!(!world.is_live(&token).await);
}

/// A sign-in, a lifetime and an explicit touch in a passive request count as use.
#[tokio::test]
async fn explicit_uses_count_in_a_passive_request() {
    for case in 0..3 {
        let world = world();
        let token = world.begin_signed_in("ada").await;
        world.advance(50 * MINUTE);
        let answer = world.send_unloaded(&token, move |handle| {
            passive(handle, async move |session| match case {
                0 => session.reauthenticate(),
                1 => session.set_lifetime(lifetime()),
                _ => session.touch().await,
            })
        });
        let answer = answer.await;
        let token = answer.new_token().unwrap_or(token);
        assert_eq!(answer.status, StatusCode::OK);
        world.advance(HOUR - SECOND);
        assert!(world.is_live(&token).await, "case {case}");
    }
}

/// The layer works on both sides of the session layer, and a predicate over the head does the same.
#[tokio::test]
async fn layer_and_predicate_mark_requests_as_passive() {
    for case in 0..4 {
        let clock = sessile::testing::ManualClock::new();
        let builder = SessionLayer::builder(MemoryStore::new().with_clock(&clock)).with_clock(&clock);
        let layer = match case {
            3 => builder.with_passive_on(|head| head.uri.path() == "/poll").build().unwrap(),
            _ => builder.build().unwrap(),
        };
        let poll = get(async |session: Session| session.get::<u32>("n").map(drop));
        let router = Router::new().route("/begin", get(async |session: Session| session.insert("n", &1)));
        let app = match case {
            0 => router.route("/poll", poll.layer(PassiveLayer::new())).layer(layer),
            1 => router.route("/poll", poll).layer(PassiveLayer::new()).layer(layer),
            2 => router.route("/poll", poll).layer(layer).layer(PassiveLayer::new()),
            _ => router.route("/poll", poll).layer(layer),
        };
        let mut client = Client::new(&app);
        client.get("/begin").await;
        let id = session_of(&client.token().unwrap());
        clock.advance(30 * MINUTE);
        assert_eq!(client.get("/poll").await.status, StatusCode::OK);
        clock.advance(30 * MINUTE);
        let end = client.get("/poll").await;
        assert_eq!(end.status, StatusCode::OK);
        end.assert_no_cookie();
        assert_ne!(client.get("/begin").await.set_cookies().len(), 0, "case {case}: {id} is over");
    }
}

/// A layer marks the sessions of its own marker only.
#[tokio::test]
async fn a_passive_layer_leaves_other_markers_alone() {
    struct Admin;
    let clock = sessile::testing::ManualClock::new();
    let layer = SessionLayer::builder(MemoryStore::new().with_clock(&clock)).with_clock(&clock).build().unwrap();
    let read = get(async |session: Session| session.get::<u32>("n").map(drop));
    let app = Router::new()
        .route("/begin", get(async |session: Session| session.insert("n", &1)))
        .route("/poll", read.layer(PassiveLayer::new().with_marker::<Admin>()))
        .layer(layer);
    let mut client = Client::new(&app);
    client.get("/begin").await;
    for _ in 0..4 {
        clock.advance(30 * MINUTE);
        assert_eq!(client.get("/poll").await.status, StatusCode::OK);
    }
    client.get("/begin").await.assert_no_cookie();
}

/// A session that a passive request detaches stays passive, except for an explicit touch.
#[tokio::test]
async fn a_detached_session_of_a_passive_request_is_passive() {
    for (touches, is_live) in [(false, false), (true, true)] {
        let world = world();
        let token = world.begin().await;
        world.advance(30 * MINUTE);
        let answer = world.send_unloaded(&token, move |handle| {
            passive(handle, async move |session| {
                let detached = session.detach();
                detached.insert("seen", &true)?;
                detached.commit().await?;
                detached.commit().await?;
                if touches { detached.touch().await } else { Ok(()) }
            })
        });
        answer.await.assert_silent(StatusCode::OK);
        world.advance(30 * MINUTE);
        assert_eq!(world.is_live(&token).await, is_live);
    }
}
