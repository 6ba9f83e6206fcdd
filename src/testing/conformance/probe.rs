//! The store, the records and the time that one rule works with.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::{Semaphore, oneshot};

use super::connection::{Connection, version_of};
use super::fixture::{ErasedFixture, Fixture, Opened};
use super::verdict::{Checked, broken, ensure};
use crate::clock::Timestamp;
use crate::record::{Record, RecordParts, Version};
use crate::store::{Expected, Outcome, Touch};
use crate::token::{SessionId, random};

/// Life of a record that must not expire during its rule. Rules that share a clock move it by far less.
pub(super) const LONG: Duration = Duration::from_secs(6 * 3600);

/// Life of a record that is to expire. With a real clock, all rules wait for it at the same time.
pub(super) const SHORT: Duration = Duration::from_secs(1);

/// Maximum difference between the clocks of the fixture and of the store.
const MARGIN: Duration = Duration::from_millis(250);

/// The store and surroundings of one rule.
pub(super) struct Probe<'a> {
    pub(super) fixture: Box<dyn ErasedFixture + 'a>,
    pub(super) store: Connection,
    /// Start of the rule by the store's clock, to the millisecond.
    pub(super) now: OffsetDateTime,
    /// An owner that no other rule uses.
    pub(super) owner: String,
    /// A second owner that no other rule uses.
    pub(super) other_owner: String,
    pub(super) has_owners: bool,
    pub(super) has_listing: bool,
    pub(super) sweeps: bool,
    pub(super) largest_state: usize,
    ids: Mutex<Vec<SessionId>>,
}

impl<'a> Probe<'a> {
    /// Opens a store for one rule.
    pub(super) async fn open<F: Fixture>(fixture: &'a F) -> Self {
        let store = Arc::new(fixture.open().await);
        Self {
            store: Connection::new(Arc::clone(&store), fixture.has_owners()),
            fixture: Box::new(Opened { fixture, store }),
            now: milliseconds(fixture.now().await),
            owner: unique("user:1"),
            other_owner: unique("user:2"),
            has_owners: fixture.has_owners(),
            has_listing: fixture.has_listing(),
            sweeps: fixture.sweeps(),
            largest_state: fixture.largest_state(),
            ids: Mutex::default(),
        }
    }

