//! Proving again who one is, before something that asks for it.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use axum::Router;
use axum::routing::get;
use http::StatusCode;
use sessile::testing::ManualClock;
use sessile::{ErrorKind, Lifetime, MemoryStore, RecentlySignedIn, Session, SessionLayer};
use support::client::{Client, request, session_of};
use support::race::{Answer, HOUR, MINUTE, NOBODY, SECOND, World};

async fn reauthenticate(world: &World, token: &str) -> Answer {
    world.send(token, |session| async move { session.reauthenticate() }).await
}

async fn is_recent(world: &World, token: &str) -> StatusCode {
    world.send(token, |session| async move { session.require_recent(5 * MINUTE) }).await.status
}

// checklist: 29
#[tokio::test]
async fn an_authentication_is_recent_up_to_its_age_and_again_after_another() {
    let world = World::new();
    let token = world.begin_signed_in("ada").await;
    world.advance(5 * MINUTE);
    assert_eq!(is_recent(&world, &token).await, StatusCode::OK);
    world.advance(SECOND);
    assert_eq!(is_recent(&world, &token).await, StatusCode::UNAUTHORIZED);
    let new = reauthenticate(&world, &token).await.assert_ok().token();
    assert_eq!(is_recent(&world, &new).await, StatusCode::OK);
}

#[tokio::test]
async fn it_replaces_the_token_and_keeps_the_session() {
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
#[tokio::test]
async fn it_restarts_both_lifetimes() {
    let lifetime = Lifetime::new().with_idle_timeout(HOUR).with_absolute_timeout(2 * HOUR);
    let world = World::with(|layer| layer.with_lifetime(lifetime));
    let mut token = world.begin_signed_in("ada").await;
    for _ in 0..3 {
        world.advance(50 * MINUTE);
        token = reauthenticate(&world, &token).await.assert_ok().token();
    }
    // 150 minutes after the beginning, and 100 after the last but one.
    for _ in 0..2 {
        world.advance(50 * MINUTE);
        assert!(world.is_live(&token).await);
    }
    world.advance(20 * MINUTE);
    assert!(!world.is_live(&token).await, "two hours after the last authentication it ends");
}

#[tokio::test]
async fn who_is_not_signed_in_cannot_reauthenticate() {
    let world = World::new();
    let anonymous = world.begin().await;
    for token in [NOBODY, Some(anonymous)] {
        let answer = world
            .send(token, |session| async move {
                assert_eq!(session.require_recent(HOUR).unwrap_err().kind(), ErrorKind::NotSignedIn);
                session.reauthenticate()
            })
            .await;
        answer.assert_silent(StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn of_two_at_once_both_answers_leave_the_browser_signed_in() {
    let world = World::new();
    let token = world.begin_signed_in("ada").await;
    world.advance(HOUR / 2);
    let again = |session: Session| async move { session.reauthenticate() };
    let (slow, quick) = world.overtake(&token, again, again).await;
    for answer in [slow, quick] {
        assert_eq!(is_recent(&world, &answer.assert_ok().token()).await, StatusCode::OK);
    }
    assert!(!world.is_live(&token).await);
}

#[tokio::test]
async fn one_that_is_not_committed_has_not_taken_place() {
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

#[tokio::test]
async fn the_extractor_answers_401_until_the_owner_has_proved_it_again() {
    let clock = ManualClock::new();
    let layer = SessionLayer::builder(MemoryStore::new().with_clock(&clock)).with_clock(&clock).build().unwrap();
    let app = Router::new()
        .route("/secret", get(async |user: RecentlySignedIn<300>| user.owner().to_owned()))
        .route("/sign-in", get(async |session: Session| session.sign_in("ada")))
        .route("/again", get(async |session: Session| session.reauthenticate()))
        .layer(layer);
    let mut client = Client::new(&app);
    assert_eq!(client.get("/secret").await.status, StatusCode::UNAUTHORIZED);
    client.get("/sign-in").await;
    assert_eq!(client.get("/secret").await.text(), "ada");
    clock.advance(6 * MINUTE);
    assert_eq!(client.get("/secret").await.status, StatusCode::UNAUTHORIZED);
    client.get("/again").await;
    assert_eq!(client.get("/secret").await.text(), "ada");
    let without_layer = Router::new().route("/", get(async |_: RecentlySignedIn<300>| ()));
    assert_eq!(
        support::client::send(&without_layer, request(http::Method::GET, "/")).await.status,
        StatusCode::INTERNAL_SERVER_ERROR
    );
}

// checklist: 29
#[tokio::test]
async fn one_in_a_session_that_is_ended_meanwhile_begins_no_other() {
    for again in [true, false] {
        let world = World::new();
        let token = world.begin_signed_in("ada").await;
        let slow = world
            .hold(&token, move |session, gate| async move {
                if again {
                    session.reauthenticate()?
                } else {
                    session.sign_in("ada")?
                }
                gate.wait().await;
                Ok(())
            })
            .await;
        assert_eq!(world.sessions().end_all_of("ada").await.unwrap(), 1);
        let answer = slow.finish().await;
        assert_eq!(answer.given().is_none(), again, "a sign-in begins another");
        assert_eq!(world.memory.is_empty(), again);
    }
}
