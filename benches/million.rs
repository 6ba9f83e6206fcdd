//! A million sessions in PostgreSQL and in SQLite: the cost of a get compared with ten thousand sessions, and of requests
//! during a sweep of 500,000 expired rows.
//!
//! ```sh
//! cargo bench --bench million --features sqlite,postgres
//! ```

#![allow(clippy::unwrap_used, reason = "in a benchmark, a panic is the report")]

#[path = "../tests/support/servers.rs"]
mod servers;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sessile::{PostgresStore, SessionId, SqliteStore};

use sessile::store::{Expected, Outcome, Store, Version};
use uuid::Uuid;

use self::servers::{Directory, Server};

const FEW: u64 = 10_000;
const MANY: u64 = 1_000_000;
const EXPIRED: u64 = 500_000;
/// Number of gets of which the median is taken.
const GETS: u64 = 5_000;
/// Duration of the requests without a sweep, which are the base of comparison.
const CALM: Duration = Duration::from_secs(10);

/// Returns the id of a session. Ids ascend with their numbers, as UUIDv7 do with time.
fn id(number: u64) -> SessionId {
    Uuid::from_u128(u128::from(number) << 64 | u128::from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15))).into()
}

/// Returns a quantile of the durations in microseconds.
fn quantile(took: &mut [Duration], share: f64) -> f64 {
    took.sort_unstable();
    #[expect(clippy::cast_possible_truncation, reason = "an index of the list")]
    let place = ((took.len() - 1) as f64 * share) as usize;
    took[place].as_secs_f64() * 1e6
}

/// Times gets of sessions from all parts of the table.
async fn gets(store: &impl Store, sessions: u64) -> Vec<Duration> {
    let mut took = Vec::new();
    for round in 0..GETS {
        let id = id(1 + round.wrapping_mul(7_919) % sessions);
        let started = Instant::now();
        assert!(store.get(&id).await.unwrap().is_some());
        took.push(started.elapsed());
    }
    took
}

/// Times requests of four clients, each a get and a conditional set, until `stop` is set.
async fn requests<S: Store + Clone>(store: &S, stop: &Arc<AtomicBool>) -> Vec<Duration> {
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..4 {
        let (store, stop) = (store.clone(), Arc::clone(stop));
        clients.spawn(async move {
            let (mut took, mut round) = (Vec::new(), 0);
            while !stop.load(Ordering::SeqCst) {
                let id = id(EXPIRED + 1 + client + 4 * (round * 7_919 % (FEW / 4)));
                round += 1;
                let started = Instant::now();
                let record = store.get(&id).await.unwrap().unwrap();
                let before = record.version();
                let mut parts = record.into_parts();
                parts.version = Version::new(before.get() + 1);
                let next = sessile::store::Record::from_parts(parts);
                assert_eq!(store.set(&next, Expected::Version(before)).await.unwrap(), Outcome::Written);
                took.push(started.elapsed());
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            took
        });
    }
    clients.join_all().await.concat()
}

async fn measure<S: Store + Clone>(name: &str, store: S, fill: impl AsyncFn(u64, u64), expire: impl AsyncFn()) {
    fill(1, FEW).await;
    gets(&store, FEW).await;
    let few = quantile(&mut gets(&store, FEW).await, 0.5);
    fill(FEW + 1, MANY).await;
    gets(&store, MANY).await;
    let many = quantile(&mut gets(&store, MANY).await, 0.5);
    println!("{name:<10} get, median: {few:.0} us of {FEW} sessions, {many:.0} us of {MANY}: ratio {:.2}", many / few);

    expire().await;
    let stop = Arc::new(AtomicBool::new(false));
    let ((), mut calm) = tokio::join!(
        async {
            tokio::time::sleep(CALM).await;
            stop.store(true, Ordering::SeqCst);
        },
        requests(&store, &stop)
    );
    stop.store(false, Ordering::SeqCst);
    let started = Instant::now();
    let (deleted, mut swept) = tokio::join!(
        async {
            let deleted = store.delete_expired().await.unwrap();
            stop.store(true, Ordering::SeqCst);
            deleted
        },
        requests(&store, &stop)
    );
    assert_eq!(deleted, EXPIRED);
    let sweep = started.elapsed();
    for share in [0.5, 0.99, 0.999] {
        let (calm, swept) = (quantile(&mut calm, share), quantile(&mut swept, share));
        let percent = share * 100.0;
        println!(
            "{name:<10} get and set, {percent} %: {calm:.0} us, {swept:.0} us during a sweep: ratio {:.2}",
            swept / calm
        );
    }
    println!("{name:<10} {deleted} swept in {sweep:.1?}, {} requests meanwhile", swept.len());
}

#[tokio::main]
async fn main() {
    let file = Directory::new("million");
    let store = SqliteStore::connect(&format!("sqlite:{}/sessions.db", file.path().display())).await.unwrap();
    store.migrate().await.unwrap();
    let pool = store.pool().clone();
    let fill = async |first: u64, last: u64| {
        let mut transaction = pool.begin().await.unwrap();
        let insert = "INSERT INTO sessile_sessions (id, version, owner, last_seen, expires_at, state) \
                      VALUES (?1, 1, CAST('user:' || ?2 AS blob), 0, 253402300799999, zeroblob(250))";
        for number in first..=last {
            let query = sqlx::query(insert).bind(*id(number).as_uuid()).bind(i64::try_from(number).unwrap());
            query.execute(&mut *transaction).await.unwrap();
        }
        transaction.commit().await.unwrap();
    };
    let expire = async || {
        let update = format!("UPDATE sessile_sessions SET expires_at = rowid WHERE rowid <= {EXPIRED}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(update)).execute(&pool).await.unwrap();
        sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(&pool).await.unwrap();
    };
    measure("SQLite", store, fill, expire).await;
    drop(file);

    let server = Server::postgres();
    let store = PostgresStore::connect(&server.url()).await.unwrap();
    store.migrate().await.unwrap();
    let pool = store.pool().clone();
    let fill = async |first: u64, last: u64| {
        for part in (first..=last).collect::<Vec<_>>().chunks(20_000) {
            let ids: Vec<Uuid> = part.iter().map(|number| *id(*number).as_uuid()).collect();
            let insert = "INSERT INTO sessile_sessions (id, version, owner, last_seen, expires_at, state) \
                          SELECT id, 1, convert_to('user:' || id, 'UTF8'), 0, 253402300799999, decode(repeat('07', 250), 'hex') \
                          FROM unnest($1::uuid[]) AS id";
            sqlx::query(insert).bind(ids).execute(&pool).await.unwrap();
        }
        sqlx::raw_sql("VACUUM ANALYZE sessile_sessions").execute(&pool).await.unwrap();
    };
    let expire = async || {
        let update = "UPDATE sessile_sessions SET expires_at = 1 WHERE id < $1";
        sqlx::query(update).bind(*id(EXPIRED + 1).as_uuid()).execute(&pool).await.unwrap();
        sqlx::raw_sql("VACUUM ANALYZE sessile_sessions").execute(&pool).await.unwrap();
        sqlx::raw_sql("CHECKPOINT").execute(&pool).await.unwrap();
    };
    measure("PostgreSQL", store, fill, expire).await;
}
