//! Kinds of defects. Most replace one operation by a function; others keep state or have several steps.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sessile::SessionId;

use sessile::store::{
    Cursor, Expected, Outcome, Page, Record, RecordParts, RecordSummary, StoreError, StoreErrorKind, Touch, Version,
};
use time::OffsetDateTime;
use tokio::task::yield_now;

pub(crate) use crate::plain::changed;
use crate::plain::{Answer, Defect, Plain};

/// Replaces get.
#[derive(Clone)]
pub(crate) struct Get(pub(crate) fn(&Plain, &SessionId) -> Option<Record>);

impl Defect for Get {
    async fn get(&self, plain: &Plain, id: &SessionId) -> Answer<Option<Record>> {
        Ok(plain.round_trip(|plain| (self.0)(plain, id)).await)
    }
}

/// Replaces set.
#[derive(Clone)]
pub(crate) struct Set(pub(crate) fn(&Plain, &Record, Expected) -> Outcome);

impl Defect for Set {
    async fn set(&self, plain: &Plain, record: &Record, expected: Expected) -> Answer<Outcome> {
        Ok(plain.round_trip(|plain| (self.0)(plain, record, expected)).await)
    }
}

/// Changes each record before set writes it.
#[derive(Clone)]
pub(crate) struct Writes(pub(crate) fn(&mut RecordParts));

impl Defect for Writes {
    async fn set(&self, plain: &Plain, record: &Record, expected: Expected) -> Answer<Outcome> {
        let record = changed(record, self.0);
        plain.set(&record, expected).await
    }
}

/// Replaces set with `VersionKeepingTimes`; other sets are right.
#[derive(Clone)]
pub(crate) struct SetsKeepingTimes(pub(crate) fn(&Plain, &Record, Version) -> Outcome);

impl Defect for SetsKeepingTimes {
    async fn set(&self, plain: &Plain, record: &Record, expected: Expected) -> Answer<Outcome> {
        let Expected::VersionKeepingTimes(version) = expected else { return plain.set(record, expected).await };
        Ok(plain.round_trip(|plain| (self.0)(plain, record, version)).await)
    }
}

/// Replaces touch.
#[derive(Clone)]
pub(crate) struct Touches(pub(crate) fn(&Plain, &Record, Touch) -> bool);

impl Defect for Touches {
    async fn touch(&self, plain: &Plain, record: &Record, touch: Touch) -> Answer<bool> {
        Ok(plain.round_trip(|plain| (self.0)(plain, record, touch)).await)
    }
}

/// Replaces delete.
#[derive(Clone)]
pub(crate) struct Deletes(pub(crate) fn(&Plain, &SessionId, Option<&str>) -> bool);

impl Defect for Deletes {
    async fn delete(&self, plain: &Plain, id: &SessionId, owner: Option<&str>) -> Answer<bool> {
        Ok(plain.round_trip(|plain| (self.0)(plain, id, owner)).await)
    }
}

/// Replaces owned_by.
#[derive(Clone)]
pub(crate) struct Lists(pub(crate) fn(&Plain, &str) -> Vec<Record>);

impl Defect for Lists {
    async fn owned_by(&self, plain: &Plain, owner: &str) -> Answer<Vec<Record>> {
        Ok(plain.round_trip(|plain| (self.0)(plain, owner)).await)
    }
}

/// Replaces the comparison of the stored owner with the requested one in owned_by.
#[derive(Clone)]
pub(crate) struct Compares(pub(crate) fn(&str, &str) -> bool);

impl Defect for Compares {
    async fn owned_by(&self, plain: &Plain, owner: &str) -> Answer<Vec<Record>> {
        let mut owned = plain.round_trip(Plain::all_live).await;
        owned.retain(|record| record.owner().is_some_and(|stored| (self.0)(stored, owner)));
        Ok(owned)
    }
}

/// Replaces delete_owned_by.
#[derive(Clone)]
pub(crate) struct DeletesOwned(pub(crate) fn(&Plain, &str, Option<&str>, Option<&SessionId>) -> Vec<SessionId>);

impl Defect for DeletesOwned {
    async fn delete_owned_by(
        &self,
        plain: &Plain,
        owner: &str,
        realm: Option<&str>,
        keep: Option<&SessionId>,
    ) -> Answer<Vec<SessionId>> {
        Ok(plain.round_trip(|plain| (self.0)(plain, owner, realm, keep)).await)
    }
}

