//! What survives when requests run in parallel: writes of one session that overlap, a write that overlaps the
//! end of its session, and a write under a cookie that nobody was given.
//!
//! Each candidate serves the same routes from an application of its own:
//!
//! | route | the handler | answers |
//! |---|---|---|
//! | `/seed` | writes `counter` | nothing |
//! | `/set/{key}` | loads, waits for the others, writes the key | nothing |
//! | `/increment` | loads, waits for the others, adds 1 to `counter` | nothing |
//! | `/slow` | loads, lets the other go on, waits for it, writes `counter` | nothing |
//! | `/end` | ends the session | nothing |
//! | `/counter` | reads `counter` | the number, or nothing if there is none |
//! | `/keys` | reads every key that `/set` is asked to write | how many there are |
//!
//! They stand apart from those of [`crate::candidate`], whose measurements they would change: axum_session
//! starts a task for every route.

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

/// Requests that run in parallel.
pub(crate) const PARALLEL: usize = 50;

/// What a candidate kept.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Writes of a key each.
    pub(crate) keys: Parallel,
    /// Increments of one counter.
    pub(crate) increments: Parallel,
    /// What the write that spanned a sign-out answered.
    pub(crate) slow_answer: StatusCode,
    /// Whether the cookie of the session that was ended opens data after that write.
    pub(crate) revived: bool,
    /// Whether a cookie that the client made up opens what was written under it.
    pub(crate) adopted: bool,
}

/// Of [`PARALLEL`] writes.
#[derive(Debug)]
pub(crate) struct Parallel {
    /// How many answered 200.
    pub(crate) answered: usize,
    /// How many are found afterwards.
    pub(crate) kept: u64,
}

/// Where the candidates keep their sessions, and by how many processes they are served: each is an application of its own.
#[derive(Clone, Copy, Debug)]
struct Deployment<'a> {
    /// The Redis server of this URL. Without one, sessions are in the memory of the one process.
    redis: Option<&'a str>,
    nodes: usize,
}

/// Runs the races of every candidate, on more threads than one, as a server has: on the Redis server of this URL, by so
/// many processes, or in the memory of one.
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

/// A client with a session, in new applications.
async fn seeded(candidate: Candidate, on: Deployment<'_>) -> Client {
    let mut nodes = Vec::new();
    for _ in 0..on.nodes {
        nodes.push(app(candidate, on.redis).await);
    }
    let reader = if on.nodes == 1 { nodes[0].clone() } else { app(candidate, on.redis).await };
    let client = Client::seeded(nodes, reader).await;
    // One that finds no session loses and revives none either.
    assert_eq!(client.read_at_first("/counter").await, "0", "{}", candidate.name());
    client
}

async fn parallel(candidate: Candidate, on: Deployment<'_>, path: impl Fn(usize) -> String, found: &str) -> Parallel {
    let client = seeded(candidate, on).await;
    let meeting = Meeting::of(PARALLEL);
    let requests: Vec<_> = (0..PARALLEL).map(|n| client.spawn(&path(n), &meeting)).collect();
    let mut answered = 0;
    for request in requests {
        let status = request.await.expect("no handler panics");
        answered += usize::from(status == StatusCode::OK);
    }
    let kept = client.read(found).await.parse().expect("the session is there, whatever it has lost");
    Parallel { answered, kept }
}

async fn spanned_sign_out(candidate: Candidate, on: Deployment<'_>) -> (StatusCode, bool) {
    let client = seeded(candidate, on).await;
    let meeting = Meeting::of(2);
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
    let alone = Meeting::of(1);
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
        (None, Candidate::Noop | Candidate::Minimal) => unreachable!("{} is nothing to deploy", candidate.name()),
    }
}

/// The key that the request of this number writes.
fn key(n: usize) -> String {
    format!("key_{n:02}")
}
