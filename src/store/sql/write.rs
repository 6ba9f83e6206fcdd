//! The write of a record as a statement for a transaction of the application.

use std::fmt;
use std::sync::Arc;

use sqlx::error::{DatabaseError, ErrorKind};
use sqlx::{AssertSqlSafe, Database, Pool, SqlSafeStr, SqlStr, Transaction};
use uuid::Uuid;

use super::dialect::Driver;
use super::statement::Parameter;
use super::{Dialect, SqlFailure};
use crate::error::StoreError;
use crate::record::{Record, Version};
use crate::store::Expected;

/// The statement that writes a session's record, for a transaction of the application.
///
/// It changes one row if the stored record still has the expected version, and no row otherwise.
#[derive(Clone)]
pub struct SqlWrite {
    database: &'static str,
    sql: Arc<str>,
    parameters: Vec<SqlParameter>,
    expected: Expected,
}

/// Value of a statement's parameter.
#[derive(Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "an application must bind every parameter")]
pub enum SqlParameter {
    /// A session id: of the type `uuid` in PostgreSQL, and 16 bytes elsewhere.
    Id(Uuid),
    /// An integer of 64 bits.
    Number(i64),
    /// Bytes (`bytea` or `blob`), or `NULL`.
    Bytes(Option<Vec<u8>>),
}

impl SqlWrite {
    pub(super) fn new<D: Dialect>(sql: &Arc<str>, parameters: &[Parameter<'_>], expected: Expected) -> Self {
        let parameters = parameters.iter().map(|parameter| match *parameter {
            Parameter::Id(id) => SqlParameter::Id(id),
            Parameter::Number(number) => SqlParameter::Number(number),
            Parameter::Bytes(bytes) => SqlParameter::Bytes(bytes.map(<[u8]>::to_vec)),
        });
        Self { database: D::NAME, sql: Arc::clone(sql), parameters: parameters.collect(), expected }
    }

    /// Returns the name of the database, as sqlx calls it: `"PostgreSQL"`, `"MySQL"` or `"SQLite"`.
    #[must_use]
    pub const fn database(&self) -> &'static str {
        self.database
    }

    /// Returns the statement. Its parameters are `$1`, `$2`, … in PostgreSQL and SQLite, and `?` in MySQL and MariaDB.
    #[must_use]
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// Returns the values to bind, in the order of the parameters.
    #[must_use]
    pub fn parameters(&self) -> &[SqlParameter] {
        &self.parameters
    }
}

impl fmt::Debug for SqlWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { database, sql, parameters, .. } = self;
        f.debug_struct("SqlWrite")
            .field("database", database)
            .field("sql", sql)
            .field("parameters", parameters)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SqlParameter {
    /// Shows the length of bytes, which may be the values of a session.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "Id({id})"),
            Self::Number(number) => write!(f, "Number({number})"),
            Self::Bytes(None) => f.write_str("Bytes(None)"),
            Self::Bytes(Some(bytes)) => write!(f, "Bytes({} bytes)", bytes.len()),
        }
    }
}

/// Encodes the parameters of a write.
pub(super) fn parameters<D: Dialect>(record: &Record, expected: Expected) -> Result<Vec<Parameter<'_>>, StoreError> {
    if record.owner().is_some_and(|owner| owner.len() > D::MAX_OWNER_LENGTH) {
        // A server that is not in strict mode would truncate it.
        let max = D::MAX_OWNER_LENGTH;
        return Err(StoreError::unsupported(format!("the owner is too long; use at most {max} bytes")));
    }
    let mut parameters = vec![
        version_parameter(record.version())?,
        Parameter::Bytes(Some(record.realm().as_bytes())),
        Parameter::Bytes(record.owner().map(str::as_bytes)),
    ];
    if !matches!(expected, Expected::VersionKeepingTimes(_)) {
        parameters.push(Parameter::Number(record.last_seen_timestamp().milliseconds()));
        parameters.push(Parameter::Number(record.expiry().milliseconds()));
    }
    parameters.push(Parameter::Bytes(Some(record.state())));
    parameters.push(Parameter::Id(*record.id().as_uuid()));
    if let Some(version) = expected.version() {
        parameters.push(version_parameter(version)?);
    }
    Ok(parameters)
}

pub(super) fn version_parameter(version: Version) -> Result<Parameter<'static>, StoreError> {
    i64::try_from(version.get()).map(Parameter::Number).map_err(StoreError::unsupported)
}

