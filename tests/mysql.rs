//! `MySqlStore` on a real server, which the tests start themselves.

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

#[tokio::test(flavor = "multi_thread")]
async fn damaged_records_open_nothing_and_are_kept() {
    let server = Server::mariadb();
    let store = MySqlStore::connect(&server.url()).await.unwrap();
    store.migrate().await.unwrap();
    damage::damaged_records_open_nothing_and_are_kept(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_start_at_once_make_one_table_and_an_old_one_is_upgraded() {
    let server = Server::mariadb();
    let store = MySqlStore::connect(&server.url()).await.unwrap().with_table("Old").unwrap();
    let pool = store.pool().clone();
    // As it would have been before last seen was kept.
    let old = "CREATE TABLE `Old` (id binary(16) PRIMARY KEY, version bigint NOT NULL, owner blob, \
               expires_at bigint NOT NULL, state longblob NOT NULL)";
    sqlx::raw_sql(old).execute(&pool).await.unwrap();
    sqlx::raw_sql("INSERT INTO `Old` VALUES (repeat('a', 16), 1, 'a', 253402300799999, 'x')")
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(store.owned_by("a").await.unwrap_err().kind(), StoreErrorKind::Other, "before the upgrade");
    for table in ["Old", "sessions_new"] {
        let mut nodes = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let store = store.clone().with_table(table).unwrap();
            nodes.spawn(async move { store.migrate().await.unwrap() });
        }
        nodes.join_all().await;
    }
    assert_eq!(store.owned_by("a").await.unwrap().len(), 1);
    let record = damage::record(1, Some("a"));
    assert_eq!(store.set(&record, sessile::Expected::Absent).await.unwrap(), sessile::Outcome::Written);
    // A table of something else is left alone.
    sqlx::raw_sql("CREATE TABLE foreign_table (id text, data text)").execute(&pool).await.unwrap();
    let foreign = store.clone().with_table("foreign_table").unwrap();
    assert_eq!(foreign.migrate().await.unwrap_err().kind(), StoreErrorKind::Unsupported);
    // And there may be two in databases of their own.
    sqlx::raw_sql("CREATE DATABASE other").execute(&pool).await.unwrap();
    let other = store.clone().with_schema("other").unwrap();
    other.migrate().await.unwrap();
    assert!(other.get(record.id()).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_uses_an_index() {
    let server = Server::mariadb();
    let store = MySqlStore::connect(&server.url()).await.unwrap();
    store.migrate().await.unwrap();
    let fill = "INSERT INTO sessile_sessions (id, version, owner, last_seen, expires_at, state) \
                SELECT unhex(md5(seq)), 1, concat('user:', seq), 0, 253402300799999 - seq, 'x' FROM seq_1_to_20000";
    sqlx::raw_sql(fill).execute(store.pool()).await.unwrap();
    sqlx::raw_sql("ANALYZE TABLE sessile_sessions").execute(store.pool()).await.unwrap();
    for (name, sql) in store.statements() {
        if name == "add" {
            // An insert finds what is there by the primary key, and has no plan to show for it.
            continue;
        }
        let id = "unhex('00112233445566778899aabbccddeeff')";
        let parameters = match name {
            "get" | "delete" => vec![id],
            "replace" => vec!["1", "'a'", "0", "0", "'x'", id, "1"],
            "touch" => vec!["0", "0", id, "1"],
            "owned_by" => vec!["'user:7'"],
            _ => vec![],
        };
        let mut sql = sql;
        for parameter in parameters {
            sql = sql.replacen('?', parameter, 1);
        }
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN {sql}"));
        let rows = sqlx::raw_sql(explain).fetch_all(store.pool()).await.unwrap();
        for row in rows {
            let (kind, extra): (Option<String>, Option<String>) =
                (sqlx::Row::get(&row, "type"), sqlx::Row::get(&row, "Extra"));
            // MariaDB says so where the constant id is in no row of the index.
            let is_known_absent = extra.as_deref().is_some_and(|extra| extra.starts_with("Impossible"));
            let kind = kind.unwrap_or_default();
            assert!(
                is_known_absent || ["const", "eq_ref", "ref", "range"].contains(&&*kind),
                "{name}: {kind} {extra:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_larger_than_a_packet_is_refused_and_harms_nobody() {
    let server = Server::mariadb_with(&["max-allowed-packet=1M"]);
    let store = MySqlStore::connect(&server.url()).await.unwrap();
    store.migrate().await.unwrap();
    let small = damage::record(1, Some("a"));
    assert_eq!(store.set(&small, sessile::Expected::Absent).await.unwrap(), sessile::Outcome::Written);
    let mut parts = small.clone().into_parts();
    parts.version = sessile::Version::new(2);
    parts.state = vec![7; 2 << 20].into();
    let large = sessile::Record::from_parts(parts);
    let refused = store.set(&large, sessile::Expected::Version(small.version())).await.unwrap_err();
    assert!([StoreErrorKind::Unavailable, StoreErrorKind::Unsupported].contains(&refused.kind()), "{refused:?}");
    assert_eq!(store.get(small.id()).await.unwrap().as_ref(), Some(&small));
}
