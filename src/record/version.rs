//! The version of a record, and the ids of the commits that made it.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::token::random;

/// The version of a record: grows with each [`Store::set`](crate::store::Store::set); no two writes make the same one.
///
/// The upper bits count the writes; the lower 20 hold part of the id of the commit that made this version. So two writes that
/// start from one version, one of which a crashed server forgot, differ. It fits a signed 64-bit column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

impl Version {
    /// The version of a record that is not stored.
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const FIRST: Self = Self(1 << Self::COMMIT_BITS);

    /// Number of bits that are taken from the commit id; the rest is the count.
    const COMMIT_BITS: u32 = 20;

    /// Creates a version from a number that a store has read.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the version as a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the version that a commit makes of a record of this version.
    pub(crate) const fn next(self, commit: CommitId) -> Self {
        let mark = u64::from_be_bytes(commit) & ((1 << Self::COMMIT_BITS) - 1);
        Self(((self.count() + 1) << Self::COMMIT_BITS) | mark)
    }

    /// Returns the number of writes that led to this version.
    pub(crate) const fn count(self) -> u64 {
        self.0 >> Self::COMMIT_BITS
    }

    /// Checks whether this version was written after `other`, or instead of it.
    pub(crate) const fn is_newer_than(self, other: Self) -> bool {
        self.count() > other.count() || (self.count() == other.count() && self.0 != other.0)
    }
}

/// Identifies one commit, so that a record shows whether a write took effect whose answer was lost.
pub(crate) type CommitId = [u8; 8];

/// Creates a commit id: the next of a sequence that starts at a random number in each process. It is no secret.
pub(crate) fn new_commit_id() -> CommitId {
    static NEXT: LazyLock<AtomicU64> = LazyLock::new(|| AtomicU64::new(u64::from_ne_bytes(random())));
    NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes()
}

/// Ids of the commits that made a record's version and the ones before it, newest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct CommitIds {
    ids: [CommitId; Self::MAX],
    count: usize,
}

impl CommitIds {
    pub(crate) const MAX: usize = 8;

    pub(crate) fn push(&mut self, id: CommitId) {
        self.ids.rotate_right(1);
        self.ids[0] = id;
        self.count = (self.count + 1).min(Self::MAX);
    }

    pub(crate) fn contains(&self, id: &CommitId) -> bool {
        self.as_slice().contains(id)
    }

    /// Checks whether the ids cover every commit after `version`, in a record whose version is `now`.
    pub(crate) fn reach_back_to(&self, version: Version, now: Version) -> bool {
        now.count().saturating_sub(version.count()) <= self.count as u64
    }

    pub(crate) fn as_slice(&self) -> &[CommitId] {
        &self.ids[..self.count]
    }

    /// Sets the number of ids and returns their places, to be read into; `None` if there are too many.
    pub(crate) fn places_mut(&mut self, count: usize) -> Option<&mut [CommitId]> {
        let places = self.ids.get_mut(..count)?;
        self.count = count;
        Some(places)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The count grows by one; the mark keeps two commits of one version apart, by each of its bits.
    #[test]
    fn a_version_holds_a_count_and_a_mark_of_its_commit() {
        assert_eq!((Version::NONE.count(), Version::FIRST.count()), (0, 1));
        let mut version = Version::FIRST;
        for (count, id) in (2..).zip([0, 1, 0xf_ffff, 0x10_0000, u64::MAX, 0x1234_5678_9abc_def0]) {
            let next = version.next(id.to_be_bytes());
            assert_eq!(next.count(), count);
            for bit in 0..20 {
                assert_ne!(next, version.next((id ^ 1 << bit).to_be_bytes()), "bit {bit} of {id:x}");
            }
            version = next;
        }
    }

    /// The ids of the last eight commits are kept, and cover the versions that these commits made.
    #[test]
    fn commit_ids_reach_back_to_the_last_eight_commits() {
        for count in 0..20u64 {
            let (mut ids, mut versions) = (CommitIds::default(), vec![Version::NONE]);
            for n in 0..40u64 {
                versions.push(versions[versions.len() - 1].next(n.to_be_bytes()));
            }
            (0..count).for_each(|n| ids.push(n.to_be_bytes()));
            for n in 0..=count {
                assert_eq!(ids.contains(&n.to_be_bytes()), n < count && n + 8 >= count);
            }
            for (before, version) in (0..).zip(&versions) {
                for (after, now) in (0u64..).zip(&versions) {
                    let expected = after.saturating_sub(before) <= count.min(8);
                    assert_eq!(ids.reach_back_to(*version, *now), expected, "{count} ids, {before} to {after}");
                }
            }
        }
    }
}
