//! Redis commands and round trips of one request, as the server counts them.

use std::io::Result;

use crate::candidate::Candidate;
use crate::client::Client;
use crate::redis::server::{Counted, Server};
use crate::workload::{ROWS, Row};

/// Number of requests counted, one after another.
const REQUESTS: usize = 1_000;

/// Number of requests before that, which open connections and load scripts.
const WARM_UP: usize = 50;

/// Counts, and prints the table.
pub(super) fn run(server: &Server) -> Result<()> {
    println!("\nWhat a request asks of Redis: round trips, and the commands in them\n");
    print!("| request |");
    Candidate::LAYERS.iter().for_each(|candidate| print!(" {} |", candidate.name()));
    println!("\n|---|{}", "---|".repeat(Candidate::LAYERS.len()));
    for row in &ROWS {
        print!("| {} |", row.name);
        for candidate in Candidate::LAYERS {
            // A runtime per candidate, so that its background tasks end with it.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            print!(" {} |", runtime.block_on(count(server, candidate, row))?);
        }
        println!();
    }
    Ok(())
}

async fn count(server: &Server, candidate: Candidate, row: &Row) -> Result<String> {
    let mut connection = server.connection()?;
    let mut client = Client::new(candidate.app_on(Some(server.url())).await);
    if let Some(seed) = row.seed {
        client.sign_on(seed).await;
    }
    send(&mut client, row, WARM_UP).await;
    let before = Counted::ask(&mut connection)?;
    send(&mut client, row, REQUESTS).await;
    let after = Counted::ask(&mut connection)?;

    let each = |before: u64, after: u64| (after - before) as f64 / REQUESTS as f64;
    let mut commands = Vec::new();
    for (name, &calls) in after.commands.iter().filter(|(name, _)| *name != "info") {
        let calls = each(before.commands.get(name).copied().unwrap_or(0), calls);
        if calls > 0.0 {
            commands.push(if calls == 1.0 { name.clone() } else { format!("{name} {calls}") });
        }
    }
    // The server has also read this command.
    let round_trips = each(before.reads + 1, after.reads);
    let of = if commands.is_empty() { "" } else { ": " };
    Ok(format!("{round_trips}{of}{}", commands.join(", ")))
}

async fn send(client: &mut Client, row: &Row, count: usize) {
    for _ in 0..count {
        let request = client.request(row.path);
        client.send(request).await;
    }
}
