//! One shard of the memory store.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use uuid::Uuid;

use super::sync::{AtomicI64, Mutex};
use crate::clock::Timestamp;
use crate::record::{Record, RecordFields};
use crate::store::Touch;
use crate::token::SessionId;

/// A table behind a lock, with the times at which its first records expire.
///
/// The times are readable without the lock, so that an operation seldom takes the lock of another shard in vain.
pub(super) struct Shard {
    table: Mutex<Table>,
    first_anonymous_expiry: AtomicI64,
    first_owned_expiry: AtomicI64,
}

/// Expiry time of an empty queue.
const NEVER: i64 = i64::MAX;

impl Shard {
    pub(super) fn new(index: usize) -> Self {
        Self {
            table: Mutex::new(Table { next_shard: index, ..Table::default() }),
            first_anonymous_expiry: AtomicI64::new(NEVER),
            first_owned_expiry: AtomicI64::new(NEVER),
        }
    }

    /// Locks the table and calls `work` with it.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Table) -> T) -> T {
        // No code of the application runs under the lock, so a panic elsewhere cannot leave the table half changed.
        self.run(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner), work)
    }

    /// Calls `work` with the table unless another thread holds the lock.
    pub(super) fn try_with<T>(&self, work: impl FnOnce(&mut Table) -> T) -> Option<T> {
        Some(self.run(&mut *self.table.try_lock().ok()?, work))
    }

    fn run<T>(&self, table: &mut Table, work: impl FnOnce(&mut Table) -> T) -> T {
        let result = work(table);
        let first = |queue: &Queue| queue.first().map_or(NEVER, |(expiry, _)| expiry.milliseconds());
        self.first_anonymous_expiry.store(first(&table.anonymous), Ordering::Relaxed);
        self.first_owned_expiry.store(first(&table.owned), Ordering::Relaxed);
        result
    }

    /// Checks whether the shard holds an expired record.
    pub(super) fn has_expired(&self, now: Timestamp) -> bool {
        let owned = self.first_owned_expiry.load(Ordering::Relaxed);
        owned.min(self.first_anonymous_expiry.load(Ordering::Relaxed)) <= now.milliseconds()
    }

    /// Returns when the first session without an owner expires.
    pub(super) fn first_anonymous_expiry(&self) -> Option<i64> {
        Some(self.first_anonymous_expiry.load(Ordering::Relaxed)).filter(|expiry| *expiry != NEVER)
    }
}

/// Records by id, with an expiry queue and an index of owners.
///
/// All are B-trees: they grow and shrink a node at a time, where a hash table or a vector moves all its entries at once.
#[derive(Default)]
pub(super) struct Table {
    records: BTreeMap<u128, Record>,
    /// Expiry times of the sessions without an owner.
    anonymous: Queue,
    /// Expiry times of the sessions with an owner.
    owned: Queue,
    owners: BTreeSet<(Arc<str>, SessionId)>,
    /// Shard in which the last operation freed expired records.
    next_shard: usize,
}

type Queue = BTreeSet<(Timestamp, SessionId)>;

impl Table {
    /// Returns the record unless it is missing or expired.
    pub(super) fn get(&self, id: &SessionId, now: Timestamp) -> Option<&Record> {
        self.records.get(&position(id)).filter(|record| now < record.expiry())
    }

    /// Returns the owner's records that have not expired.
    pub(super) fn owned_by(&self, owner: &Arc<str>, now: Timestamp) -> impl Iterator<Item = &Record> {
        let first = (Arc::clone(owner), SessionId::from(Uuid::nil()));
        let entries = self.owners.range((Bound::Included(first), Bound::Unbounded));
        entries.take_while(move |(name, _)| name == owner).filter_map(move |(_, id)| self.get(id, now))
    }

    /// Returns the records that have not expired, in the table's order, after the position of an id.
    pub(super) fn after(&self, id: Option<SessionId>, now: Timestamp) -> impl Iterator<Item = &Record> {
        let first = id.map_or(Bound::Unbounded, |id| Bound::Excluded(position(&id)));
        let records = self.records.range((first, Bound::Unbounded)).map(|(_, record)| record);
        records.filter(move |record| now < record.expiry())
    }

    /// Inserts a record and returns the one that it replaces, which may have expired.
    pub(super) fn insert(&mut self, record: &Record) -> Option<Record> {
        let old = self.records.insert(position(record.id()), record.clone());
        self.update_indexes(old.as_ref().map(Record::fields), Some(record.fields()));
        old
    }

    /// Moves a record's last use and expiry.
    pub(super) fn touch(&mut self, id: &SessionId, touch: Touch) {
        if let Some(record) = self.records.get_mut(&position(id)) {
            let old = record.fields().clone();
            record.touch(touch);
            let new = record.fields().clone();
            self.update_indexes(Some(&old), Some(&new));
        }
    }

    /// Removes a record and returns it, whether or not it has expired.
    pub(super) fn remove(&mut self, id: &SessionId) -> Option<Record> {
        let removed = self.records.remove(&position(id))?;
        self.update_indexes(Some(removed.fields()), None);
        if self.records.is_empty() {
            // An empty B-tree keeps its last node.
            *self = Self { next_shard: self.next_shard, ..Self::default() };
        }
        Some(removed)
    }

    /// Removes the session without an owner that expires first.
    pub(super) fn remove_first_anonymous(&mut self) -> Option<Record> {
        let (_, id) = *self.anonymous.first()?;
        self.remove(&id)
    }

    /// Removes at most `max` expired records and returns their number.
    pub(super) fn remove_expired(&mut self, now: Timestamp, max: usize) -> usize {
        let mut removed = 0;
        while removed < max
            && let first = [self.anonymous.first(), self.owned.first()].into_iter().flatten().min()
            && let Some((expiry, id)) = first.copied()
            && expiry <= now
        {
            self.remove(&id);
            removed += 1;
        }
        removed
    }

    /// Returns the index of the shard whose expired records the operation frees: each shard in turn.
    pub(super) fn next_shard(&mut self) -> usize {
        self.next_shard = (self.next_shard + 1) % super::SHARDS;
        self.next_shard
    }

    fn update_indexes(&mut self, old: Option<&RecordFields>, new: Option<&RecordFields>) {
        let entry = |fields: &RecordFields| (fields.expires_at, fields.id);
        let owned = |fields: &RecordFields| fields.owner.is_some();
        if old.map(|old| (entry(old), owned(old))) != new.map(|new| (entry(new), owned(new))) {
            if let Some(old) = old {
                self.queue(owned(old)).remove(&entry(old));
            }
            if let Some(new) = new {
                self.queue(owned(new)).insert(entry(new));
            }
        }
        let owner = |fields: Option<&RecordFields>| fields.and_then(|fields| Some((fields.owner.clone()?, fields.id)));
        let (old, new) = (owner(old), owner(new));
        if old != new {
            old.map(|old| self.owners.remove(&old));
            new.map(|new| self.owners.insert(new));
        }
    }

    fn queue(&mut self, owned: bool) -> &mut Queue {
        if owned { &mut self.owned } else { &mut self.anonymous }
    }
}

/// Returns the sort key of an id in the table: its last bytes, which are random, are the most significant.
///
/// Keys inserted in ascending order leave each node of a B-tree half empty, and ids ascend with time.
fn position(id: &SessionId) -> u128 {
    u128::from_le_bytes(*id.as_uuid().as_bytes())
}
