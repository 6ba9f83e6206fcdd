//! Attacks on the path after a sign-in, through a guard and a sign-in handler, and compared with the URL parser of browsers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::extract::Query;
use axum::response::Redirect;
use axum::routing::{any, get, post};
use axum::{Extension, Router};
use http::header::{ACCEPT, VARY};
use http::{Method, Request, StatusCode, Uri, Version};
use proptest::prelude::{ProptestConfig, Strategy};
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use reqwest::Url;
use sessile::config::TokenHeader;
use sessile::user::{LocalPath, NextPath, UserGuard, UserLayer};
use sessile::{Error, MemoryStore, SessionLayer};

use crate::support::client::{Client, Reply, send};
use crate::support::users::{Accounts, Current};

/// An application with a sign-in page, and a guard around everything else. It counts the requests that pass.
fn app(passed: &Arc<AtomicUsize>) -> Router {
    async fn sign_in(user: Current, Query(query): Query<NextPath>) -> Result<Redirect, Error> {
        user.sign_in(&user.users().get(1)).await?;
        Ok(Redirect::to(query.next_or("/").as_str()))
    }
    let accounts = Accounts::default();
    accounts.set(1, 10);
    let guard = UserGuard::<Accounts>::new().with_sign_in_page(LocalPath::from_static("/in"));
    Router::new()
        .fallback(any(async |passed: Extension<Arc<AtomicUsize>>| {
            passed.fetch_add(1, Ordering::SeqCst);
        }))
        .layer(guard)
        .route("/in", post(sign_in))
        .layer(Extension(Arc::clone(passed)))
        .layer(UserLayer::new(accounts))
        .layer(SessionLayer::builder(MemoryStore::new()).with_token_header(TokenHeader::bearer()).build().unwrap())
}

/// Returns where a sign-in with this query leads to; `None` if the request is refused.
async fn after_sign_in(app: &Router, query: &str) -> Option<String> {
    // An address that no server would hand to the application.
    let address = Uri::try_from(format!("/in?{query}")).ok()?;
    let reply = send(app, Request::post(address).body(Body::empty()).unwrap()).await;
    if reply.status == StatusCode::BAD_REQUEST {
        assert_eq!(reply.header("location"), None, "{query}");
        return None;
    }
    assert_eq!(reply.status, StatusCode::SEE_OTHER, "{query}");
    Some(reply.header("location").unwrap().to_owned())
}

fn encoded(text: &[u8]) -> String {
    text.iter().map(|byte| format!("%{byte:02X}")).collect()
}

/// Checks that a browser stays on this site, also if a script or a proxy resolves the path and redirects again.
fn assert_stays(path: &str) {
    let page = Url::parse("https://site.test/a/sign-in?next=x").unwrap();
    let first = page.join(path).unwrap();
    assert_eq!(first.origin(), page.origin(), "{path:?}");
    assert_eq!((first.username(), first.password()), ("", None), "{path:?}");
    let part = |mark: &str, part: Option<&str>| part.map(|part| format!("{mark}{part}")).unwrap_or_default();
    let resolved = format!("{}{}{}", first.path(), part("?", first.query()), part("#", first.fragment()));
    assert_eq!(page.join(&resolved).unwrap(), first, "{path:?}");
}

