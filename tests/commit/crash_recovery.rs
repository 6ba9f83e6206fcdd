//! A store that returns to an earlier record after a crash, when a write that others have read was not yet durable.
//!
//! Such a write was never acknowledged. Commits that follow from it must not undo writes acknowledged after the crash.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use serde_json::json;
use sessile::store::{Expected, Outcome, Record, Store};
use sessile::{MemoryStore, SessionId, Sessions};

/// Restores an earlier record, as a crash of a store without durable writes does.
async fn roll_back(store: &MemoryStore, earlier: &Record) {
    assert!(store.delete(earlier.id(), None).await.unwrap());
    assert_eq!(store.set(earlier, Expected::Absent).await.unwrap(), Outcome::Written);
}

async fn keys(sessions: &Sessions, id: &SessionId) -> Vec<String> {
    let mut keys = sessions.find_by_id(id).await.unwrap().unwrap().keys();
    keys.sort();
    keys
}

/// A session opened before a rollback commits on the newer record: keys from before and after the crash are kept.
#[tokio::test]
async fn commit_after_a_rollback_keeps_acknowledged_writes() {
    let store = MemoryStore::new();
    let sessions = Sessions::new(store.clone());
    let (id, _) = sessions.create(&json!({ "first": 1 })).await.unwrap();
    let durable = store.get(&id).await.unwrap().unwrap();
    assert!(sessions.merge(&id, &json!({ "lost": 1 })).await.unwrap());
    let session = sessions.open_for_write(&id).await.unwrap().unwrap();
    session.insert("own", &1).unwrap();
    roll_back(&store, &durable).await;
    assert!(sessions.merge(&id, &json!({ "acknowledged": 1 })).await.unwrap());

    session.commit().await.unwrap();
    assert_eq!(keys(&sessions, &id).await, ["acknowledged", "first", "own"]);
}

/// A lost write and the one made in its place after a rollback have different versions.
#[tokio::test]
async fn versions_differ_after_a_rollback() {
    let store = MemoryStore::new();
    let sessions = Sessions::new(store.clone());
    let (id, _) = sessions.create(&json!({ "first": 1 })).await.unwrap();
    let durable = store.get(&id).await.unwrap().unwrap();
    sessions.merge(&id, &json!({ "lost": 1 })).await.unwrap();
    let lost = store.get(&id).await.unwrap().unwrap();
    roll_back(&store, &durable).await;
    sessions.merge(&id, &json!({ "acknowledged": 1 })).await.unwrap();
    let stored = store.get(&id).await.unwrap().unwrap();
    assert_ne!(lost.version(), stored.version(), "two writes made one version");
}
