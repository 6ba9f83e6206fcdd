//! Tests of `SqliteStore` on a file.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::accounts::{ends_rules, owners_rules};
use crate::{damage, databases, faults, nodes, servers, sweeps};

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use sessile::SqliteStore;
use sessile::store::{Expected, Outcome, Store, StoreErrorKind};
use sessile::testing::conformance::{Fixture, Task, check};

use self::servers::{Directory, PATIENCE};
use crate::patience::Patient;

fn url(directory: &Directory) -> String {
    format!("sqlite:{}/sessions.db", directory.path().display())
}

impl Fixture for Directory {
    type Store = SqliteStore;

    async fn open(&self) -> Self::Store {
        let store = SqliteStore::patient(&url(self)).await;
        store.migrate().await.unwrap();
        store
    }

    async fn another(&self, _store: &Self::Store) -> Self::Store {
        self.open().await
    }

    fn spawn(&self, task: Task) {
        tokio::spawn(task);
    }

    async fn advance(&self, by: Duration) {
        tokio::time::sleep(by).await;
    }
}

/// The store passes the conformance suite.
#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_every_rule_of_the_contract() {
    let report = check(&Directory::new("sqlite")).await;
    eprintln!("{report}");
    report.assert();
}

/// Ends, expiries and the sessions of owners are as in memory.
#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_rules_of_ends_and_owners() {
    let file = Directory::new("sqlite");
    let store = file.open().await;
    ends_rules!(one_after_another store =>);
    owners_rules!(one_after_another store =>);
}

/// Parallel writers on two nodes lose no change, and a sign-out on one node ends the session on both.
#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_lose_nothing_and_end_together() {
    let file = Directory::new("sqlite");
    let store = async || SqliteStore::patient(&url(&file)).await;
    store().await.migrate().await.unwrap();
    nodes::parallel_writers_on_two_nodes_lose_nothing(store().await, store().await).await;
    nodes::a_sign_out_on_one_node_ends_the_session_on_both(store().await, store().await).await;
}

/// Damaged records open no session, and the layer does not overwrite them.
#[tokio::test(flavor = "multi_thread")]
async fn damaged_records_open_no_session_and_stay() {
    let file = Directory::new("sqlite");
    damage::damaged_records_open_no_session_and_stay(file.open().await).await;
}

/// Two nodes that sweep at once delete each expired record once, and no live one.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_sweeps_delete_expired_records_only() {
    let file = Directory::new("sqlite");
    let (one, other) = (file.open().await, file.open().await);
    sweeps::concurrent_sweeps_delete_expired_records_only(one, other).await;
}

/// A node whose clock is wrong by hours neither deletes nor ends a live session.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_wrong_clock_ends_no_session() {
    let file = Directory::new("sqlite");
    sweeps::a_node_with_a_wrong_clock_ends_no_session(async || file.open().await).await;
}

/// The example programs continue a session after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn the_examples_keep_their_sessions_here() {
    let file = Directory::new("sqlite");
    databases::the_examples_keep_their_sessions_here(&url(&file)).await;
}

/// Processes that migrate at once create one table.
#[tokio::test(flavor = "multi_thread")]
async fn processes_that_start_at_once_create_one_table() {
    let file = Directory::new("sqlite");
    let mut nodes = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let url = url(&file);
        nodes.spawn(async move {
            let store = SqliteStore::patient(&url).await.with_table("Sessions_new").unwrap();
            store.migrate().await.unwrap();
        });
    }
    nodes.join_all().await;
    let store = SqliteStore::patient(&url(&file)).await.with_table("Sessions_new").unwrap();
    assert_eq!(store.set(&damage::record(1, Some("a")), Expected::Absent).await.unwrap(), Outcome::Written);
    assert_eq!(store.owned_by("a").await.unwrap().len(), 1);
}

/// A process that starts waits for another one that holds the lock of the file, longer than SQLite itself does.
#[tokio::test(flavor = "multi_thread")]
async fn connecting_waits_for_a_locked_file() {
    let file = Directory::new("sqlite");
    let pool = sqlx::SqlitePool::connect(&format!("{}?mode=rwc", url(&file))).await.unwrap();
    let mut holder = pool.acquire().await.unwrap();
    sqlx::raw_sql("BEGIN EXCLUSIVE").execute(&mut *holder).await.unwrap();
    let url = url(&file);
    let connecting = tokio::spawn(async move { SqliteStore::connect(&url).await });
    tokio::time::sleep(Duration::from_secs(3)).await;
    sqlx::raw_sql("ROLLBACK").execute(&mut *holder).await.unwrap();
    connecting.await.unwrap().unwrap();
}

