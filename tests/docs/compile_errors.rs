//! What the compiler says to the likeliest mistakes: the messages are part of what this crate offers.
//!
//! They are those of the compiler in `rust-version`, which the checks are run with. `TRYBUILD=overwrite cargo test --test
//! compile_fail` writes them anew; read what has changed.

use std::io::Write;
use std::panic;
use std::process::Command;

#[test]
fn the_messages_of_the_likeliest_mistakes_say_what_to_do() {
    messages_are_as_written("tests/ui/*.rs");
}

/// The compiler lists the stores that there are, so the message is another one with each feature.
#[test]
#[cfg_attr(
    any(feature = "sqlite", feature = "postgres", feature = "mysql", feature = "redis"),
    ignore = "its message is written down for a build without the stores of features: cargo test --test compile_fail"
)]
fn the_message_of_what_is_no_store_says_which_there_are() {
    messages_are_as_written("tests/ui/stores/*.rs");
}

/// Other compilers may word them otherwise: with those, a difference is told and is no failure.
fn messages_are_as_written(cases: &'static str) {
    // The cases run when this is dropped.
    let run = || trybuild::TestCases::new().compile_fail(cases);
    let Err(difference) = panic::catch_unwind(run) else { return };
    let version = Command::new("rustc").arg("--version").output().expect("the compiler that built this");
    let version = String::from_utf8_lossy(&version.stdout);
    let expected = env!("CARGO_PKG_RUST_VERSION");
    if version.starts_with(&format!("rustc {expected}.")) {
        panic::resume_unwind(difference);
    }
    // Past the test's own output, which is shown for a failure alone.
    let told = writeln!(
        std::io::stderr(),
        "{cases}: the messages are written down for rustc {expected}, and differ with {version}see them with --nocapture"
    );
    told.expect("somewhere to write");
}
