//! The session cookie's attributes and name as configured, and what is refused when a layer is built.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use sessile::config::SameSite;
use sessile::{Lifetime, MemoryStore, Session, SessionLayer, SessionLayerBuilder, Token};
use support::client::{Client, SetCookie};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MINUTE: Duration = Duration::from_secs(60);

fn builder() -> SessionLayerBuilder {
    SessionLayer::builder(MemoryStore::new())
}

fn app(layer: SessionLayer) -> Router {
    Router::new()
        .route("/", get(async |session: Session| session.keys().join(",")))
        .route("/set", post(async |session: Session| session.insert("key", "value")))
        .layer(layer)
}

/// The cookie that a layer of these settings sets.
async fn cookie_of(builder: SessionLayerBuilder) -> SetCookie {
    let layer = builder.build().unwrap();
    let name = layer.cookie_name().to_owned();
    let cookie = Client::new(&app(layer)).post("/set").await.set_cookie();
    assert_eq!(cookie.name, name);
    cookie
}

/// What a layer of these settings is refused for.
#[track_caller]
fn refusal_of(builder: SessionLayerBuilder) -> String {
    builder.build().expect_err("such a layer must not be built").to_string()
}

#[track_caller]
fn assert_refused(builder: SessionLayerBuilder, reason: &str) {
    let refusal = refusal_of(builder);
    assert!(refusal.contains(reason), "{refusal:?} does not say {reason:?}");
}

// Checklist 1, 7, 8, 9, 10, 12, 16
#[tokio::test]
async fn the_default_cookie_is_host_bound_secure_and_out_of_reach_of_scripts() {
    for layer in [SessionLayer::new(MemoryStore::new()), builder().build().unwrap()] {
        let cookie = Client::new(&app(layer)).post("/set").await.set_cookie();
        assert_eq!(cookie.name, "__Host-id");
        assert_eq!(cookie.attribute_names(), ["HttpOnly", "Path", "SameSite", "Secure"]);
        assert_eq!(cookie.attribute("Path"), Some("/"));
        assert_eq!(cookie.attribute("SameSite"), Some("Lax"));
        assert!(Token::parse(cookie.value.as_bytes()).is_some());
    }
}

#[tokio::test]
async fn each_attribute_is_sent_as_configured() {
    let cookie = cookie_of(builder().with_name("shop").with_path("/shop")).await;
    assert_eq!(cookie.attribute("Path"), Some("/shop"));
    assert_eq!(cookie.name, "__Secure-shop");

    let cookie = cookie_of(builder().with_domain("example.org")).await;
    assert_eq!(cookie.attribute("Domain"), Some("example.org"));

    let cookie = cookie_of(builder().with_http_only(false)).await;
    assert!(!cookie.has("HttpOnly") && cookie.has("Secure"));

    let cookie = cookie_of(builder().with_partitioned(true)).await;
    assert!(cookie.has("Partitioned") && cookie.has("Secure"));
}

// Checklist 8
// checklist: 8
#[tokio::test]
async fn secure_goes_only_when_it_is_switched_off_in_so_many_words() {
    let cookie = cookie_of(builder().with_secure(false)).await;
    assert!(!cookie.has("Secure"));
    assert_eq!(cookie.name, "id");
}

// Checklist 9
// checklist: 9
#[tokio::test]
async fn same_site_is_always_said() {
    for (same_site, text) in [(SameSite::Strict, "Strict"), (SameSite::Lax, "Lax"), (SameSite::None, "None")] {
        let cookie = cookie_of(builder().with_same_site(same_site)).await;
        assert_eq!(cookie.attribute("SameSite"), Some(text));
        assert!(cookie.has("Secure"));
    }
    for same_site in [SameSite::Strict, SameSite::Lax] {
        let cookie = cookie_of(builder().with_same_site(same_site).with_secure(false)).await;
        assert_eq!(cookie.attribute("SameSite"), Some(same_site.to_string().as_str()));
    }
}