/// A table of the same name with other columns is an error, and stays as it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_with_other_columns_is_refused_and_unchanged() {
    let file = Directory::new("sqlite");
    let store = SqliteStore::patient(&url(&file)).await.with_table("other_table").unwrap();
    for (create, problem) in [
        ("CREATE TABLE other_table (id text, data text)", "has a column id of type TEXT"),
        (
            "CREATE TABLE other_table (id blob, version integer, realm blob, owner blob, expires_at integer, state blob)",
            "has no column last_seen",
        ),
    ] {
        sqlx::raw_sql(create).execute(store.pool()).await.unwrap();
        let error = store.migrate().await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unsupported);
        let source = std::error::Error::source(&error).unwrap().to_string();
        for part in ["other_table", problem, "with_table"] {
            assert!(source.contains(part), "{source}");
        }
        assert_eq!(store.owned_by("a").await.unwrap_err().kind(), StoreErrorKind::Other, "a column was added");
        sqlx::raw_sql("DROP TABLE other_table").execute(store.pool()).await.unwrap();
    }
}

/// The query plans of all statements use an index.
#[tokio::test(flavor = "multi_thread")]
async fn every_statement_uses_an_index() {
    let file = Directory::new("sqlite");
    let store = file.open().await;
    for (name, sql) in store.statements() {
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
        let rows = sqlx::raw_sql(explain).fetch_all(store.pool()).await.unwrap();
        for row in rows {
            let detail: String = sqlx::Row::get(&row, "detail");
            assert!(!detail.starts_with("SCAN"), "{name}: {detail}");
        }
    }
}

/// A read-only database is unavailable to writers and serves readers.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_database_serves_readers_only() {
    let file = Directory::new("sqlite");
    let store = file.open().await;
    let record = damage::record(1, Some("a"));
    assert_eq!(store.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
    let reader = SqliteStore::patient(&format!("{}?mode=ro", url(&file))).await;
    reader.migrate().await.unwrap();
    assert_eq!(reader.get(record.id()).await.unwrap().as_ref(), Some(&record));
    let refused = reader.set(&damage::record(2, None), Expected::Absent).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Unavailable, "{refused:?}");
}

/// A database that the store may write has a write-ahead log, whichever mode the URL names.
#[tokio::test(flavor = "multi_thread")]
async fn each_writable_mode_has_a_write_ahead_log() {
    for mode in ["", "?mode=rwc", "?mode=rw"] {
        let file = Directory::new("sqlite");
        if mode == "?mode=rw" {
            let created = sqlx::SqlitePool::connect(&format!("{}?mode=rwc", url(&file))).await.unwrap();
            created.close().await;
        }
        let store = SqliteStore::patient(&format!("{}{mode}", url(&file))).await;
        let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(store.pool()).await.unwrap();
        assert_eq!(journal, "wal", "{mode}");
    }
}

/// A limit that no clock can reach is no limit.
#[tokio::test(flavor = "multi_thread")]
async fn the_longest_deadline_is_accepted() {
    let file = Directory::new("sqlite");
    let store = file.open().await.with_deadline(Duration::MAX);
    assert_eq!(store.set(&damage::record(1, None), Expected::Absent).await.unwrap(), Outcome::Written);
}

/// A full database is unavailable and keeps its records; a limit on its pages stands for a full disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_database_is_unavailable_and_keeps_its_records() {
    let file = Directory::new("sqlite");
    let options: sqlx::sqlite::SqliteConnectOptions = url(&file).parse().unwrap();
    let options = options.create_if_missing(true).pragma("max_page_count", "64");
    let pool = sqlx::sqlite::SqlitePoolOptions::new().max_connections(2).connect_with(options).await.unwrap();
    let store = SqliteStore::new(pool).with_deadline(PATIENCE);
    store.migrate().await.unwrap();
    let first = damage::record(1, None);
    assert_eq!(store.set(&first, Expected::Absent).await.unwrap(), Outcome::Written);
    let mut parts = damage::record(2, None).into_parts();
    parts.state = vec![7; 1 << 20].into();
    let full = store.set(&sessile::store::Record::from_parts(parts), Expected::Absent).await.unwrap_err();
    assert_eq!(full.kind(), StoreErrorKind::Unavailable, "{full:?}");
    assert_eq!(store.get(first.id()).await.unwrap().as_ref(), Some(&first));
    assert!(store.delete(first.id(), None).await.unwrap());
}

