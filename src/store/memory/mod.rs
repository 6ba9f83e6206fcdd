//! Sessions in this process.

mod shard;
mod sync;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use self::shard::{Shard, Table};
use self::sync::{AtomicUsize, SHARDS};
use super::{Cursor, Expected, Outcome, Page, RecordSummary, Store, Touch};
use crate::backoff::yield_now;
use crate::clock::{Clock, Timestamp};
use crate::error::StoreError;
use crate::record::Record;
use crate::token::SessionId;

/// Most expired records that one operation frees in its own shard, and again in the next shard in turn.
///
/// An operation adds at most one record to its shard, so no shard can fall behind, whichever ids it is given.
const MAX_FREED_IN_PASSING: usize = 16;

/// Most expired records that `delete_expired` frees under one lock.
const MAX_FREED_AT_ONCE: usize = 256;

/// Most records in a page, however large the limit: a shard is locked while they are read.
const MAX_PAGE_SIZE: usize = 1_000;

/// A session store in this process's memory.
///
/// Sessions end with the process. Use it for development, for tests, and if signing every user out at a restart does
/// no harm. It needs no runtime and no background task: each operation frees a few expired records, so memory follows
/// the number of live sessions as long as requests arrive.
///
/// Clones share the same sessions.
///
/// # Capacity
///
/// Without a limit, a client that can make the application create sessions can fill its memory.
/// [`with_capacity_limit`](MemoryStore::with_capacity_limit) sets one. A full store first drops expired sessions, then
/// sessions that were never signed in, the first to expire first. If every session is signed in, creating one fails with
/// [`Unavailable`](crate::store::StoreErrorKind::Unavailable) (503). Values kept by [`Transient`](crate::Transient) have
/// no owner, so they count as never signed in.
///
/// ```
/// use sessile::{MemoryStore, SessionLayer};
///
/// let layer = SessionLayer::new(MemoryStore::new());
/// let bounded = SessionLayer::new(MemoryStore::new().with_capacity_limit(100_000));
/// ```
#[derive(Clone)]
pub struct MemoryStore {
    inner: Arc<Inner>,
    clock: Clock,
    limit: usize,
}

struct Inner {
    shards: [Shard; SHARDS],
    /// Number of records, plus one for each creation under way.
    len: AtomicUsize,
}

impl MemoryStore {
    /// Creates an empty store without a limit, on the system clock.
    #[must_use]
    pub fn new() -> Self {
        let inner = Inner { shards: std::array::from_fn(Shard::new), len: AtomicUsize::new(0) };
        Self { inner: Arc::new(inner), clock: Clock::system(), limit: usize::MAX }
    }

    /// Sets the maximum number of records. Default: no limit.
    #[must_use]
    pub fn with_capacity_limit(mut self, records: usize) -> Self {
        self.limit = records;
        self
    }

    /// Sets the clock. Default: the system clock.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn with_clock(mut self, clock: impl Into<Clock>) -> Self {
        self.clock = clock.into();
        self
    }

    /// Returns the number of records, including expired ones not yet freed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.len.load(Ordering::Relaxed)
    }

    /// Checks whether the store holds no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl MemoryStore {
    /// Checks whether the store reads the time from this clock.
    pub(super) fn uses(&self, clock: &Clock) -> bool {
        self.clock.same_as(clock)
    }

    /// Returns the record with this id, and the time at which it was read.
    pub(super) fn find(&self, id: &SessionId) -> (Option<Record>, Timestamp) {
        self.operate(id, |table, now| (table.get(id, now).cloned(), now))
    }

    /// Locks the shard of an id, calls `operation`, and frees expired records.
    fn operate<T>(&self, id: &SessionId, operation: impl FnOnce(&mut Table, Timestamp) -> T) -> T {
        let shard = self.inner.shard(id);
        let (result, next, now) = shard.with(|table| {
            // Under the lock: an operation that read the clock and then waited for the lock would accept a record that
            // has expired meanwhile, and that another operation has already reported as missing.
            let now = self.clock.now();
            let result = operation(table, now);
            if shard.has_expired(now) {
                self.inner.free_expired(table, now, MAX_FREED_IN_PASSING);
            }
            (result, table.next_shard(), now)
        });
        // Requests for one session alone must free the expired records of all shards too.
        let next = &self.inner.shards[next];
        if next.has_expired(now) {
            next.try_with(|table| self.inner.free_expired(table, now, MAX_FREED_IN_PASSING));
        }
        result
    }
}