    /// Returns a new record with a long life.
    pub(super) fn record(&self, change: impl FnOnce(&mut RecordParts)) -> Record {
        let mut parts = RecordParts {
            id: SessionId::generate(self.now.into()),
            version: Version::new(1),
            realm: "id".into(),
            owner: None,
            last_seen: self.now,
            expires_at: self.now + LONG,
            state: noise(100),
        };
        change(&mut parts);
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).push(parts.id);
        Record::from_parts(parts)
    }

    /// Writes a new record with a long life.
    pub(super) async fn stored(&self, change: impl FnOnce(&mut RecordParts)) -> Checked<Record> {
        let record = self.record(change);
        self.store.create(&record).await?;
        Ok(record)
    }

    /// Writes a new record of this owner.
    pub(super) async fn stored_for(&self, owner: &str) -> Checked<Record> {
        self.stored(|parts| parts.owner = Some(owner.into())).await
    }

    /// Writes a new record of the rule's owner.
    pub(super) async fn owned(&self) -> Checked<Record> {
        self.stored_for(&self.owner).await
    }

    /// Writes this many new records of the rule's owner.
    pub(super) async fn many_owned(&self, count: usize) -> Checked<Vec<Record>> {
        let mut records = Vec::with_capacity(count);
        for _ in 0..count {
            records.push(self.owned().await?);
        }
        Ok(records)
    }

    /// Writes new records of the rule's owner, neither in ascending nor in descending order of their ids.
    ///
    /// The number must not be divisible by 3.
    pub(super) async fn unordered(&self, count: usize) -> Checked<Vec<Record>> {
        let ours = || self.record(|parts| parts.owner = Some(self.owner.as_str().into()));
        let mut records: Vec<_> = std::iter::repeat_with(ours).take(count).collect();
        records.sort_unstable_by_key(|record| *record.id());
        for place in 0..count {
            self.store.create(&records[place * 3 % count]).await?;
        }
        Ok(records)
    }

    /// Writes a new record of this owner and realm.
    pub(super) async fn stored_in(&self, owner: &str, realm: &str) -> Checked<Record> {
        let change = |parts: &mut RecordParts| {
            parts.owner = Some(owner.into());
            parts.realm = realm.into();
        };
        self.stored(change).await
    }

    /// Checks that the rule's owner has exactly these sessions.
    pub(super) async fn lists<'r>(&self, due: impl IntoIterator<Item = &'r Record>) -> Checked {
        self.store.lists(&self.owner, due).await
    }

    /// Writes the [next] version over a stored record.
    pub(super) async fn replaced(&self, record: &Record, change: impl FnOnce(&mut RecordParts)) -> Checked<Record> {
        let next = next(record, change);
        self.store.replace(record, &next).await?;
        Ok(next)
    }

    /// Writes the next version over a stored record, with another owner.
    pub(super) async fn given_to(&self, record: &Record, owner: Option<&str>) -> Checked<Record> {
        self.replaced(record, |parts| parts.owner = owner.map(Into::into)).await
    }

    /// Touches a live record and checks that only its times have moved.
    pub(super) async fn touched(&self, record: &Record, touch: Touch) -> Checked<Record> {
        self.store.touches(record, touch).await?;
        let touched = touched(record, touch);
        self.store.holds(&touched).await?;
        Ok(touched)
    }

    /// Checks that only this one of the rule's owners lists the record.
    pub(super) async fn listed_only_by(&self, owner: Option<&str>, record: &Record) -> Checked {
        for listed in [&self.owner, &self.other_owner] {
            self.store.lists(listed, (owner == Some(listed)).then_some(record)).await?;
        }
        Ok(())
    }

    /// Deletes all records of the rule, as far as the store can.
    pub(super) async fn clean_up(&self) {
        let ids = std::mem::take(&mut *self.ids.lock().unwrap_or_else(PoisonError::into_inner));
        for id in ids {
            let _ = self.store.delete(&id, None).await;
        }
    }

    /// Returns a touch at this many seconds after the rule's start, which prolongs a long life.
    pub(super) fn touch_after(&self, seconds: u64) -> Touch {
        let at = self.now + Duration::from_secs(seconds);
        Touch::new(at, at + 2 * LONG)
    }

    /// Returns the expiry of a record with this life that is written now.
    pub(super) async fn expiry_after(&self, life: Duration) -> OffsetDateTime {
        milliseconds(self.fixture.now().await) + life
    }

    /// Waits until every record written so far with this life has expired.
    pub(super) async fn pass(&self, life: Duration) -> Checked {
        // A store may count a record's life from the arrival of the write, however late that was.
        let due = self.fixture.now().await + life + MARGIN;
        for _ in 0..100 {
            let now = self.fixture.now().await;
            if now > due {
                return Ok(());
            }
            self.fixture.advance((due - now).unsigned_abs() + Duration::from_millis(1)).await;
        }
        broken("`now` of the fixture does not follow its `advance`")
    }

    /// Writes a record and waits until it has expired.
    pub(super) async fn expired(&self, owner: Option<&str>) -> Checked<Record> {
        let record = self.stored_until(self.expiry_after(SHORT).await, owner).await?;
        self.pass(SHORT).await?;
        Ok(record)
    }

    async fn stored_until(&self, expires_at: OffsetDateTime, owner: Option<&str>) -> Checked<Record> {
        let change = |parts: &mut RecordParts| {
            parts.expires_at = expires_at;
            parts.owner = owner.map(Into::into);
        };
        self.stored(change).await
    }

    /// Writes a record, prolongs its life, and waits out its first expiry.
    pub(super) async fn prolonged(&self, by: Prolonged, owner: Option<&str>) -> Checked<Record> {
        for life in growing_lives() {
            let first = self.expiry_after(life).await;
            let record = self.stored_until(first, owner).await?;
            let (prolonged, done) = match by {
                Prolonged::Touch => {
                    let touch = Touch::new(record.last_seen(), first + LONG);
                    let done = self.store.touch(&record, touch).await?;
                    (touched(&record, touch), done)
                }
                Prolonged::Set => {
                    let next = next(&record, |parts| parts.expires_at = first + LONG);
                    let outcome = self.store.set(&next, Expected::Version(record.version())).await?;
                    (next, outcome == Outcome::Written)
                }
            };
            if done {
                self.pass(life).await?;
                return Ok(prolonged);
            }
            let now = self.fixture.now().await;
            ensure(now >= first, || format!("{by:?} of a live record did nothing, {} before its expiry", first - now))?;
        }
        broken(TOO_SLOW)
    }

    /// Leaves one live record and four expired ones, two of these owned.
    pub(super) async fn leave_four_expired(&self) -> Checked {
        for life in growing_lives() {
            self.store.delete_expired().await?;
            self.stored(|_| {}).await?;
            let expires_at = self.expiry_after(life).await;
            for owner in [None, Some(self.owner.as_str()), None, Some(&self.owner)] {
                self.stored_until(expires_at, owner).await?;
            }
            let in_time = self.fixture.now().await < expires_at;
            self.pass(life).await?;
            // A store may free an expired record when it writes another, so none may expire before the last write.
            if in_time {
                return Ok(());
            }
        }
        broken(TOO_SLOW)
    }

    /// Runs all calls at once, as tasks of the fixture. Returns their outputs in the order of the calls.
    pub(super) async fn at_once<T, C>(&self, calls: impl IntoIterator<Item = C>) -> Checked<Vec<T>>
    where
        T: Send + 'static,
        C: Future<Output = Checked<T>> + Send + 'static,
    {
        // No call starts before all tasks are there.
        let gate = Arc::new(Semaphore::new(0));
        let spawn = |call: C| {
            let (sender, output) = oneshot::channel();
            let gate = Arc::clone(&gate);
            self.fixture.spawn(Box::pin(async move {
                let _ = gate.acquire().await;
                let _ = sender.send(call.await);
            }));
            output
        };
        let answers: Vec<_> = calls.into_iter().map(spawn).collect();
        gate.close();
        let mut outputs = Vec::with_capacity(answers.len());
        for answer in answers {
            let Ok(output) = answer.await else {
                return broken("a call panicked, or `spawn` of the fixture did not run it to its end");
            };
            outputs.push(output?);
        }
        Ok(outputs)
    }
}

