//! Sessions that outlive their request: WebSockets over a real socket, background work, and what they may not do.

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
use sessile::{Error, ErrorKind, MemoryStore, Session, SessionLayer};
use support::client::{Jar, Visitor, session_of};
use support::store::{CountingStore, Counts};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// A slot through which a handler hands its session to the test.
#[derive(Clone, Default)]
struct Slot(Arc<Mutex<Option<Session>>>);

impl Slot {
    fn put(&self, session: Session) {
        *self.0.lock().unwrap() = Some(session);
    }

    fn take(&self) -> Session {
        self.0.lock().unwrap().take().expect("the handler has put it there")
    }
}

/// A visitor with a session that holds `n = 1`, and a session detached from a request of theirs.
async fn detached_from(layer: &SessionLayer) -> (Visitor, Session) {
    let (mut visitor, slot) = (Visitor::with_session(layer).await, Slot::default());
    let same = slot.clone();
    visitor.visit(async move |session: Session| same.put(session.detach())).await.assert_no_cookie();
    (visitor, slot.take())
}

async fn keys_of(visitor: &mut Visitor) -> String {
    visitor.visit(async |session: Session| session.keys().join(",")).await.text().to_owned()
}

#[tokio::test]
async fn a_detached_session_reads_and_writes_after_the_response() {
    let layer = SessionLayer::new(MemoryStore::new());
    let (mut visitor, detached) = detached_from(&layer).await;
    assert_eq!(detached.get::<u32>("n").unwrap(), Some(1));
    assert_eq!(detached.id(), Some(session_of(&visitor.token().unwrap())));
    detached.insert("report", "ready").unwrap();
    assert_eq!(keys_of(&mut visitor).await, "n", "not before it is committed");
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

#[tokio::test]
async fn a_detached_session_merges_with_what_requests_write() {
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

#[tokio::test]
async fn reloading_shows_what_requests_have_written_and_keeps_what_is_not_committed() {
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

#[tokio::test]
async fn reloading_shows_what_requests_have_written_where_there_is_nothing_to_commit() {
    let layer = SessionLayer::new(MemoryStore::new());
    let (mut visitor, detached) = detached_from(&layer).await;
    for round in 2..5 {
        visitor.visit(async move |session: Session| session.insert("n", &round)).await;
        assert_eq!(detached.get::<u32>("n").unwrap(), Some(round - 1));
        detached.reload().await.unwrap();
        assert_eq!(detached.get::<u32>("n").unwrap(), Some(round));
    }
}

#[tokio::test]
async fn a_detached_session_can_change_no_token() {
    let layer = SessionLayer::new(MemoryStore::new());
    let (mut visitor, detached) = detached_from(&layer).await;
    assert_eq!(detached.sign_in("ada").unwrap_err().kind(), ErrorKind::Detached);
    assert_eq!(detached.rotate().unwrap_err().kind(), ErrorKind::Detached);
    detached.insert("after", &1).unwrap();
    detached.commit().await.unwrap();
    assert_eq!(keys_of(&mut visitor).await, "n,after");
}

#[tokio::test]
async fn a_session_detached_from_nothing_cannot_create_one() {
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

#[tokio::test]
async fn a_session_created_by_the_request_can_be_used_once_the_head_is_out() {
    let layer = SessionLayer::new(MemoryStore::new());
    let (mut visitor, slot) = (Visitor::new(&layer), Slot::default());
    let same = slot.clone();
    let reply = visitor.visit(async move |session: Session| {
        session.insert("n", &1)?;
        let detached = session.detach();
        assert_eq!(detached.get::<u32>("n")?, Some(1));
        detached.insert("early", &1)?;
        assert_eq!(detached.commit().await.unwrap_err().kind(), ErrorKind::Ended, "it is not stored yet");
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

#[tokio::test]
async fn a_session_begun_after_the_one_that_was_promised_has_ended_is_another() {
    let layer = SessionLayer::new(MemoryStore::new());
    let (sessions, slot) = (layer.sessions(), Slot::default());
    let mut visitor = Visitor::new(&layer);
    let same = slot.clone();
    let reply = visitor.visit(async move |session: Session| {
        session.insert("n", &1)?;
        same.put(session.detach());
        session.commit().await?;
        let promised = session.id().expect("it is stored");
        sessions.end(&promised).await?;
        session.sign_in("ada")?;
        session.commit().await?;
        assert_ne!(session.id(), Some(promised));
        Ok::<_, Error>(())
    });
    assert_eq!(reply.await.status, StatusCode::OK);
    let detached = slot.take();
    detached.insert("late", &1).unwrap();
    assert_eq!(detached.commit().await.unwrap_err().kind(), ErrorKind::Ended);
}

#[tokio::test]
async fn a_session_signed_in_by_the_request_can_be_used_once_the_head_is_out() {
    let layer = SessionLayer::new(MemoryStore::new());
    for known in [false, true] {
        let (mut visitor, slot) = (Visitor::new(&layer), Slot::default());
        if known {
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

#[tokio::test]
async fn a_session_whose_creation_was_not_committed_takes_nothing() {
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

// Checklist 26
#[tokio::test]
async fn a_detached_write_after_the_sign_out_revives_nothing() {
    let store = MemoryStore::new();
    let layer = SessionLayer::new(store.clone());
    for owner in [None, Some("ada")] {
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
        assert!(store.is_empty());
        // It stays refused.
        let again = match detached.insert("again", &1) {
            Ok(()) => detached.commit().await,
            refused => refused,
        };
        assert_eq!(again.unwrap_err().kind(), ErrorKind::Ended);
        assert!(store.is_empty());
    }
}

// Checklist 22
#[tokio::test]
async fn a_detached_write_from_before_a_sign_in_never_lands_after_it() {
    let layer = SessionLayer::new(MemoryStore::new());
    let (mut visitor, detached) = detached_from(&layer).await;
    detached.insert("planted", &1).unwrap();
    visitor.visit(async |session: Session| session.sign_in("ada")).await.set_cookie();
    assert_eq!(detached.commit().await.unwrap_err().kind(), ErrorKind::Superseded);
    assert_eq!(detached.reload().await.unwrap_err().kind(), ErrorKind::Superseded);
    assert_eq!(keys_of(&mut visitor).await, "n");
}

#[tokio::test]
async fn a_detached_write_across_a_rotation_lands() {
    let layer = SessionLayer::new(MemoryStore::new());
    let (mut visitor, detached) = detached_from(&layer).await;
    visitor.visit(async |session: Session| session.rotate()).await.set_cookie();
    detached.insert("report", "ready").unwrap();
    detached.commit().await.unwrap();
    assert_eq!(keys_of(&mut visitor).await, "n,report");
}

#[tokio::test]
async fn a_detached_session_can_be_ended() {
    let store = MemoryStore::new();
    let layer = SessionLayer::new(store.clone());
    let (mut visitor, detached) = detached_from(&layer).await;
    detached.sign_out().unwrap();
    detached.commit().await.unwrap();
    assert!(store.is_empty());
    assert_eq!(keys_of(&mut visitor).await, "");
}

#[tokio::test]
async fn detaching_costs_the_store_nothing() {
    let store = CountingStore::new(MemoryStore::new());
    let (_, detached) = detached_from(&SessionLayer::new(store.clone())).await;
    store.reset();
    detached.insert("n", &2).unwrap();
    assert_eq!(store.counts(), Counts::NONE);
    detached.commit().await.unwrap();
    assert_eq!(store.counts(), Counts::NONE.and_sets(1));
}

/// An application that listens on a port of the system's choice until this is dropped.
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

    /// Opens a WebSocket; takes in the cookies of the answer.
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

/// Writes down each message, commits it, and answers what has come of it.
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
    async fn known(upgrade: WebSocketUpgrade, session: Session) -> Response {
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
        .route("/known", any(known))
        .route("/new", any(new))
        .route("/attached", any(attached))
        .route("/lines", get(lines))
        .route("/begin", get(async |session: Session| session.insert("begun", &1)))
        .route("/sign-in", get(async |session: Session| session.sign_in("ada")))
        .route("/sign-out", get(async |session: Session| session.sign_out()))
        .layer(SessionLayer::new(MemoryStore::new()))
}

async fn say(socket: &mut WebSocketStream<MaybeTlsStream<TcpStream>>, line: &str) -> String {
    socket.send(line.into()).await.unwrap();
    socket.next().await.unwrap().unwrap().into_text().unwrap().to_string()
}

#[tokio::test]
async fn what_a_websocket_writes_is_seen_by_later_requests() {
    let server = Server::start(chat_app()).await;
    let mut jar = Jar::default();
    server.get("/begin", &mut jar).await;
    let mut socket = server.connect("/known", &mut jar).await;
    assert_eq!(say(&mut socket, "hello").await, "1");
    assert_eq!(server.get("/lines", &mut jar).await, "hello");
    let mut other = server.connect("/known", &mut jar).await;
    assert_eq!(say(&mut other, "hi").await, "2");
    assert_eq!(say(&mut socket, "bye").await, "3");
    assert_eq!(server.get("/lines", &mut jar).await, "hello|hi|bye");
}

#[tokio::test]
async fn a_websocket_may_be_what_begins_the_session() {
    let server = Server::start(chat_app()).await;
    let mut jar = Jar::default();
    let mut socket = server.connect("/new", &mut jar).await;
    assert!(!jar.is_empty(), "the answer to the upgrade sets the cookie");
    assert_eq!(say(&mut socket, "hello").await, "1");
    assert_eq!(server.get("/lines", &mut jar).await, "hello");
}

#[tokio::test]
async fn a_websocket_learns_that_its_session_has_ended_or_changed_hands() {
    let server = Server::start(chat_app()).await;
    for (path, told) in [("/sign-out", "Ended"), ("/sign-in", "Superseded")] {
        let mut jar = Jar::default();
        server.get("/begin", &mut jar).await;
        let mut socket = server.connect("/known", &mut jar).await;
        assert_eq!(say(&mut socket, "hello").await, "1");
        server.get(path, &mut jar).await;
        assert_eq!(say(&mut socket, "still here").await, told);
        assert!(!server.get("/lines", &mut jar).await.contains("still here"));
    }
}

#[tokio::test]
async fn a_websocket_that_did_not_detach_is_told_so() {
    let server = Server::start(chat_app()).await;
    let mut jar = Jar::default();
    server.get("/begin", &mut jar).await;
    let mut socket = server.connect("/attached", &mut jar).await;
    assert_eq!(say(&mut socket, "hello").await, "Closed");
    assert_eq!(server.get("/lines", &mut jar).await, "");
}
