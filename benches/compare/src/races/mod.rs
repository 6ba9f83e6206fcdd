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

mod axum_session;
mod client;
mod invented;
mod meeting;
mod sessile;
mod tower_sessions;

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

/// Runs the races of every candidate, on more threads than one, as a server has.
pub(crate) fn measure() -> std::io::Result<Vec<(Candidate, Outcome)>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build()?;
    Ok(runtime.block_on(async {
        let mut outcomes = Vec::new();
        for candidate in Candidate::LAYERS {
            outcomes.push((candidate, race(candidate).await));
        }
        outcomes
    }))
}

async fn race(candidate: Candidate) -> Outcome {
    let (slow_answer, revived) = spanned_sign_out(candidate).await;
    Outcome {
        keys: parallel(candidate, |n| format!("/set/{}", key(n)), "/keys").await,
        increments: parallel(candidate, |_| "/increment".to_owned(), "/counter").await,
        slow_answer,
        revived,
        adopted: adopts(candidate).await,
    }
}

/// A client with a session, in a new application.
async fn seeded(candidate: Candidate) -> Client {
    let app = match candidate {
        Candidate::TowerSessions => tower_sessions::app(),
        Candidate::AxumSession => axum_session::app().await,
        Candidate::Sessile => sessile::app(),
        Candidate::Noop | Candidate::Minimal => unreachable!("{} is nothing to deploy", candidate.name()),
    };
    let client = Client::seeded(app).await;
    // One that finds no session loses and revives none either.
    assert_eq!(client.read("/counter").await, "0", "{}", candidate.name());
    client
}

async fn parallel(candidate: Candidate, path: impl Fn(usize) -> String, found: &str) -> Parallel {
    let client = seeded(candidate).await;
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

async fn spanned_sign_out(candidate: Candidate) -> (StatusCode, bool) {
    let client = seeded(candidate).await;
    let meeting = Meeting::of(2);
    let slow = client.spawn("/slow", &meeting);
    meeting.arrive().await;
    let end = client.spawn("/end", &meeting).await.expect("no handler panics");
    assert_eq!(end, StatusCode::OK, "{} signs out", candidate.name());
    meeting.arrive().await;
    let answer = slow.await.expect("no handler panics");
    (answer, !client.read("/counter").await.is_empty())
}

async fn adopts(candidate: Candidate) -> bool {
    let client = seeded(candidate).await.with_cookie_value(&invented::value(candidate));
    let alone = Meeting::of(1);
    let answer = client.spawn(&format!("/set/{}", key(0)), &alone).await.expect("no handler panics");
    assert_eq!(answer, StatusCode::OK, "{} writes, under whichever id", candidate.name());
    client.read("/keys").await == "1"
}

/// The key that the request of this number writes.
fn key(n: usize) -> String {
    format!("key_{n:02}")
}
