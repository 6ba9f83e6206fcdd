//! Tests of `PostgresStore` behind PgBouncer, in each of its modes, and with prepared statements that are mixed up.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::capture::Capture;
use crate::{damage, faults, nodes, servers};

use std::error::Error as _;
use std::str::FromStr;
use std::time::Duration;

use sessile::PostgresStore;
use sessile::store::{Expected, Outcome, Record, Store, StoreError, StoreErrorKind, Touch, Version};
use sessile::testing::conformance::{Fixture, Task, check};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Row};
use tracing::Level;

use crate::patience::Patient;
use crate::proxy::{ProxiedStore, Proxy};

use self::servers::{PATIENCE, Server};

/// Idle time after which the store tests a connection before a write.
const IDLE: Duration = Duration::from_millis(300);

/// PgBouncer in front of PostgreSQL, with few server connections, so that clients share them.
struct Pooled {
    pooler: Server,
    server: Server,
}

impl Pooled {
    fn start(mode: &str) -> Self {
        let server = Server::postgres();
        Self { pooler: server.pgbouncer(mode, &["default_pool_size = 4"]), server }
    }

    /// Connects a store for poolers, and creates its table.
    async fn open(&self) -> PostgresStore {
        let store = through_pooler(&self.pooler.url()).await;
        store.migrate().await.unwrap();
        store
    }

    /// Connects without the pooler.
    async fn open_directly(&self) -> PostgresStore {
        let store = PostgresStore::patient(&self.server.url()).await;
        store.migrate().await.unwrap();
        store
    }
}

/// Connects a store for poolers.
async fn through_pooler(url: &str) -> PostgresStore {
    patiently!(PostgresStore::connect_through_pooler(url))
}

/// Each store has its own proxy to the pooler, which counts round trips.
impl Fixture for Pooled {
    type Store = ProxiedStore<PostgresStore>;

    async fn open(&self) -> Self::Store {
        let proxy = Proxy::to(self.pooler.port()).await;
        let store = through_pooler(&self.pooler.url_at(proxy.port())).await;
        store.migrate().await.unwrap();
        ProxiedStore { store, proxy }
    }

    async fn another(&self, _store: &Self::Store) -> Self::Store {
        Fixture::open(self).await
    }

    fn spawn(&self, task: Task) {
        tokio::spawn(task);
    }

    async fn advance(&self, by: Duration) {
        tokio::time::sleep(by).await;
    }

    /// Smaller than the default, because the text of a statement is slow to write without optimization.
    fn largest_state(&self) -> usize {
        1 << 20
    }

    fn round_trips(&self, store: &Self::Store) -> Option<u64> {
        Some(store.proxy.round_trips())
    }
}

/// The store for poolers passes the conformance suite in transaction mode.
#[tokio::test(flavor = "multi_thread")]
async fn transaction_mode_keeps_every_rule_of_the_contract() {
    check(&Pooled::start("transaction")).await.assert();
}

/// Parallel writers on two nodes lose no change, and a sign-out ends the session on both, in each mode.
#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_lose_nothing_in_each_mode() {
    // Nothing crashes here, so that the commits need not wait for the disk.
    let server = Server::postgres_with(&["fsync=off"]);
    for mode in ["transaction", "statement", "session"] {
        // In session mode, each connection of both nodes has a server connection.
        let size = if mode == "session" { "default_pool_size = 20" } else { "default_pool_size = 8" };
        let pooler = server.pgbouncer(mode, &[size]);
        let open = async || {
            let store = through_pooler(&pooler.url()).await;
            store.migrate().await.unwrap();
            store
        };
        let (one, other) = (open().await, open().await);
        nodes::parallel_writers_on_two_nodes_lose_nothing(one.clone(), other.clone()).await;
        nodes::a_sign_out_on_one_node_ends_the_session_on_both(one, other).await;
    }
}

/// Acknowledged writes survive restarts of PgBouncer and of PostgreSQL under load.
#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_write_is_lost_in_restarts() {
    let mut pooled = Pooled::start("transaction");
    let store = pooled.open().await;
    let mut is_poolers_turn = false;
    let restart = move || {
        is_poolers_turn = !is_poolers_turn;
        let server = if is_poolers_turn { &mut pooled.pooler } else { &mut pooled.server };
        server.kill();
        server.start();
    };
    faults::no_acknowledged_write_is_lost_in_restarts(restart, store).await;
}

