//! How long a store across a network waits before the next try.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::token::random;

/// How much each one who waits adds to the longest wait of all, in microseconds: about what a try costs.
const EACH: u64 = 4_000;
/// The most that anybody waits, in microseconds.
const MOST: u64 = 1_000_000;

/// Spreads those who lost a race, so that about one at a time tries again: hundreds of writers of one session would
/// otherwise spend their time refusing each other. Clones count together.
#[derive(Clone, Debug, Default)]
pub(super) struct Backoff {
    waiting: Arc<AtomicU32>,
}

impl Backoff {
    /// Waits a random time: the longer, the more are waiting and the more tries there were.
    pub(super) async fn pause(&self, attempt: u32) {
        let _here = Here::enter(&self.waiting);
        let waiting = u64::from(self.waiting.load(Ordering::Relaxed));
        let bound = (waiting * EACH * (2 + u64::from(attempt)) / 2).min(MOST);
        let wait = u64::from(u16::from_le_bytes(random())) * bound / u64::from(u16::MAX);
        tokio::time::sleep(Duration::from_micros(wait)).await;
    }
}

/// One who waits, also where the wait is dropped half-way.
struct Here<'a>(&'a AtomicU32);

impl<'a> Here<'a> {
    fn enter(waiting: &'a AtomicU32) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Here<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
