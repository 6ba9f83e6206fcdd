//! An error that becomes a response of 500, 503 or 413 is in the log once, with its key and its type.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::capture::Capture;
use crate::support;

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::middleware::from_fn;
use axum::routing::{get, post};
use http::{Request, StatusCode};
use serde::{Serialize, Serializer};
use sessile::csrf::{CsrfForm, CsrfLayer};
use sessile::migrate::{LegacySession, LegacySessions, MigrationLayer};
use sessile::store::StoreError;
use sessile::{Error, Lifetime, MemoryStore, Session, SessionLayer, SignedIn};
use support::client::{Client, Visitor};
use support::store::{Fault, FaultyStore, Op};
use time::OffsetDateTime;
use tracing::Level;

struct Unserializable;

impl Serialize for Unserializable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("never"))
    }
}

fn visitor() -> Visitor {
    Visitor::new(&SessionLayer::builder(MemoryStore::new()).with_size_limit(1_000).build().unwrap())
}

/// Each kind that is a mistake of the application, at the level `ERROR`.
#[tokio::test]
async fn a_500_is_logged_with_its_key_and_type() {
    async fn wrong_type(session: Session) -> Result<(), Error> {
        session.insert("name", "Ada")?;
        session.get::<u32>("name").map(drop)
    }
    async fn stale(session: Session) -> Result<(), Error> {
        session.set_lifetime(Lifetime::new().with_absolute_timeout(Duration::ZERO))
    }
    let (log, _guard) = Capture::log(Level::TRACE);
    let mut visitor = visitor();
    visitor.visit(wrong_type).await.assert_no_cookie();
    log.assert_says("ERROR", &["TypeMismatch", "500", "\"name\"", "u32", "a string"]);
    visitor.visit(async |session: Session| session.insert("key", &Unserializable)).await;
    log.assert_says("ERROR", &["Serialize", "500", "\"key\"", "Unserializable"]);
    visitor.visit(async |session: Session| session.detach().rotate()).await;
    log.assert_says("ERROR", &["Detached", "500"]);
    visitor.visit(stale).await;
    log.assert_says("ERROR", &["InvalidLifetime", "500", "absolute"]);
}

/// A type that only the commit finds wrong, since another request has replaced the value meanwhile.
#[tokio::test]
async fn an_error_of_the_last_commit_is_logged() {
    let (log, _guard) = Capture::log(Level::INFO);
    let layer = SessionLayer::new(MemoryStore::new());
    let mut visitor = Visitor::with_session(&layer).await;
    let mut other = visitor.clone();
    let reply = visitor.visit(async move |session: Session| {
        session.update("n", |n: &mut u32| *n += 1)?;
        other.visit(async |session: Session| session.insert("n", "text")).await;
        Ok::<_, Error>(())
    });
    assert_eq!(reply.await.status, StatusCode::INTERNAL_SERVER_ERROR);
    log.assert_says("ERROR", &["TypeMismatch", "\"n\"", "u32", "a string"]);
}

/// A session or a body that is too large.
#[tokio::test]
async fn a_413_is_logged_at_warn_and_of_a_body_at_debug() {
    let (log, _guard) = Capture::log(Level::TRACE);
    visitor().visit(async |session: Session| session.insert("k", &"x".repeat(2_000))).await;
    log.assert_says("WARN", &["TooLarge", "413", "2007 bytes", "1000"]);

    let limit = || axum::extract::DefaultBodyLimit::max(100);
    let layer = SessionLayer::new(MemoryStore::new());
    let page = async |session: Session| session.csrf_token().await.map(drop);
    let form = async |_: CsrfForm<Vec<(String, String)>>| ();
    let by_extractor = Router::new().route("/", post(form).get(page)).layer(limit()).layer(layer.clone());
    let by_layer = Router::new().route("/", post(async || ()).get(page)).layer(CsrfLayer::new());
    for app in [by_extractor, by_layer.layer(limit()).layer(layer)] {
        let mut client = Client::new(&app);
        client.get("/").await.set_cookie();
        log.take();
        let request = Request::post("/").header("content-type", "application/x-www-form-urlencoded");
        let reply = client.send(request.body(Body::from("x".repeat(200))).unwrap()).await;
        assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
        log.assert_says("DEBUG", &["BodyTooLarge", "413"]);
    }
}

