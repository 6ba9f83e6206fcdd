//! Broken stores, each with the rules that catch it.

use std::collections::BTreeSet;

use sessile::testing::conformance::{Rule, Verdict, rules};

use crate::defects::Lists;
use crate::plain::{BrokenFixture, Defect};

/// Checks that each of these rules catches the store.
async fn catches<S: Defect>(fixture: impl Fn() -> BrokenFixture<S>, names: &[&str]) {
    for name in names {
        let rule = Rule::named(name).unwrap_or_else(|| panic!("no rule is called {name}"));
        match rule.check(&fixture()).await {
            Verdict::Broken(seen) => assert!(!seen.contains("panic"), "{name}: {seen}"),
            verdict => panic!("{name} did not catch it: {verdict:?}"),
        }
    }
}

/// Creates a test for each broken store, named by its defect, and the list of the rules that catch one.
macro_rules! caught {
    ($($(#[$doc:meta])+ $test:ident: $defect:expr => [$($rule:ident),+ $(,)?];)+) => {
        $(
            $(#[$doc])+
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                $crate::caught::catches(|| $crate::plain::BrokenFixture::of($defect), &[$(stringify!($rule)),+]).await;
            }
        )+

        pub(super) const CAUGHT: &[&[&str]] = &[$(&[$(stringify!($rule)),+]),+];
    };
}

// After the macro that these modules use.
#[path = "caught_delete_owned.rs"]
mod delete_owned;
#[path = "caught_expiry.rs"]
mod expiry;
#[path = "caught_keeping_times.rs"]
mod keeping_times;
#[path = "caught_owners.rs"]
mod owners;
#[path = "caught_races.rs"]
mod races;
#[path = "caught_records.rs"]
mod records;
#[path = "caught_writes.rs"]
mod writes;

/// Every rule of the suite catches at least one broken store.
#[test]
fn every_rule_catches_a_broken_store() {
    let mut idle: BTreeSet<&str> = rules().iter().map(Rule::name).collect();
    let one = [records::CAUGHT, writes::CAUGHT, keeping_times::CAUGHT, expiry::CAUGHT];
    let several = [owners::CAUGHT, delete_owned::CAUGHT, races::CAUGHT];
    for caught in one.into_iter().chain(several).flatten().copied().flatten() {
        idle.remove(caught);
    }
    // The test of these rules is below, as it needs a fixture without owners.
    assert!(idle.remove("owned_by_without_an_index_is_unsupported"));
    assert!(idle.remove("delete_owned_by_without_an_index_is_unsupported"));
    assert!(idle.is_empty(), "no broken store is caught by these rules: {idle:?}");
}

/// A store without an index of owners returns an empty list.
#[tokio::test(flavor = "multi_thread")]
async fn owned_by_without_an_index_returns_an_empty_list() {
    let fixture = || BrokenFixture::of(Lists(|_, _| Vec::new())).without_owners();
    let rules = ["owned_by_without_an_index_is_unsupported", "delete_owned_by_without_an_index_is_unsupported"];
    catches(fixture, &rules).await;
}
