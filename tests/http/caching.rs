//! What caches are told: `Vary` and `Cache-Control` of answers that rest on a session, and of those that do not.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use axum::Router;
use axum::routing::any;
use http::header::{CACHE_CONTROL, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use sessile::{Error, MemoryStore, Session, SessionHandle, SessionLayer};
use support::client::{Client, Reply, request};

/// The handlers answer with the `Cache-Control` and `Vary` that the request asks for under these names.
const ASKED_CACHE: &str = "x-cache-control";
const ASKED_VARY: &str = "x-vary";

type Answer = (StatusCode, HeaderMap);

fn answer(asked: &HeaderMap) -> Answer {
    let mut headers = HeaderMap::new();
    for (from, to) in [(ASKED_CACHE, CACHE_CONTROL), (ASKED_VARY, VARY)] {
        for value in asked.get_all(from) {
            headers.append(to.clone(), value.clone());
        }
    }
    (StatusCode::OK, headers)
}

fn app() -> Router {
    async fn read(session: Session, asked: HeaderMap) -> Result<Answer, Error> {
        session.get::<u32>("n")?;
        Ok(answer(&asked))
    }

    async fn write(session: Session, asked: HeaderMap) -> Result<Answer, Error> {
        session.update("n", |n: &mut u32| *n += 1)?;
        Ok(answer(&asked))
    }

    async fn sign_out(session: Session, asked: HeaderMap) -> Result<Answer, Error> {
        session.sign_out()?;
        Ok(answer(&asked))
    }

    async fn rotate(session: Session, asked: HeaderMap) -> Result<Answer, Error> {
        session.rotate()?;
        Ok(answer(&asked))
    }

    Router::new()
        .route("/untouched", any(async |asked: HeaderMap| answer(&asked)))
        .route("/handle", any(async |_: SessionHandle, asked: HeaderMap| answer(&asked)))
        .route("/read", any(read))
        .route("/write", any(write))
        .route("/sign-out", any(sign_out))
        .route("/rotate", any(rotate))
        .layer(SessionLayer::new(MemoryStore::new()))
}

/// A client that has a session.
async fn visitor() -> Client {
    let mut client = Client::new(&app());
    client.get("/write").await.set_cookie();
    client
}

async fn ask(client: &mut Client, path: &str, headers: &[(&'static str, &[u8])]) -> Reply {
    let mut request = request(Method::GET, path);
    for (name, value) in headers {
        let value = HeaderValue::from_bytes(value).unwrap();
        request.headers_mut().append(HeaderName::from_static(name), value);
    }
    client.send(request).await
}

async fn cache_control_of(client: &mut Client, path: &str, asked: &str) -> Vec<String> {
    let reply = ask(client, path, &[(ASKED_CACHE, asked.as_bytes())]).await;
    let values = reply.all("cache-control").join(", ");
    let mut directives: Vec<String> = values.split(',').map(|directive| directive.trim().to_lowercase()).collect();
    directives.sort();
    directives
}

async fn vary_of(client: &mut Client, path: &str, asked: &[&str]) -> Vec<String> {
    let asked: Vec<(&'static str, &[u8])> = asked.iter().map(|vary| (ASKED_VARY, vary.as_bytes())).collect();
    let reply = ask(client, path, &asked).await;
    let names = reply.all("vary").join(",");
    let names = names.split(',').map(|name| name.trim().to_lowercase());
    names.filter(|name| !name.is_empty()).collect()
}

// Checklist 32
// checklist: 32
#[tokio::test]
async fn an_answer_that_sets_the_cookie_is_never_stored() {
    let asked = ["public, max-age=60", "max-age=31536000, immutable", "s-maxage=60", "private", "no-cache"];
    for asked in asked {
        let mut client = Client::new(&app());
        for path in ["/write", "/rotate", "/sign-out"] {
            let reply = ask(&mut client, path, &[(ASKED_CACHE, asked.as_bytes())]).await;
            reply.set_cookie();
            assert_eq!(reply.header("cache-control"), Some("no-store"), "{path} with {asked}");
            assert_eq!(reply.header("vary"), Some("cookie"));
        }
    }
    let reply = Client::new(&app()).get("/write").await;
    assert_eq!(reply.header("cache-control"), Some("no-store"), "also where the handler says nothing");
}

// Checklist 32
#[tokio::test]
async fn an_answer_that_sets_the_cookie_is_never_stored_however_many_headers_say_otherwise() {
    let asked: [(_, &[u8]); 2] = [(ASKED_CACHE, b"public"), (ASKED_CACHE, b"max-age=60")];
    let reply = ask(&mut Client::new(&app()), "/write", &asked).await;
    assert_eq!(reply.all("cache-control"), ["no-store"]);
}

// checklist: 32
#[tokio::test]
async fn what_was_read_from_a_session_varies_by_cookie() {
    let mut client = visitor().await;
    assert_eq!(vary_of(&mut client, "/read", &[]).await, ["cookie"]);
    assert_eq!(vary_of(&mut client, "/write", &[]).await, ["cookie"]);
    // Without a session the answer rests on its absence.
    assert_eq!(vary_of(&mut Client::new(&app()), "/read", &[]).await, ["cookie"]);
}

#[tokio::test]
async fn vary_is_added_to_and_never_doubled() {
    let mut client = visitor().await;
    assert_eq!(vary_of(&mut client, "/read", &["accept-encoding"]).await, ["accept-encoding", "cookie"]);
    assert_eq!(vary_of(&mut client, "/read", &["accept, origin"]).await, ["accept", "origin", "cookie"]);
    for asked in [&["cookie"][..], &["Cookie"], &["accept , COOKIE"], &["accept", "cookie"], &["cookie,accept"]] {
        let vary = vary_of(&mut client, "/read", asked).await;
        assert_eq!(vary.iter().filter(|name| *name == "cookie").count(), 1, "{asked:?} became {vary:?}");
    }
    // Another header that merely sounds the same is another header.
    assert_eq!(vary_of(&mut client, "/read", &["x-cookie"]).await, ["x-cookie", "cookie"]);
}

#[tokio::test]
async fn a_vary_by_everything_stays() {
    let mut client = visitor().await;
    assert_eq!(vary_of(&mut client, "/read", &["*"]).await, ["*"]);
    assert_eq!(vary_of(&mut client, "/read", &["accept", "*"]).await, ["accept", "*"]);
}

// checklist: 32
#[tokio::test]
async fn what_was_read_from_a_session_is_private() {
    let mut client = visitor().await;
    for (asked, expected) in [
        ("public, max-age=60", &["max-age=60", "private"][..]),
        ("public", &["private"]),
        ("PUBLIC , Max-Age=60", &["max-age=60", "private"]),
        ("s-maxage=60", &["private"]),
        ("max-age=10, s-maxage=60", &["max-age=10", "private"]),
        ("S-MaxAge=60, must-revalidate", &["must-revalidate", "private"]),
        ("public, s-maxage=60, stale-while-revalidate=5", &["private", "stale-while-revalidate=5"]),
        ("public, private", &["private"]),
        ("s-maxage = 60", &["private"]),
    ] {
        assert_eq!(cache_control_of(&mut client, "/read", asked).await, expected, "{asked}");
        assert_eq!(cache_control_of(&mut client, "/write", asked).await, expected, "{asked}");
        let mut stranger = Client::new(&app());
        assert_eq!(cache_control_of(&mut stranger, "/read", asked).await, expected, "{asked}");
    }
}

#[tokio::test]
async fn public_in_one_of_several_headers_is_found() {
    let mut client = visitor().await;
    let asked: [(_, &[u8]); 2] = [(ASKED_CACHE, b"max-age=60"), (ASKED_CACHE, b"public")];
    let reply = ask(&mut client, "/read", &asked).await;
    let directives = reply.all("cache-control").join(", ");
    assert!(!directives.contains("public"), "{directives}");
    assert!(directives.contains("private") && directives.contains("max-age=60"), "{directives}");
}

#[tokio::test]
async fn public_is_found_beside_bytes_that_are_no_text() {
    let mut client = visitor().await;
    let reply = ask(&mut client, "/read", &[(ASKED_CACHE, b"public, note=\"\xe9\"")]).await;
    let values: Vec<&HeaderValue> = reply.headers.get_all(CACHE_CONTROL).iter().collect();
    let is_public = |value: &&HeaderValue| value.as_bytes().windows(6).any(|window| window == b"public");
    assert!(!values.iter().any(is_public), "{values:?}");
}

#[tokio::test]
async fn what_the_handler_tightened_itself_stays_as_it_is() {
    let mut client = visitor().await;
    for asked in ["no-store", "private", "private, max-age=60", "no-cache", "max-age=60", "no-cache=\"set-cookie, x\""]
    {
        let reply = ask(&mut client, "/read", &[(ASKED_CACHE, asked.as_bytes())]).await;
        assert_eq!(reply.header("cache-control"), Some(asked));
    }
    assert_eq!(client.get("/read").await.header("cache-control"), None);
}

#[tokio::test]
async fn an_answer_without_the_session_is_left_to_the_handler() {
    let mut client = visitor().await;
    for path in ["/untouched", "/handle"] {
        for asked in ["public, max-age=60", "s-maxage=5", "no-store"] {
            let headers: [(_, &[u8]); 2] = [(ASKED_CACHE, asked.as_bytes()), (ASKED_VARY, b"accept")];
            let reply = ask(&mut client, path, &headers).await;
            assert_eq!(reply.header("cache-control"), Some(asked));
            assert_eq!(reply.header("vary"), Some("accept"));
        }
        let reply = client.get(path).await;
        assert_eq!((reply.header("cache-control"), reply.header("vary")), (None, None));
    }
}
