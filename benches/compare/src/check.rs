//! A check before the measurements that each candidate keeps its sessions.

use axum::body::to_bytes;

use crate::candidate::{Candidate, Serving};
use crate::client::Client;

/// Panics unless every candidate keeps and finds its sessions.
pub(crate) async fn every_candidate(serving: Serving) {
    for candidate in Candidate::MEASURED {
        for seed in ["/seed", "/seed-large"] {
            let mut client = Client::seeded(candidate, serving, Some(seed)).await;
            for _ in 0..3 {
                answer(&mut client, "/increment").await;
            }
            let found = (answer(&mut client, "/counter").await, answer(&mut client, "/user").await);
            let expected = ("3".to_owned(), "42".to_owned());
            assert_eq!(found, expected, "{} after {seed}", candidate.name());
        }
    }
}

async fn answer(client: &mut Client, path: &str) -> String {
    let request = client.request(path);
    let body = client.send(request).await.into_body();
    let body = to_bytes(body, usize::MAX).await.expect("a body in memory cannot fail");
    String::from_utf8_lossy(&body).into_owned()
}
