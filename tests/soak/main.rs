//! Soak test: many browsers over real sockets, with disconnecting clients and a database that is killed and restarted.
//!
//! Each browser sends concurrent writes, rotations, sign-ins and sign-outs. No acknowledged write is lost, no ended
//! session opens again, and memory, tasks and connections do not grow.
//!
//! `SESSILE_SOAK_SECONDS=1200 cargo test --release --all-features --test soak -- --nocapture` is the long run,
//! half of it in memory and half on Redis; the default is a few seconds. `SESSILE_SEED` changes the browsers' choices.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]
#![allow(unreachable_pub, missing_debug_implementations, reason = "nothing outside of the test binary sees it")]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/servers.rs"]
mod servers;

mod application;
mod browser;
mod gauge;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sessile::store::Store;
use sessile::{MemoryStore, RedisStore};

use self::application::Application;
use self::browser::{Browser, Tally};
use self::gauge::{Gauge, Sample};
use self::servers::{Server, ask};

const BROWSERS: u64 = 12;

/// Time between two kills of the database.
const KILL_INTERVAL: Duration = Duration::from_secs(6);

/// Returns the duration of the run on one store: half of the whole.
fn duration_per_store() -> Duration {
    let seconds: u32 = std::env::var("SESSILE_SOAK_SECONDS").map_or(16, |seconds| seconds.parse().unwrap());
    Duration::from_secs(seconds.into()) / 2
}

fn seed() -> u64 {
    std::env::var("SESSILE_SEED").map_or(1, |seed| seed.parse().unwrap())
}

// guarantee: 1, 2, 10
/// Runs on the memory store and then on a killed and restarted Redis; one test, since memory is per process.
#[test]
fn soak_loses_no_write_revives_no_session_and_leaks_nothing() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    eprintln!("== in memory");
    let store = MemoryStore::new();
    let sessions = store.clone();
    runtime().block_on(soak(store, None, move || sessions.len()));
    eprintln!("== on a Redis server that is killed every {KILL_INTERVAL:?}");
    let server = Server::redis();
    let port = server.port();
    runtime().block_on(async {
        let store = RedisStore::connect(&server.url()).await.unwrap().with_deadline(Duration::from_secs(2));
        soak(store, Some(server), move || database_size(port)).await;
    });
}

async fn soak(store: impl Store, mut server: Option<Server>, count_sessions: impl Fn() -> usize + Send + 'static) {
    let application = Application::start(store).await;
    let stop = Arc::new(AtomicBool::new(false));
    let gauge = Gauge::new(count_sessions);
    // The first request opens resources that stay open, so it precedes the first sample.
    Browser::new(application.address, 0).begin().await;
    let before = gauge.sample();
    let browsers: Vec<_> = (0..BROWSERS)
        .map(|number| {
            let browser = Browser::new(application.address, seed() << 32 | number);
            tokio::spawn(browser.run(Arc::clone(&stop)))
        })
        .collect();

    let started = Instant::now();
    let end = duration_per_store();
    let mut samples: Vec<Sample> = Vec::new();
    let mut restarts = 0;
    while started.elapsed() < end {
        tokio::time::sleep(KILL_INTERVAL.min(end / 8)).await;
        if let Some(mut down) = server.take() {
            let up = tokio::task::spawn_blocking(move || {
                down.kill();
                down.start();
                down
            });
            server = Some(up.await.unwrap());
            restarts += 1;
        }
        samples.push(gauge.sample());
        assert!(browsers.iter().all(|browser| !browser.is_finished()), "a browser has panicked");
    }
    stop.store(true, Ordering::SeqCst);
    let mut tally = Tally::default();
    for browser in browsers {
        tally.add(browser.await.unwrap());
    }
    let after = gauge.wait_for_cleanup(&before).await;
    gauge::report(&samples, &before, &after);
    eprintln!("{tally}\n{restarts} restarts of the database");
    gauge::assert_flat(&samples);
    assert!(after.tasks <= before.tasks, "{} tasks remain, {} at the start", after.tasks, before.tasks);
    assert!(after.files <= before.files + 1, "{} files are open, {} at the start", after.files, before.files);
    if let Some(server) = server {
        let clients = ask(server.port(), "CLIENT LIST").lines().filter(|line| line.contains("addr=")).count();
        assert!(clients <= 4, "{clients} connections to the database are open");
    }
}

fn database_size(port: u16) -> usize {
    ask(port, "DBSIZE").trim().trim_start_matches(':').parse().unwrap_or(0)
}
