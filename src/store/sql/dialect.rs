//! Differences between the SQL databases.

use std::sync::Arc;

use sqlx::error::{BoxDynError, DatabaseError};
use sqlx::pool::PoolOptions;
use sqlx::{
    Arguments, ColumnIndex, Connection, Database, Decode, Encode, Executor, IntoArguments, Pool, Row, SqlStr, Type,
};
use uuid::Uuid;

use super::{SqlFailure, Table, store_error};
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::record::{Record, Version};
use crate::store::{Expected, RecordSummary};
use crate::token::SessionId;

/// Number of records that one statement of a sweep deletes, so that it holds its locks briefly.
pub(in crate::store) const SWEEP_BATCH_SIZE: u64 = 200;

/// Differences between one SQL database and the others.
pub(in crate::store) trait Dialect: Database {
    /// Quotation mark around a name.
    const QUOTE: char = '"';
    /// Current time of the database, in milliseconds since the Unix epoch.
    const NOW: &'static str;
    /// Function that returns the greater of two numbers.
    const GREATEST: &'static str = "greatest";
    /// True if a parameter is `$1` (with its number) instead of `?`.
    const HAS_NUMBERED_PARAMETERS: bool = true;
    /// Types of the columns id, version, realm, owner, last seen, expiry and state, as the catalog names them.
    const COLUMN_TYPES: [&'static str; 7];
    /// Statement that begins a transaction which is about to write.
    const BEGIN: &'static str = "BEGIN";
    /// Longest owner in bytes.
    const MAX_OWNER_LENGTH: usize = usize::MAX;
    /// True if a `DELETE` statement can return the rows that it deletes.
    const DELETE_HAS_RETURNING: bool = true;
    /// True if one connection writes at a time and writers wait in no fair order; the store then queues its own writers.
    const HAS_SINGLE_WRITER: bool = false;

    /// Creates a pool of the store's own, which connects when it is used.
    fn pool(url: &str, options: PoolOptions<Self>) -> Result<Pool<Self>, sqlx::Error> {
        options.connect_lazy(url)
    }

    /// Returns host and port of the server, or the path of the socket or file.
    fn address(options: &<Self::Connection as Connection>::Options) -> String;

    /// Tests a connection that other code may have used, and returns why the store must not use it.
    ///
    /// It ends an open transaction, with which the store's writes could be rolled back, or fails; the connection is then closed.
    fn test(connection: &mut Self::Connection) -> Running<'_, Option<&'static str>>;

    /// Returns names and types of the table's columns; no column if the table does not exist.
    fn columns(
        pool: &Pool<Self>,
        table: &Table,
    ) -> impl Future<Output = Result<Vec<(String, String)>, sqlx::Error>> + Send;

    /// Creates the table, unless another node has created it meanwhile.
    fn create(pool: &Pool<Self>, table: &Table) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Returns the statement that inserts a record where the table has none or an expired one.
    ///
    /// Its parameters are version, realm, owner, last seen, expiry, state and id.
    fn insert(table: &str) -> String {
        format!(
            "INSERT INTO {table} AS stored (version, realm, owner, last_seen, expires_at, state, id) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO UPDATE SET version = excluded.version, \
             realm = excluded.realm, owner = excluded.owner, last_seen = excluded.last_seen, expires_at = excluded.expires_at, \
             state = excluded.state WHERE stored.expires_at <= {}",
            Self::NOW
        )
    }

    /// Returns whether the insert statement wrote the record.
    fn has_inserted(result: &Self::QueryResult) -> bool {
        Self::rows_affected(result) == 1
    }

    /// Returns the statement that deletes up to [`SWEEP_BATCH_SIZE`] expired records.
    fn sweep(table: &str) -> String;

    /// Returns the number of rows that a statement changed.
    fn rows_affected(result: &Self::QueryResult) -> u64;

    /// Classifies an error of the database.
    fn failure(error: &dyn DatabaseError) -> SqlFailure;
}

/// A database in which a table belongs to a schema that the application may choose.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(super) trait HasSchemas: Driver {}

#[cfg(feature = "postgres")]
impl HasSchemas for sqlx::Postgres {}

#[cfg(feature = "mysql")]
impl HasSchemas for sqlx::MySql {}

/// Statements of a store, one for each operation.
///
/// They are built once per store, so that connections can cache the prepared statements.
pub(super) struct Statements {
    pub(super) get: Arc<str>,
    pub(super) insert: Arc<str>,
    pub(super) replace: Arc<str>,
    pub(super) replace_keeping_times: Arc<str>,
    pub(super) touch: Arc<str>,
    pub(super) delete: Arc<str>,
    pub(super) owned_by: Arc<str>,
    pub(super) ids_of: Arc<str>,
    pub(super) list: Arc<str>,
    pub(super) count: Arc<str>,
    /// By number of ids; few sizes, so that connections cache few statements.
    pub(super) summaries: [(usize, Arc<str>); 3],
    /// Reads the database's clock.
    pub(super) now: Arc<str>,
    pub(super) delete_owned_by: DeleteOwnedBy,
    pub(super) sweep: Arc<str>,
}

/// The statements that delete the records of an owner and return their ids.
pub(super) enum DeleteOwnedBy {
    /// One statement.
    Returning(Arc<str>),
    /// Two, if a `DELETE` statement returns no rows.
    ///
    /// The first ends all records at once: it empties them, gives them a version that no other call uses, and sets their expiry to
    /// the negated time. The second finds them by the version, so that concurrent calls return different ids. A sweep deletes the
    /// rows, but not in the first minute, before the second statement has run.
    Expiring { expire: Arc<str>, find: Arc<str> },
}

impl Statements {
    /// Returns the statement of a write.
    pub(super) const fn write(&self, expected: Expected) -> &Arc<str> {
        match expected {
            Expected::Absent => &self.insert,
            Expected::Version(_) => &self.replace,
            Expected::VersionKeepingTimes(_) => &self.replace_keeping_times,
        }
    }

