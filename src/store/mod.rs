//! The storage contract [`Store`], and the stores.

#[cfg(feature = "_network")]
mod deadline;
mod erased;
mod listing;
pub(crate) mod memory;
#[cfg(feature = "mysql")]
pub(crate) mod mysql;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(feature = "redis")]
pub(crate) mod redis;
#[cfg(feature = "sealed")]
pub(crate) mod sealed;
#[cfg(feature = "_network")]
mod server_clock;
#[cfg(feature = "_sql")]
mod sql;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;

use std::future::Future;
use std::sync::Arc;

pub(crate) use self::erased::AnyStore;
pub use self::listing::{Cursor, Page, RecordSummary};
use self::memory::MemoryStore;

#[cfg(feature = "_sql")]
pub use self::sql::SqlStore;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
pub use self::sql::{SqlParameter, SqlWrite};
#[cfg(feature = "_sql")]
pub(crate) use self::sql::{TransactionFailure, Transactional};
pub use crate::error::{StoreError, StoreErrorKind};
pub use crate::record::{Record, RecordParts, Touch, Version};
use crate::token::SessionId;

/// Storage of session records.
///
/// A store never receives a token: a record contains only the SHA-256 of its secret. Every guarantee of this crate depends
/// on three rules:
///
/// - [`set`](Store::set) is one atomic compare-and-swap on the record's version. A store that reads, compares and
///   writes in separate steps loses acknowledged writes and revives ended sessions.
/// - A record that has expired by the store's own clock is absent to every operation. Until then it must stay: the layer sets the
///   expiry after the session's idle timeout, so that a slow request can still commit.
/// - An operation sees the effects of every earlier one, on any connection. A replica that lags does not qualify.
///
/// The module `testing` (feature `testing`) has a conformance suite for this contract.
///
/// A caller may drop the future of an operation before it completes; the operation has then happened or not.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a store of sessions",
    label = "not a `Store`",
    note = "take `MemoryStore::new()`, a store behind a feature of sessile (`sqlite`, `postgres`, `mysql`, `redis`), or \
            implement `sessile::store::Store`",
    note = "a layer is made of a store, `SessionLayer::new(store)`, and added to a router, `.layer(…)`"
)]
pub trait Store: Send + Sync + 'static {
    /// Returns the record of this id, or `None` if it is missing or expired.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](crate::store::StoreErrorKind::Corrupt) if the stored bytes are not a record;
    /// [`Unavailable`](crate::store::StoreErrorKind::Unavailable) if the store does not answer.
    fn get(&self, id: &SessionId) -> impl Future<Output = Result<Option<Record>, StoreError>> + Send;

    /// Writes the whole `record` if the stored one is as `expected`.
    ///
    /// Under [`Expected::VersionKeepingTimes`] the stored times stay, whatever the times of `record` are.
    ///
    /// The store returns [`Outcome::Refused`] only if this call certainly wrote nothing. It writes an expired record like
    /// any other; the record is then absent.
    ///
    /// # Errors
    ///
    /// After an error the caller does not know whether the record was written, and must read it.
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

    /// Returns the live records of this owner in the order of their ids.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](crate::store::StoreErrorKind::Unsupported) if the store has no index of owners; the provided method
    /// always returns it.
    fn owned_by(&self, owner: &str) -> impl Future<Output = Result<Vec<Record>, StoreError>> + Send {
        let _ = owner;
        std::future::ready(Err(StoreError::new(StoreErrorKind::Unsupported)))
    }

    /// Removes a session that has ended, and has no owner any more, from the index of its former owner.
    ///
    /// Only for a store whose index is apart from the records, so that [`set`](Store::set) could not do it; readers of the index
    /// skip an entry that stays behind. The provided method does nothing.
    ///
    /// # Errors
    ///
    /// If the store fails.
    fn remove_from_index(&self, id: &SessionId, owner: &str) -> impl Future<Output = Result<(), StoreError>> + Send {
        let _ = (id, owner);
        std::future::ready(Ok(()))
    }

    /// Deletes the live records of this owner, except `keep`, and returns the ids of those that this call deleted.
    ///
    /// With a `realm` it deletes the records of that realm only. A store that can should delete all of them in one step, without
    /// reading states: an owner may have thousands of sessions, and a dropped future must not leave some of them. The provided
    /// method reads [`owned_by`](Store::owned_by) and deletes one record after another, the newest first.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](crate::store::StoreErrorKind::Unsupported) if the store has no index of owners. After another error the
    /// caller does not know which records were deleted.
    fn delete_owned_by(
        &self,
        owner: &str,
        realm: Option<&str>,
        keep: Option<&SessionId>,
    ) -> impl Future<Output = Result<Vec<SessionId>, StoreError>> + Send {
        async move {
            let mut deleted = Vec::new();
            for record in self.owned_by(owner).await?.iter().rev() {
                let is_meant = realm.is_none_or(|realm| realm == record.realm()) && keep != Some(record.id());
                if is_meant && self.delete(record.id(), Some(owner)).await? {
                    deleted.push(*record.id());
                }
            }
            Ok(deleted)
        }
    }

    /// Deletes records that have expired by the store's own clock, and returns their number.
    ///
    /// The provided method is for stores that delete expired records by themselves: it does nothing and returns 0.
    ///
    /// # Errors
    ///
    /// If the store fails; it may have deleted some records by then.
    fn delete_expired(&self) -> impl Future<Output = Result<u64, StoreError>> + Send {
        std::future::ready(Ok(0))
    }

    /// Returns the ids of this owner's live records in ascending order; with a `realm`, of that realm only.
    ///
    /// A store that can should read no state. The provided method reads [`owned_by`](Store::owned_by).
    ///
    /// # Errors
    ///
    /// Those of [`owned_by`](Store::owned_by).
    fn ids_of(
        &self,
        owner: &str,
        realm: Option<&str>,
    ) -> impl Future<Output = Result<Vec<SessionId>, StoreError>> + Send {
        async move {
            let records = self.owned_by(owner).await?;
            let in_realm = records.iter().filter(|record| realm.is_none_or(|realm| realm == record.realm()));
            Ok(in_realm.map(|record| *record.id()).collect())
        }
    }

    /// Returns version and times of each of these records, in the order of `ids`; `None` for a record that is missing or expired.
    ///
    /// An id that is given twice is answered twice. A store that can should answer in one round trip and read no state; callers pass
    /// at most 1,000 ids. The provided method [gets](Store::get) one record after another.
    ///
    /// # Errors
    ///
    /// If the store fails.
    fn summaries_of(
        &self,
        ids: &[SessionId],
    ) -> impl Future<Output = Result<Vec<Option<RecordSummary>>, StoreError>> + Send {
        async move {
            let mut summaries = Vec::with_capacity(ids.len());
            for id in ids {
                summaries.push(self.get(id).await?.as_ref().map(RecordSummary::from));
            }
            Ok(summaries)
        }
    }

    /// Returns a page of about `limit` live records of every realm, in the store's own order.
    ///
    /// A caller passes the [`next`](Page::next) of each page to the next call, on any connection, until it is `None`. A record that
    /// is live during the whole listing is in at least one page, also if it is changed meanwhile. It is in exactly one, unless
    /// records are written or the store moves them meanwhile. A record that is created, or ends, meanwhile may be missing. A cursor
    /// stays valid after its record has ended.
    ///
    /// A limit of 0 counts as 1. A large limit is no reason to hold a lock long: a page may have fewer records.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](crate::store::StoreErrorKind::Unsupported) if the store cannot list its records, or `after` is not a cursor of
    /// this store; the provided method always returns it.
    fn list(&self, after: Option<&Cursor>, limit: usize) -> impl Future<Output = Result<Page, StoreError>> + Send {
        let _ = (after, limit);
        std::future::ready(Err(StoreError::new(StoreErrorKind::Unsupported)))
    }

    /// Returns the number of live records, of every realm.
    ///
    /// While records are written, the number is approximate. The provided method reads every page of [`list`](Store::list).
    ///
    /// # Errors
    ///
    /// Those of [`list`](Store::list).
    fn count(&self) -> impl Future<Output = Result<u64, StoreError>> + Send {
        async move {
            let mut count = 0;
            let mut after = None;
            loop {
                let page = self.list(after.as_ref(), COUNT_PAGE_SIZE).await?;
                count += page.records.len() as u64;
                match page.next {
                    Some(next) => after = Some(next),
                    None => return Ok(count),
                }
            }
        }
    }

    /// Checks that the store answers, for a health check.
    ///
    /// It writes nothing. The provided method reads a record that does not exist.
    ///
    /// # Errors
    ///
    /// If the store fails.
    fn ping(&self) -> impl Future<Output = Result<(), StoreError>> + Send {
        async move { self.get(&SessionId::from(uuid::Uuid::nil())).await.map(drop) }
    }

    /// Returns the [`set`](Store::set) of this record as a statement of the store's SQL database, for a transaction of the
    /// application.
    ///
    /// A store that wraps another one should call that one's method with the record as it would store it.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](crate::store::StoreErrorKind::Unsupported) if the store is in no SQL database; the provided method always
    /// returns it.
    #[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
    fn sql_write(&self, record: &Record, expected: Expected) -> Result<SqlWrite, StoreError> {
        let _ = (record, expected);
        Err(StoreError::unsupported("the store is not in an SQL database"))
    }

    /// Returns whether other processes share the store: a server across a network, or a database file.
    ///
    /// A store whose operations wait for anything outside this process should return `true`, since a task that waits for another
    /// task of its request then sleeps instead of polling.
    ///
    /// Before a commit tries again on such a store, it pauses for a random time of at most 250 milliseconds, by the timer of a
    /// tokio runtime. The provided method returns `false`: a commit only lets other tasks run.
    fn is_remote(&self) -> bool {
        false
    }
}

