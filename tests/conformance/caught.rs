//! Stores that each break a rule, and the rules that catch them.

use std::collections::BTreeSet;

use sessile::testing::conformance::{Rule, Verdict, rules};

use crate::plain::{Sabotage, Workshop};
use crate::saboteurs::Lists;

/// Each of these rules is broken by the store.
async fn catches<S: Sabotage>(workshop: impl Fn() -> Workshop<S>, names: &[&str]) {
    for name in names {
        let rule = Rule::named(name).unwrap_or_else(|| panic!("no rule is called {name}"));
        match rule.check(&workshop()).await {
            Verdict::Broken(seen) => assert!(!seen.contains("panic"), "{name}: {seen}"),
            verdict => panic!("{name} did not catch it: {verdict:?}"),
        }
    }
}

/// Makes a test of each store, and the list of the rules that have caught one.
macro_rules! caught {
    ($($test:ident: $saboteur:expr => [$($rule:ident),+ $(,)?];)+) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                $crate::caught::catches(|| $crate::plain::Workshop::of($saboteur), &[$(stringify!($rule)),+]).await;
            }
        )+

        pub(super) const CAUGHT: &[&[&str]] = &[$(&[$(stringify!($rule)),+]),+];
    };
}

// Below the macro, which they use.
#[path = "caught_lives.rs"]
mod lives;
#[path = "caught_owners.rs"]
mod owners;
#[path = "caught_races.rs"]
mod races;
#[path = "caught_records.rs"]
mod records;
#[path = "caught_writes.rs"]
mod writes;

#[test]
fn every_rule_catches_a_store() {
    let mut idle: BTreeSet<&str> = rules().iter().map(Rule::name).collect();
    let all = [records::CAUGHT, writes::CAUGHT, lives::CAUGHT, owners::CAUGHT, races::CAUGHT];
    for caught in all.into_iter().flatten().copied().flatten() {
        idle.remove(caught);
    }
    // This one is about a store without owners; its test is below.
    assert!(idle.remove("a_store_without_an_index_says_so"));
    assert!(idle.is_empty(), "no store shows what these rules are good for: {idle:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_an_index_that_lists_nobody() {
    let workshop = || Workshop::of(Lists(|_, _| Vec::new())).without_owners();
    catches(workshop, &["a_store_without_an_index_says_so"]).await;
}
