//! The contract of a [`Store`](crate::store::Store), as rules that can be checked on any store.
//!
//! The guarantees of this crate depend on the store: a write must be one compare-and-swap, a deleted record must stay
//! deleted, an expired record must be absent to every caller. Each requirement is a [`Rule`] with a name and a
//! sentence. A store of your own is ready for use when it keeps all of them.
//!
//! A [`Fixture`] opens the store, connects to it a second time, and lets its time pass. [`check`] checks all rules and
//! returns a [`Report`]:
//!
//! ```
//! use std::time::Duration;
//!
//! use sessile::MemoryStore;
//! use sessile::testing::ManualClock;
//! use sessile::testing::conformance::{Fixture, check};
//! use time::OffsetDateTime;
//!
//! struct Memory {
//!     clock: ManualClock,
//! }
//!
//! impl Fixture for Memory {
//!     type Store = MemoryStore;
//!
//!     async fn open(&self) -> MemoryStore {
//!         MemoryStore::new().with_clock(&self.clock)
//!     }
//!
//!     async fn another(&self, store: &MemoryStore) -> MemoryStore {
//!         store.clone()
//!     }
//!
//!     async fn now(&self) -> OffsetDateTime {
//!         self.clock.now()
//!     }
//!
//!     async fn advance(&self, by: Duration) {
//!         self.clock.advance(by);
//!     }
//! }
//!
//! // In a test: #[tokio::test(flavor = "multi_thread")]
//! #[tokio::main]
//! async fn main() {
//!     check(&Memory { clock: ManualClock::new() }).await.assert();
//! }
//! ```
//!
//! The fixture of a server, whose clock cannot be moved, leaves out `now` and `advance`: the rules then sleep, many at the
//! same time, which takes a few seconds.
//!
//! [`conformance_tests!`](crate::conformance_tests) creates one test for each rule:
//!
//! ```
//! # use sessile::MemoryStore;
//! # use sessile::testing::conformance::Fixture;
//! # struct Memory;
//! # impl Memory { fn new() -> Self { Self } }
//! # impl Fixture for Memory {
//! #     type Store = MemoryStore;
//! #     async fn open(&self) -> MemoryStore { MemoryStore::new() }
//! #     async fn another(&self, store: &MemoryStore) -> MemoryStore { store.clone() }
//! # }
//! sessile::conformance_tests! {
//!     #[tokio::test(flavor = "multi_thread")]
//!     Memory::new()
//! }
//! ```
//!
//! # Rules that do not apply
//!
//! A store may have no index of owners or no listing, expire its records by itself, or not count its round trips. A rule about a missing
//! capability does not count as kept: the report lists it as [not applicable](Verdict::NotApplicable), with the reason,
//! and a test prints the reason on the standard error.
//!
//! # Requirements
//!
//! - The rules use unique ids and owners, so that they can share a database and run in any order and at the same time.
//!   Rules that count round trips or the records that [`delete_expired`](crate::store::Store::delete_expired) removes, and
//!   rules that [list](crate::store::Store::list) all records, must run alone. Within one process they wait for each other; if each test is a process, give each its own database,
//!   table or prefix.
//! - Rules about races start up to 200 calls at once with [`Fixture::spawn`]. On a runtime with several threads the calls
//!   also run in parallel inside the store.
//! - Each rule deletes its records, as far as the store works. Do not run the rules on data that you need.

mod connection;
mod fixture;
mod probe;
mod report;
mod rules;
mod verdict;

use futures_util::stream::{self, StreamExt};

pub use self::fixture::{Fixture, Task};
pub use self::report::{Finding, Report};
pub use self::rules::{Rule, rules};
pub use self::verdict::Verdict;

/// Most rules that run at the same time: each may open two stores, and a server limits its connections.
const MAX_AT_ONCE: usize = 32;

/// Checks every rule on the store.
///
/// Rules that must run alone run first, one after another, and then all other rules, at most 32 at the same time.
pub async fn check<F: Fixture>(fixture: &F) -> Report {
    let find = async |rule: Rule| Finding { rule, verdict: rule.check(fixture).await };
    let (alone, others): (Vec<Rule>, Vec<Rule>) = rules().iter().partition(|rule| rule.is_alone());
    let mut findings = Vec::with_capacity(rules().len());
    for rule in alone {
        findings.push(find(rule).await);
    }
    let others = stream::iter(others.into_iter().enumerate());
    let others = others.map(async |(place, rule)| (place, find(rule).await)).buffer_unordered(MAX_AT_ONCE);
    let mut others: Vec<_> = others.collect().await;
    others.sort_unstable_by_key(|(place, _)| *place);
    findings.extend(others.into_iter().map(|(_, finding)| finding));
    Report(findings)
}
