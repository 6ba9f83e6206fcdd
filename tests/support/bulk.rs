//! Ending all sessions of an owner at once, on any store.

#![allow(dead_code, reason = "each test binary uses a part of this file")]
#![allow(unreachable_pub, reason = "the items are private to a test binary")]
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use sessile::store::{Expected, Outcome, Record, RecordParts, Store, Version};
use sessile::{SessionId, Sessions};
use time::OffsetDateTime;

/// Writes this many sessions of an owner, whose states share these bytes.
pub async fn fill(store: &(impl Store + Clone), owner: &str, sessions: usize, state: &Arc<[u8]>) {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    const WRITERS: usize = 16;
    let now = OffsetDateTime::now_utc();
    let record = |owner: &str| RecordParts {
        id: SessionId::from(uuid::Uuid::from_u128(NEXT.fetch_add(1, Ordering::Relaxed).into())),
        version: Version::new(1),
        realm: "id".into(),
        owner: Some(owner.into()),
        last_seen: now,
        expires_at: now + time::Duration::hours(1),
        state: Arc::clone(state),
    };
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let store = store.clone();
        let records: Vec<_> = (writer..sessions).step_by(WRITERS).map(|_| Record::from_parts(record(owner))).collect();
        writers.spawn(async move {
            for record in records {
                assert_eq!(store.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
            }
        });
    }
    writers.join_all().await;
}

/// Polls `end_all_of` up to this many times and then drops it; returns whether it was completed.
async fn dropped_after(polls: usize, sessions: &Sessions, owner: &str) -> bool {
    let (mut end, mut left) = (pin!(sessions.end_all_of(owner)), polls);
    poll_fn(|context| {
        left -= 1;
        match end.as_mut().poll(context) {
            Poll::Ready(ended) => Poll::Ready(ended.map(|_| true).unwrap()),
            Poll::Pending if left == 0 => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// An `end_all_of` that is dropped after any poll has ended all sessions of the owner or none.
pub async fn a_dropped_bulk_end_leaves_all_or_none(store: impl Store + Clone) {
    const SESSIONS: usize = 30;
    let sessions = Sessions::new(store.clone());
    for polls in 1.. {
        // A server may complete a dropped call later, so each round has its own owner.
        let owner = format!("dropped after {polls} polls");
        fill(&store, &owner, SESSIONS, &[7; 100][..].into()).await;
        let is_completed = dropped_after(polls, &sessions, &owner).await;
        // The call may take effect while a list is read.
        let mut left = store.owned_by(&owner).await.unwrap().len();
        loop {
            let again = store.owned_by(&owner).await.unwrap().len();
            if again == left {
                break;
            }
            left = again;
        }
        assert!(left == 0 || left == SESSIONS && !is_completed, "{left} of {SESSIONS} sessions after {polls} polls");
        let _ = sessions.end_all_of(&owner).await.unwrap();
        assert!(store.owned_by(&owner).await.unwrap().is_empty());
        if is_completed {
            break;
        }
    }
}
