//! Linearizability of `MemoryStore` under a scheduler that chooses which thread runs next.
//!
//! `SESSILE_SCHEDULES` sets the number of schedules; `SESSILE_SEED` runs the schedules of one seed.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod model;

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use model::{IDS, Op, Row, Timed, Written, is_explained};
use sessile::store::{Expected, Outcome, Record, RecordParts, Store, StoreErrorKind, Touch, Version};
use sessile::testing::ManualClock;
use sessile::{MemoryStore, SessionId};
use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};
use time::OffsetDateTime;

/// Number of schedules that one seed determines.
const BATCH: usize = 250;

const OWNERS: [&str; 2] = ["ada", "bob"];

/// Two or three threads on two ids, each id in a shard of its own.
#[test]
fn operations_on_two_shards_are_linearizable() {
    run(false, false);
}

/// The same with both ids in one shard.
#[test]
fn operations_on_one_shard_are_linearizable() {
    run(true, false);
}

/// The same with a limit of one record: a full store evicts sessions without an owner and no others.
#[test]
fn operations_on_a_full_store_are_linearizable() {
    run(false, true);
}

/// Runs a third of the schedules: half at random, half with three preemptions (probabilistic concurrency testing).
fn run(same_shard: bool, bounded: bool) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seeds = match number("SESSILE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SESSILE_SCHEDULES").unwrap_or(100_000).div_ceil(3 * BATCH as u64),
    };
    let mut config = Config::new();
    config.silence_warnings = true;
    for seed in seeds {
        let report = Report { seed, begun: Arc::default() };
        let begun = Arc::clone(&report.begun);
        let work = move || {
            begun.fetch_add(1, Ordering::Relaxed);
            observe(same_shard, bounded);
        };
        if seed % 2 == 0 {
            Runner::new(RandomScheduler::new_from_seed(seed, BATCH), config.clone()).run(work);
        } else {
            Runner::new(PctScheduler::new_from_seed(seed, 3, BATCH), config.clone()).run(work);
        }
        std::mem::forget(report);
    }
}

/// Prints the seed if one of its schedules panics.
struct Report {
    seed: u64,
    /// Number of schedules begun.
    begun: Arc<AtomicUsize>,
}

impl Drop for Report {
    fn drop(&mut self) {
        eprintln!("SESSILE_SEED={}, its schedule {}", self.seed, self.begun.load(Ordering::Relaxed));
    }
}

