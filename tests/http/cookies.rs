//! The times at which the session cookie is sent, renewed and removed.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use sessile::config::SameSite;
use sessile::testing::ManualClock;
use sessile::{Error, Lifetime, MemoryStore, Session, SessionLayer, SessionLayerBuilder};
use support::client::{Client, session_of};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MINUTE: Duration = Duration::from_secs(60);

fn builder() -> SessionLayerBuilder {
    SessionLayer::builder(MemoryStore::new())
}

fn app(layer: SessionLayer) -> Router {
    async fn everything(session: Session) -> Result<(), Error> {
        session.sign_in("ada")?;
        session.rotate()?;
        session.sign_out()
    }

    async fn everything_committed(session: Session) -> Result<(), Error> {
        session.sign_in("ada")?;
        session.commit().await?;
        session.rotate()?;
        session.commit().await?;
        session.sign_out()?;
        session.commit().await
    }

    async fn start_over(session: Session) -> Result<(), Error> {
        session.insert("before", "x")?;
        session.sign_out()?;
        session.insert("after", "x")
    }

    async fn sign_in_twice(session: Session) -> Result<(), Error> {
        session.sign_in("ada")?;
        session.commit().await?;
        session.sign_in("bob")
    }

    Router::new()
        .route("/", get(async |session: Session| session.keys().join(",")))
        .route("/set", post(async |session: Session| session.insert("key", "value")))
        .route("/again", post(async |session: Session| session.update("n", |n: &mut u32| *n += 1)))
        .route("/sign-in", post(async |session: Session| session.sign_in("ada")))
        .route("/sign-out", post(async |session: Session| session.sign_out()))
        .route("/rotate", post(async |session: Session| session.rotate()))
        .route("/everything", post(everything))
        .route("/everything-committed", post(everything_committed))
        .route("/start-over", post(start_over))
        .route("/sign-in-twice", post(sign_in_twice))
        .route("/static", get(async || "static"))
        .layer(layer)
}

/// A `Max-Age` of 24 hours is sent as such at creation, and as 23.5 hours after 30 minutes.
#[tokio::test]
async fn max_age_is_limited_to_the_rest_of_the_absolute_timeout() {
    let layer = builder().with_max_age(DAY).build().unwrap();
    let cookie = Client::new(&app(layer)).post("/set").await.set_cookie();
    assert_eq!(cookie.max_age(), Some(24 * 60 * 60));

    let clock = ManualClock::new();
    let store = MemoryStore::new().with_clock(&clock);
    let layer = SessionLayer::builder(store).with_clock(&clock).with_max_age(DAY).build().unwrap();
    let mut client = Client::new(&app(layer));
    client.post("/set").await;
    clock.advance(30 * MINUTE);
    assert_eq!(client.post("/rotate").await.set_cookie().max_age(), Some(24 * 60 * 60 - 30 * 60));
}

// checklist: 20
/// For five configurations the removal repeats the cookie's attributes, with an empty value and `Max-Age=0`.
#[tokio::test]
async fn removal_cookie_repeats_all_identifying_attributes() {
    let builders = [
        builder(),
        builder().with_name("shop").with_path("/shop").with_domain("example.org").with_same_site(SameSite::Strict),
        builder().with_same_site(SameSite::None).with_partitioned(true),
        builder().with_secure(false).with_http_only(false),
        builder().with_http_prefix(true).with_max_age(DAY),
    ];
    for builder in builders {
        let app = app(builder.build().unwrap());
        let mut client = Client::new(&app);
        let set = client.post("/set").await.set_cookie();
        let removal = client.post("/sign-out").await.set_cookie();
        assert_eq!((removal.name.as_str(), removal.value.as_str()), (set.name.as_str(), ""));
        assert_eq!(removal.max_age(), Some(0));
        for name in ["Path", "Domain", "Secure", "HttpOnly", "SameSite", "Partitioned"] {
            assert_eq!(removal.attribute(name), set.attribute(name), "{name} of {removal:?} and {set:?}");
        }
        assert!(client.jar.is_empty());
    }
}

// checklist: 17
/// One request signs in, rotates and signs out, with and without commits between; it sends one removal cookie.
#[tokio::test]
async fn sign_in_rotation_and_sign_out_send_one_cookie() {
    let app = app(SessionLayer::new(MemoryStore::new()));
    for path in ["/everything", "/everything-committed"] {
        let mut client = Client::new(&app);
        client.post("/set").await;
        let removal = client.post(path).await.set_cookie();
        assert!(removal.is_removal(), "{path}: {removal:?}");
        assert_eq!(client.get("/").await.text(), "");
    }
}

