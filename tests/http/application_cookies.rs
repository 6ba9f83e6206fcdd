//! Application cookies beside the session cookie, with `CookieManagerLayer` on either side of the session layer.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::collections::BTreeMap;

use axum::routing::{get, post};
use axum::{Extension, Router};
use http::header::SET_COOKIE;
use sessile::{Error, MemoryStore, Session, SessionLayer};
use support::client::{COOKIE_NAME, Client, Reply, request_with_cookies, send};
use tower_cookies::{Cookie, CookieManagerLayer, Cookies};

fn routes() -> Router {
    async fn both(Extension(cookies): Extension<Cookies>, session: Session) -> Result<(), Error> {
        cookies.add(Cookie::new("theme", "dark"));
        cookies.add(Cookie::new("lang", "en"));
        session.update("n", |n: &mut u32| *n += 1)
    }

    async fn read(Extension(cookies): Extension<Cookies>, session: Session) -> Result<String, Error> {
        let value_of = |name: &str| cookies.get(name).map(|cookie| cookie.value().to_owned()).unwrap_or_default();
        Ok(format!("{} {} {:?}", value_of("theme"), value_of("lang"), session.get::<u32>("n")?))
    }

    async fn sign_out(Extension(cookies): Extension<Cookies>, session: Session) -> Result<(), Error> {
        cookies.remove(Cookie::from("theme"));
        session.sign_out()
    }

    async fn set_cookie_header(session: Session) -> Result<([(http::HeaderName, &'static str); 1], ()), Error> {
        session.insert("n", &1)?;
        Ok(([(SET_COOKIE, "manual=1; Path=/")], ()))
    }

    Router::new()
        .route("/both", post(both))
        .route("/own", post(async |Extension(cookies): Extension<Cookies>| cookies.add(Cookie::new("theme", "light"))))
        .route("/session", post(async |session: Session| session.update("n", |n: &mut u32| *n += 1)))
        .route("/sign-out", post(sign_out))
        .route("/manual", post(set_cookie_header))
        .route("/", get(read))
}

/// The cookie manager outside the session layer, and inside.
fn both_layer_orders() -> [Router; 2] {
    let session = || SessionLayer::new(MemoryStore::new());
    [
        routes().layer(session()).layer(CookieManagerLayer::new()),
        routes().layer(CookieManagerLayer::new()).layer(session()),
    ]
}

/// Cookie names that a response sets, each with whether it removes the cookie; a duplicate fails the test.
fn cookies_of(reply: &Reply) -> BTreeMap<String, bool> {
    let cookies = reply.set_cookies();
    let by_name: BTreeMap<_, _> = cookies.iter().map(|cookie| (cookie.name.clone(), cookie.is_removal())).collect();
    assert_eq!(by_name.len(), cookies.len(), "a cookie is set more than once in {reply:?}");
    by_name
}

fn set(names: &[&str]) -> BTreeMap<String, bool> {
    names.iter().map(|&name| (name.to_owned(), false)).collect()
}

/// A handler that writes both sets each cookie once, in either order of the layers.
#[tokio::test]
async fn application_and_session_cookies_share_a_response() {
    for app in both_layer_orders() {
        let mut client = Client::new(&app);
        assert_eq!(cookies_of(&client.post("/both").await), set(&["theme", "lang", COOKIE_NAME]));
        assert_eq!(client.get("/").await.text(), "dark en Some(1)");
    }
}

/// Changing only application cookies or only the session sets no cookie of the other.
#[tokio::test]
async fn each_layer_sets_only_its_changed_cookies() {
    for app in both_layer_orders() {
        let mut client = Client::new(&app);
        assert_eq!(cookies_of(&client.post("/own").await), set(&["theme"]));
        assert_eq!(cookies_of(&client.post("/session").await), set(&[COOKIE_NAME]));
        assert_eq!(client.get("/").await.text(), "light  Some(1)");
        assert_eq!(cookies_of(&client.post("/session").await), set(&[]));
        assert_eq!(cookies_of(&client.post("/both").await), set(&["theme", "lang"]));
        assert_eq!(client.get("/").await.text(), "dark en Some(3)");
        assert_eq!(cookies_of(&client.get("/").await), set(&[]));
    }
}

/// A sign-out that also removes an application cookie removes both cookies in one response.
#[tokio::test]
async fn sign_out_and_cookie_removal_share_a_response() {
    for app in both_layer_orders() {
        let mut client = Client::new(&app);
        client.post("/both").await;
        let removed = cookies_of(&client.post("/sign-out").await);
        assert_eq!(removed, BTreeMap::from([("theme".to_owned(), true), (COOKIE_NAME.to_owned(), true)]));
        assert_eq!(client.get("/").await.text(), " en None");
    }
}

/// A `Cookie` header with the session token between application cookies is read by both layers.
#[tokio::test]
async fn one_cookie_header_serves_both_layers() {
    for app in both_layer_orders() {
        let mut client = Client::new(&app);
        client.post("/session").await;
        let token = client.token().unwrap();
        let cookie = format!("theme=blue; {COOKIE_NAME}={token}; lang=de");
        let reply = send(&app, request_with_cookies("/", &[cookie.as_bytes()])).await;
        assert_eq!(reply.text(), "blue de Some(1)");
    }
}

/// A handler that adds `Set-Cookie` itself keeps that header beside the session cookie.
#[tokio::test]
async fn set_cookie_header_of_a_handler_is_kept() {
    for app in both_layer_orders() {
        let reply = Client::new(&app).post("/manual").await;
        assert_eq!(cookies_of(&reply), set(&["manual", COOKIE_NAME]));
    }
}
