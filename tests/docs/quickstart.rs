//! The quickstart example, over HTTP.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::client::set_cookies;
use support::site::{Site, Visitor};
use tokio::task::JoinSet;

/// Returns the visitor's session as the site shows it.
async fn who(visitor: &mut Visitor) -> Option<Value> {
    let response = visitor.request(Method::GET, "/me", "").await;
    match response.status() {
        StatusCode::OK => Some(response.json().await.unwrap()),
        status => {
            assert_eq!(status, StatusCode::NOT_FOUND);
            None
        }
    }
}

fn ok(text: &str) -> (u16, String) {
    (200, text.to_owned())
}

/// Status, body and cookie of each route.
#[tokio::test]
async fn every_quickstart_route_works() {
    let site = Site::start("quickstart");
    let mut visitor = site.visitor();
    assert_eq!(who(&mut visitor).await, None);
    assert_eq!(visitor.get("/static").await, ok("the same for everybody"));
    assert!(visitor.jar.is_empty());

    let response = visitor.request(Method::GET, "/", "").await;
    let cookie = set_cookies(response.headers()).remove(0);
    assert_eq!((cookie.name.as_str(), cookie.attribute("SameSite")), ("__Host-id", Some("Lax")));
    assert!(cookie.has("Secure") && cookie.has("HttpOnly"));
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.text().await.unwrap(), "visit 1\n");
    assert_eq!(visitor.get("/").await, ok("visit 2\n"));
    let me = who(&mut visitor).await.unwrap();
    assert_eq!(me["owner"], Value::Null);

    assert_eq!(visitor.get("/get/theme").await.0, 404);
    assert_eq!(visitor.post("/set/theme", "dark").await, ok("set\n"));
    assert_eq!(visitor.get("/get/theme").await, ok("dark"));
    assert_eq!(visitor.post("/remove/theme", "").await, ok("removed\n"));
    assert_eq!(visitor.post("/remove/theme", "").await, ok("was not there\n"));
    assert_eq!(visitor.get("/get/theme").await.0, 404);

    assert_eq!(visitor.get("/slow/slow?ms=5").await, ok("set, slowly\n"));
    assert_eq!(visitor.get("/slow-read/slow?ms=5").await, ok("slow"));
    assert_eq!(visitor.get("/slow-read/missing").await.0, 404);
    assert_eq!(visitor.get("/fail/failed").await, (500, "failed\n".to_owned()));
    assert_eq!(visitor.get("/get/failed").await.0, 404);

    let mut old = visitor.clone();
    assert_eq!(visitor.post("/rotate", "").await, ok("rotated\n"));
    assert_eq!(who(&mut old).await, None);
    assert_eq!(who(&mut visitor).await.unwrap(), me);

    let mut old = visitor.clone();
    assert_eq!(visitor.post("/sign-in?user=ada", "").await, ok("signed in as ada\n"));
    assert_eq!(who(&mut old).await, None);
    assert_eq!(who(&mut visitor).await.unwrap(), json!({ "id": me["id"], "owner": "ada" }));
    assert_eq!(visitor.get("/get/slow").await, ok("slow"));
    assert_eq!(visitor.post("/clear", "").await, ok("cleared\n"));
    assert_eq!(visitor.get("/get/slow").await.0, 404);
    assert_eq!(who(&mut visitor).await.unwrap()["owner"], "ada");

    let mut old = visitor.clone();
    assert_eq!(visitor.post("/sign-out", "").await, ok("signed out\n"));
    assert!(visitor.jar.is_empty());
    assert_eq!(who(&mut visitor).await, None);
    assert_eq!(who(&mut old).await, None);
    assert_eq!(visitor.get("/").await, ok("visit 1\n"));
}

/// Fifty concurrent writes and increments are all kept.
#[tokio::test]
async fn fifty_concurrent_requests_lose_nothing() {
    let site = Site::start("quickstart");
    let mut visitor = site.visitor();
    visitor.get("/").await;

    let mut requests = JoinSet::new();
    for n in 0..50 {
        let mut visitor = visitor.clone();
        requests.spawn(async move { visitor.post(&format!("/set/key{n}"), &format!("value {n}")).await });
    }
    for answer in requests.join_all().await {
        assert_eq!(answer, ok("set\n"));
    }
    for n in 0..50 {
        assert_eq!(visitor.get(&format!("/get/key{n}")).await, ok(&format!("value {n}")));
    }

    let mut requests = JoinSet::new();
    for _ in 0..50 {
        let mut visitor = visitor.clone();
        requests.spawn(async move { visitor.get("/").await });
    }
    let answers: BTreeSet<_> = requests.join_all().await.into_iter().collect();
    let expected: BTreeSet<_> = (2..=51).map(|n| ok(&format!("visit {n}\n"))).collect();
    assert_eq!(answers, expected);
}

/// A sign-out during slow writes leaves no session.
// checklist: 26
#[tokio::test]
async fn slow_writes_do_not_revive_a_session() {
    let site = Site::start("quickstart");
    for owner in [false, true] {
        let mut visitor = site.visitor();
        visitor.get("/").await;
        if owner {
            visitor.post("/sign-in?user=ada", "").await;
        }
        let mut old = visitor.clone();
        let mut requests = JoinSet::new();
        for n in 0..20 {
            let mut tab = visitor.clone();
            requests.spawn(async move { tab.get(&format!("/slow/key{n}?ms={}", n * 5)).await.0 });
        }
        assert_eq!(visitor.post("/sign-out", "").await, ok("signed out\n"));
        // Writes before the sign-out are dropped; each later one creates a session.
        for status in requests.join_all().await {
            assert!([200, 409].contains(&status), "{status}");
        }
        assert_eq!(who(&mut old).await, None);
    }
}
