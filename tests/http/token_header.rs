//! Tokens in a header, for clients without cookies: instead of the cookie, or beside it.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use axum::Router;
use axum::body::Body;
use axum::routing::{any, get};
use http::header::{AUTHORIZATION, CACHE_CONTROL, COOKIE, VARY};
use http::{Request, StatusCode};
use sessile::config::TokenHeader;
use sessile::csrf::{Csrf, CsrfLayer};
use sessile::{MemoryStore, Session, SessionLayer, SessionLayerBuilder, Token};
use support::client::{COOKIE_NAME, Client, Reply, send};
use support::store::{CountingStore, Counts};

const RESPONSE_HEADER: &str = "session-token";

fn router() -> Router {
    Router::new()
        .route("/write", any(async |session: Session| session.insert("n", &7)))
        .route("/read", get(async |session: Session| format!("{:?}", session.get::<u32>("n").unwrap())))
        .route("/untouched", get(async || "session not used"))
        .route("/guarded", any(async |_: Csrf| ()))
        .route("/sign-in", get(async |session: Session| session.sign_in("ada")))
        .route("/rotate", get(async |session: Session| session.rotate()))
        .route("/sign-out", get(async |session: Session| session.sign_out()))
}

fn app(settings: impl FnOnce(SessionLayerBuilder) -> SessionLayerBuilder) -> Router {
    router().layer(settings(SessionLayer::builder(MemoryStore::new())).build().unwrap())
}

fn with_cookie_and_header() -> Router {
    app(|layer| layer.with_token_header(TokenHeader::bearer()))
}

fn with_header_only() -> Router {
    app(|layer| layer.with_token_header(TokenHeader::bearer()).without_cookie())
}

async fn get_with(app: &Router, path: &str, headers: &[(&str, &str)]) -> Reply {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(app, request.body(Body::empty()).unwrap()).await
}

async fn bearer(app: &Router, path: &str, token: &str) -> Reply {
    get_with(app, path, &[("authorization", &format!("Bearer {token}"))]).await
}

/// Write, sign-in, rotation and sign-out answer in `session-token`, reads do not, and no cookie is set.
#[tokio::test]
async fn header_client_receives_changed_tokens_in_the_header() {
    for app in [with_cookie_and_header(), with_header_only()] {
        let reply = get_with(&app, "/write", &[("authorization", "Bearer")]).await;
        reply.assert_no_cookie();
        let first = reply.header(RESPONSE_HEADER).unwrap().to_owned();
        assert!(Token::parse(first.as_bytes()).is_some());
        assert_eq!(reply.header(CACHE_CONTROL.as_str()), Some("no-store"));
        for path in ["/read", "/write", "/untouched"] {
            let reply = bearer(&app, path, &first).await;
            reply.assert_no_cookie();
            assert_eq!(reply.header(RESPONSE_HEADER), None, "{path}");
        }
        assert_eq!(bearer(&app, "/read", &first).await.text(), "Some(7)");
        let second = bearer(&app, "/sign-in", &first).await.header(RESPONSE_HEADER).unwrap().to_owned();
        let third = bearer(&app, "/rotate", &second).await.header(RESPONSE_HEADER).unwrap().to_owned();
        for retired in [&first, &second] {
            assert_eq!(bearer(&app, "/read", retired).await.text(), "None");
        }
        assert_eq!(bearer(&app, "/read", &third).await.text(), "Some(7)");
        let reply = bearer(&app, "/sign-out", &third).await;
        reply.assert_no_cookie();
        assert_eq!(reply.header(RESPONSE_HEADER), Some(""));
        assert_eq!(bearer(&app, "/read", &third).await.text(), "None");
    }
}

