//! A store's operations, each with what must come of it.

use std::error::Error as _;
use std::fmt::Write;
use std::sync::Arc;

use super::trial::version_of;
use crate::error::{StoreError, StoreErrorKind};
use crate::record::Record;
use crate::store::{Expected, Outcome, Store, Touch};
use crate::token::SessionId;

/// Why a rule stops before its end.
#[derive(Debug)]
pub(super) enum Stop {
    Broken(String),
    NotApplicable(String),
}

pub(super) type Checked<T = ()> = Result<T, Stop>;

/// Breaks the rule, with what was seen, unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($seen:tt)+) => {
        if !$condition {
            return Err($crate::testing::conformance::probe::Stop::Broken(format!($($seen)+)));
        }
    };
}
pub(super) use ensure;

/// One way to the data of a store.
pub(super) struct Probe<S>(Arc<S>);

impl<S: Store> Probe<S> {
    pub(super) fn new(store: S) -> Self {
        Self(Arc::new(store))
    }

    pub(super) fn store(&self) -> &S {
        &self.0
    }

    pub(super) async fn get(&self, id: &SessionId) -> Checked<Option<Record>> {
        self.0.get(id).await.map_err(|error| failed("get", &error))
    }

    pub(super) async fn set(&self, record: &Record, expected: Expected) -> Checked<Outcome> {
        self.0.set(record, expected).await.map_err(|error| failed("set", &error))
    }

    pub(super) async fn touch(&self, record: &Record, touch: Touch) -> Checked<bool> {
        self.0.touch(record, touch).await.map_err(|error| failed("touch", &error))
    }

    pub(super) async fn delete(&self, id: &SessionId) -> Checked<bool> {
        self.0.delete(id, None).await.map_err(|error| failed("delete", &error))
    }

    pub(super) async fn owned_by(&self, owner: &str) -> Checked<Vec<Record>> {
        self.0.owned_by(owner).await.map_err(|error| failed("owned_by", &error))
    }

    pub(super) async fn delete_expired(&self) -> Checked<u64> {
        self.0.delete_expired().await.map_err(|error| failed("delete_expired", &error))
    }

    /// Writes a record whose id is free.
    pub(super) async fn create(&self, record: &Record) -> Checked {
        self.writes(record, Expected::Absent).await
    }

    /// Writes `next` over `record`, which is stored.
    pub(super) async fn replace(&self, record: &Record, next: &Record) -> Checked {
        self.writes(next, Expected::Version(record.version())).await
    }

    pub(super) async fn writes(&self, record: &Record, expected: Expected) -> Checked {
        let outcome = self.set(record, expected).await?;
        ensure!(outcome == Outcome::Written, "set, {}, answered {outcome:?}; Written was due", told(expected));
        Ok(())
    }

    pub(super) async fn refuses(&self, record: &Record, expected: Expected) -> Checked {
        let outcome = self.set(record, expected).await?;
        ensure!(outcome == Outcome::Refused, "set, {}, answered {outcome:?}; Refused was due", told(expected));
        Ok(())
    }

    pub(super) async fn touches(&self, record: &Record, touch: Touch) -> Checked {
        let touched = self.touch(record, touch).await?;
        ensure!(touched, "touch of a live record of version {} answered false", version_of(record));
        Ok(())
    }

    pub(super) async fn deletes(&self, id: &SessionId) -> Checked {
        ensure!(self.delete(id).await?, "delete of a live record answered false");
        Ok(())
    }

    /// The record is stored, and just so.
    pub(super) async fn holds(&self, due: &Record) -> Checked {
        let seen = self.live(due.id()).await?;
        ensure!(seen == *due, "get found another record than was due: {}", differences(&seen, due));
        Ok(())
    }

    /// The record of this id, which must be there.
    pub(super) async fn live(&self, id: &SessionId) -> Checked<Record> {
        let Some(seen) = self.get(id).await? else {
            return Err(Stop::Broken("get found nothing where a live record was due".into()));
        };
        Ok(seen)
    }

    /// Nothing is stored under this id.
    pub(super) async fn lacks(&self, id: &SessionId) -> Checked {
        if let Some(seen) = self.get(id).await? {
            return Err(Stop::Broken(format!("get found {seen:?} where nothing was due")));
        }
        Ok(())
    }

    /// The owner has these sessions, in the order of their ids, and no other.
    pub(super) async fn lists<'a>(&self, owner: &str, due: impl IntoIterator<Item = &'a Record>) -> Checked {
        let mut due: Vec<&Record> = due.into_iter().collect();
        due.sort_unstable_by_key(|record| *record.id());
        let seen = self.owned_by(owner).await?;
        let (seen_ids, due_ids): (Vec<_>, Vec<_>) =
            (seen.iter().map(Record::id).collect(), due.iter().map(|record| record.id()).collect());
        if seen_ids != due_ids {
            let missing = due_ids.iter().filter(|id| !seen_ids.contains(id)).count();
            let extra = seen_ids.iter().filter(|id| !due_ids.contains(id)).count();
            let order =
                if missing + extra == 0 { "all due, but out of order or more than once" } else { "not those due" };
            return Err(Stop::Broken(format!(
                "owned_by listed {} sessions where {} were due: {order}; {missing} were missing, {extra} too many",
                seen.len(),
                due.len()
            )));
        }
        for (seen, due) in seen.iter().zip(due) {
            ensure!(seen == due, "owned_by listed another record than was due: {}", differences(seen, due));
        }
        Ok(())
    }
}

impl<S> Clone for Probe<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// What is not the same in two records, part by part.
pub(super) fn differences(seen: &Record, due: &Record) -> String {
    let mut text = String::new();
    let mut part = |name: &str, seen: String, due: String| {
        if seen != due {
            let _ = write!(text, "{}{name} was {seen} and should be {due}", if text.is_empty() { "" } else { "; " });
        }
    };
    part("id", seen.id().to_string(), due.id().to_string());
    part("version", version_of(seen).to_string(), version_of(due).to_string());
    part("owner", brief(seen.owner()), brief(due.owner()));
    part("last seen", seen.last_seen().to_string(), due.last_seen().to_string());
    part("expiry", seen.expires_at().to_string(), due.expires_at().to_string());
    if seen.state() != due.state() {
        let (length, due_length) = (seen.state().len(), due.state().len());
        let same = seen.state().iter().zip(due.state()).take_while(|(seen, due)| seen == due).count();
        part(
            "state",
            format!("{length} bytes, the same up to byte {same},"),
            format!("{due_length} bytes, of which all matter"),
        );
    }
    text
}

fn brief(owner: Option<&str>) -> String {
    match owner {
        Some(owner) if owner.len() > 80 => format!("an owner of {} bytes", owner.len()),
        owner => format!("{owner:?}"),
    }
}

fn told(expected: Expected) -> String {
    match expected {
        Expected::Absent => "expecting nothing".into(),
        Expected::Version(version) => format!("expecting version {}", version.get()),
    }
}

fn failed(operation: &str, error: &StoreError) -> Stop {
    let mut seen = format!("{operation} failed: {error}");
    let mut source = error.source();
    while let Some(error) = source {
        let _ = write!(seen, ": {error}");
        source = error.source();
    }
    if error.kind() == StoreErrorKind::Unsupported && operation == "owned_by" {
        seen.push_str(" (a store without an index of owners says so in its fixture)");
    }
    Stop::Broken(seen)
}
