//! Kinds of saboteurs. Most are a function in the place of one operation; some need a memory, or a moment between.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use sessile::SessionId;

use sessile::store::{Expected, Outcome, Record, RecordParts, StoreError, StoreErrorKind, Touch, Version};
use time::OffsetDateTime;
use tokio::task::yield_now;

pub(crate) use crate::plain::changed;
use crate::plain::{Answer, Plain, Sabotage};

/// Another get.
#[derive(Clone)]
pub(crate) struct Get(pub(crate) fn(&Plain, &SessionId) -> Option<Record>);

impl Sabotage for Get {
    async fn get(&self, plain: &Plain, id: &SessionId) -> Answer<Option<Record>> {
        Ok(plain.round_trip(|plain| (self.0)(plain, id)).await)
    }
}

/// Another set.
#[derive(Clone)]
pub(crate) struct Set(pub(crate) fn(&Plain, &Record, Expected) -> Outcome);

impl Sabotage for Set {
    async fn set(&self, plain: &Plain, record: &Record, expected: Expected) -> Answer<Outcome> {
        Ok(plain.round_trip(|plain| (self.0)(plain, record, expected)).await)
    }
}

/// A set that writes something else than it is given.
#[derive(Clone)]
pub(crate) struct Writes(pub(crate) fn(&mut RecordParts));

impl Sabotage for Writes {
    async fn set(&self, plain: &Plain, record: &Record, expected: Expected) -> Answer<Outcome> {
        let record = changed(record, self.0);
        plain.set(&record, expected).await
    }
}

/// Another touch.
#[derive(Clone)]
pub(crate) struct Touches(pub(crate) fn(&Plain, &SessionId, Version, Touch) -> bool);

impl Sabotage for Touches {
    async fn touch(&self, plain: &Plain, id: &SessionId, version: Version, touch: Touch) -> Answer<bool> {
        Ok(plain.round_trip(|plain| (self.0)(plain, id, version, touch)).await)
    }
}

/// Another delete.
#[derive(Clone)]
pub(crate) struct Deletes(pub(crate) fn(&Plain, &SessionId) -> bool);

impl Sabotage for Deletes {
    async fn delete(&self, plain: &Plain, id: &SessionId) -> Answer<bool> {
        Ok(plain.round_trip(|plain| (self.0)(plain, id)).await)
    }
}

/// Another list.
#[derive(Clone)]
pub(crate) struct Lists(pub(crate) fn(&Plain, &str) -> Vec<Record>);

impl Sabotage for Lists {
    async fn owned_by(&self, plain: &Plain, owner: &str) -> Answer<Vec<Record>> {
        Ok(plain.round_trip(|plain| (self.0)(plain, owner)).await)
    }
}

/// A list that compares owners in another way: what is stored, with what is asked for.
#[derive(Clone)]
pub(crate) struct Compares(pub(crate) fn(&str, &str) -> bool);

impl Sabotage for Compares {
    async fn owned_by(&self, plain: &Plain, owner: &str) -> Answer<Vec<Record>> {
        let mut owned = plain.round_trip(Plain::all_live).await;
        owned.retain(|record| record.owner().is_some_and(|stored| (self.0)(stored, owner)));
        Ok(owned)
    }
}

/// Another sweep.
#[derive(Clone)]
pub(crate) struct Sweeps(pub(crate) fn(&Plain) -> u64);

impl Sabotage for Sweeps {
    async fn delete_expired(&self, plain: &Plain) -> Answer<u64> {
        Ok(plain.round_trip(self.0).await)
    }
}

/// A store whose key is not the id but something made from it.
#[derive(Clone)]
pub(crate) struct Keys(pub(crate) fn(&mut [u8; 16]));

impl Keys {
    fn key(&self, id: &SessionId) -> SessionId {
        let mut bytes = *id.as_uuid().as_bytes();
        (self.0)(&mut bytes);
        uuid::Uuid::from_bytes(bytes).into()
    }
}

impl Sabotage for Keys {
    async fn get(&self, plain: &Plain, id: &SessionId) -> Answer<Option<Record>> {
        plain.get(&self.key(id)).await
    }

    async fn set(&self, plain: &Plain, record: &Record, expected: Expected) -> Answer<Outcome> {
        let id = self.key(record.id());
        plain.set(&changed(record, |parts| parts.id = id), expected).await
    }
}

/// Asks what is there before it does anything.
#[derive(Clone)]
pub(crate) struct AsksTwice;

impl Sabotage for AsksTwice {
    async fn get(&self, plain: &Plain, id: &SessionId) -> Answer<Option<Record>> {
        plain.get(id).await?;
        plain.get(id).await
    }

    async fn set(&self, plain: &Plain, record: &Record, expected: Expected) -> Answer<Outcome> {
        plain.get(record.id()).await?;
        plain.set(record, expected).await
    }

    async fn touch(&self, plain: &Plain, id: &SessionId, version: Version, touch: Touch) -> Answer<bool> {
        plain.get(id).await?;
        plain.touch(id, version, touch).await
    }

    async fn delete(&self, plain: &Plain, id: &SessionId) -> Answer<bool> {
        plain.get(id).await?;
        plain.delete(id).await
    }
}

/// Reads, compares and writes in separate steps.
#[derive(Clone)]
pub(crate) struct ReadsThenWrites;

impl Sabotage for ReadsThenWrites {
    async fn set(&self, plain: &Plain, record: &Record, expected: Expected) -> Answer<Outcome> {
        let found = plain.get(record.id()).await?.map_or(Expected::Absent, |found| Expected::Version(found.version()));
        if found != expected {
            return Ok(Outcome::Refused);
        }
        Ok(plain.round_trip(|plain| plain.put(record)).await)
    }

