//! Requests that make no store call, and requests while the store is unavailable.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use axum::Router;
use axum::routing::{get, post};
use http::StatusCode;
use sessile::store::{Expected, Outcome, Record};
use sessile::store::{Store, StoreError, Touch};
use sessile::{Error, MemoryStore, Session, SessionHandle, SessionId, SessionLayer, SignedIn};
use support::client::{COOKIE_NAME, Client};
use support::store::{Fault, FaultyStore, Op};

/// A store that panics on every call.
struct PanickingStore;

impl Store for PanickingStore {
    async fn get(&self, _: &SessionId) -> Result<Option<Record>, StoreError> {
        panic!("unexpected get")
    }

    async fn set(&self, _: &Record, _: Expected) -> Result<Outcome, StoreError> {
        panic!("unexpected set")
    }

    async fn touch(&self, _: &Record, _: Touch) -> Result<bool, StoreError> {
        panic!("unexpected touch")
    }

    async fn delete(&self, _: &SessionId, _: Option<&str>) -> Result<bool, StoreError> {
        panic!("unexpected delete")
    }
}

fn app(store: impl Store) -> Router {
    async fn change_nothing(session: Session) -> Result<(), Error> {
        session.remove("not there")?;
        session.clear()?;
        session.take_now::<u32>("not there").await?;
        session.commit().await
    }

    Router::new()
        .route("/static", get(async || "static"))
        .route("/handle", get(async |_: SessionHandle| "not loaded"))
        .route("/read", get(async |session: Session| session.get::<u32>("n").map(|_| ())))
        .route("/optional", get(async |session: Option<Session>| session.is_some().to_string()))
        .route("/signed-in", get(async |user: SignedIn| user.owner().to_owned()))
        .route("/change-nothing", post(change_nothing))
        .route("/rotate", post(async |session: Session| session.rotate()))
        .route("/sign-out", post(async |session: Session| session.sign_out()))
        .route("/write", post(async |session: Session| session.update("n", |n: &mut u32| *n += 1)))
        .layer(SessionLayer::new(store))
}

/// Returns the token of a live session in another store.
async fn live_token() -> String {
    Client::new(&app(MemoryStore::new())).post("/write").await.set_cookie().value
}

/// With a valid, an invalid and an empty cookie, routes without a session and error routes never call the store.
#[tokio::test]
async fn request_that_does_not_use_the_session_makes_no_store_call() {
    let app = app(PanickingStore);
    for value in [live_token().await.as_str(), "junk", ""] {
        let mut client = Client::with_cookie(&app, COOKIE_NAME, value);
        for (path, status) in [("/static", 200), ("/handle", 200), ("/not-found", 404), ("/rotate", 405)] {
            let reply = client.get(path).await;
            assert_eq!(reply.status.as_u16(), status, "{path}");
            reply.assert_no_cookie();
        }
    }
}

// guarantee: 9
/// Without a valid token, reads, empty changes, rotation and sign-out never call the store.
///
/// None of them sets a cookie, but a sign-out removes a malformed one.
#[tokio::test]
async fn visitor_without_session_and_write_makes_no_store_call() {
    let app = app(PanickingStore);
    for mut client in [Client::new(&app), Client::with_cookie(&app, COOKIE_NAME, "junk")] {
        let client_sends_cookie = !client.jar.is_empty();
        for path in ["/change-nothing", "/rotate", "/sign-out"] {
            let reply = client.post(path).await;
            assert_eq!(reply.status, StatusCode::OK, "{path}");
            if path == "/sign-out" && client_sends_cookie {
                assert!(reply.set_cookie().is_removal());
            } else {
                reply.assert_no_cookie();
            }
        }
        assert_eq!(client.get("/read").await.status, StatusCode::OK);
        assert_eq!(client.get("/optional").await.text(), "false");
        assert_eq!(client.get("/signed-in").await.status, StatusCode::UNAUTHORIZED);
    }
}

/// With gets failing, each extractor answers a bare 503 without a cookie; routes without a session still work.
#[tokio::test]
async fn extractors_answer_503_while_the_store_is_unavailable() {
    let store = FaultyStore::new(MemoryStore::new());
    let app = app(store.clone());
    let mut client = Client::new(&app);
    client.post("/write").await;
    store.fail_always(Op::Get, Fault::Before);
    for path in ["/read", "/optional", "/signed-in"] {
        let reply = client.get(path).await;
        assert_eq!(
            (reply.status, reply.text()),
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "Service Unavailable: the service cannot answer now; try again in a moment"
            ),
            "{path}"
        );
        reply.assert_no_cookie();
    }
    assert_eq!(client.get("/static").await.status, StatusCode::OK);
    assert_eq!(client.get("/handle").await.status, StatusCode::OK);
    store.heal();
    assert_eq!(client.get("/optional").await.text(), "true");
}
