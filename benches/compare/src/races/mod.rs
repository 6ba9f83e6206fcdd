//! Races: concurrent writes to one session, a write that overlaps the session's end, and an invented cookie.
//!
//! Each candidate serves the same routes from its own application:
//!
//! | route | the handler | answers |
//! |---|---|---|
//! | `/seed` | writes `counter` | nothing |
//! | `/set/{key}` | loads, waits for the others, writes the key | nothing |
//! | `/increment` | loads, waits for the others, adds 1 to `counter` | nothing |
//! | `/slow` | loads, lets the other go on, waits for it, writes `counter` | nothing |
//! | `/end` | ends the session | nothing |
//! | `/counter` | reads `counter` | the number, or nothing |
//! | `/keys` | reads every key that `/set` is asked to write | how many there are |
//!
//! These routes are separate from those of [`crate::candidate`], since axum_session starts a task for every route,
//! which would change the measurements.

pub(crate) mod axum_session;
mod client;
mod invented;
mod meeting;
pub(crate) mod sessile;
pub(crate) mod tower_sessions;

use axum::Router;
use axum::http::StatusCode;

use crate::candidate::Candidate;
use crate::races::client::Client;
use crate::races::meeting::Meeting;

/// Number of requests in parallel.
pub(crate) const PARALLEL: usize = 50;

/// Results of one candidate.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Result of writes to different keys.
    pub(crate) keys: Parallel,
    /// Result of increments of one counter.
    pub(crate) increments: Parallel,
    /// Status of the write that overlaps a sign-out.
    pub(crate) slow_answer: StatusCode,
    /// The ended session's cookie opens data after that write.
    pub(crate) revived: bool,
    /// The candidate accepts an invented cookie and stores a session under it.
    pub(crate) adopted: bool,
}

/// Result of [`PARALLEL`] writes.
#[derive(Debug)]
pub(crate) struct Parallel {
    /// Number of requests answered 200.
    pub(crate) answered: usize,
    /// Number of writes found afterwards.
    pub(crate) kept: u64,
}

/// Store and number of nodes. Each node is a separate application.
#[derive(Clone, Copy, Debug)]
struct Deployment<'a> {
    /// URL of a Redis server. `None` means the memory of a single node.
    redis: Option<&'a str>,
    nodes: usize,
}

/// Runs the races of every candidate on two threads, on `nodes` nodes over the Redis server with this URL, or in
/// memory.
pub(crate) fn measure(redis: Option<&str>, nodes: usize) -> std::io::Result<Vec<(Candidate, Outcome)>> {
    let on = Deployment { redis, nodes };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    Ok(runtime.block_on(async {
        let mut outcomes = Vec::new();
        for candidate in Candidate::LAYERS {
            outcomes.push((candidate, race(candidate, on).await));
        }
        outcomes
    }))
}

async fn race(candidate: Candidate, on: Deployment<'_>) -> Outcome {
    let (slow_answer, revived) = spanned_sign_out(candidate, on).await;
    Outcome {
        keys: parallel(candidate, on, |n| format!("/set/{}", key(n)), "/keys").await,
        increments: parallel(candidate, on, |_| "/increment".to_owned(), "/counter").await,
        slow_answer,
        revived,
        adopted: adopts(candidate, on).await,
    }
}

/// Creates a client with a session, in new applications.
async fn seeded(candidate: Candidate, on: Deployment<'_>) -> Client {
    let mut nodes = Vec::new();
    for _ in 0..on.nodes {
        nodes.push(app(candidate, on.redis).await);
    }
    let reader = if on.nodes == 1 { nodes[0].clone() } else { app(candidate, on.redis).await };
    let client = Client::seeded(nodes, reader).await;
    // Guards the results: a candidate that keeps no session would lose and revive none.
    assert_eq!(client.read_at_first("/counter").await, "0", "{}", candidate.name());
    client
}

async fn parallel(candidate: Candidate, on: Deployment<'_>, path: impl Fn(usize) -> String, found: &str) -> Parallel {
    let client = seeded(candidate, on).await;
    let meeting = Meeting::new(PARALLEL);
    let requests: Vec<_> = (0..PARALLEL).map(|n| client.spawn(&path(n), &meeting)).collect();
    let mut answered = 0;
    for request in requests {
        let status = request.await.expect("no handler panics");
        answered += usize::from(status == StatusCode::OK);
    }
    let kept = client.read(found).await.parse().expect("the session still exists");
    Parallel { answered, kept }
}

async fn spanned_sign_out(candidate: Candidate, on: Deployment<'_>) -> (StatusCode, bool) {
    let client = seeded(candidate, on).await;
    let meeting = Meeting::new(2);
    let slow = client.spawn("/slow", &meeting);
    meeting.arrive().await;
    let end = client.spawn("/end", &meeting).await.expect("no handler panics");
    assert_eq!(end, StatusCode::OK, "{} signs out", candidate.name());
    meeting.arrive().await;
    let answer = slow.await.expect("no handler panics");
    (answer, !client.read("/counter").await.is_empty())
}

async fn adopts(candidate: Candidate, on: Deployment<'_>) -> bool {
    let client = seeded(candidate, on).await.with_cookie_value(&invented::value(candidate));
    let alone = Meeting::new(1);
    let answer = client.spawn(&format!("/set/{}", key(0)), &alone).await.expect("no handler panics");
    assert_eq!(answer, StatusCode::OK, "{} writes, under whichever id", candidate.name());
    client.read("/keys").await == "1"
}

async fn app(candidate: Candidate, redis: Option<&str>) -> Router {
    match (redis, candidate) {
        #[cfg(feature = "redis")]
        (Some(url), _) => crate::redis::apps::racing(candidate, url).await,
        #[cfg(not(feature = "redis"))]
        (Some(_), _) => unreachable!("built without the feature redis"),
        (None, Candidate::TowerSessions) => tower_sessions::app(),
        (None, Candidate::AxumSession) => axum_session::app().await,
        (None, Candidate::Sessile) => sessile::app(),
        (None, Candidate::Noop | Candidate::Minimal) => unreachable!("{} has no races", candidate.name()),
    }
}

/// Returns the key that the request with this number writes.
fn key(n: usize) -> String {
    format!("key_{n:02}")
}
