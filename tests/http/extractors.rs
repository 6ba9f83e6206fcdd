//! The extractors: their rejections, and the places in a router where they work.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use http::StatusCode;
use http_body_util::BodyExt;
use sessile::{Error, ErrorKind, MemoryStore, Session, SessionHandle, SessionLayer, SignedIn};
use support::client::{Client, Reply};
use support::store::{Fault, FaultyStore, Op};

async fn set(session: Session) -> Result<(), Error> {
    session.insert("key", "value")
}

async fn keys(session: Session) -> String {
    session.keys().join(",")
}

fn app() -> Router {
    async fn optional(session: Option<Session>) -> String {
        session.map_or("none".to_owned(), |session| format!("some {:?}", session.keys()))
    }

    async fn signed_in(user: SignedIn) -> Result<String, Error> {
        // `SignedIn` derefs to the session.
        let seen: Option<String> = user.get("key")?;
        assert_eq!(user.session().id(), user.id());
        Ok(format!("{} {}", user.owner(), seen.unwrap_or_default()))
    }

    async fn by_handle(handle: SessionHandle) -> Result<String, Error> {
        let (first, second) = (handle.load().await?, handle.load().await?);
        first.insert("via", "handle")?;
        Ok(second.get::<String>("via")?.unwrap_or_default())
    }

    async fn by_extension(Extension(handle): Extension<SessionHandle>) -> Result<String, Error> {
        Ok(handle.load().await?.keys().join(","))
    }

    async fn twice(one: Session, other: Session) -> Result<String, Error> {
        one.insert("shared", &7)?;
        Ok(format!("{:?}", other.get::<i32>("shared")?))
    }

    Router::new()
        .route("/set", post(set))
        .route("/keys", get(keys))
        .route("/sign-in", post(async |session: Session| session.sign_in("ada")))
        .route("/sign-out", post(async |session: Session| session.sign_out()))
        .route("/optional", get(optional))
        .route("/signed-in", get(signed_in))
        .route("/by-handle", post(by_handle))
        .route("/by-extension", get(by_extension))
        .route("/twice", post(twice))
        .layer(SessionLayer::new(MemoryStore::new()))
}

/// A request without a cookie gets an empty session; the first write stores it and sets the cookie.
#[tokio::test]
async fn session_extractor_works_without_a_cookie() {
    let mut client = Client::new(&app());
    let reply = client.get("/keys").await;
    assert_eq!((reply.status, reply.text()), (StatusCode::OK, ""));
    client.post("/set").await.set_cookie();
    assert_eq!(client.get("/keys").await.text(), "key");
}

