//! Tests of the stores on real database servers, which each test starts for itself.
//!
//! `cargo test --all-features --test servers sqlite` runs those of one store.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "../support/accounts/mod.rs"]
mod accounts;
#[path = "../support/accounts/attacker.rs"]
mod attacker;
#[path = "../support/bulk.rs"]
mod bulk;
#[path = "../logging/capture.rs"]
mod capture;
#[path = "../support/damage.rs"]
mod damage;
#[path = "../support/databases.rs"]
mod databases;
#[path = "../support/disk.rs"]
mod disk;
#[path = "../support/faults.rs"]
mod faults;
#[path = "../support/nodes.rs"]
mod nodes;
#[path = "../support/patience.rs"]
#[macro_use]
mod patience;
#[path = "../support/polling.rs"]
mod polling;
#[path = "../support/proxy.rs"]
mod proxy;
#[path = "../support/servers.rs"]
mod servers;
#[path = "../support/sql.rs"]
#[macro_use]
mod sql;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/sweeps.rs"]
mod sweeps;

mod accounts_on_servers;
mod bulk_ends;
mod connecting;
mod failover;
mod idle_connections;
mod listing;
mod mysql;
mod password_changes;
mod pgbouncer;
mod polling_on_servers;
mod postgres;
mod redis;
mod redis_versions;
mod reruns;
mod shared_pools;
mod sizes;
mod sqlite;
mod tls;
mod transactions;
