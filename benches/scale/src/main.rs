//! `MemoryStore` from a thousand sessions to ten million: what an operation costs, what a session takes, and what a mass
//! expiry does to the requests that come after it.
//!
//! ```text
//! cargo run --release --manifest-path benches/scale/Cargo.toml [most sessions [least sessions]]
//! ```
//!
//! Prints a table, and draws `docs/scale.svg`.

mod heap;
mod plot;

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::process::{Command, Stdio};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use sessile::testing::ManualClock;
use sessile::{MemoryStore, SessionId, SessionLayer, Sessions};
use sessile::store::{Expected, Record, Store, Touch, Version};

const THREADS: [usize; 2] = [1, 2];

/// Operations timed together.
const BATCH: usize = 1_000;

const BATCHES: usize = 100;

/// What a server allocates for a request, at least.
const BUFFER: usize = 8 * 1024;

/// How long a session lives, without use.
const HOUR: Duration = Duration::from_secs(3_600);

/// What a row of the table says.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) sessions: usize,
    pub(crate) owned: bool,
    pub(crate) threads: usize,
    pub(crate) bytes: f64,
    /// Nanoseconds.
    pub(crate) get: f64,
    pub(crate) set: f64,
    /// The longest of all insertions, in milliseconds.
    pub(crate) slowest_insert: f64,
    pub(crate) reclaim: Reclaim,
}

/// What came of a mass expiry.
#[derive(Debug, Default)]
pub(crate) struct Reclaim {
    /// How many requests it took until everything was free, and milliseconds.
    pub(crate) requests: usize,
    pub(crate) took: f64,
    /// The most records that one request freed.
    pub(crate) most: usize,
    /// The longest of these requests, in milliseconds, by the clock on the wall and by the processor's.
    pub(crate) slowest: f64,
    pub(crate) slowest_cpu: f64,
    /// Of a session's bytes, how many are left for each of those that have gone.
    pub(crate) left: f64,
}

/// Three keys, as in the other measurements.
#[derive(Serialize)]
struct Visitor {
    visits: u64,
    user: User,
    theme: &'static str,
}

#[derive(Serialize)]
struct User {
    id: u64,
    name: &'static str,
}

