//! The candidates on one Redis server: commands of a request, times over sockets, and races.
//!
//! Each candidate uses the store and the client it is published with, set up as in its own examples.

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
