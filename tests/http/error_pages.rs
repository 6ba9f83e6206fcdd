//! Responses for errors: plain text, problem details, or a page of the application.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use axum::Router;
use axum::body::Body;
use axum::middleware::{Next, from_fn, map_response};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, LOCATION, RETRY_AFTER, VARY, WWW_AUTHENTICATE};
use http::{HeaderValue, Request, StatusCode};
use serde_json::{Value, json};
use sessile::config::TokenHeader;
use sessile::csrf::CsrfLayer;
use sessile::errors::ErrorLayer;
use sessile::{Error, ErrorKind, MemoryStore, Session, SessionLayer, SignedIn};
use support::client::{Reply, send};
use support::store::{Fault, FaultyStore, Op};

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

fn app(layer: SessionLayer) -> Router {
    /// Stores a session, and then finds that no one is signed in.
    async fn stored_and_refused(session: Session) -> Result<(), Error> {
        session.insert("n", &1)?;
        session.commit().await?;
        session.require_recent(std::time::Duration::ZERO)
    }
    Router::new()
        .route("/account", get(async |_: SignedIn| "an account"))
        .route("/write", get(async |session: Session| session.insert("n", &1)))
        .route("/stored-and-refused", get(stored_and_refused))
        .route("/own-error", get(async || (StatusCode::CONFLICT, "an answer of the application")))
        .route("/form", post(async || "a form").layer(CsrfLayer::new()))
        .layer(layer)
}

async fn ask(app: &Router, method: &str, path: &str, accept: &str) -> Reply {
    let request = Request::builder().method(method).uri(path).header(ACCEPT, accept);
    send(app, request.body(Body::empty()).unwrap()).await
}

/// Without the layer, an error is a plain text that says what the client can do.
#[tokio::test]
async fn an_error_is_a_plain_text() {
    let app = app(SessionLayer::new(MemoryStore::new()));
    let reply = ask(&app, "GET", "/account", "application/json").await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        (reply.header(CONTENT_TYPE.as_str()), reply.text()),
        (Some("text/plain; charset=utf-8"), "Unauthorized: sign in first")
    );
    let reply = ask(&app, "POST", "/form", BROWSER).await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
    assert!(reply.text().contains("expired"), "{}", reply.text());
}