/// Lists the sessions of an owner, and then deletes them in a second step.
#[derive(Clone)]
pub(crate) struct ListsThenDeletes;

impl Defect for ListsThenDeletes {
    async fn delete_owned_by(
        &self,
        plain: &Plain,
        owner: &str,
        realm: Option<&str>,
        keep: Option<&SessionId>,
    ) -> Answer<Vec<SessionId>> {
        let mut listed = plain.owned_by(owner).await?;
        listed.retain(|record| realm.is_none_or(|realm| realm == record.realm()) && keep != Some(record.id()));
        plain.delete_owned_by(owner, realm, keep).await?;
        Ok(listed.iter().map(|record| *record.id()).collect())
    }
}

/// Deletes the listed versions of an owner's sessions.
#[derive(Clone)]
pub(crate) struct DeletesListedVersions;

impl Defect for DeletesListedVersions {
    async fn delete_owned_by(
        &self,
        plain: &Plain,
        owner: &str,
        realm: Option<&str>,
        keep: Option<&SessionId>,
    ) -> Answer<Vec<SessionId>> {
        let mut listed = plain.owned_by(owner).await?;
        listed.retain(|record| realm.is_none_or(|realm| realm == record.realm()) && keep != Some(record.id()));
        let delete = |plain: &Plain| {
            listed.retain(|record| plain.live(record.id()).is_some_and(|live| live.version() == record.version()));
            listed.iter().filter_map(|record| Some(*plain.remove(record.id())?.id())).collect()
        };
        Ok(plain.round_trip(delete).await)
    }
}

/// Deletes one session of an owner after another, as the provided method does.
#[derive(Clone)]
pub(crate) struct DeletesOneByOne;

impl Defect for DeletesOneByOne {
    async fn delete_owned_by(
        &self,
        plain: &Plain,
        owner: &str,
        realm: Option<&str>,
        keep: Option<&SessionId>,
    ) -> Answer<Vec<SessionId>> {
        let mut deleted = Vec::new();
        for record in plain.owned_by(owner).await? {
            let is_meant = realm.is_none_or(|realm| realm == record.realm()) && keep != Some(record.id());
            if is_meant && plain.delete(record.id()).await? {
                deleted.push(*record.id());
            }
        }
        Ok(deleted)
    }
}

/// Replaces ids_of.
#[derive(Clone)]
pub(crate) struct Ids(pub(crate) fn(&Plain, &str, Option<&str>) -> Vec<SessionId>);

impl Defect for Ids {
    async fn ids_of(&self, plain: &Plain, owner: &str, realm: Option<&str>) -> Answer<Vec<SessionId>> {
        Ok(plain.round_trip(|plain| (self.0)(plain, owner, realm)).await)
    }
}

/// Replaces summaries_of.
#[derive(Clone)]
pub(crate) struct Summarizes(pub(crate) fn(&Plain, &[SessionId]) -> Vec<Option<RecordSummary>>);

impl Defect for Summarizes {
    async fn summaries_of(&self, plain: &Plain, ids: &[SessionId]) -> Answer<Vec<Option<RecordSummary>>> {
        Ok(plain.round_trip(|plain| (self.0)(plain, ids)).await)
    }
}

/// Replaces list.
#[derive(Clone)]
pub(crate) struct Pages(pub(crate) fn(&Plain, Option<&Cursor>, usize) -> Page);

impl Defect for Pages {
    async fn list(&self, plain: &Plain, after: Option<&Cursor>, limit: usize) -> Answer<Page> {
        Ok(plain.round_trip(|plain| (self.0)(plain, after, limit)).await)
    }
}

/// Lists in the order of a text, and the cursor is the text of the last record: a change of it moves the record.
#[derive(Clone)]
pub(crate) struct PagesInOrderOf(pub(crate) fn(&Record) -> String);

