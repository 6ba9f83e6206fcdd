//! Overhead of each store over its database client: gets and conditional sets a second, at 1, 16 and 128 parallel requests.
//!
//! Each figure has its ratio to the same client with the bare statement, on the same server and in the same run.
//!
//! ```sh
//! cargo bench --bench stores --features sqlite,postgres,mysql,redis
//! ```
//!
//! Store and client alternate in windows of a quarter of a second, so that other load on the machine affects both. Each
//! figure is the median of nine windows (`SESSILE_BENCH_WINDOWS`).

#![allow(clippy::unwrap_used, reason = "in a benchmark, a panic is the report")]

#[path = "../tests/support/servers.rs"]
mod servers;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sessile::store::{Expected, Outcome, Record, RecordParts, Store, Version};
use sessile::{MySqlStore, PostgresStore, RedisStore, SessionId, SqliteStore};
use time::OffsetDateTime;
use uuid::Uuid;

use self::servers::{Directory, Server};

/// Numbers of parallel clients.
const CLIENTS: [usize; 3] = [1, 16, 128];
/// State of about the size of a session with three small values.
const STATE: [u8; 250] = [7; 250];

fn record(id: u128, version: u64) -> Record {
    let now = OffsetDateTime::now_utc();
    Record::from_parts(RecordParts {
        id: SessionId::from(Uuid::from_u128(id)),
        version: Version::new(version),
        realm: "id".into(),
        owner: None,
        last_seen: now,
        expires_at: now + time::Duration::hours(1),
        state: STATE[..].into(),
    })
}

/// Duration of a window.
const WINDOW: Duration = Duration::from_millis(250);

/// Returns the number of windows: `SESSILE_BENCH_WINDOWS`, or nine.
fn windows() -> usize {
    std::env::var("SESSILE_BENCH_WINDOWS").map_or(9, |windows| windows.parse().unwrap())
}

/// Version of each client's record.
type Versions = Arc<Vec<AtomicU64>>;

