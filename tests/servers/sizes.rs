//! Tests of the session sizes that the guide to stores states, on real servers, which they start.
//!
//! `cargo test --all-features --test sizes -- --nocapture` prints the measurements. The databases run without durable
//! writes, which take time and no space.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::{servers, support};

use std::time::Duration;

use serde_json::json;
use sessile::store::Store;
use sessile::testing::ManualClock;
use sessile::{
    Error, Lifetime, MemoryStore, MySqlStore, PostgresStore, RedisStore, Session, SessionLayer, Sessions, SqliteStore,
};
use sqlx::{Executor, Row};

use self::servers::{Directory, Server, ask};
use self::support::client::{Visitor, session_of};
use crate::patience::Patient;

const GUIDE: &str = include_str!("../../docs/stores.md");

/// Number of sessions in a measured database.
const SESSIONS: u64 = 10_000;

/// Returns an owner and its session data: a name, a theme, and a cart of three articles.
fn account(n: u64) -> (String, serde_json::Value) {
    let cart = ["assam", "sencha", "lapsang"].map(|article| json!({ "article": article, "count": 2 }));
    (format!("user:{n}"), json!({ "name": "Ada Lovelace", "theme": "dark", "cart": cart }))
}

/// Creates a session for each account, one after the other: writers that wait for each other make PostgreSQL add pages in advance.
async fn fill(store: impl Store + Clone) {
    let sessions = Sessions::new(store);
    for n in 0..SESSIONS {
        let (owner, data) = account(n);
        sessions.create_owned_by(&owner, &data).await.unwrap();
    }
}

/// Compares a measurement with its row of the guide, within a quarter: page fill varies between runs.
fn assert_in_guide(name: &str, bytes: u64) {
    println!("{name}: {bytes} bytes a session");
    let row = GUIDE.lines().find_map(|line| line.strip_prefix(&format!("| {name} | "))).expect("a row of the guide");
    let documented: u64 = row.split(' ').next().unwrap().replace(',', "").parse().unwrap();
    assert!(
        (documented * 3 / 4..=documented * 5 / 4).contains(&bytes),
        "{name}: {bytes} bytes, the guide says {documented}"
    );
}

/// The encoded record of an account has the size that the guide states.
#[tokio::test]
async fn a_record_is_as_large_as_the_guide_says() {
    let store = MemoryStore::new();
    let sessions = Sessions::new(store.clone());
    let (owner, data) = account(1234);
    let (id, _) = sessions.create_owned_by(&owner, &data).await.unwrap();
    assert_in_guide("record", store.get(&id).await.unwrap().unwrap().encode().len() as u64);
}

/// The record's header stays within the guide's bounds, even with many commits and rotations.
#[tokio::test]
async fn the_record_header_is_bounded_as_the_guide_says() {
    let clock = ManualClock::new();
    let store = MemoryStore::new().with_clock(&clock);
    let layer = SessionLayer::builder(store.clone()).with_clock(&clock).build().unwrap();
    let mut browser = Visitor::new(&layer);
    browser.visit(async |session: Session| session.sign_in("user:1234")).await;
    assert_eq!(browser.jar.header().unwrap().len(), 53, "the guide to proxies states another length");
    let id = session_of(&browser.token().unwrap());
    let size = async || store.get(&id).await.unwrap().unwrap().encode().len();

    // The header of a long-lived session: its own lifetime, and as many commit ids as it keeps.
    browser.visit(async |session: Session| session.set_lifetime(Lifetime::new())).await;
    for _ in 0..20 {
        browser
            .visit(async |session: Session| -> Result<(), Error> {
                session.insert("n", &1)?;
                session.remove("n").map(drop)
            })
            .await;
    }
    let plain = size().await;
    println!("header of a long-lived session: {plain} bytes");
    assert!(plain <= 200, "{plain}");

    // The largest header: it keeps the tokens that were retired in the last half minute, up to a limit.
    let mut largest = 0;
    for _ in 0..200 {
        browser.visit(async |session: Session| session.rotate()).await;
        largest = largest.max(size().await);
    }
    println!("header after 200 rotations at once: {largest} bytes");
    assert!((1024..=4096).contains(&largest), "{largest}");
    clock.advance(Duration::from_secs(31));
    browser.visit(async |session: Session| session.rotate()).await;
    let later = size().await;
    println!("header half a minute later: {later} bytes");
    assert!(later <= 250, "{later}");
}

/// The SQLite file has the size that the guide states.
#[tokio::test]
async fn sessions_on_sqlite() {
    let directory = Directory::new("sizes");
    let url = format!("sqlite:{}/sessions.db", directory.path().display());
    let store = SqliteStore::patient(&url).await;
    store.migrate().await.unwrap();
    fill(store.clone()).await;
    let query = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
    let bytes: i64 = sqlx::query_scalar(query).fetch_one(store.pool()).await.unwrap();
    assert_in_guide("SQLite, the file", bytes.unsigned_abs() / SESSIONS);
}

/// The PostgreSQL table has the size that the guide states, and the guide's advice is valid SQL.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_on_postgres() {
    let server = Server::postgres_with(&["fsync=off", "synchronous_commit=off"]);
    let store = PostgresStore::patient(&server.url()).await;
    store.migrate().await.unwrap();
    fill(store.clone()).await;
    let query = "SELECT pg_total_relation_size('sessile_sessions')";
    let bytes: i64 = sqlx::query_scalar(query).fetch_one(store.pool()).await.unwrap();
    assert_in_guide("PostgreSQL, the table and its indexes", bytes.unsigned_abs() / SESSIONS);
    let advice = GUIDE.split("```sql\n").nth(1).unwrap().split("```").next().unwrap();
    store.pool().execute(advice).await.unwrap();
}

/// The MariaDB table has the size that the guide states.
///
/// This counts the pages in use. `information_schema.tables` counts reserved ones, which InnoDB takes by 64 for each index: for a table
/// of this size, the one page that is too many would make a quarter of it.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_on_mariadb() {
    let server = Server::mariadb_with(&["innodb-flush-log-at-trx-commit=0"]);
    let store = MySqlStore::patient(&server.url()).await;
    store.migrate().await.unwrap();
    fill(store.clone()).await;
    // The whole table is in the buffer pool, which is larger and has read nothing else.
    let query = "SELECT CAST(COUNT(*) * @@innodb_page_size AS SIGNED) FROM information_schema.innodb_buffer_page \
                 WHERE table_name LIKE '%`sessile\\_sessions`' AND page_type = 'INDEX'";
    let bytes: i64 = store.pool().fetch_one(query).await.unwrap().get(0);
    assert_in_guide("MariaDB, pages in use by the table and its indexes", bytes.unsigned_abs() / SESSIONS);
}

/// The memory of Redis grows by what the guide states, and by 550 bytes at most.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_on_redis() {
    let server = Server::redis_with(&["--appendfsync", "no"]);
    let memory = || {
        let info = ask(server.port(), "INFO memory");
        let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")).expect("a line about the memory");
        used.trim().parse::<u64>().unwrap()
    };
    let store = RedisStore::patient(&server.url()).await;
    // The server keeps the scripts, and buffers for the connection.
    let (id, _) = Sessions::new(store.clone()).create_owned_by("first", &()).await.unwrap();
    assert!(store.delete(&id, Some("first")).await.unwrap());
    let before = memory();
    fill(store).await;
    let bytes = (memory() - before) / SESSIONS;
    assert_in_guide("Redis, all memory, with the owner's index", bytes);
    assert!(bytes <= 550, "{bytes} bytes a session");
}
