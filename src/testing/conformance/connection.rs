//! The store's operations, with checks of what they return.

use std::error::Error;
use std::fmt::Write;

use super::verdict::{Checked, Verdict, broken, ensure};
use crate::error::{StoreError, StoreErrorKind};
use crate::record::Record;
use crate::store::{AnyStore, Expected, Outcome, Store, Touch};
use crate::token::SessionId;

/// A connection to the store under test. An error of the store breaks the rule.
#[derive(Clone)]
pub(super) struct Connection {
    store: AnyStore,
    has_owners: bool,
}

impl Connection {
    pub(super) fn new(store: impl Store, has_owners: bool) -> Self {
        Self { store: AnyStore::new(store), has_owners }
    }

    /// The store itself, for a rule that expects an error.
    pub(super) fn store(&self) -> &AnyStore {
        &self.store
    }

    pub(super) async fn get(&self, id: &SessionId) -> Checked<Option<Record>> {
        self.store.get(id).await.map_err(|error| failed("get", &error))
    }

    pub(super) async fn set(&self, record: &Record, expected: Expected) -> Checked<Outcome> {
        self.store.set(record, expected).await.map_err(|error| failed("set", &error))
    }

    pub(super) async fn touch(&self, record: &Record, touch: Touch) -> Checked<bool> {
        self.store.touch(record, touch).await.map_err(|error| failed("touch", &error))
    }

    pub(super) async fn delete(&self, id: &SessionId, owner: Option<&str>) -> Checked<bool> {
        self.store.delete(id, owner).await.map_err(|error| failed("delete", &error))
    }

    pub(super) async fn owned_by(&self, owner: &str) -> Checked<Vec<Record>> {
        self.store.owned_by(owner).await.map_err(|error| failed("owned_by", &error))
    }

    pub(super) async fn delete_expired(&self) -> Checked<u64> {
        self.store.delete_expired().await.map_err(|error| failed("delete_expired", &error))
    }

    /// Waits between two attempts of a write.
    pub(super) async fn back_off(&self, attempt: u32) {
        self.store.back_off(attempt).await;
    }

    /// Writes a record whose id is free.
    pub(super) async fn create(&self, record: &Record) -> Checked {
        self.set_returns(Outcome::Written, record, Expected::Absent).await
    }

    /// Writes `next` over the stored `record`.
    pub(super) async fn replace(&self, record: &Record, next: &Record) -> Checked {
        self.set_returns(Outcome::Written, next, Expected::Version(record.version())).await
    }

    /// Checks that a set is refused.
    pub(super) async fn refuses(&self, record: &Record, expected: Expected) -> Checked {
        self.set_returns(Outcome::Refused, record, expected).await
    }

    async fn set_returns(&self, due: Outcome, record: &Record, expected: Expected) -> Checked {
        let outcome = self.set(record, expected).await?;
        ensure(outcome == due, || format!("set with {expected:?} returned {outcome:?} instead of {due:?}"))
    }

    /// Touches a live record, which must return true.
    pub(super) async fn touches(&self, record: &Record, touch: Touch) -> Checked {
        let touched = self.touch(record, touch).await?;
        ensure(touched, || format!("touch of a live record at version {} returned false", version_of(record)))
    }

    /// Checks that a touch of this record, described by `what`, returns false.
    pub(super) async fn ignores_touch(&self, record: &Record, touch: Touch, what: &str) -> Checked {
        let touched = self.touch(record, touch).await?;
        ensure(!touched, || format!("touch of {what} returned true"))
    }

    /// Deletes a live record, which must return true.
    pub(super) async fn deletes(&self, record: &Record) -> Checked {
        let deleted = self.delete(record.id(), record.owner()).await?;
        ensure(deleted, || "delete of a live record returned false".into())
    }