// Checklist 10, 11, 12
// checklist: 10
#[tokio::test]
async fn the_prefix_is_the_strongest_that_the_attributes_allow() {
    // secure, path, domain, http prefix, and what comes of it
    let cases = [
        (true, "/", None, false, "__Host-id"),
        (true, "/", None, true, "__Host-Http-id"),
        (true, "/app", None, false, "__Secure-id"),
        (true, "/app", None, true, "__Http-id"),
        (true, "/", Some("example.org"), false, "__Secure-id"),
        (true, "/", Some("example.org"), true, "__Http-id"),
        (true, "/app", Some("example.org"), false, "__Secure-id"),
        (true, "/app", Some("example.org"), true, "__Http-id"),
        (false, "/", None, false, "id"),
        (false, "/app", None, false, "id"),
        (false, "/", Some("example.org"), false, "id"),
        (false, "/app", Some("example.org"), false, "id"),
    ];
    for (secure, path, domain, http_prefix, expected) in cases {
        let mut builder = builder().with_secure(secure).with_path(path).with_http_prefix(http_prefix);
        if let Some(domain) = domain {
            builder = builder.with_domain(domain);
        }
        let cookie = cookie_of(builder).await;
        assert_eq!(cookie.name, expected, "secure {secure}, path {path}, domain {domain:?}, http {http_prefix}");
        assert_eq!(cookie.has("Secure"), secure);
        assert_eq!(cookie.attribute("Path"), Some(path));
        assert_eq!(cookie.attribute("Domain"), domain);
    }
}

// Checklist 11
// checklist: 11
#[test]
fn the_http_prefix_needs_http_only_and_secure() {
    assert_refused(builder().with_http_prefix(true).with_http_only(false), "HttpOnly");
    assert_refused(builder().with_http_prefix(true).with_secure(false), "Secure");
    assert_refused(builder().with_http_prefix(true).with_path("/app").with_http_only(false), "HttpOnly");
}

// Checklist 9, 20
#[test]
fn what_needs_secure_is_refused_without_it() {
    assert_refused(builder().with_same_site(SameSite::None).with_secure(false), "SameSite=None without Secure");
    assert_refused(builder().with_partitioned(true).with_secure(false), "Partitioned without Secure");
}

// Checklist 13
// checklist: 13
#[test]
fn a_name_that_is_no_token_is_refused() {
    let names = [
        "",
        " ",
        "a b",
        "id ",
        " id",
        "a=b",
        "=",
        "a;b",
        "a,b",
        "a\"b",
        "a(b)",
        "a/b",
        "a:b",
        "a@b",
        "a[b]",
        "a{b}",
        "a?b",
        "a\\b",
        "a<b>",
        "schlüssel",
        "\u{2000}id",
        "a\tb",
        "a\r\nb",
        "a\0b",
        "a\u{7f}",
    ];
    for name in names {
        assert_refused(builder().with_name(name), "is not a token");
    }
}

// Checklist 13
#[tokio::test]
async fn every_character_of_a_token_may_be_in_a_name() {
    let name = "!#$%&'*+-.^_`|~019azAZ";
    let layer = builder().with_name(name).build().unwrap();
    let app = app(layer);
    let mut client = Client::new(&app);
    assert_eq!(client.post("/set").await.set_cookie().name, format!("__Host-{name}"));
    assert_eq!(client.get("/").await.text(), "key");
}

// Checklist 10
#[test]
fn a_name_that_brings_its_own_prefix_is_refused_in_any_case() {
    for prefix in ["__Host-", "__Secure-", "__Http-", "__Host-Http-"] {
        for prefix in [prefix.to_owned(), prefix.to_lowercase(), prefix.to_uppercase()] {
            assert_refused(builder().with_name(format!("{prefix}id")), "prefix");
            assert_refused(builder().with_name(format!("{prefix}id")).with_secure(false), "prefix");
            assert_refused(builder().with_name(prefix), "prefix");
        }
    }
    for harmless in ["__id", "Host-id", "x__Host-id", "__Hostid", "__Hosting"] {
        assert!(builder().with_name(harmless).build().is_ok(), "{harmless}");
    }
}

