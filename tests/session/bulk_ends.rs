//! Ending all sessions of an owner: its cost, and a future that is dropped.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::{bulk, support};

use std::sync::Arc;

use sessile::{MemoryStore, Sessions};
use support::store::{CountingStore, Counts, FaultyStore};

/// Ending 20,000 sessions of 200 KB is one store operation, which returns no record.
#[tokio::test]
async fn ending_20_000_sessions_is_one_store_operation() {
    let store = CountingStore::new(MemoryStore::new());
    let state: Arc<[u8]> = vec![7; 200_000].into();
    bulk::fill(&store, "ada", 20_000, &state).await;
    bulk::fill(&store, "bob", 1, &state).await;
    store.reset();
    assert_eq!(Sessions::new(store.clone()).end_all_of("ada").await.unwrap().len(), 20_000);
    assert_eq!(store.counts(), Counts { bulk_deletes: 1, ..Counts::NONE });
    // The records are gone: no state but that of the other owner is left.
    assert_eq!(Arc::strong_count(&state), 2);
}

/// A dropped `end_all_of` has ended all sessions or none, however often it was polled.
#[tokio::test]
async fn a_dropped_end_all_of_has_ended_all_or_none() {
    let store = FaultyStore::new(MemoryStore::new());
    store.pend(2);
    bulk::a_dropped_bulk_end_leaves_all_or_none(store).await;
}
