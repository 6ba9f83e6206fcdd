//! `MySqlStore` on a real server, which the tests start themselves.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::{damage, databases, disk, faults, nodes, proxy, servers, sweeps};

use std::time::Duration;

use sessile::MySqlStore;
use sessile::store::{Expected, Outcome, Store, StoreErrorKind};
use sessile::testing::conformance::{Fixture, Task, check};

use self::proxy::{Behind, Proxy};
use self::servers::{Directory, Server};

tests_of_a_store_on_a_server!(
    MySqlStore,
    mariadb,
    sqlx::mysql::MySqlPoolOptions,
    "CREATE TABLE `Old` (id binary(16) PRIMARY KEY, version bigint NOT NULL, owner blob, expires_at bigint NOT NULL, \
     state longblob NOT NULL)",
    "INSERT INTO `Old` VALUES (repeat('a', 16), 1, 'a', 253402300799999, 'x')",
    "CREATE DATABASE other"
);

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_uses_an_index() {
    let server = Server::mariadb();
    let store = open(&server).await;
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
    let store = open(&server).await;
    let small = damage::record(1, Some("a"));
    assert_eq!(store.set(&small, Expected::Absent).await.unwrap(), Outcome::Written);
    let mut parts = small.clone().into_parts();
    parts.version = sessile::store::Version::new(2);
    parts.state = vec![7; 2 << 20].into();
    let large = sessile::store::Record::from_parts(parts);
    let refused = store.set(&large, Expected::Version(small.version())).await.unwrap_err();
    assert!([StoreErrorKind::Unavailable, StoreErrorKind::Unsupported].contains(&refused.kind()), "{refused:?}");
    assert_eq!(store.get(small.id()).await.unwrap().as_ref(), Some(&small));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_server_is_unavailable_to_writers_and_serves_readers() {
    let server = Server::mariadb();
    let store = open(&server).await;
    let setting = "CREATE USER reader@'%'; GRANT ALL ON app.* TO reader@'%'; SET GLOBAL read_only = 1";
    sqlx::raw_sql(setting).execute(store.pool()).await.unwrap();
    let reader = MySqlStore::connect(&server.url().replace("app@", "reader@")).await.unwrap();
    a_store_that_may_not_write_serves_readers(&store, &reader).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_unavailable_and_loses_nothing() {
    let settings = ["innodb-log-file-size=32M"];
    let server = Server::mariadb_in(Directory::small("mariadb", 250, 200), &settings);
    let store = open(&server).await;
    disk::a_full_disk_is_unavailable_and_loses_nothing(server, store, |_| ()).await;
}
