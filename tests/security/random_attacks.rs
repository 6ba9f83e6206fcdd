//! Random sequences of requests by two users and an attacker, checked against a model.
//!
//! 1,000 runs by default; `PROPTEST_CASES=100000 cargo test --test security random_attacks` runs more.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::{accounts, attacker};

use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::prelude::ProptestConfig;
use proptest::test_runner::TestRunner;

use accounts::Setup;

const RUNS: u32 = 1_000;

/// Random runs of two users and an attacker match the model, and each attack occurs at least ten times.
#[test]
fn attacker_never_reads_another_clients_data() {
    let mut config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = RUNS;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let covered = RefCell::new(BTreeMap::<&str, usize>::new());
    let outcome = TestRunner::new(config).run(&attacker::ops(1..80), |ops| {
        let setup = Setup::memory();
        let run = runtime.block_on(attacker::run(&setup, &ops));
        for (event, times) in run.covered {
            *covered.borrow_mut().entry(event).or_default() += times;
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    let covered = covered.into_inner();
    for event in [
        "planted",
        "tossed",
        "forged",
        "forged a form",
        "refused a form",
        "learned an expired token",
        "signed in",
        "signed in over another",
        "signed out",
        "joined",
        "wrote too late",
        "refreshed",
        "refreshed again",
        "promoted",
        "wrote a secret",
    ] {
        assert!(
            covered.get(event).is_some_and(|times| *times >= 10),
            "{event} occurs fewer than 10 times: {covered:?}"
        );
    }
}
