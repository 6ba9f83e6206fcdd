//! Tests of the security checklist and of attacks, over HTTP.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "../support/accounts/mod.rs"]
mod accounts;
#[path = "../support/accounts/attacker.rs"]
mod attacker;
#[path = "../support/mod.rs"]
mod support;

mod attacks;
mod checklist;
mod random_attacks;
