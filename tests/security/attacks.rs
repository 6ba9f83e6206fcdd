//! The attacks of `docs/security.md`, each in one short test over HTTP.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::collections::BTreeMap;

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::{get, post};
use http::StatusCode;
use http::header::{CACHE_CONTROL, VARY};
use serde::{Deserialize, Serialize};
use sessile::csrf::Csrf;
use sessile::store::{Expected, Outcome, Record, Store, Version};
use sessile::{Error, ErrorKind, Field, MemoryStore, Session, SessionLayer, SignedIn};
use support::client::{COOKIE_NAME, Client, Reply, request_with_cookies, send, session_of};

fn app(layer: SessionLayer) -> Router {
    async fn show_owner(session: Session) -> Result<String, Error> {
        session.get::<u32>("n")?;
        Ok(session.owner().map_or_else(|| "anonymous".to_owned(), |owner| owner.to_string()))
    }

    Router::new()
        .route("/", get(show_owner))
        .route("/set", post(async |session: Session| session.update("n", |n: &mut u32| *n += 1)))
        .route(
            "/sign-in/{name}",
            post(async |session: Session, name: axum::extract::Path<String>| session.sign_in(&name)),
        )
        .route("/members", get(async |user: SignedIn| user.owner().to_owned()))
        .route(
            "/size/{bytes}",
            post(async |session: Session, bytes: axum::extract::Path<usize>| {
                session.insert("big", &"x".repeat(bytes.0))
            }),
        )
        .route("/page", get(async |session: Session| session.csrf_token().await.map(|token| token.to_string())))
        .route("/pay", post(async |session: Csrf| session.owner().map(|owner| owner.to_string()).unwrap_or_default()))
        .layer(layer)
}

fn default_app() -> Router {
    app(SessionLayer::new(MemoryStore::new()))
}

async fn signed_in(app: &Router, name: &str) -> Client {
    let mut client = Client::new(app);
    client.post(&format!("/sign-in/{name}")).await.set_cookie();
    client
}

fn pair(client: &Client) -> String {
    format!("{COOKIE_NAME}={}", client.token().unwrap())
}

async fn get_with_cookies(app: &Router, cookies: &[&str]) -> Reply {
    let cookies: Vec<&[u8]> = cookies.iter().map(|cookie| cookie.as_bytes()).collect();
    send(app, request_with_cookies("/", &cookies)).await
}

/// A second cookie, invalid or the attacker's, in any order: the victim's session or none is used, and no cookie set.
#[tokio::test]
async fn cookie_tossing_never_opens_the_attackers_session() {
    let app = default_app();
    let (victim, attacker) = (signed_in(&app, "ada").await, signed_in(&app, "eve").await);
    let (victim_pair, attacker_pair) = (pair(&victim), pair(&attacker));
    let junk = format!("{COOKIE_NAME}=evil");
    for (planted, expected) in [(&junk, "ada"), (&attacker_pair, "anonymous")] {
        for cookies in [
            vec![format!("{planted}; {victim_pair}")],
            vec![format!("{victim_pair}; {planted}")],
            vec![planted.clone(), victim_pair.clone()],
            vec![victim_pair.clone(), planted.clone()],
        ] {
            let cookies: Vec<&str> = cookies.iter().map(String::as_str).collect();
            let reply = get_with_cookies(&app, &cookies).await;
            assert_eq!(reply.text(), expected, "{cookies:?}");
            reply.assert_no_cookie();
        }
    }
    // A write with both cookies goes to neither session.
    let mut both = request_with_cookies("/set", &[format!("{victim_pair}; {attacker_pair}").as_bytes()]);
    *both.method_mut() = http::Method::POST;
    let created = send(&app, both).await.set_cookie().value;
    assert_ne!(session_of(&created), session_of(&attacker.token().unwrap()));
}

/// A name with Unicode whitespace around `__Host-id` is another cookie; only space and tab are trimmed.
#[tokio::test]
async fn cookie_prefix_with_unicode_whitespace_is_not_the_cookie() {
    let app = default_app();
    let attacker = signed_in(&app, "eve").await;
    let victim = pair(&signed_in(&app, "ada").await);
    for space in ["\u{2000}", "\u{a0}", "\u{85}", "\u{feff}", "\u{3000}", "\u{2028}", "\u{b}", "\u{c}"] {
        for name in [format!("{space}{COOKIE_NAME}"), format!("{COOKIE_NAME}{space}")] {
            let cookie = format!("{name}={}", attacker.token().unwrap());
            if http::HeaderValue::from_bytes(cookie.as_bytes()).is_err() {
                continue;
            }
            assert_eq!(get_with_cookies(&app, &[&cookie]).await.text(), "anonymous", "{name:?}");
            assert_eq!(get_with_cookies(&app, &[&format!("{cookie}; {victim}")]).await.text(), "ada", "{name:?}");
        }
    }
    // The same for bytes that are whitespace in other encodings.
    for byte in [0x80, 0x85, 0xa0, 0xad, 0xff] {
        let token = attacker.token().unwrap();
        let before = [&[byte][..], COOKIE_NAME.as_bytes(), b"=", token.as_bytes()].concat();
        let after = [COOKIE_NAME.as_bytes(), &[byte], b"=", token.as_bytes()].concat();
        for cookie in [before, after] {
            assert_eq!(send(&app, request_with_cookies("/", &[&cookie])).await.text(), "anonymous", "{byte:x}");
        }
    }
    let cookie = format!(" \t {COOKIE_NAME}\t= {} ", attacker.token().unwrap());
    assert_eq!(
        get_with_cookies(&app, &[&cookie]).await.text(),
        "eve",
        "spaces and tabs around name and value are ignored"
    );
}

