//! Tests of `RedisStore` on real servers, which they start: one server, Sentinel, and a Cluster of three.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::{damage, databases, disk, faults, nodes, proxy, servers, sweeps};

use std::time::Duration;

use sessile::RedisStore;
use sessile::store::{Expected, Outcome, Record, Store, StoreErrorKind, Touch};
use sessile::testing::conformance::{Fixture, Task, check};

use self::proxy::{ProxiedStore, Proxy};
use self::servers::{Directory, Server};

const HOUR: time::Duration = time::Duration::HOUR;
const DAY: time::Duration = time::Duration::DAY;

pub(crate) struct Stores(pub(crate) Server);

/// Each store has its own proxy, which counts round trips.
impl Fixture for Stores {
    type Store = ProxiedStore<RedisStore>;

    async fn open(&self) -> Self::Store {
        let proxy = Proxy::to(self.0.port()).await;
        let store = RedisStore::connect(&self.0.url_at(proxy.port())).await.unwrap();
        ProxiedStore { store: store.with_deadline(Duration::from_secs(20)), proxy }
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

    /// Redis deletes expired records by itself.
    fn sweeps(&self) -> bool {
        false
    }

    fn round_trips(&self, store: &Self::Store) -> Option<u64> {
        Some(store.proxy.round_trips())
    }
}

/// The store passes the conformance suite on one server.
#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_every_rule_of_the_contract() {
    let report = check(&Stores(Server::redis())).await;
    eprintln!("{report}");
    report.assert();
}

/// Parallel writers on two nodes lose no change, and a sign-out on one node ends the session on both.
#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_lose_nothing_and_end_together() {
    let server = Server::redis();
    let store = async || RedisStore::connect(&server.url()).await.unwrap();
    nodes::parallel_writers_on_two_nodes_lose_nothing(store().await, store().await).await;
    nodes::a_sign_out_on_one_node_ends_the_session_on_both(store().await, store().await).await;
}

/// Acknowledged writes survive repeated kills of the server under load.
#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_write_is_lost_while_the_server_is_killed() {
    let server = Server::redis();
    let store = RedisStore::connect(&server.url()).await.unwrap();
    faults::no_acknowledged_write_is_lost(server, store).await;
}

/// Operations on a server that does not answer fail at the deadline.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_costs_the_deadline() {
    let server = Server::redis();
    let proxy = Proxy::to(server.port()).await;
    let store = RedisStore::connect(&server.url_at(proxy.port())).await.unwrap();
    faults::a_server_that_hangs_costs_the_deadline(store.with_deadline(Duration::from_millis(300)), &proxy).await;
}

/// A write whose answer is lost is an error, and is not sent again.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_is_lost_is_not_repeated() {
    let stores = Stores(Server::redis());
    let ProxiedStore { store, proxy } = stores.open().await;
    faults::a_write_whose_answer_is_lost_is_not_repeated(store, stores.open().await, &proxy).await;
}

/// A read whose answer is lost is sent again.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_whose_answer_is_lost_is_repeated() {
    let stores = Stores(Server::redis());
    let ProxiedStore { store, proxy } = stores.open().await;
    faults::a_read_whose_answer_is_lost_is_repeated(store, &proxy).await;
}

/// Three masters. They have no proxies, because the nodes send their own addresses to clients.
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

/// The store passes the conformance suite on a Cluster.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_keeps_every_rule_of_the_contract() {
    let report = check(&Cluster(servers::cluster())).await;
    eprintln!("{report}");
    report.assert();
}

/// On a Cluster, parallel writers lose no change, and a sign-out ends the session on both nodes.
#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_on_a_cluster_lose_nothing_and_end_together() {
    let cluster = Cluster(servers::cluster());
    nodes::parallel_writers_on_two_nodes_lose_nothing(cluster.connect().await, cluster.connect().await).await;
    nodes::a_sign_out_on_one_node_ends_the_session_on_both(cluster.connect().await, cluster.connect().await).await;
}

