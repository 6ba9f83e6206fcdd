//! Tests of the errors and warnings by which an operator finds out why a store cannot connect.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::{damage, servers};

use std::error::Error;
use std::time::Duration;

use sessile::store::{Expected, Outcome, Store, StoreError};
use sessile::{MySqlStore, PostgresStore, SqliteStore};

use self::servers::{Directory, Server, free_port};

/// Returns an error and its sources, as a log has them.
fn chain(error: &StoreError) -> String {
    let mut text = format!("{error:?}");
    let mut error: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(part) = error {
        text = format!("{text}: {part}");
        error = part.source();
    }
    text
}

/// Checks that an error has these parts, and no password.
#[track_caller]
fn assert_says(error: &StoreError, parts: &[&str]) {
    let text = chain(error);
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing: {text}");
    }
    assert!(!text.contains("secret"), "the password is in the error: {text}");
}

/// Checks the errors of a server, given the URL's scheme and user, and what the server says of a wrong user and database.
macro_rules! check_errors {
    ($Store:ident, $server:expr, $user:literal, $refused_user:literal, $refused_database:literal) => {{
        let mut server: Server = $server;
        let scheme = server.url().split_once(':').unwrap().0.to_owned();
        let url = |user: &str, host: &str, database: &str| format!("{scheme}://{user}@{host}/{database}");
        let free = free_port();
        let closed = format!("127.0.0.1:{free}");
        let open = format!("127.0.0.1:{}", server.port());
        let connect = async |url: String| $Store::connect(&url).await.unwrap_err();
        let (refused, user, database, host) = tokio::join!(
            connect(url(concat!($user, ":secret"), &closed, "app")),
            connect(url("wrong:secret", &open, "app")),
            connect(url($user, &open, "wrong_database")),
            connect(url(concat!($user, ":secret"), "no-such-host.invalid:5", "app")),
        );
        assert_says(&refused, &[&closed, "refused"]);
        assert_says(&user, &[&open, $refused_user]);
        assert_says(&database, &[&open, $refused_database]);
        assert_says(&host, &["no-such-host.invalid:5", "lookup"]);

        let store = $Store::connect(&server.url()).await.unwrap();
        store.migrate().await.unwrap();
        let shared = $Store::new(store.pool().clone()).with_deadline(Duration::from_millis(600));
        let store = store.with_deadline(Duration::from_millis(600));
        server.kill();
        let record = damage::record(1, None);
        for store in [store, shared] {
            let _ = store.get(record.id()).await;
            assert_says(&store.get(record.id()).await.unwrap_err(), &[&open, "refused"]);
            assert_says(&store.set(&record, Expected::Absent).await.unwrap_err(), &[&open, "refused"]);
        }
    }};
}

/// On PostgreSQL, an error says which server cannot be reached and why.
#[tokio::test(flavor = "multi_thread")]
async fn errors_name_the_server_and_the_cause_on_postgres() {
    check_errors!(PostgresStore, Server::postgres(), "postgres", "role \"wrong\"", "\"wrong_database\"");
}

/// On MariaDB, an error says which server cannot be reached and why.
#[tokio::test(flavor = "multi_thread")]
async fn errors_name_the_server_and_the_cause_on_mariadb() {
    check_errors!(MySqlStore, Server::mariadb(), "app", "'wrong'", "'wrong_database'");
}

