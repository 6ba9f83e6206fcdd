//! One part of the store: the records, and when they expire.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::lock;
use super::sync::{AtomicI64, Mutex, parts};
use crate::clock::Timestamp;
use crate::record::Record;
use crate::store::Touch;
use crate::token::SessionId;

/// How many shards there are: one for each value of an id's last byte, which is random.
const COUNT: usize = parts(256);

/// How far a record's expiry may run ahead of its place in the index, so that a busy session is not moved by each use.
const COARSE: Duration = Duration::from_secs(60);

/// All shards.
pub(super) struct Shards(Box<[Slot]>);

impl Shards {
    pub(super) fn of(&self, id: &SessionId) -> &Slot {
        self.at(usize::from(id.as_uuid().as_bytes()[15]))
    }

    pub(super) fn at(&self, index: usize) -> &Slot {
        &self.0[index % COUNT]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.0.iter()
    }

    /// The shard with the anonymous session that expires soonest.
    pub(super) fn soonest_anonymous(&self) -> Option<&Slot> {
        // Each is read once: others may change them at any time.
        let soonest = self.0.iter().map(|slot| (slot.soonest_anonymous.load(Ordering::Relaxed), slot));
        soonest.filter(|(at, _)| *at != NEVER).min_by_key(|(at, _)| *at).map(|(_, slot)| slot)
    }
}

impl Default for Shards {
    fn default() -> Self {
        Self((0..COUNT).map(Slot::new).collect())
    }
}

/// A shard behind its lock; beside it, what others may know without taking the lock.
pub(super) struct Slot {
    shard: Mutex<Shard>,
    /// When the first of all records may have expired.
    due: AtomicI64,
    /// The same, of those that have no owner.
    soonest_anonymous: AtomicI64,
}

const NEVER: i64 = i64::MAX;

impl Slot {
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Shard) -> T) -> T {
        self.run(&mut lock(&self.shard), work)
    }

    pub(super) fn try_with<T>(&self, work: impl FnOnce(&mut Shard) -> T) -> Option<T> {
        Some(self.run(&mut *self.shard.try_lock().ok()?, work))
    }

    /// Whether something here may have expired.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.due.load(Ordering::Relaxed) <= now.milliseconds()
    }

    fn run<T>(&self, shard: &mut Shard, work: impl FnOnce(&mut Shard) -> T) -> T {
        let done = work(shard);
        if std::mem::take(&mut shard.reindexed) {
            let first = |index: &Index| index.first().map_or(NEVER, |(at, _)| at.milliseconds());
            let anonymous = first(&shard.anonymous);
            self.soonest_anonymous.store(anonymous, Ordering::Relaxed);
            self.due.store(anonymous.min(first(&shard.owned)), Ordering::Relaxed);
        }
        done
    }
}

impl Slot {
    /// Each shard begins its round with itself: from one beginning, even traffic would keep all of them in step, and
    /// most shards unvisited.
    fn new(next: usize) -> Self {
        let shard = Shard { next, ..Shard::default() };
        Self { shard: Mutex::new(shard), due: AtomicI64::new(NEVER), soonest_anonymous: AtomicI64::new(NEVER) }
    }
}

/// The records of one shard.
#[derive(Default)]
pub(super) struct Shard {
    entries: HashMap<SessionId, Box<Entry>>,
    anonymous: Index,
    owned: Index,
    reindexed: bool,
    /// Which shard the next operation here frees expired records of.
    next: usize,
}

/// Records by the time from which they may have expired. Never later than they do.
type Index = BTreeSet<(Timestamp, SessionId)>;

struct Entry {
    record: Record,
    /// Its place in the index.
    indexed_at: Timestamp,
}

/// What [`Shard::remove_expired`] found at the head of the index.
pub(super) enum Expired {
    /// A record that had expired.
    Freed(Record),
    /// One that was used since it was indexed; it has its new place now.
    Moved,
    /// Nothing that is due.
    None,
}

impl Shard {
    pub(super) fn live(&self, id: &SessionId, now: Timestamp) -> Option<&Record> {
        self.entries.get(id).map(|entry| &entry.record).filter(|record| now < record.expiry())
    }

    /// Puts the record in the place of whatever was there.
    pub(super) fn insert(&mut self, record: Record) -> Option<Record> {
        let id = *record.id();
        if let Some(entry) = self.entries.get_mut(&id) {
            let old = std::mem::replace(&mut entry.record, record);
            self.reindex(&id, Some(&old));
            return Some(old);
        }
        let indexed_at = record.expiry();
        self.index(record.owner().is_some()).insert((indexed_at, id));
        self.entries.insert(id, Box::new(Entry { record, indexed_at }));
        None
    }

    /// Moves last seen and expiry; says whether the record is there.
    pub(super) fn touch(&mut self, id: &SessionId, touch: Touch) -> bool {
        let Some(entry) = self.entries.get_mut(id) else { return false };
        entry.record.touch(touch);
        self.reindex(id, None);
        true
    }

    pub(super) fn remove(&mut self, id: &SessionId) -> Option<Record> {
        let entry = self.entries.remove(id)?;
        self.index(entry.record.owner().is_some()).remove(&(entry.indexed_at, *id));
        self.shrink();
        Some(entry.record)
    }

    pub(super) fn remove_soonest_anonymous(&mut self) -> Option<Record> {
        let (_, id) = *self.anonymous.first()?;
        self.remove(&id)
    }

    pub(super) fn remove_expired(&mut self, now: Timestamp) -> Expired {
        let heads = [self.anonymous.first(), self.owned.first()];
        let Some((at, id)) = heads.into_iter().flatten().min().copied() else { return Expired::None };
        if now < at {
            return Expired::None;
        }
        if self.live(&id, now).is_some() {
            self.move_to_expiry(&id);
            return Expired::Moved;
        }
        self.remove(&id).map_or(Expired::None, Expired::Freed)
    }

    /// The shard whose turn it is: each in turn, so that traffic on one session frees the records of all.
    pub(super) fn next_to_visit(&mut self) -> usize {
        self.next = (self.next + 1) % COUNT;
        self.next
    }

    /// Gives a record that was changed its right place in the index; `old` is what it was before it was replaced.
    fn reindex(&mut self, id: &SessionId, old: Option<&Record>) {
        let Some(entry) = self.entries.get(id) else { return };
        let owned = entry.record.owner().is_some();
        let was_owned = old.map_or(owned, |old| old.owner().is_some());
        let (indexed_at, expiry) = (entry.indexed_at, entry.record.expiry());
        if owned != was_owned {
            self.index(was_owned).remove(&(indexed_at, *id));
            self.index(owned).insert((indexed_at, *id));
        }
        if expiry < indexed_at || expiry.since(indexed_at) >= COARSE {
            self.move_to_expiry(id);
        }
    }

    fn move_to_expiry(&mut self, id: &SessionId) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        let owned = entry.record.owner().is_some();
        let to = entry.record.expiry();
        let from = std::mem::replace(&mut entry.indexed_at, to);
        self.index(owned).remove(&(from, *id));
        self.index(owned).insert((to, *id));
    }

    fn index(&mut self, owned: bool) -> &mut Index {
        self.reindexed = true;
        if owned { &mut self.owned } else { &mut self.anonymous }
    }

    /// Gives memory back once most of the table is empty. What it costs was paid for by the removals.
    fn shrink(&mut self) {
        let (used, capacity) = (self.entries.len(), self.entries.capacity());
        if capacity > 32 && used < capacity / 8 {
            self.entries.shrink_to(used * 2);
        }
    }
}
