//! A browser that does what comes to its mind, and remembers what it was told.

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

/// How many tokens of ended sessions are tried again.
const REMEMBERED: usize = 200;

/// How long a browser does nothing at most, in milliseconds.
const THOUGHT: usize = 30;

/// How much one session takes before its browser signs out.
const FULL: usize = 60;

pub struct Browser {
    server: SocketAddr,
    random: u64,
    session: Known,
    next_item: u64,
    /// Tokens of sessions that were ended, or that were rotated out.
    dead: VecDeque<String>,
    tally: Tally,
}

/// What is known of the browser's session.
#[derive(Default)]
struct Known {
    token: Option<String>,
    /// Items whose writes were acknowledged.
    there: BTreeSet<u64>,
    /// Items of which nobody knows.
    perhaps: BTreeSet<u64>,
    /// A rotation or an end whose answer did not come.
    in_doubt: bool,
    signed_in: bool,
}

/// What a browser was told in all.
#[derive(Debug, Default)]
pub struct Tally {
    requests: u64,
    pub acknowledged: u64,
    unavailable: u64,
    pub hung_up: u64,
    pub rotated: u64,
    signed_in: u64,
    pub ended: u64,
    left_behind: u64,
    tried_again: u64,
    read: u64,
}

struct Reply {
    status: u16,
    /// The token that was set; empty where it was removed.
    set: Option<String>,
    body: String,
}

impl Browser {
    pub fn new(server: SocketAddr, seed: u64) -> Self {
        let (session, dead, tally) = (Known::default(), VecDeque::new(), Tally::default());
        Self { server, random: seed, session, next_item: 0, dead, tally }
    }

    pub async fn run(mut self, stop: Arc<AtomicBool>) -> Tally {
        while !stop.load(Ordering::SeqCst) {
            self.step().await;
            // People think; and the machine is not ours alone.
            let thought = self.choose(THOUGHT);
            tokio::time::sleep(Duration::from_millis(thought as u64)).await;
        }
        self.read().await;
        self.tally
    }

    async fn step(&mut self) {
        if self.session.token.is_none() {
            return self.begin().await;
        }
        if self.session.there.len() + self.session.perhaps.len() > FULL {
            return self.sign_out().await;
        }
        match self.choose(20) {
            0..=8 => self.push_at_once().await,
            9..=10 => self.hang_up().await,
            11..=12 => self.rotate("/rotate").await,
            13 => self.rotate("/sign-in/ada").await,
            14 => self.sign_out().await,
            15 => self.try_the_dead().await,
            _ => self.read().await,
        }
    }

    pub async fn begin(&mut self) {
        let item = self.new_item();
        let Some(reply) = self.post(format!("/push-now/{item}"), None).await else { return };
        match (reply.status, reply.set) {
            (200, Some(token)) => {
                self.session = Known { token: Some(token), there: BTreeSet::from([item]), ..Known::default() };
                self.tally.acknowledged += 1;
            }
            (503, None) => self.unavailable().await,
            (status, set) => panic!("a first write was answered {status} with {set:?}"),
        }
    }

