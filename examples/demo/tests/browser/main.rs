//! The demo as people use it: the real program, in a real browser (Chromium, without a window), one profile a device.
//!
//! It needs Debian's packages `chromium` and `chromium-driver`. The pages that it saw lie in `target/tmp/demo` as pictures.
//! With `--all-features` it also runs the demo on PostgreSQL, MariaDB and Redis, on servers that it starts itself.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod browser;
mod children;
mod demo;
mod driver;

mod accessibility;
mod back_button;
mod cookies;
mod devices;
mod forgery;
mod keyboard;
mod parallel;
mod restart;
mod sign_in;
mod step_up;

#[cfg(all(feature = "postgres", feature = "mysql", feature = "redis"))]
mod databases;
#[cfg(all(feature = "postgres", feature = "mysql", feature = "redis"))]
#[path = "../../../../tests/support/servers.rs"]
mod servers;

/// A password that nobody tries first.
const PASSWORD: &str = "kettle of fish in march";
