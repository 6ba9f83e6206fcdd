//! Sessions that outlive their request: detached sessions in background tasks and in WebSockets over a real socket.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::{any, get};
use futures_util::{SinkExt, StreamExt};
use http::StatusCode;
use http::header::COOKIE;
use sessile::config::ReplayPolicy;
use sessile::testing::ManualClock;
use sessile::{Error, ErrorKind, Lifetime, MemoryStore, Session, SessionLayer};
use support::client::{Jar, Visitor, session_of};
use support::race::{MINUTE, SECOND};
use support::store::{CountingStore, Counts};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// A slot that passes a session from a handler to the test.
#[derive(Clone, Default)]
struct Slot(Arc<Mutex<Option<Session>>>);

impl Slot {
    fn put(&self, session: Session) {
        *self.0.lock().unwrap() = Some(session);
    }

    fn take(&self) -> Session {
        self.0.lock().unwrap().take().expect("the handler stored a session")
    }
}

/// Returns a client whose session holds `n = 1`, and a detached session of that client.
async fn detached_from(layer: &SessionLayer) -> (Visitor, Session) {
    let (mut visitor, slot) = (Visitor::with_session(layer).await, Slot::default());
    let same = slot.clone();
    visitor.visit(async move |session: Session| same.put(session.detach())).await.assert_no_cookie();
    (visitor, slot.take())
}

async fn keys_of(visitor: &mut Visitor) -> String {
    visitor.visit(async |session: Session| session.keys().join(",")).await.text().to_owned()
}

/// Detached reads, commits, `update_now` and `take_now` work, and later requests see the committed changes.
#[tokio::test]
async fn detached_session_reads_and_writes_after_the_response() {
    let layer = SessionLayer::new(MemoryStore::new());
    let (mut visitor, detached) = detached_from(&layer).await;
    assert_eq!(detached.get::<u32>("n").unwrap(), Some(1));
    assert_eq!(detached.id(), Some(session_of(&visitor.token().unwrap())));
    detached.insert("report", "ready").unwrap();
    assert_eq!(keys_of(&mut visitor).await, "n", "uncommitted changes are not visible");
    detached.commit().await.unwrap();
    assert_eq!(keys_of(&mut visitor).await, "n,report");

    let n = detached.update_now("n", |n: &mut u32| {
        *n += 1;
        *n
    });
    assert_eq!(n.await.unwrap(), 2);
    assert_eq!(detached.take_now::<String>("report").await.unwrap().as_deref(), Some("ready"));
    assert_eq!(keys_of(&mut visitor).await, "n");
}

/// Over three rounds, requests and a detached session update one counter and insert keys; every change is kept.
#[tokio::test]
async fn detached_session_merges_with_writes_of_requests() {
    let layer = SessionLayer::new(MemoryStore::new());
    let (mut visitor, detached) = detached_from(&layer).await;
    for round in 0..3 {
        visitor.visit(async |session: Session| session.update("n", |n: &mut u32| *n += 1)).await;
        visitor.visit(async move |session: Session| session.insert(&format!("request {round}"), &1)).await;
        detached.update("n", |n: &mut u32| *n += 1).unwrap();
        detached.insert(&format!("detached {round}"), &1).unwrap();
        detached.commit().await.unwrap();
    }
    let reply = visitor.visit(async |session: Session| {
        assert_eq!(session.get::<u32>("n")?, Some(7));
        Ok::<_, Error>(session.keys().len().to_string())
    });
    assert_eq!(reply.await.text(), "7");
}