// checklist: 21
/// `Option<Session>` is `None` without a cookie, with invalid tokens and after a sign-out.
#[tokio::test]
async fn optional_session_is_none_without_a_live_session() {
    let app = app();
    let mut client = Client::new(&app);
    assert_eq!(client.get("/optional").await.text(), "none");
    client.post("/set").await;
    assert_eq!(client.get("/optional").await.text(), r#"some ["key"]"#);

    let mut other_tab = client.clone();
    client.post("/sign-out").await;
    let reply = other_tab.get("/optional").await;
    assert_eq!((reply.status, reply.text()), (StatusCode::OK, "none"));
    for value in ["", "junk", "AAAAAAAAcAAAgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        assert_eq!(Client::with_cookie(&app, "__Host-id", value).get("/optional").await.text(), "none");
    }
}

/// `SignedIn` answers 401 without a session, for an anonymous session and after a sign-out.
#[tokio::test]
async fn signed_in_extractor_requires_an_owner() {
    let mut client = Client::new(&app());
    assert_eq!(client.get("/signed-in").await.status, StatusCode::UNAUTHORIZED);
    client.post("/set").await;
    assert_eq!(client.get("/signed-in").await.status, StatusCode::UNAUTHORIZED);
    client.post("/sign-in").await;
    assert_eq!(client.get("/signed-in").await.text(), "ada value");
    client.post("/sign-out").await;
    let reply = client.get("/signed-in").await;
    assert_eq!((reply.status, reply.text()), (StatusCode::UNAUTHORIZED, "Unauthorized: sign in first"));
}

/// `Option<SignedIn>` is `None` without an owner and answers 503 while the store fails, so that no user is sent to sign in.
#[tokio::test]
async fn optional_signed_in_is_none_only_without_an_owner() {
    struct Admin;

    async fn account<M>(user: Option<SignedIn<M>>) -> Result<String, Redirect> {
        let user = user.ok_or_else(|| Redirect::to("/sign-in"))?;
        Ok(user.owner().to_owned())
    }

    let store = FaultyStore::new(MemoryStore::new());
    let admins = SessionLayer::builder(MemoryStore::new()).with_name("admin").build().unwrap().with_marker::<Admin>();
    let app = Router::new()
        .route("/", get(account::<()>))
        .route("/admin", get(account::<Admin>))
        .route("/set", post(set))
        .route("/sign-in", post(async |session: Session| session.sign_in("ada")))
        .route("/sign-out", post(async |session: Session| session.sign_out()))
        .layer(admins)
        .layer(SessionLayer::new(store.clone()))
        .route("/missing", get(account::<()>));
    let mut client = Client::new(&app);
    for path in ["/set", "/sign-in", "/sign-out"] {
        client.post(path).await;
        let reply = client.get("/").await;
        let expected = if path == "/sign-in" { StatusCode::OK } else { StatusCode::SEE_OTHER };
        assert_eq!(reply.status, expected, "{path}");
        assert_eq!(client.get("/admin").await.status, StatusCode::SEE_OTHER);
    }
    client.post("/sign-in").await;
    assert_eq!(client.get("/").await.text(), "ada");
    store.fail_always(Op::Get, Fault::Before);
    let reply = client.get("/").await;
    assert_eq!((reply.status, reply.header("location")), (StatusCode::SERVICE_UNAVAILABLE, None));
    assert_eq!(client.get("/missing").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    store.heal();
    assert_eq!(client.get("/").await.text(), "ada");
}

/// Two loads, the extension and two `Session` arguments of one request see each other's writes.
#[tokio::test]
async fn all_extractors_of_a_request_share_one_session() {
    let mut client = Client::new(&app());
    assert_eq!(client.post("/by-handle").await.text(), "handle");
    assert_eq!(client.get("/by-extension").await.text(), "via");
    assert_eq!(client.post("/twice").await.text(), "Some(7)");
}

/// Without a layer, or with a layer for another marker, each extractor answers 500 without details.
#[tokio::test]
async fn extractors_without_their_layer_answer_500() {
    struct Admin;
    let app = Router::new()
        .route("/session", get(async |_: Session| ()))
        .route("/optional", get(async |_: Option<Session>| ()))
        .route("/signed-in", get(async |_: SignedIn| ()))
        .route("/handle", get(async |_: SessionHandle| ()));
    let wrong_marker = Router::new()
        .route("/session", get(async |_: Session<Admin>| ()))
        .route("/optional", get(async |_: Option<Session<Admin>>| ()))
        .route("/signed-in", get(async |_: SignedIn<Admin>| ()))
        .route("/handle", get(async |_: SessionHandle<Admin>| ()))
        .layer(SessionLayer::new(MemoryStore::new()));
    for app in [app, wrong_marker] {
        for path in ["/session", "/optional", "/signed-in", "/handle"] {
            let reply = Client::new(&app).get(path).await;
            assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
            assert_eq!(reply.text(), "Internal Server Error", "{path}");
        }
    }
}

/// Returns a router whose handlers fail in different ways.
fn failing_app() -> Router {
    struct Unserializable;
    impl serde::Serialize for Unserializable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("a secret that must not be shown"))
        }
    }

    async fn wrong_type(session: Session) -> Result<(), Error> {
        session.insert("secret key", "a secret that must not be shown")?;
        session.get::<u8>("secret key").map(|_| ())
    }

    async fn detached(session: Session) -> Result<(), Error> {
        session.detach().sign_in("ada")
    }

    async fn lifetime(session: Session) -> Result<(), Error> {
        session.set_lifetime(sessile::Lifetime::new().with_absolute_timeout(std::time::Duration::ZERO))
    }

    let layer = SessionLayer::builder(MemoryStore::new()).with_size_limit(1_000).build().unwrap();
    Router::new()
        .route("/serialize", get(async |session: Session| session.insert("key", &Unserializable)))
        .route("/type", get(wrong_type))
        .route("/too-large", get(async |session: Session| session.insert("key", &"x".repeat(2_000))))
        .route("/detached", get(detached))
        .route("/lifetime", get(lifetime))
        .route("/signed-out", get(async |_: SignedIn| ()))
        .layer(layer)
        .route("/missing", get(async |_: Session| ()))
}

