//! Linearizability of concurrent requests on one session: some sequential order explains every observation.
//!
//! A schedule polls its requests by hand, in an order that a seed decides, and controls every store call: the call is
//! applied early or late, answered or not, fails before or after it takes effect, or is applied after its caller got an
//! error. Clients disconnect and handlers drop commits. A sequential model has to explain the history; if it cannot,
//! the test prints the seed.
//!
//! `SESSILE_SCHEDULES=100000 cargo test --release --test linearizable` runs more schedules.
//! `SESSILE_SEED=7 cargo test --test linearizable` runs one seed and prints its history.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]
#![allow(unreachable_pub, missing_debug_implementations, reason = "nothing outside of the test binary sees it")]

#[path = "../support/mod.rs"]
mod support;

mod check;
mod handler;
mod history;
mod model;
mod network;
mod schedule;
mod session;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use check::{Verdict, check};
use schedule::Schedule;

const DEFAULT_SCHEDULES: u64 = 5_000;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

/// Runs and checks the schedule of a seed; returns the number of requests.
fn check_seed(seed: u64, print: bool) -> u64 {
    let history = catch_unwind(AssertUnwindSafe(|| Schedule::new(seed).run()));
    let history = history.unwrap_or_else(|_| panic!("the schedule failed: run it again with SESSILE_SEED={seed}"));
    if print {
        eprintln!("{history:?}");
    }
    let verdict = check(&history);
    assert!(verdict == Verdict::Linearizable, "{verdict:?}: run it again with SESSILE_SEED={seed}\n{history:?}");
    history.requests.len() as u64
}

// guarantee: 1, 2, 3, 12, 13
/// Thousands of random schedules with faults and disconnects: a sequential order explains each history.
#[test]
fn concurrent_requests_are_linearizable() {
    if let Some(seed) = setting("SESSILE_SEED") {
        check_seed(seed, true);
        return;
    }
    let schedules = setting("SESSILE_SCHEDULES").unwrap_or(DEFAULT_SCHEDULES);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (next, requests) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= schedules {
                        return;
                    }
                    requests.fetch_add(check_seed(seed, false), Ordering::Relaxed);
                }
            });
        }
    });
    eprintln!("{schedules} schedules, {} requests", requests.load(Ordering::Relaxed));
}
