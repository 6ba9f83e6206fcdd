//! Tests of statements that the database rolls back: only those that certainly did nothing run again.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::{damage, nodes, servers};

use sessile::store::{Expected, Outcome, Store, StoreErrorKind};
use sessile::{MySqlStore, PostgresStore};

use self::servers::Server;
use crate::patience::Patient;

/// Parallel writers lose nothing in a database whose transactions are serializable.
#[tokio::test(flavor = "multi_thread")]
async fn a_serializable_database_loses_nothing() {
    let server = Server::postgres_with(&["default_transaction_isolation=serializable"]);
    let store = async || PostgresStore::patient(&server.url()).await;
    let mut starts = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let node = store().await;
        starts.spawn(async move { node.migrate().await.unwrap() });
    }
    starts.join_all().await;
    nodes::parallel_writers_on_two_nodes_lose_nothing(store().await, store().await).await;
    nodes::a_sign_out_on_one_node_ends_the_session_on_both(store().await, store().await).await;
}

/// On PostgreSQL, a statement runs again after 40001 and 40P01, and not after an unknown outcome.
#[tokio::test(flavor = "multi_thread")]
async fn postgres_reruns_what_certainly_did_nothing() {
    let server = Server::postgres();
    let store = PostgresStore::patient(&server.url()).await;
    store.migrate().await.unwrap();
    for (number, (code, is_rerun)) in
        [("40001", true), ("40P01", true), ("40000", false), ("40002", false), ("40003", false)].into_iter().enumerate()
    {
        // A sequence counts the attempts, since a rollback leaves it as it is.
        let trigger = format!(
            "DROP SEQUENCE IF EXISTS attempts; CREATE SEQUENCE attempts; \
             CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF nextval('attempts') <= 2 THEN RAISE EXCEPTION 'injected' USING ERRCODE = '{code}'; END IF; \
             RETURN NEW; END $$; \
             CREATE OR REPLACE TRIGGER fail BEFORE INSERT ON sessile_sessions FOR EACH ROW EXECUTE FUNCTION fail()"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(trigger)).execute(store.pool()).await.unwrap();
        let record = damage::record(number as u128 + 1, None);
        let set = store.set(&record, Expected::Absent).await;
        let attempts: i64 =
            sqlx::query_scalar("SELECT last_value FROM attempts").fetch_one(store.pool()).await.unwrap();
        if is_rerun {
            assert_eq!(set.unwrap(), Outcome::Written, "{code}");
            assert_eq!(attempts, 3, "{code}");
        } else {
            assert_eq!(set.unwrap_err().kind(), StoreErrorKind::Unavailable, "{code}");
            assert_eq!(attempts, 1, "{code} was run again");
        }
    }
}

/// On MariaDB, a statement runs again after a deadlock and after a conflict of snapshots, and not after a lock timeout.
#[tokio::test(flavor = "multi_thread")]
async fn mariadb_reruns_what_certainly_did_nothing() {
    let server = Server::mariadb();
    let store = MySqlStore::patient(&server.url()).await;
    store.migrate().await.unwrap();
    for (number, (code, is_rerun)) in [(1213, true), (1020, true), (1205, false)].into_iter().enumerate() {
        // A table without transactions counts the attempts.
        let trigger = format!(
            "CREATE OR REPLACE TABLE attempts (number int) ENGINE = MyISAM; \
             CREATE OR REPLACE TRIGGER fail BEFORE INSERT ON sessile_sessions FOR EACH ROW BEGIN \
             INSERT INTO attempts VALUES (1); \
             IF (SELECT count(*) FROM attempts) <= 2 THEN SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = {code}; END IF; END"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(trigger)).execute(store.pool()).await.unwrap();
        let record = damage::record(number as u128 + 1, None);
        let set = store.set(&record, Expected::Absent).await;
        let attempts: i64 = sqlx::query_scalar("SELECT count(*) FROM attempts").fetch_one(store.pool()).await.unwrap();
        if is_rerun {
            assert_eq!(set.unwrap(), Outcome::Written, "{code}");
            assert_eq!(attempts, 3, "{code}");
        } else {
            assert_eq!(set.unwrap_err().kind(), StoreErrorKind::Unavailable, "{code}");
            assert_eq!(attempts, 1, "{code} was run again");
            assert!(store.get(record.id()).await.unwrap().is_none());
        }
    }
}

/// After a lock timeout the statement has done nothing, and its connection serves the next one.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_timeout_leaves_nothing_half_done() {
    let server = Server::mariadb_with(&["innodb-lock-wait-timeout=1"]);
    let store = MySqlStore::patient(&server.url()).await;
    store.migrate().await.unwrap();
    let [held, free] = [1, 2].map(|id| damage::record(id, Some("a")));
    for record in [&held, &free] {
        assert_eq!(store.set(record, Expected::Absent).await.unwrap(), Outcome::Written);
    }
    let mut holder = store.pool().begin().await.unwrap();
    let lock = "SELECT 1 FROM sessile_sessions WHERE id = 0x00000000000000000000000000000002 FOR UPDATE";
    sqlx::raw_sql(lock).execute(&mut *holder).await.unwrap();
    let error = store.delete_owned_by("a", None, None).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
    holder.rollback().await.unwrap();
    assert_eq!(store.owned_by("a").await.unwrap(), [held, free], "a part of the statement took effect");
}
