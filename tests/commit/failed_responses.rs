//! Responses that report a failure by other means than a status of 5xx: 408, a gRPC status, and custom predicates.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use futures_util::FutureExt;
use http::header::CONTENT_TYPE;
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use sessile::{Error, ErrorKind, MemoryStore, Session, SessionLayer};
use support::client::{Client, Visitor};
use support::store::{Fault, FaultyStore, Op};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

async fn keys_of(visitor: &mut Visitor) -> String {
    visitor.visit(async |session: Session| session.keys().join(",")).await.text().to_owned()
}

/// Returns a response of status 200 with a content type and a gRPC status in its head.
fn grpc(content_type: &'static str, status: Option<&'static str>) -> Response {
    let mut response = ([(CONTENT_TYPE, content_type)], "").into_response();
    if let Some(status) = status {
        response.headers_mut().insert(GRPC_STATUS, HeaderValue::from_static(status));
    }
    response
}

/// Sends a request that changes all that a session has, and returns whether its response commits the changes.
async fn commits(layer: &SessionLayer, respond: fn() -> Response) -> bool {
    let mut visitor = Visitor::with_session(layer).await;
    let token = visitor.token();
    let reply = visitor.visit(async move |session: Session| {
        session.insert("new", &2)?;
        session.sign_in("ada")?;
        Ok::<_, Error>(respond())
    });
    let reply = reply.await;
    assert_eq!(reply.status, respond().status());
    let is_committed = keys_of(&mut visitor).await == "n,new";
    assert_eq!(reply.set_cookies().len(), usize::from(is_committed));
    assert_eq!(visitor.token() != token, is_committed);
    is_committed
}

/// A response of status 408, and gRPC failures in the head, commit nothing; gRPC successes and other responses do.
#[tokio::test]
async fn timeout_and_grpc_failure_commit_nothing() {
    let failures: [fn() -> Response; 7] = [
        || StatusCode::REQUEST_TIMEOUT.into_response(),
        || grpc("application/grpc", Some("13")),
        || grpc("application/grpc+proto", Some("1")),
        || grpc("Application/GRPC", Some("16")),
        || grpc("application/grpc-web+proto", Some("5")),
        || grpc("application/grpc-web-text", Some(" 14 ")),
        || {
            let mut response = grpc("application/grpc", Some("0"));
            response.headers_mut().append(GRPC_STATUS, HeaderValue::from_static("2"));
            response
        },
    ];
    let successes: [fn() -> Response; 6] = [
        || grpc("application/grpc", Some("0")),
        || grpc("application/grpc+proto", Some(" 0 ")),
        || grpc("application/grpc", None),
        || grpc("text/plain", Some("13")),
        || grpc("application/gr", Some("13")),
        || StatusCode::NOT_FOUND.into_response(),
    ];
    let layer = SessionLayer::new(MemoryStore::new());
    for (place, failure) in failures.into_iter().enumerate() {
        assert!(!commits(&layer, failure).await, "failure {place}");
    }
    for (place, success) in successes.into_iter().enumerate() {
        assert!(commits(&layer, success).await, "success {place}");
    }
}

/// A gRPC status in the trailers follows the commit.
#[tokio::test]
async fn grpc_failure_in_the_trailers_commits() {
    fn respond() -> Response {
        let trailers = HeaderMap::from_iter([(GRPC_STATUS, HeaderValue::from_static("13"))]);
        let body = Body::from("message").with_trailers(std::future::ready(Some(Ok(trailers))));
        ([(CONTENT_TYPE, "application/grpc")], Body::new(body)).into_response()
    }

    assert!(commits(&SessionLayer::new(MemoryStore::new()), respond).await);
}

