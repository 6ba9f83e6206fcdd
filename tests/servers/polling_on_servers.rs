//! Polling that does not keep its user signed in, on every store that outlives the process.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use sessile::{MySqlStore, PostgresStore, RedisStore, SqliteStore};

use crate::patience::Patient;
use crate::polling::passive_polling_ends_at_the_idle_timeout;
use crate::servers::Server;

/// Passive polling ends at the idle timeout, on SQLite.
#[tokio::test(flavor = "multi_thread")]
async fn passive_polling_ends_on_sqlite() {
    let store = SqliteStore::patient("sqlite::memory:").await;
    store.migrate().await.unwrap();
    passive_polling_ends_at_the_idle_timeout(store).await;
}

/// Passive polling ends at the idle timeout, on PostgreSQL.
#[tokio::test(flavor = "multi_thread")]
async fn passive_polling_ends_on_postgres() {
    let server = Server::postgres_with(&["fsync=off", "synchronous_commit=off"]);
    let store = PostgresStore::patient(&server.url()).await;
    store.migrate().await.unwrap();
    passive_polling_ends_at_the_idle_timeout(store).await;
}

/// Passive polling ends at the idle timeout, on MariaDB.
#[tokio::test(flavor = "multi_thread")]
async fn passive_polling_ends_on_mariadb() {
    let server = Server::mariadb_with(&["innodb-flush-log-at-trx-commit=0"]);
    let store = MySqlStore::patient(&server.url()).await;
    store.migrate().await.unwrap();
    passive_polling_ends_at_the_idle_timeout(store).await;
}

/// Passive polling ends at the idle timeout, on Redis.
#[tokio::test(flavor = "multi_thread")]
async fn passive_polling_ends_on_redis() {
    let server = Server::redis_with(&["--appendonly", "no"]);
    passive_polling_ends_at_the_idle_timeout(RedisStore::patient(&server.url()).await).await;
}