/// The operation that prolongs a life.
#[derive(Clone, Copy, Debug)]
pub(super) enum Prolonged {
    Touch,
    Set,
}

/// Lives of a record that must not expire before the next call. If it does, the next life is tried.
fn growing_lives() -> impl Iterator<Item = Duration> {
    (0..9).map(|doublings| SHORT * (1 << doublings))
}

const TOO_SLOW: &str = "the store is so slow that a record with a life of minutes expired between two calls";

/// Returns an owner that no other rule uses.
pub(super) fn unique(name: &str) -> String {
    format!("{}{name}", u64::from_be_bytes(random()))
}

/// Returns the record with a change.
pub(super) fn changed(record: &Record, change: impl FnOnce(&mut RecordParts)) -> Record {
    let mut parts = record.clone().into_parts();
    change(&mut parts);
    Record::from_parts(parts)
}

/// Returns the next version of a record, with another state.
pub(super) fn next(record: &Record, change: impl FnOnce(&mut RecordParts)) -> Record {
    changed(record, |parts| {
        parts.version = Version::new(version_of(record) + 1);
        parts.state = noise(80);
        change(parts);
    })
}

/// Returns the next version of a record, with another owner.
pub(super) fn next_for(record: &Record, owner: Option<&str>) -> Record {
    next(record, |parts| parts.owner = owner.map(Into::into))
}

/// Returns the record with another version.
pub(super) fn at_version(record: &Record, number: u64) -> Record {
    changed(record, |parts| parts.version = Version::new(number))
}

/// Returns the record after a touch.
pub(super) fn touched(record: &Record, touch: Touch) -> Record {
    let mut touched = record.clone();
    touched.touch(touch);
    touched
}

/// Returns random bytes, which neither compression nor a text column keeps by chance.
pub(super) fn noise(length: usize) -> Arc<[u8]> {
    let mut word = u64::from_be_bytes(random()) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        bytes.extend_from_slice(&word.to_be_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

fn milliseconds(instant: OffsetDateTime) -> OffsetDateTime {
    Timestamp::from(instant).into()
}
