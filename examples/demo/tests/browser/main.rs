//! The demo as people use it: the real program, in a real browser (Chromium, without a window), one profile a device.
//!
//! It needs Debian's packages `chromium` and `chromium-driver`. The pages that it saw lie in `target/tmp/demo` as pictures.

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
mod parallel;
mod restart;
mod sign_in;
mod step_up;

/// A password that nobody tries first.
const PASSWORD: &str = "kettle of fish in march";
