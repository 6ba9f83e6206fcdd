//! The store on SQL databases.

mod connections;
mod dialect;
mod error;
mod schema;
mod statement;
mod write;

use std::collections::HashMap;
use std::fmt;
#[cfg(any(feature = "postgres", feature = "mysql"))]
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolOptions;
use sqlx::{AssertSqlSafe, Database, Pool, SqlSafeStr, SqlStr};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use uuid::Uuid;

use self::connections::Connections;
use self::dialect::{DeleteOwnedBy, Driver, Statements};
pub(super) use self::dialect::{Dialect, Running, SWEEP_BATCH_SIZE};
use self::error::AddressedError;
#[cfg(feature = "postgres")]
pub(super) use self::error::POOLER_ADVICE;
pub(super) use self::error::{SqlFailure, store_error};
pub(super) use self::schema::Table;
pub(super) use self::statement::Protocol;
use self::statement::{Parameter, Statement};
pub use self::write::{SqlParameter, SqlWrite};
pub(crate) use self::write::{TransactionFailure, Transactional};
use super::deadline::{CONNECT_DEADLINE, DEFAULT_DEADLINE, Deadline};
use super::server_clock::warn_if_clock_differs;
use super::{Cursor, Expected, Outcome, Page, RecordSummary, Store, Touch};
use crate::backoff::pause;
use crate::clock::Timestamp;
#[cfg(doc)]
use crate::error::StoreErrorKind;
use crate::error::{ConfigError, StoreError};
use crate::record::Record;
use crate::token::{SessionId, random};

/// Number of connections in a pool of the store's own.
const MAX_CONNECTIONS: u32 = 10;
/// Number of times that a statement runs again after the database has rolled it back.
const MAX_RERUNS: u32 = 10;
/// Least time limit of a statement that deletes all records of an owner, which may be thousands.
const BULK_DEADLINE: Duration = Duration::from_secs(30);
/// Time that `connect` and `migrate` wait for other processes at a database with a single writer.
const LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// A store in a table of an SQL database.
///
/// Use it under the name of its database: `SqliteStore`, `PostgresStore` or `MySqlStore`. Every operation is one statement
/// and one round trip. Clones share the connections.
pub struct SqlStore<D: Database> {
    connections: Arc<Connections<D>>,
    table: Table,
    statements: Arc<Statements>,
    protocol: Protocol,
    /// Queue of the writers, if the database has a single one.
    writer: Option<Arc<Semaphore>>,
    deadline: Duration,
}

