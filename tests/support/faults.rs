//! Checks with servers that are killed, hang, or run out of connections.

#![allow(dead_code, reason = "each test binary uses a part of this file")]
#![allow(unreachable_pub, missing_debug_implementations, reason = "the items are private to a test binary")]
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use sessile::store::{Expected, Outcome, Record, Store, StoreError, StoreErrorKind, Touch, Version};
use sessile::{Sessions, Token};

use crate::damage;
use crate::nodes::Node;
use crate::proxy::Proxy;
use crate::servers::{PATIENCE, Server};

/// Requests of one client and their acknowledgments.
#[derive(Debug, Default)]
struct ClientReport {
    requests: u64,
    /// Acknowledged increments of the client's own session.
    counted: u64,
    /// Keys of the shared session whose writes were acknowledged.
    keys: Vec<String>,
}

/// Time during which a server is killed repeatedly.
pub const KILL_DURATION: Duration = Duration::from_secs(20);
/// Time between two kills.
pub const KILL_INTERVAL: Duration = Duration::from_secs(1);

/// Acknowledged writes survive a server that is killed (SIGKILL) and restarted every second under load.
///
/// Each increment is counted once or, if it was not acknowledged, at most once.
pub async fn no_acknowledged_write_is_lost(mut server: Server, store: impl Store + Clone) {
    let restart = move || {
        server.kill();
        server.start();
    };
    no_acknowledged_write_is_lost_in_restarts(restart, store).await;
}

