//! Which sessions an owner has.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use super::lock;
use super::sync::{Mutex, RandomState, parts};
use crate::record::Columns;
use crate::token::SessionId;

const SHARDS: usize = parts(64);

/// The index of owners. It is changed while the record's own shard is locked, so it is exact.
pub(super) struct Owners {
    shards: Box<[Mutex<Index>]>,
    hasher: RandomState,
}

/// The ids of each owner's sessions, oldest first.
type Index = HashMap<Arc<str>, Vec<SessionId>>;

impl Owners {
    /// Follows a record from what it was to what it is.
    pub(super) fn follow(&self, old: Option<&Columns>, new: Option<&Columns>) {
        let owner = |columns: Option<&Columns>| columns.and_then(|columns| columns.owner.clone());
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
        lock(self.shard(owner)).get(owner).cloned().unwrap_or_default()
    }

    fn add(&self, owner: Arc<str>, id: SessionId) {
        let mut shard = lock(self.shard(&owner));
        let ids = shard.entry(owner).or_default();
        if let Err(place) = ids.binary_search(&id) {
            ids.insert(place, id);
        }
    }

    fn remove(&self, owner: &str, id: &SessionId) {
        let mut shard = lock(self.shard(owner));
        let Some(ids) = shard.get_mut(owner) else { return };
        if let Ok(place) = ids.binary_search(id) {
            ids.remove(place);
        }
        if ids.is_empty() {
            shard.remove(owner);
            if shard.capacity() > 32 && shard.len() < shard.capacity() / 8 {
                let used = shard.len();
                shard.shrink_to(used * 2);
            }
        } else if ids.len() < ids.capacity() / 4 {
            ids.shrink_to(ids.len() * 2);
        }
    }

    fn shard(&self, owner: &str) -> &Mutex<Index> {
        let hash = self.hasher.hash_one(owner).to_le_bytes()[0];
        &self.shards[usize::from(hash) % SHARDS]
    }
}

impl Default for Owners {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), hasher: RandomState::default() }
    }
}
