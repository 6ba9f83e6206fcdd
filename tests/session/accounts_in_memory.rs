//! The rules of `accounts/owners.rs` and `accounts/protected.rs` in memory. Those of CSRF tokens and flash messages are run by files of their own, and
//! all of them on servers by `accounts_on_servers.rs`.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::accounts;

use accounts::{owners_rules, protected_rules};

owners_rules!(in_memory);
protected_rules!(in_memory);
