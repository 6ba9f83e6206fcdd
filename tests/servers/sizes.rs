//! How much room sessions take, as the guide to stores says it: on real servers, which the tests start themselves.
//!
//! `cargo test --all-features --test sizes -- --nocapture` prints what is measured. The databases are not told to keep the data
//! safe: that costs time here, and no room.

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
use tokio::task::JoinSet;

use self::servers::{Directory, Server, ask};
use self::support::client::{Visitor, session_of};

const GUIDE: &str = include_str!("../../docs/stores.md");

/// How many sessions are in the database when it is measured.
const SESSIONS: u64 = 10_000;

/// An account with a name, a theme and three articles in the cart.
fn account(n: u64) -> (String, serde_json::Value) {
    let cart = ["assam", "sencha", "lapsang"].map(|article| json!({ "article": article, "count": 2 }));
    (format!("user:{n}"), json!({ "name": "Ada Lovelace", "theme": "dark", "cart": cart }))
}

/// Puts the accounts into a store.
async fn fill(store: impl Store + Clone) {
    let mut tasks = JoinSet::new();
    for part in 0..8 {
        let sessions = Sessions::new(store.clone());
        tasks.spawn(async move {
            for n in (part..SESSIONS).step_by(8) {
                let (owner, data) = account(n);
                sessions.create_owned_by(&owner, &data).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
}

/// The guide's row on this says so many bytes. Pages are filled differently from run to run, so that near is enough.
fn assert_in_guide(of: &str, bytes: u64) {
    println!("{of}: {bytes} bytes a session");
    let row =
        GUIDE.lines().find_map(|line| line.strip_prefix(&format!("| {of} | "))).expect("the guide has a row on it");
    let said: u64 = row.split(' ').next().unwrap().replace(',', "").parse().unwrap();
    assert!((said * 3 / 4..=said * 5 / 4).contains(&bytes), "{of}: {bytes} bytes, and the guide says {said}");
}

#[tokio::test]
async fn a_record_is_as_large_as_the_guide_says() {
    let store = MemoryStore::new();
    let sessions = Sessions::new(store.clone());
    let (owner, data) = account(1234);
    let (id, _) = sessions.create_owned_by(&owner, &data).await.unwrap();
    assert_in_guide("record", store.get(&id).await.unwrap().unwrap().encode().len() as u64);
}

#[tokio::test]
async fn the_part_of_a_record_that_is_not_the_application_s_is_bounded_as_the_guide_says() {
    let clock = ManualClock::new();
    let store = MemoryStore::new().with_clock(&clock);
    let layer = SessionLayer::builder(store.clone()).with_clock(&clock).build().unwrap();
    let mut browser = Visitor::new(&layer);
    browser.visit(async |session: Session| session.sign_in("user:1234")).await;
    assert_eq!(browser.jar.header().unwrap().len(), 53, "the guide to proxies says so");
    let id = session_of(&browser.token().unwrap());
    let size = async || store.get(&id).await.unwrap().unwrap().encode().len();

    // As full as it is in a long life: all names of commits, a lifetime of its own.
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
    println!("nothing but the header: {plain} bytes");
    assert!(plain <= 200, "{plain}");

    // As full as it can be made: it remembers what was replaced in the last half minute, and no more of it than so many.
    let mut largest = 0;
    for _ in 0..200 {
        browser.visit(async |session: Session| session.rotate()).await;
        largest = largest.max(size().await);
    }
    println!("after 200 rotations at once: {largest} bytes");
    assert!((1024..=4096).contains(&largest), "{largest}");
    clock.advance(Duration::from_secs(31));
    browser.visit(async |session: Session| session.rotate()).await;
    let later = size().await;
    println!("half a minute later: {later} bytes");
    assert!(later <= 250, "{later}");
}

#[tokio::test]
async fn sessions_on_sqlite() {
    let directory = Directory::new("sizes");
    let url = format!("sqlite:{}/sessions.db", directory.path().display());
    let store = SqliteStore::connect(&url).await.unwrap();
    store.migrate().await.unwrap();
    fill(store.clone()).await;
    let asked = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
    let bytes: i64 = sqlx::query_scalar(asked).fetch_one(store.pool()).await.unwrap();
    assert_in_guide("SQLite, the file", bytes.unsigned_abs() / SESSIONS);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_on_postgres() {
    let server = Server::postgres_with(&["fsync=off", "synchronous_commit=off"]);
    let store = PostgresStore::connect(&server.url()).await.unwrap();
    store.migrate().await.unwrap();
    fill(store.clone()).await;
    let asked = "SELECT pg_total_relation_size('sessile_sessions')";
    let bytes: i64 = sqlx::query_scalar(asked).fetch_one(store.pool()).await.unwrap();
    assert_in_guide("PostgreSQL, the table and its indexes", bytes.unsigned_abs() / SESSIONS);
    // The advice of the guide is something that the server takes.
    let advice = GUIDE.split("```sql\n").nth(1).unwrap().split("```").next().unwrap();
    store.pool().execute(advice).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_on_mariadb() {
    let server = Server::mariadb_with(&["innodb-flush-log-at-trx-commit=0"]);
    let store = MySqlStore::connect(&server.url()).await.unwrap();
    store.migrate().await.unwrap();
    fill(store.clone()).await;
    store.pool().execute("ANALYZE TABLE sessile_sessions").await.unwrap();
    let asked = "SELECT CAST(data_length + index_length AS SIGNED) FROM information_schema.tables \
                 WHERE table_name = 'sessile_sessions'";
    let bytes: i64 = store.pool().fetch_one(asked).await.unwrap().get(0);
    assert_in_guide("MariaDB, the table and its indexes", bytes.unsigned_abs() / SESSIONS);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_on_redis() {
    let server = Server::redis_with(&["--appendfsync", "no"]);
    let memory = || {
        let info = ask(server.port(), "INFO memory");
        let used = info.lines().find_map(|line| line.strip_prefix("used_memory_dataset:")).expect("it says so");
        used.trim().parse::<u64>().unwrap()
    };
    let before = memory();
    fill(RedisStore::connect(&server.url()).await.unwrap()).await;
    assert_in_guide("Redis, in memory, with the owner's index", (memory() - before) / SESSIONS);
}
