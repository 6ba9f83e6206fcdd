//! Values under string keys, for a while: `Transient`, in the same store as the sessions.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use sessile::testing::ManualClock;
use sessile::{Error, ErrorKind, MemoryStore, Sessions, Transient};

#[tokio::test]
async fn transient_values_live_under_any_key_beside_the_sessions() {
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

#[tokio::test]
async fn a_transient_value_is_overwritten_whole_and_lives_as_long_as_told() {
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
    transient.set("for ever", &1, Duration::MAX).await.unwrap();
    clock.advance(10_000 * 24 * 60 * minute);
    assert_eq!(transient.get::<u8>("for ever").await.unwrap(), Some(1));
}

#[tokio::test]
async fn a_transient_value_that_cannot_be_serialised_leaves_the_old_one() {
    struct Stubborn;
    impl Serialize for Stubborn {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("never"))
        }
    }

    let transient = Transient::new(MemoryStore::new());
    transient.set("key", &1, Duration::from_secs(60)).await.unwrap();
    let error = transient.set("key", &Stubborn, Duration::from_secs(60)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Serialize);
    assert_eq!(transient.get::<u8>("key").await.unwrap(), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transient_values_stand_being_written_by_many_at_once() {
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

#[tokio::test]
async fn of_many_who_delete_a_transient_value_one_is_told_that_it_was_there() {
    let transient = Transient::new(MemoryStore::new());
    transient.set("once", &1, Duration::from_secs(60)).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let transient = transient.clone();
        tasks.spawn(async move { transient.delete("once").await.unwrap() });
    }
    assert_eq!(tasks.join_all().await.into_iter().filter(|deleted| *deleted).count(), 1);
}

#[tokio::test]
async fn a_transient_key_never_reaches_a_session() {
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
