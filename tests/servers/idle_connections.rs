//! Tests that a connection which died while it was idle costs no request.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::{damage, proxy, servers};

use std::time::Duration;

use futures_util::future::join_all;
use sessile::store::{Expected, Outcome, Store};
use sessile::{MySqlStore, PostgresStore};
use sqlx::mysql::MySqlPoolOptions;
use sqlx::postgres::PgPoolOptions;

use self::proxy::Proxy;
use self::servers::{PATIENCE, Server};
use crate::patience::Patient;

/// Idle time after which the store tests a connection before a write.
const IDLE: Duration = Duration::from_millis(300);
/// Idle time after which the store returns a connection to its pool.
const RETURNED: Duration = Duration::from_secs(11);

/// Time limit of an operation; the test of a forgotten connection takes half of it.
const DEADLINE: Duration = Duration::from_secs(20);

/// Opens ten connections at once, and leaves them idle.
pub(crate) async fn open_connections(store: &impl Store) {
    let id = *damage::record(1, None).id();
    for got in join_all((0..10).map(|_| store.get(&id))).await {
        got.unwrap();
    }
}

/// The operations of requests: none fails, whichever is the first after the connections broke.
async fn every_operation_succeeds(store: &impl Store, first: u128, break_connections: impl AsyncFn()) {
    let [one, other] = [first, first + 1].map(|id| damage::record(id, Some("a")));
    let touch = sessile::store::Touch::new(one.last_seen(), one.expires_at());
    open_connections(store).await;
    break_connections().await;
    assert_eq!(store.set(&one, Expected::Absent).await.unwrap(), Outcome::Written);
    open_connections(store).await;
    break_connections().await;
    assert!(store.get(one.id()).await.unwrap().is_some());
    assert_eq!(store.set(&other, Expected::Absent).await.unwrap(), Outcome::Written);
    open_connections(store).await;
    break_connections().await;
    assert!(store.touch(&one, touch).await.unwrap());
    open_connections(store).await;
    break_connections().await;
    let sets = (0..20).map(|number| damage::record(first + 10 + number, None));
    for set in join_all(sets.map(|record| async move { store.set(&record, Expected::Absent).await })).await {
        assert_eq!(set.unwrap(), Outcome::Written);
    }
    open_connections(store).await;
    break_connections().await;
    assert!(store.delete(one.id(), None).await.unwrap());
}

/// A proxy closes the connections, and the server restarts once for each store.
async fn check_closed_connections(mut server: Server, proxy: &Proxy, stores: &[impl Store]) {
    for (first, store) in (1..).map(|number| number * 1000).zip(stores) {
        let break_connections = async || {
            proxy.cut();
            tokio::time::sleep(IDLE).await;
            proxy.pass();
        };
        every_operation_succeeds(store, first, break_connections).await;
        open_connections(store).await;
        server.kill();
        server.start();
        tokio::time::sleep(IDLE).await;
        assert_eq!(store.set(&damage::record(first + 100, None), Expected::Absent).await.unwrap(), Outcome::Written);
        open_connections(store).await;
    }
}

/// On PostgreSQL, no request fails after a restart, nor after connections were closed.
#[tokio::test(flavor = "multi_thread")]
async fn closed_connections_cost_no_request_on_postgres() {
    let server = Server::postgres();
    let proxy = Proxy::to(server.port()).await;
    let own = PostgresStore::patient(&server.url_at(proxy.port())).await;
    own.migrate().await.unwrap();
    let pool = PgPoolOptions::new().max_connections(20).test_before_acquire(false);
    let shared = PostgresStore::new(pool.connect(&server.url_at(proxy.port())).await.unwrap());
    let stores = [own, shared.with_deadline(PATIENCE)];
    check_closed_connections(server, &proxy, &stores).await;
}

/// On MariaDB, no request fails after a restart, nor after connections were closed.
#[tokio::test(flavor = "multi_thread")]
async fn closed_connections_cost_no_request_on_mariadb() {
    let server = Server::mariadb();
    let proxy = Proxy::to(server.port()).await;
    let own = MySqlStore::patient(&server.url_at(proxy.port())).await;
    own.migrate().await.unwrap();
    let pool = MySqlPoolOptions::new().max_connections(20).test_before_acquire(false);
    let shared = MySqlStore::new(pool.connect(&server.url_at(proxy.port())).await.unwrap());
    let stores = [own, shared.with_deadline(PATIENCE)];
    check_closed_connections(server, &proxy, &stores).await;
}

/// A firewall forgets connections that were idle for long: their data is lost, and they seem open.
async fn check_forgotten_connections([reader, writer]: [impl Store; 2], proxy: &Proxy) {
    let [one, other] = [1, 2].map(|id| damage::record(id, None));
    assert_eq!(reader.set(&one, Expected::Absent).await.unwrap(), Outcome::Written);
    open_connections(&reader).await;
    open_connections(&writer).await;
    // The connections are in the pool by then.
    tokio::time::sleep(RETURNED).await;
    proxy.forget();
    let (read, written) = tokio::join!(reader.get(one.id()), writer.set(&other, Expected::Absent));
    assert_eq!(read.unwrap().unwrap(), one);
    assert_eq!(written.unwrap(), Outcome::Written);
}

/// Connections that a firewall has forgotten cost no request.
#[tokio::test(flavor = "multi_thread")]
async fn forgotten_connections_cost_no_request() {
    let (postgres, mariadb) = (Server::postgres(), Server::mariadb());
    let proxies = (Proxy::to(postgres.port()).await, Proxy::to(mariadb.port()).await);
    let on_postgres = async || {
        let store = PostgresStore::patient(&postgres.url_at(proxies.0.port())).await;
        store.migrate().await.unwrap();
        store.with_deadline(DEADLINE)
    };
    let on_mariadb = async || {
        let store = MySqlStore::patient(&mariadb.url_at(proxies.1.port())).await;
        store.migrate().await.unwrap();
        store.with_deadline(DEADLINE)
    };
    tokio::join!(
        check_forgotten_connections([on_postgres().await, on_postgres().await], &proxies.0),
        check_forgotten_connections([on_mariadb().await, on_mariadb().await], &proxies.1)
    );
}
