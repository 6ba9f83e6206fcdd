//! How long a store across a network waits before the next try.

use std::time::Duration;

use crate::token::random;

/// The most that the first try waits, in microseconds; each further one up to twice as long.
const FIRST: u64 = 1_000;
/// The most that any try waits, in microseconds. Hundreds of writers of one session must spread until about one at a time
/// asks the database, or they spend their time refusing each other.
const MOST: u64 = 512_000;

/// Waits a random time between nothing and a bound that doubles with each attempt, so that those who lost a race do not
/// meet again.
pub(super) async fn pause(attempt: u32) {
    let bound = (FIRST << attempt.saturating_sub(1).min(16)).min(MOST);
    let wait = u64::from(u16::from_le_bytes(random())) * bound / u64::from(u16::MAX);
    tokio::time::sleep(Duration::from_micros(wait)).await;
}
