//! What the stores on SQL databases share: everything but the words each database has for it.

mod connections;
mod error;
mod schema;
mod store;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sqlx::error::BoxDynError;
use sqlx::{Arguments, AssertSqlSafe, ColumnIndex, Database, Decode, Encode, Pool, Row, SqlStr, Type};
use sqlx::{SqlSafeStr, pool::PoolOptions};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout, timeout_at};
use uuid::Uuid;

use self::connections::Connections;
pub(super) use self::error::{Fault, store_error};
pub(super) use self::schema::{Column, Missing, Table};
pub(super) use self::store::sql_store;
use super::late::Late;
use super::{Expected, Outcome, Touch};
use crate::backoff::pause;
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::record::{Record, Version};
use crate::token::SessionId;

/// Longest pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_millis(250);
/// How many records one statement of a sweep deletes, so that none holds its locks for long.
pub(super) const BATCH: u64 = 200;
/// How often a statement is run again after the database has undone it because it met another.
const MOST_RERUNS: u32 = 10;

/// The result of a future that borrows a connection.
pub(super) type Running<'c, T> = std::pin::Pin<Box<dyn Future<Output = Result<T, sqlx::Error>> + Send + 'c>>;

/// What the databases do differently.
pub(super) trait Dialect: Database {
    /// Whether there is one writer at a time, whose queue is not fair: who waits long may wait for ever. Then ours is.
    const ONE_WRITER: bool = false;

    /// The longest owner, in bytes.
    const LONGEST_OWNER: usize = usize::MAX;

    /// Runs a statement for its effect.
    fn execute(
        connection: &mut Self::Connection,
        sql: SqlStr,
        arguments: Self::Arguments,
    ) -> Running<'_, Self::QueryResult>;

    /// Runs a statement for its rows.
    fn fetch(connection: &mut Self::Connection, sql: SqlStr, arguments: Self::Arguments)
    -> Running<'_, Vec<Self::Row>>;

    /// How many rows a statement found and changed.
    fn affected(result: &Self::QueryResult) -> u64;

    /// Whether the statement that adds a record wrote it.
    fn added(result: &Self::QueryResult) -> bool {
        Self::affected(result) == 1
    }

    /// What an error of this database says.
    fn fault(error: &dyn sqlx::error::DatabaseError) -> Fault;
}

/// The statements of a store, each one round trip. They are made once; the connections keep them prepared. What is said
/// of each are its parameters, in order.
#[derive(Clone, Debug)]
pub(super) struct Statements {
    /// id
    pub(super) get: Arc<str>,
    /// version, owner, last seen, expiry, state, id: only where there is nothing, or something expired.
    pub(super) add: Arc<str>,
    /// The same, and the version that must be there.
    pub(super) replace: Arc<str>,
    /// last seen, expiry, id, version
    pub(super) touch: Arc<str>,
    /// id
    pub(super) delete: Arc<str>,
    /// owner
    pub(super) owned_by: Arc<str>,
    /// Deletes up to [`BATCH`] of what has expired.
    pub(super) sweep: Arc<str>,
}

/// A store on a database. Clones share its connections.
pub(super) struct Sql<D: Database> {
    connections: Arc<Connections<D>>,
    statements: Statements,
    /// Where there is one writer at a time.
    writer: Option<Arc<Semaphore>>,
    deadline: Duration,
}

impl<D: Dialect> Sql<D> {
    /// How long an operation may take unless it is told otherwise.
    pub(super) const DEADLINE: Duration = Duration::from_secs(2);

    /// Over a pool that the application uses too.
    pub(super) fn sharing(pool: Pool<D>, statements: Statements) -> Self {
        let share = pool.options().get_max_connections() / 2;
        Self::over(pool, share, statements)
    }

    /// Over a pool that nobody else uses.
    pub(super) fn owning(pool: Pool<D>, statements: Statements) -> Self {
        let share = pool.options().get_max_connections();
        Self::over(pool, share, statements)
    }

    fn over(pool: Pool<D>, share: u32, statements: Statements) -> Self {
        let connections = Arc::new(Connections::new(pool, usize::try_from(share).unwrap_or(0)));
        let writer = D::ONE_WRITER.then(|| Arc::new(Semaphore::new(1)));
        Self { connections, statements, writer, deadline: Self::DEADLINE }
    }

    pub(super) fn pool(&self) -> &Pool<D> {
        self.connections.pool()
    }

    pub(super) fn set_deadline(&mut self, deadline: Duration) {
        self.deadline = deadline;
    }

    pub(super) fn set_statements(&mut self, statements: Statements) {
        self.statements = statements;
    }

