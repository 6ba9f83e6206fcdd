//! Measures sessile beside tower-sessions and axum_session: on the same handlers, in one process, in turn.
//!
//! ```text
//! cargo run --release                     the tables: requests, memory, scaling, races
//! cargo run --release -- bare             the same, the router called without its state given first
//! cargo run --release -- sites [bare]     where sessile allocates in a request of each row
//! cargo run --release -- races            the last table alone: requests that run in parallel
//! cargo run --release -- sockets [FILE]   whole requests over loopback sockets: a table, and a plot in FILE
//! cargo run --release -- rows             the names of the rows, in their order
//! cargo run --release -- send C R N       one candidate's requests of one row, N of them: for a profiler, and for
//!                                         benches/instructions, which counts what they take
//! ```

mod candidate;
mod check;
mod client;
mod heap;
mod memory;
mod races;
mod report;
mod requests;
mod scaling;
mod send;
mod sites;
mod sockets;
mod stats;
mod workload;

use crate::candidate::{Candidate, Serving};

fn main() -> std::io::Result<()> {
    let has = |name: &str| std::env::args().skip(1).any(|argument| argument == name);
    if has("races") {
        return races();
    }
    if has("sockets") {
        let path = std::env::args().nth(2).unwrap_or_else(|| "sockets.svg".to_owned());
        return sockets::run(&path);
    }
    if has("rows") {
        workload::ROWS.iter().for_each(|row| println!("{}", row.name));
        return Ok(());
    }
    if has("send") {
        let arguments: Vec<String> = std::env::args().skip(2).collect();
        return send::run(&arguments);
    }
    let serving = if has("bare") { Serving::Bare } else { Serving::Served };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(async {
        check::every_candidate(serving).await;
        if has("sites") {
            sites::print(serving).await;
        } else {
            compare(serving).await;
        }
    });
    if has("sites") { Ok(()) } else { races() }
}

/// Apart from the rest, on a runtime of its own: whatever is timed has one thread.
fn races() -> std::io::Result<()> {
    eprintln!("measuring: races");
    report::races(&races::measure()?);
    Ok(())
}

async fn compare(serving: Serving) {
    let mut rows = Vec::new();
    for row in &workload::ROWS {
        eprintln!("measuring: {}", row.name);
        rows.push((row, requests::measure(row, serving).await));
    }
    report::allocations(&rows);
    report::times(&rows);

    let mut stores = Vec::new();
    for candidate in Candidate::LAYERS {
        eprintln!("measuring: memory of {}", candidate.name());
        stores.push((candidate, memory::measure(candidate).await));
    }
    report::memory(&stores);

    eprintln!("measuring: scaling");
    match scaling::measure().await {
        Ok(sizes) => report::scaling(&sizes),
        Err(error) => eprintln!("a store in memory failed: {error}"),
    }
}
