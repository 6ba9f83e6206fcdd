//! An application's own cookies beside the session's, by `CookieManagerLayer` on either side of the session layer.

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
        let own = |name: &str| cookies.get(name).map(|cookie| cookie.value().to_owned()).unwrap_or_default();
        Ok(format!("{} {} {:?}", own("theme"), own("lang"), session.get::<u32>("n")?))
    }

    async fn sign_out(Extension(cookies): Extension<Cookies>, session: Session) -> Result<(), Error> {
        cookies.remove(Cookie::from("theme"));
        session.sign_out()
    }

    async fn by_hand(session: Session) -> Result<([(http::HeaderName, &'static str); 1], ()), Error> {
        session.insert("by", "hand")?;
        Ok(([(SET_COOKIE, "handmade=1; Path=/")], ()))
    }

    Router::new()
        .route("/both", post(both))
        .route("/own", post(async |Extension(cookies): Extension<Cookies>| cookies.add(Cookie::new("theme", "light"))))
        .route("/session", post(async |session: Session| session.update("n", |n: &mut u32| *n += 1)))
        .route("/sign-out", post(sign_out))
        .route("/by-hand", post(by_hand))
        .route("/", get(read))
}

/// The manager outside of the session layer, and inside.
fn both_nestings() -> [Router; 2] {
    let session = || SessionLayer::new(MemoryStore::new());
    [
        routes().layer(session()).layer(CookieManagerLayer::new()),
        routes().layer(CookieManagerLayer::new()).layer(session()),
    ]
}

/// The cookies that a response sets, by name; none twice.
fn cookies_of(reply: &Reply) -> BTreeMap<String, bool> {
    let cookies = reply.set_cookies();
    let by_name: BTreeMap<_, _> = cookies.iter().map(|cookie| (cookie.name.clone(), cookie.is_removal())).collect();
    assert_eq!(by_name.len(), cookies.len(), "a cookie is set twice in {reply:?}");
    by_name
}

fn set(names: &[&str]) -> BTreeMap<String, bool> {
    names.iter().map(|&name| (name.to_owned(), false)).collect()
}

#[tokio::test]
async fn one_response_sets_the_cookies_of_both_once_each() {
    for app in both_nestings() {
        let mut client = Client::new(&app);
        assert_eq!(cookies_of(&client.post("/both").await), set(&["theme", "lang", COOKIE_NAME]));
        assert_eq!(client.get("/").await.text(), "dark en Some(1)");
    }
}

#[tokio::test]
async fn each_sets_its_own_without_the_other() {
    for app in both_nestings() {
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

#[tokio::test]
async fn both_are_removed_in_one_response() {
    for app in both_nestings() {
        let mut client = Client::new(&app);
        client.post("/both").await;
        let removed = cookies_of(&client.post("/sign-out").await);
        assert_eq!(removed, BTreeMap::from([("theme".to_owned(), true), (COOKIE_NAME.to_owned(), true)]));
        assert_eq!(client.get("/").await.text(), " en None");
    }
}

#[tokio::test]
async fn both_read_one_cookie_header() {
    for app in both_nestings() {
        let mut client = Client::new(&app);
        client.post("/session").await;
        let token = client.token().unwrap();
        let cookie = format!("theme=blue; {COOKIE_NAME}={token}; lang=de");
        let reply = send(&app, request_with_cookies("/", &[cookie.as_bytes()])).await;
        assert_eq!(reply.text(), "blue de Some(1)");
    }
}

#[tokio::test]
async fn a_set_cookie_of_the_handler_stays() {
    for app in both_nestings() {
        let reply = Client::new(&app).post("/by-hand").await;
        assert_eq!(cookies_of(&reply), set(&["handmade", COOKIE_NAME]));
    }
}