/// Seven failing handlers answer with the documented status, no details of the server in the body, and no cookie.
#[tokio::test]
async fn error_response_has_its_status_and_no_details() {
    for (path, status) in [
        ("/serialize", StatusCode::INTERNAL_SERVER_ERROR),
        ("/type", StatusCode::INTERNAL_SERVER_ERROR),
        ("/too-large", StatusCode::PAYLOAD_TOO_LARGE),
        ("/detached", StatusCode::INTERNAL_SERVER_ERROR),
        ("/lifetime", StatusCode::INTERNAL_SERVER_ERROR),
        ("/signed-out", StatusCode::UNAUTHORIZED),
        ("/missing", StatusCode::INTERNAL_SERVER_ERROR),
    ] {
        let reply: Reply = Client::new(&failing_app()).get(path).await;
        assert_eq!(reply.status, status, "{path}");
        let advice = match status {
            StatusCode::PAYLOAD_TOO_LARGE => ": the session would be too large",
            StatusCode::UNAUTHORIZED => ": sign in first",
            _ => "",
        };
        assert_eq!(reply.text(), format!("{}{advice}", status.canonical_reason().unwrap()), "{path}");
        reply.assert_no_cookie();
    }
}

/// Each `ErrorKind` has its documented status; a store error keeps its source, which the response hides.
#[tokio::test]
async fn error_kinds_have_their_documented_status() {
    for (kind, status) in [
        (ErrorKind::Unavailable, 503),
        (ErrorKind::Superseded, 409),
        (ErrorKind::Ended, 409),
        (ErrorKind::Conflict, 409),
        (ErrorKind::TooLarge, 413),
        (ErrorKind::Serialize, 500),
        (ErrorKind::TypeMismatch, 500),
        (ErrorKind::ResponseSent, 500),
        (ErrorKind::Detached, 500),
        (ErrorKind::InvalidLifetime, 500),
        (ErrorKind::MissingLayer, 500),
        (ErrorKind::NotSignedIn, 401),
    ] {
        assert_eq!(kind.status().as_u16(), status, "{kind:?}");
    }
    let error = Error::from(sessile::store::StoreError::unavailable("10.0.0.7 refused the password hunter2"));
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let source = std::error::Error::source(&error).expect("the store's error is kept");
    assert!(std::error::Error::source(source).is_some());
    let response = error.into_response();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "Service Unavailable: the service cannot answer now; try again in a moment");
}

/// Nested routers, nested services, merged routes and fallbacks share the layer's session.
#[tokio::test]
async fn session_works_in_nested_routers_services_and_fallbacks() {
    let inner = Router::new().route("/set", post(set)).route("/keys", get(keys));
    let deep = Router::new().nest("/b", inner.clone()).fallback(keys);
    let app = Router::new()
        .nest("/a", deep)
        .nest_service("/service", inner.clone())
        .merge(Router::new().route("/merged", get(keys)))
        .fallback(keys)
        .method_not_allowed_fallback(keys)
        .layer(SessionLayer::new(MemoryStore::new()));

    for path in ["/a/b/set", "/service/set"] {
        let mut client = Client::new(&app);
        client.post(path).await.set_cookie();
        for path in ["/a/b/keys", "/service/keys", "/merged", "/a/unknown", "/unknown"] {
            assert_eq!(client.get(path).await.text(), "key", "{path}");
        }
        assert_eq!(client.post("/merged").await.text(), "key", "the method fallback");
    }
}

