//! For tests of applications and of stores.

mod clock;

pub use self::clock::ManualClock;
