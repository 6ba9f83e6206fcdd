//! Sessions in this process.

mod owners;
mod pages;
mod queue;
mod shard;
mod states;
mod sync;
mod table;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use self::owners::Owners;
use self::shard::{Key, Shards};
use self::sync::{AtomicUsize, Mutex, MutexGuard};
use super::{Expected, Outcome, Store, Touch};
use crate::backoff::yield_now;
use crate::clock::{Clock, Timestamp};
use crate::error::StoreError;
use crate::record::{Columns, Record};
use crate::token::SessionId;

/// How many expired records one operation frees in passing. It adds at most one, so the store cannot fall behind.
const FREED_IN_PASSING: usize = 16;

/// How many one lock is held for when all that have expired are deleted.
const FREED_AT_ONCE: usize = 256;

/// A store in memory: fast, for one process, gone with it.
///
/// For development, for tests, and where signing everybody out at a restart does no harm. It needs no runtime and no
/// background task: each operation frees a few records that have expired, so memory follows the number of live
/// sessions for as long as there is traffic.
///
/// Clones share the same sessions.
///
/// # Bounds
///
/// Without a bound, whoever can make an application create sessions can fill its memory.
/// [`with_capacity_limit`](MemoryStore::with_capacity_limit) sets one: when the store is full, sessions that were never
/// signed in make room, the soonest to expire first; if there are none, creating a session fails with
/// [`Unavailable`](crate::store::StoreErrorKind::Unavailable) (503). What [`Transient`](crate::Transient) keeps has no owner,
/// so it counts among the former.
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

#[derive(Default)]
struct Inner {
    shards: Shards,
    owners: Owners,
    records: AtomicUsize,
}

impl MemoryStore {
    /// An empty store, without a bound, by the system's clock.
    #[must_use]
    pub fn new() -> Self {
        Self { inner: Arc::default(), clock: Clock::system(), limit: usize::MAX }
    }

    /// Keeps at most this many records. Default: no limit.
    #[must_use]
    pub fn with_capacity_limit(mut self, records: usize) -> Self {
        self.limit = records;
        self
    }

    /// Goes by this clock. Default: the system's.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn with_clock(mut self, clock: impl Into<Clock>) -> Self {
        self.clock = clock.into();
        self
    }

    /// How many records are held, those included that have expired and are not yet freed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.records.load(Ordering::Relaxed)
    }

    /// Whether no record is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl MemoryStore {
    /// Whether it takes the time from this clock.
    pub(super) fn goes_by(&self, clock: &Clock) -> bool {
        self.clock.same_as(clock)
    }

    /// What there is of this id, and when that was.
    pub(super) fn find(&self, id: &SessionId) -> (Option<Record>, Timestamp) {
        let key = self.inner.shards.key(id);
        let (found, next, now) = self.inner.shards.of(&key).with(|shard| {
            let now = self.clock.now();
            (shard.get(&key, now), shard.next_to_visit(), now)
        });
        self.inner.free_in_passing(next, now);
        (found, now)
    }
}

// Each operation looks at the clock while it holds the lock: one that looked before, and had to wait, would take for live what
// has expired meanwhile, and what another has been told of.
impl Store for MemoryStore {
    async fn get(&self, id: &SessionId) -> Result<Option<Record>, StoreError> {
        Ok(self.find(id).0)
    }

    async fn set(&self, record: &Record, expected: Expected) -> Result<Outcome, StoreError> {
        let adds = expected == Expected::Absent;
        let key = self.inner.shards.key(record.id());
        if adds {
            // Nobody makes room for what is refused anyway.
            if self.len() >= self.limit && self.inner.holds(&key, &self.clock) {
                return Ok(Outcome::Refused);
            }
            self.inner.reserve(self.limit, &self.clock)?;
        }
        let (outcome, added, next, now) = self.inner.shards.of(&key).with(|shard| {
            let now = self.clock.now();
            let found = match shard.columns(&key, now) {
                None => Expected::Absent,
                Some(stored) => Expected::Version(stored.version),
            };
            let next = shard.next_to_visit();
            if found != expected {
                return (Outcome::Refused, false, next, now);
            }
            let old = shard.insert(&key, record);
            self.inner.owners.follow(old.as_ref(), Some(record.columns()));
            (Outcome::Written, old.is_none(), next, now)
        });
        if adds && !added {
            self.inner.records.fetch_sub(1, Ordering::Relaxed);
        }
        self.inner.free_in_passing(next, now);
        Ok(outcome)
    }