/// A cookie client gets no header; a bearer header takes precedence over the cookie, another scheme is ignored.
#[tokio::test]
async fn header_and_cookie_clients_share_one_layer() {
    let app = with_cookie_and_header();
    let mut browser = Client::new(&app);
    let reply = browser.get("/write").await;
    assert_eq!(reply.header(RESPONSE_HEADER), None);
    let cookie = reply.set_cookie().value;
    // A request with both uses the header, even if its token is invalid.
    let both = [("authorization", "Bearer nonsense"), ("cookie", &*format!("{COOKIE_NAME}={cookie}"))];
    assert_eq!(get_with(&app, "/read", &both).await.text(), "None");
    // Another authentication scheme is ignored.
    let basic = [("authorization", "Basic YTpi"), ("cookie", &*format!("{COOKIE_NAME}={cookie}"))];
    assert_eq!(get_with(&app, "/read", &basic).await.text(), "Some(7)");
    // A token is valid in the cookie and in the header.
    assert_eq!(bearer(&app, "/read", &cookie).await.text(), "Some(7)");
}

/// With the header only, the token is sent in the header, and the same token in a cookie opens nothing.
#[tokio::test]
async fn without_cookie_neither_reads_nor_sends_cookies() {
    let app = with_header_only();
    let reply = get_with(&app, "/write", &[]).await;
    reply.assert_no_cookie();
    let token = reply.header(RESPONSE_HEADER).unwrap().to_owned();
    assert_eq!(get_with(&app, "/read", &[("cookie", &format!("{COOKIE_NAME}={token}"))]).await.text(), "None");
    assert_eq!(bearer(&app, "/read", &token).await.text(), "Some(7)");
}

/// Without the setting, a valid token in any of three headers opens nothing.
#[tokio::test]
async fn headers_are_ignored_by_default() {
    let app = app(|layer| layer);
    let token = Client::new(&app).get("/write").await.set_cookie().value;
    let named = [("authorization", &*format!("Bearer {token}")), (RESPONSE_HEADER, &*token), ("x-session", &*token)];
    assert_eq!(get_with(&app, "/read", &named).await.text(), "None");
}

/// `TokenHeader::named` reads and sends the token in `x-session` and ignores `authorization`.
#[tokio::test]
async fn named_header_carries_the_token_both_ways() {
    let app = app(|layer| layer.with_token_header(TokenHeader::named("x-session").unwrap()));
    let token = get_with(&app, "/write", &[("x-session", "")]).await.header("x-session").unwrap().to_owned();
    assert_eq!(get_with(&app, "/read", &[("X-Session", &token)]).await.text(), "Some(7)");
    assert_eq!(get_with(&app, "/read", &[("authorization", &format!("Bearer {token}"))]).await.text(), "None");
}

/// Repeated, joined, overlong and unprefixed values load nothing; case and spaces of `Bearer` are lenient.
#[tokio::test]
async fn malformed_header_tokens_make_no_store_call() {
    let store = CountingStore::new(MemoryStore::new());
    let layer = SessionLayer::builder(store.clone()).with_token_header(TokenHeader::bearer()).build().unwrap();
    let app = router().layer(layer);
    let token =
        get_with(&app, "/write", &[("authorization", "bearer ")]).await.header(RESPONSE_HEADER).unwrap().to_owned();
    store.reset();
    let (twice, joined) = (format!("Bearer {token}"), format!("Bearer {token}, Bearer {token}"));
    let (glued, longer, basic) = (format!("Bearer{token}"), format!("Bearer {token}A"), format!("Basic {token}"));
    let requests: [&[(&str, &str)]; 6] = [
        &[("authorization", &twice), ("authorization", &twice)],
        &[("authorization", &joined)],
        &[("authorization", &glued)],
        &[("authorization", &longer)],
        &[("authorization", &basic)],
        &[("authorization", &token)],
    ];
    for headers in requests {
        assert_eq!(get_with(&app, "/read", headers).await.text(), "None", "{headers:?}");
    }
    assert_eq!(store.counts(), Counts::NONE);
    assert_eq!(get_with(&app, "/read", &[("authorization", &format!("bEARER   {token} "))]).await.text(), "Some(7)");
    assert_eq!(store.counts(), Counts::gets(1));
}

