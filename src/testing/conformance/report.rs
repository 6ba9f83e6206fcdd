//! The results of all rules.

use std::fmt;

use super::rules::{Rule, print};
use super::verdict::Verdict;

/// Results of all rules on a store. Prints as a list that ends with totals.
#[derive(Clone, Debug)]
#[must_use = "a report has no effect unless it is read; call `assert` to fail on broken rules"]
pub struct Report(pub(super) Vec<Finding>);

/// Result of one rule on a store.
#[derive(Clone, Debug)]
pub struct Finding {
    pub(super) rule: Rule,
    pub(super) verdict: Verdict,
}

impl Report {
    /// Returns the results of all rules.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.0
    }

    /// Returns the rules that the store breaks.
    pub fn broken(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter().filter(|finding| matches!(finding.verdict, Verdict::Broken(_)))
    }

    /// Returns the rules that do not apply to the store.
    pub fn not_applicable(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter().filter(|finding| matches!(finding.verdict, Verdict::NotApplicable(_)))
    }

    /// Panics if a rule is broken. Prints the rules that do not apply on the standard error.
    ///
    /// # Panics
    ///
    /// If the store breaks a rule: with each broken rule and how the store breaks it.
    pub fn assert(&self) {
        for finding in self.not_applicable() {
            print(&finding.to_string());
        }
        let broken: Vec<String> = self.broken().map(Finding::to_string).collect();
        let (count, rules) = (broken.len(), self.0.len());
        assert!(broken.is_empty(), "the store breaks {count} of {rules} rules\n{}", broken.join("\n"));
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
    /// Returns the rule.
    #[must_use]
    pub const fn rule(&self) -> Rule {
        self.rule
    }

    /// Returns the result of the rule.
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
