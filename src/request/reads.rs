//! The read set of a request: the keys that it has read, to detect writes that depend on an outdated value.

use std::hash::{DefaultHasher, Hasher};

use smallvec::SmallVec;

use crate::commit::ReadState;
use crate::record::Data;

/// The keys that a request has read, by their hashes. Few requests read more than four.
#[derive(Clone, Debug, Default)]
pub(super) struct ReadSet(SmallVec<[Read; 4]>);

#[derive(Clone, Debug)]
struct Read {
    key: u64,
    is_outdated: bool,
}

impl ReadSet {
    pub(super) fn add(&mut self, key: &str) {
        let key = hash(key);
        match self.0.iter_mut().find(|read| read.key == key) {
            Some(read) => read.is_outdated = false,
            None => self.0.push(Read { key, is_outdated: false }),
        }
    }

    /// Removes a key, whose value is the request's own from now on; returns whether the request had read it.
    pub(super) fn remove(&mut self, key: &str) -> ReadState {
        if self.0.is_empty() {
            return ReadState::Unread;
        }
        let key = hash(key);
        match self.0.iter().position(|read| read.key == key) {
            None => ReadState::Unread,
            Some(at) if self.0.swap_remove(at).is_outdated => ReadState::Outdated,
            Some(_) => ReadState::Read,
        }
    }

    /// Marks the keys whose values differ between the data that the request started from and newer data.
    pub(super) fn mark_outdated(&mut self, before: &Data, now: &Data) {
        if self.0.is_empty() {
            return;
        }
        for key in before.frames().chain(now.frames()).map(|frame| frame.key()) {
            let hash = hash(&key);
            if let Some(read) = self.0.iter_mut().find(|read| read.key == hash) {
                read.is_outdated |= before.get(&key) != now.get(&key);
            }
        }
    }
}

/// Returns the hash of a key. A client that could choose colliding keys would cause a false conflict in its own session.
fn hash(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(key.as_bytes());
    hasher.finish()
}
