//! The store's operations, with checks of what they return.

use std::ops::Deref;

use super::verdict::{Checked, broken, ensure};
use crate::record::Record;
use crate::store::{AnyStore, Expected, Outcome, RecordSummary, Store, Touch};
use crate::token::SessionId;

/// A connection to the store under test: its operations, and checks of what they return.
#[derive(Clone)]
pub(super) struct Connection {
    store: AnyStore,
    has_owners: bool,
}

impl Deref for Connection {
    type Target = AnyStore;

    fn deref(&self) -> &AnyStore {
        &self.store
    }
}

impl Connection {
    pub(super) fn new(store: impl Store, has_owners: bool) -> Self {
        Self { store: AnyStore::new(store), has_owners }
    }

    /// Writes a record whose id is free.
    pub(super) async fn create(&self, record: &Record) -> Checked {
        self.set_returns(Outcome::Written, record, Expected::Absent).await
    }

    /// Writes `next` over the stored `record`.
    pub(super) async fn replace(&self, record: &Record, next: &Record) -> Checked {
        self.set_returns(Outcome::Written, next, Expected::Version(record.version())).await
    }

    /// Writes `next` over the stored `record`, whose times stay.
    pub(super) async fn replace_keeping_times(&self, record: &Record, next: &Record) -> Checked {
        self.set_returns(Outcome::Written, next, Expected::VersionKeepingTimes(record.version())).await
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

    /// Checks that a touch returns false.
    pub(super) async fn ignores_touch(&self, record: &Record, touch: Touch) -> Checked {
        let touched = self.touch(record, touch).await?;
        ensure(!touched, || format!("touch of version {} returned true instead of false", version_of(record)))
    }

    /// Deletes a live record, which must return true.
    pub(super) async fn deletes(&self, record: &Record) -> Checked {
        let deleted = self.delete(record.id(), record.owner()).await?;
        ensure(deleted, || "delete of a live record returned false".into())
    }

    /// Checks that a delete returns false.
    pub(super) async fn ignores_delete(&self, record: &Record) -> Checked {
        let deleted = self.delete(record.id(), record.owner()).await?;
        ensure(!deleted, || "delete of an absent record returned true".into())
    }

    /// Deletes an owner's sessions, which must be exactly these.
    pub(super) async fn deletes_owned_by(
        &self,
        owner: &str,
        realm: Option<&str>,
        keep: Option<&SessionId>,
        due: &[Record],
    ) -> Checked {
        are_ids_of(&self.delete_owned_by(owner, realm, keep).await?, due)?;
        self.lacks_all(due).await
    }

    /// Checks that the owner has the ids of these sessions, of one realm or all, and no other.
    pub(super) async fn has_ids<'a>(
        &self,
        owner: &str,
        realm: Option<&str>,
        due: impl IntoIterator<Item = &'a Record>,
    ) -> Checked {
        let due: Vec<&Record> = due.into_iter().collect();
        are_ids_in_order(&self.ids_of(owner, realm).await?, &due)
    }

    /// Checks the summaries of these ids; `None` is due for an absent record.
    pub(super) async fn summarizes(&self, ids: &[SessionId], due: &[Option<&Record>]) -> Checked {
        let seen = self.summaries_of(ids).await?;
        let due: Vec<_> = due.iter().map(|record| record.map(RecordSummary::from)).collect();
        let right = seen.iter().zip(&due).take_while(|(seen, due)| seen == due).count();
        ensure(seen == due, || {
            let wrong = seen.get(right).zip(due.get(right)).map(|(seen, due)| format!("{seen:?} instead of {due:?}"));
            let (answers, due, wrong) = (seen.len(), due.len(), wrong.unwrap_or_default());
            format!("summaries_of returned {answers} answers to {due} ids, the first {right} of them right; {wrong}")
        })
    }

    /// Returns the live record of this id.
    pub(super) async fn live(&self, id: &SessionId) -> Checked<Record> {
        let seen = self.get(id).await?;
        seen.map_or_else(|| broken("get returned nothing for a live record"), Ok)
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

    /// Checks that none of these records is stored.
    pub(super) async fn lacks_all(&self, records: &[Record]) -> Checked {
        for record in records {
            self.lacks(record.id()).await?;
        }
        Ok(())
    }

    /// Checks that the owner has these sessions and no other, in order of id. A store without owners passes.
    pub(super) async fn lists<'a>(&self, owner: &str, due: impl IntoIterator<Item = &'a Record>) -> Checked {
        if !self.has_owners {
            return Ok(());
        }
        let mut due: Vec<&Record> = due.into_iter().collect();
        due.sort_unstable_by_key(|record| *record.id());
        let seen = self.owned_by(owner).await?;
        let right = seen.iter().zip(&due).take_while(|(seen, due)| seen == *due).count();
        ensure(right == seen.len() && right == due.len(), || {
            let wrong = seen.get(right).zip(due.get(right)).map(|(seen, due)| differences(seen, due));
            let (listed, due, wrong) = (seen.len(), due.len(), wrong.unwrap_or_default());
            format!("owned_by listed {listed} sessions instead of {due}, the first {right} of them right; {wrong}")
        })
    }
}

/// Checks that these are the ids of the records, in ascending order.
pub(super) fn are_ids_in_order(seen: &[SessionId], due: &[&Record]) -> Checked {
    let mut due: Vec<_> = due.iter().map(|record| *record.id()).collect();
    due.sort_unstable();
    let right = seen.iter().zip(&due).take_while(|(seen, due)| seen == due).count();
    ensure(seen == due, || {
        format!("ids_of returned {} ids instead of {}, the first {right} of them right", seen.len(), due.len())
    })
}

/// Checks that `delete_owned_by` has returned the ids of these records, each once.
pub(super) fn are_ids_of(deleted: &[SessionId], due: &[Record]) -> Checked {
    let mut deleted = deleted.to_vec();
    let mut due: Vec<_> = due.iter().map(|record| *record.id()).collect();
    deleted.sort_unstable();
    due.sort_unstable();
    ensure(deleted == due, || {
        let right = deleted.iter().filter(|id| due.contains(id)).count();
        format!("delete_owned_by returned {} ids instead of {}, {right} of them right", deleted.len(), due.len())
    })
}

pub(super) fn version_of(record: &Record) -> u64 {
    record.version().get()
}

/// Describes the fields in which two records differ.
pub(super) fn differences(seen: &Record, due: &Record) -> String {
    let fields = |record: &Record| {
        [
            ("id", record.id().to_string()),
            ("version", version_of(record).to_string()),
            ("realm", record.realm().to_owned()),
            ("owner", format!("{:?}", record.owner())),
            ("last seen", record.last_seen().to_string()),
            ("expiry", record.expires_at().to_string()),
        ]
    };
    let pairs = fields(seen).into_iter().zip(fields(due)).filter(|(seen, due)| seen != due);
    let mut differences: Vec<_> =
        pairs.map(|((field, seen), (_, due))| format!("{field} was {seen} instead of {due}")).collect();
    if seen.state() != due.state() {
        let (length, due_length) = (seen.state().len(), due.state().len());
        let same = seen.state().iter().zip(due.state()).take_while(|(seen, due)| seen == due).count();
        differences.push(format!("state has {length} bytes instead of {due_length}, the first {same} of them equal"));
    }
    differences.join("; ")
}
