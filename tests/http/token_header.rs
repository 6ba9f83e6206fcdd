//! Tokens in a header, for clients that keep no cookies: alone, and beside the cookie.

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

const ANSWER: &str = "session-token";

fn router() -> Router {
    Router::new()
        .route("/write", any(async |session: Session| session.insert("n", &7)))
        .route("/read", get(async |session: Session| format!("{:?}", session.get::<u32>("n").unwrap())))
        .route("/untouched", get(async || "nobody asked"))
        .route("/guarded", any(async |_: Csrf| ()))
        .route("/sign-in", get(async |session: Session| session.sign_in("ada")))
        .route("/rotate", get(async |session: Session| session.rotate()))
        .route("/sign-out", get(async |session: Session| session.sign_out()))
}

fn app(settings: impl FnOnce(SessionLayerBuilder) -> SessionLayerBuilder) -> Router {
    router().layer(settings(SessionLayer::builder(MemoryStore::new())).build().unwrap())
}

fn beside() -> Router {
    app(|layer| layer.with_token_header(TokenHeader::bearer()))
}

fn alone() -> Router {
    app(|layer| layer.with_token_header(TokenHeader::bearer()).without_cookie())
}

async fn with(app: &Router, path: &str, headers: &[(&str, &str)]) -> Reply {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(app, request.body(Body::empty()).unwrap()).await
}

async fn bearer(app: &Router, path: &str, token: &str) -> Reply {
    with(app, path, &[("authorization", &format!("Bearer {token}"))]).await
}

#[tokio::test]
async fn a_client_of_the_header_is_given_its_token_there_and_only_when_it_changes() {
    for app in [beside(), alone()] {
        let reply = with(&app, "/write", &[("authorization", "Bearer")]).await;
        reply.assert_no_cookie();
        let first = reply.header(ANSWER).unwrap().to_owned();
        assert!(Token::parse(first.as_bytes()).is_some());
        assert_eq!(reply.header(CACHE_CONTROL.as_str()), Some("no-store"));
        for path in ["/read", "/write", "/untouched"] {
            let reply = bearer(&app, path, &first).await;
            reply.assert_no_cookie();
            assert_eq!(reply.header(ANSWER), None, "{path}");
        }
        assert_eq!(bearer(&app, "/read", &first).await.text(), "Some(7)");
        let second = bearer(&app, "/sign-in", &first).await.header(ANSWER).unwrap().to_owned();
        let third = bearer(&app, "/rotate", &second).await.header(ANSWER).unwrap().to_owned();
        for retired in [&first, &second] {
            assert_eq!(bearer(&app, "/read", retired).await.text(), "None");
        }
        assert_eq!(bearer(&app, "/read", &third).await.text(), "Some(7)");
        let reply = bearer(&app, "/sign-out", &third).await;
        reply.assert_no_cookie();
        assert_eq!(reply.header(ANSWER), Some(""));
        assert_eq!(bearer(&app, "/read", &third).await.text(), "None");
    }
}

#[tokio::test]
async fn beside_the_cookie_each_client_is_answered_in_kind() {
    let app = beside();
    let mut browser = Client::new(&app);
    let reply = browser.get("/write").await;
    assert_eq!(reply.header(ANSWER), None);
    let cookie = reply.set_cookie().value;
    // The header counts where both come, even if it opens nothing.
    let both = [("authorization", "Bearer nonsense"), ("cookie", &*format!("{COOKIE_NAME}={cookie}"))];
    assert_eq!(with(&app, "/read", &both).await.text(), "None");
    // Another scheme is nothing of ours.
    let basic = [("authorization", "Basic YTpi"), ("cookie", &*format!("{COOKIE_NAME}={cookie}"))];
    assert_eq!(with(&app, "/read", &basic).await.text(), "Some(7)");
    // One token opens the session from either.
    assert_eq!(bearer(&app, "/read", &cookie).await.text(), "Some(7)");
}

#[tokio::test]
async fn without_the_cookie_none_is_read_or_sent() {
    let app = alone();
    let reply = with(&app, "/write", &[]).await;
    reply.assert_no_cookie();
    let token = reply.header(ANSWER).unwrap().to_owned();
    assert_eq!(with(&app, "/read", &[("cookie", &format!("{COOKIE_NAME}={token}"))]).await.text(), "None");
    assert_eq!(bearer(&app, "/read", &token).await.text(), "Some(7)");
}

