//! `Transient`: values under string keys with an expiry, in the same store as the sessions.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use sessile::testing::ManualClock;
use sessile::{Error, ErrorKind, MemoryStore, Sessions, Transient};

/// Empty, long, Unicode and NUL keys hold separate values; a wrong type fails, and a delete removes one value.
#[tokio::test]
async fn transient_accepts_any_string_as_a_key() {
    let store = MemoryStore::new();
    let transient = Transient::new(store.clone());
    let hour = Duration::from_secs(60 * 60);
    let long = "k".repeat(10_000);
    let keys = ["", " ", "a", "A", "a ", "日本語", "\0", "sessile string key\0", long.as_str()];
    for (n, key) in keys.iter().enumerate() {
        assert_eq!(transient.get::<usize>(key).await.unwrap(), None);
        transient.set(key, &n, hour).await.unwrap();
    }
    assert_eq!(store.len(), keys.len());
    for (n, key) in keys.iter().enumerate() {
        assert_eq!(transient.get::<usize>(key).await.unwrap(), Some(n), "{key:?}");
        assert_eq!(transient.get::<String>(key).await.unwrap_err().kind(), ErrorKind::TypeMismatch);
    }
    for key in keys {
        assert!(transient.delete(key).await.unwrap());
        assert!(!transient.delete(key).await.unwrap());
        assert_eq!(transient.get::<usize>(key).await.unwrap(), None);
    }
    assert!(store.is_empty());
}

/// A value lives exactly as long as its last `set` says: zero is expired at once, and the maximum never expires.
#[tokio::test]
async fn transient_set_replaces_value_and_expiry() {
    let clock = ManualClock::new();
    let transient = Transient::new(MemoryStore::new().with_clock(&clock)).with_clock(&clock);
    let minute = Duration::from_secs(60);
    transient.set("code", "4711", minute).await.unwrap();
    transient.set("code", &vec![1, 2], 3 * minute).await.unwrap();
    clock.advance(2 * minute);
    assert_eq!(transient.get::<Vec<u8>>("code").await.unwrap(), Some(vec![1, 2]));
    transient.set("code", &(), minute).await.unwrap();
    clock.advance(minute - Duration::from_millis(1));
    assert_eq!(transient.get::<()>("code").await.unwrap(), Some(()));
    clock.advance(Duration::from_millis(1));
    assert_eq!(transient.get::<()>("code").await.unwrap(), None);
    assert!(!transient.delete("code").await.unwrap());
    transient.set("code", "again", minute).await.unwrap();
    assert_eq!(transient.get::<String>("code").await.unwrap().as_deref(), Some("again"));
    transient.set("gone", "at once", Duration::ZERO).await.unwrap();
    assert_eq!(transient.get::<String>("gone").await.unwrap(), None);
    transient.set("forever", &1, Duration::MAX).await.unwrap();
    clock.advance(10_000 * 24 * 60 * minute);
    assert_eq!(transient.get::<u8>("forever").await.unwrap(), Some(1));
}

/// The clock of `with_clock` decides when a value expires, also if the store's clock stands still.
#[tokio::test]
async fn transient_values_expire_by_the_clock_that_was_set() {
    let (clock, store) = (ManualClock::new(), MemoryStore::new().with_clock(ManualClock::new()));
    let transient = Transient::new(store).with_clock(&clock);
    let minute = Duration::from_secs(60);
    for _ in 0..2 {
        transient.set("code", "4711", minute).await.unwrap();
        clock.advance(minute - Duration::from_millis(1));
        assert_eq!(transient.get::<String>("code").await.unwrap().as_deref(), Some("4711"));
        clock.advance(Duration::from_millis(1));
        assert_eq!(transient.get::<String>("code").await.unwrap(), None);
    }
}

/// A `set` whose value does not serialize fails with `Serialize`, and the key keeps its value.
#[tokio::test]
async fn failed_transient_serialization_keeps_the_old_value() {
    struct Unserializable;
    impl Serialize for Unserializable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("refused"))
        }
    }

    let transient = Transient::new(MemoryStore::new());
    transient.set("key", &1, Duration::from_secs(60)).await.unwrap();
    let error = transient.set("key", &Unserializable, Duration::from_secs(60)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Serialize);
    assert_eq!(transient.get::<u8>("key").await.unwrap(), Some(1));
}

/// A hundred tasks write one common and one separate key each: all separate values are stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_transient_writes_all_succeed() {
    let store = MemoryStore::new();
    let transient = Transient::new(store.clone());
    let minute = Duration::from_secs(60);
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..100u32 {
        let transient = transient.clone();
        tasks.spawn(async move {
            transient.set("shared", &n, minute).await?;
            transient.set(&format!("own {n}"), &n, minute).await?;
            let shared = transient.get::<u32>("shared").await?;
            Ok::<_, Error>(shared.is_some_and(|n| n < 100))
        });
    }
    while let Some(done) = tasks.join_next().await {
        assert!(done.unwrap().unwrap());
    }
    for n in 0..100u32 {
        assert_eq!(transient.get::<u32>(&format!("own {n}")).await.unwrap(), Some(n));
    }
    assert_eq!(store.len(), 101);
}

/// Of twenty concurrent deletes of one key, one returns true.
#[tokio::test]
async fn exactly_one_concurrent_transient_delete_returns_true() {
    let transient = Transient::new(MemoryStore::new());
    transient.set("once", &1, Duration::from_secs(60)).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let transient = transient.clone();
        tasks.spawn(async move { transient.delete("once").await.unwrap() });
    }
    assert_eq!(tasks.join_all().await.into_iter().filter(|deleted| *deleted).count(), 1);
}

/// Keys equal to a session's id or token in any form neither read, delete nor overwrite the session.
#[tokio::test]
async fn transient_keys_never_address_a_session() {
    let store = MemoryStore::new();
    let (sessions, transient) = (Sessions::new(store.clone()), Transient::new(store.clone()));
    let (id, token) = sessions.create(&json!({ "n": 41 })).await.unwrap();
    for key in [id.to_string(), id.as_uuid().simple().to_string(), token.expose_secret(), format!("{id:?}")] {
        assert_eq!(transient.get::<u32>(&key).await.unwrap(), None);
        assert!(!transient.delete(&key).await.unwrap());
        transient.set(&key, &1, Duration::from_secs(60)).await.unwrap();
    }
    assert_eq!(store.len(), 5);
    assert_eq!(sessions.find_by_id(&id).await.unwrap().unwrap().get::<u8>("n").unwrap(), Some(41));
    assert!(sessions.owned_by("").await.unwrap().is_empty());
}
