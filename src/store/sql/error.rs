//! Classification of database errors.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use super::Dialect;
use crate::error::{StoreError, StoreErrorKind};

/// Advice about a pooler that mixes up prepared statements.
pub(in crate::store) const POOLER_ADVICE: &str = "a pooler such as PgBouncer mixes up prepared statements; connect with \
     `PostgresStore::connect_through_pooler`, or set the pooler to session mode";

/// Meaning of an error that the database itself reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "postgres"), allow(dead_code, reason = "not each database reports each of them"))]
pub(in crate::store) enum SqlFailure {
    /// The database rolled the statement back after a conflict with another; it can run again.
    RolledBack,
    /// The database is full, locked, starting or overloaded.
    Unavailable,
    /// The connection is unusable.
    Connection,
    /// The connection cannot write, for instance after a failover; the statement did not run.
    ReadOnly,
    /// The connection has lost its prepared statements; the statement did not run.
    Statement,
    /// The connection's prepared statement takes parameters of other types, so it is another one.
    Parameters,
    /// The record is too large for the database.
    TooLarge,
    /// Any other error.
    Other,
}

impl SqlFailure {
    /// Checks whether the statement certainly did not run, and may run on another connection.
    pub(super) const fn needs_new_connection(self) -> bool {
        matches!(self, Self::ReadOnly | Self::Statement)
    }
}

/// Converts an error of sqlx, which stays the source, with advice if a pooler is the cause.
pub(in crate::store) fn store_error<D: Dialect>(error: sqlx::Error) -> StoreError {
    let kind = kind_of::<D>(&error);
    match error.as_database_error().map(D::failure) {
        Some(SqlFailure::Statement | SqlFailure::Parameters) if D::IS_TAGGED => {
            StoreError::with_source(kind, format!("{error}; {POOLER_ADVICE}"))
        }
        _ => StoreError::with_source(kind, error),
    }
}

fn kind_of<D: Dialect>(error: &sqlx::Error) -> StoreErrorKind {
    let failure = match error {
        sqlx::Error::Database(database) => D::failure(database.as_ref()),
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => return StoreErrorKind::Corrupt,
        sqlx::Error::Configuration(_) | sqlx::Error::ColumnNotFound(_) | sqlx::Error::Encode(_) => SqlFailure::Other,
        _ => SqlFailure::Unavailable,
    };
    match failure {
        SqlFailure::RolledBack | SqlFailure::Unavailable | SqlFailure::Connection | SqlFailure::ReadOnly => {
            StoreErrorKind::Unavailable
        }
        SqlFailure::TooLarge | SqlFailure::Statement | SqlFailure::Parameters => StoreErrorKind::Unsupported,
        SqlFailure::Other => StoreErrorKind::Other,
    }
}

/// Returns whether the connection is unusable after this error.
pub(super) fn breaks_connection(error: &sqlx::Error, failure: Option<SqlFailure>) -> bool {
    match failure {
        Some(SqlFailure::Connection | SqlFailure::Parameters) => true,
        Some(failure) => failure.needs_new_connection(),
        None => !matches!(
            error,
            sqlx::Error::ColumnDecode { .. }
                | sqlx::Error::Decode(_)
                | sqlx::Error::ColumnNotFound(_)
                | sqlx::Error::ColumnIndexOutOfBounds { .. }
                | sqlx::Error::RowNotFound
        ),
    }
}

/// Returns whether the database rolled a statement back, or refused a connection, because of a lock or a conflict.
pub(super) fn is_rolled_back<D: Dialect>(error: &StoreError) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<sqlx::Error>() {
            return error.as_database_error().map(D::failure) == Some(SqlFailure::RolledBack);
        }
        source = error.source();
    }
    false
}

/// Reason why no connection could be made, or why a file is unusable.
#[derive(Clone, Debug)]
pub(super) struct AddressedError {
    problem: &'static str,
    /// Host and port, or the path of a socket or of a file; never a password.
    address: String,
    source: Arc<sqlx::Error>,
}

impl AddressedError {
    /// Creates the error of a failed attempt to connect.
    pub(super) fn connect(address: String, error: sqlx::Error) -> Self {
        Self { problem: "cannot connect to", address, source: Arc::new(error) }
    }

    /// Creates the error of a statement.
    pub(super) fn statement(address: String, error: sqlx::Error) -> Self {
        Self { problem: "cannot use", address, source: Arc::new(error) }
    }

    pub(super) fn into_store_error<D: Dialect>(self) -> StoreError {
        StoreError::with_source(kind_of::<D>(&self.source), self)
    }
}

impl fmt::Display for AddressedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.problem, self.address)
    }
}

impl StdError for AddressedError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.source)
    }
}
