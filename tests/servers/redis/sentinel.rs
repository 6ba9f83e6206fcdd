//! Tests of `RedisStore` on a master that a sentinel knows, which they start.

use std::time::{Duration, Instant};

use sessile::RedisStore;
use sessile::store::{Expected, Outcome, Store, StoreErrorKind};
use sessile::testing::conformance::check;

use super::connections::{close_connections, pass_late};
use super::{Direct, wait_for};
use crate::patience::Patient;
use crate::proxy::Proxy;
use crate::servers::{self, PATIENCE, Server};
use crate::{damage, nodes};

/// A master, its replica, and a sentinel that monitors them.
pub(super) struct SentinelGroup {
    pub(super) master: Server,
    replica: Server,
    pub(super) sentinel: Server,
}

impl SentinelGroup {
    pub(super) async fn start() -> Self {
        Self::start_with(&[], "").await
    }

    /// Starts the servers with more settings, and the sentinel with more lines of configuration.
    async fn start_with(settings: &[&str], lines: &str) -> Self {
        let master = Server::redis_with(settings);
        let port = master.port().to_string();
        let replica = Server::redis_with(&[&["--replicaof", "127.0.0.1", &port], settings].concat());
        let sentinel = Server::sentinel_with(&master, lines);
        let known = || servers::ask(sentinel.port(), "SENTINEL replicas main").contains(&replica.port().to_string());
        wait_for(known).await;
        Self { master, replica, sentinel }
    }

    /// Connects to a master by its name or URL.
    pub(super) async fn connect(&self, master: &str) -> RedisStore {
        connect(&self.sentinel.url(), master).await
    }
}

/// Connects to a master through this sentinel.
async fn connect(sentinel: &str, master: &str) -> RedisStore {
    patiently!(RedisStore::connect_sentinel(&[sentinel], master))
}

/// The store passes the conformance suite under Sentinel.
#[tokio::test(flavor = "multi_thread")]
async fn under_sentinel_it_keeps_every_rule_of_the_contract() {
    let group = SentinelGroup::start().await;
    let report = check(&Direct(|| group.connect("main"))).await;
    eprintln!("{report}");
    report.assert();
}

/// Under Sentinel, parallel writers lose no change, and a sign-out ends the session on both nodes.
#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_under_sentinel_lose_nothing_and_end_together() {
    let group = SentinelGroup::start().await;
    nodes::parallel_writers_on_two_nodes_lose_nothing(group.connect("main").await, group.connect("main").await).await;
    nodes::a_sign_out_on_one_node_ends_the_session_on_both(group.connect("main").await, group.connect("main").await)
        .await;
}

/// The store finds the master through a sentinel, and the new master after a failover.
#[tokio::test(flavor = "multi_thread")]
async fn a_sentinel_leads_to_the_current_master() {
    let group = SentinelGroup::start().await;
    let store = group.connect("main").await;
    let SentinelGroup { master, replica, sentinel } = group;
    let before = damage::record(1, Some("a"));
    assert_eq!(store.set(&before, Expected::Absent).await.unwrap(), Outcome::Written);
    wait_for(|| servers::ask(replica.port(), "DBSIZE") == ":2\r\n").await;
    let said = servers::ask(sentinel.port(), "SENTINEL SET main down-after-milliseconds 1000");
    assert!(said.starts_with("+OK"), "{said}");
    drop(master);
    let after = damage::record(2, Some("a"));
    let started = Instant::now();
    loop {
        match store.set(&after, Expected::Absent).await {
            Ok(outcome) => break assert_eq!(outcome, Outcome::Written),
            Err(error) => assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}"),
        }
        assert!(started.elapsed() < PATIENCE, "the store does not find the new master");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(store.owned_by("a").await.unwrap(), [before, after]);
    drop(sentinel);
}

/// An operation that connects waits for a sentinel that answers late, up to its own deadline.
#[tokio::test(flavor = "multi_thread")]
async fn a_sentinel_that_answers_late_costs_no_request() {
    let group = SentinelGroup::start().await;
    let proxy = Proxy::to(group.sentinel.port()).await;
    let store = connect(&group.sentinel.url_at(proxy.port()), "main").await;
    let record = damage::record(1, None);
    assert_eq!(store.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
    close_connections(&group.master);
    proxy.hang();
    let (got, ()) = tokio::join!(store.get(record.id()), pass_late(&proxy));
    assert_eq!(got.unwrap(), Some(record));
}

/// The URL of the master has its own user, password and database number; those of the sentinels, theirs.
#[tokio::test(flavor = "multi_thread")]
async fn a_master_behind_sentinels_can_have_a_password_and_a_database() {
    let users = "sentinel auth-pass main secret\nuser watch on >eye ~* &* +@all\n";
    let group = SentinelGroup::start_with(&["--requirepass", "secret", "--masterauth", "secret"], users).await;
    let sentinel = format!("redis://watch:eye@127.0.0.1:{}/", group.sentinel.port());
    let master = format!("redis://127.0.0.1:{}/", group.master.port()).replace("//", "//:secret@");
    let record = damage::record(1, Some("a"));
    let store = connect(&sentinel, "redis://:secret@main/3").await;
    assert_eq!(store.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
    let in_database = async |number: u32| {
        let direct = RedisStore::patient(&format!("{master}{number}")).await;
        direct.get(record.id()).await.unwrap()
    };
    assert_eq!(in_database(3).await.as_ref(), Some(&record));
    assert_eq!(in_database(0).await, None);
    // By default the master needs no password.
    for wrong in ["main", "redis://:wrong@main/3"] {
        let error = RedisStore::connect_sentinel(&[&sentinel], wrong).await.unwrap_err();
        assert!(!format!("{error:?}").contains("eye"), "{error:?}");
    }
}