    /// What is sent to the database, for the tests to have it explained.
    #[cfg(feature = "testing")]
    pub(super) fn statements(&self) -> Vec<(&'static str, String)> {
        let Statements { get, add, replace, touch, delete, owned_by, sweep } = &self.statements;
        let names = ["get", "add", "replace", "touch", "delete", "owned_by", "sweep"];
        let texts = [get, add, replace, touch, delete, owned_by, sweep];
        names.into_iter().zip(texts.map(|text| text.to_string())).collect()
    }

    /// The options of a pool of our own.
    pub(super) fn pool_options() -> PoolOptions<D> {
        PoolOptions::new().max_connections(10).test_before_acquire(false).acquire_timeout(Self::DEADLINE)
    }
}

impl<D: Dialect> Sql<D>
where
    for<'q> Uuid: Encode<'q, D> + Decode<'q, D> + Type<D>,
    for<'q> i64: Encode<'q, D> + Decode<'q, D> + Type<D>,
    for<'q> &'q [u8]: Encode<'q, D> + Decode<'q, D> + Type<D>,
    for<'q> Option<&'q [u8]>: Encode<'q, D> + Decode<'q, D> + Type<D>,
    usize: ColumnIndex<D::Row>,
{
    pub(super) async fn get(&self, id: &SessionId) -> Result<Option<Record>, StoreError> {
        let rows = self.fetch(&self.statements.get, |arguments| arguments.add(*id.as_uuid())).await?;
        rows.first().map(|row| read(*id, row)).transpose()
    }

    pub(super) async fn set(&self, record: &Record, expected: Expected) -> Result<Outcome, StoreError> {
        if record.owner().is_some_and(|owner| owner.len() > D::LONGEST_OWNER) {
            // A server that is not strict would cut it off.
            return Err(StoreError::unsupported(format!("an owner is longer than {} bytes", D::LONGEST_OWNER)));
        }
        let written = match expected {
            Expected::Absent => {
                let result = self.execute(&self.statements.add, |arguments| bind(arguments, record)).await?;
                D::added(&result)
            }
            Expected::Version(version) => {
                let result = self.execute(&self.statements.replace, |arguments| {
                    bind(arguments, record)?;
                    arguments.add(i64::try_from(version.get())?)
                });
                D::affected(&result.await?) == 1
            }
        };
        Ok(if written { Outcome::Written } else { Outcome::Refused })
    }

    pub(super) async fn touch(&self, record: &Record, touch: Touch) -> Result<bool, StoreError> {
        let result = self.execute(&self.statements.touch, |arguments| {
            arguments.add(Timestamp::from(touch.last_seen).milliseconds())?;
            arguments.add(Timestamp::from(touch.expires_at).milliseconds())?;
            arguments.add(*record.id().as_uuid())?;
            arguments.add(i64::try_from(record.version().get())?)
        });
        Ok(D::affected(&result.await?) == 1)
    }

    pub(super) async fn delete(&self, id: &SessionId) -> Result<bool, StoreError> {
        let result = self.execute(&self.statements.delete, |arguments| arguments.add(*id.as_uuid())).await?;
        Ok(D::affected(&result) == 1)
    }

    pub(super) async fn owned_by(&self, owner: &str) -> Result<Vec<Record>, StoreError> {
        let rows = self.fetch(&self.statements.owned_by, |arguments| arguments.add(owner.as_bytes())).await?;
        rows.iter().map(|row| read(row.try_get::<Uuid, _>(5).map_err(store_error::<D>)?.into(), row)).collect()
    }

    /// Batch after batch until one is not full. After each it rests for as long as it has worked, so that requests have the
    /// database for themselves at least half of the time.
    pub(super) async fn delete_expired(&self) -> Result<u64, StoreError> {
        let mut deleted = 0;
        loop {
            let started = Instant::now();
            let result = self.execute(&self.statements.sweep, |_| Ok(())).await?;
            let batch = D::affected(&result);
            deleted += batch;
            if batch < BATCH {
                return Ok(deleted);
            }
            tokio::time::sleep(started.elapsed()).await;
        }
    }

    async fn execute(&self, sql: &Arc<str>, bind: impl Bind<D>) -> Result<D::QueryResult, StoreError> {
        let _turn = self.turn().await?;
        self.run(sql, bind, false, |connection, sql, arguments| D::execute(connection, sql, arguments)).await
    }

    async fn fetch(&self, sql: &Arc<str>, bind: impl Bind<D>) -> Result<Vec<D::Row>, StoreError> {
        self.run(sql, bind, true, |connection, sql, arguments| D::fetch(connection, sql, arguments)).await
    }

    /// The turn to write, where there is one writer at a time.
    async fn turn(&self) -> Result<Option<SemaphorePermit<'_>>, StoreError> {
        let Some(writer) = &self.writer else { return Ok(None) };
        let turn = timeout(self.deadline, writer.acquire()).await;
        let turn = turn.map_err(|_| StoreError::unavailable(Late(self.deadline)))?;
        turn.map(Some).map_err(StoreError::other)
    }

    /// Runs a statement on a connection of its own, before the deadline. It runs again only where the database says that
    /// it has undone it, or, what can be repeated, once after its connection has failed: it may have been dead before.
    async fn run<T>(
        &self,
        sql: &Arc<str>,
        bind: impl Bind<D>,
        mut repeatable: bool,
        work: impl for<'c> Fn(&'c mut D::Connection, SqlStr, D::Arguments) -> Running<'c, T> + Send + Sync,
    ) -> Result<T, StoreError> {
        let late = |_| StoreError::unavailable(Late(self.deadline));
        let deadline = Instant::now() + self.deadline;
        let mut reruns = 0;
        loop {
            let lease = timeout_at(deadline, self.connections.lease()).await.map_err(late)?;
            let mut lease = lease.map_err(store_error::<D>)?;
            let mut arguments = D::Arguments::default();
            bind(&mut arguments).map_err(StoreError::unsupported)?;
            let sql = AssertSqlSafe(Arc::clone(sql)).into_sql_str();
            let error = match timeout_at(deadline, work(lease.connection(), sql, arguments)).await {
                Ok(Ok(answer)) => {
                    lease.keep();
                    return Ok(answer);
                }
                Ok(Err(error)) => error,
                Err(elapsed) => {
                    // Whatever the connection is waiting for, nobody else should wait for it too.
                    lease.discard();
                    return Err(late(elapsed));
                }
            };
            let fault = error.as_database_error().map(D::fault);
            let is_broken = match fault {
                None => !error::is_about_the_data(&error),
                // A server may close the connection on what is too large for it.
                Some(fault) => matches!(fault, Fault::Connection | Fault::Refused),
            };
            if is_broken {
                lease.discard();
                if fault != Some(Fault::Refused) && std::mem::take(&mut repeatable) {
                    continue;
                }
                return Err(store_error::<D>(error));
            }
            lease.keep();
            if fault == Some(Fault::Undone) && reruns < MOST_RERUNS {
                reruns += 1;
                timeout_at(deadline, pause(reruns, MAX_PAUSE)).await.map_err(late)?;
                continue;
            }
            return Err(store_error::<D>(error));
        }
    }
}