#[tokio::test]
async fn by_default_no_header_is_looked_at() {
    let app = app(|layer| layer);
    let token = Client::new(&app).get("/write").await.set_cookie().value;
    let named = [("authorization", &*format!("Bearer {token}")), (ANSWER, &*token), ("x-session", &*token)];
    assert_eq!(with(&app, "/read", &named).await.text(), "None");
}

#[tokio::test]
async fn a_header_of_a_name_of_ones_own_carries_the_token_both_ways() {
    let app = app(|layer| layer.with_token_header(TokenHeader::named("x-session").unwrap()));
    let token = with(&app, "/write", &[("x-session", "")]).await.header("x-session").unwrap().to_owned();
    assert_eq!(with(&app, "/read", &[("X-Session", &token)]).await.text(), "Some(7)");
    assert_eq!(with(&app, "/read", &[("authorization", &format!("Bearer {token}"))]).await.text(), "None");
}

#[tokio::test]
async fn what_is_no_token_costs_no_store_operation() {
    let store = CountingStore::new(MemoryStore::new());
    let layer = SessionLayer::builder(store.clone()).with_token_header(TokenHeader::bearer()).build().unwrap();
    let app = router().layer(layer);
    let token = with(&app, "/write", &[("authorization", "bearer ")]).await.header(ANSWER).unwrap().to_owned();
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
        assert_eq!(with(&app, "/read", headers).await.text(), "None", "{headers:?}");
    }
    assert_eq!(store.counts(), Counts::NONE);
    assert_eq!(with(&app, "/read", &[("authorization", &format!("bEARER   {token} "))]).await.text(), "Some(7)");
    assert_eq!(store.counts(), Counts::gets(1));
}

#[tokio::test]
async fn caches_tell_by_every_header_that_a_token_may_come_in() {
    for (app, vary) in [(beside(), "authorization, cookie"), (alone(), "authorization")] {
        let reply = with(&app, "/read", &[]).await;
        assert_eq!(reply.all(VARY.as_str()).join(", "), vary);
        assert!(with(&app, "/untouched", &[]).await.all(VARY.as_str()).is_empty());
    }
}

#[tokio::test]
async fn two_layers_of_one_header_one_inside_the_other_are_a_500() {
    let layer = |name: &str| {
        let header = TokenHeader::named("x-session").unwrap();
        let builder = SessionLayer::builder(MemoryStore::new()).with_name(name.to_owned());
        builder.with_token_header(header).build().unwrap()
    };
    let app = router().layer(layer("inner")).layer(layer("outer"));
    assert_eq!(with(&app, "/read", &[]).await.status, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn two_layers_without_cookies_need_no_two_cookie_names() {
    let layer = |name: &str| {
        let header = TokenHeader::named(name).unwrap();
        SessionLayer::builder(MemoryStore::new()).with_token_header(header).without_cookie().build().unwrap()
    };
    let app = router().layer(layer("x-inner")).layer(layer("x-outer"));
    assert_eq!(with(&app, "/read", &[]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn no_csrf_token_is_asked_of_a_client_of_the_header() {
    let layer = SessionLayer::builder(MemoryStore::new()).with_token_header(TokenHeader::bearer()).build().unwrap();
    let app = router().layer(CsrfLayer::new()).layer(layer);
    let post = |name: &'static str, value: String| {
        send(&app, Request::post("/write").header(name, value).body(Body::empty()).unwrap())
    };
    let reply = post(AUTHORIZATION.as_str(), "Bearer".into()).await;
    let token = reply.header(ANSWER).unwrap().to_owned();
    assert_eq!(post(AUTHORIZATION.as_str(), format!("Bearer {token}")).await.status, StatusCode::OK);
    let guarded = Request::post("/guarded").header(AUTHORIZATION, format!("Bearer {token}")).body(Body::empty());
    assert_eq!(send(&app, guarded.unwrap()).await.status, StatusCode::OK);
    let cookie = format!("{COOKIE_NAME}={token}");
    assert_eq!(post(COOKIE.as_str(), cookie).await.status, StatusCode::FORBIDDEN);
}

#[test]
fn names_that_cannot_carry_tokens_are_refused() {
    for name in ["", "two words", "naïve", "cookie", "Set-Cookie", "authorization"] {
        assert!(TokenHeader::named(name).is_err(), "{name}");
        assert!(TokenHeader::bearer().with_response_name(name).is_err(), "{name}");
    }
    let builder = SessionLayer::builder(MemoryStore::new()).without_cookie();
    assert!(builder.build().unwrap_err().to_string().contains("neither"));
}
