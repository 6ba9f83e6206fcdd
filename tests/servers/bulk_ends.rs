//! Tests of ending all sessions of an owner on real servers, which they start without durable writes.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::{bulk, proxy, servers};

use sessile::store::Store;
use sessile::{MySqlStore, PostgresStore, RedisStore, Sessions, SqliteStore};

use self::proxy::Proxy;
use self::servers::{Directory, Server};
use crate::patience::Patient;

/// Ends this many sessions of 200 KB in at most two round trips, which transfer ids and no states.
///
/// `proxied` connects through the proxy.
async fn end_large_sessions(store: impl Store + Clone, proxied: impl Store, proxy: &Proxy) {
    const SESSIONS: usize = 200;
    const MAX_BYTES_OF_AN_ID: usize = 128;
    bulk::fill(&store, "ada", SESSIONS, &vec![7; 200_000].into()).await;
    bulk::fill(&store, "eve", 2, &[7][..].into()).await;
    let sessions = Sessions::new(proxied);
    // The first call prepares the statements.
    assert_eq!(sessions.end_all_of("eve").await.unwrap().len(), 2);
    let (trips, received) = (proxy.round_trips(), proxy.received());
    assert_eq!(sessions.end_all_of("ada").await.unwrap().len(), SESSIONS);
    let (trips, received) = (proxy.round_trips() - trips, proxy.received() - received);
    assert!(trips <= 2, "{trips} round trips");
    assert!(received <= SESSIONS * MAX_BYTES_OF_AN_ID, "{received} bytes for {SESSIONS} ids");
    assert!(store.owned_by("ada").await.unwrap().is_empty());
}

/// Large sessions end without a transfer of their states, and a dropped call ends all or none, on PostgreSQL.
#[tokio::test(flavor = "multi_thread")]
async fn bulk_ends_on_postgres() {
    let server = Server::postgres_with(&["fsync=off", "synchronous_commit=off"]);
    let proxy = Proxy::to(server.port()).await;
    let store = PostgresStore::patient(&server.url()).await;
    store.migrate().await.unwrap();
    let proxied = PostgresStore::patient(&server.url_at(proxy.port())).await;
    end_large_sessions(store.clone(), proxied, &proxy).await;
    bulk::a_dropped_bulk_end_leaves_all_or_none(store).await;
}

/// Large sessions end without a transfer of their states, and a dropped call ends all or none, on MariaDB.
#[tokio::test(flavor = "multi_thread")]
async fn bulk_ends_on_mariadb() {
    let server = Server::mariadb_with(&["innodb-flush-log-at-trx-commit=0"]);
    let proxy = Proxy::to(server.port()).await;
    let store = MySqlStore::patient(&server.url()).await;
    store.migrate().await.unwrap();
    let proxied = MySqlStore::patient(&server.url_at(proxy.port())).await;
    end_large_sessions(store.clone(), proxied, &proxy).await;
    bulk::a_dropped_bulk_end_leaves_all_or_none(store).await;
}

/// Large sessions end without a transfer of their states, 20,000 at once, and a dropped call ends all or none, on Redis.
#[tokio::test(flavor = "multi_thread")]
async fn bulk_ends_on_redis() {
    let server = Server::redis_with(&["--appendonly", "no"]);
    let proxy = Proxy::to(server.port()).await;
    let store = RedisStore::patient(&server.url()).await;
    let proxied = RedisStore::patient(&server.url_at(proxy.port())).await;
    end_large_sessions(store.clone(), proxied, &proxy).await;
    bulk::fill(&store, "bob", 20_000, &[7][..].into()).await;
    assert_eq!(Sessions::new(store.clone()).end_all_of("bob").await.unwrap().len(), 20_000);
    assert!(store.owned_by("bob").await.unwrap().is_empty());
    bulk::a_dropped_bulk_end_leaves_all_or_none(store).await;
}

/// A dropped call ends all sessions or none, on SQLite.
#[tokio::test(flavor = "multi_thread")]
async fn bulk_ends_on_sqlite() {
    let directory = Directory::new("bulk");
    let url = format!("sqlite:{}/sessions.db", directory.path().display());
    let store = SqliteStore::patient(&url).await;
    store.migrate().await.unwrap();
    bulk::a_dropped_bulk_end_leaves_all_or_none(store).await;
}
