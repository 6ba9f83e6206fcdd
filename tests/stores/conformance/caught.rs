//! Stores that each break a rule, and the rules that catch them.

use std::collections::BTreeSet;

use sessile::testing::conformance::{Rule, Verdict, rules};

use crate::defects::Lists;
use crate::plain::{BrokenFixture, Defect};

/// Each of these rules is broken by the store.
async fn catches<S: Defect>(fixture: impl Fn() -> BrokenFixture<S>, names: &[&str]) {
    for name in names {
        let rule = Rule::named(name).unwrap_or_else(|| panic!("no rule is called {name}"));
        match rule.check(&fixture()).await {
            Verdict::Broken(seen) => assert!(!seen.contains("panic"), "{name}: {seen}"),
            verdict => panic!("{name} did not catch it: {verdict:?}"),
        }
    }
}

/// Makes a test of each store, and the list of the rules that have caught one.
macro_rules! caught {
    ($($test:ident: $defect:expr => [$($rule:ident),+ $(,)?];)+) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                $crate::caught::catches(|| $crate::plain::BrokenFixture::of($defect), &[$(stringify!($rule)),+]).await;
            }
        )+

        pub(super) const CAUGHT: &[&[&str]] = &[$(&[$(stringify!($rule)),+]),+];
    };
}

// Below the macro, which they use.
#[path = "caught_expiry.rs"]
mod expiry;
#[path = "caught_owners.rs"]
mod owners;
#[path = "caught_races.rs"]
mod races;
#[path = "caught_records.rs"]
mod records;
#[path = "caught_writes.rs"]
mod writes;

#[test]
fn every_rule_catches_a_broken_store() {
    let mut idle: BTreeSet<&str> = rules().iter().map(Rule::name).collect();
    let all = [records::CAUGHT, writes::CAUGHT, expiry::CAUGHT, owners::CAUGHT, races::CAUGHT];
    for caught in all.into_iter().flatten().copied().flatten() {
        idle.remove(caught);
    }
    // This one is about a store without owners; its test is below.
    assert!(idle.remove("owned_by_without_an_index_is_unsupported"));
    assert!(idle.is_empty(), "no store shows what these rules are good for: {idle:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_an_index_that_lists_nobody() {
    let fixture = || BrokenFixture::of(Lists(|_, _| Vec::new())).without_owners();
    catches(fixture, &["owned_by_without_an_index_is_unsupported"]).await;
}