#[test]
fn a_domain_that_is_no_host_name_is_refused() {
    for domain in
        ["", "a;b", "a; Secure", "a b", "a\r\nb", "a\tb", "a\0b", "bücher.example", "a,b", "a=b", "[::1]", "a\u{7f}"]
    {
        assert_refused(builder().with_domain(domain), "domain");
    }
}

#[test]
fn a_path_that_would_break_out_of_its_attribute_is_refused() {
    for path in
        ["", "app", "./", "*", "/a;b", "/a; Domain=evil.example", "/a\r\nb", "/a\tb", "/a\0b", "/bücher", "/\u{7f}"]
    {
        assert_refused(builder().with_path(path), "path");
    }
}

// Checklist 14
// checklist: 14
#[tokio::test]
async fn a_cookie_of_4096_bytes_is_accepted_and_one_of_4097_refused() {
    for (name, prefix, secure) in [(4096 - 43 - 7, "__Host-", true), (4096 - 43, "", false)] {
        let longest = "n".repeat(name);
        let cookie = cookie_of(builder().with_name(&longest).with_secure(secure)).await;
        assert_eq!(cookie.name, format!("{prefix}{longest}"));
        assert_eq!(cookie.name.len() + cookie.value.len(), 4096);
        assert_refused(builder().with_name(format!("{longest}n")).with_secure(secure), "4,096");
    }
}

// Checklist 14
#[tokio::test]
async fn an_attribute_of_1024_bytes_is_accepted_and_one_of_1025_refused() {
    let path = format!("/{}", "p".repeat(1023));
    assert_eq!(cookie_of(builder().with_path(&path)).await.attribute("Path"), Some(path.as_str()));
    assert_refused(builder().with_path(format!("{path}p")), "1,024");

    let domain = "d".repeat(1024);
    assert_eq!(cookie_of(builder().with_domain(&domain)).await.attribute("Domain"), Some(domain.as_str()));
    assert_refused(builder().with_domain(format!("{domain}d")), "1,024");
}

// Checklist 15
#[tokio::test]
async fn a_max_age_of_400_days_is_accepted_and_a_longer_one_refused() {
    assert_eq!(Lifetime::MAX_COOKIE_AGE, 400 * DAY);
    let lifetime = Lifetime::new().with_absolute_timeout(500 * DAY);
    let cookie = cookie_of(builder().with_lifetime(lifetime).with_max_age(400 * DAY)).await;
    assert_eq!(cookie.max_age(), Some(34_560_000));

    let over = 400 * DAY + Duration::from_secs(1);
    assert_refused(builder().with_max_age(over), "400 days");
    assert_refused(builder().with_lifetime(lifetime.with_max_age(over)), "400 days");
    assert_refused(builder().with_max_age(Duration::from_millis(34_560_000_001)), "400 days");
}

#[test]
fn lifetimes_under_which_no_session_can_live_are_refused() {
    let with = |lifetime| builder().with_lifetime(lifetime);
    assert_refused(with(Lifetime::new().with_idle_timeout(Duration::ZERO)), "idle");
    assert_refused(with(Lifetime::new().with_absolute_timeout(Duration::ZERO)), "absolute");
    assert_refused(with(Lifetime::new().with_max_age(Duration::ZERO)), "Max-Age");
    assert_refused(with(Lifetime::new().with_refresh_interval(Duration::ZERO)), "rotation");
    assert_refused(with(Lifetime::new().with_refresh_interval(Duration::from_millis(29_999))), "30 seconds");
    assert!(with(Lifetime::new().with_refresh_interval(Duration::from_secs(30))).build().is_ok());
    assert!(with(Lifetime::new().with_max_age(Duration::from_secs(1))).build().is_ok());
    assert!(with(Lifetime::new().without_idle_timeout()).build().is_ok());
}

// Checklist 16
#[tokio::test]
async fn a_cookie_lasts_until_the_browser_is_closed_unless_told_otherwise() {
    let cookie = cookie_of(builder()).await;
    assert!(!cookie.has("Max-Age") && !cookie.has("Expires"));
    let cookie = cookie_of(builder().with_max_age(2 * 60 * MINUTE)).await;
    assert_eq!(cookie.max_age(), Some(2 * 60 * 60));
}