fn visitor(number: usize) -> Visitor {
    Visitor { visits: number as u64, user: User { id: number as u64, name: "Ada Lovelace" }, theme: "dark" }
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some("row") {
        return measure_row();
    }
    let argument = |number| std::env::args().nth(number).map(|value| value.parse().expect("a number of sessions"));
    let most: usize = argument(1).unwrap_or(10_000_000);
    let least: usize = argument(2).unwrap_or(1_000);
    let mut rows = Vec::new();
    println!(
        "| sessions | of owners | threads | bytes a session | get, ns | set, ns | longest insertion, ms | freed after, requests | \
         in, ms | most at once | longest request, ms | of that on the processor, ms | bytes left, each |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for owned in [false, true] {
        let mut sessions = least;
        // What has an owner is a tenth as many at most: the table is long enough.
        while sessions <= if owned { most / 10 } else { most } {
            for threads in THREADS {
                let row = measure_apart(sessions, owned, threads);
                print(&row);
                rows.push(row);
            }
            sessions *= 10;
        }
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/scale.svg");
    std::fs::write(file, plot::draw(&rows)).expect("docs/scale.svg can be written");
}

/// A row, measured by a process of its own: what the heap has been through is felt for long after.
fn measure_apart(sessions: usize, owned: bool, threads: usize) -> Row {
    let program = std::env::current_exe().expect("a program has a file");
    let arguments = ["row".to_owned(), sessions.to_string(), owned.to_string(), threads.to_string()];
    let measured = Command::new(program).args(arguments).stderr(Stdio::inherit()).output().expect("it starts again");
    assert!(measured.status.success(), "{sessions} sessions on {threads} threads: {}", measured.status);
    let said = String::from_utf8(measured.stdout).expect("it says numbers");
    let said: Vec<f64> = said.split_whitespace().map(|number| number.parse().expect("it says numbers")).collect();
    let &[bytes, get, set, slowest_insert, requests, took, most, slowest, slowest_cpu, left] = &*said else {
        panic!("a row is ten numbers: {said:?}")
    };
    let reclaim = Reclaim { requests: requests as usize, took, most: most as usize, slowest, slowest_cpu, left };
    Row { sessions, owned, threads, bytes, get, set, slowest_insert, reclaim }
}

fn measure_row() {
    let argument = |number| std::env::args().nth(number).expect("a row is named by three arguments");
    let number = |at| argument(at).parse().expect("a number");
    let row = measure(number(2), argument(3) == "true", number(4));
    let Row { bytes, get, set, slowest_insert, reclaim, .. } = row;
    let Reclaim { requests, took, most, slowest, slowest_cpu, left } = reclaim;
    println!("{bytes} {get} {set} {slowest_insert} {requests} {took} {most} {slowest} {slowest_cpu} {left}");
}

fn print(row: &Row) {
    let Row { sessions, owned, threads, bytes, get, set, slowest_insert, reclaim } = row;
    let Reclaim { requests, took, most, slowest, slowest_cpu, left } = reclaim;
    let owned = if *owned { "yes" } else { "no" };
    println!(
        "| {sessions} | {owned} | {threads} | {bytes:.0} | {get:.0} | {set:.0} | {slowest_insert:.2} | {requests} | {took:.0} \
         | {most} | {slowest:.2} | {slowest_cpu:.2} | {left:.1} |"
    );
}

fn measure(sessions: usize, owned: bool, threads: usize) -> Row {
    let clock = ManualClock::new();
    let store = MemoryStore::new().with_clock(&clock);
    let layer = SessionLayer::builder(store.clone()).with_clock(&clock).build().expect("the defaults work");
    let outside = layer.sessions();
    let mut slowest_insert = Duration::ZERO;
    let mut random = 5;
    let mut ids = Vec::with_capacity(sessions);
    let (bytes, ()) = heap::left_by(|| {
        for number in 0..sessions {
            let began = processor_time();
            ids.push(create(&outside, &store, number, owned));
            slowest_insert = slowest_insert.max(processor_time().saturating_sub(began));
            use_once_more(&store, &clock, &ids[number], &mut random);
        }
    });
    let get = on_threads(threads, &ids, |ids| {
        for id in ids {
            black_box(now(store.get(id)).expect("it does not fail"));
        }
    });
    let set = on_threads(threads, &ids, |ids| {
        for id in ids {
            let Some(record) = now(store.get(id)).expect("it does not fail") else { continue };
            let (record, expected) = next(record);
            let _ = black_box(now(store.set(&record, expected)).expect("it does not fail"));
        }
    });
    let left = heap::left_by(|| reclaim(&store, &clock, &ids[..ids.len().min(1_000)], threads));
    let (freed, mut reclaim) = left;
    reclaim.left = (bytes + freed) as f64 / sessions as f64;
    let bytes = bytes as f64 / sessions as f64;
    Row { sessions, owned, threads, bytes, get, set, slowest_insert: milliseconds(slowest_insert), reclaim }
}

fn create(outside: &Sessions, store: &MemoryStore, number: usize, owned: bool) -> SessionId {
    let (id, _) = now(outside.create(&visitor(number))).expect("it does not fail");
    if owned {
        let record = now(store.get(&id)).expect("it does not fail").expect("it was just created");
        let (record, expected) = next(record);
        let mut parts = record.into_parts();
        parts.owner = Some(format!("user:{number}").into());
        let _ = now(store.set(&Record::from_parts(parts), expected)).expect("it does not fail");
    }
    id
}

/// At some time within an hour, so that sessions do not expire in the order in which they were created.
fn use_once_more(store: &MemoryStore, clock: &ManualClock, id: &SessionId, random: &mut u64) {
    let record = now(store.get(id)).expect("it does not fail").expect("it was just created");
    let last_seen = clock.now() + Duration::from_millis(choose(random, 3_600_000) as u64);
    assert!(now(store.touch(&record, Touch::new(last_seen, last_seen + HOUR))).expect("it does not fail"));
}

/// The same record, a version on.
fn next(record: Record) -> (Record, Expected) {
    let mut parts = record.into_parts();
    let expected = Expected::Version(parts.version);
    parts.version = Version::new(parts.version.get() + 1);
    (Record::from_parts(parts), expected)
}

/// The median nanoseconds of an operation on sessions chosen at random, over batches on so many threads at once.
fn on_threads(threads: usize, ids: &[SessionId], work: impl Fn(&[SessionId]) + Sync) -> f64 {
    let mut samples: Vec<f64> = std::thread::scope(|scope| {
        let run = |thread: usize| {
            let work = &work;
            move || {
                let mut random = thread as u64 + 1;
                let mut samples = Vec::new();
                for _ in 0..BATCHES {
                    let chosen: Vec<SessionId> = (0..BATCH).map(|_| ids[choose(&mut random, ids.len())]).collect();
                    let began = Instant::now();
                    work(&chosen);
                    samples.push(began.elapsed().as_nanos() as f64 / BATCH as f64);
                }
                samples
            }
        };
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(run(thread))).collect();
        running.into_iter().flat_map(|running| running.join().expect("no measurement fails")).collect()
    });
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// Everything expires at once; then requests come, which find nothing, until all of it is free.
fn reclaim(store: &MemoryStore, clock: &ManualClock, ids: &[SessionId], threads: usize) -> Reclaim {
    clock.advance(3 * HOUR);
    let began = Instant::now();
    let each: Vec<Reclaim> = std::thread::scope(|scope| {
        // This thread is one of them: it has made the sessions, and what it frees goes back to where it came from.
        let running: Vec<_> = (1..threads).map(|thread| scope.spawn(move || free_all(store, ids, thread))).collect();
        let own = free_all(store, ids, 0);
        running.into_iter().map(|running| running.join().expect("no measurement fails")).chain([own]).collect()
    });
    let took = milliseconds(began.elapsed());
    let most = |of: fn(&Reclaim) -> f64| each.iter().map(of).fold(0.0, f64::max);
    Reclaim {
        requests: each.iter().map(|seen| seen.requests).sum(),
        took,
        most: each.iter().map(|seen| seen.most).max().unwrap_or(0),
        slowest: most(|seen| seen.slowest),
        slowest_cpu: most(|seen| seen.slowest_cpu),
        left: 0.0,
    }
}

/// Requests that find nothing, one after another, until the store is empty.
fn free_all(store: &MemoryStore, ids: &[SessionId], thread: usize) -> Reclaim {
    let mut random = thread as u64 + 77;
    let mut seen = Reclaim::default();
    while !store.is_empty() {
        let id = &ids[choose(&mut random, ids.len())];
        let held = store.len();
        let (wall, processor) = (Instant::now(), processor_time());
        // A server reads a request into a buffer. It matters here: an allocation of this size has glibc put together the small
        // pieces that were freed since the last one, which without any would be a million at once.
        black_box(vec![0_u8; BUFFER]);
        black_box(now(store.get(id)).expect("it does not fail"));
        let processor = processor_time().saturating_sub(processor);
        seen.slowest = seen.slowest.max(milliseconds(wall.elapsed()));
        seen.slowest_cpu = seen.slowest_cpu.max(milliseconds(processor));
        // Others free some meanwhile.
        seen.most = seen.most.max(held.saturating_sub(store.len()));
        seen.requests += 1;
    }
    seen
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// What this thread has had of a processor.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

/// SplitMix64.
fn choose(state: &mut u64, of: usize) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) % of as u64) as usize
}

/// What a future says that never waits.
fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => unreachable!("a store in memory does not wait"),
    }
}
