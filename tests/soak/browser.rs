//! A browser with random requests that checks every response against the acknowledged state.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::store::random;

/// Number of invalid tokens that a browser keeps for another try.
const MAX_INVALID_TOKENS: usize = 200;

/// Maximum pause between two steps, in milliseconds.
const MAX_PAUSE_MS: usize = 30;

/// Number of items after which a browser signs out.
const MAX_ITEMS: usize = 60;

pub struct Browser {
    server: SocketAddr,
    random: u64,
    session: SessionState,
    next_item: u64,
    /// Tokens that were rotated or whose session has ended.
    invalid_tokens: VecDeque<String>,
    tally: Tally,
}

/// State of the browser's session by the responses so far.
#[derive(Default)]
struct SessionState {
    token: Option<String>,
    /// Items whose writes were acknowledged.
    acknowledged: BTreeSet<u64>,
    /// Items of writes with an unknown outcome.
    unknown: BTreeSet<u64>,
    /// A rotation or sign-out has an unknown outcome.
    outcome_unknown: bool,
    signed_in: bool,
}

/// Counts of requests and responses.
#[derive(Debug, Default)]
pub struct Tally {
    requests: u64,
    acknowledged: u64,
    unavailable: u64,
    disconnected: u64,
    rotated: u64,
    signed_in: u64,
    ended: u64,
    abandoned: u64,
    invalid_tokens_tried: u64,
    read: u64,
}

struct Reply {
    status: u16,
    /// The new token; empty if the cookie was removed.
    set: Option<String>,
    body: String,
}

impl Browser {
    pub fn new(server: SocketAddr, seed: u64) -> Self {
        let (session, invalid_tokens, tally) = (SessionState::default(), VecDeque::new(), Tally::default());
        Self { server, random: seed, session, next_item: 0, invalid_tokens, tally }
    }

    pub async fn run(mut self, stop: Arc<AtomicBool>) -> Tally {
        // Longer on a slow machine, until each kind of request was made.
        while !stop.load(Ordering::SeqCst) || self.tally.lacks_a_kind() {
            self.step().await;
            // A pause, as of a user, which also leaves time to other processes.
            let pause = self.choose(MAX_PAUSE_MS);
            tokio::time::sleep(Duration::from_millis(pause as u64)).await;
        }
        self.read().await;
        self.tally
    }

    async fn step(&mut self) {
        if self.session.token.is_none() {
            return self.begin().await;
        }
        if self.session.acknowledged.len() + self.session.unknown.len() > MAX_ITEMS {
            return self.sign_out().await;
        }
        match self.choose(20) {
            0..=8 => self.push_concurrently().await,
            9..=10 => self.disconnect().await,
            11..=12 => self.rotate("/rotate").await,
            13 => self.rotate("/sign-in/ada").await,
            14 => self.sign_out().await,
            15 => self.try_invalid_token().await,
            _ => self.read().await,
        }
    }

    pub async fn begin(&mut self) {
        let item = self.new_item();
        let Some(reply) = self.post(format!("/push-now/{item}"), None).await else { return };
        match (reply.status, reply.set) {
            (200, Some(token)) => {
                self.session = SessionState {
                    token: Some(token),
                    acknowledged: BTreeSet::from([item]),
                    ..SessionState::default()
                };
                self.tally.acknowledged += 1;
            }
            (503, None) => self.unavailable().await,
            (status, set) => panic!("first write: {status} with {set:?}"),
        }
    }

