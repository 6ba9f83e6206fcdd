//! Tokens appear in the cookie only: not in response bodies, errors, `Debug` output or the log at any level.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::capture::Capture;
use crate::support;

use std::error::Error as _;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use http::{Method, StatusCode};
use sessile::config::{KeyRing, TokenHeader};
use sessile::csrf::Csrf;
use sessile::event::EventKind;
use sessile::flash::FlashLevel;
use sessile::testing::ManualClock;
use sessile::{Error, Lifetime, MemoryStore, SealedStore, Session, SessionHandle, SessionLayer, SignedIn};
use support::client::{COOKIE_NAME, Client, EventLog, request, request_with_cookies, send, session_of};
use support::store::{Fault, FaultyStore, Op};
use tracing::Level;

fn app(layer: SessionLayer) -> Router {
    async fn shown(session: Session, handle: SessionHandle) -> Result<String, Error> {
        session.insert("name", "a private value")?;
        let mut shown = format!("{session:?} {session:#?} {handle:?} {:?} {:?}", session.detach(), session.keys());
        let error = session.get::<u32>("name").unwrap_err();
        shown += &format!("{error} {error:?} {:?}", error.source().map(ToString::to_string));
        shown += &format!("{:?}", session.set_lifetime(Lifetime::new().with_idle_timeout(Duration::ZERO)));
        session.rotate()?;
        shown += &format!("{session:?}");
        session.commit().await?;
        Ok(shown + &format!("{session:?} {session:#?} {handle:#?}"))
    }

    async fn leave(user: SignedIn) -> Result<String, Error> {
        user.sign_out()?;
        Ok(format!("{user:?}"))
    }

    Router::new()
        .route("/shown", post(shown))
        .route("/leave", post(leave))
        .route("/", get(async |session: Session| format!("{:?}", session.get::<u32>("n"))))
        .route("/set", post(async |session: Session| session.update("n", |n: &mut u32| *n += 1)))
        .route("/page", get(async |session: Session| session.csrf_token().await.map(|token| token.to_string())))
        .route("/guarded", post(async |session: Csrf| session.flash(FlashLevel::Info, "a private message")))
        .route("/flashes", post(async |session: Session| session.take_flashes().await.map(drop)))
        .route("/sign-in", post(async |session: Session| session.sign_in("ada")))
        .route("/fail", post(async |session: Session| session.insert("n", &1).map(|()| StatusCode::BAD_GATEWAY)))
        .layer(layer)
}

/// Asserts that the text contains no token, secret, or ten characters from the middle of a secret.
#[track_caller]
fn assert_hidden(text: &str, tokens: &[String]) {
    for token in tokens {
        for part in [token.as_str(), &token[22..], &token[28..38]] {
            assert!(!text.contains(part), "{part} of a token is in: {text}");
        }
    }
}