/// Acknowledged writes survive repeated kills of one Cluster node under load.
#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_write_is_lost_while_a_cluster_node_is_killed() {
    let mut cluster = Cluster(servers::cluster());
    let store = cluster.connect().await;
    let victim = cluster.0.remove(1);
    faults::no_acknowledged_write_is_lost(victim, store).await;
}

/// Damaged records open no session and stay; a key of another type is corrupt and stays.
#[tokio::test(flavor = "multi_thread")]
async fn damaged_records_open_no_session_and_stay() {
    let server = Server::redis();
    let store = RedisStore::connect(&server.url()).await.unwrap();
    damage::damaged_records_open_no_session_and_stay(store.clone()).await;
    let record = damage::record(7, None);
    let said = servers::ask(server.port(), &format!("SET sessile:session:{} foreign", record.id()));
    assert!(said.starts_with("+OK"), "{said}");
    assert_eq!(store.get(record.id()).await.unwrap_err().kind(), StoreErrorKind::Corrupt);
    assert_eq!(store.set(&record, Expected::Absent).await.unwrap_err().kind(), StoreErrorKind::Corrupt);
    assert_eq!(store.delete(record.id(), None).await.unwrap_err().kind(), StoreErrorKind::Corrupt);
    let said = servers::ask(server.port(), &format!("GET sessile:session:{}", record.id()));
    assert!(said.contains("foreign"), "{said}");
}

/// The store sends a script again if the server's cache lacks it.
#[tokio::test(flavor = "multi_thread")]
async fn scripts_missing_from_the_cache_are_sent_again() {
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

/// An owner's index lists the live sessions only, and expires soon after the last of them.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_index_lists_live_sessions_and_expires_with_them() {
    let server = Server::redis();
    let store = RedisStore::connect(&server.url()).await.unwrap().with_prefix("app:");
    for number in 1..200 {
        let record = damage::record(number, Some("a"));
        assert_eq!(store.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
        if number % 10 != 0 {
            assert!(store.delete(record.id(), record.owner()).await.unwrap());
        }
    }
    assert_eq!(servers::ask(server.port(), "ZCARD app:owner:a"), ":19\r\n");
    let left: i64 = servers::ask(server.port(), "PTTL app:owner:a").trim_start_matches(':').trim().parse().unwrap();
    assert!((3_600_000..=7_200_000).contains(&left), "the index expires in {left} ms; its sessions, in 3,600,000");
    assert_eq!(store.owned_by("a").await.unwrap().len(), 19);
}

/// An owner's index and its entries outlive the sessions, whichever write gave a session its longest life.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_index_outlives_its_longest_session() {
    let server = Server::redis();
    let store = RedisStore::connect(&server.url()).await.unwrap();
    an_index_outlives_its_longest_session(&store, std::slice::from_ref(&server)).await;
}

/// On a Cluster, an owner's index and its entries outlive the sessions, too.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_index_on_a_cluster_outlives_its_longest_session() {
    let cluster = Cluster(servers::cluster());
    an_index_outlives_its_longest_session(&cluster.connect().await, &cluster.0).await;
}

async fn an_index_outlives_its_longest_session(store: &RedisStore, servers: &[Server]) {
    let written = async |record: &Record, expected: Expected| {
        assert_eq!(store.set(record, expected).await.unwrap(), Outcome::Written);
    };
    let [created, replaced, touched, shorter] = ["created", "replaced", "touched", "shorter"];
    // A second session with a longer life.
    written(&lasting(1, created, HOUR), Expected::Absent).await;
    written(&lasting(2, created, DAY), Expected::Absent).await;
    // The same session, written and touched with a longer life.
    let short = lasting(3, replaced, HOUR);
    written(&short, Expected::Absent).await;
    written(&lasting(3, replaced, DAY), Expected::Version(short.version())).await;
    let short = lasting(4, touched, HOUR);
    written(&short, Expected::Absent).await;
    assert!(store.touch(&short, Touch::new(short.last_seen(), short.last_seen() + DAY)).await.unwrap());
    // A second session with a shorter life.
    written(&lasting(5, shorter, DAY), Expected::Absent).await;
    written(&lasting(6, shorter, HOUR), Expected::Absent).await;
    for (id, owner) in [(2, created), (3, replaced), (4, touched), (5, shorter)] {
        assert_index_outlives(servers, id, owner);
    }
}