/// Runs one schedule of random operations and checks what they observed.
fn observe(same_shard: bool, bounded: bool) {
    let clock = ManualClock::at(OffsetDateTime::UNIX_EPOCH);
    let mut store = MemoryStore::new().with_clock(&clock);
    if bounded {
        store = store.with_capacity_limit(1);
    }
    let count = thread_rng().gen_range(2..=3);
    let test = Arc::new(Test {
        store,
        clock,
        same_shard,
        events: Mutex::new(0),
        histories: Mutex::new(vec![Vec::new(); count]),
    });
    let threads: Vec<_> = (0..count)
        .map(|thread| {
            let test = Arc::clone(&test);
            shuttle::thread::spawn(move || test.work(thread))
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    test.check_counts(bounded);
    let histories = test.histories.lock().unwrap();
    assert!(is_explained(&histories, bounded), "no order explains {histories:#?}");
}

struct Test {
    store: MemoryStore,
    clock: ManualClock,
    same_shard: bool,
    /// Number of begins and ends so far. Behind a lock of std: the scheduler stops no thread that holds one.
    events: Mutex<usize>,
    histories: Mutex<Vec<Vec<Timed>>>,
}

impl Test {
    fn work(&self, thread: usize) {
        let mut known = [None; IDS];
        for step in 0..thread_rng().gen_range(2..=4_u64) {
            let version = 100 * (thread as u64 + 1) + step;
            self.observe(thread, || self.operate(version, &mut known));
        }
    }

    fn observe(&self, thread: usize, work: impl FnOnce() -> Op) {
        let begun = self.event();
        let op = work();
        let ended = self.event();
        self.histories.lock().unwrap()[thread].push(Timed { op, begun, ended });
    }

    fn event(&self) -> usize {
        let mut events = self.events.lock().unwrap();
        *events += 1;
        *events
    }

    /// Runs one random operation. `known` is the version of each id that this thread saw last.
    fn operate(&self, version: u64, known: &mut [Option<u64>; IDS]) -> Op {
        let mut random = thread_rng();
        let id = random.gen_range(0..IDS);
        let expires = 40 * random.gen_range(1..=6_u64);
        match random.gen_range(0..20) {
            0..=3 => {
                let found = now(self.store.get(&self.id(id))).unwrap().map(|record| self.row(&record));
                known[id] = found.map(|row| row.version);
                Op::Get(id, found)
            }
            4..=10 => {
                let owner = [None, Some(0), Some(1)][random.gen_range(0..3)];
                let row = Row { version, owner, expires };
                let expected = known[id];
                let expects = expected.map_or(Expected::Absent, |version| Expected::Version(Version::new(version)));
                let written = match now(self.store.set(&self.record(id, row), expects)) {
                    Ok(Outcome::Written) => Written::Yes,
                    Ok(Outcome::Refused) => Written::Refused,
                    Err(error) => {
                        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
                        Written::Full
                    }
                };
                known[id] = (written == Written::Yes).then_some(version);
                Op::Set { id, expected, row, written }
            }
            11 | 12 => {
                let Some(version) = known[id] else { return Op::Advance(0) };
                let touch = Touch::new(OffsetDateTime::UNIX_EPOCH, at(expires));
                let record = self.record(id, Row { version, owner: None, expires });
                let touched = now(self.store.touch(&record, touch)).unwrap();
                Op::Touch { id, version, expires, touched }
            }
            13 | 14 => Op::Delete(id, now(self.store.delete(&self.id(id), None)).unwrap()),
            15 | 16 => {
                let owner = random.gen_range(0..2);
                let mut found = [None; IDS];
                for record in now(self.store.owned_by(OWNERS[usize::from(owner)])).unwrap() {
                    let id = (0..IDS).find(|id| self.id(*id) == *record.id()).unwrap();
                    assert!(found[id].replace(self.row(&record)).is_none(), "twice");
                }
                Op::OwnedBy(owner, found)
            }
            17 => {
                now(self.store.delete_expired()).unwrap();
                Op::DeleteExpired
            }
            _ => {
                self.clock.advance(Duration::from_secs(60));
                Op::Advance(60)
            }
        }
    }

    /// Checks that the count is exact and within the limit, and observes the final records and owners.
    fn check_counts(&self, bounded: bool) {
        let thread = self.histories.lock().unwrap().len();
        self.histories.lock().unwrap().push(Vec::new());
        now(self.store.delete_expired()).unwrap();
        let mut live = 0;
        for id in 0..IDS {
            self.observe(thread, || {
                let found = now(self.store.get(&self.id(id))).unwrap().map(|record| self.row(&record));
                live += usize::from(found.is_some());
                Op::Get(id, found)
            });
        }
        assert_eq!(self.store.len(), live);
        assert!(!bounded || live <= 1, "{live} records");
        for (owner, name) in (0..).zip(OWNERS) {
            self.observe(thread, || {
                let mut found = [None; IDS];
                for record in now(self.store.owned_by(name)).unwrap() {
                    let id = (0..IDS).find(|id| self.id(*id) == *record.id()).unwrap();
                    found[id] = Some(self.row(&record));
                }
                Op::OwnedBy(owner, found)
            });
        }
    }

    /// Returns an id whose last byte chooses one of the two shards.
    fn id(&self, number: usize) -> SessionId {
        let last = if self.same_shard { 0 } else { number };
        format!("{:032x}", (number + 1) << 8 | last).parse().unwrap()
    }

    fn record(&self, id: usize, row: Row) -> Record {
        Record::from_parts(RecordParts {
            id: self.id(id),
            version: Version::new(row.version),
            realm: "id".into(),
            owner: row.owner.map(|owner| OWNERS[usize::from(owner)].into()),
            last_seen: OffsetDateTime::UNIX_EPOCH,
            expires_at: at(row.expires),
            state: [].into(),
        })
    }

    fn row(&self, record: &Record) -> Row {
        let owner = record.owner().map(|owner| if owner == OWNERS[0] { 0 } else { 1 });
        let expires = u64::try_from(record.expires_at().unix_timestamp()).unwrap();
        Row { version: record.version().get(), owner, expires }
    }
}

fn at(seconds: u64) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

/// Returns the output of a future that is ready at its first poll.
fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("the memory store does not wait"),
    }
}