impl Defect for PagesInOrderOf {
    async fn list(&self, plain: &Plain, after: Option<&Cursor>, limit: usize) -> Answer<Page> {
        let mut live = plain.round_trip(Plain::all_live).await;
        let text = |record: &Record| format!("{} {}", (self.0)(record), record.id());
        live.retain(|record| after.is_none_or(|after| *after.as_str() < *text(record)));
        live.sort_by_key(text);
        let records: Vec<_> = live.iter().take(limit.max(1)).cloned().collect();
        let next = records.last().filter(|_| records.len() < live.len()).map(|last| Cursor::new(text(last)));
        Ok(Page { records, next })
    }
}

/// Keeps the position of a listing in the connection instead of the cursor; a connection without one has no more pages.
#[derive(Clone, Default)]
pub(crate) struct RemembersPositions(Arc<Mutex<Option<Cursor>>>);

impl Defect for RemembersPositions {
    async fn list(&self, plain: &Plain, after: Option<&Cursor>, limit: usize) -> Answer<Page> {
        let position = after.and_then(|_| self.0.lock().unwrap().clone());
        if after.is_some() && position.is_none() {
            return Ok(Page { records: Vec::new(), next: None });
        }
        let page = plain.list(position.as_ref(), limit).await?;
        self.0.lock().unwrap().clone_from(&page.next);
        Ok(Page { next: page.next.map(|_| Cursor::new("next")), ..page })
    }

    fn another(&self) -> Self {
        Self::default()
    }
}

/// Replaces count.
#[derive(Clone)]
pub(crate) struct Counts(pub(crate) fn(&Plain) -> u64);

impl Defect for Counts {
    async fn count(&self, plain: &Plain) -> Answer<u64> {
        Ok(plain.round_trip(self.0).await)
    }
}

/// Deletes a record when it is asked whether it works.
#[derive(Clone)]
pub(crate) struct DeletesOnPing;

impl Defect for DeletesOnPing {
    async fn ping(&self, plain: &Plain) -> Answer<()> {
        plain.round_trip(|plain| plain.map(std::collections::BTreeMap::clear)).await;
        Ok(())
    }
}

/// Asks for one record after another, as the provided methods do.
#[derive(Clone)]
pub(crate) struct AsksOneByOne;

impl Defect for AsksOneByOne {
    async fn ids_of(&self, plain: &Plain, owner: &str, realm: Option<&str>) -> Answer<Vec<SessionId>> {
        let mut ids = plain.ids_of(owner, realm).await?;
        for id in std::mem::take(&mut ids) {
            ids.extend(plain.get(&id).await?.map(|record| *record.id()));
        }
        Ok(ids)
    }

    async fn summaries_of(&self, plain: &Plain, ids: &[SessionId]) -> Answer<Vec<Option<RecordSummary>>> {
        let mut summaries = Vec::new();
        for id in ids {
            summaries.push(plain.get(id).await?.as_ref().map(RecordSummary::from));
        }
        Ok(summaries)
    }

    async fn ping(&self, plain: &Plain) -> Answer<()> {
        plain.ping().await?;
        plain.ping().await
    }
}

/// Replaces delete_expired.
#[derive(Clone)]
pub(crate) struct Sweeps(pub(crate) fn(&Plain) -> u64);

impl Defect for Sweeps {
    async fn delete_expired(&self, plain: &Plain) -> Answer<u64> {
        Ok(plain.round_trip(self.0).await)
    }
}

/// Changes each id before it is used as a key.
#[derive(Clone)]
pub(crate) struct ChangesIds(pub(crate) fn(&mut [u8; 16]));

impl ChangesIds {
    fn key(&self, id: &SessionId) -> SessionId {
        let mut bytes = *id.as_uuid().as_bytes();
        (self.0)(&mut bytes);
        uuid::Uuid::from_bytes(bytes).into()
    }
}

impl Defect for ChangesIds {
    async fn get(&self, plain: &Plain, id: &SessionId) -> Answer<Option<Record>> {
        plain.get(&self.key(id)).await
    }

    async fn set(&self, plain: &Plain, record: &Record, expected: Expected) -> Answer<Outcome> {
        let id = self.key(record.id());
        plain.set(&changed(record, |parts| parts.id = id), expected).await
    }
}

/// Reads the record before each operation.
#[derive(Clone)]
pub(crate) struct ReadsFirst;

impl Defect for ReadsFirst {
    async fn get(&self, plain: &Plain, id: &SessionId) -> Answer<Option<Record>> {
        plain.get(id).await?;
        plain.get(id).await
    }

