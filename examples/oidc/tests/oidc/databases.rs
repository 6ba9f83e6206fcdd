//! Sign-in and logout on each database, on two nodes that share it.

use std::time::Duration;

use sessile::store::Store;
use sessile::{MySqlStore, PostgresStore, RedisStore, SqliteStore};

use crate::interleavings::the_logout_wins_in_between;
use crate::issuer::Issuer;
use crate::logout_tokens::{a_logout_by_sid_ends_its_sessions_on, a_logout_by_sub_ends_earlier_sessions_on};
use crate::patience::Patient;
use crate::real_provider::a_sign_out_ends_the_providers_session_on;
use crate::servers::{self, Directory, Server};
use crate::site::Site;
use crate::store_failures::a_logout_can_be_repeated_after_a_crash;

/// Time of a store for an operation: enough on a loaded machine, and a killed server is given up after it at the latest.
const DEADLINE: Duration = Duration::from_secs(15);

/// A logout takes effect on both nodes.
#[tokio::test(flavor = "multi_thread")]
async fn logouts_take_effect_on_sqlite() {
    let directory = Directory::new("oidc");
    let url = format!("sqlite:{}/sessions.db", directory.path().display());
    let connect = async || {
        let store = SqliteStore::patient(&url).await.with_deadline(DEADLINE);
        store.migrate().await.unwrap();
        store
    };
    logouts_take_effect([connect().await, connect().await], &mut []).await;
}

/// A logout takes effect on both nodes, and after a crash of the database.
#[tokio::test(flavor = "multi_thread")]
async fn logouts_take_effect_on_postgres() {
    let server = Server::postgres();
    let connect = async || PostgresStore::patient(&server.url()).await.with_deadline(DEADLINE);
    let stores = [connect().await, connect().await];
    stores[0].migrate().await.unwrap();
    logouts_take_effect(stores, &mut [server]).await;
}

/// A logout takes effect on both nodes, and after a crash of the database.
#[tokio::test(flavor = "multi_thread")]
async fn logouts_take_effect_on_mariadb() {
    let server = Server::mariadb();
    let connect = async || MySqlStore::patient(&server.url()).await.with_deadline(DEADLINE);
    let stores = [connect().await, connect().await];
    stores[0].migrate().await.unwrap();
    logouts_take_effect(stores, &mut [server]).await;
}

/// A logout takes effect on both nodes, and after a crash of the database.
#[tokio::test(flavor = "multi_thread")]
async fn logouts_take_effect_on_redis() {
    let server = Server::redis();
    let connect = async || RedisStore::patient(&server.url()).await.with_deadline(DEADLINE);
    logouts_take_effect([connect().await, connect().await], &mut [server]).await;
}

/// A logout takes effect on both nodes, and after a crash of the database. Its records are in several slots.
#[tokio::test(flavor = "multi_thread")]
async fn logouts_take_effect_on_redis_cluster() {
    let mut cluster = servers::cluster();
    let urls: Vec<_> = cluster.iter().map(Server::url).collect();
    let urls: Vec<_> = urls.iter().map(String::as_str).collect();
    let connect = async || patiently!(RedisStore::connect_cluster(&urls)).with_deadline(DEADLINE);
    logouts_take_effect([connect().await, connect().await], &mut cluster).await;
}

/// Runs the checks of a logout over one database; those of a crash need its servers.
async fn logouts_take_effect<S: Store + Clone>(stores: [S; 2], servers: &mut [Server]) {
    a_sign_out_ends_the_providers_session_on(stores.clone()).await;
    let issuer = Issuer::start().await;
    let site = Site::start(&issuer.url, stores).await;
    a_logout_by_sid_ends_its_sessions_on(&issuer, &site).await;
    a_logout_by_sub_ends_earlier_sessions_on(&issuer, &site).await;
    the_logout_wins_in_between(&issuer, &site).await;
    if !servers.is_empty() {
        a_logout_can_be_repeated_after_a_crash(&issuer, &site, servers).await;
    }
}