/// On a Cluster, a refused write with a shorter life does not shorten the stored session's index entry.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_write_on_a_cluster_keeps_the_index_entry() {
    let cluster = Cluster(servers::cluster());
    let store = cluster.connect().await;
    let record = lasting(1, "a", DAY);
    assert_eq!(store.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
    // The store writes the index before the server refuses the record.
    assert_eq!(store.set(&lasting(1, "a", HOUR), Expected::Absent).await.unwrap(), Outcome::Refused);
    assert_index_outlives(&cluster.0, 1, "a");
}

/// Returns a record that expires this long after it was last seen.
fn lasting(id: u128, owner: &str, life: time::Duration) -> Record {
    let mut parts = damage::record(id, Some(owner)).into_parts();
    parts.expires_at = parts.last_seen + life;
    Record::from_parts(parts)
}

/// Checks that an owner's index, and its entry of a record that lives for a day, expire later than the record.
#[track_caller]
fn assert_index_outlives(servers: &[Server], id: u128, owner: &str) {
    let id = damage::record(id, None).id().to_string();
    // The other nodes answer with a redirection.
    let ask = |command: &str| {
        let answers = servers.iter().map(|server| servers::ask(server.port(), command));
        answers.into_iter().find(|answer| !answer.starts_with('-')).expect("a node has the slot")
    };
    let record = number(&ask(&format!("PTTL sessile:session:{id}")));
    let index = number(&ask(&format!("PTTL sessile:owner:{owner}")));
    assert!(index > record, "{owner}: the index expires in {index} ms, the session in {record}");
    let score = ask(&format!("ZSCORE sessile:owner:{owner} {id}"));
    let score: i128 = score.lines().nth(1).unwrap().parse().unwrap();
    let expires_at = time::OffsetDateTime::now_utc() + time::Duration::milliseconds(record.try_into().unwrap());
    let expires_at = expires_at.unix_timestamp_nanos() / 1_000_000;
    assert!(score > expires_at, "{owner}: the entry expires at {score}, the session at {expires_at}");
}

/// A stale index entry, left by a delete without the owner or by a change of owner, is skipped and expires.
#[tokio::test(flavor = "multi_thread")]
async fn a_stale_index_entry_is_skipped() {
    let server = Server::redis();
    let store = RedisStore::connect(&server.url()).await.unwrap();
    let [deleted, moved] = [1, 2].map(|id| damage::record(id, Some("a")));
    for record in [&deleted, &moved] {
        assert_eq!(store.set(record, Expected::Absent).await.unwrap(), Outcome::Written);
    }
    assert!(store.delete(deleted.id(), None).await.unwrap());
    let mut parts = moved.clone().into_parts();
    (parts.owner, parts.version) = (Some("b".into()), sessile::store::Version::new(2));
    let next = Record::from_parts(parts);
    assert_eq!(store.set(&next, Expected::Version(moved.version())).await.unwrap(), Outcome::Written);
    assert_eq!(servers::ask(server.port(), "ZCARD sessile:owner:a"), ":2\r\n");
    assert!(store.owned_by("a").await.unwrap().is_empty());
    assert_eq!(store.owned_by("b").await.unwrap(), [next]);
    let left: i64 = servers::ask(server.port(), "PTTL sessile:owner:a").trim_start_matches(':').trim().parse().unwrap();
    assert!((1..=7_200_000).contains(&left), "the index expires in {left} ms");
}