/// A request sets 5 while a detached update adds 10; `reload` shows 15, and fails with `Ended` after a sign-out.
#[tokio::test]
async fn reload_shows_newer_values_and_keeps_uncommitted_changes() {
    let layer = SessionLayer::new(MemoryStore::new());
    let (mut visitor, detached) = detached_from(&layer).await;
    visitor.visit(async |session: Session| session.insert("n", &5)).await;
    assert_eq!(detached.get::<u32>("n").unwrap(), Some(1));
    detached.update("n", |n: &mut u32| *n += 10).unwrap();
    detached.reload().await.unwrap();
    assert_eq!(detached.get::<u32>("n").unwrap(), Some(15));
    visitor.visit(async |session: Session| session.sign_out()).await;
    assert_eq!(detached.reload().await.unwrap_err().kind(), ErrorKind::Ended);
}

/// A detached session without changes shows each request's value only after `reload`.
#[tokio::test]
async fn reload_without_changes_shows_newer_values() {
    let layer = SessionLayer::new(MemoryStore::new());
    let (mut visitor, detached) = detached_from(&layer).await;
    for round in 2..5 {
        visitor.visit(async move |session: Session| session.insert("n", &round)).await;
        assert_eq!(detached.get::<u32>("n").unwrap(), Some(round - 1));
        detached.reload().await.unwrap();
        assert_eq!(detached.get::<u32>("n").unwrap(), Some(round));
    }
}

/// A detached sign-in and rotation fail with `Detached`; a later insert still commits.
#[tokio::test]
async fn detached_session_cannot_sign_in_or_rotate() {
    let layer = SessionLayer::new(MemoryStore::new());
    let (mut visitor, detached) = detached_from(&layer).await;
    assert_eq!(detached.sign_in("ada").unwrap_err().kind(), ErrorKind::Detached);
    assert_eq!(detached.rotate().unwrap_err().kind(), ErrorKind::Detached);
    detached.insert("after", &1).unwrap();
    detached.commit().await.unwrap();
    assert_eq!(keys_of(&mut visitor).await, "n,after");
}

/// A session detached from a request without a session fails to write with `Detached`, and nothing is stored.
#[tokio::test]
async fn detached_session_cannot_create_a_session() {
    let store = MemoryStore::new();
    let (mut visitor, slot) = (Visitor::new(&SessionLayer::new(store.clone())), Slot::default());
    let same = slot.clone();
    visitor.visit(async move |session: Session| same.put(session.detach())).await.assert_no_cookie();
    let detached = slot.take();
    let written = match detached.insert("n", &1) {
        Ok(()) => detached.commit().await,
        refused => refused,
    };
    assert_eq!(written.unwrap_err().kind(), ErrorKind::Detached);
    assert!(store.is_empty());
}

/// A session detached before its first commit fails to commit early, and commits after the response.
#[tokio::test]
async fn session_detached_before_its_creation_works_after_response() {
    let layer = SessionLayer::new(MemoryStore::new());
    let (mut visitor, slot) = (Visitor::new(&layer), Slot::default());
    let same = slot.clone();
    let reply = visitor.visit(async move |session: Session| {
        session.insert("n", &1)?;
        let detached = session.detach();
        assert_eq!(detached.get::<u32>("n")?, Some(1));
        detached.insert("early", &1)?;
        assert_eq!(detached.commit().await.unwrap_err().kind(), ErrorKind::Ended, "the session is not stored yet");
        same.put(session.detach());
        Ok::<_, Error>(())
    });
    let cookie = reply.await.set_cookie();
    let detached = slot.take();
    assert_eq!(detached.id(), Some(session_of(&cookie.value)));
    detached.insert("report", "ready").unwrap();
    detached.update("n", |n: &mut u32| *n += 1).unwrap();
    detached.commit().await.unwrap();
    assert_eq!(keys_of(&mut visitor).await, "n,report");
    let reply = visitor.visit(async |session: Session| format!("{:?}", session.get::<u32>("n").unwrap()));
    assert_eq!(reply.await.text(), "Some(2)");
}

