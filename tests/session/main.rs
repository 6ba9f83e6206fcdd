//! Tests of a session's values and its life: sign-in, rotation, lifetimes, owners and its end.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "../support/accounts/mod.rs"]
mod accounts;
#[path = "../support/bulk.rs"]
mod bulk;
#[path = "../support/polling.rs"]
mod polling;
#[path = "../support/mod.rs"]
mod support;

mod accessors;
mod accounts_in_memory;
mod bulk_ends;
mod commit_margin;
mod damaged_records;
mod detached;
mod detached_use;
mod end_races;
mod ended_tokens;
mod ending;
mod events;
mod lifetimes;
mod listing;
mod migration;
mod outside_requests;
mod owners;
mod passive;
mod periodic_rotation;
mod random_renewals;
mod random_requests;
mod repeated_sign_in;
mod replay_policy;
mod retired_tokens;
mod rival_sessions;
mod rotation;
mod sign_in;
mod size_limits;
mod step_up;
mod times;
mod transient;
mod unconfirmed_sessions;
mod values;
