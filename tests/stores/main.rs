//! Tests of the stores that need no server: the memory store, and the one that encrypts records.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "../support/mod.rs"]
mod support;

mod memory_store;
mod sealed;
