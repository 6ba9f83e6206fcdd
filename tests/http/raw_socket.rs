//! Unusual HTTP traffic over a raw socket to a real server: slow, huge, duplicated, pipelined and truncated requests.
//!
//! The server keeps working, and the number of store calls stays bounded.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use futures_util::future::join_all;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use sessile::{Error, MemoryStore, Session, SessionLayer, Sessions, Token};
use support::client::session_of;
use support::store::{CountingStore, Counts};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Time after which a test reports a hanging server; no assertion depends on it.
const HANG_TIMEOUT: Duration = Duration::from_secs(60);

/// Body length of the long response, in bytes.
const LONG_BODY_LENGTH: usize = 4 * 1024 * 1024;

struct TestServer {
    address: SocketAddr,
    store: CountingStore<MemoryStore>,
    sessions: Sessions,
}

impl TestServer {
    async fn start() -> Self {
        let store = CountingStore::new(MemoryStore::new());
        let layer = SessionLayer::new(store.clone());
        let sessions = layer.sessions();
        let app = Router::new()
            .route("/count", post(count))
            .route("/n", get(read))
            .route("/long", post(long))
            .route("/unused", get(async || "unused"))
            .layer(layer);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service = TowerToHyperService::new(app.clone());
                tokio::spawn(async move {
                    // A client that disconnects is an error of its connection only.
                    let _ =
                        auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, store, sessions }
    }

    /// Creates a session with `n = 0` and returns its token.
    async fn begin(&self) -> String {
        let (_, token) = self.sessions.create(&serde_json::json!({ "n": 0 })).await.unwrap();
        self.store.reset();
        token.expose_secret()
    }

    async fn n(&self, token: &str) -> u32 {
        self.sessions.find_by_id(&session_of(token)).await.unwrap().unwrap().get("n").unwrap().unwrap()
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes and reads until the server closes the connection.
    async fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        // The server may close the connection before it has read everything.
        let _ = stream.write_all(bytes).await;
        read_until_closed(&mut stream).await
    }

    async fn assert_working(&self) {
        let token = self.begin().await;
        let response = self.exchange(count_request(&format!("__Host-id={token}")).as_bytes()).await;
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
        assert_eq!(self.n(&token).await, 1);
    }
}

async fn count(session: Session) -> Result<String, Error> {
    let n = session.update_now("n", |n: &mut u32| {
        *n += 1;
        *n
    });
    Ok(n.await?.to_string())
}

async fn read(session: Option<Session>) -> Result<String, Error> {
    let n = session.map(|session| session.get::<u32>("n")).transpose()?.flatten();
    Ok(n.map_or("none".to_owned(), |n| n.to_string()))
}

async fn long(session: Session) -> Result<impl IntoResponse, Error> {
    session.update("n", |n: &mut u32| *n += 1)?;
    Ok(Body::from(vec![b'x'; LONG_BODY_LENGTH]))
}

fn count_request(cookies: &str) -> String {
    format!("POST /count HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\ncookie: {cookies}\r\n\r\n")
}

async fn read_until_closed(stream: &mut TcpStream) -> String {
    let mut response = Vec::new();
    let _ = tokio::time::timeout(HANG_TIMEOUT, stream.read_to_end(&mut response)).await.expect("the server hangs");
    String::from_utf8_lossy(&response).into_owned()
}

/// Returns a well-formed token without a session.
fn unknown_token(number: usize) -> String {
    let mut token = "AZNtAAAAcACAAAAAAAAAAQAAAAAAAAAAAAAAAAAAAAA".to_owned();
    token.replace_range(14..18, &format!("{number:04}"));
    assert!(Token::parse(token.as_bytes()).is_some());
    token
}

/// A request written one byte at a time commits its increment with one get and one set.
#[tokio::test]
async fn request_sent_byte_by_byte_is_served() {
    let server = TestServer::start().await;
    let token = server.begin().await;
    let mut stream = server.connect().await;
    stream.set_nodelay(true).unwrap();
    for byte in count_request(&format!("a=b; __Host-id={token}")).as_bytes() {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let response = read_until_closed(&mut stream).await;
    assert!(response.starts_with("HTTP/1.1 200") && response.ends_with("\r\n\r\n1"), "{response}");
    assert_eq!(server.store.counts(), Counts::gets(1).and_sets(1));
}

// guarantee: 11
/// A request with 99 unknown tokens before a valid one costs four gets and loads no session.
#[tokio::test]
async fn hundred_session_cookies_cost_four_gets() {
    let server = TestServer::start().await;
    let token = server.begin().await;
    let mut cookies: Vec<String> = (0..99).map(|number| format!("__Host-id={}", unknown_token(number))).collect();
    cookies.push(format!("__Host-id={token}"));
    let response = server
        .exchange(
            format!("GET /n HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncookie: {}\r\n\r\n", cookies.join("; "))
                .as_bytes(),
        )
        .await;
    // The valid token is the hundredth, and only the first four are looked up.
    assert!(response.starts_with("HTTP/1.1 200") && response.ends_with("none"), "{response}");
    assert!(!response.to_lowercase().contains("set-cookie"), "{response}");
    assert_eq!(server.store.counts(), Counts::gets(4));
    server.assert_working().await;
}

// guarantee: 11
/// With up to 4 MiB of cookies, the request is either committed or refused without a store call.
#[tokio::test]
async fn huge_cookie_header_is_served_or_refused() {
    let server = TestServer::start().await;
    for size in [8 * 1024, 64 * 1024, 4 * 1024 * 1024] {
        let token = server.begin().await;
        let response =
            server.exchange(count_request(&format!("{}; __Host-id={token}", "x".repeat(size))).as_bytes()).await;
        let counts = server.store.counts();
        // If the server refuses early, the response may be lost when the connection is reset.
        let refused = response.starts_with("HTTP/1.1 431") || response.is_empty();
        assert!(response.starts_with("HTTP/1.1 200") || refused, "{size}: {response}");
        assert_eq!(counts, if refused { Counts::NONE } else { Counts::gets(1).and_sets(1) }, "{size}");
        server.assert_working().await;
    }
}

/// The valid token is found in the first, the last or each of several `Cookie` headers, with at most two gets.
#[tokio::test]
async fn repeated_cookie_headers_are_all_read() {
    let server = TestServer::start().await;
    let token = server.begin().await;
    for headers in [
        format!("cookie: __Host-id={}\r\ncookie: __Host-id={token}", unknown_token(1)),
        format!("cookie: __Host-id={token}\r\ncookie: __Host-id={}", unknown_token(1)),
        format!("Cookie: a=1\r\nCOOKIE: __Host-id={token}; __Host-id={token}\r\ncookie: __Host-id={token}"),
    ] {
        server.store.reset();
        let request = format!("GET /n HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\r\n\r\n");
        let response = server.exchange(request.as_bytes()).await;
        assert!(response.ends_with("\r\n\r\n0"), "{headers}: {response}");
        assert!(server.store.counts().gets <= 2, "{headers}");
    }
}

/// Four connections pipeline 20 increments each: the responses are 1 to 80 without gaps or repeats.
#[tokio::test]
async fn pipelined_requests_each_commit_once() {
    let server = TestServer::start().await;
    let token = server.begin().await;
    let one = count_request(&format!("__Host-id={token}")).replace("connection: close\r\n", "");
    let last = count_request(&format!("__Host-id={token}"));
    let pipelined = format!("{}{last}", one.repeat(19));
    let responses = join_all((0..4).map(|_| server.exchange(pipelined.as_bytes()))).await;
    let mut counts: Vec<u32> = Vec::new();
    for response in &responses {
        assert_eq!(response.matches("HTTP/1.1 200").count(), 20, "{response}");
        // Each body stands between one response head and the next.
        let bodies = response.split("\r\n\r\n").skip(1);
        counts.extend(bodies.map(|body| body.split("HTTP").next().unwrap().parse::<u32>().unwrap()));
    }
    counts.sort_unstable();
    assert_eq!(counts, (1..=80).collect::<Vec<_>>());
}

// guarantee: 11
/// A request cut off after each of its bytes changes the session only where it was complete.
#[tokio::test]
async fn truncated_request_commits_all_or_nothing() {
    let server = TestServer::start().await;
    let token = server.begin().await;
    let request = count_request(&format!("__Host-id={token}"));
    assert!(request.len().is_multiple_of(2), "the complete request must be one whose response is read");
    let mut complete = 0;
    for length in 0..=request.len() {
        let mut stream = server.connect().await;
        stream.write_all(&request.as_bytes()[..length]).await.unwrap();
        if length % 2 == 0 {
            stream.shutdown().await.unwrap();
            let response = read_until_closed(&mut stream).await;
            complete += u32::from(response.starts_with("HTTP/1.1 200"));
        }
    }
    assert_eq!(server.n(&token).await, complete);
    assert!(server.store.counts().sets <= 1 && server.store.counts().gets <= 2, "{:?}", server.store.counts());
    server.assert_working().await;
}

/// A client that disconnects after the response head has its write stored, ten times of ten.
#[tokio::test]
async fn disconnect_during_the_response_keeps_the_commit() {
    let server = TestServer::start().await;
    let token = server.begin().await;
    for round in 1..=10 {
        let mut stream = server.connect().await;
        let request = count_request(&format!("__Host-id={token}")).replace("/count", "/long");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut some = [0; 1024];
        let read = stream.read(&mut some).await.unwrap();
        assert!(some[..read].starts_with(b"HTTP/1.1 200"));
        drop(stream);
        // The response head is sent after the commit.
        assert_eq!(server.n(&token).await, round);
    }
    server.assert_working().await;
}

/// Four `cookie` fields in one HTTP/2 request are all read, and the valid token among them opens its session.
#[tokio::test]
async fn http2_cookie_fields_are_joined() {
    let server = TestServer::start().await;
    let token = server.begin().await;
    let mut stream = server.connect().await;
    let pairs =
        ["a=1".to_owned(), format!("__Host-id={}", unknown_token(7)), format!("__Host-id={token}"), "z=2".to_owned()];
    let mut fields = vec![(":method", "GET"), (":scheme", "http"), (":path", "/n"), (":authority", "a")];
    fields.extend(pairs.iter().map(|pair| ("cookie", pair.as_str())));
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream.write_all(&frame(4, 0, 0, &[])).await.unwrap();
    // END_STREAM and END_HEADERS.
    stream.write_all(&frame(1, 5, 1, &literals(&fields))).await.unwrap();
    let body = tokio::time::timeout(HANG_TIMEOUT, data_of_stream_1(&mut stream)).await.expect("the server hangs");
    assert_eq!(body, b"0");
    assert_eq!(server.store.counts(), Counts::gets(2));
}

/// Encodes an HTTP/2 frame (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Encodes header fields as literals without indexing, with new names (RFC 7541 §6.2.2).
fn literals(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// Reads the response body; a status other than 200 fails the test.
async fn data_of_stream_1(stream: &mut TcpStream) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        stream.read_exact(&mut payload).await.unwrap();
        match (head[3], head[8]) {
            // 0x88 is the static table's entry for `:status: 200`.
            (1, 1) => assert_eq!(payload[0], 0x88, "the status is not 200"),
            (0, 1) => body.extend_from_slice(&payload),
            (3 | 7, _) => panic!("the server resets the stream"),
            _ => {}
        }
        if head[8] == 1 && head[3] <= 1 && head[4] & 1 == 1 {
            return body;
        }
    }
}
