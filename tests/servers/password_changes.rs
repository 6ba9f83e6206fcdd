//! Requests beside changes of the password, on stores that outlive the process.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use axum::http::StatusCode;
use sessile::store::Store;
use sessile::{MySqlStore, PostgresStore, RedisStore, SqliteStore};

use crate::patience::{Patient, patient_layer};
use crate::servers::{Directory, Server};
use crate::support::users::{Site, USER};

const ROUNDS: usize = 25;

/// The session with the changes stays signed in; one that was signed in with the old password beside them does not.
async fn changes_beside_requests(store: impl Store) {
    let site = Site::new(patient_layer(store), 10);
    for round in 0..ROUNDS {
        site.accounts.set(USER, 10);
        let here = site.begin("/sign-in/10", None).await;
        let visitor = site.begin("/visit", None).await;
        let mut beside = tokio::task::JoinSet::new();
        for path in ["/change/11", "/who", "/write", "/change/12", "/who", "/sign-in/10"] {
            let (site, is_here) = (site.clone(), path != "/sign-in/10");
            let token = if is_here { here.clone() } else { visitor.clone() };
            beside.spawn(async move { (path, is_here, site.send(path, Some(&token)).await) });
        }
        let mut late = None;
        while let Some(done) = beside.join_next().await {
            let (path, is_here, reply) = done.unwrap();
            if is_here {
                assert_eq!(reply.status, StatusCode::OK, "round {round}: {path}: {}", reply.text());
                assert!(reply.text().is_empty() || reply.text() == USER.to_string(), "round {round}: {path}");
            } else if reply.status == StatusCode::OK {
                late = Some(reply.set_cookie().value);
            }
        }
        assert!(site.is_signed_in(&here).await, "round {round}");
        if let Some(late) = late {
            assert!(!site.is_signed_in(&late).await, "round {round}");
        }
    }
}

/// A password changes beside other requests, on SQLite.
#[tokio::test(flavor = "multi_thread")]
async fn password_changes_on_sqlite() {
    let directory = Directory::new("password-changes");
    let store = SqliteStore::patient(&format!("sqlite:{}/sessions.db", directory.path().display())).await;
    store.migrate().await.unwrap();
    changes_beside_requests(store).await;
}

/// A password changes beside other requests, on PostgreSQL.
#[tokio::test(flavor = "multi_thread")]
async fn password_changes_on_postgres() {
    let server = Server::postgres_with(&["fsync=off", "synchronous_commit=off"]);
    let store = PostgresStore::patient(&server.url()).await;
    store.migrate().await.unwrap();
    changes_beside_requests(store).await;
}

/// A password changes beside other requests, on MariaDB.
#[tokio::test(flavor = "multi_thread")]
async fn password_changes_on_mariadb() {
    let server = Server::mariadb_with(&["innodb-flush-log-at-trx-commit=0"]);
    let store = MySqlStore::patient(&server.url()).await;
    store.migrate().await.unwrap();
    changes_beside_requests(store).await;
}

/// A password changes beside other requests, on Redis.
#[tokio::test(flavor = "multi_thread")]
async fn password_changes_on_redis() {
    let server = Server::redis_with(&["--appendonly", "no"]);
    changes_beside_requests(RedisStore::patient(&server.url()).await).await;
}
