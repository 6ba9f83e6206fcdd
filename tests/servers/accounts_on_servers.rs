//! Tests of accounts and of the random attacker on real servers, which they start; other files run them in memory.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::{accounts, attacker, servers};

use std::pin::Pin;
use std::time::Duration;

use proptest::prelude::ProptestConfig;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use sessile::config::KeyRing;
use sessile::store::Store;
use sessile::testing::conformance::{Fixture, Task, check};
use sessile::{MySqlStore, PostgresStore, RedisStore, SealedStore, SqliteStore};

use self::accounts::{Setup, csrf_rules, ends_rules, flash_rules, owners_rules, protected_rules, realms_rules};
use self::servers::{Directory, Server};
use crate::patience::Patient;

/// Number of random runs of the attacker; each step costs some round trips.
const ATTACKER_RUNS: u32 = 40;

/// Accounts and the attacker, on Redis.
#[test]
fn on_redis() {
    let server = Server::redis();
    check_all(async || RedisStore::patient(&server.url()).await);
}

/// Accounts and the attacker, on PostgreSQL.
#[test]
fn on_postgres() {
    let server = Server::postgres();
    check_all(async || {
        let store = PostgresStore::patient(&server.url()).await;
        store.migrate().await.unwrap();
        store
    });
}

/// Ends and realms, on MariaDB.
#[tokio::test(flavor = "multi_thread")]
async fn ends_and_realms_on_mariadb() {
    let server = Server::mariadb();
    let store = MySqlStore::patient(&server.url()).await;
    store.migrate().await.unwrap();
    ends_rules!(one_after_another store =>);
    realms_rules!(one_after_another store =>);
}

/// Ends and realms, on SQLite.
#[tokio::test(flavor = "multi_thread")]
async fn ends_and_realms_on_sqlite() {
    let directory = Directory::new("realms");
    let url = format!("sqlite:{}/sessions.db", directory.path().display());
    let store = SqliteStore::patient(&url).await;
    store.migrate().await.unwrap();
    ends_rules!(one_after_another store =>);
    realms_rules!(one_after_another store =>);
}

/// Ends and realms, on a Redis Cluster.
#[tokio::test(flavor = "multi_thread")]
async fn ends_and_realms_on_a_redis_cluster() {
    let servers = servers::cluster();
    let urls: Vec<_> = servers.iter().map(Server::url).collect();
    let urls: Vec<_> = urls.iter().map(String::as_str).collect();
    let store = patiently!(RedisStore::connect_cluster(&urls));
    ends_rules!(one_after_another store =>);
    realms_rules!(one_after_another store =>);
}

/// Sealed stores on one server.
struct SealedFixture<S> {
    url: String,
    connect: fn(String) -> Connecting<S>,
    expires_by_itself: bool,
}

type Connecting<S> = Pin<Box<dyn Future<Output = S> + Send>>;

impl<S: Store + Clone> Fixture for SealedFixture<S> {
    type Store = SealedStore<S>;

    async fn open(&self) -> Self::Store {
        SealedStore::new((self.connect)(self.url.clone()).await, &KeyRing::new([7; 32]).unwrap()).unwrap()
    }

    async fn another(&self, _: &Self::Store) -> Self::Store {
        self.open().await
    }

    fn spawn(&self, task: Task) {
        tokio::spawn(task);
    }

    async fn advance(&self, by: Duration) {
        tokio::time::sleep(by).await;
    }

    fn sweeps(&self) -> bool {
        !self.expires_by_itself
    }

    /// Smaller than the default, because sealing is slow without optimization; the test in memory uses the default.
    fn largest_state(&self) -> usize {
        1 << 20
    }
}

/// Sealed records pass the conformance suite and the rules of accounts, on Redis.
#[tokio::test(flavor = "multi_thread")]
async fn sealed_records_on_redis() {
    let server = Server::redis();
    let connect = |url: String| -> Connecting<RedisStore> { Box::pin(async move { RedisStore::patient(&url).await }) };
    check_sealed(SealedFixture { url: server.url(), connect, expires_by_itself: true }).await;
}

/// Sealed records pass the conformance suite and the rules of accounts, on PostgreSQL.
#[tokio::test(flavor = "multi_thread")]
async fn sealed_records_on_postgres() {
    let server = Server::postgres();
    let connect = |url: String| -> Connecting<PostgresStore> {
        Box::pin(async move {
            let store = PostgresStore::patient(&url).await;
            store.migrate().await.unwrap();
            store
        })
    };
    check_sealed(SealedFixture { url: server.url(), connect, expires_by_itself: false }).await;
}

async fn check_sealed<S: Store + Clone>(fixture: SealedFixture<S>) {
    check(&fixture).await.assert();
    let store = fixture.open().await;
    ends_rules!(one_after_another store =>);
    owners_rules!(one_after_another store =>);
    protected_rules!(one_after_another store =>);
    realms_rules!(one_after_another store =>);
}

fn check_all<S: Store + Clone>(open: impl AsyncFnOnce() -> S) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let store = runtime.block_on(open());
    runtime.block_on(async {
        csrf_rules!(one_after_another store =>);
        ends_rules!(one_after_another store =>);
        flash_rules!(one_after_another store =>);
        owners_rules!(one_after_another store =>);
        protected_rules!(one_after_another store =>);
        realms_rules!(one_after_another store =>);
    });
    let config = ProptestConfig { cases: ATTACKER_RUNS, failure_persistence: None, ..ProptestConfig::default() };
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let outcome = TestRunner::new_with_rng(config, random).run(&attacker::ops(1..60), |ops| {
        runtime.block_on(attacker::run(&Setup::with_store(store.clone()), &ops));
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}
