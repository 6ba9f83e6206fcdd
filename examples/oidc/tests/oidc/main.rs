//! Sign-in and logout over HTTP, with a real provider and with one that misbehaves.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod browser;
mod interleavings;
mod issuer;
mod keys;
mod logout_tokens;
mod node;
mod real_provider;
mod sign_ins;
mod steps;
mod store_failures;
