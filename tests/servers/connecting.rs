//! Tests of the errors and warnings by which an operator finds out why a store cannot connect.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::capture::Capture;
use crate::{damage, servers};

use std::error::Error;
use std::time::{Duration, Instant};

use sessile::store::{Expected, Outcome, Store, StoreError};
use sessile::{MySqlStore, PostgresStore, SqliteStore};
use tracing::Level;

use self::servers::{Directory, PATIENCE, Server, free_port};
use crate::patience::Patient;

/// A host whose name is longer than DNS allows, so that no server is asked for it.
const UNKNOWN_HOST: &str = "a-label-of-more-than-sixty-three-characters-is-no-part-of-a-host-name.invalid";

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

/// Makes an attempt again until its error names the cause: on a loaded machine the deadline may come first.
async fn error_of(cause: &str, attempt: impl AsyncFn() -> StoreError) -> StoreError {
    let started = Instant::now();
    loop {
        let error = attempt().await;
        if chain(&error).contains(cause) || started.elapsed() > PATIENCE {
            return error;
        }
    }
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
        let connect =
            async |url: String, cause: &str| error_of(cause, async || $Store::connect(&url).await.unwrap_err()).await;
        let (refused, user, database, host) = tokio::join!(
            connect(url(concat!($user, ":secret"), &closed, "app"), "refused"),
            connect(url("wrong:secret", &open, "app"), $refused_user),
            connect(url($user, &open, "wrong_database"), $refused_database),
            connect(url(concat!($user, ":secret"), &format!("{UNKNOWN_HOST}:5"), "app"), "lookup"),
        );
        assert_says(&refused, &[&closed, "refused"]);
        assert_says(&user, &[&open, $refused_user]);
        assert_says(&database, &[&open, $refused_database]);
        assert_says(&host, &[UNKNOWN_HOST, "lookup"]);

        let store = $Store::patient(&server.url()).await;
        store.migrate().await.unwrap();
        let shared = $Store::new(store.pool().clone()).with_deadline(Duration::from_secs(1));
        let store = store.with_deadline(Duration::from_secs(1));
        server.kill();
        let record = damage::record(1, None);
        for store in [store, shared] {
            error_of("refused", async || store.get(record.id()).await.unwrap_err()).await;
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
    let store = SqliteStore::patient(&format!("sqlite:{file}")).await;
    store.migrate().await.unwrap();
    let reader = SqliteStore::patient(&format!("sqlite:{file}?mode=ro")).await;
    assert_says(&reader.set(&damage::record(1, None), Expected::Absent).await.unwrap_err(), &[&file, "readonly"]);
    // A missing table cannot be created; nothing is gained by waiting.
    let other = reader.with_table("other").unwrap();
    let migrated = tokio::time::timeout(PATIENCE, other.migrate()).await;
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
        PostgresStore::patient(&server.url()).await,
        "SELECT count(*) FROM pg_indexes WHERE tablename = 'sessile_sessions'"
    );
    let server = Server::mariadb();
    check_migration!(
        MySqlStore::patient(&server.url()).await,
        "SELECT count(*) FROM information_schema.statistics WHERE table_name = 'sessile_sessions'"
    );
}

/// On SQLite, the indexes of a renamed table are an error that names them; a dropped table is created anew.
#[tokio::test(flavor = "multi_thread")]
async fn indexes_of_a_renamed_table_are_an_error_on_sqlite() {
    let directory = Directory::new("sqlite");
    let store = SqliteStore::patient(&format!("sqlite:{}/sessions.db", directory.path().display())).await;
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

/// Runs work, and returns what the log has of it; the store works on this thread.
fn logged<T>(work: impl Future<Output = T>) -> String {
    let (log, _guard) = Capture::log(Level::INFO);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(work);
    log.text()
}

/// A server whose clock differs by hours is a warning at `connect` and at `migrate`; the right time is none.
#[test]
fn a_server_with_a_wrong_clock_is_a_warning() {
    let server = Server::postgres();
    // A function of the same name comes first in the search path.
    let setup = "CREATE SCHEMA wrong; CREATE FUNCTION wrong.statement_timestamp() RETURNS timestamptz LANGUAGE sql \
                 AS $$ SELECT clock_timestamp() - interval '3 hours' $$";
    let url = format!("{}?options=-c%20search_path%3Dwrong,public,pg_catalog", server.url());
    let right = logged(async {
        let store = PostgresStore::patient(&server.url()).await;
        store.migrate().await.unwrap();
        sqlx::raw_sql(setup).execute(store.pool()).await.unwrap();
    });
    assert!(!right.contains("clock"), "{right}");
    let wrong = logged(async { PostgresStore::patient(&url).await.migrate().await.unwrap() });
    check_warnings(&wrong, "PostgreSQL", "node_is_ahead=true");

    let server = Server::mariadb_with(&["init-connect=SET timestamp = unix_timestamp() + 7200"]);
    let right = logged(async {
        // The server does not run the statement for a user with all rights.
        let store = MySqlStore::patient(&server.url()).await;
        store.migrate().await.unwrap();
        let user = "CREATE USER plain@'%'; GRANT ALL ON app.* TO plain@'%'";
        sqlx::raw_sql(user).execute(store.pool()).await.unwrap();
    });
    assert!(!right.contains("clock"), "{right}");
    let url = server.url().replace("app@", "plain@");
    let wrong = logged(async { MySqlStore::patient(&url).await.migrate().await.unwrap() });
    check_warnings(&wrong, "MySQL", "node_is_ahead=false");
}

/// Checks that the log has two warnings.
#[track_caller]
fn check_warnings(log: &str, store: &str, direction: &str) {
    let warnings: Vec<_> = log.lines().filter(|line| line.contains("synchronize both")).collect();
    assert_eq!(warnings.len(), 2, "{log}");
    for warning in warnings {
        assert!(warning.contains("WARN") && warning.contains(store) && warning.contains(direction), "{warning}");
    }
}