/// A quoted value that contains a session cookie hides none and opens none.
#[tokio::test]
async fn quotes_in_cookie_values_neither_hide_nor_add_cookies() {
    let app = default_app();
    let (victim, attacker) = (pair(&signed_in(&app, "ada").await), pair(&signed_in(&app, "eve").await));
    // A quoted value ends at its semicolon, as in browsers, so it cannot hide another cookie.
    assert_eq!(get_with_cookies(&app, &[&format!("a=\"x; {victim}")]).await.text(), "ada");
    assert_eq!(get_with_cookies(&app, &[&format!("a=\"x; {victim}; b=y\"")]).await.text(), "ada");
    assert_eq!(
        get_with_cookies(&app, &[&format!("a=\"x; {attacker}; y\"; {victim}")]).await.text(),
        "anonymous",
        "both cookies are read"
    );
    assert_eq!(get_with_cookies(&app, &[&format!("a=\"{attacker}\"; {victim}")]).await.text(), "ada");
    let quoted = victim.replacen('=', "=\"", 1);
    assert_eq!(get_with_cookies(&app, &[&format!("{quoted}\"")]).await.text(), "ada", "a value may be quoted");
    assert_eq!(get_with_cookies(&app, &[&format!("{quoted}; y\"")]).await.text(), "anonymous", "but not with more");
}

/// After the victim signs in on a planted session, the attacker reads nothing, writes answer 409, and its own ends.
#[tokio::test]
async fn session_fixation_gives_no_access_after_the_sign_in() {
    let app = default_app();
    let mut attacker = Client::new(&app);
    attacker.post("/set").await;
    let mut victim = Client::with_cookie(&app, COOKIE_NAME, &attacker.token().unwrap());
    victim.post("/sign-in/ada").await.set_cookie();
    assert_eq!(victim.get("/members").await.text(), "ada");
    assert_eq!(attacker.get("/members").await.status, StatusCode::CONFLICT);
    assert_eq!(attacker.get("/").await.text(), "anonymous");
    assert_eq!(attacker.post("/set").await.status, StatusCode::CONFLICT);
    // The same for a planted session that the attacker has signed in to.
    let attacker = signed_in(&app, "eve").await;
    let mut victim = Client::with_cookie(&app, COOKIE_NAME, &attacker.token().unwrap());
    let token = victim.post("/sign-in/ada").await.set_cookie().value;
    assert_ne!(session_of(&token), session_of(&attacker.token().unwrap()));
    assert_eq!(attacker.clone().get("/members").await.status, StatusCode::UNAUTHORIZED);
}

/// Values under keys such as `owner` sign the client in to nothing, and a field of another type fails to read.
#[tokio::test]
async fn session_puzzling_neither_signs_in_nor_mixes_types() {
    #[derive(Serialize, Deserialize)]
    struct Reset {
        user: String,
    }

    #[derive(Serialize, Deserialize)]
    struct Account {
        user: String,
        is_admin: bool,
    }

    const RESET: Field<Reset> = Field::new("reset.account");
    const ACCOUNT: Field<Account> = Field::new("account");

    async fn forgot(session: Session) -> Result<(), Error> {
        session.insert(RESET, &Reset { user: "ada".to_owned() })?;
        for key in ["owner", "user", "user_id", "authenticated_at", "epoch"] {
            session.insert(key, "ada")?;
        }
        Ok(())
    }

    async fn account(session: Session) -> Result<String, Error> {
        // Two flows that share a key get a type error, not each other's value.
        session.insert("account", &Reset { user: "ada".to_owned() })?;
        assert_eq!(session.get(ACCOUNT).err().map(|error| error.kind()), Some(ErrorKind::TypeMismatch));
        session.remove(ACCOUNT)?;
        Ok(format!("{}", session.get(ACCOUNT)?.is_some()))
    }

    let app = Router::new()
        .route("/forgot", post(forgot))
        .route("/account", get(account))
        .route("/members", get(async |user: SignedIn| user.owner().to_owned()))
        .layer(SessionLayer::new(MemoryStore::new()));
    let mut client = Client::new(&app);
    client.post("/forgot").await;
    assert_eq!(client.get("/members").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(client.get("/account").await.text(), "false");
}

/// No four bytes of the secret are in the record, and no 16 bytes of the record work as a secret.
#[tokio::test]
async fn store_dump_contains_no_cookie_value() {
    let store = MemoryStore::new();
    let app = app(SessionLayer::new(store.clone()));
    let client = signed_in(&app, "ada").await;
    let token = client.token().unwrap();
    let dump = store.get(&session_of(&token)).await.unwrap().unwrap().encode();
    // The layer compares digests in constant time, so a timing attack would need preimages of chosen digests.
    let secret =
        base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, &token).unwrap()[16..].to_vec();
    assert_eq!(secret.len(), 16);
    assert!(!dump.windows(4).any(|part| secret.windows(4).any(|of_secret| part == of_secret)));
    for window in dump.windows(16) {
        let id = session_of(&token);
        let forged = [id.as_uuid().as_bytes(), window].concat();
        let forged = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, forged);
        let reply = Client::with_cookie(&app, COOKIE_NAME, &forged).get("/members").await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    }
}

