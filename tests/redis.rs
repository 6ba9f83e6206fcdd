//! `RedisStore` on real servers, which the tests start themselves: one alone, three as a Cluster, and one under Sentinel.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "support/damage.rs"]
mod damage;
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
use sessile::{Expected, Outcome, RedisStore, Store, StoreErrorKind};

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

#[tokio::test(flavor = "multi_thread")]
async fn damaged_records_open_nothing_and_are_kept() {
    let server = Server::redis();
    let store = RedisStore::connect(&server.url()).await.unwrap();
    damage::damaged_records_open_nothing_and_are_kept(store.clone()).await;
    // What is no hash at all is no record, and stays.
    let record = damage::record(7, None);
    let said = servers::ask(server.port(), &format!("SET sessile:session:{} foreign", record.id()));
    assert!(said.starts_with("+OK"), "{said}");
    assert_eq!(store.get(record.id()).await.unwrap_err().kind(), StoreErrorKind::Corrupt);
    assert_eq!(store.set(&record, Expected::Absent).await.unwrap_err().kind(), StoreErrorKind::Corrupt);
    assert_eq!(store.delete(record.id()).await.unwrap_err().kind(), StoreErrorKind::Corrupt);
    let said = servers::ask(server.port(), &format!("GET sessile:session:{}", record.id()));
    assert!(said.contains("foreign"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_that_the_server_forgot_are_sent_again() {
    let server = Server::redis();
    let store = RedisStore::connect(&server.url()).await.unwrap();
    for number in 1..4 {
        let record = damage::record(number, Some("a"));
        assert_eq!(store.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
        let said = servers::ask(server.port(), "SCRIPT FLUSH");
        assert!(said.starts_with("+OK"), "{said}");
        assert!(store.delete(record.id()).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_of_an_owner_holds_no_more_than_lives_and_ends_with_it() {
    let server = Server::redis();
    let store = RedisStore::connect(&server.url()).await.unwrap().with_prefix("app:");
    for number in 1..200 {
        let record = damage::record(number, Some("a"));
        assert_eq!(store.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
        if number % 10 != 0 {
            assert!(store.delete(record.id()).await.unwrap());
        }
    }
    assert_eq!(servers::ask(server.port(), "ZCARD app:owner:a"), ":19\r\n");
    let left: i64 = servers::ask(server.port(), "PTTL app:owner:a").trim_start_matches(':').trim().parse().unwrap();
    assert!((3_600_000..=7_200_000).contains(&left), "the index expires after its sessions, and soon after: {left}");
    assert_eq!(store.owned_by("a").await.unwrap().len(), 19);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_may_not_write_is_unavailable() {
    let server = Server::redis_with(&["--maxmemory", "3mb", "--maxmemory-policy", "noeviction"]);
    let store = RedisStore::connect(&server.url()).await.unwrap();
    let first = damage::record(1, None);
    assert_eq!(store.set(&first, Expected::Absent).await.unwrap(), Outcome::Written);
    let mut full = None;
    for number in 2..200 {
        let mut parts = damage::record(number, Some("a")).into_parts();
        parts.state = vec![7; 100_000].into();
        if let Err(error) = store.set(&sessile::Record::from_parts(parts), Expected::Absent).await {
            full = Some(error);
            break;
        }
    }
    let full = full.expect("the memory fills up");
    assert_eq!(full.kind(), StoreErrorKind::Unavailable, "{full:?}");
    assert_eq!(store.get(first.id()).await.unwrap().as_ref(), Some(&first), "what was there is there");
    assert!(store.delete(first.id()).await.is_ok_and(|deleted| deleted), "and can be deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sentinel_leads_to_the_master_and_to_the_next_one() {
    let master = Server::redis();
    let replica = Server::redis_with(&["--replicaof", "127.0.0.1", &master.port().to_string()]);
    wait_for(|| servers::ask(replica.port(), "INFO replication").contains("master_link_status:up")).await;
    let sentinel = Server::sentinel(&master);
    wait_for(|| servers::ask(sentinel.port(), "SENTINEL replicas main").contains(&replica.port().to_string())).await;
    let store = RedisStore::connect_sentinel(&[&sentinel.url()], "main").await.unwrap();
    let before = damage::record(1, Some("a"));
    assert_eq!(store.set(&before, Expected::Absent).await.unwrap(), Outcome::Written);
    wait_for(|| servers::ask(replica.port(), "DBSIZE") == ":2\r\n").await;
    drop(master);
    // As soon as the sentinel has promoted the replica, the store writes there.
    let after = damage::record(2, Some("a"));
    let started = std::time::Instant::now();
    loop {
        match store.set(&after, Expected::Absent).await {
            Ok(outcome) => break assert_eq!(outcome, Outcome::Written),
            Err(error) => assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}"),
        }
        assert!(started.elapsed() < Duration::from_secs(60), "the store does not find the new master");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(store.owned_by("a").await.unwrap(), [before, after]);
}

async fn wait_for(condition: impl Fn() -> bool) {
    let started = std::time::Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(60), "it does not come about");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