impl Store for MemoryStore {
    async fn get(&self, id: &SessionId) -> Result<Option<Record>, StoreError> {
        Ok(self.find(id).0)
    }

    async fn set(&self, record: &Record, expected: Expected) -> Result<Outcome, StoreError> {
        let id = record.id();
        let creates = expected == Expected::Absent;
        if creates {
            // A creation that is refused anyway must not evict another session.
            if self.len() >= self.limit && self.operate(id, |table, now| table.get(id, now).is_some()) {
                return Ok(Outcome::Refused);
            }
            self.inner.reserve(self.limit, &self.clock)?;
        }
        let (outcome, added) = self.operate(id, |table, now| {
            let stored = table.get(id, now);
            if stored.map(Record::version) != expected.version() {
                return (Outcome::Refused, false);
            }
            let with_kept_times;
            let written = match (expected, stored) {
                (Expected::VersionKeepingTimes(_), Some(stored)) => {
                    let mut kept = record.clone();
                    kept.keep_times_of(stored);
                    with_kept_times = kept;
                    &with_kept_times
                }
                _ => record,
            };
            (Outcome::Written, table.insert(written).is_none())
        });
        if creates && !added {
            self.inner.len.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(outcome)
    }

    async fn touch(&self, record: &Record, touch: Touch) -> Result<bool, StoreError> {
        let id = record.id();
        Ok(self.operate(id, |table, now| {
            let same = table.get(id, now).is_some_and(|stored| stored.version() == record.version());
            if same {
                table.touch(id, touch);
            }
            same
        }))
    }

    async fn delete(&self, id: &SessionId, _: Option<&str>) -> Result<bool, StoreError> {
        let (removed, now) = self.operate(id, |table, now| (table.remove(id), now));
        let Some(removed) = removed else { return Ok(false) };
        self.inner.len.fetch_sub(1, Ordering::Relaxed);
        Ok(now < removed.expiry())
    }

    async fn owned_by(&self, owner: &str) -> Result<Vec<Record>, StoreError> {
        let owner = Arc::from(owner);
        let mut records = Vec::new();
        for shard in &self.inner.shards {
            shard.with(|table| records.extend(table.owned_by(&owner, self.clock.now()).cloned()));
        }
        records.sort_unstable_by_key(|record| *record.id());
        Ok(records)
    }

    async fn delete_owned_by(
        &self,
        owner: &str,
        realm: Option<&str>,
        keep: Option<&SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        let owner = Arc::from(owner);
        let is_meant =
            |record: &&Record| realm.is_none_or(|realm| realm == record.realm()) && keep != Some(record.id());
        let mut deleted = Vec::new();
        for shard in &self.inner.shards {
            shard.with(|table| {
                let live = table.owned_by(&owner, self.clock.now()).filter(is_meant);
                let ids: Vec<_> = live.map(|record| *record.id()).collect();
                self.inner.len.fetch_sub(ids.iter().filter_map(|id| table.remove(id)).count(), Ordering::Relaxed);
                deleted.extend(ids);
            });
        }
        Ok(deleted)
    }

    async fn delete_expired(&self) -> Result<u64, StoreError> {
        let now = self.clock.now();
        let mut deleted = 0;
        for shard in &self.inner.shards {
            while shard.has_expired(now) {
                let freed = shard.with(|table| self.inner.free_expired(table, now, MAX_FREED_AT_ONCE));
                deleted += freed as u64;
                if freed == MAX_FREED_AT_ONCE {
                    yield_now().await;
                }
            }
        }
        Ok(deleted)
    }

    async fn ids_of(&self, owner: &str, realm: Option<&str>) -> Result<Vec<SessionId>, StoreError> {
        let owner = Arc::from(owner);
        let mut ids = Vec::new();
        for shard in &self.inner.shards {
            shard.with(|table| {
                let live = table.owned_by(&owner, self.clock.now());
                let in_realm = live.filter(|record| realm.is_none_or(|realm| realm == record.realm()));
                ids.extend(in_realm.map(|record| *record.id()));
            });
        }
        ids.sort_unstable();
        Ok(ids)
    }

    async fn summaries_of(&self, ids: &[SessionId]) -> Result<Vec<Option<RecordSummary>>, StoreError> {
        let summary = |id| self.operate(id, |table, now| table.get(id, now).map(RecordSummary::from));
        Ok(ids.iter().map(summary).collect())
    }

    /// Lists shard by shard. The cursor is the last record's id, which need not be stored any more.
    async fn list(&self, after: Option<&Cursor>, limit: usize) -> Result<Page, StoreError> {
        let mut after = after.map(|cursor| cursor.as_str().parse()).transpose().map_err(StoreError::unsupported)?;
        let first = after.as_ref().map_or(0, shard_index);
        let limit = limit.clamp(1, MAX_PAGE_SIZE);
        // Under its lock, a shard then has few expired records to skip.
        self.delete_expired().await?;
        let mut records = Vec::new();
        for shard in &self.inner.shards[first..] {
            let room = limit - records.len();
            shard.with(|table| records.extend(table.after(after.take(), self.clock.now()).take(room).cloned()));
            if records.len() == limit {
                break;
            }
        }
        let last = records.last().filter(|_| records.len() == limit);
        let next = last.map(|record| Cursor::new(record.id().to_string()));
        Ok(Page { records, next })
    }

    /// Frees expired records first, so that the others are live.
    async fn count(&self) -> Result<u64, StoreError> {
        self.delete_expired().await?;
        Ok(self.len() as u64)
    }
}

/// Returns the index of an id's shard, by its last byte, which is random in a UUIDv7.
///
/// If a client can choose ids, as in an import, the shards may be unevenly filled. That costs concurrency alone.
fn shard_index(id: &SessionId) -> usize {
    let [.., last] = id.as_uuid().as_bytes();
    usize::from(*last) % SHARDS
}

impl Inner {
    fn shard(&self, id: &SessionId) -> &Shard {
        &self.shards[shard_index(id)]
    }

