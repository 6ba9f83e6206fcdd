//! For tests of applications and of stores: a clock that can be moved, and the [rules](conformance) that a store must
//! keep.

mod clock;
pub mod conformance;

pub use self::clock::ManualClock;
