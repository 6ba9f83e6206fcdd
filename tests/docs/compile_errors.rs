//! Compiler messages for likely mistakes.
//!
//! `TRYBUILD=overwrite cargo test --test docs compile_errors -- --ignored` writes them; read the changes.

use std::io::Write;
use std::panic;
use std::process::Command;

/// The release whose messages are expected.
const COMPILER: &str = "1.95";

/// Each message names the remedy.
#[test]
#[ignore = "builds the crate anew: cargo test --test docs -- --ignored"]
fn messages_for_likely_mistakes_name_the_remedy() {
    messages_are_as_written("tests/ui/*.rs");
}

/// The compiler lists the stores that the features switch on.
#[test]
#[ignore = "builds the crate anew: cargo test --test docs -- --ignored"]
fn the_message_for_a_type_that_is_no_store_lists_stores() {
    let stores = ["sqlite", "postgres", "mysql", "redis"];
    let enabled =
        [cfg!(feature = "sqlite"), cfg!(feature = "postgres"), cfg!(feature = "mysql"), cfg!(feature = "redis")];
    match enabled.iter().filter(|is_enabled| **is_enabled).count() {
        0 => messages_are_as_written("tests/ui/stores/*.rs"),
        4 => messages_are_as_written("tests/ui/all_stores/*.rs"),
        _ => panic!("the message is written for none of {stores:?} and for all of them"),
    }
}

/// Fails if a message differs. Another compiler may word it otherwise: its differences are printed and do not fail.
fn messages_are_as_written(cases: &'static str) {
    // The cases run when this is dropped.
    let run = || trybuild::TestCases::new().compile_fail(cases);
    let Err(difference) = panic::catch_unwind(run) else { return };
    let version = Command::new("rustc").arg("--version").output().expect("the compiler that built this");
    let version = String::from_utf8_lossy(&version.stdout);
    if version.starts_with(&format!("rustc {COMPILER}.")) {
        panic::resume_unwind(difference);
    }
    // Past the test's own output, which is shown for a failure alone.
    let told = writeln!(
        std::io::stderr(),
        "{cases}: the expected messages are those of rustc {COMPILER}, and differ with {version}see them with --nocapture"
    );
    told.expect("somewhere to write");
}
