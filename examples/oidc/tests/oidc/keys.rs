//! New keys of the provider, and forged tokens that cause fetches of them.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::json;
use sessile::MemoryStore;

use crate::issuer::{Issuer, sign_by, with};
use crate::node::Node;

/// More than the least time between two fetches.
const INTERVAL: Duration = Duration::from_millis(1100);

async fn start() -> (Issuer, Node) {
    let issuer = Issuer::start().await;
    let node = Node::start(&issuer.url, MemoryStore::new()).await;
    (issuer, node)
}

fn forged(issuer: &Issuer) -> String {
    sign_by(99, &with(&issuer.logout_header(), &json!({ "kid": "forged" })), &issuer.logout_claims())
}

/// A token without a key id is checked by a new key.
#[tokio::test]
async fn a_new_key_checks_tokens_without_a_key_id() {
    let (issuer, node) = start().await;
    let mut browser = issuer.sign_in(&node, json!({ "sid": "a" })).await;
    issuer.rotate_key();
    let header = with(&issuer.logout_header(), &json!({ "kid": null }));
    let token = issuer.sign(&header, &with(&issuer.logout_claims(), &json!({ "sid": "a" })));
    assert_eq!(node.log_out(&token).await, StatusCode::OK);
    assert_eq!(node.account(&mut browser).await, StatusCode::UNAUTHORIZED);
    issuer.rotate_key();
    tokio::time::sleep(INTERVAL).await;
    let mut browser = issuer.sign_in(&node, json!({ "sid": "b" })).await;
    assert_eq!(node.account(&mut browser).await, StatusCode::OK, "an ID token by a new key");
}

/// After a forged token, a valid one by a new key is answered 5xx until the keys are fetched, never 400.
#[tokio::test]
async fn a_forged_token_loses_no_logout() {
    let (issuer, node) = start().await;
    let mut browser = issuer.sign_in(&node, json!({ "sid": "a" })).await;
    assert_eq!(node.log_out(&forged(&issuer)).await, StatusCode::BAD_REQUEST);
    issuer.rotate_key();
    let token = issuer.logout_token(&json!({ "sid": "a" }));
    let mut status = node.log_out(&token).await;
    if status == StatusCode::SERVICE_UNAVAILABLE {
        assert_eq!(node.account(&mut browser).await, StatusCode::OK);
        tokio::time::sleep(INTERVAL).await;
        status = node.log_out(&token).await;
    }
    assert_eq!(status, StatusCode::OK);
    assert_eq!(node.account(&mut browser).await, StatusCode::UNAUTHORIZED);
}

/// While the page with the keys hangs, all calls share one fetch, and known keys are used.
#[tokio::test]
async fn concurrent_calls_share_a_fetch() {
    let (issuer, node) = start().await;
    for (sid, are_served) in [("a", true), ("b", false)] {
        let mut browser = issuer.sign_in(&node, json!({ "sid": sid })).await;
        issuer.serve_keys(are_served);
        let before = issuer.key_fetches();
        let held = issuer.hold_keys().await;
        let calls: Vec<_> = (0..8)
            .map(|_| {
                let (node, token) = (node.clone(), forged(&issuer));
                tokio::spawn(async move { node.log_out(&token).await })
            })
            .collect();
        assert_eq!(node.log_out(&issuer.logout_token(&json!({ "sid": sid }))).await, StatusCode::OK);
        assert_eq!(node.account(&mut browser).await, StatusCode::UNAUTHORIZED);
        tokio::time::sleep(INTERVAL).await;
        let answered = Instant::now();
        drop(held);
        for call in calls {
            let status = call.await.unwrap();
            assert!(status == StatusCode::BAD_REQUEST || status.is_server_error(), "{status}");
        }
        let fetches = issuer.key_fetches() - before;
        assert!(fetches as u64 <= 1 + answered.elapsed().as_secs(), "{fetches} fetches");
        tokio::time::sleep(INTERVAL).await;
    }
}
