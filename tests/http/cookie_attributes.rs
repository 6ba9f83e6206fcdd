//! The session cookie's name and attributes, and the settings that `build` refuses.

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

/// Returns the cookie that a layer with these settings sets.
async fn cookie_of(builder: SessionLayerBuilder) -> SetCookie {
    let layer = builder.build().unwrap();
    let name = layer.cookie_name().to_owned();
    let cookie = Client::new(&app(layer)).post("/set").await.set_cookie();
    assert_eq!(cookie.name, name);
    cookie
}

/// Returns the error of building a layer with these settings.
#[track_caller]
fn build_error_of(builder: SessionLayerBuilder) -> String {
    builder.build().expect_err("the layer must be refused").to_string()
}

#[track_caller]
fn assert_refused(builder: SessionLayerBuilder, reason: &str) {
    let error = build_error_of(builder);
    assert!(error.contains(reason), "{error:?} does not contain {reason:?}");
}

// checklist: 1, 7, 8, 9, 10, 12, 16
/// The default cookie is `__Host-id` with `Path=/`, `Secure`, `HttpOnly` and `SameSite=Lax`, and its value is a token.
#[tokio::test]
async fn default_cookie_has_host_prefix_and_secure_attributes() {
    for layer in [SessionLayer::new(MemoryStore::new()), builder().build().unwrap()] {
        let cookie = Client::new(&app(layer)).post("/set").await.set_cookie();
        assert_eq!(cookie.name, "__Host-id");
        assert_eq!(cookie.attribute_names(), ["HttpOnly", "Path", "SameSite", "Secure"]);
        assert_eq!(cookie.attribute("Path"), Some("/"));
        assert_eq!(cookie.attribute("SameSite"), Some("Lax"));
        assert!(Token::parse(cookie.value.as_bytes()).is_some());
    }
}