/// In each mode, a connection that was idle is tested before a write, and one that was closed costs no request.
#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_cost_no_request_in_each_mode() {
    for mode in ["transaction", "statement", "session"] {
        let mut pooled = Pooled::start(mode);
        let store = pooled.open().await;
        let [first, second, third] = [1, 2, 3].map(|id| damage::record(id, None));
        assert_eq!(store.set(&first, Expected::Absent).await.unwrap(), Outcome::Written);
        tokio::time::sleep(IDLE).await;
        assert_eq!(store.set(&second, Expected::Absent).await.unwrap(), Outcome::Written, "{mode}");
        pooled.pooler.kill();
        pooled.pooler.start();
        tokio::time::sleep(IDLE).await;
        assert_eq!(store.set(&third, Expected::Absent).await.unwrap(), Outcome::Written, "{mode}");
    }
}

/// Nodes that migrate at once create one table, also where a transaction of several messages is refused.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_migrate_at_once_create_one_table() {
    for mode in ["transaction", "statement"] {
        let pooled = Pooled::start(mode);
        let store = through_pooler(&pooled.pooler.url()).await;
        let store = store.with_table("Sessions_new").unwrap();
        let mut nodes = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let store = store.clone();
            nodes.spawn(async move { store.migrate().await.unwrap() });
        }
        nodes.join_all().await;
        let record = damage::record(1, Some("a"));
        assert_eq!(store.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
        assert_eq!(store.owned_by("a").await.unwrap(), [record]);
    }
}

