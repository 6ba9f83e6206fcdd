//! Classification of database errors.

use super::Dialect;
use crate::error::StoreError;

/// Meaning of an error that the database itself reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(any(feature = "postgres", feature = "mysql")), allow(dead_code, reason = "SQLite has no connection"))]
pub(in crate::store) enum SqlFailure {
    /// The database rolled the statement back after a conflict with another; it can run again.
    RolledBack,
    /// The database is full, locked, read-only, starting or overloaded.
    Unavailable,
    /// The connection is unusable.
    Connection,
    /// The record is too large for the database.
    TooLarge,
    /// Any other error.
    Other,
}

/// Converts an error of sqlx, which stays the source.
pub(in crate::store) fn store_error<D: Dialect>(error: sqlx::Error) -> StoreError {
    let failure = match &error {
        sqlx::Error::Database(database) => D::failure(database.as_ref()),
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => return StoreError::corrupt(error),
        sqlx::Error::Configuration(_) | sqlx::Error::ColumnNotFound(_) | sqlx::Error::Encode(_) => SqlFailure::Other,
        _ => SqlFailure::Unavailable,
    };
    match failure {
        SqlFailure::RolledBack | SqlFailure::Unavailable | SqlFailure::Connection => StoreError::unavailable(error),
        SqlFailure::TooLarge => StoreError::unsupported(error),
        SqlFailure::Other => StoreError::other(error),
    }
}

/// Returns whether the connection is unusable after this error.
pub(super) fn breaks_connection(error: &sqlx::Error, failure: Option<SqlFailure>) -> bool {
    match failure {
        // A server may close the connection on which it received a record that is too large.
        Some(failure) => matches!(failure, SqlFailure::Connection | SqlFailure::TooLarge),
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