/// An error names the file that SQLite cannot open.
#[tokio::test(flavor = "multi_thread")]
async fn errors_name_the_file_on_sqlite() {
    let directory = Directory::new("sqlite");
    let path = directory.path().display();
    std::fs::write(directory.path().join("text"), "no database, but text").unwrap();
    // In /proc no user may create a file.
    for file in [format!("{path}/missing/sessions.db"), format!("{path}/text/sessions.db"), "/proc/sessions.db".into()]
    {
        let error = SqliteStore::connect(&format!("sqlite:{file}")).await.unwrap_err();
        assert_says(&error, &[&file, "unable to open"]);
    }
    let file = format!("{path}/text");
    let error = SqliteStore::connect(&format!("sqlite:{file}")).await.unwrap_err();
    assert_says(&error, &[&file, "not a database"]);
    let error = SqliteStore::connect(&format!("sqlite:{path}/none.db?mode=rw")).await.unwrap_err();
    assert_says(&error, &["none.db", "unable to open"]);
    for url in ["sqlite:", "sqlite://", "sqlite:?mode=rwc"] {
        assert_says(&SqliteStore::connect(url).await.unwrap_err(), &["names no file", "sqlite:sessions.db"]);
    }
    let file = format!("{path}/sessions.db");
    let store = SqliteStore::connect(&format!("sqlite:{file}")).await.unwrap();
    store.migrate().await.unwrap();
    let reader = SqliteStore::connect(&format!("sqlite:{file}?mode=ro")).await.unwrap();
    assert_says(&reader.set(&damage::record(1, None), Expected::Absent).await.unwrap_err(), &[&file, "readonly"]);
    // A missing table cannot be created; nothing is gained by waiting.
    let other = reader.with_table("other").unwrap();
    let migrated = tokio::time::timeout(Duration::from_secs(30), other.migrate()).await;
    assert_says(&migrated.expect("the error is immediate").unwrap_err(), &["readonly"]);
}

/// Renames the table away, and drops it, while the store runs; `migrate` creates it anew, with its indexes.
macro_rules! check_migration {
    ($store:expr, $indexes:literal) => {{
        let store = $store;
        store.migrate().await.unwrap();
        let record = damage::record(1, Some("a"));
        let indexes = async || -> i64 { sqlx::query_scalar($indexes).fetch_one(store.pool()).await.unwrap() };
        let expected = indexes().await;
        assert!(expected >= 2, "{expected} indexes");
        for change in ["ALTER TABLE sessile_sessions RENAME TO renamed", "DROP TABLE sessile_sessions"] {
            assert_eq!(store.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
            assert!(store.get(record.id()).await.unwrap().is_some());
            sqlx::raw_sql(change).execute(store.pool()).await.unwrap();
            let error = store.get(record.id()).await.unwrap_err();
            assert_says(&error, &["sessile_sessions"]);
            store.migrate().await.unwrap();
            assert_eq!(indexes().await, expected, "{change}");
            assert!(store.get(record.id()).await.unwrap().is_none(), "{change}");
        }
        assert_eq!(store.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
    }};
}

/// A table that was renamed or dropped while the store runs is created anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_gone_is_created_anew() {
    let server = Server::postgres();
    check_migration!(
        PostgresStore::connect(&server.url()).await.unwrap(),
        "SELECT count(*) FROM pg_indexes WHERE tablename = 'sessile_sessions'"
    );
    let server = Server::mariadb();
    check_migration!(
        MySqlStore::connect(&server.url()).await.unwrap(),
        "SELECT count(*) FROM information_schema.statistics WHERE table_name = 'sessile_sessions'"
    );
}

/// On SQLite, the indexes of a renamed table are an error that names them; a dropped table is created anew.
#[tokio::test(flavor = "multi_thread")]
async fn indexes_of_a_renamed_table_are_an_error_on_sqlite() {
    let directory = Directory::new("sqlite");
    let store = SqliteStore::connect(&format!("sqlite:{}/sessions.db", directory.path().display())).await.unwrap();
    store.migrate().await.unwrap();
    let record = damage::record(1, Some("a"));
    assert_eq!(store.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
    sqlx::raw_sql("ALTER TABLE sessile_sessions RENAME TO renamed").execute(store.pool()).await.unwrap();
    assert_says(&store.migrate().await.unwrap_err(), &["sessile_sessions_owner", "already exists"]);
    sqlx::raw_sql("DROP TABLE renamed").execute(store.pool()).await.unwrap();
    store.migrate().await.unwrap();
    assert!(store.get(record.id()).await.unwrap().is_none());
    assert_eq!(store.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
    let indexes = "SELECT count(*) FROM pragma_index_list('sessile_sessions') WHERE origin = 'c'";
    let indexes: i64 = sqlx::query_scalar(indexes).fetch_one(store.pool()).await.unwrap();
    assert_eq!(indexes, 2);
}
