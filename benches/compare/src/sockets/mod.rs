//! Whole requests over loopback sockets: a server of one and of two worker threads, and clients that keep their
//! connections, as a proxy does.

mod client;
mod plot;

use std::io::Result;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::candidate::{Candidate, Serving};
use crate::client::Client;
use crate::stats::median;
use crate::workload::{ROWS, Row};

/// The worker threads of the servers.
const WORKERS: [usize; 2] = [1, 2];

/// The rows that are sent, by their numbers.
const SENT: [usize; 5] = [1, 2, 4, 5, 7];

/// Rounds, each with new applications; in each, the candidates have their turns.
const ROUNDS: usize = 9;

/// How long one turn is.
const TURN: Duration = Duration::from_millis(150);

/// Who is measured: the layer that does nothing is the bare router.
const CANDIDATES: [Candidate; 4] =
    [Candidate::Noop, Candidate::TowerSessions, Candidate::AxumSession, Candidate::Sessile];

/// Requests a second of one row.
struct Measured {
    row: &'static Row,
    workers: usize,
    /// In the order of [`CANDIDATES`].
    rates: Vec<f64>,
    /// The former, over that of the bare router in the same round.
    shares: Vec<f64>,
}

/// Measures, prints the table, and writes the plot to `path`.
pub(crate) fn run(path: &str) -> Result<()> {
    let mut all = Vec::new();
    for workers in WORKERS {
        for row in SENT.map(|number| &ROWS[number]) {
            eprintln!("measuring: {} on {workers}", row.name);
            all.push(measure(row, workers)?);
        }
    }
    print(&all);
    std::fs::write(path, plot::svg(&all))
}

fn measure(row: &'static Row, workers: usize) -> Result<Measured> {
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        let mut rates = vec![0.0; CANDIDATES.len()];
        for turn in 0..CANDIDATES.len() {
            let index = (turn + round) % CANDIDATES.len();
            rates[index] = rate(CANDIDATES[index], row, workers)?;
        }
        rounds.push(rates);
    }
    let each = |of: fn(&[f64], usize) -> f64| {
        (0..CANDIDATES.len()).map(|index| median(rounds.iter().map(|rates| of(rates, index)))).collect()
    };
    let rates = each(|rates, index| rates[index]);
    let shares = each(|rates, index| rates[index] / rates[0]);
    Ok(Measured { row, workers, rates, shares })
}

/// The requests a second that a new server of this candidate answers.
fn rate(candidate: Candidate, row: &Row, workers: usize) -> Result<f64> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()?;
    let (address, cookie) = runtime.block_on(serve(&runtime, candidate, row))?;
    let rate = client::rate(address, row.path, cookie.as_deref(), TURN);
    runtime.shutdown_timeout(Duration::from_secs(1));
    rate
}

async fn serve(runtime: &Runtime, candidate: Candidate, row: &Row) -> Result<(SocketAddr, Option<String>)> {
    let app = candidate.app(Serving::Served, None).await;
    let mut client = Client::new(app.clone());
    if let Some(seed) = row.seed {
        client.sign_on(seed).await;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    runtime.spawn(async move { axum::serve(listener, app).await });
    Ok((address, client.cookie().map(str::to_owned)))
}

fn print(all: &[Measured]) {
    print!("| request | workers |");
    CANDIDATES.iter().for_each(|candidate| print!(" {} |", name(*candidate)));
    println!("\n|---|---|{}", "---|".repeat(CANDIDATES.len()));
    for Measured { row, workers, rates, shares } in all {
        print!("| {} | {workers} |", row.name);
        for (rate, share) in rates.iter().zip(shares) {
            print!(" {:.2} ({:.0} /s) |", share, rate);
        }
        println!();
    }
}

fn name(candidate: Candidate) -> &'static str {
    if candidate == Candidate::Noop { "bare router" } else { candidate.name() }
}