    pub(super) fn new<D: Dialect>(table: &Table) -> Self {
        let (table, now, greatest) = (table.quoted(), D::NOW, D::GREATEST);
        let select = format!("SELECT id, version, realm, owner, last_seen, expires_at, state FROM {table}");
        let finished = |sql: String| -> Arc<str> {
            if D::HAS_NUMBERED_PARAMETERS {
                return sql.into();
            }
            // The parameters of each statement are numbered in the order in which they stand in it.
            (1..=8).fold(sql, |sql, number| sql.replace(&format!("${number}"), "?")).into()
        };
        Self {
            get: finished(format!("{select} WHERE id = $1 AND expires_at > {now}")),
            insert: finished(D::insert(&table)),
            replace: finished(format!(
                "UPDATE {table} SET version = $1, realm = $2, owner = $3, last_seen = $4, expires_at = $5, state = $6 \
                 WHERE id = $7 AND version = $8 AND expires_at > {now}"
            )),
            replace_keeping_times: finished(format!(
                "UPDATE {table} SET version = $1, realm = $2, owner = $3, state = $4 \
                 WHERE id = $5 AND version = $6 AND expires_at > {now}"
            )),
            touch: finished(format!(
                "UPDATE {table} SET last_seen = {greatest}(last_seen, $1), expires_at = {greatest}(expires_at, $2) \
                 WHERE id = $3 AND version = $4 AND expires_at > {now}"
            )),
            delete: finished(format!("DELETE FROM {table} WHERE id = $1 AND expires_at > {now}")),
            owned_by: finished(format!("{select} WHERE owner = $1 AND expires_at > {now} ORDER BY id")),
            ids_of: finished(format!(
                "SELECT id FROM {table} WHERE owner = $1 AND realm = coalesce($2, realm) AND expires_at > {now} ORDER BY id"
            )),
            list: finished(format!("{select} WHERE id > $1 AND expires_at > {now} ORDER BY id LIMIT $2")),
            count: finished(format!("SELECT count(*) FROM {table} WHERE expires_at > {now}")),
            summaries: SUMMARY_SIZES.map(|size| {
                let parameter = |number| if D::HAS_NUMBERED_PARAMETERS { format!("${number}") } else { "?".to_owned() };
                let ids = (1..=size).map(parameter).collect::<Vec<_>>().join(", ");
                let select = format!("SELECT id, version, last_seen, expires_at FROM {table}");
                (size, format!("{select} WHERE id IN ({ids}) AND expires_at > {now}").into())
            }),
            now: finished(format!("SELECT {now}")),
            // Without a realm, any realm matches.
            delete_owned_by: if D::DELETE_HAS_RETURNING {
                DeleteOwnedBy::Returning(finished(format!(
                    "DELETE FROM {table} WHERE owner = $1 AND realm = coalesce($2, realm) AND id <> $3 \
                     AND expires_at > {now} RETURNING id"
                )))
            } else {
                DeleteOwnedBy::Expiring {
                    expire: finished(format!(
                        "UPDATE {table} SET version = $1, expires_at = -{now}, state = '' WHERE owner = $2 \
                         AND realm = coalesce($3, realm) AND id <> $4 AND expires_at > {now}"
                    )),
                    find: finished(format!(
                        "SELECT id FROM {table} WHERE version = $1 AND owner = $2 AND expires_at < 0"
                    )),
                }
            },
            sweep: finished(D::sweep(&table)),
        }
    }
}

/// Numbers of ids that the statements for summaries take, in ascending order.
pub(super) const SUMMARY_SIZES: [usize; 3] = [10, 100, 500];

/// Value of a statement's parameter.
#[derive(Clone, Copy, Debug)]
pub(super) enum Parameter<'a> {
    Id(Uuid),
    Number(i64),
    Bytes(Option<&'a [u8]>),
}

/// Future that borrows a connection.
pub(in crate::store) type Running<'c, T> = std::pin::Pin<Box<dyn Future<Output = Result<T, sqlx::Error>> + Send + 'c>>;

/// Calls of sqlx whose bounds on the database's types would otherwise stand at every function of a store.
pub(super) trait Driver: Dialect {
    /// Runs a statement for its effect.
    fn execute<'c>(
        connection: &'c mut Self::Connection,
        sql: SqlStr,
        arguments: Self::Arguments,
    ) -> Running<'c, Self::QueryResult>;

