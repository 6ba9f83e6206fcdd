//! What came of trying all rules.

use std::fmt;

use super::rule::{Rule, Verdict, announce};

/// What came of trying every rule on a store. Prints as a list, with a line of totals at its end.
#[derive(Clone, Debug)]
#[must_use = "a report that nobody reads finds nothing"]
pub struct Report(Vec<Finding>);

/// What came of trying one rule.
#[derive(Clone, Debug)]
pub struct Finding {
    rule: Rule,
    verdict: Verdict,
}

impl Report {
    pub(super) fn new(findings: Vec<Finding>) -> Self {
        Self(findings)
    }

    /// What was found on each rule.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.0
    }

    /// The rules that the store breaks.
    pub fn broken(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter().filter(|finding| matches!(finding.verdict, Verdict::Broken(_)))
    }

    /// The rules that do not apply to the store.
    pub fn not_applicable(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter().filter(|finding| matches!(finding.verdict, Verdict::NotApplicable(_)))
    }

    /// Says on the standard error which rules do not apply.
    ///
    /// # Panics
    ///
    /// Where a rule is broken: with all that are, and what was seen.
    pub fn assert(&self) {
        for finding in self.not_applicable() {
            announce(&finding.to_string());
        }
        let broken: Vec<String> = self.broken().map(Finding::to_string).collect();
        assert!(
            broken.is_empty(),
            "the store breaks {} of {} rules\n{}",
            broken.len(),
            self.0.len(),
            broken.join("\n")
        );
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.0 {
            writeln!(f, "{finding}")?;
        }
        let (broken, not_applicable) = (self.broken().count(), self.not_applicable().count());
        let kept = self.0.len() - broken - not_applicable;
        write!(f, "{kept} rules kept, {broken} broken, {not_applicable} not applicable")
    }
}

impl Finding {
    pub(super) fn new(rule: Rule, verdict: Verdict) -> Self {
        Self { rule, verdict }
    }

    /// The rule.
    #[must_use]
    pub const fn rule(&self) -> Rule {
        self.rule
    }

    /// What came of trying it.
    pub const fn verdict(&self) -> &Verdict {
        &self.verdict
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verdict {
            Verdict::Kept => write!(f, "kept            {}", self.rule.name()),
            Verdict::Broken(seen) => write!(f, "BROKEN          {}\n                seen: {seen}", self.rule),
            Verdict::NotApplicable(why) => write!(f, "not applicable  {}: {why}", self.rule.name()),
        }
    }
}
