//! Compares sessile with tower-sessions and axum_session: same handlers, same process, in alternation.
//!
//! ```text
//! cargo run --release                     the tables: requests, memory, scaling, races
//! cargo run --release -- bare             the same, with layers applied at every request
//! cargo run --release -- sites [bare]     the lines that allocate in a request of each row
//! cargo run --release -- races            the last table alone: requests that run in parallel
//! cargo run --release -- sockets [FILE]   whole requests over loopback sockets: tables, and a plot in FILE
//! cargo run --release --features redis -- sockets-redis [FILE]
//!                                         the same on a Redis server that it starts, with commands per request, and races
//! cargo run --release -- serve C R N S    a server for `sockets`: candidate C, row R, N worker threads, S sessions
//! cargo run --release -- rows             the names of the rows, in order
//! cargo run --release -- send C R N       N requests of row R to candidate C, for a profiler and benches/instructions
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

/// Runs the races on a separate runtime, since everything timed runs on one thread.
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
    Err(std::io::Error::other(
        "built without the feature redis: use cargo run --release --features redis -- sockets-redis",
    ))
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