/// A route outside the nested router has no session and answers 500.
#[tokio::test]
async fn layer_on_a_nested_router_covers_only_its_routes() {
    let nested = Router::new().route("/set", post(set)).layer(SessionLayer::new(MemoryStore::new()));
    let app = Router::new().nest("/a", nested).route("/set", post(set));
    Client::new(&app).post("/a/set").await.set_cookie();
    assert_eq!(Client::new(&app).post("/set").await.status, StatusCode::INTERNAL_SERVER_ERROR);
}

/// A redirect after a sign-in and a 404 after an insert both commit and set the cookie.
#[tokio::test]
async fn redirects_and_client_errors_set_the_cookie() {
    async fn redirect(session: Session) -> Result<Redirect, Error> {
        session.sign_in("ada")?;
        Ok(Redirect::to("/welcome"))
    }

    async fn not_found(session: Session) -> Result<StatusCode, Error> {
        session.insert("missed", &1)?;
        Ok(StatusCode::NOT_FOUND)
    }

    let app = Router::new()
        .route("/redirect", post(redirect))
        .route("/not-found", get(not_found))
        .route("/keys", get(keys))
        .layer(SessionLayer::new(MemoryStore::new()));
    let mut client = Client::new(&app);
    let reply = client.post("/redirect").await;
    assert_eq!((reply.status, reply.header("location")), (StatusCode::SEE_OTHER, Some("/welcome")));
    reply.set_cookie();
    let mut client = Client::new(&app);
    let reply = client.get("/not-found").await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
    reply.set_cookie();
    assert_eq!(client.get("/keys").await.text(), "missed");
}

/// Middleware reads and writes the handler's session before and after it, and refuses requests without an owner.
#[tokio::test]
async fn middleware_shares_the_session_with_the_handler() {
    async fn count(handle: SessionHandle, request: Request, next: Next) -> Result<Response, Error> {
        let session = handle.load().await?;
        session.update("requests", |n: &mut u32| *n += 1)?;
        let mut response = next.run(request).await;
        // After the handler, but before the response head is sent.
        let seen: String = session.get("by-handler")?.unwrap_or_default();
        session.insert("by-middleware", &seen)?;
        response.headers_mut().insert("x-seen", seen.parse().unwrap());
        Ok(response)
    }

    async fn guard(request: Request, next: Next) -> Result<Response, Error> {
        let handle = request.extensions().get::<SessionHandle>().cloned().unwrap();
        if handle.load().await?.owner().is_none() {
            return Ok(StatusCode::FORBIDDEN.into_response());
        }
        Ok(next.run(request).await)
    }

    async fn handler(session: Session) -> Result<String, Error> {
        session.insert("by-handler", "hello")?;
        Ok(session.get::<u32>("requests")?.unwrap_or_default().to_string())
    }

    let app = Router::new()
        .route("/guarded", get(keys).layer(from_fn(guard)))
        .route("/", get(handler).layer(from_fn(count)))
        .route("/sign-in", post(async |session: Session| session.sign_in("ada")))
        .route("/keys", get(keys))
        .layer(SessionLayer::new(MemoryStore::new()));
    let mut client = Client::new(&app);
    assert_eq!(client.get("/guarded").await.status, StatusCode::FORBIDDEN);
    assert_eq!(client.get("/").await.text(), "1");
    let reply = client.get("/").await;
    assert_eq!((reply.text(), reply.header("x-seen")), ("2", Some("hello")));
    assert_eq!(client.get("/keys").await.text(), "requests,by-handler,by-middleware");
    client.post("/sign-in").await;
    assert_eq!(client.get("/guarded").await.status, StatusCode::OK);
}
