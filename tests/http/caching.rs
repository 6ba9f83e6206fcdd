//! `Vary` and `Cache-Control` of responses with and without session use.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use axum::Router;
use axum::body::Body;
use axum::routing::any;
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use sessile::config::TokenHeader;
use sessile::{Error, MemoryStore, Session, SessionHandle, SessionLayer};
use support::client::{Client, Reply, request};

/// Prefix of request headers whose values the handlers send back under the rest of their names.
const REQUESTED: &str = "x-requested-";
const REQUESTED_CACHE: &str = "x-requested-cache-control";
const REQUESTED_VARY: &str = "x-requested-vary";

/// `Expires`, and headers that some shared caches read instead of `Cache-Control`.
const TARGETED: [(&str, &[u8]); 8] = [
    ("x-requested-expires", b"Fri, 01 Jan 2100 00:00:00 GMT"),
    ("x-requested-cdn-cache-control", b"max-age=600"),
    ("x-requested-cloudflare-cdn-cache-control", b"max-age=600"),
    ("x-requested-vercel-cdn-cache-control", b"public, s-maxage=600"),
    ("x-requested-x-litespeed-cache-control", b"public, max-age=600"),
    ("x-requested-surrogate-control", b"max-age=600"),
    ("x-requested-edge-control", b"max-age=600"),
    ("x-requested-x-accel-expires", b"600"),
];

type Answer = (StatusCode, HeaderMap);

fn answer(requested: &HeaderMap) -> Answer {
    let mut headers = HeaderMap::new();
    for (name, value) in requested {
        if let Some(name) = name.as_str().strip_prefix(REQUESTED) {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.clone());
        }
    }
    (StatusCode::OK, headers)
}

fn app() -> Router {
    app_with(SessionLayer::new(MemoryStore::new()))
}

fn app_with(layer: SessionLayer) -> Router {
    async fn read(session: Session, requested: HeaderMap) -> Result<Answer, Error> {
        session.get::<u32>("n")?;
        Ok(answer(&requested))
    }

    async fn write(session: Session, requested: HeaderMap) -> Result<Answer, Error> {
        session.update("n", |n: &mut u32| *n += 1)?;
        Ok(answer(&requested))
    }

    async fn sign_out(session: Session, requested: HeaderMap) -> Result<Answer, Error> {
        session.sign_out()?;
        Ok(answer(&requested))
    }

    async fn rotate(session: Session, requested: HeaderMap) -> Result<Answer, Error> {
        session.rotate()?;
        Ok(answer(&requested))
    }

    async fn streamed(handle: SessionHandle) -> Body {
        let line = async move { Ok::<_, Error>(format!("{:?}", handle.load().await?.get::<u32>("n")?)) };
        Body::from_stream(futures_util::stream::once(line))
    }

    Router::new()
        .route("/untouched", any(async |requested: HeaderMap| answer(&requested)))
        .route("/handle", any(async |_: SessionHandle, requested: HeaderMap| answer(&requested)))
        .route("/read", any(read))
        .route("/write", any(write))
        .route("/sign-out", any(sign_out))
        .route("/rotate", any(rotate))
        .route("/streamed", any(streamed))
        .layer(layer)
}

/// Returns a client with a session.
async fn visitor() -> Client {
    let mut client = Client::new(&app());
    client.get("/write").await.set_cookie();
    client
}

