//! What a rule works with: a store, records to write, and time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::{Semaphore, oneshot};

use super::fixture::Fixture;
use super::probe::{Checked, Probe, Stop, ensure};
use crate::clock::Timestamp;
use crate::record::{Record, RecordParts, Version};
use crate::store::{Expected, Outcome, Touch};
use crate::token::{SessionId, random};

/// How long a record lives that no rule sees expire. Rules that share a clock move it by far less.
pub(super) const LONG: Duration = Duration::from_secs(3600);

/// How long a record lives that is to expire. Where waiting is real, all rules wait for it at once.
pub(super) const SHORT: Duration = Duration::from_secs(1);

/// How long after an expiry a record must be gone.
const MARGIN: Duration = Duration::from_millis(250);

/// One rule's store and surroundings.
pub(super) struct Trial<'a, F: Fixture> {
    pub(super) fixture: &'a F,
    pub(super) store: Probe<F::Store>,
    /// When it began, to the millisecond.
    pub(super) now: OffsetDateTime,
    ids: Mutex<Vec<SessionId>>,
}

impl<'a, F: Fixture> Trial<'a, F> {
    pub(super) async fn open(fixture: &'a F) -> Self {
        let store = Probe::new(fixture.open().await);
        Self { fixture, store, now: milliseconds(fixture.now().await), ids: Mutex::default() }
    }

    pub(super) async fn another(&self) -> Probe<F::Store> {
        Probe::new(self.fixture.another(self.store.store()).await)
    }

    /// Ends a rule about owners where the store knows of none.
    pub(super) fn needs_owners(&self) -> Checked {
        if self.fixture.has_owners() {
            return Ok(());
        }
        Err(Stop::NotApplicable("the store does not list the sessions of an owner".into()))
    }

    /// A record of an id of its own, which lives long.
    pub(super) fn record(&self, change: impl FnOnce(&mut RecordParts)) -> Record {
        let mut parts = RecordParts {
            id: SessionId::generate(self.now.into()),
            version: Version::new(1),
            owner: None,
            last_seen: self.now,
            expires_at: self.now + LONG,
            state: noise(100),
        };
        change(&mut parts);
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).push(parts.id);
        Record::from_parts(parts)
    }

    /// Deletes what the rule may have left. Whether that works is not what the rule is about.
    pub(super) async fn clean_up(&self) -> Checked {
        let ids = std::mem::take(&mut *self.ids.lock().unwrap_or_else(PoisonError::into_inner));
        for id in ids {
            let _ = self.store.delete(&id).await;
        }
        Ok(())
    }

    /// A record of this owner.
    pub(super) fn owned(&self, owner: &str) -> Record {
        self.record(|parts| parts.owner = Some(owner.into()))
    }

    /// An owner whom no other rule knows.
    pub(super) fn owner(&self, name: &str) -> String {
        format!("{}{name}", u64::from_be_bytes(random()))
    }

    /// A touch so many seconds after the beginning, and an expiry as long after that as it was.
    pub(super) fn touch_after(&self, seconds: u64) -> Touch {
        let at = self.now + Duration::from_secs(seconds);
        Touch::new(at, at + LONG)
    }

    /// Waits until this instant has certainly passed for the store.
    pub(super) async fn pass(&self, instant: OffsetDateTime) -> Checked {
        let due = instant + MARGIN;
        for _ in 0..100 {
            let now = self.fixture.now().await;
            if now > due {
                return Ok(());
            }
            self.fixture.advance((due - now).unsigned_abs() + Duration::from_millis(1)).await;
        }
        Err(Stop::Broken("the fixture's time does not pass: `now` does not follow `advance`".into()))
    }

    /// A record that was written, and has expired.
    pub(super) async fn expired(&self, change: impl FnOnce(&mut RecordParts)) -> Checked<Record> {
        let expires_at = milliseconds(self.fixture.now().await) + SHORT;
        let record = self.record(|parts| {
            parts.expires_at = expires_at;
            change(parts);
        });
        self.store.create(&record).await?;
        self.pass(expires_at).await?;
        Ok(record)
    }

    /// A record whose life was made longer before it was over, after the time when it would have been over.
    pub(super) async fn prolonged(&self, by: Prolonged, owner: Option<&str>) -> Checked<Record> {
        // On a slow machine the first life may be over before it is made longer: then it was too short.
        for doublings in 0..7 {
            let first = milliseconds(self.fixture.now().await) + SHORT * (1 << doublings);
            let record = self.record(|parts| {
                parts.expires_at = first;
                parts.owner = owner.map(Into::into);
            });
            self.store.create(&record).await?;
            let (prolonged, done) = match by {
                Prolonged::Touch => {
                    let touch = Touch::new(record.last_seen(), first + LONG);
                    let mut touched = record.clone();
                    touched.touch(touch);
                    (touched, self.store.touch(&record, touch).await?)
                }
                Prolonged::Set => {
                    let next = next(&record, |parts| parts.expires_at = first + LONG);
                    let outcome = self.store.set(&next, Expected::Version(record.version())).await?;
                    (next, outcome == Outcome::Written)
                }
            };
            if done {
                self.pass(first).await?;
                return Ok(prolonged);
            }
            let now = self.fixture.now().await;
            ensure!(now >= first, "{by:?} of a live record did nothing, {} before its expiry", first - now);
        }
        Err(Stop::Broken("a store so slow that a record of a minute expires between two calls".into()))
    }

    /// Runs all of them at once, as tasks of the fixture's; their outputs come in the order given.
    pub(super) async fn at_once<T, W>(&self, calls: impl IntoIterator<Item = W>) -> Checked<Vec<T>>
    where
        T: Send + 'static,
        W: Future<Output = Checked<T>> + Send + 'static,
    {
        // Nobody starts before everybody is there.
        let gate = Arc::new(Semaphore::new(0));
        let answers: Vec<_> = calls
            .into_iter()
            .map(|call| {
                let (tell, answer) = oneshot::channel();
                let gate = Arc::clone(&gate);
                self.fixture.spawn(Box::pin(async move {
                    let _ = gate.acquire().await;
                    let _ = tell.send(call.await);
                }));
                answer
            })
            .collect();
        gate.close();
        let mut outputs = Vec::with_capacity(answers.len());
        for answer in answers {
            let lost = || Stop::Broken("a call panicked, or the fixture's `spawn` did not run it to its end".into());
            outputs.push(answer.await.map_err(|_| lost())??);
        }
        Ok(outputs)
    }
}

/// What made a life longer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Prolonged {
    Touch,
    Set,
}

/// What comes after this record: the next version, another state.
pub(super) fn next(record: &Record, change: impl FnOnce(&mut RecordParts)) -> Record {
    let mut parts = record.clone().into_parts();
    parts.version = Version::new(record.version().get() + 1);
    parts.state = noise(80);
    change(&mut parts);
    Record::from_parts(parts)
}

/// The same record, as of this version.
pub(super) fn at_version(record: &Record, number: u64) -> Record {
    let mut parts = record.clone().into_parts();
    parts.version = Version::new(number);
    Record::from_parts(parts)
}

pub(super) fn version_of(record: &Record) -> u64 {
    record.version().get()
}

/// Bytes that no compression or text column leaves as they are by chance.
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

/// The instant, at the precision that records keep.
pub(super) fn milliseconds(instant: OffsetDateTime) -> OffsetDateTime {
    Timestamp::from(instant).into()
}
