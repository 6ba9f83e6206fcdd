//! The attacks of `docs/security.md`, one by one, over HTTP. Each test is named after its attack and is short; the table
//! names those that go deeper.

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
    async fn who(session: Session) -> Result<String, Error> {
        session.get::<u32>("n")?;
        Ok(session.owner().map_or_else(|| "nobody".to_owned(), |owner| owner.to_string()))
    }

    Router::new()
        .route("/", get(who))
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

async fn ask(app: &Router, cookies: &[&str]) -> Reply {
    let cookies: Vec<&[u8]> = cookies.iter().map(|cookie| cookie.as_bytes()).collect();
    send(app, request_with_cookies("/", &cookies)).await
}

#[tokio::test]
async fn attack_cookie_tossing_gains_nothing_in_any_order() {
    let app = default_app();
    let (victim, attacker) = (signed_in(&app, "ada").await, signed_in(&app, "eve").await);
    let (good, evil) = (pair(&victim), pair(&attacker));
    let junk = format!("{COOKIE_NAME}=evil");
    for (planted, seen) in [(&junk, "ada"), (&evil, "nobody")] {
        for cookies in [
            vec![format!("{planted}; {good}")],
            vec![format!("{good}; {planted}")],
            vec![planted.clone(), good.clone()],
            vec![good.clone(), planted.clone()],
        ] {
            let cookies: Vec<&str> = cookies.iter().map(String::as_str).collect();
            let reply = ask(&app, &cookies).await;
            assert_eq!(reply.text(), seen, "{cookies:?}");
            reply.assert_no_cookie();
        }
    }
    // What the victim types in meanwhile does not end up with the attacker.
    let mut both = request_with_cookies("/set", &[format!("{good}; {evil}").as_bytes()]);
    *both.method_mut() = http::Method::POST;
    let made = send(&app, both).await.set_cookie().value;
    assert_ne!(session_of(&made), session_of(&attacker.token().unwrap()));
}

#[tokio::test]
async fn attack_a_prefix_bypassed_by_unicode_whitespace_is_another_name() {
    let app = default_app();
    let attacker = signed_in(&app, "eve").await;
    let victim = pair(&signed_in(&app, "ada").await);
    for space in ["\u{2000}", "\u{a0}", "\u{85}", "\u{feff}", "\u{3000}", "\u{2028}", "\u{b}", "\u{c}"] {
        for name in [format!("{space}{COOKIE_NAME}"), format!("{COOKIE_NAME}{space}")] {
            let cookie = format!("{name}={}", attacker.token().unwrap());
            if http::HeaderValue::from_bytes(cookie.as_bytes()).is_err() {
                continue;
            }
            assert_eq!(ask(&app, &[&cookie]).await.text(), "nobody", "{name:?}");
            assert_eq!(ask(&app, &[&format!("{cookie}; {victim}")]).await.text(), "ada", "{name:?}");
        }
    }
    // Nor the bytes that are such a space in another encoding.
    for byte in [0x80, 0x85, 0xa0, 0xad, 0xff] {
        let token = attacker.token().unwrap();
        let before = [&[byte][..], COOKIE_NAME.as_bytes(), b"=", token.as_bytes()].concat();
        let after = [COOKIE_NAME.as_bytes(), &[byte], b"=", token.as_bytes()].concat();
        for cookie in [before, after] {
            assert_eq!(send(&app, request_with_cookies("/", &[&cookie])).await.text(), "nobody", "{byte:x}");
        }
    }
    let cookie = format!(" \t {COOKIE_NAME}\t= {} ", attacker.token().unwrap());
    assert_eq!(ask(&app, &[&cookie]).await.text(), "eve", "a space and a tab are what may be around");
}

#[tokio::test]
async fn attack_quote_smuggling_hides_and_shows_no_cookie() {
    let app = default_app();
    let (victim, attacker) = (pair(&signed_in(&app, "ada").await), pair(&signed_in(&app, "eve").await));
    // Quotes span nothing: a cookie whose value the attacker chose ends at its semicolon as for every browser.
    assert_eq!(ask(&app, &[&format!("a=\"x; {victim}")]).await.text(), "ada");
    assert_eq!(ask(&app, &[&format!("a=\"x; {victim}; b=y\"")]).await.text(), "ada");
    assert_eq!(ask(&app, &[&format!("a=\"x; {attacker}; y\"; {victim}")]).await.text(), "nobody", "both are seen");
    assert_eq!(ask(&app, &[&format!("a=\"{attacker}\"; {victim}")]).await.text(), "ada");
    let quoted = victim.replacen('=', "=\"", 1) + "\"";
    assert_eq!(ask(&app, &[&quoted]).await.text(), "nobody", "the quotes are part of the value");
}