    async fn set(&self, plain: &Plain, record: &Record, expected: Expected) -> Answer<Outcome> {
        plain.get(record.id()).await?;
        plain.set(record, expected).await
    }

    async fn touch(&self, plain: &Plain, record: &Record, touch: Touch) -> Answer<bool> {
        plain.get(record.id()).await?;
        plain.touch(record, touch).await
    }

    async fn delete(&self, plain: &Plain, id: &SessionId, _: Option<&str>) -> Answer<bool> {
        plain.get(id).await?;
        plain.delete(id).await
    }
}

/// Reads, compares and writes in separate steps.
#[derive(Clone)]
pub(crate) struct ReadsThenWrites;

impl Defect for ReadsThenWrites {
    async fn set(&self, plain: &Plain, record: &Record, expected: Expected) -> Answer<Outcome> {
        let found = plain.get(record.id()).await?;
        if found.as_ref().map(Record::version) != expected.version() {
            return Ok(Outcome::Refused);
        }
        let mut record = record.clone();
        if let (Some(found), Expected::VersionKeepingTimes(_)) = (&found, expected) {
            record.keep_times_of(found);
        }
        Ok(plain.round_trip(|plain| plain.put(&record)).await)
    }

    async fn touch(&self, plain: &Plain, record: &Record, touch: Touch) -> Answer<bool> {
        let found = plain.get(record.id()).await?.filter(|found| found.version() == record.version());
        let Some(mut found) = found else { return Ok(false) };
        found.touch(touch);
        let _ = plain.round_trip(|plain| plain.put(&found)).await;
        Ok(true)
    }

    async fn delete(&self, plain: &Plain, id: &SessionId, _: Option<&str>) -> Answer<bool> {
        let found = plain.get(id).await?.is_some();
        plain.delete(id).await?;
        Ok(found)
    }
}

/// Writes in two steps, each of half a record.
#[derive(Clone)]
pub(crate) struct InTwoHalves;

impl Defect for InTwoHalves {
    async fn set(&self, plain: &Plain, record: &Record, expected: Expected) -> Answer<Outcome> {
        let old = plain.held(record.id());
        let half = changed(record, |parts| {
            if let Some(old) = &old {
                parts.state = old.state().into();
            }
        });
        if plain.set(&half, expected).await? == Outcome::Refused {
            return Ok(Outcome::Refused);
        }
        let id = record.id();
        plain
            .round_trip(|plain| {
                let written = plain.live(id).filter(|found| found.version() == record.version());
                written.map(|found| plain.put(&changed(&found, |parts| parts.state = record.state().into())));
            })
            .await;
        Ok(Outcome::Written)
    }

    async fn touch(&self, plain: &Plain, record: &Record, touch: Touch) -> Answer<bool> {
        let half = Touch::new(touch.last_seen, OffsetDateTime::UNIX_EPOCH);
        Ok(plain.touch(record, half).await? && plain.touch(record, touch).await?)
    }

    async fn delete(&self, plain: &Plain, id: &SessionId, _: Option<&str>) -> Answer<bool> {
        plain
            .round_trip(|plain| {
                let emptied = plain.live(id).map(|found| changed(&found, |parts| parts.state = [].into()));
                emptied.map(|emptied| plain.put(&emptied));
            })
            .await;
        plain.delete(id).await
    }

    async fn delete_owned_by(
        &self,
        plain: &Plain,
        owner: &str,
        realm: Option<&str>,
        keep: Option<&SessionId>,
    ) -> Answer<Vec<SessionId>> {
        plain
            .round_trip(|plain| {
                for found in plain.owned_by_now(owner) {
                    plain.change(found.id(), |parts| parts.state = [].into());
                }
            })
            .await;
        plain.delete_owned_by(owner, realm, keep).await
    }
}

/// Caches what each connection reads.
#[derive(Clone, Default)]
pub(crate) struct Caches {
    records: Arc<Mutex<HashMap<SessionId, Record>>>,
    lists: Arc<Mutex<HashMap<String, Vec<Record>>>>,
}

impl Caches {
    fn forget(&self, id: &SessionId) {
        self.records.lock().unwrap().remove(id);
        self.lists.lock().unwrap().clear();
    }
}

