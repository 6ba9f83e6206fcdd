//! What the errors of a database mean to a store.

use super::Dialect;
use crate::error::StoreError;

/// What an error that the database itself reports says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(any(feature = "postgres", feature = "mysql")), allow(dead_code, reason = "SQLite has no connection"))]
pub(in crate::store) enum Fault {
    /// The statement met another, and has been undone: it may run again.
    Undone,
    /// The database cannot do this now: it is full, locked, read-only, starting, or too busy.
    Unavailable,
    /// The connection is of no use any more.
    Connection,
    /// The database will never do this: the record is too large for it.
    Refused,
    /// Anything else.
    Other,
}

/// An error of the client as the store's own. What the client said stays its source.
pub(in crate::store) fn store_error<D: Dialect>(error: sqlx::Error) -> StoreError {
    let fault = match &error {
        sqlx::Error::Database(database) => D::fault(database.as_ref()),
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => return StoreError::corrupt(error),
        sqlx::Error::Configuration(_) | sqlx::Error::ColumnNotFound(_) | sqlx::Error::Encode(_) => Fault::Other,
        _ => Fault::Unavailable,
    };
    match fault {
        Fault::Undone | Fault::Unavailable | Fault::Connection => StoreError::unavailable(error),
        Fault::Refused => StoreError::unsupported(error),
        Fault::Other => StoreError::other(error),
    }
}

/// Whether an error that the database did not report leaves the connection in order.
pub(super) fn is_about_the_data(error: &sqlx::Error) -> bool {
    matches!(
        error,
        sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::Decode(_)
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::ColumnIndexOutOfBounds { .. }
            | sqlx::Error::RowNotFound
    )
}
