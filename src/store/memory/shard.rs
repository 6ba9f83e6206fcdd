//! One part of the store: the records, and when they expire.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::queue::Queue;
use super::states::{Kept, Moved, States};
use super::sync::{AtomicI64, Mutex, part_of, parts, seeds};
use super::table::{Links, Table};
use super::{lock, short};
use crate::clock::Timestamp;
use crate::record::{Record, RecordFields};
use crate::store::Touch;
use crate::token::SessionId;

/// How many shards there are: one for each value of the first byte of a hash.
const COUNT: usize = parts(256);

/// How far a record's expiry may run ahead of its time in the queue, so that a busy session is not moved by each use.
const COARSE: Duration = Duration::from_secs(60);

/// All shards.
pub(super) struct Shards {
    slots: Box<[Slot]>,
    seeds: [u64; 2],
}

/// An id, and its hash.
pub(super) struct Key {
    id: SessionId,
    hash: u32,
}

impl Shards {
    pub(super) fn key(&self, id: &SessionId) -> Key {
        Key { id: *id, hash: hash(id, self.seeds) }
    }

    pub(super) fn of(&self, key: &Key) -> &Slot {
        self.at(part_of(&key.id, key.hash))
    }

    pub(super) fn at(&self, index: usize) -> &Slot {
        &self.slots[index % COUNT]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter()
    }

    /// The shard with the anonymous session that expires soonest.
    pub(super) fn soonest_anonymous(&self) -> Option<&Slot> {
        // Each is read once: others may change them at any time.
        let soonest = self.slots.iter().map(|slot| (slot.soonest_anonymous.load(Ordering::Relaxed), slot));
        soonest.filter(|(at, _)| *at != NEVER).min_by_key(|(at, _)| *at).map(|(_, slot)| slot)
    }
}

