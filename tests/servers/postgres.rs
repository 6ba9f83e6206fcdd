//! Tests of `PostgresStore` on a real server, which they start.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::{damage, databases, disk, faults, nodes, proxy, servers, sweeps};

use std::time::Duration;

use sessile::PostgresStore;
use sessile::store::{Expected, Outcome, Store, StoreErrorKind};
use sessile::testing::conformance::{Fixture, Task, check};

use self::proxy::{ProxiedStore, Proxy};
use self::servers::{Directory, PATIENCE, Server};
use crate::patience::Patient;

sql_server_tests!(PostgresStore, postgres, sqlx::postgres::PgPoolOptions, "CREATE SCHEMA other");

/// The query plans of all statements use an index.
#[tokio::test(flavor = "multi_thread")]
async fn every_statement_uses_an_index() {
    let server = Server::postgres();
    let store = open(&server).await;
    let fill = "INSERT INTO sessile_sessions SELECT gen_random_uuid(), 1, 'id', convert_to('user:' || n, 'UTF8'), 0, \
                253402300799999 - n, 'x' FROM generate_series(1, 20000) AS n";
    sqlx::raw_sql(fill).execute(store.pool()).await.unwrap();
    sqlx::raw_sql("ANALYZE sessile_sessions").execute(store.pool()).await.unwrap();
    for (name, sql) in store.statements() {
        if name == "insert" {
            // An insert finds an existing record by the primary key; its plan does not show this.
            continue;
        }
        let ids = ["'00000000-0000-0000-0000-000000000000'"; 10].join(", ");
        let parameters = match name {
            "get" | "delete" => "'00000000-0000-0000-0000-000000000000'",
            "replace" => "1, 'id', 'a', 0, 0, 'x', '00000000-0000-0000-0000-000000000000', 1",
            "replace_keeping_times" => "1, 'id', 'a', 'x', '00000000-0000-0000-0000-000000000000', 1",
            "delete_owned_by" => "'user:7', 'id', '00000000-0000-0000-0000-000000000000'",
            "touch" => "0, 0, '00000000-0000-0000-0000-000000000000', 1",
            "owned_by" => "'user:7'",
            "ids_of" => "'user:7', 'id'",
            "list" => "'00000000-0000-0000-0000-000000000000', 10",
            "summaries" => &ids,
            _ => "",
        };
        // The last parameter is the statement's tag.
        let separator = if parameters.is_empty() { "" } else { ", " };
        let call = format!("statement({parameters}{separator}0)");
        let mut connection = store.pool().acquire().await.unwrap();
        let script = format!("SET plan_cache_mode = force_generic_plan; PREPARE statement AS {sql}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(script)).execute(&mut *connection).await.unwrap();
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN EXECUTE {call}"));
        let rows = sqlx::raw_sql(explain).fetch_all(&mut *connection).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| sqlx::Row::get(row, 0)).collect();
        let plan = plan.join("\n");
        assert!(plan.contains("Index Scan") && !plan.contains("Seq Scan"), "{name}:\n{plan}");
        connection.close().await.unwrap();
    }
}

/// The table settings of the guide are valid, and a later migration keeps them.
#[tokio::test(flavor = "multi_thread")]
async fn the_settings_that_the_guide_advises_are_valid() {
    let guide = include_str!("../../docs/stores.md");
    let statements = guide.split("```sql\n").nth(1).unwrap().split("```").next().unwrap();
    let server = Server::postgres();
    let store = open(&server).await;
    sqlx::raw_sql(statements).execute(store.pool()).await.unwrap();
    let options: Vec<String> = sqlx::query_scalar("SELECT reloptions FROM pg_class WHERE relname = 'sessile_sessions'")
        .fetch_one(store.pool())
        .await
        .unwrap();
    assert_eq!(options, ["autovacuum_vacuum_scale_factor=0.02", "fillfactor=80"]);
    store.migrate().await.unwrap();
    assert_eq!(store.set(&damage::record(1, None), Expected::Absent).await.unwrap(), Outcome::Written);
}

/// A read-only database is unavailable to writers and serves readers.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_database_serves_readers_only() {
    let server = Server::postgres();
    let store = open(&server).await;
    let url = format!("{}?options=-c%20default_transaction_read_only%3Don", server.url());
    let reader = PostgresStore::patient(&url).await;
    check_read_only(&store, &reader).await;
}

/// A full disk is unavailable, and no acknowledged record is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_unavailable_and_loses_nothing() {
    let server = Server::postgres_in(Directory::small("postgres", 120, 100), &[]);
    let store = open(&server).await;
    disk::a_full_disk_is_unavailable_and_loses_nothing(server, store, |_| ()).await;
}