/// Returns the function that reads the number of records that a write without a tag wrote.
pub(super) fn rows_written<D: Dialect>(expected: Expected) -> fn(&D::QueryResult) -> u64 {
    match expected {
        Expected::Absent => D::rows_inserted,
        Expected::Version(_) | Expected::VersionKeepingTimes(_) => D::rows_affected,
    }
}

/// Meaning of an error in a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TransactionFailure {
    /// The database has rolled the transaction back after a conflict with another.
    RolledBack,
    /// The database refuses the statement, and would again.
    Refused,
    /// The database or the connection failed.
    Failed,
}

/// A database whose transactions can hold the write of a session.
pub(crate) trait Transactional: Database {
    /// Begins a transaction that is about to write.
    fn begin(pool: &Pool<Self>) -> impl Future<Output = Result<Transaction<'static, Self>, sqlx::Error>> + Send;

    /// Runs a write in a transaction; returns whether it changed the row.
    fn write(
        transaction: &mut Transaction<'_, Self>,
        write: &SqlWrite,
    ) -> impl Future<Output = Result<bool, sqlx::Error>> + Send;

    /// Classifies an error.
    fn transaction_failure(error: &sqlx::Error) -> TransactionFailure;

    /// Checks whether the outcome is unknown after this error of a `COMMIT`.
    fn leaves_commit_in_doubt(error: &sqlx::Error) -> bool;

    /// Checks that a transaction can still commit.
    fn check(transaction: &mut Transaction<'_, Self>) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Checks whether an error says that the database has rolled the transaction back after a conflict.
    fn is_conflict(error: &dyn DatabaseError) -> bool;
}

impl<D: Driver> Transactional for D {
    async fn begin(pool: &Pool<D>) -> Result<Transaction<'static, D>, sqlx::Error> {
        pool.begin_with(D::BEGIN).await
    }

    async fn write(transaction: &mut Transaction<'_, D>, write: &SqlWrite) -> Result<bool, sqlx::Error> {
        let parameters = write.parameters.iter().map(SqlParameter::as_parameter);
        let arguments = D::arguments(parameters).map_err(sqlx::Error::Encode)?;
        let sql = AssertSqlSafe(Arc::clone(&write.sql)).into_sql_str();
        let result = D::execute(transaction, sql, Some(arguments)).await?;
        Ok(rows_written::<D>(write.expected)(&result) == 1)
    }

    fn transaction_failure(error: &sqlx::Error) -> TransactionFailure {
        if error.as_database_error().is_some_and(|error| error.code().as_deref() == Some("25P02")) {
            // PostgreSQL has aborted the transaction because of an error that the application ignored.
            return TransactionFailure::Refused;
        }
        match error.as_database_error().map(D::failure) {
            Some(SqlFailure::RolledBack) => TransactionFailure::RolledBack,
            Some(SqlFailure::TooLarge | SqlFailure::Other) => TransactionFailure::Refused,
            Some(
                SqlFailure::Unavailable
                | SqlFailure::Connection
                | SqlFailure::ReadOnly
                | SqlFailure::Statement
                | SqlFailure::Parameters,
            )
            | None => TransactionFailure::Failed,
        }
    }

    fn leaves_commit_in_doubt(error: &sqlx::Error) -> bool {
        // SQLite has rolled back by itself before the session was written, which therefore may stand alone.
        let has_no_transaction = |error: &dyn DatabaseError| D::HAS_SINGLE_WRITER && error.kind() == ErrorKind::Other;
        match D::transaction_failure(error) {
            TransactionFailure::Failed => true,
            TransactionFailure::Refused => error.as_database_error().is_some_and(has_no_transaction),
            TransactionFailure::RolledBack => false,
        }
    }

    async fn check(transaction: &mut Transaction<'_, D>) -> Result<(), sqlx::Error> {
        D::execute(transaction, SqlStr::from_static("SELECT 1"), None).await.map(drop)
    }

    fn is_conflict(error: &dyn DatabaseError) -> bool {
        D::failure(error) == SqlFailure::RolledBack
    }
}

impl SqlParameter {
    fn as_parameter(&self) -> Parameter<'_> {
        match self {
            Self::Id(id) => Parameter::Id(*id),
            Self::Number(number) => Parameter::Number(*number),
            Self::Bytes(bytes) => Parameter::Bytes(bytes.as_deref()),
        }
    }
}
