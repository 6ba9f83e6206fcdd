//! Sign-ins that are refused.

use reqwest::StatusCode;
use serde_json::json;
use sessile::MemoryStore;

use crate::browser::Browser;
use crate::issuer::{Issuer, now};
use crate::node::Node;

/// Only the browser that began a sign-in finishes it, once, with the provider's own answer.
#[tokio::test]
async fn a_sign_in_is_finished_once_by_its_browser() {
    let issuer = Issuer::start().await;
    let node = Node::start(&issuer.url, MemoryStore::new()).await;
    let mut browser = Browser::new();
    let back = issuer.begin(&node, &mut browser, json!({})).await;

    let mut stranger = Browser::new();
    assert_eq!(stranger.open(&back).await.0, StatusCode::BAD_REQUEST);
    issuer.begin(&node, &mut stranger, json!({})).await;
    assert_eq!(stranger.open(&back).await.0, StatusCode::BAD_REQUEST, "with a sign-in in progress");

    assert_eq!(browser.open(&back).await.0, StatusCode::OK);
    assert_eq!(browser.open(&back).await.0, StatusCode::BAD_REQUEST, "the state is used up");
    let back = issuer.begin(&node, &mut browser, json!({})).await;
    let mixed_up = format!("{back}&iss=http://127.0.0.1:1");
    assert_eq!(browser.open(&mixed_up).await.0, StatusCode::BAD_REQUEST, "another provider's answer");
    let back = issuer.begin(&node, &mut browser, json!({})).await;
    assert_eq!(browser.open(&format!("{back}&iss={}", issuer.url)).await.0, StatusCode::OK);
}

/// An ID token that is not for this sign-in is refused.
#[tokio::test]
async fn invalid_id_tokens_are_refused() {
    let issuer = Issuer::start().await;
    let node = Node::start(&issuer.url, MemoryStore::new()).await;
    let refused = [
        json!({ "nonce": "other" }),
        json!({ "nonce": null }),
        json!({ "aud": "bank" }),
        json!({ "aud": ["shop", "bank"] }),
        json!({ "iss": "http://127.0.0.1:1" }),
        json!({ "exp": now() - 1000 }),
    ];
    for claims in refused {
        let mut browser = Browser::new();
        let back = issuer.begin(&node, &mut browser, claims.clone()).await;
        assert_eq!(browser.open(&back).await.0, StatusCode::BAD_GATEWAY, "{claims}");
        assert_eq!(node.account(&mut browser).await, StatusCode::UNAUTHORIZED, "{claims}");
    }
}
