//! `PostgresStore` on a real server, which the tests start themselves.

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
use sessile::{PostgresStore, Store, StoreErrorKind};

use self::proxy::{Behind, Proxy};
use self::servers::Server;

/// Each store is behind a proxy of its own, which counts round trips.
impl Fixture for Server {
    type Store = Behind<PostgresStore>;

    async fn open(&self) -> Self::Store {
        let proxy = Proxy::before(self.port()).await;
        let store = PostgresStore::connect(&self.url_at(proxy.port())).await.unwrap();
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
    let report = check(&Server::postgres()).await;
    eprintln!("{report}");
    report.assert();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_lose_nothing_and_end_together() {
    let server = Server::postgres();
    let store = async || PostgresStore::connect(&server.url()).await.unwrap();
    store().await.migrate().await.unwrap();
    nodes::nothing_is_lost_between_two_nodes(store().await, store().await).await;
    nodes::a_sign_out_on_one_node_ends_the_session_on_both(store().await, store().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_while_the_server_is_killed_again_and_again() {
    let server = Server::postgres();
    let store = PostgresStore::connect(&server.url()).await.unwrap();
    store.migrate().await.unwrap();
    faults::nothing_acknowledged_is_lost(server, store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_costs_the_deadline() {
    let server = Server::postgres();
    let proxy = Proxy::before(server.port()).await;
    let store = PostgresStore::connect(&server.url_at(proxy.port())).await.unwrap();
    store.migrate().await.unwrap();
    faults::a_server_that_hangs_costs_the_deadline(store.with_deadline(Duration::from_millis(300)), &proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_without_a_free_connection_costs_the_deadline() {
    let server = Server::postgres();
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(1).connect(&server.url()).await.unwrap();
    let store = PostgresStore::new(pool.clone()).with_deadline(Duration::from_millis(200));
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
    let server = Server::postgres();
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(4).connect(&server.url()).await.unwrap();
    let store = PostgresStore::new(pool.clone());
    store.migrate().await.unwrap();
    let id = sessile::SessionId::from(uuid::Uuid::from_u128(1));
    for _ in 0..10 {
        assert!(store.get(&id).await.unwrap().is_none());
    }
    tokio::time::timeout(Duration::from_secs(30), pool.close()).await.expect("the pool closes");
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_records_open_nothing_and_are_kept() {
    let server = Server::postgres();
    let store = PostgresStore::connect(&server.url()).await.unwrap();
    store.migrate().await.unwrap();
    damage::damaged_records_open_nothing_and_are_kept(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_start_at_once_make_one_table_and_an_old_one_is_upgraded() {
    let server = Server::postgres();
    let store = PostgresStore::connect(&server.url()).await.unwrap().with_table("Old").unwrap();
    let pool = store.pool().clone();
    // As it would have been before last seen was kept.
    let old = r#"CREATE TABLE "Old" (id uuid PRIMARY KEY, version bigint NOT NULL, owner bytea,
                 expires_at bigint NOT NULL, state bytea NOT NULL)"#;
    sqlx::raw_sql(old).execute(&pool).await.unwrap();
    sqlx::raw_sql(r#"INSERT INTO "Old" VALUES (gen_random_uuid(), 1, 'a', 253402300799999, 'x')"#)
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
    // And there may be two in schemas of their own.
    sqlx::raw_sql("CREATE SCHEMA other").execute(&pool).await.unwrap();
    let other = store.clone().with_schema("other").unwrap();
    other.migrate().await.unwrap();
    assert!(other.get(record.id()).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_uses_an_index() {
    let server = Server::postgres();
    let store = PostgresStore::connect(&server.url()).await.unwrap();
    store.migrate().await.unwrap();
    let fill = "INSERT INTO sessile_sessions SELECT gen_random_uuid(), 1, convert_to('user:' || n, 'UTF8'), 0, \
                253402300799999 - n, 'x' FROM generate_series(1, 20000) AS n";
    sqlx::raw_sql(fill).execute(store.pool()).await.unwrap();
    sqlx::raw_sql("ANALYZE sessile_sessions").execute(store.pool()).await.unwrap();
    for (name, sql) in store.statements() {
        if name == "add" {
            // An insert finds what is there by the primary key, and has no plan to show for it.
            continue;
        }
        let parameters = match name {
            "get" | "delete" => "'00000000-0000-0000-0000-000000000000'",
            "replace" => "1, 'a', 0, 0, 'x', '00000000-0000-0000-0000-000000000000', 1",
            "touch" => "0, 0, '00000000-0000-0000-0000-000000000000', 1",
            "owned_by" => "'user:7'",
            _ => "",
        };
        let call = if parameters.is_empty() { "statement".to_owned() } else { format!("statement({parameters})") };
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

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_database_is_unavailable_to_writers_and_serves_readers() {
    let server = Server::postgres();
    let store = PostgresStore::connect(&server.url()).await.unwrap();
    store.migrate().await.unwrap();
    let record = damage::record(1, Some("a"));
    assert_eq!(store.set(&record, sessile::Expected::Absent).await.unwrap(), sessile::Outcome::Written);
    let url = format!("{}?options=-c%20default_transaction_read_only%3Don", server.url());
    let reader = PostgresStore::connect(&url).await.unwrap();
    reader.migrate().await.unwrap();
    assert_eq!(reader.get(record.id()).await.unwrap().as_ref(), Some(&record));
    let refused = reader.set(&damage::record(2, None), sessile::Expected::Absent).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Unavailable);
    assert_eq!(reader.delete(record.id()).await.unwrap_err().kind(), StoreErrorKind::Unavailable);
}