/// A handler's `public` Cache-Control becomes `no-store` with a cookie and `private` with `Vary` for a read.
#[tokio::test]
async fn responses_with_a_session_are_not_cacheable() {
    fn public() -> HeaderMap {
        [(CACHE_CONTROL, "public, max-age=31536000, s-maxage=31536000".parse().unwrap())].into_iter().collect()
    }

    let app = Router::new()
        .route("/set", get(async |session: Session| session.update("n", |n: &mut u32| *n += 1).map(|()| public())))
        .route("/read", get(async |_: Session| public()))
        .layer(SessionLayer::new(MemoryStore::new()));
    let mut client = Client::new(&app);
    let reply = client.get("/set").await;
    reply.set_cookie();
    assert_eq!(reply.all(CACHE_CONTROL.as_str()), ["no-store"]);
    for client in [&mut client, &mut Client::new(&app)] {
        let reply = client.get("/read").await;
        let value = reply.header(CACHE_CONTROL.as_str()).unwrap();
        assert!(value.contains("private") && !value.contains("public") && !value.contains("s-maxage"), "{value}");
        assert_eq!(reply.header(VARY.as_str()), Some("cookie"));
    }
}

/// A value of 10 MiB answers 413; a stored value nested 100,000 deep fails its own read and nothing else.
#[tokio::test]
async fn oversized_and_deeply_nested_values_are_refused() {
    let store = MemoryStore::new();
    let app = app(SessionLayer::new(store.clone()));
    let mut client = signed_in(&app, "ada").await;
    let before = store.get(&session_of(&client.token().unwrap())).await.unwrap().unwrap();
    assert_eq!(client.post("/size/10485760").await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let after = store.get(&session_of(&client.token().unwrap())).await.unwrap().unwrap();
    assert!(before == after, "the refused value changed the record");
    assert_eq!(client.post("/size/1000000").await.status, StatusCode::OK);
    assert_eq!(client.get("/members").await.text(), "ada");
    // A value that an attacker wrote to the store fails on its own read and leaves the rest of the session readable.
    let mut parts = store.get(&session_of(&client.token().unwrap())).await.unwrap().unwrap().into_parts();
    let deep = [&b"\x04deep\xa0\x8d\x06"[..], &b"\x91".repeat(100_000)].concat();
    parts.state = [&*parts.state, &deep].concat().into();
    let expected = Expected::Version(parts.version);
    parts.version = Version::new(parts.version.get() + 1);
    assert_eq!(store.set(&Record::from_parts(parts), expected).await.unwrap(), Outcome::Written);
    assert_eq!(client.get("/members").await.text(), "ada");
    let sessions = SessionLayer::new(store.clone()).sessions();
    let stored = sessions.find_by_id(&session_of(&client.token().unwrap())).await.unwrap().unwrap();
    assert!(stored.keys().contains(&"deep".to_owned()), "the deeply nested value is stored");
    assert_eq!(stored.get::<serde_json::Value>("deep").unwrap_err().kind(), ErrorKind::TypeMismatch);
    assert!(stored.to::<BTreeMap<String, serde_json::Value>>().is_err());
}

/// A POST without a CSRF token or with another session's answers 403; with the session's own it succeeds.
#[tokio::test]
async fn cross_site_form_without_valid_csrf_token_is_refused() {
    let app = default_app();
    let mut victim = signed_in(&app, "ada").await;
    let own = victim.get("/page").await.text().to_owned();
    let attacker = Client::new(&app).get("/page").await.text().to_owned();
    let pay = |token: &str| {
        let mut request = support::client::request(http::Method::POST, "/pay");
        request.headers_mut().insert("x-csrf-token", token.parse().unwrap());
        request
    };
    assert_eq!(victim.post("/pay").await.status, StatusCode::FORBIDDEN);
    assert_eq!(victim.send(pay(&attacker)).await.status, StatusCode::FORBIDDEN);
    assert_eq!(victim.send(pay(&own)).await.text(), "ada");
}
