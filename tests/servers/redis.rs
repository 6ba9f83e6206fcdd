//! `RedisStore` on real servers, which the tests start themselves: one alone, three as a Cluster, and one under Sentinel.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::{damage, databases, disk, faults, nodes, proxy, servers, sweeps};

use std::time::Duration;

use sessile::RedisStore;
use sessile::store::{Expected, Outcome, Store, StoreErrorKind};
use sessile::testing::conformance::{Fixture, Task, check};

use self::proxy::{Behind, Proxy};
use self::servers::{Directory, Server};

struct Alone(Server);

/// Each store is behind a proxy of its own, which counts round trips.
impl Fixture for Alone {
    type Store = Behind<RedisStore>;

    async fn open(&self) -> Self::Store {
        let proxy = Proxy::before(self.0.port()).await;
        let store = RedisStore::connect(&self.0.url_at(proxy.port())).await.unwrap();
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
    let report = check(&Alone(Server::redis())).await;
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
    assert_eq!(store.delete(record.id(), None).await.unwrap_err().kind(), StoreErrorKind::Corrupt);
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
        assert!(store.delete(record.id(), None).await.unwrap());
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
            assert!(store.delete(record.id(), None).await.unwrap());
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
        if let Err(error) = store.set(&sessile::store::Record::from_parts(parts), Expected::Absent).await {
            full = Some(error);
            break;
        }
    }
    let full = full.expect("the memory fills up");
    assert_eq!(full.kind(), StoreErrorKind::Unavailable, "{full:?}");
    assert_eq!(store.get(first.id()).await.unwrap().as_ref(), Some(&first), "what was there is there");
    assert!(store.delete(first.id(), None).await.is_ok_and(|deleted| deleted), "and can be deleted");
}

/// A master, its replica, and a sentinel that watches them.
struct Watched {
    master: Server,
    replica: Server,
    sentinel: Server,
}

impl Watched {
    async fn start() -> Self {
        let master = Server::redis();
        let replica = Server::redis_with(&["--replicaof", "127.0.0.1", &master.port().to_string()]);
        wait_for(|| servers::ask(replica.port(), "INFO replication").contains("master_link_status:up")).await;
        let sentinel = Server::sentinel(&master);
        let known = || servers::ask(sentinel.port(), "SENTINEL replicas main").contains(&replica.port().to_string());
        wait_for(known).await;
        Self { master, replica, sentinel }
    }

    async fn connect(&self) -> RedisStore {
        RedisStore::connect_sentinel(&[&self.sentinel.url()], "main").await.unwrap()
    }
}

