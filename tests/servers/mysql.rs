//! Tests of `MySqlStore` on a real server, which they start.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::{damage, databases, disk, faults, nodes, proxy, servers, sweeps};

use std::time::Duration;

use sessile::MySqlStore;
use sessile::store::{Expected, Outcome, Store, StoreErrorKind};
use sessile::testing::conformance::{Fixture, Task, check};

use self::proxy::{ProxiedStore, Proxy};
use self::servers::{Directory, PATIENCE, Server};
use crate::patience::Patient;

sql_server_tests!(MySqlStore, mariadb, sqlx::mysql::MySqlPoolOptions, "CREATE DATABASE other");

/// The query plans of all statements use an index.
#[tokio::test(flavor = "multi_thread")]
async fn every_statement_uses_an_index() {
    let server = Server::mariadb();
    let store = open(&server).await;
    let fill = "INSERT INTO sessile_sessions (id, version, realm, owner, last_seen, expires_at, state) \
                SELECT unhex(md5(seq)), 1, 'id', concat('user:', seq), 0, 253402300799999 - seq, 'x' FROM seq_1_to_20000";
    sqlx::raw_sql(fill).execute(store.pool()).await.unwrap();
    sqlx::raw_sql("ANALYZE TABLE sessile_sessions").execute(store.pool()).await.unwrap();
    for (name, sql) in store.statements() {
        if name == "insert" {
            // An insert finds an existing record by the primary key; its plan does not show this.
            continue;
        }
        let id = "unhex('00112233445566778899aabbccddeeff')";
        let parameters = match name {
            "get" | "delete" => vec![id],
            "replace" => vec!["1", "'id'", "'a'", "0", "0", "'x'", id, "1"],
            "replace_keeping_times" => vec!["1", "'id'", "'a'", "'x'", id, "1"],
            "expire_owned_by" => vec!["1", "'user:7'", "'id'", id],
            "find_deleted" => vec!["1", "'user:7'"],
            "touch" => vec!["0", "0", id, "1"],
            "owned_by" => vec!["'user:7'"],
            "ids_of" => vec!["'user:7'", "'id'"],
            "list" => vec![id, "10"],
            "summaries" => vec![id; 10],
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
            // MariaDB reports this if the constant id is not in the index.
            let is_known_absent = extra.as_deref().is_some_and(|extra| extra.starts_with("Impossible"));
            let kind = kind.unwrap_or_default();
            assert!(
                is_known_absent || ["const", "eq_ref", "ref", "range"].contains(&&*kind),
                "{name}: {kind} {extra:?}"
            );
        }
    }
}

/// A record above the packet size is an error, and the stored record stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_larger_than_a_packet_is_refused() {
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

/// A read-only server is unavailable to writers and serves readers.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_server_serves_readers_only() {
    let server = Server::mariadb();
    let store = open(&server).await;
    let setting = "CREATE USER reader@'%'; GRANT ALL ON app.* TO reader@'%'; SET GLOBAL read_only = 1";
    sqlx::raw_sql(setting).execute(store.pool()).await.unwrap();
    let reader = MySqlStore::patient(&server.url().replace("app@", "reader@")).await;
    check_read_only(&store, &reader).await;
}

/// A full disk is unavailable, and no acknowledged record is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_unavailable_and_loses_nothing() {
    let settings = ["innodb-log-file-size=32M"];
    let server = Server::mariadb_in(Directory::small("mariadb", 250, 200), &settings);
    // The server does not answer while it waits for space.
    let store = open(&server).await.with_deadline(Duration::from_secs(5));
    disk::a_full_disk_is_unavailable_and_loses_nothing(server, store, |_| ()).await;
}