#[tokio::test]
async fn attack_fixation_of_a_planted_session_ends_with_the_sign_in() {
    let app = default_app();
    let mut attacker = Client::new(&app);
    attacker.post("/set").await;
    let mut victim = Client::with_cookie(&app, COOKIE_NAME, &attacker.token().unwrap());
    victim.post("/sign-in/ada").await.set_cookie();
    assert_eq!(victim.get("/members").await.text(), "ada");
    assert_eq!(attacker.get("/members").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(attacker.get("/").await.text(), "nobody");
    assert_eq!(attacker.post("/set").await.status, StatusCode::CONFLICT);
    // Also where the attacker had signed in to what it planted.
    let attacker = signed_in(&app, "eve").await;
    let mut victim = Client::with_cookie(&app, COOKIE_NAME, &attacker.token().unwrap());
    let token = victim.post("/sign-in/ada").await.set_cookie().value;
    assert_ne!(session_of(&token), session_of(&attacker.token().unwrap()));
    assert_eq!(attacker.clone().get("/members").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn attack_session_puzzling_signs_nobody_in() {
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
        // A careless application that uses one key for two flows is told rather than given the other's value.
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

#[tokio::test]
async fn attack_timing_and_dumps_find_no_cookie_value_in_the_store() {
    let store = MemoryStore::new();
    let app = app(SessionLayer::new(store.clone()));
    let client = signed_in(&app, "ada").await;
    let token = client.token().unwrap();
    let dump = store.get(&session_of(&token)).await.unwrap().unwrap().encode();
    // What is compared is a digest, in constant time: to steer a comparison byte by byte one would need preimages. And
    // what a thief of the store reads is of no use as a cookie.
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

#[tokio::test]
async fn attack_a_cache_is_never_told_to_keep_a_cookie_or_what_a_session_was_shown() {
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
        let said = reply.header(CACHE_CONTROL.as_str()).unwrap();
        assert!(said.contains("private") && !said.contains("public") && !said.contains("s-maxage"), "{said}");
        assert_eq!(reply.header(VARY.as_str()), Some("cookie"));
    }
}

#[tokio::test]
async fn attack_a_bomb_of_data_is_refused_both_ways() {
    let store = MemoryStore::new();
    let app = app(SessionLayer::new(store.clone()));
    let mut client = signed_in(&app, "ada").await;
    let before = store.get(&session_of(&client.token().unwrap())).await.unwrap().unwrap();
    assert_eq!(client.post("/size/10485760").await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let after = store.get(&session_of(&client.token().unwrap())).await.unwrap().unwrap();
    assert!(before == after, "nothing was stored");
    assert_eq!(client.post("/size/1000000").await.status, StatusCode::OK);
    assert_eq!(client.get("/members").await.text(), "ada");
    // A record that was tampered with is an error of its value, or no session; never a crash, never an empty one.
    let mut parts = store.get(&session_of(&client.token().unwrap())).await.unwrap().unwrap().into_parts();
    let deep = [&b"\x04deep\xa0\x8d\x06"[..], &b"\x91".repeat(100_000)].concat();
    parts.state = [&*parts.state, &deep].concat().into();
    let expected = Expected::Version(parts.version);
    parts.version = Version::new(parts.version.get() + 1);
    assert_eq!(store.set(&Record::from_parts(parts), expected).await.unwrap(), Outcome::Written);
    assert_eq!(client.get("/members").await.text(), "ada");
    let sessions = SessionLayer::new(store.clone()).sessions();
    let stored = sessions.find_by_id(&session_of(&client.token().unwrap())).await.unwrap().unwrap();
    assert!(stored.keys().contains(&"deep".to_owned()), "the bomb is in place");
    assert_eq!(stored.get::<serde_json::Value>("deep").unwrap_err().kind(), ErrorKind::TypeMismatch);
    assert!(stored.to::<BTreeMap<String, serde_json::Value>>().is_err());
}

#[tokio::test]
async fn attack_a_forged_form_of_another_site_is_refused() {
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