impl Defect for Caches {
    async fn get(&self, plain: &Plain, id: &SessionId) -> Answer<Option<Record>> {
        let cached = self.records.lock().unwrap().get(id).cloned();
        if cached.is_some() {
            return Ok(cached);
        }
        let found = plain.get(id).await?;
        if let Some(found) = &found {
            self.records.lock().unwrap().insert(*id, found.clone());
        }
        Ok(found)
    }

    async fn set(&self, plain: &Plain, record: &Record, expected: Expected) -> Answer<Outcome> {
        self.forget(record.id());
        plain.set(record, expected).await
    }

    async fn touch(&self, plain: &Plain, record: &Record, touch: Touch) -> Answer<bool> {
        self.forget(record.id());
        plain.touch(record, touch).await
    }

    async fn delete(&self, plain: &Plain, id: &SessionId, _: Option<&str>) -> Answer<bool> {
        self.forget(id);
        plain.delete(id).await
    }

    async fn owned_by(&self, plain: &Plain, owner: &str) -> Answer<Vec<Record>> {
        let cached = self.lists.lock().unwrap().get(owner).cloned();
        if let Some(cached) = cached {
            return Ok(cached);
        }
        let listed = plain.owned_by(owner).await?;
        self.lists.lock().unwrap().insert(owner.into(), listed.clone());
        Ok(listed)
    }

    async fn ids_of(&self, plain: &Plain, owner: &str, _: Option<&str>) -> Answer<Vec<SessionId>> {
        Ok(self.owned_by(plain, owner).await?.iter().map(|record| *record.id()).collect())
    }

    async fn summaries_of(&self, plain: &Plain, ids: &[SessionId]) -> Answer<Vec<Option<RecordSummary>>> {
        let mut summaries = Vec::new();
        for id in ids {
            summaries.push(self.get(plain, id).await?.as_ref().map(RecordSummary::from));
        }
        Ok(summaries)
    }

    fn another(&self) -> Self {
        Self::default()
    }
}

/// Compares with the version that this connection wrote last instead of the stored one.
#[derive(Clone, Default)]
pub(crate) struct RemembersVersions(Arc<Mutex<HashMap<SessionId, Version>>>);

impl Defect for RemembersVersions {
    async fn set(&self, plain: &Plain, record: &Record, expected: Expected) -> Answer<Outcome> {
        let known = self.0.lock().unwrap().get(record.id()).copied();
        let outcome = match known {
            Some(known) if expected.version() == Some(known) => plain.round_trip(|plain| plain.put(record)).await,
            _ => plain.set(record, expected).await?,
        };
        if outcome == Outcome::Written {
            self.0.lock().unwrap().insert(*record.id(), record.version());
        }
        Ok(outcome)
    }

    fn another(&self) -> Self {
        Self::default()
    }
}

/// Keeps a separate index of owners, updated after each set.
#[derive(Clone)]
pub(crate) struct Indexes {
    index: Arc<Mutex<Index>>,
    follow: Follow,
}

/// The ids of the sessions of each owner.
pub(crate) type Index = BTreeMap<String, Vec<SessionId>>;

type Follow = fn(&mut Index, &Record, Option<&Record>, Outcome);

impl Indexes {
    /// `follow` updates the index after a set: with the new record, the record before, and the outcome.
    pub(crate) fn new(follow: Follow) -> Self {
        Self { index: Arc::default(), follow }
    }
}

impl Defect for Indexes {
    async fn set(&self, plain: &Plain, record: &Record, expected: Expected) -> Answer<Outcome> {
        let old = plain.live(record.id());
        let outcome = plain.set(record, expected).await?;
        // Of two writers in close succession, the later one reaches the index first.
        let delay = if outcome == Outcome::Written { record.version().get() % 3 * 10 } else { 0 };
        for _ in 0..delay {
            yield_now().await;
        }
        (self.follow)(&mut self.index.lock().unwrap(), record, old.as_ref(), outcome);
        Ok(outcome)
    }

    async fn owned_by(&self, plain: &Plain, owner: &str) -> Answer<Vec<Record>> {
        let mut ids = self.index.lock().unwrap().get(owner).cloned().unwrap_or_default();
        ids.sort_unstable();
        Ok(plain.round_trip(|plain| ids.iter().filter_map(|id| plain.live(id)).collect()).await)
    }
}

