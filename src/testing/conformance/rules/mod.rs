//! The rules of the contract. Each is a function in the module that the [list] gives.

mod delete;
mod delete_owned;
mod expiry;
mod fields;
mod ids_of;
mod interruptions;
mod keeping_times;
mod list;
mod listing;
mod owners;
mod races;
mod round_trips;
mod set;
mod summaries;
mod touch;

use std::fmt;
use std::io::Write;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::RwLock;

use super::fixture::Fixture;
use super::probe::Probe;
use super::verdict::{Checked, Failed, Verdict};

/// One rule of the contract of a [`Store`](crate::store::Store).
#[derive(Clone, Copy)]
pub struct Rule {
    name: &'static str,
    sentence: &'static str,
    needs: Needs,
    run: for<'a> fn(&'a Probe<'a>) -> BoxFuture<'a, Checked>,
}

/// The property of a store without which a rule does not apply.
#[derive(Clone, Copy, PartialEq)]
enum Needs {
    Nothing,
    Owners,
    NoOwners,
    /// A listing of all records; the rule runs alone, so that no other record changes.
    Listing,
    NoListing,
    /// Expired records that wait to be deleted; the rule runs alone, as it counts them.
    Sweeps,
    /// A count of round trips; the rule runs alone.
    RoundTrips,
}

/// Separates rules that must run alone from all others in this process.
static ALONE: RwLock<()> = RwLock::const_new(());

const RULES: &[Rule] = crate::conformance_tests! { @list [@rules] };

/// Returns every rule, in the order of the list.
#[must_use]
pub fn rules() -> &'static [Rule] {
    RULES
}

impl Rule {
    /// Returns the rule of this name; `None` if there is no such rule.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        RULES.iter().find(|rule| rule.name == name).copied()
    }

    /// Returns the name in snake case: `set_of_a_version_revives_nothing`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the rule as a sentence.
    #[must_use]
    pub const fn sentence(&self) -> &'static str {
        self.sentence
    }

    /// Checks this rule on a store. A store that panics breaks it.
    pub async fn check<F: Fixture>(&self, fixture: &F) -> Verdict {
        let (_write, _read);
        if self.is_alone() {
            _write = ALONE.write().await;
        } else {
            _read = ALONE.read().await;
        }
        let probe = Probe::open(fixture).await;
        if let Some(reason) = self.needs.missing(&probe) {
            return Verdict::NotApplicable(reason.into());
        }
        let checked = AssertUnwindSafe((self.run)(&probe)).catch_unwind().await;
        let _ = AssertUnwindSafe(probe.clean_up()).catch_unwind().await;
        match checked {
            Ok(Ok(())) => Verdict::Kept,
            Ok(Err(Failed(verdict))) => verdict,
            Err(payload) => {
                let text = payload.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
                Verdict::Broken(format!("a panic: {}", text.unwrap_or("without a message")))
            }
        }
    }

    /// Panics if the store breaks this rule. Prints on the standard error if the rule does not apply.
    ///
    /// # Panics
    ///
    /// If the store breaks the rule: with the rule and how the store breaks it.
    pub async fn assert<F: Fixture>(&self, fixture: &F) {
        match self.check(fixture).await {
            Verdict::Kept => {}
            Verdict::Broken(seen) => panic!("the store breaks a rule\n{self}\n  seen: {seen}"),
            Verdict::NotApplicable(why) => print(&format!("not applicable: {}: {why}", self.name)),
        }
    }

    pub(super) fn is_alone(&self) -> bool {
        matches!(self.needs, Needs::Listing | Needs::Sweeps | Needs::RoundTrips)
    }
}

impl Needs {
    /// Returns why a rule does not apply to this store; `None` if it applies.
    fn missing(self, probe: &Probe<'_>) -> Option<&'static str> {
        match self {
            Self::Owners if !probe.has_owners => Some("the store has no index of owners"),
            Self::NoOwners if probe.has_owners => Some("the store has an index of owners"),
            Self::Listing if !probe.has_listing => Some("the store cannot list its records"),
            Self::NoListing if probe.has_listing => Some("the store can list its records"),
            Self::Sweeps if !probe.sweeps => Some("the store expires records by itself"),
            Self::RoundTrips if probe.fixture.round_trips().is_none() => {
                Some("the fixture cannot count the store's round trips")
            }
            _ => None,
        }
    }
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Rule {}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.sentence)
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rule({})", self.name)
    }
}

/// Prints a line that the test harness does not capture.
pub(super) fn print(line: &str) {
    // A closed standard error must not fail a rule.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
