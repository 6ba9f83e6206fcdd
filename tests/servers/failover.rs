//! Tests of connections that go on working but cannot serve the store: read-only, or without their prepared statements.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::idle_connections::open_connections;
use crate::{damage, proxy, servers};

use futures_util::future::join_all;
use sessile::store::{Expected, Outcome, Store, StoreErrorKind};
use sessile::{MySqlStore, PostgresStore};
use sqlx::mysql::MySqlPoolOptions;
use sqlx::postgres::PgPoolOptions;

use self::proxy::Proxy;
use self::servers::{PATIENCE, Server};
use crate::patience::Patient;

/// Writes twenty records, one after another and at once, and fails if one is not written.
async fn writes_succeed(store: &impl Store) {
    for number in 100..120 {
        assert_eq!(store.set(&damage::record(number, None), Expected::Absent).await.unwrap(), Outcome::Written);
    }
    let records = (200..220).map(|number| damage::record(number, None));
    for set in join_all(records.map(|record| async move { store.set(&record, Expected::Absent).await })).await {
        assert_eq!(set.unwrap(), Outcome::Written);
    }
}

/// No write fails after a failover, although the old primary is still up and refuses writes.
///
/// The pool of `store` has connected to the old one.
async fn check_failover(proxy: &Proxy, new: u16, store: &impl Store) {
    open_connections(store).await;
    proxy.redirect(new);
    let connections = proxy.connections();
    writes_succeed(store).await;
    assert!(proxy.connections() <= connections + 20, "the store does not keep its new connections");
}

/// A store whose every server is read-only fails its writes at once, with few connections, and reads on.
async fn check_read_only(proxy: &Proxy, store: &impl Store) {
    let connections = proxy.connections();
    for number in 0..5 {
        let error = store.set(&damage::record(300 + number, None), Expected::Absent).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains(&format!("127.0.0.1:{}", proxy.port())), "{source}");
        assert!(store.get(damage::record(1, None).id()).await.unwrap().is_none());
    }
    assert!(proxy.connections() <= connections + 6, "more than one connection for a write");
}

/// Writes go on at the new primary on PostgreSQL.
#[tokio::test(flavor = "multi_thread")]
async fn writes_go_on_at_the_new_primary_of_postgres() {
    let (old, new) = (Server::postgres(), Server::postgres());
    for server in [&old, &new] {
        PostgresStore::patient(&server.url()).await.migrate().await.unwrap();
    }
    let admin = sqlx::PgPool::connect(&old.url()).await.unwrap();
    for statement in ["ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"] {
        sqlx::raw_sql(statement).execute(&admin).await.unwrap();
    }
    let proxy = Proxy::to(old.port()).await;
    let url = old.url_at(proxy.port());
    let own = PostgresStore::patient(&url).await;
    check_failover(&proxy, new.port(), &own).await;
    let cleanup = PostgresStore::patient(&new.url()).await;
    sqlx::raw_sql("DELETE FROM sessile_sessions").execute(cleanup.pool()).await.unwrap();
    proxy.redirect(old.port());
    let pool = PgPoolOptions::new().max_connections(10).connect(&url).await.unwrap();
    let shared = PostgresStore::new(pool).with_deadline(PATIENCE);
    check_failover(&proxy, new.port(), &shared).await;
    proxy.redirect(old.port());
    let reader = PostgresStore::patient(&url).await;
    check_read_only(&proxy, &reader).await;
}

/// Writes go on at the new primary on MariaDB.
#[tokio::test(flavor = "multi_thread")]
async fn writes_go_on_at_the_new_primary_of_mariadb() {
    let (old, new) = (Server::mariadb(), Server::mariadb());
    for server in [&old, &new] {
        let store = MySqlStore::patient(&server.url()).await;
        store.migrate().await.unwrap();
        // The setting does not bind a user with all rights.
        let user = "CREATE USER plain@'%'; GRANT ALL ON app.* TO plain@'%'";
        sqlx::raw_sql(user).execute(store.pool()).await.unwrap();
    }
    let admin = sqlx::MySqlPool::connect(&old.url()).await.unwrap();
    sqlx::raw_sql("SET GLOBAL read_only = 1").execute(&admin).await.unwrap();
    let proxy = Proxy::to(old.port()).await;
    let url = old.url_at(proxy.port()).replace("app@", "plain@");
    let own = MySqlStore::patient(&url).await;
    check_failover(&proxy, new.port(), &own).await;
    let cleanup = MySqlStore::patient(&new.url()).await;
    sqlx::raw_sql("DELETE FROM sessile_sessions").execute(cleanup.pool()).await.unwrap();
    proxy.redirect(old.port());
    let pool = MySqlPoolOptions::new().max_connections(10).connect(&url).await.unwrap();
    let shared = MySqlStore::new(pool).with_deadline(PATIENCE);
    check_failover(&proxy, new.port(), &shared).await;
    proxy.redirect(old.port());
    let reader = MySqlStore::patient(&url).await;
    check_read_only(&proxy, &reader).await;
}

/// A connection whose prepared statements the application has discarded is replaced.
#[tokio::test(flavor = "multi_thread")]
async fn discarded_statements_cost_no_request() {
    let server = Server::postgres();
    for discard in ["DISCARD ALL", "DEALLOCATE ALL"] {
        let pool = PgPoolOptions::new().max_connections(1).connect(&server.url()).await.unwrap();
        let store = PostgresStore::new(pool).with_deadline(PATIENCE);
        store.migrate().await.unwrap();
        let record = damage::record(1, None);
        for _ in 0..2 {
            assert_eq!(store.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
            sqlx::raw_sql(discard).execute(store.pool()).await.unwrap();
            assert!(store.get(record.id()).await.unwrap().is_some());
            assert!(store.delete(record.id(), None).await.unwrap());
            sqlx::raw_sql(discard).execute(store.pool()).await.unwrap();
        }
    }
}
