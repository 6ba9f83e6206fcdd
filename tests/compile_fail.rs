//! What the compiler says to the likeliest mistakes: the messages are part of what this crate offers.
//!
//! They are those of the compiler in `rust-version`. `TRYBUILD=overwrite cargo test --test compile_fail` writes them anew; read
//! what has changed.

// With more stores switched on, the compiler lists more of them.
#![cfg(not(any(feature = "sqlite", feature = "postgres", feature = "mysql", feature = "redis")))]

#[test]
fn the_messages_of_the_likeliest_mistakes_say_what_to_do() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
