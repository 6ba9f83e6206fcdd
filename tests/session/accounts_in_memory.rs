//! The tests of `accounts/ends.rs`, `owners.rs`, `protected.rs` and `realms.rs`, in memory. `csrf.rs` and `flash.rs` run the
//! others; `accounts_on_servers.rs` runs all of them on servers.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::accounts;

use accounts::{ends_rules, owners_rules, protected_rules, realms_rules};

ends_rules!(in_memory);
owners_rules!(in_memory);
protected_rules!(in_memory);
realms_rules!(in_memory);
