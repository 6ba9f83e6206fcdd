//! Sign-ins and logouts while the store fails.

use reqwest::StatusCode;
use serde_json::json;
use sessile::MemoryStore;
use sessile::store::Store;

use crate::browser::Browser;
use crate::issuer::Issuer;
use crate::node::Node;
use crate::servers::{self, Server};
use crate::site::{SIGNED_IN, SIGNED_OUT, Site};
use crate::steps::Steps;

async fn start() -> (Issuer, Node, Steps<MemoryStore>) {
    let issuer = Issuer::start().await;
    let steps = Steps::new(MemoryStore::new());
    let node = Node::start(&issuer.url, steps.clone()).await;
    (issuer, node, steps)
}

/// A logout that any store call fails is answered 5xx, or has ended the session; the provider can send its token again.
#[tokio::test]
async fn a_logout_that_fails_can_be_repeated() {
    let (issuer, node, steps) = start().await;
    let mut failed = 0;
    for nth in 1.. {
        let sid = nth.to_string();
        let mut browser = issuer.sign_in(&node, json!({ "sid": sid })).await;
        let token = issuer.logout_token(&json!({ "sid": sid }));
        let before = steps.calls();
        steps.fail(nth..usize::MAX);
        let status = node.log_out(&token).await;
        let is_complete = steps.calls() < before + nth;
        steps.fail(0..0);
        if is_complete {
            assert_eq!(status, StatusCode::OK);
            break;
        }
        failed += 1;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "call {nth}");
        assert_eq!(node.log_out(&token).await, StatusCode::OK, "call {nth}");
        assert_eq!(node.account(&mut browser).await, StatusCode::UNAUTHORIZED, "call {nth}");
    }
    assert!(failed > 4, "{failed} calls");
}

/// A logout whose database is killed halfway is answered 503; after the restart, the same token ends the session.
pub async fn a_logout_can_be_repeated_after_a_crash<S: Store + Clone>(
    issuer: &Issuer,
    site: &Site<S>,
    database: &mut [Server],
) {
    let before = site.steps[1].calls();
    issuer.sign_in(&site.nodes[0], json!({ "sid": "whole" })).await;
    assert_eq!(site.log_out(&issuer.logout_token(&json!({ "sid": "whole" }))).await, StatusCode::OK);
    let calls = site.steps[1].calls() - before;

    let mut browser = issuer.sign_in(&site.nodes[0], json!({ "sid": "crash" })).await;
    assert_eq!(site.account(&mut browser).await, SIGNED_IN);
    let token = issuer.logout_token(&json!({ "sid": "crash" }));
    let stop = site.steps[1].stop(calls / 2 + 1);
    let request = {
        let (node, token) = (site.nodes[1].clone(), token.clone());
        tokio::spawn(async move { node.log_out(&token).await })
    };
    stop.reached().await;
    database.iter_mut().for_each(Server::kill);
    stop.release();
    assert_eq!(request.await.unwrap(), StatusCode::SERVICE_UNAVAILABLE);

    database.iter_mut().for_each(Server::start);
    if database.len() > 1 {
        servers::until_cluster_is_ready(database);
    }
    assert_eq!(site.log_out(&token).await, StatusCode::OK);
    assert_eq!(site.account(&mut browser).await, SIGNED_OUT);
}

/// After a logout, no failing store call lets a sign-in through that began before it.
#[tokio::test]
async fn a_sign_in_that_fails_opens_nothing() {
    let (issuer, node, steps) = start().await;
    for is_last in [false, true] {
        let mut failed = 0;
        for nth in 1.. {
            let user = format!("{is_last}-{nth}");
            let mut browser = Browser::new();
            let back = issuer.begin(&node, &mut browser, json!({ "sub": user, "sid": user })).await;
            assert_eq!(node.log_out(&issuer.logout_token(&json!({ "sid": user }))).await, StatusCode::OK);
            let before = steps.calls();
            steps.fail(nth..if is_last { usize::MAX } else { nth + 1 });
            let (status, text) = browser.open(&back).await;
            let is_complete = steps.calls() < before + nth;
            steps.fail(0..0);
            assert!(status.is_client_error() || status.is_server_error(), "{user}: {status} {text}");
            assert_ne!(node.account(&mut browser).await, StatusCode::OK, "{user}: {status} {text}");
            if is_complete {
                break;
            }
            failed += 1;
        }
        assert!(failed > 6, "{failed} calls");
    }
}
