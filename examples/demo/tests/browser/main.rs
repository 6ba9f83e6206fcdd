//! Tests of the demo program in headless Chromium, and of its main flow in Firefox, with one browser profile for each device.
//!
//! They need Debian's packages `chromium`, `chromium-driver` and `firefox-esr`. Screenshots of the pages are in `target/tmp/demo`.
//! With `--all-features` the demo also runs on PostgreSQL, MariaDB and Redis servers that the tests start.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod browser;
mod children;
mod demo;
mod driver;

mod accessibility;
mod acting;
mod admin;
mod back_button;
mod cookies;
mod devices;
mod ending;
mod firefox;
mod forgery;
mod keyboard;
mod parallel;
mod restart;
mod sign_in;
mod stale_pages;
mod step_up;

#[cfg(all(feature = "postgres", feature = "mysql", feature = "redis"))]
mod databases;
#[path = "../../../../tests/support/servers.rs"]
mod servers;

/// A password that passes the check for common passwords.
const PASSWORD: &str = "kettle of fish in march";