    async fn touch(&self, plain: &Plain, id: &SessionId, version: Version, touch: Touch) -> Answer<bool> {
        let Some(mut found) = plain.get(id).await?.filter(|found| found.version() == version) else { return Ok(false) };
        found.touch(touch);
        let _ = plain.round_trip(|plain| plain.put(&found)).await;
        Ok(true)
    }

    async fn delete(&self, plain: &Plain, id: &SessionId) -> Answer<bool> {
        let found = plain.get(id).await?.is_some();
        plain.delete(id).await?;
        Ok(found)
    }
}

/// Takes two steps where one would be whole.
#[derive(Clone)]
pub(crate) struct InTwoHalves;

impl Sabotage for InTwoHalves {
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
                written.map(|_| plain.put(record));
            })
            .await;
        Ok(Outcome::Written)
    }

    async fn touch(&self, plain: &Plain, id: &SessionId, version: Version, touch: Touch) -> Answer<bool> {
        let half = Touch::new(touch.last_seen, OffsetDateTime::UNIX_EPOCH);
        Ok(plain.touch(id, version, half).await? && plain.touch(id, version, touch).await?)
    }

    async fn delete(&self, plain: &Plain, id: &SessionId) -> Answer<bool> {
        plain
            .round_trip(|plain| {
                let emptied = plain.live(id).map(|found| changed(&found, |parts| parts.state = [].into()));
                emptied.map(|emptied| plain.put(&emptied));
            })
            .await;
        plain.delete(id).await
    }
}

/// Keeps what it has read, for each connection.
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

impl Sabotage for Caches {
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

    async fn touch(&self, plain: &Plain, id: &SessionId, version: Version, touch: Touch) -> Answer<bool> {
        self.forget(id);
        plain.touch(id, version, touch).await
    }

    async fn delete(&self, plain: &Plain, id: &SessionId) -> Answer<bool> {
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

    fn another(&self) -> Self {
        Self::default()
    }
}

/// Compares with the version that this connection wrote last, not with what is stored.
#[derive(Clone, Default)]
pub(crate) struct RemembersVersions(Arc<Mutex<HashMap<SessionId, Version>>>);

impl Sabotage for RemembersVersions {
    async fn set(&self, plain: &Plain, record: &Record, expected: Expected) -> Answer<Outcome> {
        let known = self.0.lock().unwrap().get(record.id()).copied();
        let outcome = match known {
            Some(known) if Expected::Version(known) == expected => plain.round_trip(|plain| plain.put(record)).await,
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

/// An index of owners beside the records, kept in a way that goes wrong.
#[derive(Clone)]
pub(crate) struct Indexes {
    index: Arc<Mutex<Index>>,
    follow: Follow,
}

/// The ids of each owner.
pub(crate) type Index = BTreeMap<String, Vec<SessionId>>;

type Follow = fn(&mut Index, &Record, Option<&Record>, Outcome);

impl Indexes {
    /// `follow` changes the index after a set: it is given what was to be written, what was there, and what came of it.
    pub(crate) fn new(follow: Follow) -> Self {
        Self { index: Arc::default(), follow }
    }
}

impl Sabotage for Indexes {
    async fn set(&self, plain: &Plain, record: &Record, expected: Expected) -> Answer<Outcome> {
        let old = plain.live(record.id());
        let outcome = plain.set(record, expected).await?;
        // Where one writer follows closely on another, the later one comes to the index first.
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

/// Lists sessions as they were when they were last written, until somebody writes them again.
#[derive(Clone, Default)]
pub(crate) struct ListsCopies(Arc<Mutex<BTreeMap<SessionId, Record>>>);

impl Sabotage for ListsCopies {
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

/// Sweeps by the expiry that a record was written with, whatever touches it has seen.
#[derive(Clone, Default)]
pub(crate) struct SweepsByFirstExpiry(Arc<Mutex<HashMap<SessionId, OffsetDateTime>>>);

impl Sabotage for SweepsByFirstExpiry {
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

/// Lets no id be written again once it was deleted.
#[derive(Clone, Default)]
pub(crate) struct Tombstones(Arc<Mutex<BTreeSet<SessionId>>>);

impl Sabotage for Tombstones {
    async fn set(&self, plain: &Plain, record: &Record, expected: Expected) -> Answer<Outcome> {
        if self.0.lock().unwrap().contains(record.id()) {
            return Ok(Outcome::Refused);
        }
        plain.set(record, expected).await
    }

    async fn delete(&self, plain: &Plain, id: &SessionId) -> Answer<bool> {
        self.0.lock().unwrap().insert(*id);
        plain.delete(id).await
    }
}

/// Fails where an owner has no sessions.
#[derive(Clone)]
pub(crate) struct KnowsEveryOwner;

impl Sabotage for KnowsEveryOwner {
    async fn owned_by(&self, plain: &Plain, owner: &str) -> Answer<Vec<Record>> {
        let listed = plain.owned_by(owner).await?;
        if listed.is_empty() { Err(StoreError::new(StoreErrorKind::Other)) } else { Ok(listed) }
    }
}

/// Panics.
#[derive(Clone)]
pub(crate) struct Panics;

impl Sabotage for Panics {
    async fn get(&self, _: &Plain, _: &SessionId) -> Answer<Option<Record>> {
        panic!("out of cheese");
    }
}
