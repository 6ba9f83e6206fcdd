//! The cost of a request over a layer that does nothing: allocations and time.

use std::time::{Duration, Instant};

use crate::candidate::{Candidate, Serving};
use crate::client::Client;
use crate::heap;
use crate::stats::median;
use crate::workload::Row;

/// Number of requests before a measurement, which warm code and caches and fill the store.
const WARM_UP: usize = 2_000;

/// Number of requests whose allocations are counted.
const COUNTED: usize = 65;

/// Number of requests timed together.
const BATCH: usize = 128;

/// Number of batches per candidate and round. The median of the batches counts, so that an interruption or a growing
/// map has no effect.
const BATCHES: usize = 15;

/// Number of rounds, each with new applications. The median of the rounds is reported.
const ROUNDS: usize = 31;

/// One figure per candidate, at its [`Candidate::index`].
pub(crate) type PerCandidate<T> = [T; Candidate::ALL.len()];

/// Cost of the requests of one row.
#[derive(Debug)]
pub(crate) struct Cost {
    /// Allocations of a request, minus those over the no-op layer.
    pub(crate) allocations: PerCandidate<i64>,
    /// Nanoseconds of a request, minus those over the no-op layer. For the no-op layer: all of them.
    pub(crate) nanoseconds: PerCandidate<f64>,
    /// Ratio of these nanoseconds to those of tower-sessions in the same round.
    pub(crate) time_ratio: PerCandidate<f64>,
}

/// Measures one row.
pub(crate) async fn measure(row: &Row, serving: Serving) -> Cost {
    let mut allocations = [0; Candidate::ALL.len()];
    for candidate in Candidate::ALL {
        allocations[candidate.index()] = count_allocations(row, candidate, serving).await;
    }
    let base = allocations[Candidate::Noop.index()];

    let mut rounds = Vec::with_capacity(ROUNDS);
    for number in 0..ROUNDS {
        rounds.push(time_round(row, serving, number).await);
    }
    let over_noop = |round: &PerCandidate<f64>, of: Candidate| round[of.index()] - round[Candidate::Noop.index()];
    Cost {
        allocations: allocations.map(|calls| calls - base),
        nanoseconds: Candidate::ALL.map(|of| match of {
            Candidate::Noop => median(rounds.iter().map(|round| round[of.index()])),
            _ => median(rounds.iter().map(|round| over_noop(round, of))),
        }),
        time_ratio: Candidate::ALL.map(|of| {
            median(rounds.iter().map(|round| over_noop(round, of) / over_noop(round, Candidate::TowerSessions)))
        }),
    }
}

/// Returns the allocations of a request, the median of [`COUNTED`].
async fn count_allocations(row: &Row, candidate: Candidate, serving: Serving) -> i64 {
    let mut client = warm(row, candidate, serving).await;
    let mut counts = Vec::with_capacity(COUNTED);
    for _ in 0..COUNTED {
        let request = client.request(row.path);
        heap::count(true);
        let before = heap::calls();
        let response = client.send(request).await;
        let after = heap::calls();
        heap::count(false);
        drop(response);
        counts.push(i64::try_from(after - before).expect("few allocations"));
    }
    counts.sort_unstable();
    counts[COUNTED / 2]
}

/// Returns the time of a request in nanoseconds, by candidate.
///
/// The batches of the candidates alternate, and each round starts with another candidate, so that a disturbance affects
/// all.
async fn time_round(row: &Row, serving: Serving, number: usize) -> PerCandidate<f64> {
    let mut clients = Vec::with_capacity(Candidate::ALL.len());
    for candidate in Candidate::ALL {
        clients.push(warm(row, candidate, serving).await);
    }
    let mut batches = Candidate::ALL.map(|_| Vec::with_capacity(BATCHES));
    for batch in 0..BATCHES {
        for turn in 0..clients.len() {
            let index = (turn + number + batch) % clients.len();
            let time = time_batch(row, &mut clients[index]).await;
            batches[index].push(time.as_secs_f64() * 1e9 / BATCH as f64);
        }
    }
    batches.map(median)
}

async fn time_batch(row: &Row, client: &mut Client) -> Duration {
    let requests: Vec<_> = (0..BATCH).map(|_| client.request(row.path)).collect();
    let start = Instant::now();
    for request in requests {
        client.send(request).await;
    }
    start.elapsed()
}

async fn warm(row: &Row, candidate: Candidate, serving: Serving) -> Client {
    let mut client = Client::seeded(candidate, serving, row.seed).await;
    for _ in 0..WARM_UP {
        let request = client.request(row.path);
        client.send(request).await;
    }
    client
}
