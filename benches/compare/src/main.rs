//! Measures sessile beside tower-sessions and axum_session: on the same handlers, in one process, in turn.
//!
//! ```text
//! cargo run --release                     the tables: requests, memory, scaling
//! cargo run --release -- bare             the same, the router called without its state given first
//! cargo run --release -- sites [bare]     where sessile allocates in a request of each row
//! ```

mod candidate;
mod check;
mod client;
mod heap;
mod memory;
mod report;
mod requests;
mod scaling;
mod sites;
mod stats;
mod workload;

use crate::candidate::{Candidate, Serving};

fn main() -> std::io::Result<()> {
    let has = |name: &str| std::env::args().skip(1).any(|argument| argument == name);
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