async fn get_with(client: &mut Client, path: &str, headers: &[(&'static str, &[u8])]) -> Reply {
    let mut request = request(Method::GET, path);
    for (name, value) in headers {
        let value = HeaderValue::from_bytes(value).unwrap();
        request.headers_mut().append(HeaderName::from_static(name), value);
    }
    client.send(request).await
}

async fn cache_control_of(client: &mut Client, path: &str, requested: &str) -> Vec<String> {
    let reply = get_with(client, path, &[(REQUESTED_CACHE, requested.as_bytes())]).await;
    let values = reply.all("cache-control").join(", ");
    let mut directives: Vec<String> = values.split(',').map(|directive| directive.trim().to_lowercase()).collect();
    directives.sort();
    directives
}

async fn vary_of(client: &mut Client, path: &str, requested: &[&str]) -> Vec<String> {
    let requested: Vec<(&'static str, &[u8])> =
        requested.iter().map(|vary| (REQUESTED_VARY, vary.as_bytes())).collect();
    let reply = get_with(client, path, &requested).await;
    let names = reply.all("vary").join(",");
    let names = names.split(',').map(|name| name.trim().to_lowercase());
    names.filter(|name| !name.is_empty()).collect()
}

// checklist: 32
/// Responses that set or remove the cookie have `no-store` and `Vary: cookie`, whatever the handler sets.
#[tokio::test]
async fn response_with_a_cookie_is_never_cached() {
    let requested = ["public, max-age=60", "max-age=31536000, immutable", "s-maxage=60", "private", "no-cache"];
    for requested in requested {
        let mut client = Client::new(&app());
        for path in ["/write", "/rotate", "/sign-out"] {
            let reply = get_with(&mut client, path, &[(REQUESTED_CACHE, requested.as_bytes())]).await;
            reply.set_cookie();
            assert_eq!(reply.header("cache-control"), Some("no-store"), "{path} with {requested}");
            assert_eq!(reply.header("vary"), Some("cookie"));
        }
    }
    let reply = Client::new(&app()).get("/write").await;
    assert_eq!(reply.header("cache-control"), Some("no-store"), "also without a header of the handler");
}

// checklist: 32
/// Two `Cache-Control` headers of the handler become a single `no-store`.
#[tokio::test]
async fn no_store_replaces_all_cache_control_headers() {
    let requested: [(_, &[u8]); 2] = [(REQUESTED_CACHE, b"public"), (REQUESTED_CACHE, b"max-age=60")];
    let reply = get_with(&mut Client::new(&app()), "/write", &requested).await;
    assert_eq!(reply.all("cache-control"), ["no-store"]);
}

// checklist: 32
/// Reads and writes add `Vary: cookie`, with and without an existing session.
#[tokio::test]
async fn response_that_used_the_session_varies_by_cookie() {
    let mut client = visitor().await;
    assert_eq!(vary_of(&mut client, "/read", &[]).await, ["cookie"]);
    assert_eq!(vary_of(&mut client, "/write", &[]).await, ["cookie"]);
    // Without a session the response depends on its absence.
    assert_eq!(vary_of(&mut Client::new(&app()), "/read", &[]).await, ["cookie"]);
}

/// The handler's `Vary` names stay, and `cookie` appears exactly once, in any letter case.
#[tokio::test]
async fn cookie_is_added_to_vary_once() {
    let mut client = visitor().await;
    assert_eq!(vary_of(&mut client, "/read", &["accept-encoding"]).await, ["accept-encoding", "cookie"]);
    assert_eq!(vary_of(&mut client, "/read", &["accept, origin"]).await, ["accept", "origin", "cookie"]);
    for requested in [&["cookie"][..], &["Cookie"], &["accept , COOKIE"], &["accept", "cookie"], &["cookie,accept"]] {
        let vary = vary_of(&mut client, "/read", requested).await;
        assert_eq!(vary.iter().filter(|name| *name == "cookie").count(), 1, "{requested:?} became {vary:?}");
    }
    // A similar header name is a different header.
    assert_eq!(vary_of(&mut client, "/read", &["x-cookie"]).await, ["x-cookie", "cookie"]);
}

/// A `Vary: *` of the handler is not extended.
#[tokio::test]
async fn vary_star_is_kept() {
    let mut client = visitor().await;
    assert_eq!(vary_of(&mut client, "/read", &["*"]).await, ["*"]);
    assert_eq!(vary_of(&mut client, "/read", &["accept", "*"]).await, ["accept", "*"]);
}

// checklist: 32
/// `public` and `s-maxage` are replaced by `private`; other directives stay, with and without an existing session.
#[tokio::test]
async fn response_that_used_the_session_is_private() {
    let mut client = visitor().await;
    for (requested, expected) in [
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
        assert_eq!(cache_control_of(&mut client, "/read", requested).await, expected, "{requested}");
        assert_eq!(cache_control_of(&mut client, "/write", requested).await, expected, "{requested}");
        let mut stranger = Client::new(&app());
        assert_eq!(cache_control_of(&mut stranger, "/read", requested).await, expected, "{requested}");
    }
}

/// `public` in the second of two `Cache-Control` headers is replaced by `private`; `max-age` stays.
#[tokio::test]
async fn public_in_a_second_header_is_replaced() {
    let mut client = visitor().await;
    let requested: [(_, &[u8]); 2] = [(REQUESTED_CACHE, b"max-age=60"), (REQUESTED_CACHE, b"public")];
    let reply = get_with(&mut client, "/read", &requested).await;
    let directives = reply.all("cache-control").join(", ");
    assert!(!directives.contains("public"), "{directives}");
    assert!(directives.contains("private") && directives.contains("max-age=60"), "{directives}");
}

/// `public` in a `Cache-Control` header with non-UTF-8 bytes is removed.
#[tokio::test]
async fn public_beside_non_utf8_bytes_is_removed() {
    let mut client = visitor().await;
    let reply = get_with(&mut client, "/read", &[(REQUESTED_CACHE, b"public, note=\"\xe9\"")]).await;
    let values: Vec<&HeaderValue> = reply.headers.get_all(CACHE_CONTROL).iter().collect();
    let is_public = |value: &&HeaderValue| value.as_bytes().windows(6).any(|window| window == b"public");
    assert!(!values.iter().any(is_public), "{values:?}");
}

/// Directives that forbid shared caches stay as they are.
#[tokio::test]
async fn restrictive_cache_control_of_the_handler_is_kept() {
    let mut client = visitor().await;
    for requested in ["no-store", "private", "private, max-age=60", "no-store, max-age=0", "max-age=0, Private"] {
        let reply = get_with(&mut client, "/read", &[(REQUESTED_CACHE, requested.as_bytes())]).await;
        assert_eq!(reply.header("cache-control"), Some(requested));
    }
}

// checklist: 32
/// A response that used the session gets `private`, also without a `Cache-Control` of the handler.
#[tokio::test]
async fn response_that_used_the_session_gets_private() {
    let mut client = visitor().await;
    for (requested, expected) in [
        ("", "private"),
        ("no-cache", "private, no-cache"),
        ("max-age=60", "private, max-age=60"),
        ("must-revalidate", "private, must-revalidate"),
        ("no-cache=\"set-cookie, x\"", "private, no-cache=\"set-cookie, x\""),
        ("private=\"x-name\"", "private, private=\"x-name\""),
    ] {
        for path in ["/read", "/write"] {
            let reply = get_with(&mut client, path, &[(REQUESTED_CACHE, requested.as_bytes())]).await;
            assert_eq!(reply.header("cache-control"), Some(expected), "{path} with {requested}");
        }
    }
    for mut client in [client, Client::new(&app())] {
        assert_eq!(client.get("/read").await.header("cache-control"), Some("private"));
    }
}

// checklist: 32
/// No header that overrides `Cache-Control` in a shared cache stays, and `Expires` of a response with a cookie is past.
#[tokio::test]
async fn no_header_overrides_cache_control() {
    let names = TARGETED.map(|(name, _)| name.strip_prefix(REQUESTED).unwrap());
    let mut client = Client::new(&app());
    for path in ["/write", "/read", "/write", "/rotate", "/sign-out"] {
        let reply = get_with(&mut client, path, &TARGETED).await;
        let has_cookie = !reply.set_cookies().is_empty();
        assert_eq!(reply.header("cache-control"), Some(if has_cookie { "no-store" } else { "private" }), "{path}");
        for name in &names[1..] {
            assert_eq!(reply.header(name), None, "{path}");
        }
        // A private cache may use it.
        let expires = if has_cookie { "0" } else { "Fri, 01 Jan 2100 00:00:00 GMT" };
        assert_eq!(reply.header("expires"), Some(expires), "{path}");
    }
    let untouched = get_with(&mut client, "/untouched", &TARGETED).await;
    assert!(names.iter().all(|name| untouched.header(name).is_some()));
}

/// With `with_vary_always` every response is private and varies, also one whose body loads the session.
#[tokio::test]
async fn vary_always_marks_responses_without_session_use() {
    let builder = || SessionLayer::builder(MemoryStore::new()).with_vary_always(true);
    let layer = builder().build().unwrap();
    let mut client = Client::new(&app_with(layer));
    client.get("/write").await.set_cookie();
    for path in ["/untouched", "/handle", "/read"] {
        let reply = get_with(&mut client, path, &[(REQUESTED_CACHE, b"public, max-age=60")]).await;
        assert_eq!(
            (reply.header("vary"), reply.header("cache-control")),
            (Some("cookie"), Some("private, max-age=60"))
        );
        reply.assert_no_cookie();
    }
    let reply = client.get("/streamed").await;
    assert_eq!((reply.text(), reply.header("vary")), ("Some(1)", Some("cookie")));
    assert_eq!(reply.header("cache-control"), Some("private"));

    let layer = builder().with_token_header(TokenHeader::bearer()).build().unwrap();
    let reply = Client::new(&app_with(layer)).get("/untouched").await;
    assert_eq!(reply.all("vary"), ["authorization", "cookie"]);
    // Without the setting the head of such a response says nothing.
    let mut client = visitor().await;
    let reply = client.get("/streamed").await;
    assert_eq!((reply.text(), reply.header("vary"), reply.header("cache-control")), ("Some(1)", None, None));
}

/// A handler that never loads the session keeps its `Cache-Control` and `Vary`, or has none.
#[tokio::test]
async fn response_without_session_use_keeps_its_headers() {
    let mut client = visitor().await;
    for path in ["/untouched", "/handle"] {
        for requested in ["public, max-age=60", "s-maxage=5", "no-store"] {
            let headers: [(_, &[u8]); 2] = [(REQUESTED_CACHE, requested.as_bytes()), (REQUESTED_VARY, b"accept")];
            let reply = get_with(&mut client, path, &headers).await;
            assert_eq!(reply.header("cache-control"), Some(requested));
            assert_eq!(reply.header("vary"), Some("accept"));
        }
        let reply = client.get(path).await;
        assert_eq!((reply.header("cache-control"), reply.header("vary")), (None, None));
    }
}
