//! Nodes of an application over one database, and checks that every store passes.

#![allow(dead_code, reason = "each test binary uses a part of this file")]
#![allow(unreachable_pub, missing_debug_implementations, reason = "the items are private to a test binary")]
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::routing::post;
use http_body_util::BodyExt;
use sessile::event::Event;
use sessile::store::Store;
use sessile::testing::Clock;
use sessile::{Error, Session, SessionLayer, Sessions};
use tower::ServiceExt;

use crate::servers::PATIENCE;

/// A node: an application with its own session layer.
#[derive(Clone)]
pub struct Node {
    app: Router,
    pub sessions: Sessions,
}

/// A response, as its client sees it.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub cookie: Option<String>,
    pub body: String,
}

impl Node {
    pub fn new(store: impl Store) -> Self {
        Self::with_clock(store, Clock::system())
    }

    pub fn with_clock(store: impl Store, clock: impl Into<Clock>) -> Self {
        let report = |event: &Event<'_>| {
            if let Some(error) = event.error {
                eprintln!("{:?}: {error:?}", event.kind);
            }
        };
        let layer = SessionLayer::builder(store).with_event_hook(report).with_clock(clock);
        // Writers under load store thousands of keys.
        let layer = layer.with_commit_deadline(PATIENCE).with_key_limit(1_000_000).build().unwrap();
        let sessions = layer.sessions();
        let app = Router::new()
            .route("/count", post(count))
            .route("/read", post(async |session: Option<Session>| session.is_some().to_string()))
            .route("/set/{key}", post(set))
            .route("/sign-in", post(async |session: Session| session.sign_in("user:1")))
            .route("/sign-out", post(async |session: Session| session.sign_out()))
            .layer(layer);
        Self { app, sessions }
    }

    pub async fn post(&self, path: &str, cookie: Option<&str>) -> Answer {
        let mut request = Request::post(path);
        if let Some(cookie) = cookie {
            request = request.header(header::COOKIE, cookie);
        }
        let response = self.app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        Answer { status: head.status, cookie: cookie_of(&head.headers), body }
    }

    /// Creates a session and returns its cookie.
    pub async fn begin(&self) -> String {
        let answer = self.post("/set/first", None).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        answer.cookie.expect("a new session sets its cookie")
    }
}

fn cookie_of(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::SET_COOKIE)?.to_str().unwrap();
    Some(text.split(';').next().unwrap().to_owned())
}

async fn count(session: Session) -> Result<String, Error> {
    let count = session.update_now("count", |count: &mut u64| {
        *count += 1;
        *count
    });
    Ok(count.await?.to_string())
}

async fn set(session: Session, Path(key): Path<String>) -> Result<(), Error> {
    session.insert(&key, "set")
}

/// 200 parallel increments and 200 parallel inserts, alternating between two nodes, lose no change.
pub async fn parallel_writers_on_two_nodes_lose_nothing(one: impl Store, other: impl Store) {
    let nodes = [Node::new(one), Node::new(other)];
    let cookie = nodes[0].begin().await;
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..400_usize {
        let (node, cookie) = (nodes[number % 2].clone(), cookie.clone());
        let path = if number < 200 { "/count".to_owned() } else { format!("/set/key{number}") };
        tasks.spawn(async move { (number, node.post(&path, Some(&cookie)).await) });
    }
    let mut counts = Vec::new();
    while let Some(done) = tasks.join_next().await {
        let (number, answer) = done.unwrap();
        assert_eq!(answer.status, StatusCode::OK, "request {number}: {}", answer.body);
        if number < 200 {
            counts.push(answer.body.parse::<u64>().unwrap());
        }
    }
    eprintln!("400 writers of one session took {:?}", started.elapsed());
    counts.sort_unstable();
    assert_eq!(counts, (1..=200).collect::<Vec<_>>(), "two increments returned the same count");
    let token = sessile::Token::parse(cookie.split_once('=').unwrap().1.as_bytes()).unwrap();
    let stored = nodes[1].sessions.find_by_id(&token.id()).await.unwrap().unwrap();
    assert_eq!(stored.get::<u64>("count").unwrap(), Some(200));
    let kept = stored.keys().iter().filter(|key| key.starts_with("key")).count();
    assert_eq!(kept, 200, "{kept} of 200 keys are stored");
}

/// A sign-out on one node ends the session while another node writes to it, thirty times.
pub async fn a_sign_out_on_one_node_ends_the_session_on_both(one: impl Store, other: impl Store) {
    let nodes = [Node::new(one), Node::new(other)];
    for _ in 0..30 {
        let signed_in = nodes[0].post("/sign-in", None).await;
        assert_eq!(signed_in.status, StatusCode::OK, "{}", signed_in.body);
        let cookie = signed_in.cookie.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..8 {
            let (node, cookie) = (nodes[1].clone(), cookie.clone());
            tasks.spawn(async move { node.post(&format!("/set/key{number}"), Some(&cookie)).await });
        }
        let ended = nodes[0].post("/sign-out", Some(&cookie)).await;
        assert_eq!(ended.status, StatusCode::OK, "{}", ended.body);
        while let Some(done) = tasks.join_next().await {
            let status = done.unwrap().status;
            assert!(status == StatusCode::OK || status == StatusCode::CONFLICT, "{status}");
        }
        let token = sessile::Token::parse(cookie.split_once('=').unwrap().1.as_bytes()).unwrap();
        for node in &nodes {
            assert!(node.sessions.find_by_token(&token).await.unwrap().is_none(), "the session is still live");
        }
        let listed = nodes[1].sessions.owned_by("user:1").await.unwrap();
        assert!(listed.iter().all(|session| session.id() != token.id()), "an ended session is listed");
    }
}
