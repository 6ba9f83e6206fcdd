//! A plain store that keeps every rule, and stores that replace some of its operations with broken ones.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sessile::SessionId;
use sessile::store::{Cursor, Expected, Outcome, Page, Record, RecordParts, RecordSummary, Store, StoreError, Touch};
use sessile::testing::ManualClock;
use sessile::testing::conformance::Fixture;
use time::OffsetDateTime;
use tokio::task::yield_now;

pub(crate) type Answer<T> = Result<T, StoreError>;

/// A store of a map, a clock and a counter of round trips.
///
/// Each operation is one round trip: its future can be dropped before or after an atomic step.
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

    pub(crate) fn advance(&self, by: Duration) {
        self.0.clock.advance(by);
    }

    pub(crate) fn map<T>(&self, work: impl FnOnce(&mut BTreeMap<SessionId, Record>) -> T) -> T {
        work(&mut self.0.records.lock().unwrap())
    }

    /// Returns the record of an id, expired or not.
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

    /// Changes the record of an id, expired or not.
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
            if found.map(Record::version) != expected.version() {
                return Outcome::Refused;
            }
            let mut written = record.clone();
            if let (Some(found), Expected::VersionKeepingTimes(_)) = (found, expected) {
                written.keep_times_of(found);
            }
            records.insert(*record.id(), written);
            Outcome::Written
        })
    }

    pub(crate) fn touch_now(&self, record: &Record, touch: Touch) -> bool {
        let (now, version) = (self.now(), record.version());
        self.map(|records| {
            let found = records.get_mut(record.id());
            let found = found.filter(|found| now < found.expires_at() && found.version() == version);
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

    pub(crate) fn delete_owned_by_now(
        &self,
        owner: &str,
        realm: Option<&str>,
        keep: Option<&SessionId>,
    ) -> Vec<SessionId> {
        let now = self.now();
        let is_meant = |record: &Record| {
            let is_of_realm = realm.is_none_or(|realm| realm == record.realm());
            record.owner() == Some(owner) && is_of_realm && keep != Some(record.id()) && now < record.expires_at()
        };
        self.map(|records| {
            let ids: Vec<_> = records.values().filter(|record| is_meant(record)).map(|record| *record.id()).collect();
            ids.iter().for_each(|id| drop(records.remove(id)));
            ids
        })
    }

    pub(crate) fn delete_expired_now(&self) -> u64 {
        let now = self.now();
        self.map(|records| {
            let before = records.len();
            records.retain(|_, record| now < record.expires_at());
            (before - records.len()) as u64
        })
    }

    pub(crate) fn ids_of_now(&self, owner: &str, realm: Option<&str>) -> Vec<SessionId> {
        let owned = self.owned_by_now(owner);
        let in_realm = owned.iter().filter(|record| realm.is_none_or(|realm| realm == record.realm()));
        in_realm.map(|record| *record.id()).collect()
    }

    pub(crate) fn summary(&self, id: &SessionId) -> Option<RecordSummary> {
        self.live(id).as_ref().map(RecordSummary::from)
    }

    /// Returns the page after a cursor, which is the id of the last record; another one lists from the start.
    pub(crate) fn page(&self, after: Option<&Cursor>, limit: usize) -> Page {
        let after: Option<SessionId> = after.and_then(|after| after.as_str().parse().ok());
        let live = self.all_live();
        let left: Vec<_> = live.iter().filter(|record| after.is_none_or(|after| after < *record.id())).collect();
        page_of(&left, limit.max(1))
    }

    pub(crate) async fn get(&self, id: &SessionId) -> Answer<Option<Record>> {
        Ok(self.round_trip(|plain| plain.live(id)).await)
    }

    pub(crate) async fn set(&self, record: &Record, expected: Expected) -> Answer<Outcome> {
        Ok(self.round_trip(|plain| plain.set_now(record, expected)).await)
    }

    pub(crate) async fn touch(&self, record: &Record, touch: Touch) -> Answer<bool> {
        Ok(self.round_trip(|plain| plain.touch_now(record, touch)).await)
    }

    pub(crate) async fn delete(&self, id: &SessionId) -> Answer<bool> {
        Ok(self.round_trip(|plain| plain.delete_now(id)).await)
    }

    pub(crate) async fn owned_by(&self, owner: &str) -> Answer<Vec<Record>> {
        Ok(self.round_trip(|plain| plain.owned_by_now(owner)).await)
    }

    pub(crate) async fn delete_owned_by(
        &self,
        owner: &str,
        realm: Option<&str>,
        keep: Option<&SessionId>,
    ) -> Answer<Vec<SessionId>> {
        Ok(self.round_trip(|plain| plain.delete_owned_by_now(owner, realm, keep)).await)
    }

    pub(crate) async fn delete_expired(&self) -> Answer<u64> {
        Ok(self.round_trip(Self::delete_expired_now).await)
    }

    pub(crate) async fn ids_of(&self, owner: &str, realm: Option<&str>) -> Answer<Vec<SessionId>> {
        Ok(self.round_trip(|plain| plain.ids_of_now(owner, realm)).await)
    }

    pub(crate) async fn summaries_of(&self, ids: &[SessionId]) -> Answer<Vec<Option<RecordSummary>>> {
        Ok(self.round_trip(|plain| ids.iter().map(|id| plain.summary(id)).collect()).await)
    }

    pub(crate) async fn list(&self, after: Option<&Cursor>, limit: usize) -> Answer<Page> {
        Ok(self.round_trip(|plain| plain.page(after, limit)).await)
    }

    pub(crate) async fn count(&self) -> Answer<u64> {
        Ok(self.round_trip(|plain| plain.all_live().len() as u64).await)
    }

    pub(crate) async fn ping(&self) -> Answer<()> {
        self.round_trip(|_| ()).await;
        Ok(())
    }
}

/// Returns the first of these records; the cursor is the last one's id.
pub(crate) fn page_of(records: &[&Record], limit: usize) -> Page {
    let page: Vec<Record> = records.iter().take(limit).copied().cloned().collect();
    let next = page.last().filter(|_| page.len() < records.len()).map(|last| Cursor::new(last.id().to_string()));
    Page { records: page, next }
}

/// A defect of a store: the operations that it overrides; all others are those of the plain store.
pub(crate) trait Defect: Clone + Send + Sync + 'static {
    fn get(&self, plain: &Plain, id: &SessionId) -> impl Future<Output = Answer<Option<Record>>> + Send {
        plain.get(id)
    }

    fn set(&self, plain: &Plain, record: &Record, expected: Expected) -> impl Future<Output = Answer<Outcome>> + Send {
        plain.set(record, expected)
    }

    fn touch(&self, plain: &Plain, record: &Record, touch: Touch) -> impl Future<Output = Answer<bool>> + Send {
        plain.touch(record, touch)
    }

    fn delete(&self, plain: &Plain, id: &SessionId, owner: Option<&str>) -> impl Future<Output = Answer<bool>> + Send {
        let _ = owner;
        plain.delete(id)
    }

    fn owned_by(&self, plain: &Plain, owner: &str) -> impl Future<Output = Answer<Vec<Record>>> + Send {
        plain.owned_by(owner)
    }

    fn delete_owned_by(
        &self,
        plain: &Plain,
        owner: &str,
        realm: Option<&str>,
        keep: Option<&SessionId>,
    ) -> impl Future<Output = Answer<Vec<SessionId>>> + Send {
        plain.delete_owned_by(owner, realm, keep)
    }

    fn delete_expired(&self, plain: &Plain) -> impl Future<Output = Answer<u64>> + Send {
        plain.delete_expired()
    }

    fn ids_of(
        &self,
        plain: &Plain,
        owner: &str,
        realm: Option<&str>,
    ) -> impl Future<Output = Answer<Vec<SessionId>>> + Send {
        plain.ids_of(owner, realm)
    }

    fn summaries_of(
        &self,
        plain: &Plain,
        ids: &[SessionId],
    ) -> impl Future<Output = Answer<Vec<Option<RecordSummary>>>> + Send {
        plain.summaries_of(ids)
    }

    fn list(&self, plain: &Plain, after: Option<&Cursor>, limit: usize) -> impl Future<Output = Answer<Page>> + Send {
        plain.list(after, limit)
    }

    fn count(&self, plain: &Plain) -> impl Future<Output = Answer<u64>> + Send {
        plain.count()
    }

    fn ping(&self, plain: &Plain) -> impl Future<Output = Answer<()>> + Send {
        plain.ping()
    }

    /// Returns the defect of a second connection.
    fn another(&self) -> Self {
        self.clone()
    }
}

/// No defect.
#[derive(Clone)]
pub(crate) struct NoDefect;

impl Defect for NoDefect {}

/// The plain store with a defect.
pub(crate) struct Broken<S> {
    plain: Plain,
    defect: S,
}

impl<S: Defect> Store for Broken<S> {
    async fn get(&self, id: &SessionId) -> Answer<Option<Record>> {
        self.defect.get(&self.plain, id).await
    }

    async fn set(&self, record: &Record, expected: Expected) -> Answer<Outcome> {
        self.defect.set(&self.plain, record, expected).await
    }

    async fn touch(&self, record: &Record, touch: Touch) -> Answer<bool> {
        self.defect.touch(&self.plain, record, touch).await
    }

    async fn delete(&self, id: &SessionId, owner: Option<&str>) -> Answer<bool> {
        self.defect.delete(&self.plain, id, owner).await
    }

    async fn owned_by(&self, owner: &str) -> Answer<Vec<Record>> {
        self.defect.owned_by(&self.plain, owner).await
    }

    async fn delete_owned_by(
        &self,
        owner: &str,
        realm: Option<&str>,
        keep: Option<&SessionId>,
    ) -> Answer<Vec<SessionId>> {
        self.defect.delete_owned_by(&self.plain, owner, realm, keep).await
    }

    async fn delete_expired(&self) -> Answer<u64> {
        self.defect.delete_expired(&self.plain).await
    }

    async fn ids_of(&self, owner: &str, realm: Option<&str>) -> Answer<Vec<SessionId>> {
        self.defect.ids_of(&self.plain, owner, realm).await
    }

    async fn summaries_of(&self, ids: &[SessionId]) -> Answer<Vec<Option<RecordSummary>>> {
        self.defect.summaries_of(&self.plain, ids).await
    }

    async fn list(&self, after: Option<&Cursor>, limit: usize) -> Answer<Page> {
        self.defect.list(&self.plain, after, limit).await
    }

    async fn count(&self) -> Answer<u64> {
        self.defect.count(&self.plain).await
    }

    async fn ping(&self) -> Answer<()> {
        self.defect.ping(&self.plain).await
    }
}

/// Opens stores with a defect. All of them share their data, like connections to one server.
pub(crate) struct BrokenFixture<S> {
    plain: Plain,
    defect: S,
    owners: bool,
    listing: bool,
}

impl<S: Defect> BrokenFixture<S> {
    pub(crate) fn of(defect: S) -> Self {
        Self { plain: Plain::new(&ManualClock::new()), defect, owners: true, listing: true }
    }

    /// Declares that the store has no index of owners.
    pub(crate) fn without_owners(mut self) -> Self {
        self.owners = false;
        self
    }

    /// Declares that the store cannot list its records.
    pub(crate) fn without_listing(mut self) -> Self {
        self.listing = false;
        self
    }
}

impl<S: Defect> Fixture for BrokenFixture<S> {
    type Store = Broken<S>;

    async fn open(&self) -> Broken<S> {
        Broken { plain: self.plain.clone(), defect: self.defect.clone() }
    }

    async fn another(&self, store: &Broken<S>) -> Broken<S> {
        Broken { plain: store.plain.clone(), defect: store.defect.another() }
    }

    async fn now(&self) -> OffsetDateTime {
        self.plain.now()
    }

    async fn advance(&self, by: Duration) {
        self.plain.advance(by);
    }

    fn has_owners(&self) -> bool {
        self.owners
    }

    fn has_listing(&self) -> bool {
        self.listing
    }

    fn round_trips(&self, store: &Broken<S>) -> Option<u64> {
        Some(store.plain.0.round_trips.load(Ordering::SeqCst))
    }
}

/// Returns the record with a change.
pub(crate) fn changed(record: &Record, change: impl FnOnce(&mut RecordParts)) -> Record {
    let mut parts = record.clone().into_parts();
    change(&mut parts);
    Record::from_parts(parts)
}
