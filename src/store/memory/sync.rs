//! Locks and atomics: those of std, or those of `tests/schedules`.
//!
//! That crate builds the store with `cfg(shuttle)`: a scheduler then decides at each lock and atomic which thread runs next.

#[cfg(not(shuttle))]
pub(super) use std::sync::{
    Mutex,
    atomic::{AtomicI64, AtomicUsize},
};

#[cfg(shuttle)]
pub(super) use shuttle::sync::{
    Mutex,
    atomic::{AtomicI64, AtomicUsize},
};

/// Number of shards. Under the scheduler there are two, so that its few threads meet.
pub(super) const SHARDS: usize = if cfg!(shuttle) { 2 } else { 64 };