/// A response to a session read has `Vary: authorization`, and `cookie` where cookies are read too.
#[tokio::test]
async fn vary_names_every_token_header() {
    for (app, vary) in [(with_cookie_and_header(), "authorization, cookie"), (with_header_only(), "authorization")] {
        let reply = get_with(&app, "/read", &[]).await;
        assert_eq!(reply.all(VARY.as_str()).join(", "), vary);
        assert!(get_with(&app, "/untouched", &[]).await.all(VARY.as_str()).is_empty());
    }
}

/// A response to a request with the header varies by the header alone, since its cookies are ignored.
#[tokio::test]
async fn vary_of_a_header_client_does_not_name_the_cookie() {
    for app in [with_cookie_and_header(), with_header_only()] {
        let reply = get_with(&app, "/write", &[("authorization", "Bearer"), ("cookie", "a=b")]).await;
        assert_eq!(reply.all(VARY.as_str()), ["authorization"]);
        let token = reply.header(RESPONSE_HEADER).unwrap();
        assert_eq!(bearer(&app, "/read", token).await.all(VARY.as_str()), ["authorization"]);
    }
}

/// Two nested layers that read the same header are a configuration error.
#[tokio::test]
async fn nested_layers_with_one_token_header_answer_500() {
    let layer = |name: &str| {
        let header = TokenHeader::named("x-session").unwrap();
        let builder = SessionLayer::builder(MemoryStore::new()).with_name(name.to_owned());
        builder.with_token_header(header).build().unwrap()
    };
    let app = router().layer(layer("inner")).layer(layer("outer"));
    assert_eq!(get_with(&app, "/read", &[]).await.status, StatusCode::INTERNAL_SERVER_ERROR);
}

/// Two nested layers with different headers and no cookies work under the default cookie name.
#[tokio::test]
async fn nested_layers_without_cookies_may_share_a_cookie_name() {
    let layer = |name: &str| {
        let header = TokenHeader::named(name).unwrap();
        SessionLayer::builder(MemoryStore::new()).with_token_header(header).without_cookie().build().unwrap()
    };
    let app = router().layer(layer("x-inner")).layer(layer("x-outer"));
    assert_eq!(get_with(&app, "/read", &[]).await.status, StatusCode::OK);
}

/// A POST with a bearer token passes `CsrfLayer` and `Csrf`; the same token in a cookie answers 403.
#[tokio::test]
async fn csrf_checks_skip_header_clients() {
    let layer = SessionLayer::builder(MemoryStore::new()).with_token_header(TokenHeader::bearer()).build().unwrap();
    let app = router().layer(CsrfLayer::new()).layer(layer);
    let post = |name: &'static str, value: String| {
        send(&app, Request::post("/write").header(name, value).body(Body::empty()).unwrap())
    };
    let reply = post(AUTHORIZATION.as_str(), "Bearer".into()).await;
    let token = reply.header(RESPONSE_HEADER).unwrap().to_owned();
    assert_eq!(post(AUTHORIZATION.as_str(), format!("Bearer {token}")).await.status, StatusCode::OK);
    let guarded = Request::post("/guarded").header(AUTHORIZATION, format!("Bearer {token}")).body(Body::empty());
    assert_eq!(send(&app, guarded.unwrap()).await.status, StatusCode::OK);
    let cookie = format!("{COOKIE_NAME}={token}");
    assert_eq!(post(COOKIE.as_str(), cookie).await.status, StatusCode::FORBIDDEN);
}

/// Malformed names, cookie headers and `authorization` are refused, and so is a layer without cookie and header.
#[test]
fn invalid_token_header_names_are_config_errors() {
    for name in ["", "two words", "naïve", "cookie", "Set-Cookie", "authorization"] {
        assert!(TokenHeader::named(name).is_err(), "{name}");
        assert!(TokenHeader::bearer().with_response_name(name).is_err(), "{name}");
    }
    let builder = SessionLayer::builder(MemoryStore::new()).without_cookie();
    assert!(builder.build().unwrap_err().to_string().contains("with_token_header"));
}
