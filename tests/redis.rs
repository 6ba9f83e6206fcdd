//! `RedisStore` on real servers, which the tests start themselves: one alone, three as a Cluster, and one under Sentinel.

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

use sessile::RedisStore;
use sessile::testing::conformance::{Fixture, Task, check};

use self::proxy::{Behind, Proxy};
use self::servers::Server;

/// Each store is behind a proxy of its own, which counts round trips.
impl Fixture for Server {
    type Store = Behind<RedisStore>;

    async fn open(&self) -> Self::Store {
        let proxy = Proxy::before(self.port()).await;
        let store = RedisStore::connect(&self.url_at(proxy.port())).await.unwrap();
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

    /// Records expire by themselves.
    fn sweeps(&self) -> bool {
        false
    }

    fn round_trips(&self, store: &Self::Store) -> Option<u64> {
        Some(store.proxy.round_trips())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_every_rule_of_the_contract() {
    let report = check(&Server::redis()).await;
    eprintln!("{report}");
    report.assert();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_lose_nothing_and_end_together() {
    let server = Server::redis();
    let store = async || RedisStore::connect(&server.url()).await.unwrap();
    nodes::nothing_is_lost_between_two_nodes(store().await, store().await).await;
    nodes::a_sign_out_on_one_node_ends_the_session_on_both(store().await, store().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_while_the_server_is_killed_again_and_again() {
    let server = Server::redis();
    let store = RedisStore::connect(&server.url()).await.unwrap();
    faults::nothing_acknowledged_is_lost(server, store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_costs_the_deadline() {
    let server = Server::redis();
    let proxy = Proxy::before(server.port()).await;
    let store = RedisStore::connect(&server.url_at(proxy.port())).await.unwrap();
    faults::a_server_that_hangs_costs_the_deadline(store.with_deadline(Duration::from_millis(300)), &proxy).await;
}

/// Three masters, each behind no proxy: the nodes tell each other's addresses.
struct Cluster(Vec<Server>);

impl Cluster {
    async fn connect(&self) -> RedisStore {
        let urls: Vec<_> = self.0.iter().map(Server::url).collect();
        let urls: Vec<_> = urls.iter().map(String::as_str).collect();
        RedisStore::connect_cluster(&urls).await.unwrap()
    }
}

impl Fixture for Cluster {
    type Store = RedisStore;

    async fn open(&self) -> RedisStore {
        self.connect().await.with_deadline(Duration::from_secs(20))
    }

    async fn another(&self, _store: &RedisStore) -> RedisStore {
        self.open().await
    }

    fn spawn(&self, task: Task) {
        tokio::spawn(task);
    }

    async fn advance(&self, by: Duration) {
        tokio::time::sleep(by).await;
    }

    fn sweeps(&self) -> bool {
        false
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_keeps_every_rule_of_the_contract() {
    let report = check(&Cluster(servers::cluster())).await;
    eprintln!("{report}");
    report.assert();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_on_a_cluster_lose_nothing_and_end_together() {
    let cluster = Cluster(servers::cluster());
    nodes::nothing_is_lost_between_two_nodes(cluster.connect().await, cluster.connect().await).await;
    nodes::a_sign_out_on_one_node_ends_the_session_on_both(cluster.connect().await, cluster.connect().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_while_a_node_of_a_cluster_is_killed_again_and_again() {
    let mut cluster = Cluster(servers::cluster());
    let store = cluster.connect().await;
    let victim = cluster.0.remove(1);
    faults::nothing_acknowledged_is_lost(victim, store).await;
}