impl<D: Database> Clone for Sql<D> {
    fn clone(&self) -> Self {
        let connections = Arc::clone(&self.connections);
        let (statements, writer) = (self.statements.clone(), self.writer.clone());
        Self { connections, statements, writer, deadline: self.deadline }
    }
}

impl<D: Database> fmt::Debug for Sql<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sql").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

/// Fills in the parameters of a statement. It is called again where the statement runs again.
trait Bind<D: Database>: Fn(&mut D::Arguments) -> Result<(), BoxDynError> + Send + Sync {}
impl<D: Database, F: Fn(&mut D::Arguments) -> Result<(), BoxDynError> + Send + Sync> Bind<D> for F {}

fn bind<D: Database>(arguments: &mut D::Arguments, record: &Record) -> Result<(), BoxDynError>
where
    for<'q> Uuid: Encode<'q, D> + Type<D>,
    for<'q> i64: Encode<'q, D> + Type<D>,
    for<'q> &'q [u8]: Encode<'q, D> + Type<D>,
    for<'q> Option<&'q [u8]>: Encode<'q, D> + Type<D>,
{
    arguments.add(i64::try_from(record.version().get())?)?;
    arguments.add(record.owner().map(str::as_bytes))?;
    arguments.add(record.last_seen_timestamp().milliseconds())?;
    arguments.add(record.expiry().milliseconds())?;
    arguments.add(record.state())?;
    arguments.add(*record.id().as_uuid())
}

/// Reads version, owner, last seen, expiry and state.
fn read<D: Dialect>(id: SessionId, row: &D::Row) -> Result<Record, StoreError>
where
    for<'q> i64: Decode<'q, D> + Type<D>,
    for<'q> &'q [u8]: Decode<'q, D> + Type<D>,
    for<'q> Option<&'q [u8]>: Decode<'q, D> + Type<D>,
    usize: ColumnIndex<D::Row>,
{
    let number = |index: usize| row.try_get::<i64, _>(index).map_err(store_error::<D>);
    let version = u64::try_from(number(0)?).map_err(StoreError::corrupt)?;
    let owner = row.try_get::<Option<&[u8]>, _>(1).map_err(store_error::<D>)?;
    let owner = owner.map(std::str::from_utf8).transpose().map_err(StoreError::corrupt)?.map(Arc::from);
    let times = (Timestamp::from_milliseconds(number(2)?), Timestamp::from_milliseconds(number(3)?));
    let state = row.try_get::<&[u8], _>(4).map_err(store_error::<D>)?;
    Ok(Record::new(id, Version::new(version), owner, times, state.into()))
}
