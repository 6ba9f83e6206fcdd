//! Differences between the SQL databases.

use std::borrow::Cow;
use std::sync::Arc;

use sqlx::error::{BoxDynError, DatabaseError};
use sqlx::pool::PoolOptions;
use sqlx::{Arguments, ColumnIndex, Connection, Database, Decode, Encode, Executor, Pool, Row, SqlStr, Type};
use uuid::Uuid;

use super::error::POOLER_ADVICE;
use super::statement::{Parameter, Protocol, Statement, VALUES, from_hex};
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
    /// True if each statement has a tag, because a pooler can run another statement in its place.
    const IS_TAGGED: bool = false;
    /// Source of the inserted row in a statement with a tag: its seven values, if the guard holds.
    const GUARDED_ROW: &'static str = VALUES;
    /// True if one connection writes at a time and writers wait in no fair order; the store then queues its own writers.
    const HAS_SINGLE_WRITER: bool = false;

    /// Creates a pool of the store's own, which connects when it is used.
    fn pool(url: &str, options: PoolOptions<Self>) -> Result<Pool<Self>, sqlx::Error> {
        options.connect_lazy(url)
    }

    /// Returns host and port of the server, or the path of the socket or file.
    fn address(options: &<Self::Connection as Connection>::Options) -> String;

    /// Checks that no pooler in front of the database mixes up prepared statements.
    fn check_pooling(_: &Pool<Self>) -> impl Future<Output = Result<(), StoreError>> + Send {
        std::future::ready(Ok(()))
    }

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
    /// Its parameters are version, realm, owner, last seen, expiry, state and id; `row` is the clause that contains them.
    fn insert(table: &str, row: &str) -> String {
        format!(
            "INSERT INTO {table} AS stored (version, realm, owner, last_seen, expires_at, state, id) \
             {row} ON CONFLICT (id) DO UPDATE SET version = excluded.version, \
             realm = excluded.realm, owner = excluded.owner, last_seen = excluded.last_seen, expires_at = excluded.expires_at, \
             state = excluded.state WHERE stored.expires_at <= {}",
            Self::NOW
        )
    }

    /// Returns the number of records that the insert statement wrote.
    fn rows_inserted(result: &Self::QueryResult) -> u64 {
        Self::rows_affected(result)
    }

    /// Returns the statement that deletes up to [`SWEEP_BATCH_SIZE`] expired records.
    fn sweep(table: &str) -> String;

    /// Returns the number of rows that a statement without a tag changed.
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
pub(super) struct Statements {
    pub(super) get: Statement,
    pub(super) insert: Statement,
    pub(super) replace: Statement,
    pub(super) replace_keeping_times: Statement,
    pub(super) touch: Statement,
    pub(super) delete: Statement,
    pub(super) owned_by: Statement,
    pub(super) ids_of: Statement,
    pub(super) list: Statement,
    pub(super) count: Statement,
    /// By number of ids; few sizes, so that connections cache few statements.
    pub(super) summaries: [(usize, Statement); 3],
    pub(super) delete_owned_by: DeleteOwnedBy,
    pub(super) sweep: Statement,
}

/// The statements that delete the records of an owner and return their ids.
pub(super) enum DeleteOwnedBy {
    /// One statement.
    Returning(Statement),
    /// Two, if a `DELETE` statement returns no rows.
    ///
    /// The first ends all records at once: it empties them, gives them a version that no other call uses, and sets their expiry to
    /// the negated time. The second finds them by the version, so that concurrent calls return different ids. A sweep deletes the
    /// rows, but not in the first minute, before the second statement has run.
    Expiring { expire: Statement, find: Statement },
}

impl Statements {
    /// Returns the statement of a write.
    pub(super) const fn write(&self, expected: Expected) -> &Statement {
        match expected {
            Expected::Absent => &self.insert,
            Expected::Version(_) => &self.replace,
            Expected::VersionKeepingTimes(_) => &self.replace_keeping_times,
        }
    }