impl Fixture for Watched {
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
async fn under_sentinel_it_keeps_every_rule_of_the_contract() {
    let report = check(&Watched::start().await).await;
    eprintln!("{report}");
    report.assert();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_under_sentinel_lose_nothing_and_end_together() {
    let watched = Watched::start().await;
    nodes::nothing_is_lost_between_two_nodes(watched.connect().await, watched.connect().await).await;
    nodes::a_sign_out_on_one_node_ends_the_session_on_both(watched.connect().await, watched.connect().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sentinel_leads_to_the_master_and_to_the_next_one() {
    let watched = Watched::start().await;
    let store = watched.connect().await;
    let Watched { master, replica, sentinel } = watched;
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
    drop(sentinel);
}

/// A slot is on its way from one node to another, and some of its keys are there already: each operation finds its record.
#[tokio::test(flavor = "multi_thread")]
async fn records_are_found_while_their_slot_moves_to_another_node() {
    let cluster = Cluster(servers::cluster());
    // One slot for all that this store writes.
    let store = cluster.connect().await.with_prefix("{app}:");
    let records: Vec<_> = (1..=6).map(|id| damage::record(id, Some("a"))).collect();
    for record in &records {
        assert_eq!(store.set(record, Expected::Absent).await.unwrap(), Outcome::Written);
    }
    let slot = number(&servers::ask(cluster.0[0].port(), "CLUSTER KEYSLOT {app}:"));
    let holds = |server: &&Server| number(&servers::ask(server.port(), &format!("CLUSTER COUNTKEYSINSLOT {slot}"))) > 0;
    let from = cluster.0.iter().find(holds).expect("one of them has the slot");
    let to = cluster.0.iter().find(|server| server.port() != from.port()).unwrap();
    let told = |server: &Server, command: &str| {
        let said = servers::ask(server.port(), command);
        assert!(said.starts_with("+OK"), "{command}: {said}");
    };
    let name = |server: &Server| servers::ask(server.port(), "CLUSTER MYID").lines().nth(1).unwrap().to_owned();
    told(to, &format!("CLUSTER SETSLOT {slot} IMPORTING {}", name(from)));
    told(from, &format!("CLUSTER SETSLOT {slot} MIGRATING {}", name(to)));
    let key = |record: &sessile::store::Record| format!("{{app}}:session:{}", record.id());
    for record in &records[..4] {
        told(from, &format!("MIGRATE 127.0.0.1 {} {} 0 5000", to.port(), key(record)));
    }
    told(to, "SCRIPT FLUSH");

    for record in &records {
        assert_eq!(store.get(record.id()).await.unwrap().as_ref(), Some(record));
    }
    // One that has moved, one that has not, and one that is new.
    for record in [&records[0], &records[4]] {
        let mut parts = record.clone().into_parts();
        parts.version = sessile::store::Version::new(2);
        let next = sessile::store::Record::from_parts(parts);
        assert_eq!(store.set(&next, Expected::Version(record.version())).await.unwrap(), Outcome::Written);
        assert_eq!(store.set(&next, Expected::Version(record.version())).await.unwrap(), Outcome::Refused);
        assert_eq!(store.get(record.id()).await.unwrap(), Some(next));
    }
    let touch = sessile::store::Touch::new(records[1].last_seen(), records[1].expires_at() + time::Duration::hours(1));
    assert!(store.touch(&records[1], touch).await.unwrap());
    for record in [&records[2], &records[5]] {
        assert!(store.delete(record.id(), None).await.unwrap());
        assert!(!store.delete(record.id(), None).await.unwrap());
    }
    let new = damage::record(7, Some("a"));
    assert_eq!(store.set(&new, Expected::Absent).await.unwrap(), Outcome::Written);

    // The rest follows, and the slot is the other's.
    let rest = [key(&records[4]), "{app}:owner:a".to_owned()];
    for key in rest {
        told(from, &format!("MIGRATE 127.0.0.1 {} {key} 0 5000", to.port()));
    }
    for server in [to, from] {
        told(server, &format!("CLUSTER SETSLOT {slot} NODE {}", name(to)));
    }
    let listed = store.owned_by("a").await.unwrap();
    let listed: Vec<_> = listed.iter().map(|record| *record.id()).collect();
    assert_eq!(listed, [&records[0], &records[1], &records[3], &records[4], &new].map(|record| *record.id()));
}

fn number(answer: &str) -> u64 {
    answer.trim_start_matches(':').trim().parse().unwrap_or_else(|_| panic!("{answer}"))
}

/// With `appendfsync always` a server whose disk is full ends itself rather than acknowledge what it cannot keep.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_unavailable_and_loses_nothing() {
    let server = Server::redis_in(Directory::small("redis", 16, 8), &["--auto-aof-rewrite-percentage", "0"]);
    let store = RedisStore::connect(&server.url()).await.unwrap();
    let revive = |server: &mut Server| {
        server.kill();
        server.start();
    };
    disk::a_full_disk_is_unavailable_and_loses_nothing(server, store, revive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_unavailable_where_the_log_is_written_every_second() {
    let settings = ["--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0"];
    let server = Server::redis_in(Directory::small("redis", 16, 8), &settings);
    let store = RedisStore::connect(&server.url()).await.unwrap();
    disk::a_full_disk_is_unavailable_and_loses_nothing(server, store, |_| ()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_clock_is_hours_off_ends_nobodys_session() {
    let server = Server::redis();
    let store = async || RedisStore::connect(&server.url()).await.unwrap();
    sweeps::a_node_whose_clock_is_hours_off_ends_nobodys_session(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_keep_their_sessions_here() {
    let server = Server::redis();
    databases::the_examples_keep_their_sessions_here(&server.url()).await;
}

async fn wait_for(condition: impl Fn() -> bool) {
    let started = std::time::Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(60), "it does not come about");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
