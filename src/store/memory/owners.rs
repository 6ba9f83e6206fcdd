//! Which sessions an owner has.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::Arc;

use super::lock;
use super::sync::{Mutex, RandomState, parts};
use crate::record::RecordFields;
use crate::token::SessionId;

/// So many that none has to grow by much at a time.
const SHARDS: usize = parts(1024);

/// The index of owners. It is changed while the record's own shard is locked, so it is exact.
pub(super) struct Owners {
    shards: Box<[Mutex<Index>]>,
    hasher: RandomState,
}

/// The sessions of each owner.
type Index = HashMap<Arc<str>, Ids>;

/// The ids of one owner's sessions, oldest first.
enum Ids {
    /// Most owners have one: it takes no memory of its own.
    One(SessionId),
    /// Of a queue the oldest are removed as fast as the newest.
    Many(VecDeque<SessionId>),
}

impl Ids {
    fn insert(&mut self, id: SessionId) {
        match self {
            Self::One(one) if *one == id => {}
            Self::One(one) => *self = Self::Many(VecDeque::from([id.min(*one), id.max(*one)])),
            Self::Many(ids) => {
                if let Err(place) = ids.binary_search(&id) {
                    ids.insert(place, id);
                }
            }
        }
    }

    /// Removes an id; says whether none is left.
    fn remove(&mut self, id: &SessionId) -> bool {
        let ids = match self {
            Self::One(one) => return one == id,
            Self::Many(ids) => ids,
        };
        if let Ok(place) = ids.binary_search(id) {
            ids.remove(place);
        }
        if ids.len() < ids.capacity() / 4 {
            ids.shrink_to(ids.len() * 2);
        }
        if let (Some(last), 1) = (ids.front().copied(), ids.len()) {
            *self = Self::One(last);
        }
        false
    }

    fn to_vec(&self) -> Vec<SessionId> {
        match self {
            Self::One(one) => vec![*one],
            Self::Many(ids) => ids.iter().copied().collect(),
        }
    }
}

impl Owners {
    /// Follows a record from what it was to what it is.
    pub(super) fn follow(&self, old: Option<&RecordFields>, new: Option<&RecordFields>) {
        let owner = |columns: Option<&RecordFields>| columns.and_then(|columns| columns.owner.clone());
        let (was, is) = (owner(old), owner(new));
        if was == is {
            return;
        }
        // First to the new owner: between the two, who asks for both sees it with one, where it waits for the record's lock.
        if let (Some(is), Some(new)) = (is, new) {
            self.add(is, new.id);
        }
        if let (Some(was), Some(old)) = (was, old) {
            self.remove(&was, &old.id);
        }
    }

    /// The ids of this owner's sessions, oldest first.
    pub(super) fn sessions_of(&self, owner: &str) -> Vec<SessionId> {
        lock(self.shard(owner)).get(owner).map(Ids::to_vec).unwrap_or_default()
    }

    fn add(&self, owner: Arc<str>, id: SessionId) {
        let mut shard = lock(self.shard(&owner));
        match shard.entry(owner) {
            Entry::Occupied(mut ids) => ids.get_mut().insert(id),
            Entry::Vacant(none) => {
                none.insert(Ids::One(id));
            }
        }
    }

    fn remove(&self, owner: &str, id: &SessionId) {
        let mut shard = lock(self.shard(owner));
        if !shard.get_mut(owner).is_some_and(|ids| ids.remove(id)) {
            return;
        }
        shard.remove(owner);
        let used = shard.len();
        if used == 0 || (shard.capacity() > 32 && used < shard.capacity() / 8) {
            shard.shrink_to(used * 2);
        }
    }

    fn shard(&self, owner: &str) -> &Mutex<Index> {
        let [a, b, ..] = self.hasher.hash_one(owner).to_le_bytes();
        &self.shards[usize::from(u16::from_le_bytes([a, b])) % SHARDS]
    }
}

impl Default for Owners {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), hasher: RandomState::default() }
    }
}
