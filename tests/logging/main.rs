//! Tests of the log and of debugging output, in a process of their own: they install a global subscriber.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "../support/mod.rs"]
mod support;

mod advice;
mod capture;
mod error_responses;
mod stored_secrets;
mod token_leaks;
mod value_leaks;
