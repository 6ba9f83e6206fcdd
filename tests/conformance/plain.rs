//! A plain store that keeps every rule, and the hooks by which a saboteur breaks one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sessile::SessionId;
use sessile::store::{Expected, Outcome, Record, RecordParts, Store, StoreError, Touch, Version};
use sessile::testing::ManualClock;
use sessile::testing::conformance::{Fixture, Task};
use time::OffsetDateTime;
use tokio::task::yield_now;

pub(crate) type Answer<T> = Result<T, StoreError>;

/// A map, a clock and a counter of round trips. Each of its operations is one round trip: it can be dropped on the way
/// there and on the way back, and what happens between is atomic.
#[derive(Clone)]
pub(crate) struct Plain(Arc<Inner>);

struct Inner {
    records: Mutex<BTreeMap<SessionId, Record>>,
    clock: ManualClock,
    round_trips: AtomicU64,
}

impl Plain {
    fn new(clock: &ManualClock) -> Self {
        Self(Arc::new(Inner { records: Mutex::default(), clock: clock.clone(), round_trips: AtomicU64::new(0) }))
    }

    pub(crate) async fn round_trip<T>(&self, work: impl FnOnce(&Self) -> T) -> T {
        self.0.round_trips.fetch_add(1, Ordering::SeqCst);
        yield_now().await;
        let answer = work(self);
        yield_now().await;
        answer
    }

    pub(crate) fn now(&self) -> OffsetDateTime {
        self.0.clock.now()
    }

    pub(crate) fn map<T>(&self, work: impl FnOnce(&mut BTreeMap<SessionId, Record>) -> T) -> T {
        work(&mut self.0.records.lock().unwrap())
    }

    /// What is held under the id, expired or not.
    pub(crate) fn held(&self, id: &SessionId) -> Option<Record> {
        self.map(|records| records.get(id).cloned())
    }

    pub(crate) fn live(&self, id: &SessionId) -> Option<Record> {
        let now = self.now();
        self.held(id).filter(|record| now < record.expires_at())
    }

    pub(crate) fn all_live(&self) -> Vec<Record> {
        let now = self.now();
        self.map(|records| records.values().filter(|record| now < record.expires_at()).cloned().collect())
    }

    pub(crate) fn put(&self, record: &Record) -> Outcome {
        self.map(|records| records.insert(*record.id(), record.clone()));
        Outcome::Written
    }

    pub(crate) fn remove(&self, id: &SessionId) -> Option<Record> {
        self.map(|records| records.remove(id))
    }

    /// Changes what is held under the id.
    pub(crate) fn change(&self, id: &SessionId, change: impl FnOnce(&mut RecordParts)) {
        self.map(|records| {
            if let Some(held) = records.get_mut(id) {
                *held = changed(held, change);
            }
        });
    }

    pub(crate) fn set_now(&self, record: &Record, expected: Expected) -> Outcome {
        let now = self.now();
        self.map(|records| {
            let found = records.get(record.id()).filter(|found| now < found.expires_at());
            if found.map_or(Expected::Absent, |found| Expected::Version(found.version())) != expected {
                return Outcome::Refused;
            }
            records.insert(*record.id(), record.clone());
            Outcome::Written
        })
    }

    pub(crate) fn touch_now(&self, id: &SessionId, version: Version, touch: Touch) -> bool {
        let now = self.now();
        self.map(|records| {
            let found = records.get_mut(id).filter(|found| now < found.expires_at() && found.version() == version);
            found.map(|found| found.touch(touch)).is_some()
        })
    }

    pub(crate) fn delete_now(&self, id: &SessionId) -> bool {
        let now = self.now();
        self.remove(id).is_some_and(|record| now < record.expires_at())
    }

    pub(crate) fn owned_by_now(&self, owner: &str) -> Vec<Record> {
        let mut owned = self.all_live();
        owned.retain(|record| record.owner() == Some(owner));
        owned
    }

    pub(crate) fn delete_expired_now(&self) -> u64 {
        let now = self.now();
        self.map(|records| {
            let before = records.len();
            records.retain(|_, record| now < record.expires_at());
            (before - records.len()) as u64
        })
    }

    pub(crate) async fn get(&self, id: &SessionId) -> Answer<Option<Record>> {
        Ok(self.round_trip(|plain| plain.live(id)).await)
    }

    pub(crate) async fn set(&self, record: &Record, expected: Expected) -> Answer<Outcome> {
        Ok(self.round_trip(|plain| plain.set_now(record, expected)).await)
    }

    pub(crate) async fn touch(&self, id: &SessionId, version: Version, touch: Touch) -> Answer<bool> {
        Ok(self.round_trip(|plain| plain.touch_now(id, version, touch)).await)
    }

