//! The read set of a request: the keys that it has read, to detect writes that depend on an outdated value.

use crate::commit::ReadState;
use crate::record::Data;

/// Number of keys that are kept without an allocation.
const INLINE_KEYS: usize = 4;

/// The keys that a request has read, by their hashes.
#[derive(Debug, Default)]
pub(super) struct ReadSet {
    inline: [Read; INLINE_KEYS],
    inline_count: usize,
    more: Vec<Read>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Read {
    key: u64,
    is_outdated: bool,
}

impl ReadSet {
    pub(super) fn add(&mut self, key: &str) {
        let key = hash(key);
        if let Some(known) = self.iter_mut().find(|read| read.key == key) {
            known.is_outdated = false;
            return;
        }
        let read = Read { key, is_outdated: false };
        match self.inline.get_mut(self.inline_count) {
            Some(place) => {
                *place = read;
                self.inline_count += 1;
            }
            None => self.more.push(read),
        }
    }

    /// Removes a key, whose value is the request's own from now on; returns whether the request had read it.
    pub(super) fn remove(&mut self, key: &str) -> ReadState {
        if self.inline_count == 0 {
            return ReadState::Unread;
        }
        let key = hash(key);
        let Some(read) = self.iter_mut().find(|read| read.key == key) else { return ReadState::Unread };
        let state = if read.is_outdated { ReadState::Outdated } else { ReadState::Read };
        *read = Read::default();
        state
    }

    /// Marks the keys whose values differ between the data that the request started from and newer data.
    pub(super) fn mark_outdated(&mut self, before: &Data, now: &Data) {
        if self.inline_count == 0 {
            return;
        }
        for key in before.frames().chain(now.frames()).map(|frame| frame.key()) {
            let hash = hash(&key);
            let Some(read) = self.iter_mut().find(|read| read.key == hash) else { continue };
            read.is_outdated |= before.get(&key) != now.get(&key);
        }
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Read> {
        self.inline[..self.inline_count].iter_mut().chain(&mut self.more)
    }
}

/// Returns a hash of a key that is never zero, which stands for no key. Keys of up to eight bytes never collide.
///
/// It is not keyed: a client that could choose colliding keys would cause a false conflict in its own session.
fn hash(key: &str) -> u64 {
    let mix = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    let (words, rest) = key.as_bytes().as_chunks();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let length = key.len() as u64 | 1 << 63;
    let hash = words.iter().fold(length, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    mix(hash, u64::from_le_bytes(last))
}
