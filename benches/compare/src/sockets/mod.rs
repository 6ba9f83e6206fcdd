//! Whole requests over loopback sockets, to servers with one and two worker threads.
//!
//! The clients keep their connections, as a proxy does. Each server is a separate process, so that its processor time
//! can be measured; unlike requests per second, it depends little on the machine's other load. The servers of all
//! candidates run side by side and are measured in short turns.

mod client;
mod plot;
pub(crate) mod server;

use std::io::Result;
use std::time::Duration;

use crate::candidate::Candidate;
use crate::sockets::client::Client;
use crate::sockets::server::Server;
use crate::stats::{Quartiles, median, quartiles};
use crate::workload::ROWS;

/// Numbers of worker threads.
const WORKERS: [usize; 2] = [1, 2];

/// Rows measured.
const SENT: [Sent; 6] = [
    Sent { name: ROWS[1].name, row: 1, sessions: client::ALL },
    Sent { name: ROWS[2].name, row: 2, sessions: client::ALL },
    Sent { name: ROWS[4].name, row: 4, sessions: client::ALL },
    Sent { name: ROWS[5].name, row: 5, sessions: client::ALL },
    Sent { name: "increment, all in one session", row: 5, sessions: 1 },
    Sent { name: ROWS[7].name, row: 7, sessions: 0 },
];

/// Row, and the number of sessions that the connections share.
struct Sent {
    name: &'static str,
    row: usize,
    sessions: usize,
}

/// Number of times that new servers are started, since the memory layout of a process affects its speed.
const STARTS: usize = 5;

/// Number of rounds per start, each with one turn per candidate.
const ROUNDS: usize = 16;

/// Length of one turn.
const TURN: Duration = Duration::from_millis(40);

/// Candidates measured. The no-op layer is shown as the bare router.
const CANDIDATES: [Candidate; 4] =
    [Candidate::Noop, Candidate::TowerSessions, Candidate::AxumSession, Candidate::Sessile];

/// Result of one row.
struct Measured {
    name: &'static str,
    workers: usize,
    /// Processor time of the server per request, in microseconds.
    cost: Series,
    /// Requests per second.
    rate: Series,
    /// If all increments share a session: the share of the successful ones that the counter holds.
    kept: Option<[f64; CANDIDATES.len()]>,
}

/// Figure of each candidate, in the order of [`CANDIDATES`].
struct Series {
    medians: Vec<f64>,
    /// Ratio to the bare router in the same round.
    shares: Vec<Quartiles>,
}

/// Measures on the Redis server with this URL or in memory, prints the tables, and writes the plot to `path`.
pub(crate) fn run(redis: Option<&str>, path: &str) -> Result<()> {
    let mut all = Vec::new();
    for workers in WORKERS {
        for sent in &SENT {
            eprintln!("measuring: {} on {workers}", sent.name);
            all.push(measure(redis, sent, workers)?);
        }
    }
    println!("\nProcessor time of the server for a request, over the bare router's\n");
    print(&all, |measured| &measured.cost, " µs");
    println!("\nRequests a second, over the bare router's\n");
    print(&all, |measured| &measured.rate, " /s");
    println!("\nOf the increments of one session that were answered 200, those that are in the counter afterwards\n");
    print_kept(&all);
    std::fs::write(path, plot::svg(&all))
}

fn measure(redis: Option<&str>, sent: &Sent, workers: usize) -> Result<Measured> {
    let mut costs = Vec::new();
    let mut rates = Vec::new();
    let mut counted = [0.0; CANDIDATES.len()];
    let mut answered = counted;
    for _ in 0..STARTS {
        let mut turns = Vec::new();
        for candidate in CANDIDATES {
            turns.push(Turns::start(redis, candidate, sent, workers)?);
        }
        for round in 0..ROUNDS {
            let mut cost = [0.0; CANDIDATES.len()];
            let mut rate = cost;
            for turn in 0..CANDIDATES.len() {
                let index = (turn + round) % CANDIDATES.len();
                (cost[index], rate[index]) = turns[index].take()?;
            }
            costs.push(cost);
            rates.push(rate);
        }
        if sent.sessions == 1 {
            for (index, turns) in turns.iter_mut().enumerate() {
                counted[index] += turns.client.number("/counter")?;
                answered[index] += turns.answered;
            }
        }
    }
    let kept = (sent.sessions == 1).then(|| std::array::from_fn(|index| counted[index] / answered[index]));
    Ok(Measured { name: sent.name, workers, cost: series(&costs), rate: series(&rates), kept })
}

/// Server and its client.
struct Turns {
    server: Server,
    client: Client,
    /// Number of responses so far.
    answered: f64,
}

impl Turns {
    fn start(redis: Option<&str>, candidate: Candidate, sent: &Sent, workers: usize) -> Result<Self> {
        let server = Server::start(redis, candidate, sent.row, workers, sent.sessions)?;
        let mut client = Client::connect(server.address(), ROWS[sent.row].path, server.cookies())?;
        // A first turn warms the code and opens database connections.
        let answered = client.send(TURN)?.answered;
        Ok(Self { server, client, answered })
    }

    /// Returns the server's processor time per request in microseconds, and the requests per second.
    fn take(&mut self) -> Result<(f64, f64)> {
        let before = self.server.processor_time()?;
        let sent = self.client.send(TURN)?;
        let spent = self.server.processor_time()? - before;
        self.answered += sent.answered;
        Ok((spent.as_secs_f64() * 1e6 / sent.answered, sent.answered / sent.seconds))
    }
}

fn series(rounds: &[[f64; CANDIDATES.len()]]) -> Series {
    Series {
        medians: (0..CANDIDATES.len()).map(|index| median(rounds.iter().map(|round| round[index]))).collect(),
        shares: (0..CANDIDATES.len())
            .map(|index| quartiles(rounds.iter().map(|round| round[index] / round[0])))
            .collect(),
    }
}

fn print(all: &[Measured], of: fn(&Measured) -> &Series, unit: &str) {
    print_heading();
    for measured in all {
        print!("| {} | {} |", measured.name, measured.workers);
        let series = of(measured);
        for (index, share) in series.shares.iter().enumerate() {
            if index == 0 {
                let digits = if series.medians[0] < 100.0 { 1 } else { 0 };
                print!(" {:.digits$}{unit} |", series.medians[0]);
            } else {
                print!(" {:.2} ({:.2}–{:.2}) |", share.median, share.low, share.high);
            }
        }
        println!();
    }
}

fn print_kept(all: &[Measured]) {
    print_heading();
    for (measured, kept) in all.iter().filter_map(|measured| Some((measured, measured.kept?))) {
        print!("| {} | {} | |", measured.name, measured.workers);
        kept[1..].iter().for_each(|share| print!(" {:.1} % |", share * 100.0));
        println!();
    }
}

fn print_heading() {
    print!("| request | workers |");
    CANDIDATES.iter().for_each(|candidate| print!(" {} |", name(*candidate)));
    println!("\n|---|---|{}", "---|".repeat(CANDIDATES.len()));
}

fn name(candidate: Candidate) -> &'static str {
    if candidate == Candidate::Noop { "bare router" } else { candidate.name() }
}