    /// Counts one more record. If the store is full, removes another one first.
    fn reserve(&self, limit: usize, clock: &Clock) -> Result<(), StoreError> {
        if self.len.fetch_add(1, Ordering::Relaxed) < limit || self.make_room(clock.now()) {
            return Ok(());
        }
        self.len.fetch_sub(1, Ordering::Relaxed);
        Err(StoreError::unavailable("the memory store is full of signed-in sessions: raise its capacity limit"))
    }

    /// Frees expired records, or else the session without an owner that expires first. Returns whether there was one.
    fn make_room(&self, now: Timestamp) -> bool {
        let mut expired = self.shards.iter().filter(|shard| shard.has_expired(now));
        if expired.any(|shard| shard.with(|table| self.free_expired(table, now, MAX_FREED_IN_PASSING)) > 0) {
            return true;
        }
        // Another thread may have removed the session since its expiry was read.
        while let Some((_, shard)) = self
            .shards
            .iter()
            .filter_map(|shard| Some((shard.first_anonymous_expiry()?, shard)))
            .min_by_key(|(expiry, _)| *expiry)
        {
            if shard.with(Table::remove_first_anonymous).is_some() {
                self.len.fetch_sub(1, Ordering::Relaxed);
                return true;
            }
        }
        false
    }

    fn free_expired(&self, table: &mut Table, now: Timestamp, max: usize) -> usize {
        let freed = table.remove_expired(now, max);
        self.len.fetch_sub(freed, Ordering::Relaxed);
        freed
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("records", &self.len()).finish_non_exhaustive()
    }
}
