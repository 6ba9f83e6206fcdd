//! Measures sessile beside tower-sessions and axum_session: on the same handlers, in one process, in turn.
//!
//! ```text
//! cargo run --release                     the tables: requests, memory, scaling, races
//! cargo run --release -- bare             the same, the router called without its state given first
//! cargo run --release -- sites [bare]     where sessile allocates in a request of each row
//! cargo run --release -- races            the last table alone: requests that run in parallel
//! cargo run --release -- sockets [FILE]   whole requests over loopback sockets: tables, and a plot in FILE
//! cargo run --release --features redis -- sockets-redis [FILE]
//!                                         the same on a Redis server, which it starts; what each request asks of it; races
//! cargo run --release -- serve C R N S    the server of it: one candidate, S sessions of a row, N worker threads
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
#[cfg(feature = "redis")]
mod redis;
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
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["races"] => return races(),
        ["sockets"] => return sockets::run(None, "sockets.svg"),
        ["sockets", path] => return sockets::run(None, path),
        ["sockets-redis", ref path @ ..] => return sockets_redis(path.first().unwrap_or(&"sockets-redis.svg")),
        ["serve", ..] => return sockets::server::serve(&arguments[1..]),
        ["send", ..] => return send::run(&arguments[1..]),
        ["rows"] => {
            workload::ROWS.iter().for_each(|row| println!("{}", row.name));
            return Ok(());
        }
        _ => {}
    }
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
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
    report::races(&races::measure(None, 1)?);
    Ok(())
}

#[cfg(feature = "redis")]
fn sockets_redis(path: &str) -> std::io::Result<()> {
    redis::run(path)
}

#[cfg(not(feature = "redis"))]
fn sockets_redis(_: &str) -> std::io::Result<()> {
    Err(std::io::Error::other("built without it: cargo run --release --features redis -- sockets-redis"))
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
