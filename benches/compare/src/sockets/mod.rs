//! Whole requests over loopback sockets: a server of one and of two worker threads, and clients that keep their
//! connections, as a proxy does.
//!
//! A server is a process of its own, so that its processor time is its own: unlike the requests a second, it says little
//! of what else the machine does. Those of all candidates wait side by side, and have short turns one after another.

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

/// The worker threads of the servers.
const WORKERS: [usize; 2] = [1, 2];

/// What is sent.
const SENT: [Sent; 6] = [
    Sent { name: ROWS[1].name, row: 1, sessions: client::ALL },
    Sent { name: ROWS[2].name, row: 2, sessions: client::ALL },
    Sent { name: ROWS[4].name, row: 4, sessions: client::ALL },
    Sent { name: ROWS[5].name, row: 5, sessions: client::ALL },
    Sent { name: "increment, all in one session", row: 5, sessions: 1 },
    Sent { name: ROWS[7].name, row: 7, sessions: 0 },
];

/// A row, and how many sessions the connections have: each its own, or all the same.
struct Sent {
    name: &'static str,
    row: usize,
    sessions: usize,
}

/// How often new servers are started: two processes of one program differ a little in where their memory lies.
const STARTS: usize = 5;

/// Rounds of each start; in each, the candidates have their turns.
const ROUNDS: usize = 16;

/// How long one turn is.
const TURN: Duration = Duration::from_millis(40);

/// Who is measured: the layer that does nothing is the bare router.
const CANDIDATES: [Candidate; 4] =
    [Candidate::Noop, Candidate::TowerSessions, Candidate::AxumSession, Candidate::Sessile];

/// What one row has shown.
struct Measured {
    name: &'static str,
    workers: usize,
    /// Processor time of the server for a request, in microseconds.
    cost: Series,
    /// Requests a second.
    rate: Series,
    /// Where all increments are of one session: of those that were answered with success, the share that is in the counter.
    kept: Option<[f64; CANDIDATES.len()]>,
}

/// A figure of each candidate, in the order of [`CANDIDATES`].
struct Series {
    medians: Vec<f64>,
    /// In proportion to the bare router's in the same round.
    shares: Vec<Quartiles>,
}

/// Measures, on the Redis server of this URL or in memory, prints the tables, and writes the plot to `path`.
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

/// A server and its client.
struct Turns {
    server: Server,
    client: Client,
    /// All requests so far.
    answered: f64,
}

impl Turns {
    fn start(redis: Option<&str>, candidate: Candidate, sent: &Sent, workers: usize) -> Result<Self> {
        let server = Server::start(redis, candidate, sent.row, workers, sent.sessions)?;
        let mut client = Client::connect(server.address(), ROWS[sent.row].path, server.cookies())?;
        // Code is warm, and connections to a database are made, before anything is measured.
        let answered = client.send(TURN)?.answered;
        Ok(Self { server, client, answered })
    }

    /// What a request takes of the server, in microseconds, and how many it answers in a second.
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