/// In a Cluster, a delete with the owner removes the entry from the owner's index.
#[tokio::test(flavor = "multi_thread")]
async fn a_delete_on_a_cluster_removes_the_index_entry() {
    let cluster = Cluster(servers::cluster());
    let store = cluster.connect().await;
    let record = damage::record(1, Some("a"));
    assert_eq!(store.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
    let listed = || {
        let answers = cluster.0.iter().map(|server| servers::ask(server.port(), "ZCARD sessile:owner:a"));
        // The other nodes answer with a redirection.
        answers.filter(|answer| answer.starts_with(':')).collect::<String>()
    };
    assert_eq!(listed(), ":1\r\n");
    assert!(store.delete(record.id(), record.owner()).await.unwrap());
    assert_eq!(listed(), ":0\r\n");
}

/// A server whose memory is full is unavailable to writers; reads and deletes succeed.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_free_memory_is_unavailable() {
    let server = Server::redis_with(&["--maxmemory", "3mb", "--maxmemory-policy", "noeviction"]);
    let store = RedisStore::connect(&server.url()).await.unwrap();
    let first = damage::record(1, None);
    assert_eq!(store.set(&first, Expected::Absent).await.unwrap(), Outcome::Written);
    let mut full = None;
    for number in 2..200 {
        let mut parts = damage::record(number, Some("a")).into_parts();
        parts.state = vec![7; 100_000].into();
        if let Err(error) = store.set(&Record::from_parts(parts), Expected::Absent).await {
            full = Some(error);
            break;
        }
    }
    let full = full.expect("the memory fills up");
    assert_eq!(full.kind(), StoreErrorKind::Unavailable, "{full:?}");
    assert_eq!(store.get(first.id()).await.unwrap().as_ref(), Some(&first), "a stored record is lost");
    assert!(store.delete(first.id(), None).await.is_ok_and(|deleted| deleted), "a stored record cannot be deleted");
}

/// A master, its replica, and a sentinel that monitors them.
struct SentinelGroup {
    master: Server,
    replica: Server,
    sentinel: Server,
}