/// The created session ends and the same request signs in to a new one; the detached session fails with `Ended`.
#[tokio::test]
async fn detached_session_does_not_follow_a_replacement() {
    let layer = SessionLayer::new(MemoryStore::new());
    let (sessions, slot) = (layer.sessions(), Slot::default());
    let mut visitor = Visitor::new(&layer);
    let same = slot.clone();
    let reply = visitor.visit(async move |session: Session| {
        session.insert("n", &1)?;
        same.put(session.detach());
        session.commit().await?;
        let created = session.id().expect("the session is stored");
        sessions.end(&created).await?;
        session.sign_in("ada")?;
        session.commit().await?;
        assert_ne!(session.id(), Some(created));
        Ok::<_, Error>(())
    });
    assert_eq!(reply.await.status, StatusCode::OK);
    let detached = slot.take();
    detached.insert("late", &1).unwrap();
    assert_eq!(detached.commit().await.unwrap_err().kind(), ErrorKind::Ended);
}

/// A session detached after an uncommitted sign-in knows the owner, and commits after the response.
#[tokio::test]
async fn session_detached_after_sign_in_works_after_response() {
    let layer = SessionLayer::new(MemoryStore::new());
    for has_session in [false, true] {
        let (mut visitor, slot) = (Visitor::new(&layer), Slot::default());
        if has_session {
            visitor.visit(async |session: Session| session.insert("n", &1)).await.set_cookie();
        }
        let same = slot.clone();
        let reply = visitor.visit(async move |session: Session| {
            session.sign_in("ada")?;
            same.put(session.detach());
            Ok::<_, Error>(())
        });
        reply.await.set_cookie();
        let detached = slot.take();
        assert_eq!(detached.owner().as_deref(), Some("ada"));
        detached.insert("report", "ready").unwrap();
        detached.commit().await.unwrap();
        assert!(keys_of(&mut visitor).await.ends_with("report"));
    }
}

/// The creating request answers 500; the detached commit fails with `Ended`, and nothing is stored.
#[tokio::test]
async fn detached_session_fails_if_its_creation_was_discarded() {
    let store = MemoryStore::new();
    let (mut visitor, slot) = (Visitor::new(&SessionLayer::new(store.clone())), Slot::default());
    let same = slot.clone();
    let reply = visitor.visit(async move |session: Session| {
        session.insert("n", &1)?;
        same.put(session.detach());
        Ok::<_, Error>(StatusCode::INTERNAL_SERVER_ERROR)
    });
    reply.await.assert_no_cookie();
    let detached = slot.take();
    detached.insert("report", "ready").unwrap();
    assert_eq!(detached.commit().await.unwrap_err().kind(), ErrorKind::Ended);
    assert!(store.is_empty());
}

// checklist: 26
/// After a sign-out, detached commits fail with `Ended` every time, and only the mark of the end is stored.
#[tokio::test]
async fn detached_write_after_sign_out_fails() {
    let store = MemoryStore::new();
    let layer = SessionLayer::new(store.clone());
    for (others, owner) in [None, Some("ada")].into_iter().enumerate() {
        let (mut visitor, slot) = (Visitor::with_session(&layer).await, Slot::default());
        if let Some(owner) = owner {
            visitor.visit(async move |session: Session| session.sign_in(owner)).await;
        }
        let same = slot.clone();
        visitor.visit(async move |session: Session| same.put(session.detach())).await;
        let detached = slot.take();
        detached.insert("before", &1).unwrap();
        visitor.visit(async |session: Session| session.sign_out()).await;
        assert_eq!(detached.commit().await.unwrap_err().kind(), ErrorKind::Ended);
        // Later commits fail too.
        let again = match detached.insert("again", &1) {
            Ok(()) => detached.commit().await,
            refused => refused,
        };
        assert_eq!(again.unwrap_err().kind(), ErrorKind::Ended);
        assert_eq!(keys_of(&mut visitor).await, "");
        assert_eq!(store.len(), others + 1, "only the mark of the end is left");
    }
}

