//! Tests of connection settings and open transactions under which an acknowledged write would be lost.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::{damage, servers};

use sessile::store::{Expected, Outcome, Store, StoreErrorKind};
use sessile::{MySqlStore, PostgresStore, SqliteStore};
use sqlx::mysql::{MySqlPool, MySqlPoolOptions};
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::SqlitePoolOptions;

use self::servers::{Directory, PATIENCE, Server};
use crate::patience::Patient;

/// A store of its own connections keeps its writes, whatever the server sets.
async fn own_connections_keep_writes(url: &str) {
    let store = MySqlStore::patient(url).await;
    store.migrate().await.unwrap();
    let record = damage::record(1, None);
    assert_eq!(store.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
    store.pool().close().await;
    let other = MySqlStore::patient(url).await;
    assert!(other.get(record.id()).await.unwrap().is_some(), "an acknowledged write was lost");
}

/// A store on a pool without autocommit refuses to migrate and to write.
async fn a_pool_without_autocommit_is_refused(pool: MySqlPool) {
    let store = MySqlStore::new(pool).with_deadline(PATIENCE);
    let record = damage::record(2, None);
    let migrated = store.migrate().await.unwrap_err();
    let written = store.set(&record, Expected::Absent).await.unwrap_err();
    for error in [migrated, written] {
        assert_eq!(error.kind(), StoreErrorKind::Unsupported);
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("autocommit is off"), "{source}");
    }
}

/// Without autocommit, no write is acknowledged and lost.
#[tokio::test(flavor = "multi_thread")]
async fn without_autocommit_no_write_is_lost() {
    let server = Server::mariadb_with(&["autocommit=0"]);
    own_connections_keep_writes(&server.url()).await;
    a_pool_without_autocommit_is_refused(MySqlPool::connect(&server.url()).await.unwrap()).await;
    drop(server);

    // The server runs the statement for users without all rights.
    let server = Server::mariadb_with(&["init-connect=SET autocommit=0"]);
    let admin = MySqlPool::connect(&server.url()).await.unwrap();
    let user = "CREATE USER plain@'%'; GRANT ALL ON app.* TO plain@'%'";
    sqlx::raw_sql(user).execute(&admin).await.unwrap();
    let url = server.url().replace("app@", "plain@");
    own_connections_keep_writes(&url).await;
    a_pool_without_autocommit_is_refused(MySqlPool::connect(&url).await.unwrap()).await;

    let pool = MySqlPoolOptions::new().after_connect(|connection, _| {
        Box::pin(async move { sqlx::raw_sql("SET autocommit = 0").execute(connection).await.map(drop) })
    });
    a_pool_without_autocommit_is_refused(pool.connect(&server.url()).await.unwrap()).await;
}

/// Writes through a connection on which the application has left a transaction open, and then rolls that back.
macro_rules! check_open_transaction {
    ($Store:ident, $pool:expr) => {{
        let pool = $pool;
        let store = $Store::new(pool.clone()).with_deadline(PATIENCE);
        store.migrate().await.unwrap();
        sqlx::raw_sql("CREATE TABLE orders (number integer)").execute(&pool).await.unwrap();
        let record = damage::record(1, Some("a"));
        sqlx::raw_sql("BEGIN").execute(&pool).await.unwrap();
        sqlx::raw_sql("INSERT INTO orders VALUES (1)").execute(&pool).await.unwrap();
        assert_eq!(store.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
        // Outside of a transaction this is a warning or an error.
        let _ = sqlx::raw_sql("ROLLBACK").execute(&pool).await;
        assert!(store.get(record.id()).await.unwrap().is_some(), "an acknowledged write was rolled back");
        let orders: i64 = sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(&pool).await.unwrap();
        assert_eq!(orders, 0, "the application's transaction was committed");
    }};
}

/// A transaction that the application left open on a pooled connection takes no write of the store with it.
#[tokio::test(flavor = "multi_thread")]
async fn no_write_joins_a_transaction_that_was_left_open() {
    let server = Server::postgres();
    check_open_transaction!(
        PostgresStore,
        PgPoolOptions::new().max_connections(1).connect(&server.url()).await.unwrap()
    );
    // A failed transaction refuses every statement.
    let pool = PgPoolOptions::new().max_connections(1).connect(&server.url()).await.unwrap();
    let store = PostgresStore::new(pool.clone()).with_deadline(PATIENCE);
    sqlx::raw_sql("BEGIN; SELECT 1 / 0").execute(&pool).await.unwrap_err();
    assert!(store.get(damage::record(1, None).id()).await.unwrap().is_some());
    // If every connection begins with a transaction, there is an error instead of ever more connections.
    let pool = PgPoolOptions::new().max_connections(2).after_connect(|connection, _| {
        Box::pin(async move { sqlx::raw_sql("BEGIN").execute(connection).await.map(drop) })
    });
    let store = PostgresStore::new(pool.connect(&server.url()).await.unwrap()).with_deadline(PATIENCE);
    let error = store.get(damage::record(1, None).id()).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("open transaction"), "{source}");
    let server = Server::mariadb();
    check_open_transaction!(
        MySqlStore,
        MySqlPoolOptions::new().max_connections(1).connect(&server.url()).await.unwrap()
    );
    let file = Directory::new("sqlite");
    let url = format!("sqlite:{}/sessions.db?mode=rwc", file.path().display());
    check_open_transaction!(SqliteStore, SqlitePoolOptions::new().max_connections(1).connect(&url).await.unwrap());
}
