//! Sign-ins that are refused.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sessile::{MemoryStore, Sessions};

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

/// Neither a link on another site nor another tab stops a sign-in that is in progress.
#[tokio::test]
async fn several_sign_ins_are_in_progress() {
    let issuer = Issuer::start().await;
    let node = Node::start(&issuer.url, MemoryStore::new()).await;
    let mut browser = Browser::new();
    let first = issuer.begin(&node, &mut browser, json!({ "sub": "ada" })).await;
    for query in ["?state=wrong&code=x", "?state=&code=x", "?state=sessile.notes&code=x", "?error=access_denied", ""] {
        let url = format!("{}/callback{query}", node.url);
        assert_eq!(browser.open(&url).await.0, StatusCode::BAD_REQUEST, "{query}");
    }
    let second = issuer.begin(&node, &mut browser, json!({ "sub": "grace" })).await;
    for (back, user) in [(&first, "ada"), (&second, "grace")] {
        assert_eq!(browser.open(back).await, (StatusCode::OK, format!("signed in as provider:{user}\n")));
        assert_eq!(browser.open(back).await.0, StatusCode::BAD_REQUEST, "{user} again");
    }
}

/// A browser has a bounded number of sign-ins in progress, the last one among them.
#[tokio::test]
async fn sign_ins_in_progress_are_bounded() {
    let issuer = Issuer::start().await;
    let store = MemoryStore::new();
    let node = Node::start(&issuer.url, store.clone()).await;
    let pending = Sessions::new(store).with_realm("sign-in").unwrap();
    let mut browser = Browser::new();
    for _ in 0..20 {
        let back = issuer.begin(&node, &mut browser, json!({})).await;
        let page = pending.list(None, 10).await.unwrap();
        assert!(page.sessions.len() == 1 && page.sessions[0].keys().len() <= 8);
        assert_eq!(browser.clone().open(&back.replace("state=", "state=x")).await.0, StatusCode::BAD_REQUEST);
    }
    let back = issuer.begin(&node, &mut browser, json!({})).await;
    assert_eq!(browser.open(&back).await.0, StatusCode::OK);
}

/// Ten minutes after its beginning a sign-in is over, whatever the browser has sent meanwhile.
#[tokio::test]
async fn a_late_sign_in_is_refused() {
    let issuer = Issuer::start().await;
    let store = MemoryStore::new();
    let node = Node::start(&issuer.url, store.clone()).await;
    let sessions = Sessions::new(store).with_realm("sign-in").unwrap();
    for (seconds, expected) in [(5 * 60, StatusCode::OK), (10 * 60, StatusCode::BAD_REQUEST)] {
        let mut browser = Browser::new();
        let back = issuer.begin(&node, &mut browser, json!({})).await;
        let id = sessions.list(None, 10).await.unwrap().sessions.pop().unwrap().id();
        let pending = sessions.open_for_write(&id).await.unwrap().unwrap();
        let key = pending.keys().pop().unwrap();
        let mut value = pending.get::<Value>(&key).unwrap().unwrap();
        value["began_at"] = json!(value["began_at"].as_i64().unwrap() - seconds);
        pending.insert(&key, &value).unwrap();
        pending.commit().await.unwrap();
        browser.send(Method::GET, &format!("{}/callback", node.url), &[]).await;
        assert_eq!(browser.open(&back).await.0, expected, "{seconds} seconds");
        sessions.end(&id).await.unwrap();
    }
}

/// A logout by `sub` during a sign-in wins, although the provider's clock is a minute behind.
#[tokio::test]
async fn a_logout_during_a_sign_in_wins_despite_the_clocks() {
    let issuer = Issuer::start().await;
    let node = Node::start(&issuer.url, MemoryStore::new()).await;
    let behind = now() - 60;
    for (user, auth_time, expected) in [
        ("ada", None, StatusCode::FORBIDDEN),
        ("grace", Some(behind + 2), StatusCode::FORBIDDEN),
        ("edsger", Some(behind - 1000), StatusCode::FORBIDDEN),
        // The user has signed in again at the provider since the logout.
        ("barbara", Some(behind + 8), StatusCode::OK),
    ] {
        let mut browser = Browser::new();
        let claims = json!({ "sub": user, "iat": behind + 10, "auth_time": auth_time });
        let back = issuer.begin(&node, &mut browser, claims).await;
        assert_eq!(
            node.log_out(&issuer.logout_token(&json!({ "sub": user, "iat": behind + 5 }))).await,
            StatusCode::OK
        );
        assert_eq!(browser.open(&back).await.0, expected, "{user}");
    }
}
