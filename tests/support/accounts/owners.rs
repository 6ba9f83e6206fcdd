//! Owner limit, reauthentication, replayed tokens, unconfirmed sessions and `Clear-Site-Data`, over any store.

use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use futures_util::future::join_all;
use http::StatusCode;
use sessile::config::{ReplayPolicy, SiteData};
use sessile::event::EventKind;
use sessile::{Lifetime, Session, SessionLayer, SignedIn};

use super::Setup;
use crate::support::client::Client;

const MINUTE: Duration = Duration::from_secs(60);

fn app(layer: SessionLayer) -> Router {
    Router::new()
        .route("/", get(async |session: Session| format!("{:?}", session.get::<u32>("n"))))
        .route("/set", post(async |session: Session| session.update("n", |n: &mut u32| *n += 1)))
        .route("/sign-in/{name}", post(async |session: Session, Path(name): Path<String>| session.sign_in(&name)))
        .route("/again", post(async |session: Session| session.reauthenticate()))
        .route("/recent", get(async |session: Session| session.require_recent(5 * MINUTE)))
        .route("/members", get(async |user: SignedIn| user.owner().to_owned()))
        .route("/sign-out", post(async |session: Session| session.sign_out()))
        .layer(layer)
}

async fn is_live(client: &mut Client) -> bool {
    client.get("/members").await.status == StatusCode::OK
}

async fn count_live(clients: &mut [Client]) -> usize {
    let mut live = 0;
    for client in clients {
        live += usize::from(is_live(client).await);
    }
    live
}

/// Four clients sign in to an owner with a limit of 2; the two newest sessions stay live.
pub async fn sign_in_beyond_owner_limit_ends_oldest_sessions(setup: &Setup) {
    let app = app(setup.builder().with_owner_limit(2).build().unwrap());
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = Client::new(&app);
        client.post("/sign-in/limited-one-by-one").await.set_cookie();
        clients.push(client);
        setup.clock.advance(Duration::from_secs(1));
    }
    let mut live = Vec::new();
    for client in &mut clients {
        live.push(is_live(client).await);
    }
    assert_eq!(live, [false, false, true, true]);
    assert_eq!(setup.layer().sessions().owned_by("limited-one-by-one").await.unwrap().len(), 2);
}

/// Twelve clients sign in at once with a limit of 3; after one more sign-in three sessions are live and listed.
pub async fn concurrent_sign_ins_converge_to_owner_limit(setup: &Setup) {
    let app = app(setup.builder().with_owner_limit(3).build().unwrap());
    let sign_ins = (0..12).map(|_| {
        let mut client = Client::new(&app);
        tokio::spawn(async move {
            client.post("/sign-in/limited-at-once").await.set_cookie();
            client
        })
    });
    let clients = join_all(sign_ins.collect::<Vec<_>>()).await;
    let mut clients: Vec<Client> = clients.into_iter().map(Result::unwrap).collect();
    assert!(count_live(&mut clients).await >= 3);
    setup.clock.advance(Duration::from_secs(1));
    let mut last = Client::new(&app);
    last.post("/sign-in/limited-at-once").await.set_cookie();
    clients.push(last);
    assert_eq!(count_live(&mut clients).await, 3);
    assert_eq!(setup.layer().sessions().owned_by("limited-at-once").await.unwrap().len(), 3);
}

/// `require_recent` answers 401 before a sign-in and 6 minutes after it, and 200 after `reauthenticate`.
pub async fn stale_authentication_is_refused_until_reauthentication(setup: &Setup) {
    let app = app(setup.layer());
    let mut client = Client::new(&app);
    assert_eq!(client.get("/recent").await.status, StatusCode::UNAUTHORIZED);
    client.post("/sign-in/stepping-up").await;
    assert_eq!(client.get("/recent").await.status, StatusCode::OK);
    setup.clock.advance(6 * MINUTE);
    assert_eq!(client.get("/recent").await.status, StatusCode::UNAUTHORIZED);
    assert!(is_live(&mut client).await, "the session stays live");
    let mut other_tab = client.clone();
    client.post("/again").await.set_cookie();
    assert_eq!(client.get("/recent").await.status, StatusCode::OK);
    assert!(!is_live(&mut other_tab).await, "the earlier token is retired");
}

/// An attacker sends a replaced token after the grace period: always an event, and the session ends only under `End`.
pub async fn replay_ends_session_only_under_policy_end(setup: &Setup) {
    for (policy, stays_live) in [(ReplayPolicy::Report, true), (ReplayPolicy::End, false)] {
        let settings =
            setup.builder().with_lifetime(Lifetime::new().with_refresh_interval(MINUTE)).with_replay_policy(policy);
        let app = app(settings.build().unwrap());
        let mut client = Client::new(&app);
        client.post("/sign-in/replayed").await;
        let mut attacker = client.clone();
        setup.clock.advance(MINUTE);
        client.post("/set").await.set_cookie();
        client.post("/set").await.assert_no_cookie();
        setup.clock.advance(Duration::from_secs(31));
        let before = setup.events.count(EventKind::Replayed);
        assert!(!is_live(&mut attacker).await);
        assert_eq!(setup.events.count(EventKind::Replayed), before + 1);
        assert_eq!(is_live(&mut client).await, stays_live);
    }
}

/// A session whose cookie never returned expires; a confirmed session and a signed-in session stay live.
pub async fn unconfirmed_session_expires_after_ten_minutes(setup: &Setup) {
    let app = app(setup.builder().with_unconfirmed_lifetime(10 * MINUTE).build().unwrap());
    let (mut unconfirmed, mut browser, mut member) = (Client::new(&app), Client::new(&app), Client::new(&app));
    unconfirmed.post("/set").await;
    browser.post("/set").await;
    member.post("/sign-in/unconfirmed").await;
    assert_eq!(browser.get("/").await.text(), "Ok(Some(1))");
    setup.clock.advance(11 * MINUTE);
    assert_eq!(unconfirmed.get("/").await.text(), "Ok(None)");
    assert_eq!(browser.get("/").await.text(), "Ok(Some(1))");
    assert!(is_live(&mut member).await);
}

/// Writes, the sign-in and a second sign-out send no `Clear-Site-Data`; the first sign-out sends it.
pub async fn only_sign_out_sends_clear_site_data(setup: &Setup) {
    let app = app(setup.builder().with_clear_site_data([SiteData::Cache]).build().unwrap());
    let mut client = Client::new(&app);
    for path in ["/set", "/sign-in/forgotten", "/set"] {
        assert_eq!(client.post(path).await.header("clear-site-data"), None);
    }
    assert_eq!(client.post("/sign-out").await.header("clear-site-data"), Some("\"cache\""));
    assert_eq!(client.post("/sign-out").await.header("clear-site-data"), None);
}