/// No form of another site's address is followed, raw or percent-encoded once or twice.
#[tokio::test]
async fn next_leads_to_no_other_site() {
    let app = app(&Arc::default());
    for attack in [
        &b""[..],
        b"evil.test",
        b"//evil.test",
        b"///evil.test",
        b"////evil.test",
        b"/\\evil.test",
        b"\\/evil.test",
        b"\\\\evil.test",
        b"/\\/evil.test",
        b"/\t/evil.test",
        b"/\n/evil.test",
        b"/\r/evil.test",
        b"\t//evil.test",
        b" //evil.test",
        b" /a",
        b"/\0/evil.test",
        b"/a\0",
        b"/\x0b/evil.test",
        b"/%09/evil.test",
        b"/%2f%2fevil.test",
        b"/%2Fevil.test",
        b"/%5cevil.test",
        b"%2f%2fevil.test",
        b"/%00",
        b"/a%00b",
        b"/a%0d%0aSet-Cookie:id=1",
        b"/a\r\nSet-Cookie: id=1",
        b"/a\r\n\r\n<script>",
        b"/.//evil.test",
        b"/..//evil.test",
        b"/../..//evil.test",
        b"/./\\evil.test",
        b"/a/..//evil.test",
        b"/a/../\\evil.test",
        b"/%2e//evil.test",
        b"/%2e%2e//evil.test",
        b"/a/.%2e//evil.test",
        b"/a%3f/../..//evil.test",
        b"@evil.test",
        b"user:pass@evil.test",
        b"//user@evil.test",
        b"https://evil.test",
        b"https:evil.test",
        b"https:/evil.test",
        b"https:\\\\evil.test",
        b"HTTPS://evil.test",
        b"https://site.test@evil.test",
        b"https://site.test/a",
        b"javascript:alert(1)",
        b"JavaScript://%0aalert(1)",
        b"java\nscript:alert(1)",
        b"data:text/html,x",
        b"blob:https://site.test/x",
        b"about:blank",
        b";//evil.test",
        b"?//evil.test",
        b"#//evil.test",
        b".",
        b"..",
        b"./a",
        // U+2215, U+2044, U+FF0F, U+FF3C, U+202E, and an overlong slash.
        "/\u{2215}evil.test".as_bytes(),
        "/\u{2044}/evil.test".as_bytes(),
        "\u{ff0f}\u{ff0f}evil.test".as_bytes(),
        "/\u{ff0f}evil.test".as_bytes(),
        "/\u{ff3c}evil.test".as_bytes(),
        "/\u{202e}/evil.test".as_bytes(),
        b"/\xc0\xafevil.test",
        b"/\xff/evil.test",
        b"\xff",
    ] {
        let once = encoded(attack);
        assert_eq!(after_sign_in(&app, &format!("next={once}")).await.as_deref(), Some("/"), "{once}");
        // The query decodes a raw attack once, and ends it at `&`.
        let raw = format!("next={}", String::from_utf8_lossy(attack));
        assert_stays(&after_sign_in(&app, &raw).await.unwrap_or_default());
        // The value is an encoded address: it stays on this site in any case.
        let twice = after_sign_in(&app, &format!("next={}", encoded(once.as_bytes()))).await;
        assert_eq!(twice.as_deref(), Some("/"), "{once}");
    }
    let long = format!("next=/{}", "a".repeat(9_000));
    assert_eq!(after_sign_in(&app, &long).await.as_deref(), Some("/"));
}

/// Odd paths of this site are followed as they are; a browser stays on this site.
#[tokio::test]
async fn next_leads_to_any_page_of_this_site() {
    let app = app(&Arc::default());
    for path in [
        "/",
        "/a;b=c",
        "/a@evil.test",
        "/a:443//b",
        "/a/b?c=//evil.test&d=https://evil.test",
        "/a#//evil.test",
        "/%EF%BC%8Fevil.test",
        "/%C0%AFevil.test",
        "/%E2%88%95evil.test",
        "/%",
        "/%2",
        "/a?%zz",
        "/in",
        "/in?next=%2Fa",
        "/sign-out",
        "/javascript:alert(1)",
    ] {
        assert_eq!(after_sign_in(&app, &format!("next={}", encoded(path.as_bytes()))).await.as_deref(), Some(path));
        assert_stays(path);
    }
}