// checklist: 22
/// A session detached before a sign-in fails to commit and to reload with `Superseded`.
#[tokio::test]
async fn detached_write_from_before_a_sign_in_fails() {
    let layer = SessionLayer::new(MemoryStore::new());
    let (mut visitor, detached) = detached_from(&layer).await;
    detached.insert("planted", &1).unwrap();
    visitor.visit(async |session: Session| session.sign_in("ada")).await.set_cookie();
    assert_eq!(detached.commit().await.unwrap_err().kind(), ErrorKind::Superseded);
    assert_eq!(detached.reload().await.unwrap_err().kind(), ErrorKind::Superseded);
    assert_eq!(keys_of(&mut visitor).await, "n");
}

/// A session detached before a rotation commits its insert after it.
#[tokio::test]
async fn detached_write_across_a_rotation_commits() {
    let layer = SessionLayer::new(MemoryStore::new());
    let (mut visitor, detached) = detached_from(&layer).await;
    visitor.visit(async |session: Session| session.rotate()).await.set_cookie();
    detached.insert("report", "ready").unwrap();
    detached.commit().await.unwrap();
    assert_eq!(keys_of(&mut visitor).await, "n,report");
}

/// A detached session goes on after its token was refreshed, replaced and forgotten, and after each repeated sign-in.
#[tokio::test]
async fn detached_session_goes_on_under_any_newer_token() {
    let clock = ManualClock::new();
    let lifetime = Lifetime::new().with_refresh_interval(MINUTE);
    let store = MemoryStore::new().with_clock(&clock);
    let builder = SessionLayer::builder(store).with_clock(&clock).with_lifetime(lifetime);
    let layer = builder.with_replay_policy(ReplayPolicy::End).build().unwrap();
    for owner in [None, Some("ada")] {
        let mut visitor = Visitor::new(&layer);
        let slot = Slot::default();
        visitor
            .visit(async move |session: Session| {
                session.insert("n", &0)?;
                owner.map_or(Ok(()), |owner| session.sign_in(owner))
            })
            .await;
        let same = slot.clone();
        visitor.visit(async move |session: Session| same.put(session.detach())).await;
        let detached = slot.take();
        let count = async || {
            detached
                .update_now("n", |n: &mut u32| {
                    *n += 1;
                    *n
                })
                .await
                .unwrap()
        };
        let mut expected = 0;
        for round in 0..3 {
            let token = visitor.token();
            clock.advance(MINUTE);
            visitor.visit(async |_: Session| ()).await.set_cookie();
            assert_ne!(visitor.token(), token, "a refresh is pending");
            expected += 1;
            assert_eq!(count().await, expected);
            // The client presents the new token; after the grace period the old one is a replay.
            visitor.visit(async |_: Session| ()).await;
            clock.advance(31 * SECOND);
            expected += 1;
            assert_eq!(count().await, expected, "round {round}");
            let reply =
                visitor.visit(
                    async |session: Session| {
                        if session.owner().is_some() { session.reauthenticate() } else { session.rotate() }
                    },
                );
            reply.await.set_cookie();
            clock.advance(31 * SECOND);
            expected += 1;
            assert_eq!(count().await, expected);
        }
        assert_eq!(visitor.visit(async |session: Session| session.keys().join(",")).await.text(), "n");
    }
}

/// A detached session that commits issues and confirms no refresh, so the client's token stays.
#[tokio::test]
async fn detached_commit_leaves_a_due_refresh_to_requests() {
    let clock = ManualClock::new();
    let store = MemoryStore::new().with_clock(&clock);
    let lifetime = Lifetime::new().with_refresh_interval(MINUTE);
    let layer = SessionLayer::builder(store).with_clock(&clock).with_lifetime(lifetime).build().unwrap();
    let (mut visitor, detached) = detached_from(&layer).await;
    let token = visitor.token();
    clock.advance(2 * MINUTE);
    detached.insert("late", &1).unwrap();
    detached.commit().await.unwrap();
    assert_eq!(visitor.token(), token);
    // The refresh is still due, and the first request gets it.
    visitor.visit(async |session: Session| session.keys().join(",")).await.set_cookie();
    assert_ne!(visitor.token(), token);
}

