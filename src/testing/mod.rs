//! For tests of applications and of stores: signed-in requests without a browser, a clock that can be moved, and the
//! [rules](conformance) that a store must keep.

mod clock;
pub mod conformance;
mod cookie;

pub use self::clock::ManualClock;
pub use self::cookie::{cookie, sign_in};
pub use crate::clock::Clock;
