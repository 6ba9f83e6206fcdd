//! What accounts need of sessions, on real servers, which the tests start themselves: the same functions that run in
//! memory elsewhere, and the attacker too.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod accounts;
#[path = "accounts/attacker.rs"]
mod attacker;
#[path = "support/servers.rs"]
mod servers;
mod support;

use proptest::prelude::ProptestConfig;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use sessile::{PostgresStore, RedisStore, Store};

use self::accounts::{Over, csrf_rules, flash_rules, owners_rules};
use self::servers::Server;

/// How many runs of the attacker: each step of them is some round trips.
const RUNS: u32 = 40;

#[test]
fn on_redis() {
    let server = Server::redis();
    all(async || RedisStore::connect(&server.url()).await.unwrap());
}

#[test]
fn on_postgres() {
    let server = Server::postgres();
    all(async || {
        let store = PostgresStore::connect(&server.url()).await.unwrap();
        store.migrate().await.unwrap();
        store
    });
}

fn all<S: Store + Clone>(open: impl AsyncFnOnce() -> S) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let store = runtime.block_on(open());
    runtime.block_on(async {
        csrf_rules!(one_after_another store =>);
        flash_rules!(one_after_another store =>);
        owners_rules!(one_after_another store =>);
    });
    let config = ProptestConfig { cases: RUNS, failure_persistence: None, ..ProptestConfig::default() };
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let outcome = TestRunner::new_with_rng(config, random).run(&attacker::ops(1..60), |ops| {
        runtime.block_on(attacker::run(&Over::store(store.clone()), &ops));
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}
