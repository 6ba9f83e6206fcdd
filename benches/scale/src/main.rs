//! `MemoryStore` from a thousand sessions to a million: cost of an operation, memory of a session, and the longest request
//! after a mass expiry.
//!
//! ```text
//! cargo run --release --manifest-path benches/scale/Cargo.toml [max sessions [min sessions]]
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
use sessile::store::{Expected, Record, Store, Touch, Version};
use sessile::testing::ManualClock;
use sessile::{MemoryStore, SessionId, SessionLayer, Sessions};

const THREADS: [usize; 2] = [1, 2];

/// Number of operations timed together.
const BATCH: usize = 1_000;

const BATCHES: usize = 100;

/// Size of the buffer that a server allocates to read a request.
const BUFFER: usize = 8 * 1024;

/// Idle timeout of a session.
const HOUR: Duration = Duration::from_secs(3_600);

/// Row of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) sessions: usize,
    pub(crate) owned: bool,
    pub(crate) threads: usize,
    pub(crate) bytes: f64,
    /// Nanoseconds of a get.
    pub(crate) get: f64,
    /// Nanoseconds of a get and a conditional write.
    pub(crate) set: f64,
    /// Milliseconds of the longest insertion.
    pub(crate) slowest_insert: f64,
    pub(crate) reclaim: Reclaim,
}

/// Cost of a mass expiry to the requests after it.
#[derive(Debug, Default)]
pub(crate) struct Reclaim {
    /// Number of requests until all records were free.
    pub(crate) requests: usize,
    /// Milliseconds until all records were free.
    pub(crate) took: f64,
    /// Most records freed during one request.
    pub(crate) most: usize,
    /// Milliseconds of the longest request.
    pub(crate) slowest: f64,
    /// Milliseconds of processor time of the request that took most.
    pub(crate) slowest_cpu: f64,
    /// Live heap bytes left for each freed session.
    pub(crate) left: f64,
}

/// Session data of three keys, as in the other measurements.
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
    let max: usize = argument(1).unwrap_or(1_000_000);
    let min: usize = argument(2).unwrap_or(1_000);
    let mut rows = Vec::new();
    println!(
        "| sessions | owners | threads | bytes a session | get, ns | set, ns | longest insertion, ms | freed after, requests | \
         in, ms | most at once | longest request, ms | of that on the processor, ms | bytes left, each |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for owned in [false, true] {
        let mut sessions = min;
        while sessions <= max {
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

/// Measures a row in a new process, whose heap holds no traces of earlier rows.
fn measure_apart(sessions: usize, owned: bool, threads: usize) -> Row {
    let program = std::env::current_exe().expect("the program has a file");
    let arguments = ["row".to_owned(), sessions.to_string(), owned.to_string(), threads.to_string()];
    let measured =
        Command::new(program).args(arguments).stderr(Stdio::inherit()).output().expect("the program starts again");
    assert!(measured.status.success(), "{sessions} sessions on {threads} threads: {}", measured.status);
    let output = String::from_utf8(measured.stdout).expect("the output is numbers");
    let numbers: Vec<f64> =
        output.split_whitespace().map(|number| number.parse().expect("the output is numbers")).collect();
    let &[bytes, get, set, slowest_insert, requests, took, most, slowest, slowest_cpu, left] = &*numbers else {
        panic!("a row is ten numbers: {numbers:?}")
    };
    let reclaim = Reclaim { requests: requests as usize, took, most: most as usize, slowest, slowest_cpu, left };
    Row { sessions, owned, threads, bytes, get, set, slowest_insert, reclaim }
}

fn measure_row() {
    let argument = |number| std::env::args().nth(number).expect("a row takes three arguments");
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
    let layer = SessionLayer::builder(store.clone()).with_clock(&clock).build().expect("the defaults are valid");
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
            // Ids ascend with the time, which is the order that fills a B-tree worst.
            clock.advance(Duration::from_millis(1));
        }
    });
    let get = on_threads(threads, &ids, |ids| {
        for id in ids {
            black_box(now(store.get(id)).expect("the memory store does not fail"));
        }
    });
    let set = on_threads(threads, &ids, |ids| {
        for id in ids {
            let Some(record) = now(store.get(id)).expect("the memory store does not fail") else { continue };
            let (record, expected) = next(record);
            let _ = black_box(now(store.set(&record, expected)).expect("the memory store does not fail"));
        }
    });
    let left = heap::left_by(|| reclaim(&store, &clock, &ids[..ids.len().min(1_000)], threads));
    let (freed, mut reclaim) = left;
    reclaim.left = (bytes + freed) as f64 / sessions as f64;
    let bytes = bytes as f64 / sessions as f64;
    Row { sessions, owned, threads, bytes, get, set, slowest_insert: milliseconds(slowest_insert), reclaim }
}

