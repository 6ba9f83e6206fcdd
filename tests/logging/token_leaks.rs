//! Tokens stay where they belong: in the cookie. Not in bodies, errors, debugging output or the log, at any level.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::cell::RefCell;
use std::error::Error as _;
use std::io;
use std::sync::Once;
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
use tracing_subscriber::filter::LevelFilter;

thread_local! {
    /// What was logged on this thread. Each test runs on one of its own, and its requests with it.
    static LOG: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct ToThread;

impl io::Write for ToThread {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.with_borrow_mut(|log| log.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Begins to log everything, at the finest level.
fn log_everything() {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_writer(|| ToThread).init());
    LOG.with_borrow_mut(Vec::clear);
}

fn logged() -> String {
    LOG.with_borrow(|log| String::from_utf8(log.clone()).unwrap())
}

fn app(layer: SessionLayer) -> Router {
    async fn shown(session: Session, handle: SessionHandle) -> Result<String, Error> {
        session.insert("name", "a private matter")?;
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

/// Everything that a token could be known by: itself, its secret, and the middle of that.
#[track_caller]
fn assert_hidden(text: &str, tokens: &[String]) {
    for token in tokens {
        for part in [token.as_str(), &token[22..], &token[28..38]] {
            assert!(!text.contains(part), "{part} of a token is in: {text}");
        }
    }
}

// Checklist 7, 33
// guarantee: 8
// checklist: 33
#[tokio::test]
async fn a_flow_that_is_logged_at_the_finest_level_shows_no_token() {
    log_everything();
    let (clock, events) = (ManualClock::new(), EventLog::default());
    let store = FaultyStore::new(MemoryStore::new().with_clock(&clock));
    let lifetime = Lifetime::new().with_refresh_interval(Duration::from_secs(60));
    let layer = SessionLayer::builder(store.clone()).with_clock(&clock).with_lifetime(lifetime);
    let layer = layer.with_event_hook(events.hook()).build().unwrap();
    let app = app(layer);
    let (mut tokens, mut texts, mut forms) = (Vec::new(), Vec::new(), Vec::new());
    let mut client = Client::new(&app);
    for path in ["/set", "/shown", "/set", "/fail", "/sign-in", "/shown", "/fail"] {
        let reply = client.post(path).await;
        texts.push(reply.text().to_owned());
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
        texts.push(client.get("/").await.text().to_owned());
        tokens.extend(client.token());
    }
    // Another visitor beside the first, a replay of a token that was retired, and a store that fails.
    let mut other = Client::new(&app);
    other.post("/set").await;
    tokens.extend(other.token());
    let both = format!("{COOKIE_NAME}={}; {COOKIE_NAME}={}", client.token().unwrap(), other.token().unwrap());
    send(&app, request_with_cookies("/", &[both.as_bytes()])).await;
    for _ in 0..2 {
        for token in tokens.clone() {
            texts.push(Client::with_cookie(&app, COOKIE_NAME, &token).get("/").await.text().to_owned());
        }
        clock.advance(Duration::from_secs(31));
    }
    store.fail(Op::Get, 1, Fault::Before);
    texts.push(client.get("/").await.text().to_owned());
    store.fail(Op::Set, 1, Fault::Before);
    client.post("/set").await;
    texts.push(client.post("/leave").await.text().to_owned());

    tokens.sort();
    tokens.dedup();
    assert!(tokens.len() >= 5, "{tokens:?}");
    let log = logged();
    for kind in ["Created", "SignedIn", "Rotated", "Refreshed", "Ambiguous", "Replayed", "StoreFailed", "Ended"] {
        assert!(log.contains(kind), "{kind} is not in the log: {log}");
    }
    assert!(log.contains(&session_of(&tokens[0]).to_string()), "the id is what a session is known by");
    assert_hidden(&log, &tokens);
    assert_hidden(&log, &forms);
    assert!(log.contains("CsrfRefused") && log.contains("Unknown"), "{log}");
    assert!(!log.contains("private matter") && !log.contains("private message"), "{log}");
    for text in texts {
        assert_hidden(&text, &tokens);
        assert!(!text.contains("private matter"), "{text}");
    }
    assert!(events.count(EventKind::Replayed) > 0);
}

#[tokio::test]
async fn neither_tokens_of_a_header_nor_private_cookies_nor_keys_are_logged_or_shown() {
    log_everything();
    let key = *b"a key that nobody is to see at a";
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
    assert_hidden(&logged(), &tokens);
    assert_hidden(&shown, &tokens);
    for text in [logged(), shown] {
        assert!(!text.contains("nobody is to see") && !text.contains("97, 32, 107"), "{text}");
    }
}

#[tokio::test]
async fn what_an_operator_must_act_on_is_a_warning_and_all_else_is_not() {
    log_everything();
    let store = FaultyStore::new(MemoryStore::new());
    let app = app(SessionLayer::new(store.clone()));
    let mut client = Client::new(&app);
    client.post("/set").await;
    client.post("/sign-in").await;
    let mut leaver = client.clone();
    leaver.post("/leave").await;
    assert!(!logged().contains("WARN") && !logged().contains("ERROR"), "{}", logged());
    client.post("/set").await;
    store.fail(Op::Get, 1, Fault::Before);
    client.get("/").await;
    let log = logged();
    let warning = log.lines().find(|line| line.contains("WARN")).unwrap();
    assert!(warning.contains("StoreFailed") && warning.contains("unavailable"), "{warning}");
}

#[tokio::test]
async fn a_handler_without_its_layer_is_told_so_in_the_log_and_not_in_the_answer() {
    struct Admin;

    log_everything();
    let app = Router::new()
        .route("/main", get(async |_: Session| ()))
        .route("/admin", get(async |_: SignedIn<Admin>| ()))
        .layer(SessionLayer::new(MemoryStore::new()).with_marker::<()>());
    for (path, marker) in [("/main", "Main"), ("/admin", "Admin")] {
        let reply = Client::new(&app).get(path).await;
        assert_eq!((reply.status, reply.text()), (StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"));
        let log = logged();
        let line = log.lines().last().unwrap();
        assert!(line.contains("ERROR") && line.contains("no SessionLayer") && line.contains(marker), "{line}");
    }
}

#[tokio::test]
async fn two_layers_with_one_cookie_are_told_of_in_the_log() {
    log_everything();
    let app = app(SessionLayer::new(MemoryStore::new()).with_marker()).layer(SessionLayer::new(MemoryStore::new()));
    let reply = Client::new(&app).get("/").await;
    assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
    let log = logged();
    let line = log.lines().last().unwrap();
    assert!(line.contains("ERROR") && line.contains("two session layers") && line.contains(COOKIE_NAME), "{line}");
}

#[tokio::test]
async fn configurations_show_no_secret_and_say_what_matters() {
    let builder = SessionLayer::builder(MemoryStore::new()).with_name("shop");
    let shown = format!("{builder:?}") + &format!("{:?}", builder.build().unwrap());
    assert!(shown.contains("shop") && shown.contains("SessionLayer"), "{shown}");
}

// Checklist 22
#[tokio::test]
async fn a_planted_anonymous_session_does_not_survive_the_sign_in() {
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

// Section 2, puzzling
#[tokio::test]
async fn no_value_that_a_handler_writes_makes_anybody_signed_in() {
    async fn puzzle(session: Session) -> Result<(), Error> {
        for key in ["owner", "user", "user_id", "authenticated_at", "epoch", "SignedIn", ""] {
            session.insert(key, "ada")?;
        }
        Ok(())
    }

    let app = Router::new()
        .route("/puzzle", post(puzzle))
        .route("/only", get(async |user: SignedIn| user.owner().to_owned()))
        .layer(SessionLayer::new(MemoryStore::new()));
    let mut client = Client::new(&app);
    client.post("/puzzle").await;
    assert_eq!(client.get("/only").await.status, StatusCode::UNAUTHORIZED);
}
