//! Which values a request has read, so that a write which rests on one that another has changed can be told.

use super::changes::ReadBefore;
use crate::record::Data;

/// The keys that a request has read, by their hashes.
#[derive(Debug, Default)]
pub(super) struct Reads {
    first: [Read; 4],
    count: usize,
    more: Vec<Read>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Read {
    key: u64,
    outdated: bool,
}

impl Reads {
    pub(super) fn add(&mut self, key: &str) {
        let key = hash(key);
        if let Some(known) = self.iter_mut().find(|read| read.key == key) {
            known.outdated = false;
            return;
        }
        let read = Read { key, outdated: false };
        match self.first.get_mut(self.count) {
            Some(place) => {
                *place = read;
                self.count += 1;
            }
            None => self.more.push(read),
        }
    }

    /// Whether the key was read, and forgets it: what it holds now is the request's own.
    pub(super) fn forget(&mut self, key: &str) -> ReadBefore {
        if self.count == 0 {
            return ReadBefore::No;
        }
        let key = hash(key);
        let Some(read) = self.iter_mut().find(|read| read.key == key) else { return ReadBefore::No };
        let before = if read.outdated { ReadBefore::Outdated } else { ReadBefore::Yes };
        // No key's hash but by one chance in 2⁶⁴.
        *read = Read::default();
        before
    }

    /// Finds the keys whose values another has changed, now that the request goes on from newer data.
    pub(super) fn compare(&mut self, before: &Data, now: &Data) {
        if self.count == 0 {
            return;
        }
        for key in before.frames().chain(now.frames()).map(|frame| frame.key()) {
            let hash = hash(&key);
            let Some(read) = self.iter_mut().find(|read| read.key == hash) else { continue };
            read.outdated |= before.get(&key) != now.get(&key);
        }
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Read> {
        self.first[..self.count].iter_mut().chain(&mut self.more)
    }
}

/// A hash of a key, without a secret of its own: whoever can choose keys so that two are taken for one is told of a conflict
/// that is none, in a session of theirs. Keys of up to eight bytes are never taken for one another.
fn hash(key: &str) -> u64 {
    let mix = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    let (words, rest) = key.as_bytes().as_chunks();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    // Never zero, which stands for no key.
    let length = key.len() as u64 | 1 << 63;
    let hash = words.iter().fold(length, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    mix(hash, u64::from_le_bytes(last))
}