impl SentinelGroup {
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

impl Fixture for SentinelGroup {
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

/// The store passes the conformance suite under Sentinel.
#[tokio::test(flavor = "multi_thread")]
async fn under_sentinel_it_keeps_every_rule_of_the_contract() {
    let report = check(&SentinelGroup::start().await).await;
    eprintln!("{report}");
    report.assert();
}

/// Under Sentinel, parallel writers lose no change, and a sign-out ends the session on both nodes.
#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_under_sentinel_lose_nothing_and_end_together() {
    let group = SentinelGroup::start().await;
    nodes::parallel_writers_on_two_nodes_lose_nothing(group.connect().await, group.connect().await).await;
    nodes::a_sign_out_on_one_node_ends_the_session_on_both(group.connect().await, group.connect().await).await;
}

/// The store finds the master through a sentinel, and the new master after a failover.
#[tokio::test(flavor = "multi_thread")]
async fn a_sentinel_leads_to_the_current_master() {
    let group = SentinelGroup::start().await;
    let store = group.connect().await;
    let SentinelGroup { master, replica, sentinel } = group;
    let before = damage::record(1, Some("a"));
    assert_eq!(store.set(&before, Expected::Absent).await.unwrap(), Outcome::Written);
    wait_for(|| servers::ask(replica.port(), "DBSIZE") == ":2\r\n").await;
    drop(master);
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

/// Each operation finds its record while a slot is half migrated from one node to another.
#[tokio::test(flavor = "multi_thread")]
async fn records_are_found_while_their_slot_moves_to_another_node() {
    let cluster = Cluster(servers::cluster());
    // The hash tag puts all keys of this store into one slot.
    let store = cluster.connect().await.with_prefix("{app}:");
    let records: Vec<_> = (1..=6).map(|id| damage::record(id, Some("a"))).collect();
    for record in &records {
        assert_eq!(store.set(record, Expected::Absent).await.unwrap(), Outcome::Written);
    }
    let slot = number(&servers::ask(cluster.0[0].port(), "CLUSTER KEYSLOT {app}:"));
    let holds = |server: &&Server| number(&servers::ask(server.port(), &format!("CLUSTER COUNTKEYSINSLOT {slot}"))) > 0;
    let from = cluster.0.iter().find(holds).expect("a node has the slot");
    let to = cluster.0.iter().find(|server| server.port() != from.port()).unwrap();
    let send = |server: &Server, command: &str| {
        let said = servers::ask(server.port(), command);
        assert!(said.starts_with("+OK"), "{command}: {said}");
    };
    let name = |server: &Server| servers::ask(server.port(), "CLUSTER MYID").lines().nth(1).unwrap().to_owned();
    send(to, &format!("CLUSTER SETSLOT {slot} IMPORTING {}", name(from)));
    send(from, &format!("CLUSTER SETSLOT {slot} MIGRATING {}", name(to)));
    let key = |record: &Record| format!("{{app}}:session:{}", record.id());
    for record in &records[..4] {
        send(from, &format!("MIGRATE 127.0.0.1 {} {} 0 5000", to.port(), key(record)));
    }
    send(to, "SCRIPT FLUSH");

    for record in &records {
        assert_eq!(store.get(record.id()).await.unwrap().as_ref(), Some(record));
    }
    // A record that has moved, one that has not, and a new one.
    for record in [&records[0], &records[4]] {
        let mut parts = record.clone().into_parts();
        parts.version = sessile::store::Version::new(2);
        let next = Record::from_parts(parts);
        assert_eq!(store.set(&next, Expected::Version(record.version())).await.unwrap(), Outcome::Written);
        assert_eq!(store.set(&next, Expected::Version(record.version())).await.unwrap(), Outcome::Refused);
        assert_eq!(store.get(record.id()).await.unwrap(), Some(next));
    }
    let touch = Touch::new(records[1].last_seen(), records[1].expires_at() + time::Duration::hours(1));
    assert!(store.touch(&records[1], touch).await.unwrap());
    for record in [&records[2], &records[5]] {
        assert!(store.delete(record.id(), None).await.unwrap());
        assert!(!store.delete(record.id(), None).await.unwrap());
    }
    let new = damage::record(7, Some("a"));
    assert_eq!(store.set(&new, Expected::Absent).await.unwrap(), Outcome::Written);

    // The migration ends.
    let rest = [key(&records[4]), "{app}:owner:a".to_owned()];
    for key in rest {
        send(from, &format!("MIGRATE 127.0.0.1 {} {key} 0 5000", to.port()));
    }
    for server in [to, from] {
        send(server, &format!("CLUSTER SETSLOT {slot} NODE {}", name(to)));
    }
    let listed = store.owned_by("a").await.unwrap();
    let listed: Vec<_> = listed.iter().map(|record| *record.id()).collect();
    assert_eq!(listed, [&records[0], &records[1], &records[3], &records[4], &new].map(|record| *record.id()));
}

fn number(answer: &str) -> u64 {
    answer.trim_start_matches(':').trim().parse().unwrap_or_else(|_| panic!("{answer}"))
}

/// A full disk is unavailable; with `appendfsync always` the server ends instead of acknowledging a write.
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

/// A full disk is unavailable if the server writes its log every second.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_unavailable_with_a_log_write_every_second() {
    let settings = ["--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0"];
    let server = Server::redis_in(Directory::small("redis", 16, 8), &settings);
    let store = RedisStore::connect(&server.url()).await.unwrap();
    disk::a_full_disk_is_unavailable_and_loses_nothing(server, store, |_| ()).await;
}

/// A node whose clock is wrong by hours neither deletes nor ends a live session.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_wrong_clock_ends_no_session() {
    let server = Server::redis();
    let store = async || RedisStore::connect(&server.url()).await.unwrap();
    sweeps::a_node_with_a_wrong_clock_ends_no_session(store).await;
}

/// The example programs continue a session after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn the_examples_keep_their_sessions_here() {
    let server = Server::redis();
    databases::the_examples_keep_their_sessions_here(&server.url()).await;
}

async fn wait_for(condition: impl Fn() -> bool) {
    let started = std::time::Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(60), "the condition does not become true");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