// guarantee: 8
// checklist: 33
/// Creation, sign-in, rotation, refresh, replay, CSRF and store failures are logged by id, without tokens or values.
#[tokio::test]
async fn trace_log_of_a_whole_flow_has_no_token() {
    let (log, _guard) = Capture::log(Level::TRACE);
    let (clock, events) = (ManualClock::new(), EventLog::default());
    let store = FaultyStore::new(MemoryStore::new().with_clock(&clock));
    let lifetime = Lifetime::new().with_refresh_interval(Duration::from_secs(60));
    let layer = SessionLayer::builder(store.clone()).with_clock(&clock).with_lifetime(lifetime);
    let layer = layer.with_event_hook(events.hook()).build().unwrap();
    let app = app(layer);
    let (mut tokens, mut bodies, mut forms) = (Vec::new(), Vec::new(), Vec::new());
    let mut client = Client::new(&app);
    for path in ["/set", "/shown", "/set", "/fail", "/sign-in", "/shown", "/fail"] {
        let reply = client.post(path).await;
        bodies.push(reply.text().to_owned());
        tokens.extend(client.token());
        let page = client.get("/page").await.text().to_owned();
        tokens.extend(client.token());
        for csrf in [page.as_str(), "a forged one", &page[..80]] {
            let mut request = request(Method::POST, "/guarded");
            request.headers_mut().insert("x-csrf-token", csrf.parse().unwrap());
            client.send(request).await;
            tokens.extend(client.token());
        }
        forms.push(page);
        client.post("/flashes").await;
        tokens.extend(client.token());
        clock.advance(Duration::from_secs(31));
        bodies.push(client.get("/").await.text().to_owned());
        tokens.extend(client.token());
    }
    // Two live sessions in one request, replays of retired tokens, and a store that fails.
    let mut other = Client::new(&app);
    other.post("/set").await;
    tokens.extend(other.token());
    let both = format!("{COOKIE_NAME}={}; {COOKIE_NAME}={}", client.token().unwrap(), other.token().unwrap());
    send(&app, request_with_cookies("/", &[both.as_bytes()])).await;
    for _ in 0..2 {
        for token in tokens.clone() {
            bodies.push(Client::with_cookie(&app, COOKIE_NAME, &token).get("/").await.text().to_owned());
        }
        clock.advance(Duration::from_secs(31));
    }
    store.fail(Op::Get, 1, Fault::Before);
    bodies.push(client.get("/").await.text().to_owned());
    store.fail(Op::Set, 1, Fault::Before);
    client.post("/set").await;
    bodies.push(client.post("/leave").await.text().to_owned());

    tokens.sort();
    tokens.dedup();
    assert!(tokens.len() >= 5, "{tokens:?}");
    let log = log.text();
    for kind in ["Created", "SignedIn", "Rotated", "Refreshed", "Ambiguous", "Replayed", "StoreFailed", "Ended"] {
        assert!(log.contains(kind), "the log has no {kind}: {log}");
    }
    assert!(log.contains(&session_of(&tokens[0]).to_string()), "the log names the session's id");
    assert_hidden(&log, &tokens);
    assert_hidden(&log, &forms);
    assert!(log.contains("CsrfRefused") && log.contains("Unknown"), "{log}");
    assert!(!log.contains("private value") && !log.contains("private message"), "{log}");
    for text in bodies {
        assert_hidden(&text, &tokens);
        assert!(!text.contains("private value"), "{text}");
    }
    assert!(events.count(EventKind::Replayed) > 0);
}

/// With a token header, a private cookie and a sealed store, log, bodies and `Debug` have no token or key.
#[tokio::test]
async fn log_and_debug_hide_header_tokens_and_keys() {
    let (log, _guard) = Capture::log(Level::TRACE);
    let key = *b"a key that must never be printed";
    let store = SealedStore::new(MemoryStore::new(), &KeyRing::new(key).unwrap()).unwrap();
    let builder = SessionLayer::builder(store.clone()).with_token_header(TokenHeader::bearer());
    let builder = builder.with_private_cookie(KeyRing::new(key).unwrap().add_old_key([9; 32]).unwrap());
    let mut shown = format!("{store:?} {builder:?} {:?} {:?}", KeyRing::new(key).unwrap(), TokenHeader::bearer());
    let layer = builder.build().unwrap();
    shown += &format!("{layer:?}");
    let app = app(layer);
    let (mut tokens, mut token) = (Vec::new(), String::new());
    for path in ["/set", "/shown", "/sign-in", "/shown", "/leave", "/set"] {
        let mut request = request(Method::POST, path);
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        let reply = send(&app, request).await;
        shown += &format!("{} {:?}", reply.text(), reply.headers);
        if let Some(given) = reply.header("session-token") {
            token = given.to_owned();
            tokens.extend((!given.is_empty()).then(|| given.to_owned()));
        }
    }
    let mut browser = Client::new(&app);
    for path in ["/set", "/sign-in", "/shown"] {
        shown += browser.post(path).await.text();
        tokens.extend(browser.token());
    }
    assert!(tokens.len() >= 6, "{tokens:?}");
    assert_hidden(&log.text(), &tokens);
    assert_hidden(&shown, &tokens);
    for text in [log.text(), shown] {
        assert!(!text.contains("must never be printed") && !text.contains("97, 32, 107"), "{text}");
    }
}

