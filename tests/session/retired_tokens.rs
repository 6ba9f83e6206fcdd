//! Requests with a token that a rotation or a sign-in has just retired: the client has a newer cookie, or will have it.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use axum::Router;
use axum::routing::{get, post};
use futures_util::future::BoxFuture;
use http::StatusCode;
use sessile::csrf::CsrfLayer;
use sessile::testing::ManualClock;
use sessile::{Error, ErrorKind, MemoryStore, RecentlySignedIn, Session, SessionLayer, SignedIn};
use support::client::Client;
use support::race::{HOUR, SECOND, World};

type Handler = fn(Session) -> BoxFuture<'static, Result<(), Error>>;

fn rotate() -> Handler {
    |session| Box::pin(async move { session.rotate() })
}

/// The ways to retire a token of Ada's session.
fn retiring() -> [Handler; 3] {
    [
        rotate(),
        |session| Box::pin(async move { session.sign_in("ada") }),
        |session| Box::pin(async move { session.reauthenticate() }),
    ]
}

/// A sign-out fails with `Superseded` and answers 409, with and without a commit; the session stays live.
#[tokio::test]
async fn sign_out_under_a_retired_token_answers_409() {
    for retire in retiring() {
        for commits in [false, true] {
            let world = World::new();
            let old = world.begin_signed_in("ada").await;
            let new = world.send(&old, retire).await.token();
            let answer = world
                .send(&old, move |session| async move {
                    let signed_out = session.sign_out();
                    assert_eq!(signed_out.as_ref().unwrap_err().kind(), ErrorKind::Superseded);
                    if commits {
                        session.commit().await?;
                    }
                    signed_out
                })
                .await;
            answer.assert_silent(StatusCode::CONFLICT);
            assert_eq!(world.opens(&new).await.unwrap().owner.as_deref(), Some("ada"));
            assert_eq!(world.events.ends(), []);
        }
    }
}

/// A handler that ignores the refusal ends nothing and removes no cookie.
#[tokio::test]
async fn ignored_sign_out_under_a_retired_token_ends_nothing() {
    for retire in retiring() {
        let world = World::new();
        let old = world.begin_signed_in("ada").await;
        let new = world.send(&old, retire).await.token();
        let answer = world.send(&old, |session| async move {
            let _ = session.sign_out();
            session.commit().await
        });
        answer.await.assert_silent(StatusCode::OK);
        assert!(world.is_live(&new).await);
    }
}

/// Thirty seconds later the token is unknown: a sign-out answers 200 and removes the cookie, and ends nothing.
#[tokio::test]
async fn sign_out_after_the_grace_period_removes_the_cookie() {
    let world = World::new();
    let old = world.begin_signed_in("ada").await;
    let new = world.send(&old, rotate()).await.token();
    world.advance(30 * SECOND);
    let answer = world.send(&old, |session| async move { session.sign_out() }).await;
    assert!(answer.assert_ok().is_removal());
    assert!(world.is_live(&new).await);
}

/// `require_recent` and `reauthenticate` fail with `Superseded`, not with `NotSignedIn`.
#[tokio::test]
async fn step_up_under_a_retired_token_answers_409() {
    let checks: [Handler; 2] = [
        |session| Box::pin(async move { session.require_recent(HOUR) }),
        |session| Box::pin(async move { session.reauthenticate() }),
    ];
    for retire in retiring() {
        let world = World::new();
        let old = world.begin_signed_in("ada").await;
        let new = world.send(&old, retire).await.token();
        for check in checks {
            world.send(&old, check).await.assert_silent(StatusCode::CONFLICT);
        }
        assert!(world.is_live(&new).await);
        // Later the token is unknown, and the client must sign in.
        world.advance(30 * SECOND);
        for check in checks {
            world.send(&old, check).await.assert_silent(StatusCode::UNAUTHORIZED);
        }
    }
}

fn app(clock: &ManualClock) -> Router {
    let store = MemoryStore::new().with_clock(clock);
    let form = Router::new().route("/form", post(async || "accepted")).layer(CsrfLayer::new());
    Router::new()
        .route("/signed-in", get(async |user: SignedIn| user.owner().to_owned()))
        .route("/recent", get(async |user: RecentlySignedIn<60>| user.owner().to_owned()))
        .route("/perhaps", get(async |user: Option<SignedIn>| if user.is_some() { "user" } else { "nobody" }))
        .route(
            "/perhaps-recent",
            get(async |user: Option<RecentlySignedIn<60>>| if user.is_some() { "user" } else { "nobody" }),
        )
        .route("/sign-out", get(async |user: SignedIn| user.sign_out()))
        .route("/sign-in", get(async |session: Session| session.sign_in("ada")))
        .route("/rotate", get(async |session: Session| session.rotate()))
        .route("/reauthenticate", get(async |session: Session| session.reauthenticate()))
        .merge(form)
        .layer(SessionLayer::builder(store).with_clock(clock).build().unwrap())
}

/// Extractors of a signed-in user, a sign-out through one, and an unsafe request without a CSRF token answer 409.
#[tokio::test]
async fn guards_answer_409_under_a_retired_token() {
    for path in ["/rotate", "/sign-in", "/reauthenticate"] {
        let clock = ManualClock::new();
        let mut client = Client::new(&app(&clock));
        client.get("/sign-in").await.set_cookie();
        let mut outdated = client.clone();
        client.get(path).await.set_cookie();
        for guarded in ["/signed-in", "/recent", "/perhaps", "/perhaps-recent", "/sign-out"] {
            let reply = outdated.get(guarded).await;
            assert_eq!(reply.status, StatusCode::CONFLICT, "{guarded} after {path}");
            reply.assert_no_cookie();
        }
        let reply = outdated.post("/form").await;
        assert_eq!(reply.status, StatusCode::CONFLICT, "/form after {path}");
        assert_eq!(client.get("/signed-in").await.text(), "ada");
        clock.advance(30 * SECOND);
        for guarded in ["/signed-in", "/recent", "/sign-out"] {
            assert_eq!(outdated.get(guarded).await.status, StatusCode::UNAUTHORIZED);
        }
        for optional in ["/perhaps", "/perhaps-recent"] {
            assert_eq!(outdated.get(optional).await.text(), "nobody");
        }
        assert_eq!(outdated.post("/form").await.status, StatusCode::FORBIDDEN);
    }
}
