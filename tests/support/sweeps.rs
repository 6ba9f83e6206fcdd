//! Checks of the deletion of expired records, by several nodes and with wrong clocks.

#![allow(dead_code, reason = "each test binary uses a part of this file")]
#![allow(unreachable_pub, missing_debug_implementations, reason = "the items are private to a test binary")]
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::time::Duration;

use axum::http::StatusCode;
use sessile::store::{Expected, Outcome, Record, Store};
use sessile::testing::ManualClock;
use time::OffsetDateTime;

use crate::damage;
use crate::nodes::Node;

const EXPIRED: u64 = 2_500;
const LIVE: u64 = 50;
const HOURS: Duration = Duration::from_secs(10 * 60 * 60);

/// Two nodes that sweep at once delete each expired record once, in several batches, and no live one.
pub async fn concurrent_sweeps_delete_expired_records_only(one: impl Store + Clone, other: impl Store) {
    let mut writes = tokio::task::JoinSet::new();
    for part in 0..16 {
        let store = one.clone();
        writes.spawn(async move {
            for number in (1..=EXPIRED + LIVE).filter(|number| number % 16 == part) {
                assert_eq!(store.set(&numbered(number), Expected::Absent).await.unwrap(), Outcome::Written);
            }
        });
    }
    writes.join_all().await;
    let (by_one, by_other) = tokio::join!(one.delete_expired(), other.delete_expired());
    let (by_one, by_other) = (by_one.unwrap(), by_other.unwrap());
    eprintln!("{by_one} records were deleted by one node and {by_other} by the other");
    // Each node skips rows that the other has locked, so some may be left for the next sweep.
    let left = one.delete_expired().await.unwrap();
    assert_eq!(by_one + by_other + left, EXPIRED);
    for number in EXPIRED + 1..=EXPIRED + LIVE {
        let record = numbered(number);
        assert!(one.get(record.id()).await.unwrap().is_some(), "a live record was deleted");
    }
}

fn numbered(number: u64) -> Record {
    let mut parts = damage::record(u128::from(number), Some("a")).into_parts();
    if number <= EXPIRED {
        parts.expires_at = OffsetDateTime::now_utc() - time::Duration::hours(1);
    }
    Record::from_parts(parts)
}

/// A session survives nodes whose clocks are ten hours fast and ten hours slow.
pub async fn a_node_with_a_wrong_clock_ends_no_session<S: Store>(store: impl AsyncFn() -> S) {
    let right = Node::new(store().await);
    let cookie = right.post("/sign-in", None).await.cookie.unwrap();
    let now = OffsetDateTime::now_utc();
    for clock in [now + HOURS, now - HOURS] {
        let wrong = Node::with_clock(store().await, ManualClock::at(clock));
        assert_eq!(wrong.sessions.delete_expired().await.unwrap(), 0, "a node's own clock decided what has expired");
        assert_eq!(wrong.post("/read", Some(&cookie)).await.status, StatusCode::OK);
        let answer = right.post("/count", Some(&cookie)).await;
        assert_eq!((answer.status, answer.cookie), (StatusCode::OK, None), "the session was replaced");
    }
    assert_eq!(right.post("/count", Some(&cookie)).await.body, "3");
    assert_eq!(right.sessions.owned_by("user:1").await.unwrap().len(), 1);
}
