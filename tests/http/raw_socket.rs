//! What no well-behaved client sends, over a raw socket to a real server: slow, huge, duplicated, interleaved and cut off.
//! The server stays well, and the store is asked a bounded number of times.

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

/// How long a test waits for what must happen. No assertion rests on it.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the long answer holds.
const LONG: usize = 4 * 1024 * 1024;

struct Served {
    address: SocketAddr,
    store: CountingStore<MemoryStore>,
    sessions: Sessions,
}

impl Served {
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
                    // A client that breaks off is an error of its connection, and of nothing else.
                    let _ =
                        auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, store, sessions }
    }

    /// A session with `n = 0`, and its token.
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

    /// Sends bytes, and reads to the end of the connection.
    async fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        // A server that has seen enough may close before it has read all.
        let _ = stream.write_all(bytes).await;
        until_closed(&mut stream).await
    }

    async fn assert_well(&self) {
        let token = self.begin().await;
        let answer = self.exchange(count_request(&format!("__Host-id={token}")).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
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
    Ok(Body::from(vec![b'x'; LONG]))
}

fn count_request(cookies: &str) -> String {
    format!("POST /count HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\ncookie: {cookies}\r\n\r\n")
}

async fn until_closed(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the server hangs");
    String::from_utf8_lossy(&answer).into_owned()
}

/// A well-formed token of no session.
fn invented(number: usize) -> String {
    let mut token = "AZNtAAAAcACAAAAAAAAAAQAAAAAAAAAAAAAAAAAAAAA".to_owned();
    token.replace_range(14..18, &format!("{number:04}"));
    assert!(Token::parse(token.as_bytes()).is_some());
    token
}

#[tokio::test]
async fn a_request_that_comes_byte_by_byte_is_a_request_like_any_other() {
    let served = Served::start().await;
    let token = served.begin().await;
    let mut stream = served.connect().await;
    stream.set_nodelay(true).unwrap();
    for byte in count_request(&format!("a=b; __Host-id={token}")).as_bytes() {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let answer = until_closed(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n1"), "{answer}");
    assert_eq!(served.store.counts(), Counts::gets(1).and_sets(1));
}

// guarantee: 11
#[tokio::test]
async fn a_hundred_session_cookies_cost_four_look_ups() {
    let served = Served::start().await;
    let token = served.begin().await;
    let mut cookies: Vec<String> = (0..99).map(|number| format!("__Host-id={}", invented(number))).collect();
    cookies.push(format!("__Host-id={token}"));
    let answer = served
        .exchange(
            format!("GET /n HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncookie: {}\r\n\r\n", cookies.join("; "))
                .as_bytes(),
        )
        .await;
    // The one that is real comes too late to be looked at.
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("none"), "{answer}");
    assert!(!answer.to_lowercase().contains("set-cookie"), "{answer}");
    assert_eq!(served.store.counts(), Counts::gets(4));
    served.assert_well().await;
}

// guarantee: 11
#[tokio::test]
async fn a_huge_cookie_header_is_refused_or_answered_and_harms_nobody() {
    let served = Served::start().await;
    for size in [8 * 1024, 64 * 1024, 4 * 1024 * 1024] {
        let token = served.begin().await;
        let answer =
            served.exchange(count_request(&format!("{}; __Host-id={token}", "x".repeat(size))).as_bytes()).await;
        let counts = served.store.counts();
        // Where the server gives up first, the answer may be lost on a connection that is reset.
        let refused = answer.starts_with("HTTP/1.1 431") || answer.is_empty();
        assert!(answer.starts_with("HTTP/1.1 200") || refused, "{size}: {answer}");
        assert_eq!(counts, if refused { Counts::NONE } else { Counts::gets(1).and_sets(1) }, "{size}");
        served.assert_well().await;
    }
}

#[tokio::test]
async fn cookie_headers_that_come_twice_are_all_looked_at() {
    let served = Served::start().await;
    let token = served.begin().await;
    for headers in [
        format!("cookie: __Host-id={}\r\ncookie: __Host-id={token}", invented(1)),
        format!("cookie: __Host-id={token}\r\ncookie: __Host-id={}", invented(1)),
        format!("Cookie: a=1\r\nCOOKIE: __Host-id={token}; __Host-id={token}\r\ncookie: __Host-id={token}"),
    ] {
        served.store.reset();
        let request = format!("GET /n HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\r\n\r\n");
        let answer = served.exchange(request.as_bytes()).await;
        assert!(answer.ends_with("\r\n\r\n0"), "{headers}: {answer}");
        assert!(served.store.counts().gets <= 2, "{headers}");
    }
}

#[tokio::test]
async fn requests_in_one_go_on_several_connections_are_each_made_once() {
    let served = Served::start().await;
    let token = served.begin().await;
    let one = count_request(&format!("__Host-id={token}")).replace("connection: close\r\n", "");
    let last = count_request(&format!("__Host-id={token}"));
    let pipelined = format!("{}{last}", one.repeat(19));
    let answers = join_all((0..4).map(|_| served.exchange(pipelined.as_bytes()))).await;
    let mut counts: Vec<u32> = Vec::new();
    for answer in &answers {
        assert_eq!(answer.matches("HTTP/1.1 200").count(), 20, "{answer}");
        // The bodies, each between the end of one head and the beginning of the next.
        let bodies = answer.split("\r\n\r\n").skip(1);
        counts.extend(bodies.map(|body| body.split("HTTP").next().unwrap().parse::<u32>().unwrap()));
    }
    counts.sort_unstable();
    assert_eq!(counts, (1..=80).collect::<Vec<_>>());
}

// guarantee: 11
#[tokio::test]
async fn a_client_that_is_cut_off_at_any_byte_has_made_its_request_or_not() {
    let served = Served::start().await;
    let token = served.begin().await;
    let request = count_request(&format!("__Host-id={token}"));
    assert!(request.len().is_multiple_of(2), "or one that nobody waits for would be whole");
    let mut complete = 0;
    for length in 0..=request.len() {
        let mut stream = served.connect().await;
        stream.write_all(&request.as_bytes()[..length]).await.unwrap();
        if length % 2 == 0 {
            stream.shutdown().await.unwrap();
            let answer = until_closed(&mut stream).await;
            complete += u32::from(answer.starts_with("HTTP/1.1 200"));
        }
    }
    assert_eq!(served.n(&token).await, complete);
    assert!(served.store.counts().sets <= 1 && served.store.counts().gets <= 2, "{:?}", served.store.counts());
    served.assert_well().await;
}

#[tokio::test]
async fn a_client_that_goes_away_in_the_middle_of_the_response_has_made_its_change() {
    let served = Served::start().await;
    let token = served.begin().await;
    for round in 1..=10 {
        let mut stream = served.connect().await;
        let request = count_request(&format!("__Host-id={token}")).replace("/count", "/long");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut some = [0; 1024];
        let read = stream.read(&mut some).await.unwrap();
        assert!(some[..read].starts_with(b"HTTP/1.1 200"));
        drop(stream);
        // The head was out, so the commit was made.
        assert_eq!(served.n(&token).await, round);
    }
    served.assert_well().await;
}

#[tokio::test]
async fn cookies_that_http_2_splits_are_put_together() {
    let served = Served::start().await;
    let token = served.begin().await;
    let mut stream = served.connect().await;
    let pairs =
        ["a=1".to_owned(), format!("__Host-id={}", invented(7)), format!("__Host-id={token}"), "z=2".to_owned()];
    let mut fields = vec![(":method", "GET"), (":scheme", "http"), (":path", "/n"), (":authority", "a")];
    fields.extend(pairs.iter().map(|pair| ("cookie", pair.as_str())));
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream.write_all(&frame(4, 0, 0, &[])).await.unwrap();
    // END_STREAM and END_HEADERS.
    stream.write_all(&frame(1, 5, 1, &literals(&fields))).await.unwrap();
    let body = tokio::time::timeout(PATIENCE, data_of_stream_1(&mut stream)).await.expect("the server hangs");
    assert_eq!(body, b"0");
    assert_eq!(served.store.counts(), Counts::gets(2));
}

/// A frame of HTTP/2 (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Header fields as literals without indexing, with new names (RFC 7541 §6.2.2).
fn literals(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// The body of the answer; its head must say 200.
async fn data_of_stream_1(stream: &mut TcpStream) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        stream.read_exact(&mut payload).await.unwrap();
        match (head[3], head[8]) {
            // `:status 200` is one byte of the static table.
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