/// Calls `work(client, version)` repeatedly from so many clients for one window, and returns the calls a second.
async fn measure<F: Future<Output = ()> + Send>(
    clients: usize,
    versions: &Versions,
    writes: bool,
    work: impl Fn(u128, u64) -> F + Clone + Send + 'static,
) -> f64 {
    let calls = Arc::new(AtomicU64::new(0));
    let (started, until) = (Instant::now(), Instant::now() + WINDOW);
    let mut tasks = tokio::task::JoinSet::new();
    for client in 1..=clients {
        let (calls, versions, work) = (Arc::clone(&calls), Arc::clone(versions), work.clone());
        tasks.spawn(async move {
            while Instant::now() < until {
                let version = versions[client].load(Ordering::Relaxed);
                work(client as u128, version).await;
                versions[client].store(version + u64::from(writes), Ordering::Relaxed);
                calls.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    tasks.join_all().await;
    calls.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64()
}

/// Writes a record of version 1 for each client.
async fn reset(store: &impl Store) -> Versions {
    for id in 1..=128 {
        let _ = store.delete(&SessionId::from(Uuid::from_u128(id)), None).await.unwrap();
        assert_eq!(store.set(&record(id, 1), Expected::Absent).await.unwrap(), Outcome::Written);
    }
    Arc::new((0..=128).map(|_| AtomicU64::new(1)).collect())
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Compares the store with two bare statements: one that reads a record, and one that writes it at its version.
///
/// The ratio is the median of the ratios of adjacent windows.
async fn compare<S, G, W>(
    name: &str,
    store: S,
    bare_get: impl Fn(u128) -> G + Clone + Send + 'static,
    bare_set: impl Fn(u128, u64) -> W + Clone + Send + 'static,
) where
    S: Store + Clone,
    G: Future<Output = ()> + Send,
    W: Future<Output = ()> + Send,
{
    let versions = reset(&store).await;
    for clients in CLIENTS {
        for operation in ["get", "set"] {
            let mut figures = Vec::new();
            // The first window warms up.
            for window in 0..windows() + 1 {
                let (bare_get, bare_set) = (bare_get.clone(), bare_set.clone());
                let (bare, ours) = if operation == "get" {
                    let bare = measure(clients, &versions, false, move |client, _| bare_get(client)).await;
                    (bare, measure(clients, &versions, false, get(store.clone())).await)
                } else {
                    let bare = measure(clients, &versions, true, bare_set).await;
                    (bare, measure(clients, &versions, true, set(store.clone())).await)
                };
                if window > 0 {
                    figures.push((ours, bare));
                }
            }
            let ours = median(figures.iter().map(|(ours, _)| *ours).collect());
            let bare = median(figures.iter().map(|(_, bare)| *bare).collect());
            let ratio = median(figures.iter().map(|(ours, bare)| ours / bare).collect());
            println!(
                "{name:<10} {operation:<4} {clients:>4} at once {ours:>8.0}/s  bare {bare:>8.0}/s  ratio {ratio:.2}"
            );
        }
    }
}

type Call = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

fn get<S: Store + Clone>(store: S) -> impl Fn(u128, u64) -> Call + Clone + Send + 'static {
    move |client, _| {
        let store = store.clone();
        Box::pin(async move {
            let id = SessionId::from(Uuid::from_u128(client));
            assert!(store.get(&id).await.unwrap().is_some());
        })
    }
}

fn set<S: Store + Clone>(store: S) -> impl Fn(u128, u64) -> Call + Clone + Send + 'static {
    move |client, version| {
        let store = store.clone();
        Box::pin(async move {
            let next = record(client, version + 1);
            let outcome = store.set(&next, Expected::Version(Version::new(version))).await.unwrap();
            assert_eq!(outcome, Outcome::Written);
        })
    }
}

const SQL_GET: &str = "SELECT version, owner, last_seen, expires_at, state FROM sessile_sessions WHERE id = ";

macro_rules! sql {
    ($name:literal, $store:expr, $pool:expr, $get:expr, $set:expr) => {{
        let (reader, writer, read, write) = ($pool, $pool, Arc::<str>::from($get), Arc::<str>::from($set));
        let get = move |client| {
            let (pool, read) = (reader.clone(), Arc::clone(&read));
            async move {
                let query = sqlx::query(sqlx::AssertSqlSafe(read)).bind(Uuid::from_u128(client));
                let row = query.fetch_one(&pool).await.unwrap();
                let _: i64 = sqlx::Row::get(&row, 0);
                let _: Vec<u8> = sqlx::Row::get(&row, 4);
            }
        };
        let set = move |client, round| {
            let (pool, write) = (writer.clone(), Arc::clone(&write));
            async move {
                let query = sqlx::query(sqlx::AssertSqlSafe(write)).bind(round as i64 + 1).bind(&STATE[..]);
                query.bind(Uuid::from_u128(client)).bind(round as i64).execute(&pool).await.unwrap();
            }
        };
        compare($name, $store, get, set).await;
    }};
}

#[tokio::main]
async fn main() {
    let file = Directory::new("bench");
    let store = SqliteStore::connect(&format!("sqlite:{}/sessions.db", file.path().display())).await.unwrap();
    store.migrate().await.unwrap();
    let set = "UPDATE sessile_sessions SET version = ?1, state = ?2 WHERE id = ?3 AND version = ?4".to_owned();
    let waiting = Duration::from_secs(60);
    // Like the store's own pool, with a longer busy timeout: the bare client has no queue of writers.
    let options = (*store.pool().connect_options()).clone().busy_timeout(waiting);
    let pool = sqlx::sqlite::SqlitePoolOptions::new().acquire_timeout(waiting).test_before_acquire(false);
    let pool = pool.connect_with(options).await.unwrap();
    sql!("SQLite", store.with_deadline(waiting), pool.clone(), format!("{SQL_GET}?1"), set.clone());

    let server = Server::postgres();
    let store = PostgresStore::connect(&server.url()).await.unwrap();
    store.migrate().await.unwrap();
    let set = "UPDATE sessile_sessions SET version = $1, state = $2 WHERE id = $3 AND version = $4".to_owned();
    let pool = sqlx::postgres::PgPoolOptions::new().test_before_acquire(false).connect(&server.url()).await.unwrap();
    sql!("PostgreSQL", store.with_deadline(waiting), pool.clone(), format!("{SQL_GET}$1"), set.clone());
    drop(server);

    let server = Server::mariadb();
    let store = MySqlStore::connect(&server.url()).await.unwrap();
    store.migrate().await.unwrap();
    let set = "UPDATE sessile_sessions SET version = ?, state = ? WHERE id = ? AND version = ?".to_owned();
    let pool = sqlx::mysql::MySqlPoolOptions::new().test_before_acquire(false).connect(&server.url()).await.unwrap();
    sql!("MariaDB", store.with_deadline(waiting), pool.clone(), format!("{SQL_GET}?"), set.clone());
    drop(server);

    let server = Server::redis();
    let store = RedisStore::connect(&server.url()).await.unwrap().with_deadline(waiting);
    let client = redis::Client::open(server.url()).unwrap();
    let connection = client.get_multiplexed_async_connection().await.unwrap();
    let key = |client| format!("sessile:{}", URL_SAFE_NO_PAD.encode(Uuid::from_u128(client)));
    let (reader, writer) = (connection.clone(), connection);
    let get = move |client| {
        let mut connection = reader.clone();
        async move {
            let _: Vec<u8> = redis::cmd("GET").arg(key(client)).query_async(&mut connection).await.unwrap();
        }
    };
    // The smallest conditional write: a script that compares the version, at the beginning of the record, and writes.
    let script = redis::Script::new(
        "if string.sub(redis.call('GET', KEYS[1]), 1, #ARGV[1]) ~= ARGV[1] then return 0 end \
         redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) return 1",
    );
    let script = Arc::new(script);
    let tagged = |version: u64| {
        let length = (1..8_u8).find(|length| version >> (8 * length) == 0).unwrap_or(8);
        [&[0x80 | length], &version.to_be_bytes()[8 - usize::from(length)..]].concat()
    };
    let set = move |client, round: u64| {
        let (mut connection, script) = (writer.clone(), Arc::clone(&script));
        async move {
            let mut call = script.key(key(client));
            call.arg(tagged(round)).arg([&tagged(round + 1), &[0; 20][..], &STATE].concat()).arg(3_600_000);
            let _: i64 = call.invoke_async(&mut connection).await.unwrap();
        }
    };
    compare("Redis", store, get, set).await;
}
