//! Tests of loads and commits: concurrent requests, conflicts, cancellation and store failures.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "../support/mod.rs"]
mod support;

mod abandoned_commits;
mod cancellation;
mod concurrency;
mod conflicts;
mod crash_recovery;
mod failed_responses;
mod faults;
mod kept_commits;
mod memory_store;
mod queue;
mod random_cancellation;
mod response;
mod store_calls;
mod store_unavailable;
mod strict_writes;
