//! Helpers of the integration tests: a client with a cookie jar, stores that count calls and inject faults, and
//! deterministic races.

#![allow(dead_code, reason = "each test binary compiles all of it and uses a part")]
#![allow(unreachable_pub, missing_debug_implementations, reason = "nothing outside of the test binary sees it")]
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

pub mod client;
pub mod orders;
pub mod race;
pub mod site;
pub mod store;
pub mod users;
