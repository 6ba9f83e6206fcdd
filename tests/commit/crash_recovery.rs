//! A server may show a write before it is on the disk, and forget it in a crash. It acknowledged that write to nobody; but
//! others have seen it, and what they do then must not undo what was acknowledged after the crash.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use serde_json::json;
use sessile::store::{Expected, Outcome, Record, Store};
use sessile::{MemoryStore, SessionId, Sessions};

/// Brings the store back to an earlier record, as a crash does.
async fn forget(store: &MemoryStore, earlier: &Record) {
    assert!(store.delete(earlier.id(), None).await.unwrap());
    assert_eq!(store.set(earlier, Expected::Absent).await.unwrap(), Outcome::Written);
}

async fn keys(sessions: &Sessions, id: &SessionId) -> Vec<String> {
    let mut keys = sessions.find_by_id(id).await.unwrap().unwrap().keys();
    keys.sort();
    keys
}

#[tokio::test]
async fn who_saw_a_write_that_was_lost_does_not_take_another_for_it() {
    let store = MemoryStore::new();
    let sessions = Sessions::new(store.clone());
    let (id, _) = sessions.create(&json!({ "first": 1 })).await.unwrap();
    let durable = store.get(&id).await.unwrap().unwrap();
    assert!(sessions.update(&id, &json!({ "lost": 1 })).await.unwrap());
    let session = sessions.open_for_write(&id).await.unwrap().unwrap();
    session.insert("mine", &1).unwrap();
    forget(&store, &durable).await;
    assert!(sessions.update(&id, &json!({ "acknowledged": 1 })).await.unwrap());

    session.commit().await.unwrap();
    assert_eq!(keys(&sessions, &id).await, ["acknowledged", "first", "mine"]);
}

#[tokio::test]
async fn two_writes_never_make_the_same_version() {
    let store = MemoryStore::new();
    let sessions = Sessions::new(store.clone());
    let (id, _) = sessions.create(&json!({ "first": 1 })).await.unwrap();
    let durable = store.get(&id).await.unwrap().unwrap();
    sessions.update(&id, &json!({ "lost": 1 })).await.unwrap();
    let lost = store.get(&id).await.unwrap().unwrap();
    forget(&store, &durable).await;
    sessions.update(&id, &json!({ "acknowledged": 1 })).await.unwrap();
    let there = store.get(&id).await.unwrap().unwrap();
    assert_ne!(lost.version(), there.version(), "two writes made one version");
}