    /// Several writes on the one session.
    async fn push_at_once(&mut self) {
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
                    self.session.there.insert(item);
                    self.tally.acknowledged += 1;
                }
                Some((200 | 409, _)) if self.session.in_doubt => lost = true,
                None | Some((503, None)) => {
                    self.session.perhaps.insert(item);
                    self.tally.unavailable += 1;
                }
                Some(other) => panic!("a write was answered {other:?}"),
            }
        }
        if lost {
            self.leave_behind();
        }
    }

    /// A write whose client goes away, after it has sent all of the request or a part of it.
    async fn hang_up(&mut self) {
        let item = self.new_item();
        self.session.perhaps.insert(item);
        let wait = self.choose(1500);
        let token = self.session.token.clone();
        let _ = send(self.server, "POST", format!("/push/{item}"), token, wait).await;
        self.tally.hung_up += 1;
    }

    async fn rotate(&mut self, path: &str) {
        let old = self.session.token.clone();
        let reply = self.post(path.to_owned(), old.clone()).await;
        match reply.map(|reply| (reply.status, reply.set)) {
            Some((200, Some(token))) => {
                if self.session.in_doubt && session_of(&token) != session_of(old.as_ref().unwrap()) {
                    return self.leave_behind();
                }
                self.session.token = Some(token);
                self.session.signed_in |= path != "/rotate";
                self.bury(old);
                match path {
                    "/rotate" => self.tally.rotated += 1,
                    _ => self.tally.signed_in += 1,
                }
            }
            // The rotation before it was made, though it was not acknowledged.
            Some((200 | 409, None)) if self.session.in_doubt => self.leave_behind(),
            None | Some((503, None)) => {
                self.session.in_doubt = true;
                self.unavailable().await;
            }
            Some(other) => panic!("{path} was answered {other:?}"),
        }
    }

    async fn sign_out(&mut self) {
        let token = self.session.token.clone();
        let reply = self.post("/sign-out".to_owned(), token.clone()).await;
        match reply.map(|reply| (reply.status, reply.set)) {
            Some((200, Some(removed))) if removed.is_empty() => {
                self.bury(token);
                self.session = Known::default();
                self.tally.ended += 1;
            }
            Some((200 | 409, None)) if self.session.in_doubt => self.leave_behind(),
            None | Some((503, None)) => {
                self.session.in_doubt = true;
                self.unavailable().await;
            }
            Some(other) => panic!("a sign-out was answered {other:?}"),
        }
    }

    /// Everything that was acknowledged is there, once, and nothing that was never sent.
    async fn read(&mut self) {
        let Some(token) = self.session.token.clone() else { return };
        let reply = send(self.server, "GET", "/items".to_owned(), Some(token), usize::MAX).await;
        self.tally.requests += 1;
        let Some(Reply { status: 200, set: None, body }) = reply else { return self.unavailable().await };
        if body == "none" {
            assert!(self.session.in_doubt, "the session is gone");
            return self.leave_behind();
        }
        let listed: Vec<u64> = body.split_whitespace().map(|item| item.parse().unwrap()).collect();
        let there: BTreeSet<u64> = listed.iter().copied().collect();
        assert_eq!(there.len(), listed.len(), "an item is there twice: {listed:?}");
        let lost: Vec<_> = self.session.there.difference(&there).collect();
        assert!(lost.is_empty(), "lost: {lost:?}");
        let known = |item: &u64| self.session.there.contains(item) || self.session.perhaps.contains(item);
        assert!(there.iter().all(known), "{there:?} holds what was never sent");
        self.tally.read += 1;
    }

    async fn try_the_dead(&mut self) {
        if self.dead.is_empty() {
            return;
        }
        let chosen = self.choose(self.dead.len());
        let token = self.dead[chosen].clone();
        let reply = send(self.server, "GET", "/items".to_owned(), Some(token), usize::MAX).await;
        self.tally.requests += 1;
        let Some(Reply { status: 200, body, .. }) = reply else { return self.unavailable().await };
        assert_eq!(body, "none", "a token that was ended or rotated out opens a session");
        self.tally.tried_again += 1;
    }

    /// The token that opens the session never reached the browser, or the session has ended.
    fn leave_behind(&mut self) {
        self.session = Known::default();
        self.tally.left_behind += 1;
    }

    fn bury(&mut self, token: Option<String>) {
        self.dead.extend(token);
        if self.dead.len() > REMEMBERED {
            self.dead.pop_front();
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

    fn choose(&mut self, of: usize) -> usize {
        usize::try_from(random(&mut self.random) % of as u64).unwrap()
    }
}

/// One request over a connection of its own, which is cut after so many microseconds; `None` where no answer came.
async fn send(server: SocketAddr, method: &str, path: String, token: Option<String>, cut: usize) -> Option<Reply> {
    let exchange = async {
        let mut stream = TcpStream::connect(server).await.ok()?;
        let cookie = token.map_or(String::new(), |token| format!("cookie: id={token}\r\n"));
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\n{cookie}\r\n");
        // In two pieces, so that some are cut between them.
        let (first, second) = head.split_at(head.len() / 2);
        stream.write_all(first.as_bytes()).await.ok()?;
        if cut != usize::MAX {
            tokio::task::yield_now().await;
        }
        stream.write_all(second.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        Reply::read(&answer)
    };
    if cut == usize::MAX {
        return exchange.await;
    }
    tokio::time::timeout(Duration::from_micros(cut as u64), exchange).await.ok().flatten()
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
    pub fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.acknowledged += other.acknowledged;
        self.unavailable += other.unavailable;
        self.hung_up += other.hung_up;
        self.rotated += other.rotated;
        self.signed_in += other.signed_in;
        self.ended += other.ended;
        self.left_behind += other.left_behind;
        self.tried_again += other.tried_again;
        self.read += other.read;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests: {} writes acknowledged, {} reads of all of them, {} answers that did not come or were 503, {} \
             clients that hung up, {} rotations, {} sign-ins, {} sign-outs, {} dead tokens tried again, {} sessions left \
             behind in doubt",
            self.requests,
            self.acknowledged,
            self.read,
            self.unavailable,
            self.hung_up,
            self.rotated,
            self.signed_in,
            self.ended,
            self.tried_again,
            self.left_behind
        )
    }
}
