//! The conformance suite: the memory store keeps every rule, and every rule catches a broken store.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "conformance/caught.rs"]
mod caught;
#[path = "../examples/custom_store.rs"]
#[allow(dead_code)] // Its server is not started here; its tests run.
mod custom_store;
#[path = "conformance/defects.rs"]
mod defects;
#[path = "conformance/memory.rs"]
mod memory;
#[path = "conformance/plain.rs"]
mod plain;
#[path = "conformance/report.rs"]
mod report;
