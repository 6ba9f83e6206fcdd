//! Tools for tests: signed-in requests without a browser, a manual clock, and the [rules](conformance) for stores.

mod clock;
pub mod conformance;
mod cookie;

pub use self::clock::ManualClock;
pub use self::cookie::{cookie, sign_in};
pub use crate::clock::Clock;
