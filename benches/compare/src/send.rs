//! Requests of one row to one candidate, for a profiler or an instruction counter.

use std::io::{Error, ErrorKind, Result};

use crate::candidate::{Candidate, Serving};
use crate::client::Client;
use crate::workload::{ROWS, Row};

/// Number of requests before the others, so that two runs differ in the number of requests alone.
const WARM_UP: usize = 500;

/// Sends requests. The arguments are the candidate's name, the row's number, and the number of requests.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let [candidate, row, count] = arguments else { return Err(usage("send takes a candidate, a row and a number")) };
    let candidate = Candidate::from_name(candidate).ok_or_else(|| usage(candidate))?;
    let row = row.parse().ok().and_then(|row: usize| ROWS.get(row)).ok_or_else(|| usage(row))?;
    let count = count.parse().map_err(|_| usage(count))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(send(candidate, row, count));
    Ok(())
}

async fn send(candidate: Candidate, row: &Row, count: usize) {
    let mut client = Client::seeded(candidate, Serving::Served, row.seed).await;
    for _ in 0..WARM_UP + count {
        let request = client.request(row.path);
        client.send(request).await;
    }
}

fn usage(wrong: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("{wrong:?}: send CANDIDATE ROW COUNT"))
}