/// Number of records that the provided [`Store::count`] reads at once.
const COUNT_PAGE_SIZE: usize = 100;

/// The condition of a [`Store::set`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a store must handle every case; a new one would break its promise")]
pub enum Expected {
    /// No record, or an expired one.
    Absent,
    /// A record of this version.
    Version(Version),
    /// A record of this version, whose last-seen and expiry times stay as they are stored.
    ///
    /// For a write that is no use of the session: a touch may have moved the times since the record was read.
    VersionKeepingTimes(Version),
}

impl Expected {
    /// Returns the version that the stored record must have; `None` if there must be no record.
    #[must_use]
    pub const fn version(self) -> Option<Version> {
        match self {
            Self::Absent => None,
            Self::Version(version) | Self::VersionKeepingTimes(version) => Some(version),
        }
    }
}

/// The result of a [`Store::set`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "an atomic write was either made or not")]
#[must_use]
pub enum Outcome {
    /// The record was written.
    Written,
    /// The stored record is not the expected one; nothing was written.
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

    fn remove_from_index(&self, id: &SessionId, owner: &str) -> impl Future<Output = Result<(), StoreError>> + Send {
        (**self).remove_from_index(id, owner)
    }

    fn delete_owned_by(
        &self,
        owner: &str,
        realm: Option<&str>,
        keep: Option<&SessionId>,
    ) -> impl Future<Output = Result<Vec<SessionId>, StoreError>> + Send {
        (**self).delete_owned_by(owner, realm, keep)
    }

    fn delete_expired(&self) -> impl Future<Output = Result<u64, StoreError>> + Send {
        (**self).delete_expired()
    }

    fn ids_of(
        &self,
        owner: &str,
        realm: Option<&str>,
    ) -> impl Future<Output = Result<Vec<SessionId>, StoreError>> + Send {
        (**self).ids_of(owner, realm)
    }

    fn summaries_of(
        &self,
        ids: &[SessionId],
    ) -> impl Future<Output = Result<Vec<Option<RecordSummary>>, StoreError>> + Send {
        (**self).summaries_of(ids)
    }

    fn list(&self, after: Option<&Cursor>, limit: usize) -> impl Future<Output = Result<Page, StoreError>> + Send {
        (**self).list(after, limit)
    }

    fn count(&self) -> impl Future<Output = Result<u64, StoreError>> + Send {
        (**self).count()
    }

    fn ping(&self) -> impl Future<Output = Result<(), StoreError>> + Send {
        (**self).ping()
    }

    #[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
    fn sql_write(&self, record: &Record, expected: Expected) -> Result<SqlWrite, StoreError> {
        (**self).sql_write(record, expected)
    }

    fn is_remote(&self) -> bool {
        (**self).is_remote()
    }
}