/// Lists a copy of each session from its last set.
#[derive(Clone, Default)]
pub(crate) struct ListsCopies(Arc<Mutex<BTreeMap<SessionId, Record>>>);

impl Defect for ListsCopies {
    async fn set(&self, plain: &Plain, record: &Record, expected: Expected) -> Answer<Outcome> {
        let outcome = plain.set(record, expected).await?;
        if outcome == Outcome::Written {
            self.0.lock().unwrap().insert(*record.id(), record.clone());
        }
        Ok(outcome)
    }

    async fn owned_by(&self, plain: &Plain, owner: &str) -> Answer<Vec<Record>> {
        let now = plain.now();
        let copies = self.0.lock().unwrap();
        let live = copies.values().filter(|copy| copy.owner() == Some(owner) && now < copy.expires_at());
        Ok(live.cloned().collect())
    }
}

/// Deletes records by the expiry of their last set, ignoring touches.
#[derive(Clone, Default)]
pub(crate) struct SweepsByFirstExpiry(Arc<Mutex<HashMap<SessionId, OffsetDateTime>>>);

impl Defect for SweepsByFirstExpiry {
    async fn set(&self, plain: &Plain, record: &Record, expected: Expected) -> Answer<Outcome> {
        self.0.lock().unwrap().insert(*record.id(), record.expires_at());
        plain.set(record, expected).await
    }

    async fn delete_expired(&self, plain: &Plain) -> Answer<u64> {
        let now = plain.now();
        let due = std::mem::take(&mut *self.0.lock().unwrap()).into_iter().filter(|(_, at)| *at <= now);
        Ok(due.filter(|(id, _)| plain.remove(id).is_some()).count() as u64)
    }
}

/// Refuses to write the id of a deleted record.
#[derive(Clone, Default)]
pub(crate) struct Tombstones(Arc<Mutex<BTreeSet<SessionId>>>);

impl Defect for Tombstones {
    async fn set(&self, plain: &Plain, record: &Record, expected: Expected) -> Answer<Outcome> {
        if self.0.lock().unwrap().contains(record.id()) {
            return Ok(Outcome::Refused);
        }
        plain.set(record, expected).await
    }

    async fn delete(&self, plain: &Plain, id: &SessionId, _: Option<&str>) -> Answer<bool> {
        self.0.lock().unwrap().insert(*id);
        plain.delete(id).await
    }
}

/// Touches a session only while it has the owner that it was created with.
#[derive(Clone, Default)]
pub(crate) struct FirstOwners(Arc<Mutex<HashMap<SessionId, Option<String>>>>);

impl Defect for FirstOwners {
    async fn set(&self, plain: &Plain, record: &Record, expected: Expected) -> Answer<Outcome> {
        if expected == Expected::Absent {
            self.0.lock().unwrap().insert(*record.id(), record.owner().map(Into::into));
        }
        plain.set(record, expected).await
    }

    async fn touch(&self, plain: &Plain, record: &Record, touch: Touch) -> Answer<bool> {
        let first = self.0.lock().unwrap().get(record.id()).cloned().flatten();
        Ok(first.as_deref() == record.owner() && plain.touch(record, touch).await?)
    }
}

/// Deletes the sessions that were created with an owner.
#[derive(Clone, Default)]
pub(crate) struct DeletesFirstOwners(FirstOwners);

impl Defect for DeletesFirstOwners {
    async fn set(&self, plain: &Plain, record: &Record, expected: Expected) -> Answer<Outcome> {
        self.0.set(plain, record, expected).await
    }

    async fn delete_owned_by(
        &self,
        plain: &Plain,
        owner: &str,
        _: Option<&str>,
        _: Option<&SessionId>,
    ) -> Answer<Vec<SessionId>> {
        let first = self.0.0.lock().unwrap().clone();
        let created = first.iter().filter(|(_, first)| first.as_deref() == Some(owner));
        Ok(created.filter_map(|(id, _)| plain.delete_now(id).then_some(*id)).collect())
    }
}

/// Lists a session until the expiry that its last set was given, or a later touch.
#[derive(Clone, Default)]
pub(crate) struct ListsByGivenExpiry(Arc<Mutex<HashMap<SessionId, OffsetDateTime>>>);

