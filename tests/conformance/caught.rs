//! Broken stores, each with the rules that catch it.

use std::collections::BTreeSet;

use sessile::store::Page;
use sessile::testing::conformance::{Rule, Verdict, rules};

use crate::defects::{Lists, Pages};
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
#[path = "caught_ids_of.rs"]
mod ids_of;
#[path = "caught_keeping_times.rs"]
mod keeping_times;
#[path = "caught_listing.rs"]
mod listing;
#[path = "caught_owners.rs"]
mod owners;
#[path = "caught_races.rs"]
mod races;
#[path = "caught_records.rs"]
mod records;
#[path = "caught_summaries.rs"]
mod summaries;
#[path = "caught_writes.rs"]
mod writes;

/// The rules for a store without an index of owners.
const UNSUPPORTED: [&str; 3] = [
    "owned_by_without_an_index_is_unsupported",
    "delete_owned_by_without_an_index_is_unsupported",
    "ids_of_without_an_index_is_unsupported",
];
/// The rule for a store without a listing.
const LIST_UNSUPPORTED: &str = "list_without_a_listing_is_unsupported";

/// Every rule of the suite catches at least one broken store.
#[test]
fn every_rule_catches_a_broken_store() {
    let mut idle: BTreeSet<&str> = rules().iter().map(Rule::name).collect();
    let one = [records::CAUGHT, writes::CAUGHT, keeping_times::CAUGHT, expiry::CAUGHT];
    let several =
        [owners::CAUGHT, ids_of::CAUGHT, delete_owned::CAUGHT, summaries::CAUGHT, listing::CAUGHT, races::CAUGHT];
    for caught in one.into_iter().chain(several).flatten().copied().flatten() {
        idle.remove(caught);
    }
    // The tests of these rules are below, as they need a fixture without owners or without a listing.
    for name in UNSUPPORTED.into_iter().chain([LIST_UNSUPPORTED]) {
        assert!(idle.remove(name));
    }
    assert!(idle.is_empty(), "no broken store is caught by these rules: {idle:?}");
}

/// A store without an index of owners returns an empty list.
#[tokio::test(flavor = "multi_thread")]
async fn owned_by_without_an_index_returns_an_empty_list() {
    let fixture = || BrokenFixture::of(Lists(|_, _| Vec::new())).without_owners();
    catches(fixture, &UNSUPPORTED).await;
}

/// A store without a listing returns an empty page.
#[tokio::test(flavor = "multi_thread")]
async fn list_without_a_listing_returns_an_empty_page() {
    let fixture = || BrokenFixture::of(Pages(|_, _, _| Page { records: Vec::new(), next: None })).without_listing();
    catches(fixture, &[LIST_UNSUPPORTED]).await;
}