/// The program of the next test: increments a count, and prints each request and each acknowledged count.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the test that kills it"]
async fn a_process_that_is_killed_counts() {
    let store = SqliteStore::patient(&std::env::var("SESSILE_DATABASE").unwrap()).await;
    let node = nodes::Node::new(store);
    let cookie = std::env::var("SESSILE_COOKIE").unwrap();
    loop {
        println!("request");
        let answer = node.post("/count", Some(&cookie)).await;
        if answer.status.is_success() {
            println!("counted {}", answer.body);
        }
    }
}

/// Acknowledged writes of two processes that share the file survive kills every second.
#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_write_is_lost_while_processes_are_killed() {
    let file = Directory::new("sqlite");
    let node = nodes::Node::new(file.open().await);
    let cookie = node.begin().await;
    let acknowledged = Arc::new(AtomicU64::new(0));
    let start = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "sqlite::a_process_that_is_killed_counts", "--ignored", "--nocapture"]);
        command.env("SESSILE_DATABASE", url(&file)).env("SESSILE_COOKIE", &cookie);
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let acknowledged = Arc::clone(&acknowledged);
        let count = move |line: &String| {
            acknowledged.fetch_add(line.contains("counted ").into(), Ordering::SeqCst);
        };
        (process, std::thread::spawn(move || lines.inspect(count).collect::<Vec<_>>()))
    };
    let (mut requests, mut counted) = (0, Vec::new());
    let mut end = |processes: [(Child, JoinHandle<Vec<String>>); 2]| {
        for (mut process, lines) in processes {
            process.kill().unwrap();
            process.wait().unwrap();
            let lines = lines.join().unwrap();
            requests += lines.iter().filter(|line| line.ends_with("request")).count() as u64;
            counted.extend(lines.iter().filter_map(|line| line.rsplit_once("counted ")?.1.parse::<u64>().ok()));
        }
    };
    let mut processes = [start(), start()];
    let kills = faults::kill_every_second(&acknowledged, || end(std::mem::replace(&mut processes, [start(), start()])));
    end(processes);
    let acknowledged = counted.len() as u64;
    counted.sort_unstable();
    counted.dedup();
    assert_eq!(counted.len() as u64, acknowledged, "two increments returned the same count");
    let token = sessile::Token::parse(cookie.split_once('=').unwrap().1.as_bytes()).unwrap();
    let stored = node.sessions.find_by_id(&token.id()).await.unwrap().unwrap().get::<u64>("count").unwrap().unwrap();
    assert!(stored <= requests, "{requests} requests counted to {stored}");
    faults::check_counts(kills, requests, acknowledged, acknowledged.saturating_sub(stored));
}

/// tower-sessions' table is read, and deletes reach it.
#[tokio::test]
async fn the_table_of_tower_sessions_is_read_and_emptied() {
    use sessile::migrate::LegacySessions;
    use sessile::migrate::tower_sessions::SqliteSessions;

    let store = SqliteStore::patient("sqlite::memory:").await;
    let pool = store.pool().clone();
    let table =
        "create table tower_sessions (id text primary key not null, data blob not null, expiry_date integer not null)";
    sqlx::query(table).execute(&pool).await.unwrap();
    let id = "AAECAwQFBgcICQoLDA0ODw";
    let add = async |year: i32| {
        let data = std::collections::BTreeMap::from([("user", 42)]);
        let record = (42_i128, data, (year, 1_u16, 0_u8, 0_u8, 0_u8, 0_u32, 0_i8, 0_i8, 0_i8));
        let add = sqlx::query("insert or replace into tower_sessions values (?, ?, ?)");
        add.bind(id).bind(rmp_serde::to_vec(&record).unwrap()).bind(0_i64).execute(&pool).await.unwrap();
    };
    let sessions = SqliteSessions::new(pool.clone());

    add(9999).await;
    let found = sessions.load(id).await.unwrap().unwrap();
    assert_eq!(found.get::<u64>("user").unwrap(), Some(42));
    for other in ["AAECAwQFBgcICQoLDA0ODg", "' OR 1 --", ""] {
        assert!(sessions.load(other).await.unwrap().is_none());
    }
    sessions.delete(id).await.unwrap();
    assert!(sessions.load(id).await.unwrap().is_none());
    sessions.delete(id).await.unwrap();

    add(2020).await;
    assert!(sessions.load(id).await.unwrap().is_none(), "an expired session was loaded");
    assert!(sessions.clone().with_table("x; drop table y").is_err());
    let missing = sessions.with_table("other").unwrap().load(id).await.unwrap_err();
    assert_eq!(missing.kind(), StoreErrorKind::Unavailable);
}