    pub(super) fn new<D: Dialect>(table: &Table, protocol: Protocol) -> Self {
        let (table, now, greatest) = (table.quoted(), D::NOW, D::GREATEST);
        let columns = match protocol {
            Protocol::Prepared => "id, version, realm, owner, last_seen, expires_at, state",
            // The text of a `bytea` depends on the setting `bytea_output`; that of its hexadecimal digits does not.
            Protocol::Simple => {
                "id, version, encode(realm, 'hex'), encode(owner, 'hex'), last_seen, expires_at, encode(state, 'hex')"
            }
        };
        let read = |columns: &str, condition: &str, order: &str| {
            Statement::read::<D>(protocol, (columns, &table), condition, order)
        };
        let write = |sql: String| Statement::write::<D>(protocol, &sql);
        Self {
            get: read(columns, &format!("id = $1 AND expires_at > {now}"), ""),
            insert: Statement::insert::<D>(protocol, &table),
            replace: write(format!(
                "UPDATE {table} SET version = $1, realm = $2, owner = $3, last_seen = $4, expires_at = $5, state = $6 \
                 WHERE id = $7 AND version = $8 AND expires_at > {now}"
            )),
            replace_keeping_times: write(format!(
                "UPDATE {table} SET version = $1, realm = $2, owner = $3, state = $4 \
                 WHERE id = $5 AND version = $6 AND expires_at > {now}"
            )),
            touch: write(format!(
                "UPDATE {table} SET last_seen = {greatest}(last_seen, $1), expires_at = {greatest}(expires_at, $2) \
                 WHERE id = $3 AND version = $4 AND expires_at > {now}"
            )),
            delete: write(format!("DELETE FROM {table} WHERE id = $1 AND expires_at > {now}")),
            owned_by: read(columns, &format!("owner = $1 AND expires_at > {now}"), " ORDER BY id"),
            ids_of: read(
                "id",
                &format!("owner = $1 AND realm = coalesce($2, realm) AND expires_at > {now}"),
                " ORDER BY id",
            ),
            list: read(columns, &format!("id > $1 AND expires_at > {now}"), " ORDER BY id LIMIT $2"),
            count: read("count(*)", &format!("expires_at > {now}"), ""),
            summaries: SUMMARY_SIZES.map(|size| {
                let ids = (1..=size).map(|number| format!("${number}")).collect::<Vec<_>>().join(", ");
                let condition = format!("id IN ({ids}) AND expires_at > {now}");
                (size, read("id, version, last_seen, expires_at", &condition, ""))
            }),
            // Without a realm, any realm matches.
            delete_owned_by: if D::DELETE_HAS_RETURNING {
                DeleteOwnedBy::Returning(Statement::delete_returning::<D>(
                    protocol,
                    &format!(
                        "DELETE FROM {table} WHERE owner = $1 AND realm = coalesce($2, realm) AND id <> $3 \
                         AND expires_at > {now}"
                    ),
                ))
            } else {
                DeleteOwnedBy::Expiring {
                    expire: write(format!(
                        "UPDATE {table} SET version = $1, expires_at = -{now}, state = '' WHERE owner = $2 \
                         AND realm = coalesce($3, realm) AND id <> $4 AND expires_at > {now}"
                    )),
                    find: read("id", "version = $1 AND owner = $2 AND expires_at < 0", ""),
                }
            },
            sweep: write(D::sweep(&table)),
        }
    }
}

/// Numbers of ids that the statements for summaries take, in ascending order.
const SUMMARY_SIZES: [usize; 3] = [10, 100, 500];

/// Future that borrows a connection.
pub(in crate::store) type Running<'c, T> = std::pin::Pin<Box<dyn Future<Output = Result<T, sqlx::Error>> + Send + 'c>>;

/// Calls of sqlx whose bounds on the database's types would otherwise stand at every function of a store.
pub(super) trait Driver: Dialect {
    /// Runs a statement for its effect; without arguments, it is not prepared.
    fn execute<'c>(
        connection: &'c mut Self::Connection,
        sql: SqlStr,
        arguments: Option<Self::Arguments>,
    ) -> Running<'c, Self::QueryResult>;

    /// Runs a statement for its rows; without arguments, it is not prepared.
    fn fetch<'c>(
        connection: &'c mut Self::Connection,
        sql: SqlStr,
        arguments: Option<Self::Arguments>,
    ) -> Running<'c, Vec<Self::Row>>;

    /// Encodes the parameters of a statement.
    fn arguments<'a>(parameters: impl Iterator<Item = Parameter<'a>>) -> Result<Self::Arguments, BoxDynError>;

    /// Checks that the rows are an answer to a statement with this tag.
    fn check_answer(rows: &[Self::Row], tag: i64) -> Result<(), sqlx::Error>;

    /// Decodes the number in a column.
    fn number(row: &Self::Row, column: usize) -> Result<i64, StoreError>;

    /// Decodes the id of a row; `None` in the row of an answer without any.
    fn id(row: &Self::Row, statement: &Statement) -> Result<Option<SessionId>, StoreError>;

    /// Decodes a row of id, version, last seen and expiry.
    fn summary(row: &Self::Row, statement: &Statement) -> Result<Option<(SessionId, RecordSummary)>, StoreError>;

    /// Decodes a row of id, version, realm, owner, last seen, expiry and state.
    fn record(row: &Self::Row, statement: &Statement) -> Result<Option<Record>, StoreError>;
}

