//! Tests of the documents, of the programs that they show, of the examples and of compiler messages.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "../support/pages.rs"]
mod pages;
#[path = "../support/mod.rs"]
mod support;

mod compile_errors;
mod documents;
mod examples;
mod figures;
mod getting_started;
mod guarantees;
mod moved_applications;
mod quickstart;
