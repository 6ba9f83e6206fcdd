//! Ends and expiries: marks, two live cookies, repeated sign-ins and slow requests, over any store.

use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use http::StatusCode;
use sessile::event::EventKind;
use sessile::{Error, Lifetime, Session, SessionLayer};

use super::Setup;
use crate::support::client::{COOKIE_NAME, Client, session_of};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Idle timeout of the sessions.
const IDLE: Duration = Duration::from_secs(60 * 60);

fn app(setup: &Setup) -> Router {
    let layer: SessionLayer = setup.builder().with_lifetime(Lifetime::new().with_idle_timeout(IDLE)).build().unwrap();
    let clock = setup.clock.clone();
    let upload = async move |session: Session, Path(seconds): Path<u64>| {
        clock.advance(Duration::from_secs(seconds));
        session.insert("upload", &seconds)
    };
    Router::new()
        .route("/", get(async |session: Session| format!("{:?} {}", session.owner(), session.keys().join(","))))
        .route("/reason", get(async |session: Session| format!("{:?}", session.end_reason())))
        .route("/set/{key}", post(async |session: Session, Path(key): Path<String>| session.insert(&key, &1)))
        .route("/sign-in/{name}", post(async |session: Session, Path(name): Path<String>| session.sign_in(&name)))
        .route("/sign-out", post(async |session: Session| session.sign_out()))
        .route("/upload/{seconds}", post(upload))
        .layer(layer)
}

async fn visitor(app: &Router, owner: Option<&str>) -> Client {
    let mut client = Client::new(app);
    client.post("/set/start").await.set_cookie();
    if let Some(owner) = owner {
        client.post(&format!("/sign-in/{owner}")).await.set_cookie();
    }
    client
}

/// After a sign-out, another tab's write is refused, is told the reason, and leaves a later sign-in as it is.
pub async fn ended_token_is_refused_for_a_minute(setup: &Setup) {
    let app = app(setup);
    for owner in [None, Some("ended")] {
        let mut client = visitor(&app, owner).await;
        let mut tab = client.clone();
        assert!(client.post("/sign-out").await.set_cookie().is_removal());
        client.post("/sign-in/ended").await.set_cookie();
        let late = tab.post("/set/late").await;
        assert_eq!(late.status, StatusCode::CONFLICT);
        late.assert_no_cookie();
        assert_eq!(tab.get("/reason").await.text(), "Some(SignedOut)");
        tab.post("/sign-out").await.assert_no_cookie();
        assert_eq!(client.get("/").await.text(), "Some(\"ended\") ");
        assert_eq!(setup.layer().sessions().owned_by("ended").await.unwrap().len(), 1);
        setup.clock.advance(MINUTE);
        assert_eq!(tab.get("/reason").await.text(), "None");
        tab.post("/set/late").await.set_cookie();
        client.post("/sign-out").await.set_cookie();
        assert!(setup.layer().sessions().owned_by("ended").await.unwrap().is_empty());
    }
}

/// A write with two live cookies ends both sessions; the new cookie is used beside either old one.
pub async fn write_with_two_live_cookies_ends_both(setup: &Setup) {
    let app = app(setup);
    let tokens = [Some("rival"), None].map(async |owner| visitor(&app, owner).await.token().unwrap());
    let [first, second] = tokens;
    let (first, second) = (first.await, second.await);
    let both = format!("{first}; {COOKIE_NAME}={second}");
    let new = Client::with_cookie(&app, COOKIE_NAME, &both).post("/set/new").await.set_cookie().value;
    for old in [&first, &second] {
        assert_eq!(Client::with_cookie(&app, COOKIE_NAME, old).get("/reason").await.text(), "Some(Ambiguous)");
        let beside = format!("{old}; {COOKIE_NAME}={new}");
        assert_eq!(Client::with_cookie(&app, COOKIE_NAME, &beside).get("/").await.text(), "None new");
    }
    assert!(setup.layer().sessions().owned_by("rival").await.unwrap().is_empty());
}

