//! A limit of an owner's sessions, step-up, replays, and sessions that are not confirmed.

use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use futures_util::future::join_all;
use http::StatusCode;
use sessile::config::{ReplayPolicy, SiteData};
use sessile::event::EventKind;
use sessile::{Lifetime, Session, SessionLayer, SignedIn};

use super::Over;
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

pub async fn a_sign_in_beyond_the_limit_ends_the_oldest(over: &Over) {
    let app = app(over.builder().with_owner_limit(2).build().unwrap());
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = Client::new(&app);
        client.post("/sign-in/limited-one-by-one").await.set_cookie();
        clients.push(client);
        over.clock.advance(Duration::from_secs(1));
    }
    let mut live = Vec::new();
    for client in &mut clients {
        live.push(is_live(client).await);
    }
    assert_eq!(live, [false, false, true, true]);
    assert_eq!(over.layer().sessions().owned_by("limited-one-by-one").await.unwrap().len(), 2);
}

pub async fn sign_ins_at_once_converge_to_the_limit(over: &Over) {
    let app = app(over.builder().with_owner_limit(3).build().unwrap());
    let sign_ins = (0..12).map(|_| {
        let mut client = Client::new(&app);
        tokio::spawn(async move {
            client.post("/sign-in/limited-at-once").await.set_cookie();
            client
        })
    });
    let clients = join_all(sign_ins.collect::<Vec<_>>()).await;
    let mut clients: Vec<Client> = clients.into_iter().map(Result::unwrap).collect();
    assert_eq!(count_live(&mut clients).await, 3);
    assert_eq!(over.layer().sessions().owned_by("limited-at-once").await.unwrap().len(), 3);
}

pub async fn what_asks_for_a_recent_proof_is_refused_until_there_is_another(over: &Over) {
    let app = app(over.layer());
    let mut client = Client::new(&app);
    assert_eq!(client.get("/recent").await.status, StatusCode::UNAUTHORIZED);
    client.post("/sign-in/stepping-up").await;
    assert_eq!(client.get("/recent").await.status, StatusCode::OK);
    over.clock.advance(6 * MINUTE);
    assert_eq!(client.get("/recent").await.status, StatusCode::UNAUTHORIZED);
    assert!(is_live(&mut client).await, "the session itself goes on");
    let mut behind = client.clone();
    client.post("/again").await.set_cookie();
    assert_eq!(client.get("/recent").await.status, StatusCode::OK);
    assert!(!is_live(&mut behind).await, "the token of before is dead");
}

pub async fn a_replay_ends_the_session_where_that_is_the_policy(over: &Over) {
    for (policy, goes_on) in [(ReplayPolicy::Report, true), (ReplayPolicy::End, false)] {
        let settings =
            over.builder().with_lifetime(Lifetime::new().with_refresh_interval(MINUTE)).with_replay_policy(policy);
        let app = app(settings.build().unwrap());
        let mut client = Client::new(&app);
        client.post("/sign-in/replayed").await;
        let mut thief = client.clone();
        over.clock.advance(MINUTE);
        client.post("/set").await.set_cookie();
        client.post("/set").await.assert_no_cookie();
        over.clock.advance(Duration::from_secs(31));
        let told = over.events.count(EventKind::Replayed);
        assert!(!is_live(&mut thief).await);
        assert_eq!(over.events.count(EventKind::Replayed), told + 1);
        assert_eq!(is_live(&mut client).await, goes_on);
    }
}

pub async fn a_session_that_is_not_confirmed_lives_ten_minutes(over: &Over) {
    let app = app(over.builder().with_unconfirmed_lifetime(10 * MINUTE).build().unwrap());
    let (mut robot, mut browser, mut member) = (Client::new(&app), Client::new(&app), Client::new(&app));
    robot.post("/set").await;
    browser.post("/set").await;
    member.post("/sign-in/unconfirmed").await;
    assert_eq!(browser.get("/").await.text(), "Ok(Some(1))");
    over.clock.advance(11 * MINUTE);
    assert_eq!(robot.get("/").await.text(), "Ok(None)");
    assert_eq!(browser.get("/").await.text(), "Ok(Some(1))");
    assert!(is_live(&mut member).await);
}

pub async fn the_browser_is_asked_to_forget_with_the_sign_out_alone(over: &Over) {
    let app = app(over.builder().with_clear_site_data([SiteData::Cache]).build().unwrap());
    let mut client = Client::new(&app);
    for path in ["/set", "/sign-in/forgotten", "/set"] {
        assert_eq!(client.post(path).await.header("clear-site-data"), None);
    }
    assert_eq!(client.post("/sign-out").await.header("clear-site-data"), Some("\"cache\""));
    assert_eq!(client.post("/sign-out").await.header("clear-site-data"), None);
}
