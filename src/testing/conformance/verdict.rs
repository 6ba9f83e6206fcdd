//! The result of checking a rule.

use std::error::Error;

use crate::error::{StoreError, StoreErrorKind};

/// Result of checking a rule on a store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub enum Verdict {
    /// The store keeps the rule.
    Kept,
    /// The store breaks the rule; the text says how.
    Broken(String),
    /// The rule does not apply to the store; the text says why.
    NotApplicable(String),
}

/// Result of one step of a rule. Its error is the verdict on the whole rule.
pub(super) type Checked<T = ()> = Result<T, Failed>;

/// The verdict on a rule of which one step failed.
pub(super) struct Failed(pub(super) Verdict);

/// An error of the store breaks the rule.
impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        let causes = std::iter::successors(error.source(), |error| (*error).source());
        let mut seen = causes.fold(error.to_string(), |seen, cause| format!("{seen}: {cause}"));
        if error.kind() == StoreErrorKind::Unsupported {
            seen.push_str("; if the store has no index of owners, return false from `Fixture::has_owners`");
            seen.push_str(", and if it cannot list its records, from `Fixture::has_listing`");
        }
        Self(Verdict::Broken(seen))
    }
}

pub(super) fn broken<T>(seen: impl Into<String>) -> Checked<T> {
    Err(Failed(Verdict::Broken(seen.into())))
}

/// Breaks the rule with this description unless the condition holds.
pub(super) fn ensure(holds: bool, seen: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { broken(seen()) }
}
