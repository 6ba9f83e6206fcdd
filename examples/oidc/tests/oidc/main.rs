//! Sign-in and logout over HTTP, with a real provider and with one that misbehaves, in memory and on database servers.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[macro_use]
#[path = "../../../../tests/support/patience.rs"]
mod patience;

mod browser;
mod databases;
mod interleavings;
mod issuer;
mod keys;
mod logout_tokens;
mod node;
mod real_provider;
mod sign_ins;
mod site;
mod steps;
mod store_failures;

#[path = "../../../../tests/support/servers.rs"]
mod servers;
