//! Every rule of the contract of a [`Store`](crate::store::Store), tried on any store.
//!
//! What this crate promises rests on what its store does: that a write is one compare-and-swap, that what was deleted
//! stays deleted, that what has expired is gone for everybody. Each such thing is a [`Rule`] here, with a name and a
//! sentence. A store of your own is fit for use when it keeps all of them.
//!
//! A [`Fixture`] says how to open the store, how to connect to it a second time, and how its time passes. [`check`]
//! then tries all rules at once and gives a [`Report`]:
//!
//! ```
//! use std::time::Duration;
//!
//! use sessile::MemoryStore;
//! use sessile::testing::ManualClock;
//! use sessile::testing::conformance::{Fixture, Task, check};
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
//!     fn spawn(&self, task: Task) {
//!         tokio::spawn(task);
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
//! A store whose clock cannot be moved, because it is a server's, leaves `now` as it is and sleeps in `advance`. The
//! rules wait at the same time, so that all of them together take a few seconds.
//!
//! To have each rule as a test of its own, so that a failure shows in the list of tests:
//!
//! ```
//! # use std::time::Duration;
//! # use sessile::MemoryStore;
//! # use sessile::testing::conformance::{Fixture, Task};
//! # struct Memory;
//! # impl Memory { fn new() -> Self { Self } }
//! # impl Fixture for Memory {
//! #     type Store = MemoryStore;
//! #     async fn open(&self) -> MemoryStore { MemoryStore::new() }
//! #     async fn another(&self, store: &MemoryStore) -> MemoryStore { store.clone() }
//! #     fn spawn(&self, task: Task) { tokio::spawn(task); }
//! #     async fn advance(&self, by: Duration) { tokio::time::sleep(by).await }
//! # }
//! sessile::conformance_tests! {
//!     #[tokio::test(flavor = "multi_thread")]
//!     Memory::new()
//! }
//! ```
//!
//! # Rules that do not apply
//!
//! Not every store lists the sessions of an owner, counts its round trips, or leaves expired records to
//! [`delete_expired`](crate::store::Store::delete_expired). A rule about what a store does not do is never counted as kept:
//! the report says that it is [not applicable](Verdict::NotApplicable), and why, and so does a test, on the standard
//! error.
//!
//! # What the suite asks of the surroundings
//!
//! - Every rule works on ids and owners of its own, so that all may share one database, run in any order and at once.
//!   Two kinds of rules need to be alone on it: those that count round trips, and those that count what
//!   [`delete_expired`](crate::store::Store::delete_expired) has deleted. Within one process they wait for each other; where
//!   each test is a process, give each its own database, table or prefix.
//! - Rules about races start up to 200 calls at once with [`Fixture::spawn`]. On a runtime with several threads they
//!   also meet inside the store, not at its awaits alone.
//! - Each rule deletes what it has written, as far as the store lets it. Do not try the rules on data that you need.

mod fixture;
mod probe;
mod report;
mod rule;
mod rules;
mod together;
mod trial;

pub use self::fixture::{Fixture, Task};
pub use self::report::{Finding, Report};
pub use self::rule::{Rule, Verdict, rules};

/// Tries every rule on the store.
///
/// Rules that must be alone come first, one after the other; then all others, at once.
pub async fn check<F: Fixture>(fixture: &F) -> Report {
    let mut findings = Vec::with_capacity(rules().len());
    for rule in rules().iter().filter(|rule| rule.is_alone()) {
        findings.push(Finding::new(*rule, rule.check(fixture).await));
    }
    let others = rules().iter().filter(|rule| !rule.is_alone());
    let others = others.map(|rule| async { Finding::new(*rule, rule.check(fixture).await) });
    findings.extend(together::join(others).await);
    Report::new(findings)
}

/// Makes a test of every [rule](crate::testing::conformance::Rule) of the contract of a store: one that is not kept
/// panics with the rule and with what was seen.
///
/// Takes the attributes of a test, and an expression that makes a
/// [`Fixture`](crate::testing::conformance::Fixture); it is evaluated in each test, and may await. The
/// [module](crate::testing::conformance) has an example.
#[macro_export]
macro_rules! conformance_tests {
    ($(#[$attribute:meta])+ $fixture:expr) => {
        $crate::__conformance_rules! { [$crate::__conformance_tests] [[$(#[$attribute])+] [$fixture]] }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    ([$attributes:tt $fixture:tt] $($module:ident::$name:ident: $sentence:literal;)+) => {
        $($crate::__conformance_test! { $attributes $fixture $name $sentence })+
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_test {
    ([$($attribute:tt)+] [$fixture:expr] $name:ident $sentence:literal) => {
        #[doc = $sentence]
        $($attribute)+
        async fn $name() {
            let fixture = $fixture;
            let rule = $crate::testing::conformance::Rule::named(stringify!($name)).expect("the suite has the rule");
            rule.assert(&fixture).await;
        }
    };
}