/// A replay ends the session under `ReplayPolicy::End`: the detached session fails with `Ended`.
#[tokio::test]
async fn detached_write_after_a_replay_fails() {
    let clock = ManualClock::new();
    let store = MemoryStore::new().with_clock(&clock);
    let lifetime = Lifetime::new().with_refresh_interval(MINUTE);
    let builder = SessionLayer::builder(store).with_clock(&clock).with_lifetime(lifetime);
    let layer = builder.with_replay_policy(ReplayPolicy::End).build().unwrap();
    let (mut visitor, detached) = detached_from(&layer).await;
    let mut thief = visitor.clone();
    clock.advance(MINUTE);
    visitor.visit(async |_: Session| ()).await.set_cookie();
    visitor.visit(async |_: Session| ()).await;
    clock.advance(31 * SECOND);
    detached.insert("before", &1).unwrap();
    detached.commit().await.unwrap();
    thief.visit(async |_: Session| ()).await;
    detached.insert("after", &1).unwrap();
    assert_eq!(detached.commit().await.unwrap_err().kind(), ErrorKind::Ended);
}

/// A detached sign-out ends the session: the client's token opens nothing.
#[tokio::test]
async fn detached_session_can_sign_out() {
    let layer = SessionLayer::new(MemoryStore::new());
    let (mut visitor, detached) = detached_from(&layer).await;
    let id = detached.id().unwrap();
    detached.sign_out().unwrap();
    detached.commit().await.unwrap();
    assert!(layer.sessions().find_by_id(&id).await.unwrap().is_none());
    assert_eq!(keys_of(&mut visitor).await, "");
}

/// A detached insert makes no store call; its commit costs one `set`.
#[tokio::test]
async fn detach_makes_no_store_calls() {
    let store = CountingStore::new(MemoryStore::new());
    let (_, detached) = detached_from(&SessionLayer::new(store.clone())).await;
    store.reset();
    detached.insert("n", &2).unwrap();
    assert_eq!(store.counts(), Counts::NONE);
    detached.commit().await.unwrap();
    assert_eq!(store.counts(), Counts::NONE.and_sets(1));
}

/// An application that listens on a free port until it is dropped.
struct Server {
    address: SocketAddr,
    serving: AbortHandle,
}