/// The event of the failure is the only line, wherever the error becomes the response.
#[tokio::test]
async fn a_failing_store_is_logged_by_its_event_alone() {
    let store = FaultyStore::new(MemoryStore::new());
    let layer = SessionLayer::new(store.clone());
    let app = Router::new()
        .route("/session", get(async |_: Session| ()))
        .route("/optional", get(async |_: Option<SignedIn>| ()))
        .route("/csrf", post(async || ()).layer(CsrfLayer::new()))
        .route(
            "/guarded",
            get(async || ())
                .layer(from_fn(async |_: Session, request, next: axum::middleware::Next| next.run(request).await)),
        )
        .layer(layer.clone());
    let (log, _guard) = Capture::log(Level::INFO);
    let visitor = Visitor::with_session(&layer).await;
    for path in ["/session", "/optional", "/csrf", "/guarded"] {
        let mut client = Client::new(&app);
        client.jar = visitor.jar.clone();
        store.fail(Op::Get, 1, Fault::Before);
        let reply = if path == "/csrf" { client.post(path).await } else { client.get(path).await };
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        log.assert_says("WARN", &["StoreFailed"]);
    }
    // A commit in the handler and one with the response: each failed attempt is an event.
    store.fail_always(Op::Set, Fault::Before);
    for commits in [true, false] {
        let mut visitor = visitor.clone();
        let reply = visitor.visit(async move |session: Session| {
            session.insert("n", &2)?;
            if commits { session.commit().await } else { Ok(()) }
        });
        assert_eq!(reply.await.status, StatusCode::SERVICE_UNAVAILABLE);
        let lines = log.take();
        assert!(!lines.is_empty() && lines.iter().all(|line| line.contains("StoreFailed")), "{lines:?}");
    }
}

/// A 503 without an event: the deadline of a commit, and a store without the operation.
#[tokio::test]
async fn a_503_without_an_event_is_logged_at_warn() {
    let (log, _guard) = Capture::log(Level::INFO);
    let layer = SessionLayer::builder(MemoryStore::new()).with_commit_deadline(Duration::ZERO).build().unwrap();
    let mut visitor = Visitor::with_session(&layer).await;
    let mut other = visitor.clone();
    let reply = visitor.visit(async move |session: Session| {
        session.insert("n", &2)?;
        other.visit(async |session: Session| session.insert("m", &3)).await;
        Ok::<_, Error>(())
    });
    assert_eq!(reply.await.status, StatusCode::SERVICE_UNAVAILABLE);
    log.assert_says("WARN", &["Unavailable", "503", "too many races"]);
}

/// A handler that ignores a failed commit is named beside the event of the failure.
#[tokio::test]
async fn a_handler_that_ignores_a_failed_commit_is_logged() {
    let (log, _guard) = Capture::log(Level::INFO);
    let store = FaultyStore::new(MemoryStore::new());
    let mut visitor = Visitor::with_session(&SessionLayer::new(store.clone())).await;
    store.fail_always(Op::Set, Fault::Before);
    let reply = visitor.visit(async |session: Session| {
        session.insert("n", &2)?;
        let _ = session.commit().await;
        Ok::<_, Error>(())
    });
    assert_eq!(reply.await.status, StatusCode::SERVICE_UNAVAILABLE);
    let lines = log.take();
    let others: Vec<_> = lines.iter().filter(|line| !line.contains("StoreFailed")).collect();
    assert!(matches!(others[..], [line] if line.contains("WARN") && line.contains("commit had failed")), "{lines:?}");
}

/// A migration whose conversion or whose store fails is logged once.
#[tokio::test]
async fn a_failed_migration_is_logged_once() {
    struct Old(bool);
    impl LegacySessions for Old {
        async fn load(&self, _: &str) -> Result<Option<LegacySession>, StoreError> {
            let mut session = LegacySession::new(OffsetDateTime::now_utc() + time::Duration::HOUR);
            session.insert("user", "Ada").unwrap();
            if self.0 { Ok(Some(session)) } else { Err(StoreError::unavailable("as planned")) }
        }

        async fn delete(&self, _: &str) -> Result<(), StoreError> {
            Err(StoreError::unavailable("no deletion"))
        }
    }
    let (log, _guard) = Capture::log(Level::INFO);
    let layer = |is_up: bool| MigrationLayer::new(Old(is_up));
    let converting = layer(true).with_conversion(|old| old.get::<u64>("user").map(drop));
    for (migration, level, parts) in [
        (converting, "ERROR", &["conversion", "\"user\"", "u64", "a string"][..]),
        (layer(false), "WARN", &["StoreFailed", "as planned"]),
        (layer(true), "WARN", &["Unavailable", "503", "no deletion"]),
    ] {
        let app = Router::new().route("/", get(async || ())).layer(migration);
        let app = app.layer(SessionLayer::new(MemoryStore::new()));
        assert!(Client::with_cookie(&app, "id", "old").get("/").await.status.is_server_error());
        log.assert_says(level, parts);
    }
}

/// Errors that a client causes are not logged.
#[tokio::test]
async fn other_errors_are_not_logged() {
    let (log, _guard) = Capture::log(Level::TRACE);
    let mut visitor = visitor();
    assert_eq!(visitor.visit(async |_: SignedIn| ()).await.status, StatusCode::UNAUTHORIZED);
    let reply = visitor.visit(async |session: Session| session.reauthenticate()).await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    assert_eq!(log.take(), [""; 0]);
}