    /// Runs a statement for its rows.
    fn fetch<'c>(
        connection: &'c mut Self::Connection,
        sql: SqlStr,
        arguments: Self::Arguments,
    ) -> Running<'c, Vec<Self::Row>>;

    /// Encodes the parameters of a statement.
    fn arguments(parameters: &[Parameter<'_>]) -> Result<Self::Arguments, BoxDynError>;

    /// Decodes the id at the start of a row.
    fn id(row: &Self::Row) -> Result<SessionId, StoreError>;

    /// Decodes a number.
    fn number(row: &Self::Row, index: usize) -> Result<i64, StoreError>;

    /// Decodes a row of id, version, last seen and expiry.
    fn summary(row: &Self::Row) -> Result<RecordSummary, StoreError>;

    /// Decodes a row of id, version, realm, owner, last seen, expiry and state.
    fn record(row: &Self::Row) -> Result<Record, StoreError>;
}

impl<D: Dialect> Driver for D
where
    for<'c> &'c mut D::Connection: Executor<'c, Database = D>,
    D::Arguments: IntoArguments<D>,
    for<'q> Uuid: Encode<'q, D> + Decode<'q, D> + Type<D>,
    for<'q> i64: Encode<'q, D> + Decode<'q, D> + Type<D>,
    for<'q> &'q [u8]: Decode<'q, D> + Type<D>,
    for<'q> Option<&'q [u8]>: Encode<'q, D> + Decode<'q, D> + Type<D>,
    usize: ColumnIndex<D::Row>,
{
    fn execute<'c>(
        connection: &'c mut D::Connection,
        sql: SqlStr,
        arguments: D::Arguments,
    ) -> Running<'c, D::QueryResult> {
        connection.execute(sqlx::query_with(sql, arguments))
    }

    fn fetch<'c>(connection: &'c mut D::Connection, sql: SqlStr, arguments: D::Arguments) -> Running<'c, Vec<D::Row>> {
        connection.fetch_all(sqlx::query_with(sql, arguments))
    }

    fn arguments(parameters: &[Parameter<'_>]) -> Result<D::Arguments, BoxDynError> {
        let mut arguments = D::Arguments::default();
        for parameter in parameters {
            match *parameter {
                Parameter::Id(id) => arguments.add(id)?,
                Parameter::Number(number) => arguments.add(number)?,
                Parameter::Bytes(bytes) => arguments.add(bytes)?,
            }
        }
        Ok(arguments)
    }

    fn id(row: &D::Row) -> Result<SessionId, StoreError> {
        row.try_get::<Uuid, _>(0).map(SessionId::from).map_err(store_error::<D>)
    }

    fn number(row: &D::Row, index: usize) -> Result<i64, StoreError> {
        row.try_get(index).map_err(store_error::<D>)
    }

    fn summary(row: &D::Row) -> Result<RecordSummary, StoreError> {
        let time = |index| Self::number(row, index).map(|time| Timestamp::from_milliseconds(time).into());
        Ok(RecordSummary { version: version(Self::number(row, 1)?)?, last_seen: time(2)?, expires_at: time(3)? })
    }

    fn record(row: &D::Row) -> Result<Record, StoreError> {
        let number = |index| Self::number(row, index);
        let realm = row.try_get::<&[u8], _>(2).map_err(store_error::<D>)?;
        let realm = std::str::from_utf8(realm).map_err(StoreError::corrupt)?.into();
        let owner = row.try_get::<Option<&[u8]>, _>(3).map_err(store_error::<D>)?;
        let owner = owner.map(std::str::from_utf8).transpose().map_err(StoreError::corrupt)?.map(Arc::from);
        let times = (Timestamp::from_milliseconds(number(4)?), Timestamp::from_milliseconds(number(5)?));
        let state = row.try_get::<&[u8], _>(6).map_err(store_error::<D>)?;
        Ok(Record::new(Self::id(row)?, version(number(1)?)?, realm, owner, times, state.into()))
    }
}

fn version(number: i64) -> Result<Version, StoreError> {
    u64::try_from(number).map(Version::new).map_err(StoreError::corrupt)
}