    /// Sends up to five concurrent writes.
    async fn push_concurrently(&mut self) {
        let count = 1 + self.choose(5);
        let items: Vec<u64> = (0..count).map(|_| self.new_item()).collect();
        let paths = items.iter().map(|item| format!("/push{}/{item}", if item % 2 == 0 { "" } else { "-now" }));
        let server = self.server;
        let token = self.session.token.clone();
        let replies = join_all(paths.map(|path| send(server, "POST", path, token.clone(), usize::MAX))).await;
        let mut lost = false;
        for (item, reply) in items.into_iter().zip(replies) {
            self.tally.requests += 1;
            match reply.map(|reply| (reply.status, reply.set)) {
                Some((200, None)) => {
                    self.session.acknowledged.insert(item);
                    self.tally.acknowledged += 1;
                }
                Some((200 | 409, _)) if self.session.outcome_unknown => lost = true,
                None | Some((503, None)) => {
                    self.session.unknown.insert(item);
                    self.tally.unavailable += 1;
                }
                Some(other) => panic!("write: {other:?}"),
            }
        }
        if lost {
            self.abandon_session();
        }
    }

    /// Sends a write, or a part of it, and disconnects.
    async fn disconnect(&mut self) {
        let item = self.new_item();
        self.session.unknown.insert(item);
        let wait = self.choose(1500);
        let token = self.session.token.clone();
        let _ = send(self.server, "POST", format!("/push/{item}"), token, wait).await;
        self.tally.disconnected += 1;
    }

    async fn rotate(&mut self, path: &str) {
        let old = self.session.token.clone();
        let reply = self.post(path.to_owned(), old.clone()).await;
        match reply.map(|reply| (reply.status, reply.set)) {
            Some((200, Some(token))) => {
                if self.session.outcome_unknown && session_of(&token) != session_of(old.as_ref().unwrap()) {
                    return self.abandon_session();
                }
                self.session.token = Some(token);
                self.session.signed_in |= path != "/rotate";
                self.add_invalid_token(old);
                match path {
                    "/rotate" => self.tally.rotated += 1,
                    _ => self.tally.signed_in += 1,
                }
            }
            // The unacknowledged operation took effect, so the browser has no valid token.
            Some((200 | 409, None)) if self.session.outcome_unknown => self.abandon_session(),
            None | Some((503, None)) => {
                self.session.outcome_unknown = true;
                self.unavailable().await;
            }
            Some(other) => panic!("{path}: {other:?}"),
        }
    }

    async fn sign_out(&mut self) {
        let token = self.session.token.clone();
        let reply = self.post("/sign-out".to_owned(), token.clone()).await;
        match reply.map(|reply| (reply.status, reply.set)) {
            Some((200, Some(removed))) if removed.is_empty() => {
                self.add_invalid_token(token);
                self.session = SessionState::default();
                self.tally.ended += 1;
            }
            Some((200 | 409, None)) if self.session.outcome_unknown => self.abandon_session(),
            None | Some((503, None)) => {
                self.session.outcome_unknown = true;
                self.unavailable().await;
            }
            Some(other) => panic!("sign-out: {other:?}"),
        }
    }

    /// Reads all items: each acknowledged one is stored once, and none that was never sent.
    async fn read(&mut self) {
        let Some(token) = self.session.token.clone() else { return };
        let reply = send(self.server, "GET", "/items".to_owned(), Some(token), usize::MAX).await;
        self.tally.requests += 1;
        let Some(Reply { status: 200, set: None, body }) = reply else { return self.unavailable().await };
        if body == "none" {
            assert!(self.session.outcome_unknown, "the session is not found");
            return self.abandon_session();
        }
        let listed: Vec<u64> = body.split_whitespace().map(|item| item.parse().unwrap()).collect();
        let stored: BTreeSet<u64> = listed.iter().copied().collect();
        assert_eq!(stored.len(), listed.len(), "an item is stored twice: {listed:?}");
        let lost: Vec<_> = self.session.acknowledged.difference(&stored).collect();
        assert!(lost.is_empty(), "acknowledged items are lost: {lost:?}");
        let known = |item: &u64| self.session.acknowledged.contains(item) || self.session.unknown.contains(item);
        assert!(stored.iter().all(known), "{stored:?} contains an item that was never sent");
        self.tally.read += 1;
    }