/// Normal requests log no warning; a failing get logs a warning with `StoreFailed` and the store's error.
#[tokio::test]
async fn only_store_failures_are_logged_as_warnings() {
    let (log, _guard) = Capture::log(Level::TRACE);
    let store = FaultyStore::new(MemoryStore::new());
    let app = app(SessionLayer::new(store.clone()));
    let mut client = Client::new(&app);
    client.post("/set").await;
    client.post("/sign-in").await;
    let mut signed_out = client.clone();
    signed_out.post("/leave").await;
    assert!(!log.text().contains("WARN") && !log.text().contains("ERROR"), "{}", log.text());
    client.post("/set").await;
    store.fail(Op::Get, 1, Fault::Before);
    client.get("/").await;
    let log = log.text();
    let warning = log.lines().find(|line| line.contains("WARN")).unwrap();
    assert!(warning.contains("StoreFailed") && warning.contains("unavailable"), "{warning}");
}

/// The log names the missing `SessionLayer` and its marker; the body is the status text only.
#[tokio::test]
async fn missing_layer_is_logged_and_answers_a_bare_500() {
    struct Admin;
    struct Other;

    let (log, _guard) = Capture::log(Level::TRACE);
    let app = Router::new()
        .route("/default", get(async |_: Session| ()))
        .route("/admin", get(async |_: SignedIn<Admin>| ()))
        .layer(SessionLayer::new(MemoryStore::new()).with_marker::<Other>());
    for (path, marker) in [("/default", "()"), ("/admin", "Admin")] {
        let reply = Client::new(&app).get(path).await;
        assert_eq!((reply.status, reply.text()), (StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"));
        let log = log.text();
        let line = log.lines().last().unwrap();
        assert!(line.contains("ERROR") && line.contains("no SessionLayer") && line.contains(marker), "{line}");
    }
}

/// Two nested layers with the same cookie name answer 500, and the log names the cookie.
#[tokio::test]
async fn two_layers_with_one_cookie_name_are_logged() {
    let (log, _guard) = Capture::log(Level::TRACE);
    let app = app(SessionLayer::new(MemoryStore::new()).with_marker()).layer(SessionLayer::new(MemoryStore::new()));
    let reply = Client::new(&app).get("/").await;
    assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
    let log = log.text();
    let line = log.lines().last().unwrap();
    assert!(line.contains("ERROR") && line.contains("two session layers") && line.contains(COOKIE_NAME), "{line}");
}

/// `Debug` of both has the type and the cookie name.
#[tokio::test]
async fn debug_of_builder_and_layer_shows_the_cookie_name() {
    let builder = SessionLayer::builder(MemoryStore::new()).with_name("shop");
    let shown = format!("{builder:?}") + &format!("{:?}", builder.build().unwrap());
    assert!(shown.contains("shop") && shown.contains("SessionLayer"), "{shown}");
}

// checklist: 22
/// The victim signs in under the attacker's token: the attacker's reads see nothing and its writes answer 409.
#[tokio::test]
async fn session_fixation_fails_at_the_sign_in() {
    let app = app(SessionLayer::new(MemoryStore::new()));
    let mut attacker = Client::new(&app);
    attacker.post("/set").await;
    let mut victim = Client::with_cookie(&app, COOKIE_NAME, &attacker.token().unwrap());
    victim.post("/sign-in").await.set_cookie();
    assert_ne!(victim.token(), attacker.token());
    assert_eq!(victim.get("/").await.text(), "Ok(Some(1))");
    assert_eq!(attacker.get("/").await.text(), "Ok(None)");
    let reply = attacker.post("/set").await;
    assert_eq!(reply.status, StatusCode::CONFLICT);
    reply.assert_no_cookie();
    assert_eq!(victim.get("/").await.text(), "Ok(Some(1))");
}

/// Values under keys such as `owner` and `user_id` leave `SignedIn` at 401 (session puzzling).
#[tokio::test]
async fn session_keys_never_sign_a_visitor_in() {
    async fn write_account_keys(session: Session) -> Result<(), Error> {
        for key in ["owner", "user", "user_id", "authenticated_at", "epoch", "SignedIn", ""] {
            session.insert(key, "ada")?;
        }
        Ok(())
    }

    let app = Router::new()
        .route("/write-keys", post(write_account_keys))
        .route("/only", get(async |user: SignedIn| user.owner().to_owned()))
        .layer(SessionLayer::new(MemoryStore::new()));
    let mut client = Client::new(&app);
    client.post("/write-keys").await;
    assert_eq!(client.get("/only").await.status, StatusCode::UNAUTHORIZED);
}
