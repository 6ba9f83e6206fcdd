//! The time of one `MemoryStore` operation by store size.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use sessile::{MemoryStore, SessionId};

use sessile::store::{Expected, Outcome, Record, RecordParts, Store, StoreError, Version};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::stats::median;

/// Numbers of sessions. The first is the unit of the ratios.
const SIZES: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];

/// Number of sessions in use, whatever the store's size.
const IN_USE: usize = 1_000;

/// Number of operations timed together.
const BATCH: usize = 250;

/// Number of batches per operation and store. The stores alternate; the median counts.
const BATCHES: usize = 200;

/// Size of a record's state in bytes, about that of three keys. The store does not read it.
const STATE: usize = 256;

/// Nanoseconds of the operations in a store of one size.
#[derive(Debug)]
pub(crate) struct Scaling {
    pub(crate) sessions: usize,
    /// On the same thousand sessions all the time: the cost of the store's own growth.
    pub(crate) in_use: Operations,
    /// On all sessions: the larger the store, the more often the processor's caches miss, as for any map.
    pub(crate) any: Operations,
}

/// Nanoseconds of one operation.
#[derive(Debug)]
pub(crate) struct Operations {
    pub(crate) get: f64,
    /// Conditional write of a record over the current version.
    pub(crate) set: f64,
}

/// Fills a store of each size and times its operations.
pub(crate) async fn measure() -> Result<Vec<Scaling>, StoreError> {
    let mut filled = Vec::new();
    for sessions in SIZES {
        filled.push(Filled::new(sessions).await?);
    }
    let mut samples: Vec<[Vec<f64>; 4]> = SIZES.iter().map(|_| Default::default()).collect();
    for _ in 0..BATCHES {
        for (store, samples) in filled.iter_mut().zip(&mut samples) {
            for (kind, sample) in samples.iter_mut().enumerate() {
                let among = if kind < 2 { IN_USE } else { store.sessions.len() };
                let batch = store.next(among);
                sample.push(match kind {
                    0 | 2 => store.time_get(&batch).await?,
                    _ => store.time_set(&batch).await?,
                });
            }
        }
    }
    let scaling = SIZES.into_iter().zip(samples).map(|(sessions, samples)| {
        let [get_in_use, set_in_use, get_any, set_any] = samples.map(median);
        Scaling {
            sessions,
            in_use: Operations { get: get_in_use, set: set_in_use },
            any: Operations { get: get_any, set: set_any },
        }
    });
    Ok(scaling.collect())
}

/// Store with sessions.
struct Filled {
    store: MemoryStore,
    /// Ids of the sessions, and their current versions.
    sessions: Vec<(SessionId, Version)>,
    position: usize,
}

impl Filled {
    async fn new(sessions: usize) -> Result<Self, StoreError> {
        let mut filled = Self { store: MemoryStore::new(), sessions: Vec::with_capacity(sessions), position: 0 };
        for _ in 0..sessions {
            let (id, version) = (SessionId::from(Uuid::now_v7()), Version::new(1));
            let outcome = filled.store.set(&record(id, version), Expected::Absent).await?;
            assert_eq!(outcome, Outcome::Written, "an id made anew is of no other session");
            filled.sessions.push((id, version));
        }
        Ok(filled)
    }

    /// Returns the next [`BATCH`] of the first `among` sessions. The order differs from that of creation, which is the
    /// order in memory.
    fn next(&mut self, among: usize) -> Vec<usize> {
        // A prime that divides no store size, so that every session is used.
        const STRIDE: usize = 617_861;
        self.position += BATCH;
        let turns = self.position..self.position + BATCH;
        turns.map(|turn| turn * STRIDE % among).collect()
    }

    async fn time_get(&self, batch: &[usize]) -> Result<f64, StoreError> {
        let start = Instant::now();
        for index in batch {
            black_box(self.store.get(&self.sessions[*index].0).await?);
        }
        Ok(nanoseconds_each(start))
    }

    async fn time_set(&mut self, batch: &[usize]) -> Result<f64, StoreError> {
        let mut writes = Vec::with_capacity(batch.len());
        for index in batch {
            let (id, version) = &mut self.sessions[*index];
            let expected = Expected::Version(*version);
            *version = Version::new(version.get() + 1);
            writes.push((record(*id, *version), expected));
        }
        let mut written = 0;
        let start = Instant::now();
        for (record, expected) in &writes {
            written += usize::from(self.store.set(record, *expected).await? == Outcome::Written);
        }
        let time = nanoseconds_each(start);
        assert_eq!(written, writes.len(), "there is no other writer");
        Ok(time)
    }
}

fn record(id: SessionId, version: Version) -> Record {
    let last_seen = OffsetDateTime::now_utc();
    let expires_at = last_seen + Duration::HOUR;
    let state = Arc::from([0; STATE]);
    Record::from_parts(RecordParts { id, version, realm: "id".into(), owner: None, last_seen, expires_at, state })
}

fn nanoseconds_each(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e9 / BATCH as f64
}