impl<D: Dialect> Driver for D
where
    for<'c> &'c mut D::Connection: Executor<'c, Database = D>,
    for<'q> Uuid: Encode<'q, D> + Decode<'q, D> + Type<D>,
    for<'q> i64: Encode<'q, D> + Decode<'q, D> + Type<D>,
    for<'q> &'q [u8]: Decode<'q, D> + Type<D>,
    for<'q> Option<&'q [u8]>: Encode<'q, D> + Decode<'q, D> + Type<D>,
    for<'q> &'q str: Decode<'q, D> + Type<D>,
    usize: ColumnIndex<D::Row>,
{
    fn execute<'c>(
        connection: &'c mut D::Connection,
        sql: SqlStr,
        arguments: Option<D::Arguments>,
    ) -> Running<'c, D::QueryResult> {
        connection.execute((sql, arguments))
    }

    fn fetch<'c>(
        connection: &'c mut D::Connection,
        sql: SqlStr,
        arguments: Option<D::Arguments>,
    ) -> Running<'c, Vec<D::Row>> {
        connection.fetch_all((sql, arguments))
    }

    fn arguments<'a>(parameters: impl Iterator<Item = Parameter<'a>>) -> Result<D::Arguments, BoxDynError> {
        let mut arguments = D::Arguments::default();
        for parameter in parameters {
            match parameter {
                Parameter::Id(id) => arguments.add(id)?,
                Parameter::Number(number) => arguments.add(number)?,
                Parameter::Bytes(bytes) => arguments.add(bytes)?,
            }
        }
        Ok(arguments)
    }

    fn check_answer(rows: &[D::Row], tag: i64) -> Result<(), sqlx::Error> {
        match rows.first().map(|row| row.try_get::<i64, _>(0)) {
            Some(Ok(found)) if found == tag => Ok(()),
            _ => Err(sqlx::Error::Protocol(format!("the answer belongs to another statement; {POOLER_ADVICE}"))),
        }
    }

    fn number(row: &D::Row, column: usize) -> Result<i64, StoreError> {
        row.try_get(column).map_err(store_error::<D>)
    }

    fn id(row: &D::Row, statement: &Statement) -> Result<Option<SessionId>, StoreError> {
        let id = row.try_get::<Option<Uuid>, _>(statement.first_column());
        id.map(|id| id.map(SessionId::from)).map_err(store_error::<D>)
    }

    fn summary(row: &D::Row, statement: &Statement) -> Result<Option<(SessionId, RecordSummary)>, StoreError> {
        let Some(id) = Self::id(row, statement)? else { return Ok(None) };
        let number = |index| Self::number(row, statement.first_column() + index);
        let time = |index| number(index).map(|time| Timestamp::from_milliseconds(time).into());
        let summary = RecordSummary { version: version(number(1)?)?, last_seen: time(2)?, expires_at: time(3)? };
        Ok(Some((id, summary)))
    }

    fn record(row: &D::Row, statement: &Statement) -> Result<Option<Record>, StoreError> {
        let Some(id) = Self::id(row, statement)? else { return Ok(None) };
        let column = |index| statement.first_column() + index;
        let number = |index| Self::number(row, column(index));
        let bytes = |index| match statement.protocol() {
            Protocol::Prepared => {
                let bytes = row.try_get::<Option<&[u8]>, _>(column(index)).map_err(store_error::<D>)?;
                Ok(bytes.map(Cow::Borrowed))
            }
            Protocol::Simple => {
                let text = row.try_get::<Option<&str>, _>(column(index)).map_err(store_error::<D>)?;
                let bytes = |text| from_hex(text).ok_or_else(|| StoreError::corrupt("a column is not hexadecimal"));
                text.map(bytes).transpose().map(|bytes| bytes.map(Cow::Owned))
            }
        };
        let present = |index| bytes(index)?.ok_or_else(|| StoreError::corrupt("a column is null"));
        let realm = present(2)?;
        let realm = std::str::from_utf8(&realm).map_err(StoreError::corrupt)?.into();
        let owner = bytes(3)?;
        let owner = owner.as_deref().map(std::str::from_utf8).transpose().map_err(StoreError::corrupt)?.map(Arc::from);
        let times = (Timestamp::from_milliseconds(number(4)?), Timestamp::from_milliseconds(number(5)?));
        Ok(Some(Record::new(id, version(number(1)?)?, realm, owner, times, present(6)?.as_ref().into())))
    }
}

fn version(number: i64) -> Result<Version, StoreError> {
    u64::try_from(number).map(Version::new).map_err(StoreError::corrupt)
}