/// A sign-in form that is sent again a moment later joins the session, and both cookies work.
pub async fn repeated_sign_in_joins_the_session(setup: &Setup) {
    let app = app(setup);
    let mut first = visitor(&app, None).await;
    let mut second = first.clone();
    first.post("/sign-in/twice").await.set_cookie();
    setup.clock.advance(29 * SECOND);
    second.post("/sign-in/twice").await.set_cookie();
    for client in [&mut first, &mut second] {
        assert_eq!(client.get("/").await.text(), "Some(\"twice\") start");
    }
    assert_eq!(setup.layer().sessions().owned_by("twice").await.unwrap().len(), 1);
}

/// An upload that outlasts the idle timeout keeps its write and its user.
pub async fn slow_upload_outlasts_the_idle_timeout(setup: &Setup) {
    let app = app(setup);
    for owner in [None, Some("uploading")] {
        let mut client = visitor(&app, owner).await;
        client.post("/upload/3660").await.assert_no_cookie();
        assert_eq!(client.get("/").await.text(), format!("{owner:?} start,upload"));
    }
}

/// A request at the idle timeout finds no session, although the store still has the record.
pub async fn no_request_begins_at_the_idle_timeout(setup: &Setup) {
    let app = app(setup);
    let mut client = visitor(&app, Some("idle")).await;
    let id = session_of(&client.token().unwrap());
    setup.clock.advance(IDLE);
    let sessions = setup.builder().with_lifetime(Lifetime::new().with_idle_timeout(IDLE)).build().unwrap().sessions();
    assert!(sessions.find_by_id(&id).await.unwrap().is_none());
    assert!(sessions.owned_by("idle").await.unwrap().is_empty());
    setup.events.take();
    assert_eq!(client.get("/").await.text(), "None ");
    assert_eq!(setup.events.take(), [(EventKind::Expired, Some(id))]);
}

/// Each end of an owner's sessions reaches one past its idle timeout, which a slow request would revive; so does the owner limit.
pub async fn each_end_reaches_a_session_past_its_idle_timeout(setup: &Setup) {
    const OWNER: &str = "uploading beside an end";
    for end in ["all", "everywhere", "others", "matching", "one", "limit"] {
        let builder = setup.builder().with_lifetime(Lifetime::new().with_idle_timeout(IDLE));
        let layer = builder.with_owner_limit(if end == "limit" { 1 } else { 2 }).build().unwrap();
        let (sessions, clock) = (layer.sessions(), setup.clock.clone());
        let upload = async move |session: Session| -> Result<(), Error> {
            let id = session.id().unwrap();
            clock.advance(IDLE + MINUTE);
            let (other, _) = sessions.create_owned_by(OWNER, &()).await?;
            let ended = match end {
                "all" => sessions.end_all_of(OWNER).await?,
                "everywhere" => sessions.end_all_of_in_every_realm(OWNER).await?,
                "others" => sessions.end_others_of(OWNER, &other).await?,
                "matching" => sessions.end_matching_of(OWNER, |session| session.id() != other).await?,
                "one" => sessions.end_if_owned_by(&id, OWNER).await?.then_some(id).into_iter().collect(),
                _ => vec![id],
            };
            assert!(ended.contains(&id), "{end}");
            assert_eq!(sessions.ids_of(OWNER).await?.contains(&other), ended.len() == 1, "{end}");
            session.insert("upload", &true)
        };
        let app = Router::new()
            .route("/", get(async |session: Session| format!("{:?}", session.owner())))
            .route("/sign-in", post(async |session: Session| session.sign_in(OWNER)))
            .route("/upload", post(upload))
            .layer(layer.clone());
        let mut client = Client::new(&app);
        client.post("/sign-in").await.set_cookie();
        assert_eq!(client.post("/upload").await.status, StatusCode::OK);
        assert_eq!(client.get("/").await.text(), "None", "{end}");
        layer.sessions().end_all_of(OWNER).await.unwrap();
    }
}