    async fn try_invalid_token(&mut self) {
        if self.invalid_tokens.is_empty() {
            return;
        }
        let chosen = self.choose(self.invalid_tokens.len());
        let token = self.invalid_tokens[chosen].clone();
        let reply = send(self.server, "GET", "/items".to_owned(), Some(token), usize::MAX).await;
        self.tally.requests += 1;
        let Some(Reply { status: 200, body, .. }) = reply else { return self.unavailable().await };
        assert_eq!(body, "none", "an invalid token opens a session");
        self.tally.invalid_tokens_tried += 1;
    }

    /// Forgets a session that has ended, or whose valid token never reached the browser.
    fn abandon_session(&mut self) {
        self.session = SessionState::default();
        self.tally.abandoned += 1;
    }

    fn add_invalid_token(&mut self, token: Option<String>) {
        self.invalid_tokens.extend(token);
        if self.invalid_tokens.len() > MAX_INVALID_TOKENS {
            self.invalid_tokens.pop_front();
        }
    }

    async fn post(&mut self, path: String, token: Option<String>) -> Option<Reply> {
        self.tally.requests += 1;
        send(self.server, "POST", path, token, usize::MAX).await
    }

    async fn unavailable(&mut self) {
        self.tally.unavailable += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    fn new_item(&mut self) -> u64 {
        self.next_item += 1;
        self.next_item
    }

    fn choose(&mut self, count: usize) -> usize {
        usize::try_from(random(&mut self.random) % count as u64).unwrap()
    }
}

/// Sends a request over a new connection, cut after this many microseconds; `None` if there is no response.
async fn send(
    server: SocketAddr,
    method: &str,
    path: String,
    token: Option<String>,
    cut_after: usize,
) -> Option<Reply> {
    let exchange = async {
        let mut stream = TcpStream::connect(server).await.ok()?;
        let cookie = token.map_or(String::new(), |token| format!("cookie: id={token}\r\n"));
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\n{cookie}\r\n");
        // Two writes, so that some requests are cut between them.
        let (first, second) = head.split_at(head.len() / 2);
        stream.write_all(first.as_bytes()).await.ok()?;
        if cut_after != usize::MAX {
            tokio::task::yield_now().await;
        }
        stream.write_all(second.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        Reply::read(&answer)
    };
    if cut_after == usize::MAX {
        return exchange.await;
    }
    tokio::time::timeout(Duration::from_micros(cut_after as u64), exchange).await.ok().flatten()
}

impl Reply {
    fn read(answer: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(answer).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let set = head.lines().find_map(|line| {
            let value = line.strip_prefix("set-cookie: id=")?;
            Some(value.split(';').next().unwrap_or_default().to_owned())
        });
        Some(Self { status, set, body: body.to_owned() })
    }
}

fn session_of(token: &str) -> String {
    crate::support::client::session_of(token).to_string()
}

impl Tally {
    /// Returns whether no write, rotation, sign-out or disconnect was counted yet.
    fn lacks_a_kind(&self) -> bool {
        [self.acknowledged, self.rotated, self.ended, self.disconnected].contains(&0)
    }

    pub fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.acknowledged += other.acknowledged;
        self.unavailable += other.unavailable;
        self.disconnected += other.disconnected;
        self.rotated += other.rotated;
        self.signed_in += other.signed_in;
        self.ended += other.ended;
        self.abandoned += other.abandoned;
        self.invalid_tokens_tried += other.invalid_tokens_tried;
        self.read += other.read;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests: {} writes acknowledged, {} full reads, {} without response or with 503, {} disconnects, \
             {} rotations, {} sign-ins, {} sign-outs, {} invalid tokens tried, {} sessions abandoned",
            self.requests,
            self.acknowledged,
            self.read,
            self.unavailable,
            self.disconnected,
            self.rotated,
            self.signed_in,
            self.ended,
            self.invalid_tokens_tried,
            self.abandoned
        )
    }
}