// checklist: 17
/// One request signs out and writes; its only cookie opens a new session, and the old token opens nothing.
#[tokio::test]
async fn write_after_sign_out_sends_only_the_new_cookie() {
    let app = app(SessionLayer::new(MemoryStore::new()));
    let mut client = Client::new(&app);
    client.post("/set").await;
    let old = client.token().unwrap();

    let cookie = client.post("/start-over").await.set_cookie();
    assert!(!cookie.is_removal());
    assert_ne!(session_of(&cookie.value), session_of(&old));
    assert_eq!(client.get("/").await.text(), "after");
    assert_eq!(Client::with_cookie(&app, "__Host-id", &old).get("/").await.text(), "");
}

// checklist: 17
/// One request signs in two owners, one after the other; only the second owner's session remains, with one cookie.
#[tokio::test]
async fn second_sign_in_of_a_request_sends_only_its_token() {
    let store = MemoryStore::new();
    let app = app(SessionLayer::new(store.clone()));
    let mut client = Client::new(&app);
    let cookie = client.post("/sign-in-twice").await.set_cookie();
    let sessions = sessile::Sessions::new(store);
    let owned = sessions.owned_by("bob").await.unwrap();
    assert_eq!(owned.len(), 1);
    assert_eq!(owned[0].id(), session_of(&cookie.value));
    assert!(sessions.owned_by("ada").await.unwrap().is_empty());
}

// checklist: 30
/// Reads, a sign-out and a rotation without a session set no cookie and store nothing.
#[tokio::test]
async fn client_without_writes_gets_no_cookie_and_no_record() {
    let store = MemoryStore::new();
    let app = app(SessionLayer::new(store.clone()));
    let mut client = Client::new(&app);
    for path in ["/", "/static"] {
        client.get(path).await.assert_no_cookie();
    }
    for path in ["/sign-out", "/rotate"] {
        client.post(path).await.assert_no_cookie();
    }
    assert!(store.is_empty());
}

/// Creation, rotation, sign-in and sign-out set the cookie once; reads and writes set none.
#[tokio::test]
async fn cookie_is_sent_only_when_the_token_changes() {
    let app = app(SessionLayer::new(MemoryStore::new()));
    let mut client = Client::new(&app);
    client.post("/set").await.set_cookie();
    for _ in 0..3 {
        client.post("/again").await.assert_no_cookie();
        client.post("/set").await.assert_no_cookie();
        client.get("/").await.assert_no_cookie();
    }
    client.post("/rotate").await.set_cookie();
    client.post("/again").await.assert_no_cookie();
    client.post("/sign-in").await.set_cookie();
    client.post("/again").await.assert_no_cookie();
    assert!(client.post("/sign-out").await.set_cookie().is_removal());
    client.post("/sign-out").await.assert_no_cookie();
}

// checklist: 15
/// A cookie with `Max-Age` is sent again, with the same token, once a day of use, but not without session use.
#[tokio::test]
async fn persistent_cookie_is_renewed_while_session_is_used() {
    let clock = ManualClock::new();
    let store = MemoryStore::new().with_clock(&clock);
    let lifetime = Lifetime::new().with_idle_timeout(10 * DAY).with_absolute_timeout(90 * DAY).with_max_age(10 * DAY);
    let layer = SessionLayer::builder(store).with_clock(&clock).with_lifetime(lifetime).build().unwrap();
    let mut client = Client::new(&app(layer));
    client.post("/set").await;
    let token = client.token();

    client.get("/").await.assert_no_cookie();
    for path in ["/", "/again"] {
        clock.advance(DAY);
        let reply = if path == "/" { client.get(path).await } else { client.post(path).await };
        let cookie = reply.set_cookie();
        assert_eq!(Some(cookie.value.clone()), token, "renewed, not replaced");
        assert_eq!(cookie.max_age(), Some(10 * 24 * 60 * 60));
    }
    client.get("/").await.assert_no_cookie();
    clock.advance(DAY);
    client.get("/static").await.assert_no_cookie();
}

/// Five reads, 50 minutes apart, keep the session live and set no cookie.
#[tokio::test]
async fn cookie_without_max_age_is_never_renewed() {
    let clock = ManualClock::new();
    let store = MemoryStore::new().with_clock(&clock);
    let layer = SessionLayer::builder(store).with_clock(&clock).build().unwrap();
    let mut client = Client::new(&app(layer));
    client.post("/set").await;
    for _ in 0..5 {
        clock.advance(50 * MINUTE);
        let reply = client.get("/").await;
        assert_eq!(reply.text(), "key");
        reply.assert_no_cookie();
    }
}
