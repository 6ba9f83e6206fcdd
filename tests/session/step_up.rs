//! Reauthentication (step-up) and operations that require a recent sign-in.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use axum::Router;
use axum::routing::get;
use http::StatusCode;
use sessile::testing::ManualClock;
use sessile::{ErrorKind, Lifetime, MemoryStore, RecentlySignedIn, Session, SessionLayer};
use support::client::{Client, request, session_of};
use support::race::{Answer, HOUR, MINUTE, NO_TOKEN, SECOND, World};

async fn reauthenticate(world: &World, token: &str) -> Answer {
    world.send(token, |session| async move { session.reauthenticate() }).await
}

async fn is_recent(world: &World, token: &str) -> StatusCode {
    world.send(token, |session| async move { session.require_recent(5 * MINUTE) }).await.status
}

// checklist: 29
/// A five-minute limit accepts an age of five minutes, refuses one second more, and accepts a reauthentication.
#[tokio::test]
async fn require_recent_checks_the_age_of_the_authentication() {
    let world = World::new();
    let token = world.begin_signed_in("ada").await;
    world.advance(5 * MINUTE);
    assert_eq!(is_recent(&world, &token).await, StatusCode::OK);
    world.advance(SECOND);
    assert_eq!(is_recent(&world, &token).await, StatusCode::UNAUTHORIZED);
    let new = reauthenticate(&world, &token).await.assert_ok().token();
    assert_eq!(is_recent(&world, &new).await, StatusCode::OK);
}

/// The new token opens the same session with its keys and owner; the old one opens nothing.
#[tokio::test]
async fn reauthentication_rotates_the_token() {
    let world = World::new();
    let token = world.begin_signed_in("ada").await;
    world.insert(&token, "n", 7).await.assert_ok();
    let new = reauthenticate(&world, &token).await.token();
    assert_eq!(session_of(&new), session_of(&token));
    assert!(!world.is_live(&token).await);
    assert_eq!(world.read::<u32>(&new, "n").await, Some(7));
    assert_eq!(world.opens(&new).await.unwrap().owner.as_deref(), Some("ada"));
}

// checklist: 29
/// With one hour idle and two hours absolute, reauthentication every 50 minutes keeps the session live.
#[tokio::test]
async fn reauthentication_restarts_both_timeouts() {
    let lifetime = Lifetime::new().with_idle_timeout(HOUR).with_absolute_timeout(2 * HOUR);
    let world = World::with(|layer| layer.with_lifetime(lifetime));
    let mut token = world.begin_signed_in("ada").await;
    for _ in 0..3 {
        world.advance(50 * MINUTE);
        token = reauthenticate(&world, &token).await.assert_ok().token();
    }
    // 150 minutes have passed since the sign-in, more than the absolute timeout.
    for _ in 0..2 {
        world.advance(50 * MINUTE);
        assert!(world.is_live(&token).await);
    }
    world.advance(20 * MINUTE);
    assert!(!world.is_live(&token).await, "the absolute timeout counts from the last authentication");
}

/// Without a session and with an anonymous one, `require_recent` and `reauthenticate` fail with `NotSignedIn`.
#[tokio::test]
async fn reauthentication_without_an_owner_answers_401() {
    let world = World::new();
    let anonymous = world.begin().await;
    for token in [NO_TOKEN, Some(anonymous)] {
        let answer = world
            .send(token, |session| async move {
                assert_eq!(session.require_recent(HOUR).unwrap_err().kind(), ErrorKind::NotSignedIn);
                session.reauthenticate()
            })
            .await;
        answer.assert_silent(StatusCode::UNAUTHORIZED);
    }
}

/// Of two overlapping reauthentications, both tokens are live and recent, and the old token is not live.
#[tokio::test]
async fn concurrent_reauthentications_both_return_valid_tokens() {
    let world = World::new();
    let token = world.begin_signed_in("ada").await;
    world.advance(HOUR / 2);
    let reauthenticates = |session: Session| async move { session.reauthenticate() };
    let (slow, quick) = world.overtake(&token, reauthenticates, reauthenticates).await;
    for answer in [slow, quick] {
        assert_eq!(is_recent(&world, &answer.assert_ok().token()).await, StatusCode::OK);
    }
    assert!(!world.is_live(&token).await);
}

/// A request that reauthenticates and answers 500 sets no cookie, and the authentication stays old.
#[tokio::test]
async fn error_response_drops_a_reauthentication() {
    let world = World::new();
    let token = world.begin_signed_in("ada").await;
    world.advance(HOUR / 2);
    let answer = world
        .send(&token, |session| async move {
            session.reauthenticate()?;
            Ok(StatusCode::INTERNAL_SERVER_ERROR)
        })
        .await;
    answer.assert_silent(StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(is_recent(&world, &token).await, StatusCode::UNAUTHORIZED);
}

/// It answers 401 without a sign-in or after its limit, 200 after reauthentication, and 500 without a layer. The optional one
/// is `None` without a sign-in.
#[tokio::test]
async fn recently_signed_in_extractor_requires_reauthentication() {
    let clock = ManualClock::new();
    let layer = SessionLayer::builder(MemoryStore::new().with_clock(&clock)).with_clock(&clock).build().unwrap();
    let app = Router::new()
        .route("/secret", get(async |user: RecentlySignedIn<300>| user.owner().to_owned()))
        .route("/optional", get(async |user: Option<RecentlySignedIn<300>>| user.is_some().to_string()))
        .route("/sign-in", get(async |session: Session| session.sign_in("ada")))
        .route("/reauthenticate", get(async |session: Session| session.reauthenticate()))
        .layer(layer);
    let mut client = Client::new(&app);
    assert_eq!(client.get("/secret").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(client.get("/optional").await.text(), "false");
    client.get("/sign-in").await;
    assert_eq!(client.get("/secret").await.text(), "ada");
    assert_eq!(client.get("/optional").await.text(), "true");
    clock.advance(6 * MINUTE);
    for path in ["/secret", "/optional"] {
        assert_eq!(client.get(path).await.status, StatusCode::UNAUTHORIZED);
    }
    client.get("/reauthenticate").await;
    assert_eq!(client.get("/secret").await.text(), "ada");
    let without_layer = Router::new().route("/", get(async |_: RecentlySignedIn<300>| ()));
    assert_eq!(
        support::client::send(&without_layer, request(http::Method::GET, "/")).await.status,
        StatusCode::INTERNAL_SERVER_ERROR
    );
}

// checklist: 29
/// The session ends before the commit: a reauthentication creates no session, a sign-in creates another.
#[tokio::test]
async fn reauthentication_of_an_ended_session_creates_none() {
    for reauthenticates in [true, false] {
        let world = World::new();
        let token = world.begin_signed_in("ada").await;
        let slow = world
            .hold(&token, move |session, gate| async move {
                if reauthenticates {
                    session.reauthenticate()?
                } else {
                    session.sign_in("ada")?
                }
                gate.wait().await;
                Ok(())
            })
            .await;
        assert_eq!(world.sessions().end_all_of("ada").await.unwrap().len(), 1);
        let answer = slow.finish().await;
        assert_eq!(answer.new_token().is_none(), reauthenticates, "only a sign-in creates another session");
        assert_eq!(world.live_sessions() == 0, reauthenticates);
    }
}
