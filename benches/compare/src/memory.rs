//! Memory per stored session, and memory left after expiry.

use std::time::Duration;

use tokio::time::sleep;

use crate::candidate::{Candidate, Serving};
use crate::client::Client;
use crate::heap;

/// Number of sessions created, one request each.
const SESSIONS: usize = 20_000;

/// Lifetime of the sessions. Creating all of them takes a fraction of it.
const LIFETIME: Duration = Duration::from_secs(2);

/// Number of requests after all sessions have expired.
const TRAFFIC: usize = 5_000;

/// One of this many later requests creates a session; the others read the newest.
const CREATES_ONE_IN: usize = 10;

/// Memory use of a candidate's store.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Live heap bytes per session of three keys.
    pub(crate) bytes_a_session: f64,
    /// Share of the bytes that is still live after expiry and the later requests, without the sessions that these
    /// created.
    pub(crate) left: f64,
}

/// Fills a new store, waits until its sessions expire, and sends more requests.
pub(crate) async fn measure(candidate: Candidate) -> Memory {
    let app = candidate.app(Serving::Served, Some(LIFETIME)).await;
    let mut client = Client::new(app.clone());
    // The first request makes permanent allocations, which belong to no session.
    let request = client.request("/seed");
    client.send(request).await;

    heap::count(true);
    let empty = heap::live_bytes();
    for _ in 0..SESSIONS {
        let request = client.request("/seed");
        client.send(request).await;
    }
    let full = heap::live_bytes() - empty;
    let bytes_a_session = full as f64 / SESSIONS as f64;

    sleep(LIFETIME + Duration::from_millis(500)).await;
    let mut newest = Client::new(app.clone());
    let mut created = 0;
    for number in 0..TRAFFIC {
        if number % CREATES_ONE_IN == 0 {
            newest = Client::new(app.clone());
            newest.sign_on("/seed").await;
            created += 1;
        } else {
            let request = newest.request("/counter");
            newest.send(request).await;
        }
    }
    drop((client, newest));
    let left = (heap::live_bytes() - empty) as f64 - created as f64 * bytes_a_session;
    heap::count(false);
    Memory { bytes_a_session, left: left.max(0.0) / full as f64 }
}