/// Settings of the server that change the meaning of literals or the text of answers change nothing.
#[tokio::test(flavor = "multi_thread")]
async fn settings_of_text_change_nothing() {
    for mode in ["transaction", "session"] {
        let server = Server::postgres_with(&[
            "standard_conforming_strings=off",
            "backslash_quote=on",
            "escape_string_warning=off",
            "bytea_output=escape",
            "IntervalStyle=iso_8601",
            "DateStyle=German",
        ]);
        let pooled = Pooled { pooler: server.pgbouncer(mode, &[]), server };
        let (store, direct) = (pooled.open().await, pooled.open_directly().await);
        let state: Vec<u8> = (0..=u8::MAX).chain(*b"\\x41 '; $1 \\' --").collect();
        let record = with_state(&damage::record(1, Some("o'w\\ner $1")), &state);
        assert_eq!(store.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
        for reader in [&store, &direct] {
            assert_eq!(reader.get(record.id()).await.unwrap().as_ref(), Some(&record));
            assert_eq!(reader.owned_by("o'w\\ner $1").await.unwrap(), std::slice::from_ref(&record));
        }
        assert_eq!(store.delete_owned_by("o'w\\ner $1", Some("id"), None).await.unwrap(), [*record.id()]);
    }
}

/// Without the setting, `connect` and `migrate` refuse a pooler that mixes up statements, and no other.
#[tokio::test(flavor = "multi_thread")]
async fn poolers_that_mix_up_statements_are_refused() {
    let server = Server::postgres();
    for mode in ["transaction", "statement"] {
        // A new pooler and one that has served prepared statements.
        for _ in 0..2 {
            let pooler = server.pgbouncer(mode, &[]);
            for _ in 0..2 {
                let error = PostgresStore::connect(&pooler.url()).await.unwrap_err();
                assert_refused(&error, mode);
            }
            let pool = foreign_pool(&pooler, 1).await;
            assert_refused(&PostgresStore::new(pool).migrate().await.unwrap_err(), mode);
        }
    }
    let pooler = server.pgbouncer("session", &[]);
    let store = PostgresStore::patient(&pooler.url()).await;
    store.migrate().await.unwrap();
    let record = damage::record(1, None);
    assert_eq!(store.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
    assert_eq!(store.get(record.id()).await.unwrap(), Some(record));
}

/// A pooler whose server connections are all in use is not taken for one that mixes up statements.
#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_proves_nothing_refuses_nothing() {
    let server = Server::postgres();
    let pooler = server.pgbouncer("session", &["default_pool_size = 1"]);
    let pool = foreign_pool(&pooler, 1).await;
    let store = PostgresStore::new(pool).with_deadline(PATIENCE);
    store.migrate().await.unwrap();
    let record = damage::record(1, None);
    assert_eq!(store.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
}

#[track_caller]
fn assert_refused(error: &StoreError, mode: &str) {
    assert_eq!(error.kind(), StoreErrorKind::Unsupported, "{mode}: {error:?}");
    assert_advises(error);
}

#[track_caller]
fn assert_advises(error: &StoreError) {
    let source = error.source().unwrap().to_string();
    assert!(source.contains("`PostgresStore::connect_through_pooler`"), "{source}");
}

/// A pool of the application, which PgBouncer accepts without a setting of its own.
async fn foreign_pool(server: &Server, connections: u32) -> PgPool {
    let options = PgConnectOptions::from_str(&server.url()).unwrap().extra_float_digits(None);
    PgPoolOptions::new().max_connections(connections).connect_with(options).await.unwrap()
}

/// The operations of a store, on a record that exists.
#[derive(Clone, Copy, Debug)]
enum Operation {
    Get,
    Insert,
    Replace,
    ReplaceKeepingTimes,
    Touch,
    Delete,
    OwnedBy,
    IdsOf,
    SummariesOf,
    List,
    DeleteOwnedBy,
    Sweep,
}

impl Operation {
    const ALL: [Self; 12] = [
        Self::Get,
        Self::Insert,
        Self::Replace,
        Self::ReplaceKeepingTimes,
        Self::Touch,
        Self::Delete,
        Self::OwnedBy,
        Self::IdsOf,
        Self::SummariesOf,
        Self::List,
        Self::DeleteOwnedBy,
        Self::Sweep,
    ];

    /// Returns the name of the statement that the operation runs.
    fn statement(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Insert => "insert",
            Self::Replace => "replace",
            Self::ReplaceKeepingTimes => "replace_keeping_times",
            Self::Touch => "touch",
            Self::Delete => "delete",
            Self::OwnedBy => "owned_by",
            Self::IdsOf => "ids_of",
            Self::SummariesOf => "summaries",
            Self::List => "list",
            Self::DeleteOwnedBy => "delete_owned_by",
            Self::Sweep => "sweep",
        }
    }

    /// Runs the operation; returns whether the answer is the one for a live record.
    async fn run(self, store: &PostgresStore, record: &Record) -> Result<bool, StoreError> {
        let owner = record.owner().unwrap();
        let mut next = record.clone().into_parts();
        next.version = Version::new(next.version.get() + 1);
        let next = Record::from_parts(next);
        let version = record.version();
        let is_written = |outcome| outcome == Outcome::Written;
        match self {
            Self::Get => Ok(store.get(record.id()).await?.as_ref() == Some(record)),
            Self::Insert => store.set(record, Expected::Absent).await.map(|outcome| outcome == Outcome::Refused),
            Self::Replace => store.set(&next, Expected::Version(version)).await.map(is_written),
            Self::ReplaceKeepingTimes => store.set(&next, Expected::VersionKeepingTimes(version)).await.map(is_written),
            Self::Touch => store.touch(record, Touch::new(record.last_seen(), record.expires_at())).await,
            Self::Delete => store.delete(record.id(), Some(owner)).await,
            Self::OwnedBy => Ok(store.owned_by(owner).await? == std::slice::from_ref(record)),
            Self::IdsOf => Ok(store.ids_of(owner, None).await? == [*record.id()]),
            Self::SummariesOf => {
                let summaries = store.summaries_of(&[*record.id()]).await?;
                Ok(summaries[0].is_some_and(|summary| summary.version == version))
            }
            Self::List => Ok(store.list(None, 100).await?.records.contains(record)),
            Self::DeleteOwnedBy => Ok(store.delete_owned_by(owner, None, None).await? == [*record.id()]),
            Self::Sweep => store.delete_expired().await.map(|_| true),
        }
    }

    const fn is_read(self) -> bool {
        matches!(self, Self::Get | Self::OwnedBy | Self::IdsOf | Self::SummariesOf | Self::List)
    }
}

/// If a connection runs another statement in place of the store's, the operation fails and nothing changes.
///
/// The other statement is each one of the store's, the same for another table, and some of other programs.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_another_statement_is_an_error() {
    let server = Server::postgres();
    let direct = PostgresStore::patient(&server.url()).await;
    let pool = foreign_pool(&server, 1).await;
    let store = PostgresStore::new(pool.clone()).with_deadline(PATIENCE);
    let other = store.clone().with_table("other").unwrap();
    for store in [&store, &other] {
        store.migrate().await.unwrap();
    }
    let record = damage::record(1, Some("a"));
    for operation in Operation::ALL {
        let is_own = |(name, _): &(&str, String)| *name == operation.statement();
        let (own, others): (Vec<_>, Vec<_>) = store.statements().into_iter().partition(is_own);
        let text = &own[0].1;
        // The last one does the same in another table.
        let others = others.into_iter().chain(other.statements().into_iter().filter(is_own));
        let mut replacements: Vec<_> = others.map(|(_, text)| Replacement::OfAStore(text)).collect();
        replacements.extend(FOREIGN_STATEMENTS.map(Replacement::Foreign));
        replacements.extend([Replacement::OtherTypes, Replacement::None]);
        for replacement in &replacements {
            let tables = [direct.clone(), direct.clone().with_table("other").unwrap()];
            for table in &tables {
                table.delete(record.id(), None).await.unwrap();
                assert_eq!(table.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
            }
            // On another record, so that the connection has prepared the statement.
            let _ = operation.run(&store, &damage::record(2, Some("b"))).await.unwrap();
            replacement.replace(&pool, text).await;
            match operation.run(&store, &record).await {
                Ok(answer) if matches!(replacement, Replacement::None) => {
                    // Without a statement the server has done nothing, and the store has used another connection.
                    assert!(answer, "{operation:?} without a statement");
                    continue;
                }
                Ok(answer) => {
                    // The server has refused the parameters, and the store has read again on another connection.
                    let is_right = answer && operation.is_read();
                    assert!(is_right, "{operation:?} believes the answer to {replacement:?}");
                }
                Err(error) if matches!(replacement, Replacement::OtherTypes) => {
                    assert_refused(&error, operation.statement());
                }
                Err(_) => {}
            }
            for table in &tables {
                let stored = table.get(record.id()).await.unwrap();
                assert_eq!(stored.as_ref(), Some(&record), "{operation:?} by {replacement:?} has an effect");
            }
            // The store has closed the connection.
            assert!(operation.run(&store, &record).await.unwrap(), "{operation:?} after {replacement:?}");
        }
    }
}

/// If each connection has lost its statements, the second attempt is the last, and its error gives advice.
#[tokio::test(flavor = "multi_thread")]
async fn statements_that_are_lost_twice_are_an_error() {
    let server = Server::postgres();
    let direct = PostgresStore::patient(&server.url()).await;
    direct.migrate().await.unwrap();
    // sqlx gives the first statement of each connection this name.
    let pool = PgPoolOptions::new().max_connections(1).after_connect(|connection, _| {
        Box::pin(async move { sqlx::raw_sql("PREPARE sqlx_s_1 AS SELECT 1").execute(connection).await.map(drop) })
    });
    let store = PostgresStore::new(pool.connect(&server.url()).await.unwrap()).with_deadline(PATIENCE);
    let record = damage::record(1, Some("a"));
    for operation in Operation::ALL {
        assert_eq!(direct.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
        assert_refused(&operation.run(&store, &record).await.unwrap_err(), operation.statement());
        assert!(direct.delete(record.id(), None).await.unwrap(), "{operation:?} has an effect");
    }
}

/// Statements of other programs that accept the parameters of any statement of a store.
const FOREIGN_STATEMENTS: [&str; 5] = [
    "SELECT 1",
    "SELECT 7::bigint, 1::bigint",
    "SELECT 'a'::bytea FROM pg_class WHERE false",
    "DELETE FROM other WHERE false",
    "UPDATE other SET version = 1",
];

/// What a connection has in place of a prepared statement.
#[derive(Debug)]
enum Replacement {
    OfAStore(String),
    Foreign(&'static str),
    /// A statement with as many parameters, of other types.
    OtherTypes,
    None,
}

impl Replacement {
    /// Replaces a prepared statement of the pool's only connection.
    async fn replace(&self, pool: &PgPool, text: &str) {
        let mut connection = pool.acquire().await.unwrap();
        let find = "SELECT name, statement, parameter_types::text FROM pg_prepared_statements";
        let rows = sqlx::raw_sql(find).fetch_all(&mut *connection).await.unwrap();
        let row = rows.iter().find(|row| row.get::<&str, _>(1) == text).expect("the statement is prepared");
        let (name, types): (&str, &str) = (row.get(0), row.get(2));
        let prepare = match self {
            Self::OfAStore(text) => format!("PREPARE {name} AS {text}"),
            Self::Foreign(text) => format!("PREPARE {name} ({}) AS {text}", types.trim_matches(['{', '}'])),
            Self::OtherTypes => {
                format!(
                    "PREPARE {name} ({}) AS SELECT 1",
                    types.split(',').map(|_| "boolean").collect::<Vec<_>>().join(", ")
                )
            }
            Self::None => String::new(),
        };
        let script = AssertSqlSafe(format!("DEALLOCATE {name}; {prepare}"));
        sqlx::raw_sql(script).execute(&mut *connection).await.unwrap();
    }
}

/// Stores of two applications that skip the check get no wrong answer from a pooler, and destroy no record.
#[tokio::test(flavor = "multi_thread")]
async fn mixed_up_statements_yield_no_wrong_answer() {
    let server = Server::postgres();
    let pooler = server.pgbouncer("transaction", &["default_pool_size = 2"]);
    let mut workers = tokio::task::JoinSet::new();
    for (application, table) in ["one", "other"].into_iter().enumerate() {
        let direct = PostgresStore::patient(&server.url()).await.with_table(table).unwrap();
        direct.migrate().await.unwrap();
        let pool = foreign_pool(&pooler, 2).await;
        let store = PostgresStore::new(pool).with_table(table).unwrap().with_deadline(PATIENCE);
        for worker in 0..4 {
            let number = u128::try_from(application * 4 + worker + 1).unwrap();
            workers.spawn(hammer(
                store.clone(),
                direct.clone(),
                damage::record(number, Some(&format!("user:{number}"))),
            ));
        }
    }
    let counts = workers.join_all().await;
    let (answers, errors) =
        counts.iter().fold((0, 0), |(answers, errors), count| (answers + count.0, errors + count.1));
    eprintln!("{answers} right answers, {errors} errors");
}

/// Runs operations on a record of this worker, compares each answer with the table, and counts answers and errors.
async fn hammer(store: PostgresStore, direct: PostgresStore, record: Record) -> (u32, u32) {
    let (mut answers, mut errors) = (0, 0);
    let mut stored = record.clone();
    assert_eq!(direct.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
    for round in 0..10 {
        for operation in Operation::ALL {
            let before = stored.clone();
            let answer = operation.run(&store, &before).await;
            match &answer {
                Ok(answer) => {
                    assert!(answer, "{operation:?} in round {round} is a wrong answer");
                    answers += 1;
                }
                Err(_) => errors += 1,
            }
            let after = direct.get(record.id()).await.unwrap();
            let deletes = matches!(operation, Operation::Delete | Operation::DeleteOwnedBy);
            match after {
                Some(after) => {
                    assert!(!(deletes && answer.is_ok()), "{operation:?} in round {round} has not deleted the record");
                    stored = after;
                }
                None => {
                    assert!(deletes, "{operation:?} in round {round} has destroyed the record");
                    assert_eq!(direct.set(&before, Expected::Absent).await.unwrap(), Outcome::Written);
                }
            }
        }
    }
    (answers, errors)
}

/// Neither the log nor an error contains a value, which is in the text of the statement.
#[tokio::test]
async fn statements_with_values_are_not_logged() {
    let (capture, _guard) = Capture::log(Level::TRACE);
    let pooled = Pooled::start("transaction");
    let store = pooled.open().await;
    let record = with_state(&damage::record(1, Some("canary-owner")), b"canary-state");
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    for operation in Operation::ALL {
        operation.run(&store, &record).await.unwrap();
    }
    sqlx::raw_sql("DROP TABLE sessile_sessions").execute(store.pool()).await.unwrap();
    for operation in Operation::ALL {
        capture.add_error(&operation.run(&store, &record).await.unwrap_err());
    }
    capture.add_debug(&store);
    let secrets = ["canary", &hex("canary"), &record.id().as_uuid().to_string(), "decode("];
    for secret in secrets {
        assert!(!capture.contains(secret.as_bytes()), "{secret} is in the log");
    }
    // A connection with the default options logs each statement.
    let options = PgConnectOptions::from_str(&pooled.server.url()).unwrap();
    sqlx::raw_sql("SELECT 'canary'").execute(&mut options.connect().await.unwrap()).await.unwrap();
    assert!(capture.contains(b"canary"));
}

fn with_state(record: &Record, state: &[u8]) -> Record {
    let mut parts = record.clone().into_parts();
    parts.state = state.into();
    Record::from_parts(parts)
}
