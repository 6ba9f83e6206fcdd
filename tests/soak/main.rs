//! Hours of an application in minutes: many browsers over real sockets, requests of each at once, rotations, sign-ins and
//! sign-outs, clients that hang up half-way, and a database that is killed and started again. Nothing that was acknowledged is
//! lost, no session that was ended comes back, and memory, tasks and connections stay what they are.
//!
//! `SESSILE_SOAK_SECONDS=1200 cargo test --release --all-features --test soak -- --nocapture` is the long run, one half of it
//! in memory and the other on Redis; without the setting it is a few seconds. `SESSILE_SEED` changes what the browsers do.

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

use sessile::{MemoryStore, RedisStore};

use sessile::store::Store;

use self::application::Application;
use self::browser::{Browser, Tally};
use self::gauge::{Gauge, Sample};
use self::servers::{Server, ask};

const BROWSERS: u64 = 12;

/// How often the database is killed.
const CALM: Duration = Duration::from_secs(6);

/// How long each store is soaked: half of the whole.
fn half() -> Duration {
    let seconds: u32 = std::env::var("SESSILE_SOAK_SECONDS").map_or(16, |seconds| seconds.parse().unwrap());
    Duration::from_secs(seconds.into()) / 2
}

fn seed() -> u64 {
    std::env::var("SESSILE_SEED").map_or(1, |seed| seed.parse().unwrap())
}

/// One store after the other, since memory is the process's.
// guarantee: 1, 2, 10
#[test]
fn after_a_long_time_nothing_is_lost_revived_or_leaked() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    eprintln!("== in memory");
    let store = MemoryStore::new();
    let held = store.clone();
    runtime().block_on(soak(store, None, move || held.len()));
    eprintln!("== on a Redis server that is killed every {CALM:?}");
    let server = Server::redis();
    let port = server.port();
    runtime().block_on(async {
        let store = RedisStore::connect(&server.url()).await.unwrap().with_deadline(Duration::from_secs(2));
        soak(store, Some(server), move || size_of_database(port)).await;
    });
}

async fn soak(store: impl Store, mut server: Option<Server>, held: impl Fn() -> usize + Send + 'static) {
    let application = Application::start(store).await;
    let stop = Arc::new(AtomicBool::new(false));
    let gauge = Gauge::new(held);
    // What a first request leaves open is part of the house.
    Browser::new(application.address, 0).begin().await;
    let before = gauge.sample();
    let browsers: Vec<_> = (0..BROWSERS)
        .map(|number| {
            let browser = Browser::new(application.address, seed() << 32 | number);
            tokio::spawn(browser.run(Arc::clone(&stop)))
        })
        .collect();

    let started = Instant::now();
    let end = half();
    let mut samples: Vec<Sample> = Vec::new();
    let mut restarts = 0;
    while started.elapsed() < end {
        tokio::time::sleep(CALM.min(end / 8)).await;
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
        assert!(browsers.iter().all(|browser| !browser.is_finished()), "a browser has found a fault");
    }
    stop.store(true, Ordering::SeqCst);
    let mut tally = Tally::default();
    for browser in browsers {
        tally.add(browser.await.unwrap());
    }
    let after = gauge.settle(&before).await;
    gauge::report(&samples, &before, &after);
    eprintln!("{tally}\n{restarts} restarts of the database");
    assert!(tally.acknowledged > 0 && tally.ended > 0 && tally.rotated > 0 && tally.hung_up > 0, "{tally}");
    gauge::assert_flat(&samples);
    assert!(after.tasks <= before.tasks, "{} tasks are left, and there were {}", after.tasks, before.tasks);
    assert!(after.files <= before.files + 1, "{} files are open, and there were {}", after.files, before.files);
    if let Some(server) = server {
        let clients = ask(server.port(), "CLIENT LIST").lines().filter(|line| line.contains("addr=")).count();
        assert!(clients <= 4, "{clients} connections to the database");
    }
}

fn size_of_database(port: u16) -> usize {
    ask(port, "DBSIZE").trim().trim_start_matches(':').parse().unwrap_or(0)
}