    async fn touch(&self, record: &Record, touch: Touch) -> Result<bool, StoreError> {
        let key = self.inner.shards.key(record.id());
        let (touched, next, now) = self.inner.shards.of(&key).with(|shard| {
            let now = self.clock.now();
            let same = shard.columns(&key, now).is_some_and(|stored| stored.version == record.version());
            (same && shard.touch(&key, touch), shard.next_to_visit(), now)
        });
        self.inner.free_in_passing(next, now);
        Ok(touched)
    }

    async fn delete(&self, id: &SessionId, _: Option<&str>) -> Result<bool, StoreError> {
        let key = self.inner.shards.key(id);
        let (deleted, next, now) = self.inner.shards.of(&key).with(|shard| {
            let now = self.clock.now();
            let deleted = shard.remove(&key);
            self.inner.forget(deleted.as_ref());
            (deleted.is_some_and(|columns| now < columns.expires_at), shard.next_to_visit(), now)
        });
        self.inner.free_in_passing(next, now);
        Ok(deleted)
    }

    async fn owned_by(&self, owner: &str) -> Result<Vec<Record>, StoreError> {
        let ids = self.inner.owners.sessions_of(owner);
        let record = |id| {
            let key = self.inner.shards.key(&id);
            let live = self.inner.shards.of(&key).with(|shard| shard.get(&key, self.clock.now()))?;
            (live.owner() == Some(owner)).then_some(live)
        };
        Ok(ids.into_iter().filter_map(record).collect())
    }

    async fn delete_expired(&self) -> Result<u64, StoreError> {
        let now = self.clock.now();
        let mut deleted = 0;
        for slot in self.inner.shards.iter() {
            while slot.is_due(now) {
                let freed = slot.with(|shard| self.inner.free_expired(shard, now, FREED_AT_ONCE));
                deleted += freed as u64;
                if freed == FREED_AT_ONCE {
                    // There is more: others have their turn first.
                    yield_now().await;
                }
            }
        }
        Ok(deleted)
    }
}

impl Inner {
    fn holds(&self, key: &Key, clock: &Clock) -> bool {
        self.shards.of(key).with(|shard| shard.columns(key, clock.now()).is_some())
    }

    /// Counts one record more; where the store is full, makes room for it first.
    fn reserve(&self, limit: usize, clock: &Clock) -> Result<(), StoreError> {
        if self.records.fetch_add(1, Ordering::Relaxed) < limit || self.make_room(clock.now()) {
            return Ok(());
        }
        self.records.fetch_sub(1, Ordering::Relaxed);
        Err(StoreError::unavailable("the memory store is full, of sessions that are signed in"))
    }

    /// Frees what has expired or else the anonymous session that expires soonest. Says whether there was one.
    fn make_room(&self, now: Timestamp) -> bool {
        let mut due = self.shards.iter().filter(|slot| slot.is_due(now));
        if due.any(|slot| slot.with(|shard| self.free_expired(shard, now, FREED_IN_PASSING)) > 0) {
            return true;
        }
        while let Some(slot) = self.shards.soonest_anonymous() {
            let evicted = slot.with(|shard| {
                let evicted = shard.remove_soonest_anonymous();
                self.forget(evicted.as_ref());
                evicted.is_some()
            });
            if evicted {
                return true;
            }
        }
        false
    }

    /// Frees a little of the next shard in turn, unless somebody else is at it.
    fn free_in_passing(&self, next: usize, now: Timestamp) {
        let slot = self.shards.at(next);
        if slot.is_due(now) {
            slot.try_with(|shard| self.free_expired(shard, now, FREED_IN_PASSING));
        }
    }

    fn free_expired(&self, shard: &mut shard::Shard, now: Timestamp, most: usize) -> usize {
        let mut freed = 0;
        for _ in 0..most {
            match shard.remove_expired(now) {
                shard::Expired::Freed(columns) => {
                    self.forget(Some(&columns));
                    freed += 1;
                }
                shard::Expired::Moved => {}
                shard::Expired::None => break,
            }
        }
        freed
    }

    fn forget(&self, removed: Option<&Columns>) {
        if removed.is_some() {
            self.owners.follow(removed, None);
            self.records.fetch_sub(1, Ordering::Relaxed);
        }
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

/// A lock whose holder never runs foreign code, so that a panic cannot leave it half-done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A number of rows, places or bytes of one shard, as it is kept: memory ends long before 32 bits do.
fn short(number: impl TryInto<u32>) -> u32 {
    number.try_into().ok().expect("a shard holds fewer than four billion")
}