    pub(crate) async fn delete(&self, id: &SessionId) -> Answer<bool> {
        Ok(self.round_trip(|plain| plain.delete_now(id)).await)
    }

    pub(crate) async fn owned_by(&self, owner: &str) -> Answer<Vec<Record>> {
        Ok(self.round_trip(|plain| plain.owned_by_now(owner)).await)
    }

    pub(crate) async fn delete_expired(&self) -> Answer<u64> {
        Ok(self.round_trip(Self::delete_expired_now).await)
    }
}

/// What a saboteur does in the place of the plain store: whatever it does not override is done as it should be.
pub(crate) trait Sabotage: Clone + Send + Sync + 'static {
    fn get(&self, plain: &Plain, id: &SessionId) -> impl Future<Output = Answer<Option<Record>>> + Send {
        plain.get(id)
    }

    fn set(&self, plain: &Plain, record: &Record, expected: Expected) -> impl Future<Output = Answer<Outcome>> + Send {
        plain.set(record, expected)
    }

    fn touch(
        &self,
        plain: &Plain,
        id: &SessionId,
        version: Version,
        touch: Touch,
    ) -> impl Future<Output = Answer<bool>> + Send {
        plain.touch(id, version, touch)
    }

    fn delete(&self, plain: &Plain, id: &SessionId) -> impl Future<Output = Answer<bool>> + Send {
        plain.delete(id)
    }

    fn owned_by(&self, plain: &Plain, owner: &str) -> impl Future<Output = Answer<Vec<Record>>> + Send {
        plain.owned_by(owner)
    }

    fn delete_expired(&self, plain: &Plain) -> impl Future<Output = Answer<u64>> + Send {
        plain.delete_expired()
    }

    /// The saboteur of another connection.
    fn another(&self) -> Self {
        self.clone()
    }
}

/// Breaks nothing.
#[derive(Clone)]
pub(crate) struct Honest;

impl Sabotage for Honest {}

/// The plain store in the hands of a saboteur.
pub(crate) struct Sabotaged<S> {
    plain: Plain,
    saboteur: S,
}

impl<S: Sabotage> Store for Sabotaged<S> {
    async fn get(&self, id: &SessionId) -> Answer<Option<Record>> {
        self.saboteur.get(&self.plain, id).await
    }

    async fn set(&self, record: &Record, expected: Expected) -> Answer<Outcome> {
        self.saboteur.set(&self.plain, record, expected).await
    }

    async fn touch(&self, record: &Record, touch: Touch) -> Answer<bool> {
        self.saboteur.touch(&self.plain, record.id(), record.version(), touch).await
    }

    async fn delete(&self, id: &SessionId, _: Option<&str>) -> Answer<bool> {
        self.saboteur.delete(&self.plain, id).await
    }

    async fn owned_by(&self, owner: &str) -> Answer<Vec<Record>> {
        self.saboteur.owned_by(&self.plain, owner).await
    }

    async fn delete_expired(&self) -> Answer<u64> {
        self.saboteur.delete_expired(&self.plain).await
    }
}

/// Opens stores that this saboteur has in hand. All of them share their data, as those of one server do.
pub(crate) struct Workshop<S> {
    plain: Plain,
    saboteur: S,
    owners: bool,
}

impl<S: Sabotage> Workshop<S> {
    pub(crate) fn of(saboteur: S) -> Self {
        Self { plain: Plain::new(&ManualClock::new()), saboteur, owners: true }
    }

    /// Says that the store has no index of owners.
    pub(crate) fn without_owners(mut self) -> Self {
        self.owners = false;
        self
    }
}

impl<S: Sabotage> Fixture for Workshop<S> {
    type Store = Sabotaged<S>;

    async fn open(&self) -> Sabotaged<S> {
        Sabotaged { plain: self.plain.clone(), saboteur: self.saboteur.clone() }
    }

    async fn another(&self, store: &Sabotaged<S>) -> Sabotaged<S> {
        Sabotaged { plain: store.plain.clone(), saboteur: store.saboteur.another() }
    }

    fn spawn(&self, task: Task) {
        tokio::spawn(task);
    }

    async fn now(&self) -> OffsetDateTime {
        self.plain.now()
    }

    async fn advance(&self, by: Duration) {
        self.plain.0.clock.advance(by);
    }

    fn has_owners(&self) -> bool {
        self.owners
    }

    fn round_trips(&self, store: &Sabotaged<S>) -> Option<u64> {
        Some(store.plain.0.round_trips.load(Ordering::SeqCst))
    }
}

/// The record with a change.
pub(crate) fn changed(record: &Record, change: impl FnOnce(&mut RecordParts)) -> Record {
    let mut parts = record.clone().into_parts();
    change(&mut parts);
    Record::from_parts(parts)
}
