//! Requests on one session at once, in every order that a seed can think of: whatever each was told is what some order of
//! their loads and commits, one at a time, would have told it.
//!
//! Nothing here runs in parallel. A schedule advances its requests by hand, from one wait to the next, and holds every
//! operation of the store in its hands: it is applied early or late, answered or not, fails before it took effect or after, or
//! arrives long after its client was told that it failed. Clients go away, handlers give up waiting. What was observed is
//! then explained by a model, or the seed is printed.
//!
//! `SESSILE_SCHEDULES=100000 cargo test --release --test linearizable` tries more of them, and
//! `SESSILE_SEED=7 cargo test --test linearizable` the one of that seed, and prints what happened.

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

use check::{Verdict, judge};
use schedule::Schedule;

const SCHEDULES: u64 = 5_000;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

/// Runs the schedule of a seed; says how many requests it had.
fn try_one(seed: u64, is_shown: bool) -> u64 {
    let history = catch_unwind(AssertUnwindSafe(|| Schedule::new(seed).run()));
    let history = history.unwrap_or_else(|_| panic!("the schedule failed: run it again with SESSILE_SEED={seed}"));
    if is_shown {
        eprintln!("{history:?}");
    }
    let verdict = judge(&history);
    assert!(verdict == Verdict::Explained, "{verdict:?}: run it again with SESSILE_SEED={seed}\n{history:?}");
    history.requests.len() as u64
}

// guarantee: 1, 2, 3, 12, 13
#[test]
fn what_requests_at_once_are_told_is_what_some_order_of_them_explains() {
    if let Some(seed) = setting("SESSILE_SEED") {
        try_one(seed, true);
        return;
    }
    let schedules = setting("SESSILE_SCHEDULES").unwrap_or(SCHEDULES);
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
                    requests.fetch_add(try_one(seed, false), Ordering::Relaxed);
                }
            });
        }
    });
    eprintln!("{schedules} schedules, {} requests", requests.load(Ordering::Relaxed));
}