    /// Checks that a delete of this record, described by `what`, returns false.
    pub(super) async fn ignores_delete(&self, record: &Record, what: &str) -> Checked {
        let deleted = self.delete(record.id(), record.owner()).await?;
        ensure(!deleted, || format!("delete of {what} returned true"))
    }

    /// Returns the live record of this id.
    pub(super) async fn live(&self, id: &SessionId) -> Checked<Record> {
        match self.get(id).await? {
            Some(seen) => Ok(seen),
            None => broken("get returned nothing for a live record"),
        }
    }

    /// Checks that exactly this record is stored.
    pub(super) async fn holds(&self, due: &Record) -> Checked {
        let seen = self.live(due.id()).await?;
        ensure(seen == *due, || format!("get returned a different record: {}", differences(&seen, due)))
    }

    /// Checks that no record has this id.
    pub(super) async fn lacks(&self, id: &SessionId) -> Checked {
        let seen = self.get(id).await?;
        ensure(seen.is_none(), || format!("get returned {seen:?} for an absent record"))
    }

    /// Checks that the owner has these sessions and no other, in order of id. A store without owners passes.
    pub(super) async fn lists<'a>(&self, owner: &str, due: impl IntoIterator<Item = &'a Record>) -> Checked {
        if !self.has_owners {
            return Ok(());
        }
        let mut due: Vec<&Record> = due.into_iter().collect();
        due.sort_unstable_by_key(|record| *record.id());
        let seen = self.owned_by(owner).await?;
        if !seen.iter().map(Record::id).eq(due.iter().map(|record| record.id())) {
            let missing = due.iter().filter(|due| !seen.iter().any(|seen| seen.id() == due.id())).count();
            let extra = seen.iter().filter(|seen| !due.iter().any(|due| seen.id() == due.id())).count();
            let order = if missing + extra == 0 { ", in the wrong order or repeated" } else { "" };
            let (listed, due) = (seen.len(), due.len());
            return broken(format!(
                "owned_by listed {listed} sessions instead of {due}: {missing} missing, {extra} unexpected{order}"
            ));
        }
        for (seen, due) in seen.iter().zip(due) {
            ensure(seen == due, || format!("owned_by listed a different record: {}", differences(seen, due)))?;
        }
        Ok(())
    }
}

pub(super) fn version_of(record: &Record) -> u64 {
    record.version().get()
}

/// Describes the fields in which two records differ.
pub(super) fn differences(seen: &Record, due: &Record) -> String {
    let mut differences = Vec::new();
    let mut compare = |field: &str, seen: String, due: String| {
        if seen != due {
            differences.push(format!("{field} was {seen} instead of {due}"));
        }
    };
    compare("id", seen.id().to_string(), due.id().to_string());
    compare("version", version_of(seen).to_string(), version_of(due).to_string());
    compare("owner", short(seen.owner()), short(due.owner()));
    compare("last seen", seen.last_seen().to_string(), due.last_seen().to_string());
    compare("expiry", seen.expires_at().to_string(), due.expires_at().to_string());
    if seen.state() != due.state() {
        let (length, due_length) = (seen.state().len(), due.state().len());
        let same = seen.state().iter().zip(due.state()).take_while(|(seen, due)| seen == due).count();
        differences.push(format!("state has {length} bytes instead of {due_length}, the first {same} of them equal"));
    }
    differences.join("; ")
}

fn short(owner: Option<&str>) -> String {
    match owner {
        Some(owner) if owner.len() > 80 => format!("an owner of {} bytes", owner.len()),
        owner => format!("{owner:?}"),
    }
}

fn failed(operation: &str, error: &StoreError) -> Verdict {
    let mut seen = format!("{operation} failed: {error}");
    let mut source = error.source();
    while let Some(error) = source {
        let _ = write!(seen, ": {error}");
        source = error.source();
    }
    if error.kind() == StoreErrorKind::Unsupported && operation == "owned_by" {
        seen.push_str("; if the store has no index of owners, return false from `Fixture::has_owners`");
    }
    Verdict::Broken(seen)
}
