//! A rule, and what came of trying it.

use std::any::Any;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

use tokio::sync::RwLock;

use super::fixture::Fixture;
use super::probe::{Checked, Stop};
use super::rules::{RULES, start};
use super::trial::Trial;

/// One rule of the contract of a [`Store`](crate::store::Store).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    pub(super) name: &'static str,
    pub(super) sentence: &'static str,
    pub(super) module: &'static str,
}

/// What came of trying a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub enum Verdict {
    /// The store keeps the rule.
    Kept,
    /// It does not; this was seen.
    Broken(String),
    /// The rule is about something that this store does not do, for this reason.
    NotApplicable(String),
}

/// Every rule, in the order of the list.
#[must_use]
pub fn rules() -> &'static [Rule] {
    RULES
}

/// Keeps those that count apart from everybody else in this process.
static ALONE: RwLock<()> = RwLock::const_new(());

impl Rule {
    /// The rule of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        RULES.iter().find(|rule| rule.name == name).copied()
    }

    /// The name, in snake case: `set_of_a_version_revives_nothing`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The rule, in a sentence.
    #[must_use]
    pub const fn sentence(&self) -> &'static str {
        self.sentence
    }

    /// Tries this rule on the store. A store that panics breaks it.
    pub async fn check<F: Fixture>(&self, fixture: &F) -> Verdict {
        let (_one, _many);
        if self.is_alone() {
            _one = ALONE.write().await;
        } else {
            _many = ALONE.read().await;
        }
        let trial = Trial::open(fixture).await;
        let checked = caught(start(self.name, &trial)).await;
        let _ = caught(Box::pin(trial.clean_up())).await;
        match checked {
            Ok(()) => Verdict::Kept,
            Err(Stop::Broken(seen)) => Verdict::Broken(seen),
            Err(Stop::NotApplicable(why)) => Verdict::NotApplicable(why),
        }
    }

    /// Tries this rule on the store. Says so on the standard error where it does not apply.
    ///
    /// # Panics
    ///
    /// Where it is broken: with the rule and what was seen.
    pub async fn assert<F: Fixture>(&self, fixture: &F) {
        match self.check(fixture).await {
            Verdict::Kept => {}
            Verdict::Broken(seen) => panic!("the store breaks a rule\n{self}\n  seen: {seen}"),
            Verdict::NotApplicable(why) => announce(&format!("not applicable: {}: {why}", self.name)),
        }
    }

    pub(super) fn is_alone(&self) -> bool {
        matches!(self.module, "round_trips" | "sweeping")
    }
}

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

/// Writes a line that is seen also where the output of tests that pass is not shown.
pub(super) fn announce(line: &str) {
    // Whether anybody listens is no concern of the rules.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Runs a rule; a panic becomes what was seen.
async fn caught(mut rule: Pin<Box<dyn Future<Output = Checked> + Send + '_>>) -> Checked {
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| rule.as_mut().poll(context))) {
        Ok(poll) => poll,
        Err(payload) => Poll::Ready(Err(Stop::Broken(format!("a panic: {}", message(&*payload))))),
    })
    .await
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}