impl Server {
    async fn start(app: Router) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }).abort_handle();
        Self { address, serving }
    }

    async fn get(&self, path: &str, jar: &mut Jar) -> String {
        let mut request = reqwest::Client::new().get(format!("http://{}{path}", self.address));
        if let Some(cookies) = jar.header() {
            request = request.header(COOKIE, cookies);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        jar.take_in(response.headers());
        response.text().await.unwrap()
    }

    /// Opens a WebSocket and stores the response's cookies.
    async fn connect(&self, path: &str, jar: &mut Jar) -> WebSocketStream<MaybeTlsStream<TcpStream>> {
        let mut request = format!("ws://{}{path}", self.address).into_client_request().unwrap();
        if let Some(cookies) = jar.header() {
            request.headers_mut().insert(COOKIE, cookies.parse().unwrap());
        }
        let (socket, response) = connect_async(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        jar.take_in(response.headers());
        socket
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Stores each message in the session and replies with the number of lines or the error.
async fn chat(mut socket: WebSocket, session: Session) {
    while let Some(Ok(Message::Text(line))) = socket.next().await {
        let line = line.to_string();
        let count = session.update_now("lines", move |lines: &mut Vec<String>| {
            lines.push(line);
            lines.len()
        });
        let answer = match count.await {
            Ok(count) => count.to_string(),
            Err(error) => format!("{:?}", error.kind()),
        };
        if socket.send(Message::Text(answer.into())).await.is_err() {
            return;
        }
    }
}

fn chat_app() -> Router {
    async fn detached(upgrade: WebSocketUpgrade, session: Session) -> Response {
        let session = session.detach();
        upgrade.on_upgrade(|socket| chat(socket, session))
    }

    async fn new(upgrade: WebSocketUpgrade, session: Session) -> Result<Response, Error> {
        session.insert("opened", &true)?;
        let session = session.detach();
        Ok(upgrade.on_upgrade(|socket| chat(socket, session)))
    }

    async fn attached(upgrade: WebSocketUpgrade, session: Session) -> Response {
        upgrade.on_upgrade(|socket| chat(socket, session))
    }

    async fn lines(session: Session) -> Result<String, Error> {
        Ok(session.get::<Vec<String>>("lines")?.unwrap_or_default().join("|"))
    }

    Router::new()
        .route("/detached", any(detached))
        .route("/new", any(new))
        .route("/attached", any(attached))
        .route("/lines", get(lines))
        .route("/begin", get(async |session: Session| session.insert("begun", &1)))
        .route("/sign-in", get(async |session: Session| session.sign_in("ada")))
        .route("/sign-out", get(async |session: Session| session.sign_out()))
        .layer(SessionLayer::new(MemoryStore::new()))
}

async fn send_line(socket: &mut WebSocketStream<MaybeTlsStream<TcpStream>>, line: &str) -> String {
    socket.send(line.into()).await.unwrap();
    socket.next().await.unwrap().unwrap().into_text().unwrap().to_string()
}

/// Two sockets of one session append lines; HTTP requests and both sockets see all of them.
#[tokio::test]
async fn websocket_writes_are_visible_to_requests() {
    let server = Server::start(chat_app()).await;
    let mut jar = Jar::default();
    server.get("/begin", &mut jar).await;
    let mut socket = server.connect("/detached", &mut jar).await;
    assert_eq!(send_line(&mut socket, "hello").await, "1");
    assert_eq!(server.get("/lines", &mut jar).await, "hello");
    let mut other = server.connect("/detached", &mut jar).await;
    assert_eq!(send_line(&mut other, "hi").await, "2");
    assert_eq!(send_line(&mut socket, "bye").await, "3");
    assert_eq!(server.get("/lines", &mut jar).await, "hello|hi|bye");
}

/// An upgrade request without a session sets the cookie; the socket's writes are visible to requests.
#[tokio::test]
async fn websocket_upgrade_can_create_the_session() {
    let server = Server::start(chat_app()).await;
    let mut jar = Jar::default();
    let mut socket = server.connect("/new", &mut jar).await;
    assert!(!jar.is_empty(), "the upgrade response sets the cookie");
    assert_eq!(send_line(&mut socket, "hello").await, "1");
    assert_eq!(server.get("/lines", &mut jar).await, "hello");
}

/// After a sign-out the socket's write fails with `Ended`, after a sign-in with `Superseded`.
#[tokio::test]
async fn websocket_write_fails_after_sign_out_or_sign_in() {
    let server = Server::start(chat_app()).await;
    for (path, expected) in [("/sign-out", "Ended"), ("/sign-in", "Superseded")] {
        let mut jar = Jar::default();
        server.get("/begin", &mut jar).await;
        let mut socket = server.connect("/detached", &mut jar).await;
        assert_eq!(send_line(&mut socket, "hello").await, "1");
        server.get(path, &mut jar).await;
        assert_eq!(send_line(&mut socket, "still here").await, expected);
        assert!(!server.get("/lines", &mut jar).await.contains("still here"));
    }
}

/// A socket that keeps the request's session fails to write with `ResponseSent`.
#[tokio::test]
async fn websocket_without_detach_cannot_write() {
    let server = Server::start(chat_app()).await;
    let mut jar = Jar::default();
    server.get("/begin", &mut jar).await;
    let mut socket = server.connect("/attached", &mut jar).await;
    assert_eq!(send_line(&mut socket, "hello").await, "ResponseSent");
    assert_eq!(server.get("/lines", &mut jar).await, "");
}