/// A query without exactly one path leads to the default page, or is refused.
#[tokio::test]
async fn next_is_one_parameter() {
    let app = app(&Arc::default());
    for (query, expected) in [
        ("", Some("/")),
        ("next", Some("/")),
        ("next=", Some("/")),
        ("next[]=/a", Some("/")),
        ("next[0]=/a", Some("/")),
        ("Next=/a", Some("/")),
        ("next.next=/a", Some("/")),
        ("x=/a", Some("/")),
        ("next=/a&x=//evil.test", Some("/a")),
        ("next=/a;next=//evil.test", Some("/a;next=//evil.test")),
        ("next=%2", Some("/")),
        ("next=/%", Some("/%")),
        ("next=/a+b", Some("/")),
        ("next=/a&next=//evil.test", None),
        ("next=//evil.test&next=/a", None),
        ("next=/a&next=/a", None),
        ("n%65xt=/a&next=//evil.test", None),
    ] {
        assert_eq!(after_sign_in(&app, query).await.as_deref(), expected, "{query}");
    }
}

/// Whatever the text, an accepted path stays on this site.
#[test]
fn every_accepted_path_stays_on_this_site() {
    let part = proptest::sample::select(vec![
        "/",
        "\\",
        ".",
        "..",
        "%2e",
        "%2E",
        "%2f",
        "%5C",
        "%25",
        "%",
        "2",
        "f",
        "5c",
        "?",
        "#",
        ":",
        "@",
        ";",
        "&",
        "\t",
        "%09",
        "\n",
        " ",
        "a",
        "evil.test",
        "https:",
        "\u{ff0f}",
        "%EF%BC%8F",
    ]);
    let made = proptest::collection::vec(part, 0..12).prop_map(|parts| format!("/{}", parts.concat()));
    let texts = proptest::prop_oneof![made.clone(), made, ".*"];
    let config = ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() };
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let accepted = AtomicUsize::new(0);
    let outcome = TestRunner::new_with_rng(config, random).run(&texts, |text| {
        if let Some(path) = LocalPath::new(&text) {
            assert_stays(path.as_str());
            accepted.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(accepted.load(Ordering::Relaxed) > 1_000, "{accepted:?}");
}

async fn ask(app: &Router, request: http::request::Builder) -> Reply {
    send(app, request.body(Body::empty()).unwrap()).await
}

/// The guard's own `next` is a path of this site, whatever the address of the request.
#[tokio::test]
async fn a_guard_gives_a_path_of_this_site() {
    let app = app(&Arc::default());
    let long = format!("/{}", "a".repeat(4_000));
    for (address, expected) in [
        ("/a?b=c", "/in?next=%2Fa%3Fb%3Dc"),
        ("/", "/in?next=%2F"),
        ("//evil.test/x", "/in"),
        ("/.//evil.test", "/in"),
        ("/%2Fevil.test", "/in"),
        ("/%09/evil.test", "/in"),
        ("/a%0d%0ab", "/in"),
        ("http://evil.test/x", "/in?next=%2Fx"),
        ("http://evil.test//x", "/in"),
        ("https://user@evil.test:1/x?y", "/in?next=%2Fx%3Fy"),
        (&long, "/in"),
    ] {
        for (method, version) in [
            (Method::GET, Version::HTTP_11),
            (Method::HEAD, Version::HTTP_11),
            (Method::GET, Version::HTTP_10),
            (Method::GET, Version::HTTP_2),
        ] {
            let reply = ask(&app, Request::builder().method(method).version(version).uri(address)).await;
            assert_eq!((reply.status, reply.header("location")), (StatusCode::SEE_OTHER, Some(expected)), "{address}");
        }
    }
}

/// Methods other than GET and HEAD are a 401, and no request is repeated after the sign-in.
#[tokio::test]
async fn an_unsafe_request_is_not_repeated() {
    let passed = Arc::default();
    let app = app(&passed);
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "PURGE"] {
        let reply = ask(&app, Request::builder().method(method).uri("/orders")).await;
        assert_eq!((reply.status, reply.header("location")), (StatusCode::UNAUTHORIZED, None), "{method}");
    }
    assert_eq!(ask(&app, Request::options("*")).await.status, StatusCode::UNAUTHORIZED);
    // A page request comes back, as a page request.
    let mut client = Client::new(&app);
    let to = client.get("/orders?page=2").await.header("location").unwrap().to_owned();
    let to = client.post(&to).await.header("location").unwrap().to_owned();
    assert_eq!(passed.load(Ordering::SeqCst), 0);
    assert_eq!((&*to, client.get(&to).await.status), ("/orders?page=2", StatusCode::OK));
    assert_eq!(passed.load(Ordering::SeqCst), 1);
}

/// A client that asks for JSON gets 401, and so does a script, a socket, or a client with the token in a header.
#[tokio::test]
async fn only_pages_are_redirected() {
    let app = app(&Arc::default());
    for (accept, status) in [
        ("application/json", StatusCode::UNAUTHORIZED),
        ("APPLICATION/JSON; charset=utf-8", StatusCode::UNAUTHORIZED),
        ("application/problem+json", StatusCode::UNAUTHORIZED),
        ("application/vnd.api+json;q=0.1", StatusCode::UNAUTHORIZED),
        ("application/json, text/plain, */*", StatusCode::UNAUTHORIZED),
        ("text/html;q=0.8, application/json", StatusCode::UNAUTHORIZED),
        ("text/html, application/json;q=0.9", StatusCode::SEE_OTHER),
        ("application/json;q=0", StatusCode::SEE_OTHER),
        ("text/html,application/xhtml+xml,*/*;q=0.8", StatusCode::SEE_OTHER),
        ("*/*", StatusCode::SEE_OTHER),
        ("", StatusCode::SEE_OTHER),
    ] {
        for mode in [None, Some("navigate")] {
            let mut request = Request::get("/a").header(ACCEPT, accept);
            if let Some(mode) = mode {
                request = request.header("sec-fetch-mode", mode);
            }
            let reply = ask(&app, request).await;
            assert_eq!(reply.status, status, "{accept} {mode:?}");
            let varies = reply.headers.get_all(VARY).iter().any(|name| name == "sec-fetch-mode");
            assert_eq!(varies, status == StatusCode::SEE_OTHER);
        }
    }
    for (name, value) in [
        ("sec-fetch-mode", "cors"),
        ("sec-fetch-mode", "same-origin"),
        ("sec-fetch-mode", "no-cors"),
        ("sec-fetch-mode", "websocket"),
        ("upgrade", "websocket"),
        ("authorization", "Bearer 0000"),
    ] {
        let reply = ask(&app, Request::get("/a").header(ACCEPT, "*/*").header(name, value)).await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{name}: {value}");
    }
    // Two header fields are one list.
    let reply =
        ask(&app, Request::get("/a").header(ACCEPT, "text/html;q=0.5").header(ACCEPT, "application/json")).await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
}

/// A sign-in page behind its own guard is a 401, not a redirect to itself without end.
#[tokio::test]
async fn a_page_behind_its_own_guard_is_a_401() {
    let page = |path| LocalPath::new(path).unwrap();
    let guard = UserGuard::<Accounts>::new().with_sign_in_page(page("/in?lang=de"));
    let app = Router::new()
        .route("/in", get(async || ()))
        .route("/other", get(async || ()))
        .layer(guard)
        .layer(UserLayer::new(Accounts::default()))
        .layer(SessionLayer::new(MemoryStore::new()));
    for path in ["/in", "/in?next=%2Fother", "/in?lang=de&next=%2F"] {
        let reply = ask(&app, Request::get(path)).await;
        assert_eq!((reply.status, reply.header("location")), (StatusCode::UNAUTHORIZED, None), "{path}");
    }
    assert_eq!(ask(&app, Request::get("/other")).await.status, StatusCode::SEE_OTHER);
}
