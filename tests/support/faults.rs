//! What must hold while a server dies and comes back, hangs, or is out of connections.

#![allow(dead_code, reason = "each test binary compiles all of it and uses a part")]
#![allow(unreachable_pub, missing_debug_implementations, reason = "nothing outside of the test binary sees it")]
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use sessile::store::{Store, StoreErrorKind};
use sessile::{Sessions, Token};

use crate::nodes::Node;
use crate::proxy::Proxy;
use crate::servers::Server;

/// How long no test waits: what has not happened by then does not happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the clients of a run were told.
#[derive(Debug, Default)]
struct Told {
    requests: u64,
    /// The number of increments of this client's own session that were acknowledged.
    counted: u64,
    /// The keys of the session that all share, whose writes were acknowledged.
    keys: Vec<String>,
}

/// For how long a server is killed again and again, under load.
pub const SIEGE: Duration = Duration::from_secs(20);
/// How often.
pub const EVERY: Duration = Duration::from_secs(1);

/// Kills the server (SIGKILL) and starts it again, every second for twenty, under load. Every change that was acknowledged is there
/// afterwards, and none took effect twice.
pub async fn nothing_acknowledged_is_lost(mut server: Server, store: impl Store + Clone) {
    let node = Node::over(store);
    let shared = node.begin().await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..8 {
        let (node, shared, stop) = (node.clone(), shared.clone(), Arc::clone(&stop));
        let own = node.begin().await;
        clients.spawn(async move {
            let mut told = Told::default();
            while !stop.load(Ordering::SeqCst) {
                let answer = node.post("/count", Some(&own)).await;
                told.counted += u64::from(answer.status == StatusCode::OK);
                let key = format!("{client}-{}", told.requests);
                let answer = node.post(&format!("/set/{key}"), Some(&shared)).await;
                if answer.status == StatusCode::OK {
                    told.keys.push(key);
                }
                told.requests += 2;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            (own, told)
        });
    }
    let killing = tokio::task::spawn_blocking(move || {
        let kills = every_second(|| {
            server.kill();
            server.start();
        });
        (server, kills)
    });
    let (server, kills) = killing.await.unwrap();
    let back = Instant::now();
    while node.sessions.find_by_token(&token(&shared)).await.is_err() {
        assert!(back.elapsed() < PATIENCE, "the store does not reconnect");
    }
    let reconnected = back.elapsed();
    stop.store(true, Ordering::SeqCst);

    let stored =
        async |cookie: &str| node.sessions.find_by_token(&token(cookie)).await.unwrap().expect("the session is there");
    let (mut requests, mut acknowledged, mut lost) = (0, 0, 0);
    let mut keys = Vec::new();
    while let Some(told) = clients.join_next().await {
        let (own, told) = told.unwrap();
        let count = stored(&own).await.get::<u64>("count").unwrap().unwrap_or(0);
        assert!(count <= told.requests / 2, "{count} increments of {} requests", told.requests / 2);
        requests += told.requests;
        acknowledged += told.counted + told.keys.len() as u64;
        lost += told.counted.saturating_sub(count);
        keys.extend(told.keys);
    }
    let present = stored(&shared).await.keys();
    lost += keys.iter().filter(|key| !present.contains(key)).count() as u64;
    eprintln!("after the last start the store answered in {reconnected:?}");
    judge(kills, requests, acknowledged, lost);
    drop(server);
}

/// Does this at every second of the siege, unless the time before took longer; says how often.
pub fn every_second(mut kill: impl FnMut()) -> u64 {
    let started = Instant::now();
    let mut kills = 0;
    while started.elapsed() < SIEGE {
        let into = started.elapsed().as_nanos() % EVERY.as_nanos();
        std::thread::sleep(EVERY - Duration::from_nanos(u64::try_from(into).unwrap()));
        kill();
        kills += 1;
    }
    kills
}

/// Says what came of a siege, and holds the store to it.
pub fn judge(kills: u64, requests: u64, acknowledged: u64, lost: u64) {
    let failed = requests - acknowledged;
    eprintln!(
        "killed {kills} times in {SIEGE:?}: {requests} requests, {acknowledged} acknowledged, {failed} failed, {lost} lost"
    );
    assert!(acknowledged > 0, "nothing was acknowledged, so nothing was tried");
    assert_eq!(lost, 0, "acknowledged changes are lost");
}

/// A server that stops answering costs an operation its deadline and no more; when it answers again, so does the store.
/// The store is behind this proxy, with a short deadline.
pub async fn a_server_that_hangs_costs_the_deadline(store: impl Store + Clone, proxy: &Proxy) {
    let sessions = Sessions::new(store.clone());
    let (id, _) = sessions.create(&Held { kept: 1 }).await.unwrap();
    let record = store.get(&id).await.unwrap().unwrap();
    proxy.hang();
    let asked = Instant::now();
    let work = async {
        // More than a pool has connections, so that some wait for one.
        let mut gets = tokio::task::JoinSet::new();
        for _ in 0..40 {
            let store = store.clone();
            gets.spawn(async move { store.get(&id).await.unwrap_err().kind() });
        }
        for kind in gets.join_all().await {
            assert_eq!(kind, StoreErrorKind::Unavailable);
        }
        let version = sessile::store::Expected::Version(record.version());
        assert_eq!(store.set(&record, version).await.unwrap_err().kind(), StoreErrorKind::Unavailable);
        assert_eq!(store.delete(&id, None).await.unwrap_err().kind(), StoreErrorKind::Unavailable);
    };
    tokio::time::timeout(PATIENCE, work).await.expect("operations wait for ever");
    eprintln!("42 operations on a hanging server were told so after {:?}", asked.elapsed());
    proxy.cut();
    assert_eq!(store.get(&id).await.unwrap_err().kind(), StoreErrorKind::Unavailable);
    proxy.pass();
    let back = Instant::now();
    while let Err(error) = store.get(&id).await {
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        assert!(back.elapsed() < PATIENCE, "the store does not reconnect: {error:?}");
    }
    eprintln!("it answers again after {:?}", back.elapsed());
}

#[derive(serde::Serialize)]
struct Held {
    kept: u32,
}

fn token(cookie: &str) -> Token {
    Token::parse(cookie.split_once('=').unwrap().1.as_bytes()).unwrap()
}