/// The layer answers clients that prefer JSON with problem details, also for its own failed commit.
#[tokio::test]
async fn error_layer_answers_by_accept() {
    let store = FaultyStore::new(MemoryStore::new());
    let app = app(SessionLayer::new(store.clone())).layer(ErrorLayer::new());
    store.fail_always(Op::Set, Fault::Before);
    for (method, path, status, kind) in [
        ("GET", "/account", StatusCode::UNAUTHORIZED, "not_signed_in"),
        ("POST", "/form", StatusCode::FORBIDDEN, "csrf_refused"),
        ("GET", "/write", StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    ] {
        let reply = ask(&app, method, path, "application/json").await;
        assert_eq!(reply.status, status);
        assert_eq!(reply.header(CONTENT_TYPE.as_str()), Some("application/problem+json"));
        let problem: Value = reply.json();
        assert_eq!(problem["status"], json!(status.as_u16()));
        assert_eq!((&problem["title"], &problem["kind"]), (&json!(status.canonical_reason()), &json!(kind)));
        assert!(reply.all(VARY.as_str()).join(",").contains("accept"));
        let page = ask(&app, method, path, BROWSER).await;
        assert_eq!((page.status, page.header(CONTENT_TYPE.as_str())), (status, Some("text/plain; charset=utf-8")));
        assert!(page.text().starts_with(status.canonical_reason().unwrap()), "{}", page.text());
        let retry = (kind == "unavailable").then_some("1");
        assert_eq!((reply.header(RETRY_AFTER.as_str()), page.header(RETRY_AFTER.as_str())), (retry, retry));
    }
}

/// A page of the application gets the error's status and the headers of the layers below, the cookie among them.
#[tokio::test]
async fn the_application_answers_with_its_own_page() {
    let pages = ErrorLayer::from_fn(|kind, head| match kind {
        ErrorKind::NotSignedIn if head.uri.path() == "/account" => Redirect::to("/sign-in").into_response(),
        kind => ([(CACHE_CONTROL, "public")], Html(format!("<p>{kind}"))).into_response(),
    });
    let app = app(SessionLayer::new(MemoryStore::new())).layer(pages);
    let reply = ask(&app, "GET", "/account", BROWSER).await;
    assert_eq!((reply.status, reply.header(LOCATION.as_str())), (StatusCode::SEE_OTHER, Some("/sign-in")));
    let reply = ask(&app, "POST", "/form", BROWSER).await;
    assert_eq!(
        (reply.status, reply.text()),
        (StatusCode::FORBIDDEN, "<p>the request has no CSRF token of its session")
    );
    let reply = ask(&app, "GET", "/stored-and-refused", BROWSER).await;
    assert_eq!((reply.status, reply.text()), (StatusCode::UNAUTHORIZED, "<p>the session is not signed in"));
    assert_eq!(reply.header(CONTENT_TYPE.as_str()), Some("text/html; charset=utf-8"));
    assert!(!reply.set_cookie().is_removal());
    // A cache must not keep the page with the cookie.
    assert_eq!(reply.header(CACHE_CONTROL.as_str()), Some("no-store"));
}

/// Returns a layer whose pages name a part of the site and the kind of the error.
fn pages_of(part: &'static str) -> ErrorLayer {
    ErrorLayer::from_fn(move |kind, _| Html(format!("{part}: {}", kind.name())))
}

/// Adds the kind of an error to its response, as middleware that counts errors would find it.
async fn show_kind(mut response: Response) -> Response {
    if let Some(kind) = response.extensions().get::<ErrorKind>() {
        let name = HeaderValue::from_static(kind.name());
        response.headers_mut().insert("x-kind", name);
    }
    response
}

/// Of several layers around an error the innermost answers, and the kind stays.
#[tokio::test]
async fn the_innermost_error_layer_answers() {
    let routes = || Router::new().route("/account", get(async |_: SignedIn| "an account"));
    let site = routes()
        .nest("/shop", routes().layer(pages_of("shop")))
        .nest("/api", routes().layer(ErrorLayer::new()))
        .layer(SessionLayer::new(MemoryStore::new()))
        .layer(pages_of("site"))
        .layer(pages_of("house"))
        .layer(map_response(show_kind));
    for (path, content_type, text) in [
        ("/account", "text/html; charset=utf-8", "site: not_signed_in"),
        ("/shop/account", "text/html; charset=utf-8", "shop: not_signed_in"),
        ("/api/account", "application/problem+json", r#""kind":"not_signed_in""#),
    ] {
        let reply = ask(&site, "GET", path, "application/json").await;
        assert_eq!((reply.status, reply.header(CONTENT_TYPE.as_str())), (StatusCode::UNAUTHORIZED, Some(content_type)));
        assert!(reply.text().contains(text), "{path}: {}", reply.text());
        assert_eq!(reply.header("x-kind"), Some("not_signed_in"));
    }
}

/// An error that replaces an answered response is answered in its turn: one of middleware, and a failed commit.
#[tokio::test]
async fn an_error_after_an_answered_error_is_answered() {
    async fn fails_after(session: Session, request: Request<Body>, next: Next) -> Result<Response, Error> {
        let response = next.run(request).await;
        assert_eq!(response.extensions().get(), Some(&ErrorKind::NotSignedIn));
        session.insert("n", &"n".repeat(2 << 20))?;
        Ok(response)
    }
    let store = FaultyStore::new(MemoryStore::new());
    let sign_in_page = ErrorLayer::from_fn(|_, _| Redirect::to("/sign-in"));
    let write = async |session: Session| {
        session.insert("n", &1)?;
        session.require_recent(std::time::Duration::ZERO)
    };
    let site = Router::new()
        .route("/middleware", get(async |_: SignedIn| "an account").layer(pages_of("part")).layer(from_fn(fails_after)))
        .route("/commit", get(write).layer(sign_in_page))
        .layer(SessionLayer::new(store.clone()))
        .layer(pages_of("site"));
    let reply = ask(&site, "GET", "/middleware", BROWSER).await;
    assert_eq!((reply.status, reply.text()), (StatusCode::PAYLOAD_TOO_LARGE, "site: too_large"));
    assert_eq!(ask(&site, "GET", "/commit", BROWSER).await.status, StatusCode::SEE_OTHER);
    store.fail_always(Op::Set, Fault::Before);
    let reply = ask(&site, "GET", "/commit", BROWSER).await;
    assert_eq!((reply.status, reply.text()), (StatusCode::SERVICE_UNAVAILABLE, "site: unavailable"));
}

/// Responses that are not errors of this crate pass unchanged.
#[tokio::test]
async fn other_responses_pass_unchanged() {
    let app = app(SessionLayer::new(MemoryStore::new())).layer(ErrorLayer::from_fn(|_, _| "replaced"));
    let reply = ask(&app, "GET", "/own-error", "application/json").await;
    assert_eq!((reply.status, reply.text()), (StatusCode::CONFLICT, "an answer of the application"));
    assert_eq!(ask(&app, "GET", "/write", BROWSER).await.status, StatusCode::OK);
    assert_eq!(ask(&app, "GET", "/missing", BROWSER).await.text(), "");
}

/// A 401 of an API with bearer tokens has a challenge (RFC 9110 §11.6.1), unless the handler has sent one.
#[tokio::test]
async fn a_401_of_a_bearer_api_has_a_challenge() {
    let own = get(async || (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Basic")]));
    let routes = |layer: SessionLayer| app(layer.clone()).route("/own", own.clone().layer(layer));
    let builder = || SessionLayer::builder(MemoryStore::new());
    let bearer = routes(builder().with_token_header(TokenHeader::bearer()).build().unwrap());
    let challenge = |reply: Reply| reply.header(WWW_AUTHENTICATE.as_str()).map(str::to_owned);
    assert_eq!(challenge(ask(&bearer, "GET", "/account", "*/*").await).as_deref(), Some("Bearer"));
    assert_eq!(challenge(ask(&bearer, "GET", "/own", "*/*").await).as_deref(), Some("Basic"));
    assert_eq!(challenge(ask(&bearer, "GET", "/write", "*/*").await), None);
    for layer in [builder().build(), builder().with_token_header(TokenHeader::named("x-session").unwrap()).build()] {
        assert_eq!(challenge(ask(&routes(layer.unwrap()), "GET", "/account", "*/*").await), None);
    }
}
