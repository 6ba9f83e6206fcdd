//! Commits of one process that lose a race for one session go on one after another, and no commit waits on one for ever.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::pin::pin;
use std::time::Duration;

use serde_json::json;
use sessile::store::{Expected, Outcome, Record, Store, StoreError, Touch};
use sessile::{MemoryStore, Session, SessionId, Sessions};
use support::store::{CountingStore, Counts};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const TRIP: Duration = Duration::from_millis(10);

/// A store a round trip away. The tests' clock is moved by nobody but them, so that a trip takes exactly its time.
#[derive(Clone)]
struct Distant(MemoryStore);

impl Store for Distant {
    async fn get(&self, id: &SessionId) -> Result<Option<Record>, StoreError> {
        sleep(TRIP).await;
        self.0.get(id).await
    }

    async fn set(&self, record: &Record, expected: Expected) -> Result<Outcome, StoreError> {
        sleep(TRIP).await;
        self.0.set(record, expected).await
    }

    async fn touch(&self, record: &Record, touch: Touch) -> Result<bool, StoreError> {
        sleep(TRIP).await;
        self.0.touch(record, touch).await
    }

    async fn delete(&self, id: &SessionId, owner: Option<&str>) -> Result<bool, StoreError> {
        sleep(TRIP).await;
        self.0.delete(id, owner).await
    }
}

#[tokio::test(start_paused = true)]
async fn none_of_a_hundred_writers_is_refused_more_than_once() {
    let store = CountingStore::new(Distant(MemoryStore::new()));
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
    // A get for each that opens, and another for each that was refused.
    assert_eq!(store.counts(), Counts::gets(100 + 99).and_sets(100 + 99));
    assert_eq!(sessions.find_by_id(&id).await.unwrap().unwrap().get::<u32>("count").unwrap(), Some(100));
}

/// The session, opened three times; each has written a key of its own and not committed it.
async fn three_writers(sessions: &Sessions, id: &SessionId) -> Vec<Session> {
    let mut opened = Vec::new();
    for place in 0..3 {
        let session = sessions.open_for_write(id).await.unwrap().unwrap();
        session.insert(&format!("key {place}"), &place).unwrap();
        opened.push(session);
    }
    opened
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_is_left_alone_in_the_middle_of_its_turn_holds_nobody_up() {
    let sessions = Sessions::new(Distant(MemoryStore::new()));
    let (id, _) = sessions.create(&json!({})).await.unwrap();
    let opened = three_writers(&sessions, &id).await;
    opened[0].commit().await.unwrap();
    let mut left_alone = pin!(opened[1].commit());
    timeout(TRIP * 3 / 2, &mut left_alone).await.expect_err("it has lost a race, and waits to try again");
    timeout(Duration::from_secs(4), opened[2].commit()).await.expect("it does not wait for ever").unwrap();
    left_alone.await.unwrap();
    assert_eq!(sessions.find_by_id(&id).await.unwrap().unwrap().keys().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_is_given_up_in_the_middle_of_its_turn_passes_it_on() {
    let sessions = Sessions::new(Distant(MemoryStore::new()));
    let (id, _) = sessions.create(&json!({})).await.unwrap();
    let opened = three_writers(&sessions, &id).await;
    opened[0].commit().await.unwrap();
    let mut given_up = Box::pin(opened[1].commit());
    timeout(TRIP * 3 / 2, &mut given_up).await.expect_err("it has lost a race, and waits to try again");
    let started = tokio::time::Instant::now();
    let mut next = pin!(opened[2].commit());
    timeout(TRIP * 3 / 2, &mut next).await.expect_err("it waits for its turn");
    drop(given_up);
    next.await.unwrap();
    // It was refused, waited half a trip, and took two more.
    assert_eq!(started.elapsed(), TRIP * 7 / 2);
}
