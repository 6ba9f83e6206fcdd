//! The commit queue: commits of one process that lost a race for a session retry one after another.
//!
//! No commit waits for another without a limit.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;
use sessile::store::{Expected, Outcome, Record, Store, StoreError, Touch};
use sessile::{MemoryStore, Session, SessionId, Sessions};
use support::store::{CountingStore, Counts};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const ROUND_TRIP: Duration = Duration::from_millis(10);

/// A store whose every call takes one round trip of the paused clock.
#[derive(Clone)]
struct RemoteStore(MemoryStore);

impl Store for RemoteStore {
    async fn get(&self, id: &SessionId) -> Result<Option<Record>, StoreError> {
        sleep(ROUND_TRIP).await;
        self.0.get(id).await
    }

    async fn set(&self, record: &Record, expected: Expected) -> Result<Outcome, StoreError> {
        sleep(ROUND_TRIP).await;
        self.0.set(record, expected).await
    }

    async fn touch(&self, record: &Record, touch: Touch) -> Result<bool, StoreError> {
        sleep(ROUND_TRIP).await;
        self.0.touch(record, touch).await
    }

    async fn delete(&self, id: &SessionId, owner: Option<&str>) -> Result<bool, StoreError> {
        sleep(ROUND_TRIP).await;
        self.0.delete(id, owner).await
    }

    fn is_remote(&self) -> bool {
        true
    }
}

/// A hundred sessions opened before the first commit all increment; 99 of them need one more get and set.
#[tokio::test(start_paused = true)]
async fn each_of_a_hundred_concurrent_writers_retries_once() {
    let store = CountingStore::new(RemoteStore(MemoryStore::new()));
    let sessions = Sessions::new(store.clone());
    let (id, _) = sessions.create(&json!({})).await.unwrap();
    store.reset();
    let mut opened = Vec::new();
    for _ in 0..100 {
        opened.push(sessions.open_for_write(&id).await.unwrap().unwrap());
    }
    let mut writers = JoinSet::new();
    for session in opened {
        writers.spawn(async move { session.update_now("count", |count: &mut u32| *count += 1).await });
    }
    for done in writers.join_all().await {
        done.unwrap();
    }
    // One get for each `open_for_write`, and one for each retry.
    assert_eq!(store.counts(), Counts::gets(100 + 99).and_sets(100 + 99));
    assert_eq!(sessions.find_by_id(&id).await.unwrap().unwrap().get::<u32>("count").unwrap(), Some(100));
}

/// Opens the session three times and inserts a different key into each, without a commit.
async fn three_writers(sessions: &Sessions, id: &SessionId) -> Vec<Session> {
    let mut opened = Vec::new();
    for place in 0..3 {
        let session = sessions.open_for_write(id).await.unwrap().unwrap();
        session.insert(&format!("key {place}"), &place).unwrap();
        opened.push(session);
    }
    opened
}

/// A commit that is no longer polled at the head of the queue delays the next one by less than four seconds.
#[tokio::test(start_paused = true)]
async fn unpolled_commit_does_not_block_the_queue() {
    let sessions = Sessions::new(RemoteStore(MemoryStore::new()));
    let (id, _) = sessions.create(&json!({})).await.unwrap();
    let opened = three_writers(&sessions, &id).await;
    opened[0].commit().await.unwrap();
    let mut unpolled = pin!(opened[1].commit());
    timeout(ROUND_TRIP * 3 / 2, &mut unpolled).await.expect_err("the commit lost the race and waits for its retry");
    timeout(Duration::from_secs(4), opened[2].commit())
        .await
        .expect("the commit waits for an unpolled one without a limit")
        .unwrap();
    unpolled.await.unwrap();
    assert_eq!(sessions.find_by_id(&id).await.unwrap().unwrap().keys().len(), 3);
}

/// A commit future dropped at the head of the queue lets the next commit proceed at once.
#[tokio::test(start_paused = true)]
async fn dropped_commit_lets_the_next_one_proceed() {
    let sessions = Sessions::new(RemoteStore(MemoryStore::new()));
    let (id, _) = sessions.create(&json!({})).await.unwrap();
    let opened = three_writers(&sessions, &id).await;
    opened[0].commit().await.unwrap();
    let mut dropped = Box::pin(opened[1].commit());
    timeout(ROUND_TRIP * 3 / 2, &mut dropped).await.expect_err("the commit lost the race and waits for its retry");
    let started = tokio::time::Instant::now();
    let mut next = pin!(opened[2].commit());
    timeout(ROUND_TRIP * 3 / 2, &mut next).await.expect_err("the commit waits in the queue");
    drop(dropped);
    next.await.unwrap();
    // One refused set, half a round trip in the queue, and a get and a set for the retry.
    assert_eq!(started.elapsed(), ROUND_TRIP * 7 / 2);
}

/// A remote store whose sets other nodes win, so many of them.
#[derive(Clone)]
struct ContestedStore {
    inner: MemoryStore,
    races: Arc<AtomicU32>,
}

impl Store for ContestedStore {
    async fn get(&self, id: &SessionId) -> Result<Option<Record>, StoreError> {
        self.inner.get(id).await
    }

    async fn set(&self, record: &Record, expected: Expected) -> Result<Outcome, StoreError> {
        let one_less = |races: u32| races.checked_sub(1);
        let is_lost = expected != Expected::Absent
            && self.races.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok();
        if is_lost { Ok(Outcome::Refused) } else { self.inner.set(record, expected).await }
    }

    async fn touch(&self, record: &Record, touch: Touch) -> Result<bool, StoreError> {
        self.inner.touch(record, touch).await
    }

    async fn delete(&self, id: &SessionId, owner: Option<&str>) -> Result<bool, StoreError> {
        self.inner.delete(id, owner).await
    }

    fn is_remote(&self) -> bool {
        true
    }
}

/// A commit loses 60 races on a remote store: each pause is at most 4 ms per attempt so far, and they are not all zero.
#[tokio::test(start_paused = true)]
async fn retries_on_a_remote_store_pause_longer_each_time() {
    const RACES: u32 = 60;
    let store = ContestedStore { inner: MemoryStore::new(), races: Arc::default() };
    let sessions = Sessions::new(store.clone());
    let (id, _) = sessions.create(&json!({})).await.unwrap();
    let session = sessions.open_for_write(&id).await.unwrap().unwrap();
    store.races.store(RACES, Ordering::SeqCst);
    session.insert("key", &1).unwrap();
    let started = tokio::time::Instant::now();
    session.commit().await.unwrap();
    // The paused clock wakes a timer up to a millisecond late.
    let longest: Duration = (1..=RACES).map(|attempt| Duration::from_millis(u64::from(attempt) * 4 + 1)).sum();
    let one_step_each = Duration::from_millis(5) * RACES;
    assert!(started.elapsed() <= longest, "{:?}", started.elapsed());
    assert!(started.elapsed() > one_step_each, "{:?}: the pauses do not grow", started.elapsed());
}
