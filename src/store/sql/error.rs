//! Classification of database errors.

use super::Dialect;
use crate::error::StoreError;

/// Advice about a pooler that mixes up prepared statements.
pub(in crate::store) const POOLER_ADVICE: &str = "a pooler such as PgBouncer mixes up prepared statements; connect with \
     `PostgresStore::connect_through_pooler`, or set the pooler to session mode";

/// Meaning of an error that the database itself reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "postgres"), allow(dead_code, reason = "not each database reports each of them"))]
pub(in crate::store) enum SqlFailure {
    /// The database rolled the statement back after a conflict with another; it can run again.
    RolledBack,
    /// The database is full, locked, read-only, starting or overloaded.
    Unavailable,
    /// The connection is unusable.
    Connection,
    /// The connection's prepared statements are not those that it has prepared.
    MixedUp,
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
        SqlFailure::MixedUp => StoreError::unsupported(format!("{error}; {POOLER_ADVICE}")),
        SqlFailure::TooLarge => StoreError::unsupported(error),
        SqlFailure::Other => StoreError::other(error),
    }
}

/// Returns whether the connection is unusable after this error.
pub(super) fn breaks_connection(error: &sqlx::Error, failure: Option<SqlFailure>) -> bool {
    match failure {
        // A server may close the connection on which it received a record that is too large.
        Some(failure) => matches!(failure, SqlFailure::Connection | SqlFailure::MixedUp | SqlFailure::TooLarge),
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
