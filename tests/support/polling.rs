//! Two days of polling, on any store.

#![allow(dead_code, reason = "each test binary uses a part of this file")]
#![allow(unreachable_pub, reason = "the items are private to a test binary")]
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use http::StatusCode;
use sessile::passive::PassiveLayer;
use sessile::store::Store;
use sessile::testing::ManualClock;
use sessile::{Lifetime, Session, SessionLayer, SignedIn};

use crate::support::client::Client;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Polls every ten minutes for two days, and returns for how long the answers were 200.
async fn poll_for_two_days(store: impl Store + Clone, path: &str) -> Duration {
    let clock = ManualClock::new();
    let lifetime = Lifetime::new().with_idle_timeout(8 * HOUR).with_absolute_timeout(30 * DAY);
    let layer = SessionLayer::builder(store).with_clock(&clock).with_lifetime(lifetime.with_refresh_interval(HOUR));
    let count = async |user: SignedIn| user.update("polls", |polls: &mut u32| *polls += 1);
    let sign_in = async |session: Session| session.sign_in("ada");
    let app = Router::new()
        .route("/passive", get(count).layer(PassiveLayer::new()))
        .route("/active", get(count))
        .route("/sign-in", post(sign_in))
        .layer(layer.build().unwrap());
    let mut client = Client::new(&app);
    assert_eq!(client.post("/sign-in").await.status, StatusCode::OK);
    let mut tokens = vec![client.token().unwrap()];
    let mut lived = Duration::ZERO;
    for step in 1..=(2 * DAY.as_secs() / (10 * MINUTE).as_secs()) {
        clock.advance(10 * MINUTE);
        match client.get(path).await.status {
            StatusCode::OK => lived = Duration::from_secs(step * (10 * MINUTE).as_secs()),
            status => assert_eq!(status, StatusCode::UNAUTHORIZED),
        }
        if client.token().as_ref() != tokens.last() {
            tokens.push(client.token().unwrap());
        }
    }
    assert!(tokens.len() > 4, "refreshes ride on the polls: {} tokens", tokens.len());
    lived
}

/// Polling keeps a session alive unless the requests are passive: then it ends at its idle timeout, refreshed meanwhile.
pub async fn passive_polling_ends_at_the_idle_timeout(store: impl Store + Clone) {
    assert_eq!(poll_for_two_days(store.clone(), "/active").await, 2 * DAY);
    assert_eq!(poll_for_two_days(store, "/passive").await, 8 * HOUR - 10 * MINUTE);
}
