//! A store of any type, so that a session is not generic over its store.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

#[cfg(feature = "_sql")]
use super::SqlWrite;
use super::{Cursor, Expected, MemoryStore, Outcome, Page, RecordSummary, Store, Touch};
use crate::backoff::{pause, yield_now};
use crate::clock::{Clock, Timestamp};
use crate::error::StoreError;
use crate::record::Record;
use crate::token::SessionId;

/// A store of any type. Cloning shares it.
///
/// The one in memory is known by its name: it answers at once, so a box for each answer would be much of what an
/// operation costs.
#[derive(Clone)]
pub(crate) enum AnyStore {
    Memory(MemoryStore),
    Other(Arc<dyn ErasedStore>),
}

impl AnyStore {
    pub(crate) fn new(store: impl Store) -> Self {
        match (&store as &dyn Any).downcast_ref::<MemoryStore>() {
            Some(memory) => Self::Memory(memory.clone()),
            None => Self::Other(Arc::new(store)),
        }
    }

    /// Waits between two attempts of a write; `attempt` counts from 1.
    pub(crate) async fn back_off(&self, attempt: u32) {
        if self.is_remote() { pause(attempt).await } else { yield_now().await }
    }

    /// Returns whether calls cross a network.
    pub(crate) fn is_remote(&self) -> bool {
        match self {
            Self::Memory(_) => false,
            Self::Other(store) => store.is_remote(),
        }
    }

    pub(crate) async fn get(&self, id: &SessionId) -> Result<Option<Record>, StoreError> {
        match self {
            Self::Memory(store) => Store::get(store, id).await,
            Self::Other(store) => store.get(id).await,
        }
    }

    /// [Gets](Self::get) a record and the time. A memory store with the same clock has just read it.
    pub(crate) async fn get_timed(
        &self,
        id: &SessionId,
        clock: &Clock,
    ) -> (Result<Option<Record>, StoreError>, Timestamp) {
        match self {
            Self::Memory(store) if store.uses(clock) => {
                let (found, now) = store.find(id);
                (Ok(found), now)
            }
            _ => {
                let got = self.get(id).await;
                (got, clock.now())
            }
        }
    }

    pub(crate) async fn set(&self, record: &Record, expected: Expected) -> Result<Outcome, StoreError> {
        match self {
            Self::Memory(store) => Store::set(store, record, expected).await,
            Self::Other(store) => store.set(record, expected).await,
        }
    }

    pub(crate) async fn touch(&self, record: &Record, touch: Touch) -> Result<bool, StoreError> {
        match self {
            Self::Memory(store) => Store::touch(store, record, touch).await,
            Self::Other(store) => store.touch(record, touch).await,
        }
    }

    pub(crate) async fn delete(&self, id: &SessionId, owner: Option<&str>) -> Result<bool, StoreError> {
        match self {
            Self::Memory(store) => Store::delete(store, id, owner).await,
            Self::Other(store) => store.delete(id, owner).await,
        }
    }

    pub(crate) async fn owned_by(&self, owner: &str) -> Result<Vec<Record>, StoreError> {
        match self {
            Self::Memory(store) => Store::owned_by(store, owner).await,
            Self::Other(store) => store.owned_by(owner).await,
        }
    }

    pub(crate) async fn remove_from_index(&self, id: &SessionId, owner: &str) -> Result<(), StoreError> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Other(store) => store.remove_from_index(id, owner).await,
        }
    }

    pub(crate) async fn delete_owned_by(
        &self,
        owner: &str,
        realm: Option<&str>,
        keep: Option<&SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        match self {
            Self::Memory(store) => Store::delete_owned_by(store, owner, realm, keep).await,
            Self::Other(store) => store.delete_owned_by(owner, realm, keep).await,
        }
    }

    #[cfg(feature = "_sql")]
    pub(crate) fn sql_write(&self, record: &Record, expected: Expected) -> Result<SqlWrite, StoreError> {
        match self {
            Self::Memory(store) => Store::sql_write(store, record, expected),
            Self::Other(store) => store.sql_write(record, expected),
        }
    }

    pub(crate) async fn delete_expired(&self) -> Result<u64, StoreError> {
        match self {
            Self::Memory(store) => Store::delete_expired(store).await,
            Self::Other(store) => store.delete_expired().await,
        }
    }

    pub(crate) async fn ids_of(&self, owner: &str, realm: Option<&str>) -> Result<Vec<SessionId>, StoreError> {
        match self {
            Self::Memory(store) => Store::ids_of(store, owner, realm).await,
            Self::Other(store) => store.ids_of(owner, realm).await,
        }
    }

    #[cfg_attr(not(feature = "testing"), expect(dead_code, reason = "only the conformance suite calls it"))]
    pub(crate) async fn summaries_of(&self, ids: &[SessionId]) -> Result<Vec<Option<RecordSummary>>, StoreError> {
        match self {
            Self::Memory(store) => Store::summaries_of(store, ids).await,
            Self::Other(store) => store.summaries_of(ids).await,
        }
    }

    pub(crate) async fn list(&self, after: Option<&Cursor>, limit: usize) -> Result<Page, StoreError> {
        match self {
            Self::Memory(store) => Store::list(store, after, limit).await,
            Self::Other(store) => store.list(after, limit).await,
        }
    }

    pub(crate) async fn count(&self) -> Result<u64, StoreError> {
        match self {
            Self::Memory(store) => Store::count(store).await,
            Self::Other(store) => store.count().await,
        }
    }

    pub(crate) async fn ping(&self) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => Store::ping(store).await,
            Self::Other(store) => store.ping().await,
        }
    }
}

