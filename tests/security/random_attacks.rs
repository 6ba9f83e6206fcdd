//! Whatever two people and somebody who attacks them do, in whatever order, the attacker learns nothing that is theirs.
//!
//! 1,000 runs; `PROPTEST_CASES=100000 cargo test --test attacker` makes more of them.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::{accounts, attacker};

use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::prelude::ProptestConfig;
use proptest::test_runner::TestRunner;

use accounts::Over;

const RUNS: u32 = 1_000;

#[test]
fn no_run_gives_the_attacker_what_is_anothers() {
    let mut config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = RUNS;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let reached = RefCell::new(BTreeMap::<&str, usize>::new());
    let outcome = TestRunner::new(config).run(&attacker::ops(1..80), |ops| {
        let over = Over::memory();
        let run = runtime.block_on(attacker::run(&over, &ops));
        for (what, times) in run.reached {
            *reached.borrow_mut().entry(what).or_default() += times;
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    let reached = reached.into_inner();
    for what in [
        "planted",
        "tossed",
        "forged",
        "forged a form",
        "refused a form",
        "stole a dead token",
        "signed in",
        "signed in over another",
        "signed out",
        "refreshed",
        "promoted",
        "wrote a secret",
    ] {
        assert!(
            reached.get(what).is_some_and(|times| *times >= 10),
            "{what} is too rare for these runs to show much: {reached:?}"
        );
    }
}
