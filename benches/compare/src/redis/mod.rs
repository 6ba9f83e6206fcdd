//! The candidates on one Redis server, which is started for it: what a request asks of the server, whole requests over
//! sockets, and what survives when requests run in parallel.
//!
//! Each with the store and the client that it is published with, set up as its own examples do.

pub(crate) mod apps;
mod counts;
mod server;

use std::io::Result;

use crate::redis::server::Server;
use crate::{races, report, sockets};

/// Measures, prints the tables, and writes the plot to `path`.
pub(crate) fn run(path: &str) -> Result<()> {
    let server = Server::start()?;
    counts::run(&server)?;
    for (nodes, who) in [(1, "one process"), (2, "two processes in turn, read by a third")] {
        println!("\nOn Redis, by {who}:");
        report::races(&races::measure(Some(server.url()), nodes)?);
    }
    sockets::run(Some(server.url()), path)
}
