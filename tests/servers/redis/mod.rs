//! Tests of `RedisStore` on real servers, which they start.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod cluster;
mod connections;
mod index;
mod listing;
mod permissions;
mod sentinel;

use crate::{damage, databases, disk, faults, nodes, proxy, servers, sweeps};

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sessile::RedisStore;
use sessile::store::{Expected, Outcome, Record, Store, StoreErrorKind};
use sessile::testing::conformance::{Fixture, Task, check};

use self::proxy::{ProxiedStore, Proxy};
use self::servers::{Directory, PATIENCE, Server};
use crate::patience::Patient;

pub(crate) struct Stores(pub(crate) Server);

/// Each store has its own proxy, which counts round trips.
impl Fixture for Stores {
    type Store = ProxiedStore<RedisStore>;

    async fn open(&self) -> Self::Store {
        let proxy = Proxy::to(self.0.port()).await;
        let store = RedisStore::patient(&self.0.url_at(proxy.port())).await;
        ProxiedStore { store, proxy }
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

/// Stores without a proxy, which this function connects.
struct Direct<F>(F);

impl<F, C> Fixture for Direct<F>
where
    F: Fn() -> C + Send + Sync,
    C: Future<Output = RedisStore> + Send,
{
    type Store = RedisStore;

    async fn open(&self) -> RedisStore {
        (self.0)().await
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
    let store = async || RedisStore::patient(&server.url()).await;
    nodes::parallel_writers_on_two_nodes_lose_nothing(store().await, store().await).await;
    nodes::a_sign_out_on_one_node_ends_the_session_on_both(store().await, store().await).await;
}

/// Acknowledged writes survive repeated kills of the server under load.
#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_write_is_lost_while_the_server_is_killed() {
    let server = Server::redis();
    let store = RedisStore::patient(&server.url()).await;
    faults::no_acknowledged_write_is_lost(server, store).await;
}

/// Operations on a server that does not answer fail at the deadline.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_costs_the_deadline() {
    let server = Server::redis();
    let proxy = Proxy::to(server.port()).await;
    let store = RedisStore::patient(&server.url_at(proxy.port())).await;
    let hasty = store.clone().with_deadline(Duration::from_millis(300));
    faults::a_server_that_hangs_costs_the_deadline(store, hasty, &proxy).await;
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

/// Damaged records open no session and stay; a key of another type is corrupt and stays.
#[tokio::test(flavor = "multi_thread")]
async fn damaged_records_open_no_session_and_stay() {
    let server = Server::redis();
    let store = RedisStore::patient(&server.url()).await;
    damage::damaged_records_open_no_session_and_stay(store.clone()).await;
    let record = damage::record(7, None);
    let said = servers::ask(server.port(), &format!("SET {} foreign", key("sessile:", &record)));
    assert!(said.starts_with("+OK"), "{said}");
    assert_eq!(store.get(record.id()).await.unwrap_err().kind(), StoreErrorKind::Corrupt);
    assert_eq!(store.set(&record, Expected::Absent).await.unwrap_err().kind(), StoreErrorKind::Corrupt);
    assert_eq!(store.delete(record.id(), None).await.unwrap_err().kind(), StoreErrorKind::Corrupt);
    let said = servers::ask(server.port(), &format!("GET {}", key("sessile:", &record)));
    assert!(said.contains("foreign"), "{said}");
}

/// The store sends a script again if the server's cache lacks it.
#[tokio::test(flavor = "multi_thread")]
async fn scripts_missing_from_the_cache_are_sent_again() {
    let server = Server::redis();
    let store = RedisStore::patient(&server.url()).await;
    for number in 1..4 {
        let record = damage::record(number, Some("a"));
        assert_eq!(store.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
        let said = servers::ask(server.port(), "SCRIPT FLUSH");
        assert!(said.starts_with("+OK"), "{said}");
        assert!(store.delete(record.id(), None).await.unwrap());
    }
}

/// A server whose memory is full is unavailable to writers; reads and deletes succeed.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_free_memory_is_unavailable() {
    let server = Server::redis_with(&["--maxmemory", "3mb", "--maxmemory-policy", "noeviction"]);
    let store = RedisStore::patient(&server.url()).await;
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

/// Returns the key of a record.
fn key(prefix: &str, record: &Record) -> String {
    format!("{prefix}{}", URL_SAFE_NO_PAD.encode(record.id().as_uuid()))
}

/// Returns the id of a record in an owner's index, as a command sent by `ask` has it.
fn escaped(record: &Record) -> String {
    let bytes = record.id().as_uuid().as_bytes().iter();
    format!("\"{}\"", bytes.map(|byte| format!("\\x{byte:02x}")).collect::<String>())
}

/// Asks the server, or the node of a Cluster, that has the key of a command. The other nodes answer with a redirection.
fn ask_owner(servers: &[Server], command: &str) -> String {
    let answers = servers.iter().map(|server| servers::ask(server.port(), command));
    answers.into_iter().find(|answer| !answer.starts_with('-')).expect("a node has the slot")
}

fn number(answer: &str) -> u64 {
    answer.trim_start_matches(':').trim().parse().unwrap_or_else(|_| panic!("{answer}"))
}

/// A full disk is unavailable; with `appendfsync always` the server ends instead of acknowledging a write.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_unavailable_and_loses_nothing() {
    let server = Server::redis_in(Directory::small("redis", 16, 8), &["--auto-aof-rewrite-percentage", "0"]);
    let store = RedisStore::patient(&server.url()).await;
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
    let store = RedisStore::patient(&server.url()).await;
    disk::a_full_disk_is_unavailable_and_loses_nothing(server, store, |_| ()).await;
}

/// A node whose clock is wrong by hours neither deletes nor ends a live session.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_wrong_clock_ends_no_session() {
    let server = Server::redis();
    let store = async || RedisStore::patient(&server.url()).await;
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
        assert!(started.elapsed() < PATIENCE, "the condition does not become true");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
