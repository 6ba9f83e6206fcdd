//! How long a store across a network waits before the next try.

use std::time::Duration;

use crate::token::random;

/// How much each try adds to the longest wait, in microseconds: about what a try costs.
const EACH: u64 = 4_000;
/// The most that anybody waits, in microseconds.
const MOST: u64 = 250_000;

/// Waits a random time: the longer, the more tries there were, so that those who lost a race do not meet again.
pub(super) async fn pause(attempt: u32) {
    let bound = (u64::from(attempt) * EACH).min(MOST);
    let wait = u64::from(u16::from_le_bytes(random())) * bound / u64::from(u16::MAX);
    tokio::time::sleep(Duration::from_micros(wait)).await;
}