/// Acknowledged writes survive restarts under load, one every second.
pub async fn no_acknowledged_write_is_lost_in_restarts(
    mut restart: impl FnMut() + Send + 'static,
    store: impl Store + Clone,
) {
    let node = Node::new(store);
    let shared = node.begin().await;
    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged = Arc::new(AtomicU64::new(0));
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..8 {
        let (node, shared, stop) = (node.clone(), shared.clone(), Arc::clone(&stop));
        let acknowledged = Arc::clone(&acknowledged);
        let own = node.begin().await;
        clients.spawn(async move {
            let mut report = ClientReport::default();
            while !stop.load(Ordering::SeqCst) {
                let answer = node.post("/count", Some(&own)).await;
                if answer.status == StatusCode::OK {
                    report.counted += 1;
                    acknowledged.fetch_add(1, Ordering::SeqCst);
                }
                let key = format!("{client}-{}", report.requests);
                let answer = node.post(&format!("/set/{key}"), Some(&shared)).await;
                if answer.status == StatusCode::OK {
                    report.keys.push(key);
                    acknowledged.fetch_add(1, Ordering::SeqCst);
                }
                assert_ne!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
                report.requests += 2;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            (own, report)
        });
    }
    let killing = tokio::task::spawn_blocking(move || {
        let kills = kill_every_second(&acknowledged, &mut restart);
        (restart, kills)
    });
    // The servers run until the end.
    let (_servers, kills) = killing.await.unwrap();
    let restarted = Instant::now();
    while node.sessions.find_by_token(&token(&shared)).await.is_err() {
        assert!(restarted.elapsed() < PATIENCE, "the store does not reconnect");
    }
    let reconnected = restarted.elapsed();
    stop.store(true, Ordering::SeqCst);

    // The session may be on another node of a Cluster, which takes the restarted one for down for a moment.
    let stored = async |cookie: &str| loop {
        match node.sessions.find_by_token(&token(cookie)).await {
            Ok(found) => break found.expect("the session is there"),
            Err(error) => assert!(restarted.elapsed() < PATIENCE, "the store does not reconnect: {error:?}"),
        }
    };
    let (mut requests, mut acknowledged, mut lost) = (0, 0, 0);
    let mut keys = Vec::new();
    while let Some(report) = clients.join_next().await {
        let (own, report) = report.unwrap();
        let count = stored(&own).await.get::<u64>("count").unwrap().unwrap_or(0);
        assert!(count <= report.requests / 2, "{count} increments of {} requests", report.requests / 2);
        requests += report.requests;
        acknowledged += report.counted + report.keys.len() as u64;
        lost += report.counted.saturating_sub(count);
        keys.extend(report.keys);
    }
    let present = stored(&shared).await.keys();
    lost += keys.iter().filter(|key| !present.contains(key)).count() as u64;
    eprintln!("after the last start the store answered in {reconnected:?}");
    check_counts(kills, requests, acknowledged, lost);
}

/// Calls `kill` every second for twenty seconds, and returns the number of calls.
///
/// Between two calls it waits for a request to be acknowledged, however slow the machine is.
pub fn kill_every_second(acknowledged: &AtomicU64, mut kill: impl FnMut()) -> u64 {
    let started = Instant::now();
    let mut kills = 0;
    while started.elapsed() < KILL_DURATION {
        let (before, waiting) = (acknowledged.load(Ordering::SeqCst), Instant::now());
        let into = started.elapsed().as_nanos() % KILL_INTERVAL.as_nanos();
        std::thread::sleep(KILL_INTERVAL - Duration::from_nanos(u64::try_from(into).unwrap()));
        while acknowledged.load(Ordering::SeqCst) == before {
            assert!(waiting.elapsed() < PATIENCE, "no request is acknowledged");
            std::thread::sleep(Duration::from_millis(10));
        }
        kill();
        kills += 1;
    }
    kills
}

/// Prints the counts of a run, and checks that no acknowledged change is lost.
pub fn check_counts(kills: u64, requests: u64, acknowledged: u64, lost: u64) {
    let failed = requests - acknowledged;
    eprintln!(
        "killed {kills} times in {KILL_DURATION:?}: {requests} requests, {acknowledged} acknowledged, {failed} failed, {lost} lost"
    );
    assert_eq!(lost, 0, "acknowledged changes are lost");
}

/// Operations on a server that hangs fail at the deadline, and succeed when it answers again.
///
/// The store connects through this proxy; `hasty` is the same store with a short deadline.
pub async fn a_server_that_hangs_costs_the_deadline(
    store: impl Store + Clone,
    hasty: impl Store + Clone,
    proxy: &Proxy,
) {
    let sessions = Sessions::new(store.clone());
    let (id, _) = sessions.create(&SessionData { value: 1 }).await.unwrap();
    let record = store.get(&id).await.unwrap().unwrap();
    proxy.hang();
    let started = Instant::now();
    let work = async {
        // There are more operations than connections in a pool, so that some wait for one.
        let mut gets = tokio::task::JoinSet::new();
        for _ in 0..40 {
            let store = hasty.clone();
            gets.spawn(async move { store.get(&id).await.unwrap_err().kind() });
        }
        for kind in gets.join_all().await {
            assert_eq!(kind, StoreErrorKind::Unavailable);
        }
        let version = sessile::store::Expected::Version(record.version());
        assert_eq!(hasty.set(&record, version).await.unwrap_err().kind(), StoreErrorKind::Unavailable);
        assert_eq!(hasty.delete(&id, None).await.unwrap_err().kind(), StoreErrorKind::Unavailable);
    };
    tokio::time::timeout(PATIENCE, work).await.expect("the operations end");
    eprintln!("42 operations on a hanging server failed within {:?}", started.elapsed());
    proxy.cut();
    assert_eq!(hasty.get(&id).await.unwrap_err().kind(), StoreErrorKind::Unavailable);
    proxy.pass();
    let back = Instant::now();
    while let Err(error) = store.get(&id).await {
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        assert!(back.elapsed() < PATIENCE, "the store does not reconnect: {error:?}");
    }
    eprintln!("the store answers again after {:?}", back.elapsed());
}

/// A write whose answer is lost is an error, has taken effect, and is not sent again.
///
/// The store connects through this proxy, and `other` does not.
pub async fn a_write_whose_answer_is_lost_is_not_repeated(store: impl Store, other: impl Store, proxy: &Proxy) {
    let [warm, record] = [1, 2].map(|id| damage::record(id, Some("a")));
    for lost in Write::ALL {
        // A new connection prepares each statement in a round trip of its own.
        for write in Write::ALL {
            assert!(write.run(&store, &warm).await.unwrap(), "{write:?}");
        }
        if lost != Write::Insert {
            assert!(Write::Insert.run(&other, &record).await.unwrap());
        }
        let trips = proxy.round_trips();
        proxy.lose_an_answer();
        let error = lost.run(&store, &record).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{lost:?}");
        assert_eq!(proxy.round_trips(), trips + 1, "{lost:?}");
        let stored = other.get(record.id()).await.unwrap();
        let expected = match lost {
            Write::Insert => Some(record.clone()),
            Write::Touch => Some(touched(&record)),
            Write::Replace => Some(replaced(&record)),
            Write::Delete => None,
        };
        assert_eq!(stored, expected, "{lost:?}");
        other.delete(record.id(), record.owner()).await.unwrap();
    }
}

/// A read whose answer is lost is sent again, on another connection.
pub async fn a_read_whose_answer_is_lost_is_repeated(store: impl Store, proxy: &Proxy) {
    let record = damage::record(1, Some("a"));
    assert!(Write::Insert.run(&store, &record).await.unwrap());
    for _ in 0..2 {
        proxy.lose_an_answer();
        assert_eq!(store.get(record.id()).await.unwrap().as_ref(), Some(&record));
        proxy.lose_an_answer();
        assert_eq!(store.owned_by("a").await.unwrap(), std::slice::from_ref(&record));
    }
    assert!(Write::Delete.run(&store, &record).await.unwrap());
}

/// The writes of a store, in an order in which each has an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    Insert,
    Touch,
    Replace,
    Delete,
}

impl Write {
    pub const ALL: [Self; 4] = [Self::Insert, Self::Touch, Self::Replace, Self::Delete];

    /// Writes the record; returns whether the store has.
    pub async fn run(self, store: &impl Store, record: &Record) -> Result<bool, StoreError> {
        let is_written = |outcome| outcome == Outcome::Written;
        match self {
            Self::Insert => store.set(record, Expected::Absent).await.map(is_written),
            Self::Touch => store.touch(record, Touch::new(record.last_seen(), touched(record).expires_at())).await,
            Self::Replace => store.set(&replaced(record), Expected::Version(record.version())).await.map(is_written),
            Self::Delete => store.delete(record.id(), record.owner()).await,
        }
    }
}

fn touched(record: &Record) -> Record {
    let mut parts = record.clone().into_parts();
    parts.expires_at += time::Duration::HOUR;
    Record::from_parts(parts)
}

fn replaced(record: &Record) -> Record {
    let mut parts = record.clone().into_parts();
    parts.version = Version::new(parts.version.get() + 1);
    Record::from_parts(parts)
}

#[derive(serde::Serialize)]
struct SessionData {
    value: u32,
}

fn token(cookie: &str) -> Token {
    Token::parse(cookie.split_once('=').unwrap().1.as_bytes()).unwrap()
}