impl Defect for ListsByGivenExpiry {
    async fn set(&self, plain: &Plain, record: &Record, expected: Expected) -> Answer<Outcome> {
        self.0.lock().unwrap().insert(*record.id(), record.expires_at());
        plain.set(record, expected).await
    }

    async fn touch(&self, plain: &Plain, record: &Record, touch: Touch) -> Answer<bool> {
        self.0.lock().unwrap().insert(*record.id(), touch.expires_at);
        plain.touch(record, touch).await
    }

    async fn owned_by(&self, plain: &Plain, owner: &str) -> Answer<Vec<Record>> {
        let mut owned = plain.owned_by(owner).await?;
        let (expiries, now) = (self.0.lock().unwrap(), plain.now());
        owned.retain(|record| expiries.get(record.id()).is_some_and(|expiry| now < *expiry));
        Ok(owned)
    }
}

/// Keeps a copy of each session in its owner's list, and deletes the copy only from the list of the given owner.
#[derive(Clone, Default)]
pub(crate) struct ListsGivenOwners(Arc<Mutex<BTreeMap<(String, SessionId), Record>>>);

impl Defect for ListsGivenOwners {
    async fn set(&self, plain: &Plain, record: &Record, expected: Expected) -> Answer<Outcome> {
        let outcome = plain.set(record, expected).await?;
        if let (Outcome::Written, Some(owner)) = (outcome, record.owner()) {
            self.0.lock().unwrap().insert((owner.into(), *record.id()), record.clone());
        }
        Ok(outcome)
    }

    async fn delete(&self, plain: &Plain, id: &SessionId, owner: Option<&str>) -> Answer<bool> {
        if let Some(owner) = owner {
            self.0.lock().unwrap().remove(&(owner.into(), *id));
        }
        plain.delete(id).await
    }

    async fn owned_by(&self, _: &Plain, owner: &str) -> Answer<Vec<Record>> {
        let lists = self.0.lock().unwrap();
        Ok(lists.iter().filter(|((listed, _), _)| listed == owner).map(|(_, copy)| copy.clone()).collect())
    }
}

/// Fails if an owner has no sessions.
#[derive(Clone)]
pub(crate) struct KnowsEveryOwner;

impl Defect for KnowsEveryOwner {
    async fn owned_by(&self, plain: &Plain, owner: &str) -> Answer<Vec<Record>> {
        let listed = plain.owned_by(owner).await?;
        if listed.is_empty() { Err(StoreError::new(StoreErrorKind::Other)) } else { Ok(listed) }
    }
}

/// A slow but correct store: each set frees expired records, takes two seconds, and starts the record's life then.
#[derive(Clone)]
pub(crate) struct Slow;

const DELAY: Duration = Duration::from_secs(2);

fn expiring_earlier(records: &[Record]) -> Vec<Record> {
    records.iter().map(|record| changed(record, |parts| parts.expires_at -= DELAY)).collect()
}

impl Defect for Slow {
    async fn get(&self, plain: &Plain, id: &SessionId) -> Answer<Option<Record>> {
        let found = plain.get(id).await?;
        Ok(found.map(|found| changed(&found, |parts| parts.expires_at -= DELAY)))
    }

    async fn set(&self, plain: &Plain, record: &Record, expected: Expected) -> Answer<Outcome> {
        plain.delete_expired().await?;
        plain.advance(DELAY);
        plain.set(&changed(record, |parts| parts.expires_at += DELAY), expected).await
    }

    async fn touch(&self, plain: &Plain, record: &Record, touch: Touch) -> Answer<bool> {
        plain.touch(record, Touch::new(touch.last_seen, touch.expires_at + DELAY)).await
    }

    async fn owned_by(&self, plain: &Plain, owner: &str) -> Answer<Vec<Record>> {
        Ok(expiring_earlier(&plain.owned_by(owner).await?))
    }

    async fn list(&self, plain: &Plain, after: Option<&Cursor>, limit: usize) -> Answer<Page> {
        let page = plain.list(after, limit).await?;
        Ok(Page { records: expiring_earlier(&page.records), ..page })
    }
}

/// Panics in get.
#[derive(Clone)]
pub(crate) struct Panics;

impl Defect for Panics {
    async fn get(&self, _: &Plain, _: &SessionId) -> Answer<Option<Record>> {
        panic!("out of cheese");
    }
}
