//! The suite of rules for stores: our store keeps them all, and each rule catches a store that breaks it.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "conformance/caught.rs"]
mod caught;
#[path = "../examples/custom_store.rs"]
#[allow(dead_code)] // Its server is not started here; its tests run.
mod custom_store;
#[path = "conformance/memory.rs"]
mod memory;
#[path = "conformance/plain.rs"]
mod plain;
#[path = "conformance/report.rs"]
mod report;
#[path = "conformance/saboteurs.rs"]
mod saboteurs;
