//! `MySqlStore` on a real server, which the tests start themselves.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "support/faults.rs"]
mod faults;
#[path = "support/nodes.rs"]
mod nodes;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/servers.rs"]
mod servers;

use std::time::Duration;

use sessile::testing::conformance::{Fixture, Task, check};
use sessile::{MySqlStore, Store, StoreErrorKind};

use self::proxy::{Behind, Proxy};
use self::servers::Server;

/// Each store is behind a proxy of its own, which counts round trips.
impl Fixture for Server {
    type Store = Behind<MySqlStore>;

    async fn open(&self) -> Self::Store {
        let proxy = Proxy::before(self.port()).await;
        let store = MySqlStore::connect(&self.url_at(proxy.port())).await.unwrap();
        store.migrate().await.unwrap();
        Behind { store: store.with_deadline(Duration::from_secs(20)), proxy }
    }

    async fn another(&self, _store: &Self::Store) -> Self::Store {
        self.open().await
    }

    fn spawn(&self, task: Task) {
        tokio::spawn(task);
    }

    async fn advance(&self, by: Duration) {
        tokio::time::sleep(by).await;
    }

    fn round_trips(&self, store: &Self::Store) -> Option<u64> {
        Some(store.proxy.round_trips())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_every_rule_of_the_contract() {
    let report = check(&Server::mariadb()).await;
    eprintln!("{report}");
    report.assert();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_lose_nothing_and_end_together() {
    let server = Server::mariadb();
    let store = async || MySqlStore::connect(&server.url()).await.unwrap();
    store().await.migrate().await.unwrap();
    nodes::nothing_is_lost_between_two_nodes(store().await, store().await).await;
    nodes::a_sign_out_on_one_node_ends_the_session_on_both(store().await, store().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_while_the_server_is_killed_again_and_again() {
    let server = Server::mariadb();
    let store = MySqlStore::connect(&server.url()).await.unwrap();
    store.migrate().await.unwrap();
    faults::nothing_acknowledged_is_lost(server, store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_costs_the_deadline() {
    let server = Server::mariadb();
    let proxy = Proxy::before(server.port()).await;
    let store = MySqlStore::connect(&server.url_at(proxy.port())).await.unwrap();
    store.migrate().await.unwrap();
    faults::a_server_that_hangs_costs_the_deadline(store.with_deadline(Duration::from_millis(300)), &proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_without_a_free_connection_costs_the_deadline() {
    let server = Server::mariadb();
    let pool = sqlx::mysql::MySqlPoolOptions::new().max_connections(1).connect(&server.url()).await.unwrap();
    let store = MySqlStore::new(pool.clone()).with_deadline(Duration::from_millis(200));
    store.migrate().await.unwrap();
    let held = pool.acquire().await.unwrap();
    let id = sessile::SessionId::from(uuid::Uuid::from_u128(1));
    assert_eq!(store.get(&id).await.unwrap_err().kind(), StoreErrorKind::Unavailable);
    drop(held);
    assert!(store.get(&id).await.unwrap().is_none());
    // Nothing keeps the pool from closing.
    pool.close().await;
    assert_eq!(store.get(&id).await.unwrap_err().kind(), StoreErrorKind::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_shared_can_be_closed_at_any_time() {
    let server = Server::mariadb();
    let pool = sqlx::mysql::MySqlPoolOptions::new().max_connections(4).connect(&server.url()).await.unwrap();
    let store = MySqlStore::new(pool.clone());
    store.migrate().await.unwrap();
    let id = sessile::SessionId::from(uuid::Uuid::from_u128(1));
    for _ in 0..10 {
        assert!(store.get(&id).await.unwrap().is_none());
    }
    tokio::time::timeout(Duration::from_secs(30), pool.close()).await.expect("the pool closes");
}