/// Path, domain, `HttpOnly` and `Partitioned` appear in the cookie as configured.
#[tokio::test]
async fn configured_attributes_are_sent() {
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

// checklist: 8
/// With `with_secure(false)` the cookie has neither `Secure` nor a name prefix.
#[tokio::test]
async fn secure_is_omitted_only_if_disabled() {
    let cookie = cookie_of(builder().with_secure(false)).await;
    assert!(!cookie.has("Secure"));
    assert_eq!(cookie.name, "id");
}

// checklist: 9
/// The `SameSite` attribute has the configured value, with and without `Secure`.
#[tokio::test]
async fn same_site_is_always_sent() {
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

// checklist: 10
/// Twelve combinations of secure, path, domain and HTTP prefix produce the expected name prefixes and attributes.
#[tokio::test]
async fn name_prefix_is_the_strongest_that_attributes_allow() {
    // secure, path, domain, HTTP prefix, expected name
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

// checklist: 11
/// Building a layer with the HTTP prefix but without `HttpOnly` or `Secure` fails with that reason.
#[test]
fn http_prefix_requires_http_only_and_secure() {
    assert_refused(builder().with_http_prefix(true).with_http_only(false), "HttpOnly");
    assert_refused(builder().with_http_prefix(true).with_secure(false), "Secure");
    assert_refused(builder().with_http_prefix(true).with_path("/app").with_http_only(false), "HttpOnly");
}

// checklist: 9, 20
/// Building a layer with `SameSite=None` or `Partitioned` but without `Secure` fails with that reason.
#[test]
fn same_site_none_and_partitioned_require_secure() {
    assert_refused(builder().with_same_site(SameSite::None).with_secure(false), "SameSite=None requires Secure");
    assert_refused(builder().with_partitioned(true).with_secure(false), "Partitioned requires Secure");
}

// checklist: 13
/// Building a layer with an empty name or a name with forbidden characters fails.
#[test]
fn invalid_cookie_names_are_refused() {
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

// checklist: 13
/// A name of punctuation, digits and letters that RFC 9110 allows in a token works in both directions.
#[tokio::test]
async fn all_token_characters_are_allowed_in_a_cookie_name() {
    let name = "!#$%&'*+-.^_`|~019azAZ";
    let layer = builder().with_name(name).build().unwrap();
    let app = app(layer);
    let mut client = Client::new(&app);
    assert_eq!(client.post("/set").await.set_cookie().name, format!("__Host-{name}"));
    assert_eq!(client.get("/").await.text(), "key");
}

// checklist: 10
/// Names that start with a cookie prefix, in any letter case, are refused; similar names are accepted.
#[test]
fn cookie_names_with_a_prefix_are_refused() {
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

/// Building a layer with a domain that is not a host name fails.
#[test]
fn invalid_domains_are_refused() {
    for domain in
        ["", "a;b", "a; Secure", "a b", "a\r\nb", "a\tb", "a\0b", "bücher.example", "a,b", "a=b", "[::1]", "a\u{7f}"]
    {
        assert_refused(builder().with_domain(domain), "domain");
    }
}

/// Building a layer with a relative path, or with characters that would end the attribute, fails.
#[test]
fn invalid_paths_are_refused() {
    for path in
        ["", "app", "./", "*", "/a;b", "/a; Domain=evil.example", "/a\r\nb", "/a\tb", "/a\0b", "/bücher", "/\u{7f}"]
    {
        assert_refused(builder().with_path(path), "path");
    }
}

// checklist: 14
/// A cookie whose name and value have 4,096 bytes is accepted, with and without a prefix; one more byte is refused.
#[tokio::test]
async fn cookie_may_have_4096_bytes_but_not_4097() {
    for (name, prefix, secure) in [(4096 - 43 - 7, "__Host-", true), (4096 - 43, "", false)] {
        let longest = "n".repeat(name);
        let cookie = cookie_of(builder().with_realm("id").with_name(&longest).with_secure(secure)).await;
        assert_eq!(cookie.name, format!("{prefix}{longest}"));
        assert_eq!(cookie.name.len() + cookie.value.len(), 4096);
        assert_refused(builder().with_realm("id").with_name(format!("{longest}n")).with_secure(secure), "4,096");
    }
}

// checklist: 14
/// A path and a domain of 1,024 bytes are accepted; one more byte is refused.
#[tokio::test]
async fn attribute_may_have_1024_bytes_but_not_1025() {
    let path = format!("/{}", "p".repeat(1023));
    assert_eq!(cookie_of(builder().with_path(&path)).await.attribute("Path"), Some(path.as_str()));
    assert_refused(builder().with_path(format!("{path}p")), "1,024");

    let domain = "d".repeat(1024);
    assert_eq!(cookie_of(builder().with_domain(&domain)).await.attribute("Domain"), Some(domain.as_str()));
    assert_refused(builder().with_domain(format!("{domain}d")), "1,024");
}

// checklist: 15
/// `Max-Age` of 400 days is accepted; one second or one millisecond more is refused.
#[tokio::test]
async fn max_age_may_have_400_days_but_not_more() {
    assert_eq!(Lifetime::MAX_COOKIE_AGE, 400 * DAY);
    let lifetime = Lifetime::new().with_absolute_timeout(500 * DAY);
    let cookie = cookie_of(builder().with_lifetime(lifetime).with_max_age(400 * DAY)).await;
    assert_eq!(cookie.max_age(), Some(34_560_000));

    let over = 400 * DAY + Duration::from_secs(1);
    assert_refused(builder().with_max_age(over), "400 days");
    assert_refused(builder().with_lifetime(lifetime.with_max_age(over)), "400 days");
    assert_refused(builder().with_max_age(Duration::from_millis(34_560_000_001)), "400 days");
}

/// Zero timeouts, a zero `Max-Age` and refresh intervals below 30 seconds are refused; valid minimums pass.
#[test]
fn invalid_lifetimes_are_refused() {
    let with = |lifetime| builder().with_lifetime(lifetime);
    assert_refused(with(Lifetime::new().with_idle_timeout(Duration::ZERO)), "idle");
    assert_refused(with(Lifetime::new().with_absolute_timeout(Duration::ZERO)), "absolute");
    assert_refused(with(Lifetime::new().with_max_age(Duration::ZERO)), "Max-Age");
    assert_refused(with(Lifetime::new().with_refresh_interval(Duration::ZERO)), "refresh");
    assert_refused(with(Lifetime::new().with_refresh_interval(Duration::from_millis(29_999))), "30 seconds");
    assert!(with(Lifetime::new().with_refresh_interval(Duration::from_secs(30))).build().is_ok());
    assert!(with(Lifetime::new().with_max_age(Duration::from_secs(1))).build().is_ok());
    assert!(with(Lifetime::new().without_idle_timeout()).build().is_ok());
}

/// An idle timeout and a `Max-Age` may equal the absolute timeout, but not exceed it; the error says what to set.
#[test]
fn absolute_timeout_is_the_longest_time_of_a_lifetime() {
    let week = 7 * DAY;
    let more = week + Duration::from_millis(1);
    let with = |lifetime| builder().with_lifetime(lifetime);
    assert_refused(with(Lifetime::new().with_idle_timeout(week)), "with_absolute_timeout");
    assert_refused(with(Lifetime::new().with_max_age(week)), "with_absolute_timeout");
    assert_refused(builder().with_max_age(week), "with_absolute_timeout");
    assert_refused(with(Lifetime::new().with_absolute_timeout(10 * MINUTE)), "with_idle_timeout");
    let lifetime = Lifetime::new().with_absolute_timeout(week);
    assert_refused(with(lifetime.with_idle_timeout(more)), "idle timeout");
    assert_refused(with(lifetime.with_max_age(more)), "Max-Age");
    assert_refused(with(lifetime).with_max_age(more), "Max-Age");
    assert!(with(lifetime.with_idle_timeout(week).with_max_age(week)).build().is_ok());
    for lifetime in [Lifetime::aal1(), Lifetime::aal2(), Lifetime::aal3()] {
        assert!(with(lifetime).build().is_ok());
    }
    let sessions = || SessionLayer::new(MemoryStore::new()).sessions();
    assert!(sessions().with_lifetime(lifetime.with_idle_timeout(more)).is_err());
    assert!(sessions().with_lifetime(lifetime.with_max_age(more)).is_err());
    assert!(sessions().with_lifetime(lifetime.with_idle_timeout(week)).is_ok());
}

// checklist: 16
/// The default cookie has no `Max-Age` or `Expires`; a configured `Max-Age` is sent.
#[tokio::test]
async fn cookie_has_no_max_age_by_default() {
    let cookie = cookie_of(builder()).await;
    assert!(!cookie.has("Max-Age") && !cookie.has("Expires"));
    let cookie = cookie_of(builder().with_max_age(2 * 60 * MINUTE)).await;
    assert_eq!(cookie.max_age(), Some(2 * 60 * 60));
}