/// A layer stops a handler halfway and answers 408: its first write is not committed, but its sign-out is executed.
#[tokio::test]
async fn handler_stopped_by_a_timeout_commits_nothing() {
    async fn half(session: Session) -> Result<(), Error> {
        session.insert("half", &1)?;
        std::future::pending().await
    }

    async fn sign_out(session: Session) -> Result<(), Error> {
        session.sign_out()?;
        std::future::pending().await
    }

    /// Answers 408 as soon as the handler waits for something.
    async fn timeout(request: Request, next: Next) -> Response {
        next.run(request).now_or_never().unwrap_or_else(|| StatusCode::REQUEST_TIMEOUT.into_response())
    }

    let store = MemoryStore::new();
    let app = Router::new()
        .route("/begin", any(async |session: Session| session.insert("n", &1)))
        .route("/keys", any(async |session: Session| session.keys().join(",")))
        .route("/half", any(half))
        .route("/sign-out", any(sign_out))
        .layer(from_fn(timeout))
        .layer(SessionLayer::new(store.clone()));
    let mut client = Client::new(&app);
    client.get("/half").await.assert_no_cookie();
    assert!(store.is_empty());
    client.get("/begin").await.set_cookie();
    let reply = client.get("/half").await;
    assert_eq!(reply.status, StatusCode::REQUEST_TIMEOUT);
    assert_eq!(client.get("/keys").await.text(), "n");
    let reply = client.get("/sign-out").await;
    assert_eq!(reply.status, StatusCode::REQUEST_TIMEOUT);
    assert!(reply.set_cookie().is_removal());
    assert_eq!(store.len(), 1, "the mark of the end alone");
}

// checklist: 26
/// A sign-out in a gRPC failure ends the session and removes the cookie.
#[tokio::test]
async fn sign_out_takes_effect_in_a_grpc_failure() {
    let store = MemoryStore::new();
    let mut visitor = Visitor::with_session(&SessionLayer::new(store.clone())).await;
    let reply = visitor.visit(async |session: Session| {
        session.sign_out()?;
        session.insert("after", &1)?;
        Ok::<_, Error>(grpc("application/grpc", Some("13")))
    });
    assert!(reply.await.set_cookie().is_removal());
    assert_eq!(store.len(), 1, "the mark of the end alone");
}

/// After a failed commit a gRPC failure stays as it is; a gRPC success becomes 503.
#[tokio::test]
async fn grpc_failure_stands_after_failed_commit() {
    let store = FaultyStore::new(MemoryStore::new());
    let mut visitor = Visitor::with_session(&SessionLayer::new(store.clone())).await;
    store.fail_always(Op::Set, Fault::Before);
    for (grpc_status, expected) in [("14", StatusCode::OK), ("0", StatusCode::SERVICE_UNAVAILABLE)] {
        let reply = visitor.visit(async move |session: Session| {
            session.insert("n", &2)?;
            assert_eq!(session.commit().await.unwrap_err().kind(), ErrorKind::Unavailable);
            Ok::<_, Error>(grpc("application/grpc", Some(grpc_status)))
        });
        let reply = reply.await;
        assert_eq!(reply.status, expected, "{grpc_status}");
        let kept = (expected == StatusCode::OK).then_some(grpc_status);
        assert_eq!(reply.header("grpc-status"), kept);
    }
}

/// A predicate decides by the status, a header and an extension of the response, instead of the default.
#[tokio::test]
async fn commit_on_predicate_sees_the_head() {
    #[derive(Clone)]
    struct Discard;

    let predicate = |head: &Parts| {
        head.status.is_success()
            && !head.headers.contains_key("x-discard")
            && head.extensions.get::<Discard>().is_none()
    };
    let layer = SessionLayer::builder(MemoryStore::new()).with_commit_on(predicate).build().unwrap();
    assert!(commits(&layer, || StatusCode::OK.into_response()).await);
    assert!(!commits(&layer, || StatusCode::CONFLICT.into_response()).await);
    assert!(!commits(&layer, || [("x-discard", "")].into_response()).await);
    assert!(commits(&layer, || grpc("application/grpc", Some("13"))).await);
    let discard = || axum::Extension(Discard).into_response();
    assert!(!commits(&layer, discard).await);
}
