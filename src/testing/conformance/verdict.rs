//! The result of checking a rule.

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
pub(super) type Checked<T = ()> = Result<T, Verdict>;

pub(super) fn broken<T>(seen: impl Into<String>) -> Checked<T> {
    Err(Verdict::Broken(seen.into()))
}

/// Breaks the rule with this description unless the condition holds.
pub(super) fn ensure(holds: bool, seen: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { broken(seen()) }
}
