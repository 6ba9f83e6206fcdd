//! Where records are kept: the contract of a [`Store`].

#[cfg(feature = "_network")]
mod deadline;
mod erased;
pub(crate) mod memory;
#[cfg(feature = "mysql")]
pub(crate) mod mysql;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(feature = "redis")]
pub(crate) mod redis;
#[cfg(feature = "sealed")]
pub(crate) mod sealed;
#[cfg(feature = "_sql")]
mod sql;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;

use std::future::Future;
use std::sync::Arc;

pub(crate) use self::erased::AnyStore;
use self::memory::MemoryStore;

#[cfg(feature = "_sql")]
pub use self::sql::SqlStore;
pub use crate::error::{StoreError, StoreErrorKind};
pub use crate::record::{Record, RecordParts, Touch, Version};
use crate::token::SessionId;

/// Where records are kept.
///
/// A store never sees a token: a record holds only the SHA-256 of its secret. What a store must do is little,
/// and every guarantee of this crate rests on it:
///
/// - [`set`](Store::set) is one atomic compare-and-swap on the record's version. A store that reads, compares and
///   writes in separate steps loses acknowledged writes and brings ended sessions back to life.
/// - A record whose expiry has passed, by the store's own clock, is absent to every operation.
/// - What a call answered is there for the next call, from whichever connection it comes. A replica that lags is no
///   store.
///
/// The module `testing` (feature `testing`) holds a suite that tries every rule of this contract against any
/// store.
///
/// Every operation may be dropped half-way by a client that goes away; it has then happened or not.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a store of sessions",
    label = "not a `Store`",
    note = "take `MemoryStore::new()`, a store behind a feature of sessile (`sqlite`, `postgres`, `mysql`, `redis`), or \
            implement `sessile::store::Store`",
    note = "a layer is made of a store, `SessionLayer::new(store)`, and added to a router, `.layer(…)`"
)]
pub trait Store: Send + Sync + 'static {
    /// The record of this id; `None` where there is none or it has expired.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](crate::store::StoreErrorKind::Corrupt) where what is stored is not a record;
    /// [`Unavailable`](crate::store::StoreErrorKind::Unavailable) where the store cannot be asked.
    fn get(&self, id: &SessionId) -> impl Future<Output = Result<Option<Record>, StoreError>> + Send;

    /// Writes `record`, whole, only if what is stored now is what was `expected`.
    ///
    /// [`Outcome::Refused`] is said only where it is certain that this call wrote nothing. A record whose expiry has passed
    /// already is written like any other, and absent from then on.
    ///
    /// # Errors
    ///
    /// After an error nobody knows whether it was written: the caller finds out.
    fn set(&self, record: &Record, expected: Expected) -> impl Future<Output = Result<Outcome, StoreError>> + Send;

    /// Moves the last-seen and expiry times of `record`, which was read before, and leaves everything else as it is, the
    /// version included. Neither time ever moves to an earlier instant.
    ///
    /// Returns `false`, and changes nothing, if the stored record is missing or has another version than `record`. The
    /// owner of `record` is the stored one, so that a store can name every key that it touches.
    ///
    /// # Errors
    ///
    /// After an error the caller does not know whether the times were moved.
    fn touch(&self, record: &Record, touch: Touch) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Deletes the record, whatever its version, and returns whether there was one.
    ///
    /// `owner` is the owner of the record if the caller has read it, so that a store can name every key that it touches. It
    /// may be missing or outdated: the record is deleted all the same, and an index entry that stays behind must be
    /// skipped by [`owned_by`](Store::owned_by).
    ///
    /// # Errors
    ///
    /// After an error the caller does not know whether the record was deleted.
    fn delete(&self, id: &SessionId, owner: Option<&str>) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// The records of this owner, oldest id first, without those that have expired.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](crate::store::StoreErrorKind::Unsupported) unless the store keeps an index of owners: the provided
    /// method always says so.
    fn owned_by(&self, owner: &str) -> impl Future<Output = Result<Vec<Record>, StoreError>> + Send {
        let _ = owner;
        std::future::ready(Err(StoreError::new(StoreErrorKind::Unsupported)))
    }

    /// Deletes what has expired, by the store's own clock; says how many records that were.
    ///
    /// The provided method is for stores that expire by themselves: it does nothing and says 0.
    ///
    /// # Errors
    ///
    /// Where the store cannot be asked; some may have been deleted by then.
    fn delete_expired(&self) -> impl Future<Output = Result<u64, StoreError>> + Send {
        std::future::ready(Ok(0))
    }
}

/// What must be stored for a [`Store::set`] to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a store must handle every case; a new one would break its promise")]
pub enum Expected {
    /// Nothing, or a record that has expired.
    Absent,
    /// A record of this version.
    Version(Version),
}

/// What a [`Store::set`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "an atomic write was either made or not")]
#[must_use]
pub enum Outcome {
    /// The record was written.
    Written,
    /// Something else than expected is stored, and nothing was written.
    Refused,
}

impl<S: Store + ?Sized> Store for Arc<S> {
    fn get(&self, id: &SessionId) -> impl Future<Output = Result<Option<Record>, StoreError>> + Send {
        (**self).get(id)
    }

    fn set(&self, record: &Record, expected: Expected) -> impl Future<Output = Result<Outcome, StoreError>> + Send {
        (**self).set(record, expected)
    }

    fn touch(&self, record: &Record, touch: Touch) -> impl Future<Output = Result<bool, StoreError>> + Send {
        (**self).touch(record, touch)
    }

    fn delete(&self, id: &SessionId, owner: Option<&str>) -> impl Future<Output = Result<bool, StoreError>> + Send {
        (**self).delete(id, owner)
    }

    fn owned_by(&self, owner: &str) -> impl Future<Output = Result<Vec<Record>, StoreError>> + Send {
        (**self).owned_by(owner)
    }

    fn delete_expired(&self) -> impl Future<Output = Result<u64, StoreError>> + Send {
        (**self).delete_expired()
    }
}
