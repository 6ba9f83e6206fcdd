//! What the store's threads meet at: the standard library's, except in `tests/schedules`, where a scheduler decides at each of
//! them which thread goes on.

use crate::token::{SessionId, random};

#[cfg(not(shuttle))]
pub(super) use std::{
    hash::RandomState,
    sync::atomic::{AtomicI64, AtomicUsize},
    sync::{Mutex, MutexGuard},
};

#[cfg(shuttle)]
pub(super) use shuttle::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicI64, AtomicUsize},
};

/// The same in each run, so that a schedule can be run again.
#[cfg(shuttle)]
pub(super) type RandomState = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;

/// What a hash begins with.
pub(super) fn seeds() -> [u64; 2] {
    if cfg!(shuttle) {
        [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9]
    } else {
        [random(), random()].map(u64::from_ne_bytes)
    }
}

/// So many parts a thing is divided into, each behind a lock; there two, so that threads meet.
pub(super) const fn parts(usual: usize) -> usize {
    if cfg!(shuttle) { 2 } else { usual }
}

/// Which part something belongs to: as a test chooses it there, by the last byte of its id.
pub(super) fn part_of(id: &SessionId, hash: u32) -> usize {
    usize::from(if cfg!(shuttle) { id.as_uuid().as_bytes()[15] } else { hash.to_be_bytes()[0] })
}