impl fmt::Debug for AnyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(store) => store.fmt(f),
            Self::Other(_) => f.write_str("Store"),
        }
    }
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The object-safe twin of [`Store`].
pub(crate) trait ErasedStore: Send + Sync + 'static {
    fn get<'a>(&'a self, id: &'a SessionId) -> Answer<'a, Result<Option<Record>, StoreError>>;
    fn set<'a>(&'a self, record: &'a Record, expected: Expected) -> Answer<'a, Result<Outcome, StoreError>>;
    fn touch<'a>(&'a self, record: &'a Record, touch: Touch) -> Answer<'a, Result<bool, StoreError>>;
    fn delete<'a>(&'a self, id: &'a SessionId, owner: Option<&'a str>) -> Answer<'a, Result<bool, StoreError>>;
    fn owned_by<'a>(&'a self, owner: &'a str) -> Answer<'a, Result<Vec<Record>, StoreError>>;
    fn remove_from_index<'a>(&'a self, id: &'a SessionId, owner: &'a str) -> Answer<'a, Result<(), StoreError>>;
    fn delete_owned_by<'a>(
        &'a self,
        owner: &'a str,
        realm: Option<&'a str>,
        keep: Option<&'a SessionId>,
    ) -> Answer<'a, Result<Vec<SessionId>, StoreError>>;
    fn delete_expired(&self) -> Answer<'_, Result<u64, StoreError>>;
    fn ids_of<'a>(&'a self, owner: &'a str, realm: Option<&'a str>) -> Answer<'a, Result<Vec<SessionId>, StoreError>>;
    fn summaries_of<'a>(&'a self, ids: &'a [SessionId]) -> Answer<'a, Result<Vec<Option<RecordSummary>>, StoreError>>;
    fn list<'a>(&'a self, after: Option<&'a Cursor>, limit: usize) -> Answer<'a, Result<Page, StoreError>>;
    fn count(&self) -> Answer<'_, Result<u64, StoreError>>;
    fn ping(&self) -> Answer<'_, Result<(), StoreError>>;
    #[cfg(feature = "_sql")]
    fn sql_write(&self, record: &Record, expected: Expected) -> Result<SqlWrite, StoreError>;
    fn is_remote(&self) -> bool;
}

impl<S: Store> ErasedStore for S {
    fn get<'a>(&'a self, id: &'a SessionId) -> Answer<'a, Result<Option<Record>, StoreError>> {
        Box::pin(Store::get(self, id))
    }

    fn set<'a>(&'a self, record: &'a Record, expected: Expected) -> Answer<'a, Result<Outcome, StoreError>> {
        Box::pin(Store::set(self, record, expected))
    }

    fn touch<'a>(&'a self, record: &'a Record, touch: Touch) -> Answer<'a, Result<bool, StoreError>> {
        Box::pin(Store::touch(self, record, touch))
    }

    fn delete<'a>(&'a self, id: &'a SessionId, owner: Option<&'a str>) -> Answer<'a, Result<bool, StoreError>> {
        Box::pin(Store::delete(self, id, owner))
    }

    fn owned_by<'a>(&'a self, owner: &'a str) -> Answer<'a, Result<Vec<Record>, StoreError>> {
        Box::pin(Store::owned_by(self, owner))
    }

    fn remove_from_index<'a>(&'a self, id: &'a SessionId, owner: &'a str) -> Answer<'a, Result<(), StoreError>> {
        Box::pin(Store::remove_from_index(self, id, owner))
    }

    fn delete_owned_by<'a>(
        &'a self,
        owner: &'a str,
        realm: Option<&'a str>,
        keep: Option<&'a SessionId>,
    ) -> Answer<'a, Result<Vec<SessionId>, StoreError>> {
        Box::pin(Store::delete_owned_by(self, owner, realm, keep))
    }

    fn delete_expired(&self) -> Answer<'_, Result<u64, StoreError>> {
        Box::pin(Store::delete_expired(self))
    }

    fn ids_of<'a>(&'a self, owner: &'a str, realm: Option<&'a str>) -> Answer<'a, Result<Vec<SessionId>, StoreError>> {
        Box::pin(Store::ids_of(self, owner, realm))
    }

    fn summaries_of<'a>(&'a self, ids: &'a [SessionId]) -> Answer<'a, Result<Vec<Option<RecordSummary>>, StoreError>> {
        Box::pin(Store::summaries_of(self, ids))
    }

    fn list<'a>(&'a self, after: Option<&'a Cursor>, limit: usize) -> Answer<'a, Result<Page, StoreError>> {
        Box::pin(Store::list(self, after, limit))
    }

    fn count(&self) -> Answer<'_, Result<u64, StoreError>> {
        Box::pin(Store::count(self))
    }

    fn ping(&self) -> Answer<'_, Result<(), StoreError>> {
        Box::pin(Store::ping(self))
    }

    #[cfg(feature = "_sql")]
    fn sql_write(&self, record: &Record, expected: Expected) -> Result<SqlWrite, StoreError> {
        Store::sql_write(self, record, expected)
    }

    fn is_remote(&self) -> bool {
        Store::is_remote(self)
    }
}