#[expect(private_bounds, reason = "the bound limits the store to the databases of this crate")]
impl<D: Driver> SqlStore<D> {
    /// Connects to the database at a URL, with up to ten connections for this store alone.
    ///
    /// sqlx documents the URL's parameters. TLS needs the feature `tls-rustls`.
    ///
    /// # Errors
    ///
    /// If the URL is invalid, or the store cannot connect within five seconds; the error's sources name the server or file, and the
    /// cause. It waits up to a minute while other processes hold the lock of a SQLite file.
    ///
    /// [`Unsupported`](StoreErrorKind::Unsupported) if a pooler in front of PostgreSQL mixes up prepared statements, as PgBouncer
    /// does in transaction and statement mode: use `PostgresStore::connect_through_pooler`.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        let pool = D::pool(url, pool_options()).map_err(store_error::<D>)?;
        let store = Self::open(pool, Protocol::Prepared).await?;
        D::check_pooling(store.pool()).await?;
        Ok(store)
    }

    /// Creates a store that has the whole pool, and connects.
    pub(super) async fn open(pool: Pool<D>, protocol: Protocol) -> Result<Self, StoreError> {
        let store = Self::from_connections(Connections::of_own_pool(pool), protocol);
        store.wait_for_lock(|| store.compare_clocks()).await?;
        Ok(store)
    }

    /// Creates a store over a pool that the application has already.
    ///
    /// While the store is busy, it keeps up to half of the pool's connections. It tests each connection that it takes from the pool with
    /// a short query: one with an open transaction is closed or rolled back, and one of MySQL or MariaDB without `autocommit` is
    /// an [`Unsupported`](StoreErrorKind::Unsupported) error.
    #[must_use]
    pub fn new(pool: Pool<D>) -> Self {
        Self::from_connections(Connections::of_shared_pool(pool), Protocol::Prepared)
    }

    fn from_connections(connections: Connections<D>, protocol: Protocol) -> Self {
        let table = Table::new::<D>();
        Self {
            connections: Arc::new(connections),
            statements: Arc::new(Statements::new::<D>(&table, protocol)),
            protocol,
            table,
            writer: D::HAS_SINGLE_WRITER.then(|| Arc::new(Semaphore::new(1))),
            deadline: DEFAULT_DEADLINE,
        }
    }

    /// Sets the table's name. Default: `sessile_sessions`.
    ///
    /// # Errors
    ///
    /// If the name contains anything but ASCII letters, digits and underscores, starts with a digit, or is longer than 48
    /// characters.
    pub fn with_table(self, name: &str) -> Result<Self, ConfigError> {
        let table = self.table.clone().with_name(name)?;
        Ok(self.with_validated_table(table))
    }

    fn with_validated_table(self, table: Table) -> Self {
        Self { statements: Arc::new(Statements::new::<D>(&table, self.protocol)), table, ..self }
    }

    /// Sets the time limit of an operation, which includes the wait for a connection. Default: 2 seconds.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Returns the pool.
    #[must_use]
    pub fn pool(&self) -> &Pool<D> {
        self.connections.pool()
    }

    /// Creates the table and its indexes, unless the table exists.
    ///
    /// Several nodes may call this at once. It does not write to an existing table.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](StoreErrorKind::Unsupported) if a table of this name lacks a column or has one of another type; the
    /// error's source names the column. Also if [`connect`](Self::connect) would refuse the database.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        if self.protocol == Protocol::Prepared {
            D::check_pooling(self.pool()).await?;
        }
        self.wait_for_lock(|| self.create_table()).await
    }

    /// Runs work that another process may hold up, which has the lock of a database with a single writer.
    async fn wait_for_lock<F>(&self, work: impl Fn() -> F + Send) -> Result<(), StoreError>
    where
        F: Future<Output = Result<(), StoreError>> + Send,
    {
        let deadline = Instant::now() + LOCK_TIMEOUT;
        let mut attempt = 0;
        loop {
            attempt += 1;
            match work().await {
                Err(error)
                    if D::HAS_SINGLE_WRITER && error::is_rolled_back::<D>(&error) && Instant::now() < deadline =>
                {
                    pause(attempt).await;
                }
                result => return result,
            }
        }
    }

    /// Connects, compares the database's clock with this node's, and returns the connection to the pool.
    async fn compare_clocks(&self) -> Result<(), StoreError> {
        let deadline = Deadline::new(CONNECT_DEADLINE);
        let mut lease = self.connections.lease(false, deadline).await?;
        // Without arguments it is no prepared statement, which a pooler could mix up.
        let sql = AssertSqlSafe(format!("SELECT {}", D::NOW)).into_sql_str();
        // A failure to read the clock is no failure to connect.
        if let Ok(Ok(rows)) = deadline.limit(D::fetch(lease.connection(), sql, None)).await
            && let Some(Ok(now)) = rows.first().map(|row| D::number(row, 0))
        {
            warn_if_clock_differs(D::NAME, Timestamp::from_milliseconds(now));
        }
        Ok(())
    }

    async fn create_table(&self) -> Result<(), StoreError> {
        self.compare_clocks().await?;
        let columns = D::columns(self.pool(), &self.table).await.map_err(store_error::<D>)?;
        if self.table.check::<D>(&columns)? {
            return Ok(());
        }
        D::create(self.pool(), &self.table).await.map_err(store_error::<D>)
    }

    /// Returns the statements for the tests that have the database explain them.
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    #[must_use]
    pub fn statements(&self) -> Vec<(&'static str, String)> {
        let statements = &*self.statements;
        let single = [
            ("get", &statements.get),
            ("insert", &statements.insert),
            ("replace", &statements.replace),
            ("replace_keeping_times", &statements.replace_keeping_times),
            ("touch", &statements.touch),
            ("delete", &statements.delete),
            ("owned_by", &statements.owned_by),
            ("ids_of", &statements.ids_of),
            ("list", &statements.list),
            ("summaries", &statements.summaries[0].1),
            ("sweep", &statements.sweep),
        ];
        let bulk = match &statements.delete_owned_by {
            DeleteOwnedBy::Returning(delete) => vec![("delete_owned_by", delete)],
            DeleteOwnedBy::Expiring { expire, find } => vec![("expire_owned_by", expire), ("find_deleted", find)],
        };
        single.into_iter().chain(bulk).map(|(name, statement)| (name, statement.text().to_owned())).collect()
    }

    async fn execute(&self, statement: &Statement, parameters: &[Parameter<'_>]) -> Result<u64, StoreError> {
        self.execute_within(self.deadline, statement, parameters, D::rows_affected).await
    }

    /// Runs a statement that writes, and returns the number of rows that it changed; without a tag, `changed` reads it.
    async fn execute_within(
        &self,
        deadline: Duration,
        statement: &Statement,
        parameters: &[Parameter<'_>],
        changed: fn(&D::QueryResult) -> u64,
    ) -> Result<u64, StoreError> {
        let _permit = self.queue_writer().await?;
        if statement.tag().is_some() {
            return number::<D>(&self.fetch_within(deadline, statement, parameters, false).await?, statement);
        }
        let result = self.run(statement, parameters, deadline, false, D::execute, |_| Ok(())).await?;
        Ok(changed(&result))
    }

    async fn fetch(&self, statement: &Statement, parameters: &[Parameter<'_>]) -> Result<Vec<D::Row>, StoreError> {
        self.fetch_within(self.deadline, statement, parameters, true).await
    }

    async fn fetch_records(
        &self,
        statement: &Statement,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Record>, StoreError> {
        let rows = self.fetch(statement, parameters).await?;
        rows.iter().filter_map(|row| D::record(row, statement).transpose()).collect()
    }

    /// Runs a statement for its rows.
    async fn fetch_within(
        &self,
        deadline: Duration,
        statement: &Statement,
        parameters: &[Parameter<'_>],
        repeatable: bool,
    ) -> Result<Vec<D::Row>, StoreError> {
        let check = |rows: &Vec<D::Row>| statement.tag().map_or(Ok(()), |tag| D::check_answer(rows, tag));
        self.run(statement, parameters, deadline, repeatable, D::fetch, check).await
    }

    async fn queue_writer(&self) -> Result<Option<SemaphorePermit<'_>>, StoreError> {
        let Some(writer) = &self.writer else { return Ok(None) };
        let permit = Deadline::new(self.deadline).limit(writer.acquire()).await?;
        permit.map(Some).map_err(StoreError::other)
    }

    /// Runs a statement before the deadline. If the answer fails the check, the connection is closed, and the outcome is unknown.
    ///
    /// It runs again if the database has rolled it back. It runs once more, on a connection made after the failure, if it certainly
    /// did not run, or if it is `repeatable` and the connection has failed.
    async fn run<T>(
        &self,
        statement: &Statement,
        parameters: &[Parameter<'_>],
        deadline: Duration,
        repeatable: bool,
        work: impl for<'c> Fn(&'c mut D::Connection, SqlStr, Option<D::Arguments>) -> Running<'c, T> + Send + Sync,
        check: impl Fn(&T) -> Result<(), sqlx::Error> + Send + Sync,
    ) -> Result<T, StoreError> {
        let deadline = Deadline::new(deadline);
        let mut reruns = 0;
        let mut is_last_connection = false;
        loop {
            let mut lease = self.connections.lease(!repeatable, deadline).await?;
            let (sql, arguments) = statement.call::<D>(parameters)?;
            let error = match deadline.limit(work(lease.connection(), sql, arguments)).await {
                Ok(Ok(answer)) => {
                    if let Err(error) = check(&answer) {
                        lease.fail();
                        return Err(store_error::<D>(error));
                    }
                    lease.keep();
                    return Ok(answer);
                }
                Ok(Err(error)) => error,
                Err(exceeded) => {
                    // The server may still be busy with the statement, and would not answer the next one.
                    lease.discard();
                    return Err(exceeded);
                }
            };
            let failure = error.as_database_error().map(D::failure);
            match failure {
                Some(SqlFailure::RolledBack) if reruns < MAX_RERUNS => {
                    lease.keep();
                    reruns += 1;
                    deadline.limit(pause(reruns)).await?;
                    continue;
                }
                // The server may close the connection on which it received a record that is too large.
                Some(SqlFailure::TooLarge) => lease.close(),
                // The server cannot write, whichever the connection.
                Some(SqlFailure::ReadOnly) if is_last_connection => lease.keep(),
                _ if error::breaks_connection(&error, failure) => {
                    lease.fail();
                    let is_unused = repeatable || failure.is_some_and(SqlFailure::needs_new_connection);
                    if is_unused && !std::mem::replace(&mut is_last_connection, true) {
                        continue;
                    }
                }
                _ => lease.keep(),
            }
            return Err(match failure {
                Some(SqlFailure::Unavailable | SqlFailure::ReadOnly) => {
                    AddressedError::statement(self.connections.address(), error).into_store_error::<D>()
                }
                _ => store_error::<D>(error),
            });
        }
    }
}

#[cfg(any(feature = "postgres", feature = "mysql"))]
#[expect(private_bounds, reason = "SQLite has no schemas")]
impl<D: dialect::HasSchemas> SqlStore<D> {
    /// Sets the schema of the table, in MySQL the database; it must exist. Default: the connection's.
    ///
    /// # Errors
    ///
    /// As for [`with_table`](Self::with_table).
    pub fn with_schema(self, schema: &str) -> Result<Self, ConfigError> {
        let table = self.table.clone().with_schema(schema)?;
        Ok(self.with_validated_table(table))
    }
}

impl<D: Driver> Store for SqlStore<D> {
    async fn get(&self, id: &SessionId) -> Result<Option<Record>, StoreError> {
        let records = self.fetch_records(&self.statements.get, &[Parameter::Id(*id.as_uuid())]).await?;
        Ok(records.into_iter().next())
    }

    async fn set(&self, record: &Record, expected: Expected) -> Result<Outcome, StoreError> {
        let parameters = write::parameters::<D>(record, expected)?;
        let statement = self.statements.write(expected);
        let written = write::rows_written::<D>(expected);
        let is_written = self.execute_within(self.deadline, statement, &parameters, written).await? == 1;
        Ok(if is_written { Outcome::Written } else { Outcome::Refused })
    }

    fn sql_write(&self, record: &Record, expected: Expected) -> Result<SqlWrite, StoreError> {
        let parameters = write::parameters::<D>(record, expected)?;
        Ok(SqlWrite::new::<D>(self.statements.write(expected).untagged(), &parameters, expected))
    }

    async fn touch(&self, record: &Record, touch: Touch) -> Result<bool, StoreError> {
        let parameters = [
            Parameter::Number(Timestamp::from(touch.last_seen).milliseconds()),
            Parameter::Number(Timestamp::from(touch.expires_at).milliseconds()),
            Parameter::Id(*record.id().as_uuid()),
            write::version_parameter(record.version())?,
        ];
        Ok(self.execute(&self.statements.touch, &parameters).await? == 1)
    }

    async fn delete(&self, id: &SessionId, _: Option<&str>) -> Result<bool, StoreError> {
        Ok(self.execute(&self.statements.delete, &[Parameter::Id(*id.as_uuid())]).await? == 1)
    }

    fn is_remote(&self) -> bool {
        true
    }

    async fn owned_by(&self, owner: &str) -> Result<Vec<Record>, StoreError> {
        self.fetch_records(&self.statements.owned_by, &[Parameter::Bytes(Some(owner.as_bytes()))]).await
    }

    /// Deletes all records with one statement; on MySQL and MariaDB, the statement ends them, and a sweep deletes them.
    async fn delete_owned_by(
        &self,
        owner: &str,
        realm: Option<&str>,
        keep: Option<&SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        // No session has the nil id.
        let keep = keep.map_or(Uuid::nil(), |keep| *keep.as_uuid());
        let owner = Parameter::Bytes(Some(owner.as_bytes()));
        let condition = [owner, Parameter::Bytes(realm.map(str::as_bytes)), Parameter::Id(keep)];
        let deadline = self.deadline.max(BULK_DEADLINE);
        let (statement, rows) = match &self.statements.delete_owned_by {
            DeleteOwnedBy::Returning(delete) => {
                let _permit = self.queue_writer().await?;
                (delete, self.fetch_within(deadline, delete, &condition, false).await?)
            }
            DeleteOwnedBy::Expiring { expire, find } => {
                let version = Parameter::Number(i64::from_be_bytes(random()) & i64::MAX);
                let parameters = [&[version][..], &condition].concat();
                if self.execute_within(deadline, expire, &parameters, D::rows_affected).await? == 0 {
                    return Ok(Vec::new());
                }
                (find, self.fetch_within(deadline, find, &[version, owner], true).await?)
            }
        };
        ids::<D>(&rows, statement)
    }

    async fn ids_of(&self, owner: &str, realm: Option<&str>) -> Result<Vec<SessionId>, StoreError> {
        let parameters = [Some(owner), realm].map(|text| Parameter::Bytes(text.map(str::as_bytes)));
        let statement = &self.statements.ids_of;
        ids::<D>(&self.fetch(statement, &parameters).await?, statement)
    }

    /// Reads up to 500 records with one statement, in one round trip.
    async fn summaries_of(&self, ids: &[SessionId]) -> Result<Vec<Option<RecordSummary>>, StoreError> {
        let [.., (largest, _)] = &self.statements.summaries;
        let mut found = HashMap::with_capacity(ids.len());
        for chunk in ids.chunks(*largest) {
            let fitting = self.statements.summaries.iter().find(|(size, _)| chunk.len() <= *size);
            let (size, statement) = fitting.unwrap_or(&self.statements.summaries[0]);
            let mut parameters: Vec<_> = chunk.iter().map(|id| Parameter::Id(*id.as_uuid())).collect();
            // No session has the nil id.
            parameters.resize(*size, Parameter::Id(Uuid::nil()));
            for row in self.fetch(statement, &parameters).await? {
                found.extend(D::summary(&row, statement)?);
            }
        }
        Ok(ids.iter().map(|id| found.get(id).copied()).collect())
    }

    /// Lists the records in the order of their ids; a cursor is the last id of a page.
    async fn list(&self, after: Option<&Cursor>, limit: usize) -> Result<Page, StoreError> {
        let after = match after {
            Some(cursor) => Uuid::try_parse(cursor.as_str()).map_err(StoreError::unsupported)?,
            None => Uuid::nil(),
        };
        let limit = limit.max(1);
        let parameters = [Parameter::Id(after), Parameter::Number(i64::try_from(limit).unwrap_or(i64::MAX))];
        let records = self.fetch_records(&self.statements.list, &parameters).await?;
        let is_full = records.len() >= limit;
        let next = records.last().filter(|_| is_full).map(|last| Cursor::new(last.id().to_string()));
        Ok(Page { records, next })
    }

    /// Counts the records with one statement, which reads the whole table or the index on the expiry.
    async fn count(&self) -> Result<u64, StoreError> {
        let deadline = self.deadline.max(BULK_DEADLINE);
        let statement = &self.statements.count;
        number::<D>(&self.fetch_within(deadline, statement, &[], true).await?, statement)
    }

    /// Deletes batches until one is incomplete, and sleeps after each for as long as it took.
    ///
    /// Requests therefore have the database to themselves at least half of the time.
    async fn delete_expired(&self) -> Result<u64, StoreError> {
        let mut deleted = 0;
        loop {
            let started = Instant::now();
            let batch = self.execute(&self.statements.sweep, &[]).await?;
            deleted += batch;
            if batch < SWEEP_BATCH_SIZE {
                return Ok(deleted);
            }
            tokio::time::sleep(started.elapsed()).await;
        }
    }
}

impl<D: Database> Clone for SqlStore<D> {
    fn clone(&self) -> Self {
        Self {
            connections: Arc::clone(&self.connections),
            table: self.table.clone(),
            statements: Arc::clone(&self.statements),
            protocol: self.protocol,
            writer: self.writer.clone(),
            deadline: self.deadline,
        }
    }
}

impl<D: Database> fmt::Debug for SqlStore<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlStore")
            .field("database", &D::NAME)
            .field("table", &self.table)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// Returns the options of a pool of the store's own.
pub(super) fn pool_options<D: Database>() -> PoolOptions<D> {
    PoolOptions::new().max_connections(MAX_CONNECTIONS).acquire_timeout(CONNECT_DEADLINE)
}

/// Decodes the number in the first row.
fn number<D: Driver>(rows: &[D::Row], statement: &Statement) -> Result<u64, StoreError> {
    let number = rows.first().map_or(Ok(0), |row| D::number(row, statement.first_column()))?;
    u64::try_from(number).map_err(StoreError::corrupt)
}

/// Decodes the ids of all rows.
fn ids<D: Driver>(rows: &[D::Row], statement: &Statement) -> Result<Vec<SessionId>, StoreError> {
    rows.iter().filter_map(|row| D::id(row, statement).transpose()).collect()
}

/// Returns the address of a server: the path of its socket, or host and port.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(super) fn server_address(socket: Option<&PathBuf>, host: &str, port: u16) -> String {
    socket.map_or_else(|| format!("{host}:{port}"), |socket| socket.display().to_string())
}
