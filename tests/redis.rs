//! `RedisStore` on real servers, which the tests start themselves: one alone, three as a Cluster, and one under Sentinel.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

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