fn create(outside: &Sessions, store: &MemoryStore, number: usize, owned: bool) -> SessionId {
    let (id, _) = now(outside.create(&visitor(number))).expect("the memory store does not fail");
    if owned {
        let record =
            now(store.get(&id)).expect("the memory store does not fail").expect("the session was just created");
        let (record, expected) = next(record);
        let mut parts = record.into_parts();
        parts.owner = Some(format!("user:{number}").into());
        let _ = now(store.set(&Record::from_parts(parts), expected)).expect("the memory store does not fail");
    }
    id
}

/// Touches a session at a random time within an hour, so that sessions expire in another order than that of creation.
fn use_once_more(store: &MemoryStore, clock: &ManualClock, id: &SessionId, random: &mut u64) {
    let record = now(store.get(id)).expect("the memory store does not fail").expect("the session was just created");
    let last_seen = clock.now() + Duration::from_millis(choose(random, 3_600_000) as u64);
    assert!(
        now(store.touch(&record, Touch::new(last_seen, last_seen + HOUR))).expect("the memory store does not fail")
    );
}

/// Returns the record with the next version, and the condition of its write.
fn next(record: Record) -> (Record, Expected) {
    let mut parts = record.into_parts();
    let expected = Expected::Version(parts.version);
    parts.version = Version::new(parts.version.get() + 1);
    (Record::from_parts(parts), expected)
}

/// Returns the median nanoseconds of an operation on random sessions, over batches on several threads.
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
        running.into_iter().flat_map(|running| running.join().expect("no measurement panics")).collect()
    });
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// Expires all sessions at once and sends requests until the store is empty.
fn reclaim(store: &MemoryStore, clock: &ManualClock, ids: &[SessionId], threads: usize) -> Reclaim {
    clock.advance(3 * HOUR);
    let began = Instant::now();
    let each: Vec<Reclaim> = std::thread::scope(|scope| {
        // This thread created the sessions, so the allocator returns their memory to this thread's arena.
        let running: Vec<_> = (1..threads).map(|thread| scope.spawn(move || free_all(store, ids, thread))).collect();
        let own = free_all(store, ids, 0);
        running.into_iter().map(|running| running.join().expect("no measurement panics")).chain([own]).collect()
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

/// Reads expired sessions, one after another, until the store is empty.
fn free_all(store: &MemoryStore, ids: &[SessionId], thread: usize) -> Reclaim {
    let mut random = thread as u64 + 77;
    let mut seen = Reclaim::default();
    while !store.is_empty() {
        let id = &ids[choose(&mut random, ids.len())];
        let held = store.len();
        let (wall, processor) = (Instant::now(), processor_time());
        // A server reads a request into a buffer. An allocation of this size makes glibc sort the blocks freed since the
        // last one; without it, a million blocks would be sorted at once.
        black_box(vec![0_u8; BUFFER]);
        black_box(now(store.get(id)).expect("the memory store does not fail"));
        let processor = processor_time().saturating_sub(processor);
        seen.slowest = seen.slowest.max(milliseconds(wall.elapsed()));
        seen.slowest_cpu = seen.slowest_cpu.max(milliseconds(processor));
        // Includes records that other threads freed meanwhile.
        seen.most = seen.most.max(held.saturating_sub(store.len()));
        seen.requests += 1;
    }
    seen
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Returns the processor time of this thread.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

/// Returns a pseudorandom number below `of` (SplitMix64).
fn choose(state: &mut u64, of: usize) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) % of as u64) as usize
}

/// Returns the output of a future that is ready at its first poll.
fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => unreachable!("the memory store does not wait"),
    }
}