impl Default for Shards {
    fn default() -> Self {
        Self { slots: (0..COUNT).map(Slot::new).collect(), seeds: seeds() }
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
        if std::mem::take(&mut shard.queued) {
            let first = |queue: &Queue| queue.first().map_or(NEVER, |(at, _)| at.milliseconds());
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

/// The records of one shard, one a row, without gaps: where one is removed, the last one takes its row.
#[derive(Default)]
pub(super) struct Shard {
    rows: Table,
    states: States,
    /// Who has no owner, and who has one, by the time from which they may have expired.
    anonymous: Queue,
    owned: Queue,
    /// One of the queues was changed.
    queued: bool,
    /// Which shard the next operation here frees expired records of.
    next: usize,
}

/// A record in its row.
pub(super) struct Entry {
    columns: RecordFields,
    state: Kept,
    /// Its place in the queue.
    place: u32,
    pub(super) links: Links,
}

/// What [`Shard::remove_expired`] found at the head of the queue.
pub(super) enum Expired {
    /// A record that had expired.
    Freed(RecordFields),
    /// One that was used since it was queued; it has its new place now.
    Moved,
    /// Nothing that is due.
    None,
}

impl Shard {
    /// The record, if it has not expired.
    pub(super) fn get(&self, key: &Key, now: Timestamp) -> Option<Record> {
        let entry = &self.rows[self.live(key, now)?];
        Some(Record::from_fields(entry.columns.clone(), self.states.get(&entry.state)))
    }

    /// Its columns alone.
    pub(super) fn columns(&self, key: &Key, now: Timestamp) -> Option<&RecordFields> {
        self.live(key, now).map(|row| &self.rows[row].columns)
    }

    /// Puts the record in the place of whatever was there.
    pub(super) fn insert(&mut self, key: &Key, record: &Record) -> Option<RecordFields> {
        if let Some(row) = self.find(key) {
            let entry = &mut self.rows[row];
            let old = std::mem::replace(&mut entry.columns, record.fields().clone());
            let moved = self.states.replace(&mut entry.state, record.state_shared(), row);
            self.follow(moved);
            self.requeue(row, old.owner.is_some());
            return Some(old);
        }
        let row = self.rows.len();
        let columns = record.fields().clone();
        let (at, is_owned) = (columns.expires_at, columns.owner.is_some());
        let state = self.states.add(record.state_shared(), row);
        self.rows.push(Entry { columns, state, place: 0, links: Links::new(key.hash) });
        self.queue(is_owned, |queue, moved| queue.push(at, row, moved));
        None
    }

    /// Moves last seen and expiry; says whether the record is there.
    pub(super) fn touch(&mut self, key: &Key, touch: Touch) -> bool {
        let Some(row) = self.find(key) else { return false };
        let columns = &mut self.rows[row].columns;
        columns.touch(touch);
        let is_owned = columns.owner.is_some();
        self.requeue(row, is_owned);
        true
    }

    pub(super) fn remove(&mut self, key: &Key) -> Option<RecordFields> {
        let row = self.find(key)?;
        self.remove_row(row)
    }

    pub(super) fn remove_soonest_anonymous(&mut self) -> Option<RecordFields> {
        let (_, row) = self.anonymous.first()?;
        self.remove_row(row)
    }

    pub(super) fn remove_expired(&mut self, now: Timestamp) -> Expired {
        let heads = [self.anonymous.first(), self.owned.first()];
        let Some((at, row)) = heads.into_iter().flatten().min() else { return Expired::None };
        if now < at {
            return Expired::None;
        }
        let columns = &self.rows[row].columns;
        if now < columns.expires_at {
            self.queue_again(row, columns.owner.is_some());
            return Expired::Moved;
        }
        self.remove_row(row).map_or(Expired::None, Expired::Freed)
    }

    /// The shard whose turn it is: each in turn, so that traffic on one session frees the records of all.
    pub(super) fn next_to_visit(&mut self) -> usize {
        self.next = (self.next + 1) % COUNT;
        self.next
    }

    fn find(&self, key: &Key) -> Option<usize> {
        self.rows.find(key.hash, |entry| entry.columns.id == key.id)
    }

    fn live(&self, key: &Key, now: Timestamp) -> Option<usize> {
        self.find(key).filter(|row| now < self.rows[*row].columns.expires_at)
    }

    fn remove_row(&mut self, row: usize) -> Option<RecordFields> {
        let entry = &self.rows[row];
        let (place, is_owned) = (entry.place as usize, entry.columns.owner.is_some());
        let moved = self.states.remove(&entry.state);
        self.follow(moved);
        self.queue(is_owned, |queue, moved| queue.remove(place, moved));
        let removed = self.rows.swap_remove(row)?;
        if row < self.rows.len() {
            self.last_moved_to(row);
        } else if self.rows.len() == 0 {
            self.states = States::default();
        }
        Some(removed.columns)
    }

    /// Tells everybody that what was the last row is this one now.
    fn last_moved_to(&mut self, row: usize) {
        let entry = &self.rows[row];
        self.states.set_row(&entry.state, row);
        let queue = if entry.columns.owner.is_some() { &mut self.owned } else { &mut self.anonymous };
        queue.set_row(entry.place as usize, row);
    }

    fn follow(&mut self, moved: Option<Moved>) {
        if let Some(moved) = moved {
            self.rows[moved.row].state.follow(&moved);
        }
    }

    /// Gives a record that was changed its right place in the right queue.
    fn requeue(&mut self, row: usize, was_owned: bool) {
        let Entry { columns, place, .. } = &self.rows[row];
        let (is_owned, expiry, place) = (columns.owner.is_some(), columns.expires_at, *place as usize);
        if is_owned != was_owned {
            self.queue(was_owned, |queue, moved| queue.remove(place, moved));
            self.queue(is_owned, |queue, moved| queue.push(expiry, row, moved));
            return;
        }
        let queue = if is_owned { &self.owned } else { &self.anonymous };
        let at = queue.at(place);
        if expiry < at || expiry.since(at) >= COARSE {
            self.queue_again(row, is_owned);
        }
    }

    fn queue_again(&mut self, row: usize, is_owned: bool) {
        let Entry { columns, place, .. } = &self.rows[row];
        let (expiry, place) = (columns.expires_at, *place as usize);
        self.queue(is_owned, |queue, moved| queue.set_time(place, expiry, moved));
    }

    /// Changes a queue; the records that it moves learn their places.
    fn queue(&mut self, owned: bool, change: impl FnOnce(&mut Queue, &mut dyn FnMut(usize, usize))) {
        self.queued = true;
        let queue = if owned { &mut self.owned } else { &mut self.anonymous };
        change(queue, &mut |row, place| self.rows[row].place = short(place));
    }
}

/// The product of both halves of an id, folded. With seeds that nobody knows, since clients may choose the ids of what
/// [`Transient`](crate::Transient) keeps, by its keys: without, they could have many of one hash, or of one shard.
fn hash(id: &SessionId, seeds: [u64; 2]) -> u32 {
    let (high, low) = id.as_uuid().as_u64_pair();
    let product = u128::from(high ^ seeds[0]) * u128::from(low ^ seeds[1]);
    let [.., a, b, c, d] = (product ^ (product >> 64)).to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}
