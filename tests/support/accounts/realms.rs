//! Two layers on one store: a session of one realm opens nothing in the other.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use http::header::{AUTHORIZATION, COOKIE};
use http::{Method, Request, StatusCode};
use serde_json::json;
use sessile::config::TokenHeader;
use sessile::csrf::CsrfLayer;
use sessile::event::EventKind;
use sessile::{Error, Session, SessionId, SessionLayer, SessionLayerBuilder, Sessions, SignedIn};

use super::Setup;
use crate::support::client::{COOKIE_NAME, Client, session_of};

struct Admin;

const ADMIN: &str = "__Host-admin";

/// The layers of visitors and of administrators, on one store.
struct Site {
    app: Router,
    visitors: Sessions,
    admins: Sessions,
}

impl Site {
    fn new(setup: &Setup) -> Self {
        let visitors = setup.builder().with_owner_limit(2).build().unwrap();
        let admins = setup.builder().with_owner_limit(2).with_name("admin").build().unwrap();
        let (visitor_sessions, admin_sessions) = (visitors.sessions(), admins.sessions());
        let app = routes().layer(admins.with_marker::<Admin>()).layer(visitors);
        Self { app, visitors: visitor_sessions, admins: admin_sessions }
    }

    /// Signs a new client in to this path's layer; returns the client and the session.
    async fn sign_in(&self, path: &str) -> (Client, SessionId) {
        let mut client = Client::new(&self.app);
        let id = session_of(&client.post(path).await.set_cookie().value);
        (client, id)
    }
}

const OWNER: &str = "ada of two realms";

fn routes() -> Router {
    async fn csrf_token(session: Session) -> Result<String, Error> {
        Ok(session.csrf_token().await?.to_string())
    }

    let guarded = Router::new()
        .route("/admin/guarded", post(async |_: Session<Admin>| "done"))
        .layer(CsrfLayer::new().with_marker::<Admin>());
    Router::new()
        .route("/sign-in", post(async |session: Session| session.sign_in(OWNER)))
        .route("/csrf", get(csrf_token))
        .route("/members", get(async |user: SignedIn| user.owner().to_owned()))
        .route("/admin/sign-in", post(async |session: Session<Admin>| session.sign_in(OWNER)))
        .route("/admin/members", get(async |user: SignedIn<Admin>| user.owner().to_owned()))
        .route("/admin/write", post(async |session: Session<Admin>| session.insert("n", &1)))
        .merge(guarded)
}

fn ids(sessions: &[SessionId]) -> BTreeSet<SessionId> {
    sessions.iter().copied().collect()
}

async fn status(app: &Router, cookie: &str, token: &str, path: &str) -> StatusCode {
    Client::with_cookie(app, cookie, token).get(path).await.status
}

/// A token under the other layer's cookie name is a 401 and raises an event; beside that layer's own token it has no effect.
pub async fn a_token_opens_nothing_in_another_realm(setup: &Setup) {
    let site = Site::new(setup);
    let (mut visitor, id) = site.sign_in("/sign-in").await;
    let (mut admin, _) = site.sign_in("/admin/sign-in").await;
    let (stolen, own) = (visitor.jar.value(COOKIE_NAME).unwrap(), admin.jar.value(ADMIN).unwrap());
    setup.events.take();

    assert_eq!(status(&site.app, ADMIN, &stolen, "/admin/members").await, StatusCode::UNAUTHORIZED);
    assert_eq!(setup.events.take(), [(EventKind::OtherRealm, Some(id))]);
    assert_eq!(status(&site.app, COOKIE_NAME, &own, "/members").await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&site.app, ADMIN, &own, "/admin/members").await, StatusCode::OK);

    // A planted cookie of the same name neither opens a session nor hides the client's own.
    let cookies = format!("{ADMIN}={stolen}; {ADMIN}={own}");
    let request = Request::get("/admin/members").header(COOKIE, cookies).body(Body::empty()).unwrap();
    assert_eq!(Client::new(&site.app).send(request).await.status, StatusCode::OK);

    // A write begins a session of its own.
    let begun = Client::with_cookie(&site.app, ADMIN, &stolen).post("/admin/write").await.set_cookie();
    assert_eq!(begun.name, ADMIN);
    assert_ne!(session_of(&begun.value), id);
    assert_eq!(visitor.get("/members").await.text(), OWNER);
    assert_eq!(admin.get("/admin/members").await.text(), OWNER);
    site.visitors.end_all_of_in_every_realm(OWNER).await.unwrap();
}

/// A token in a header opens only the sessions of its own layer.
pub async fn a_token_in_a_header_opens_nothing_in_another_realm(setup: &Setup) {
    let app = |builder: SessionLayerBuilder| -> Router {
        routes().layer(builder.with_token_header(TokenHeader::bearer()).build().unwrap())
    };
    let (visitors, admins) = (app(setup.builder()), app(setup.builder().with_name("admin")));
    let bearer = async |app: &Router, path: &str, token: &str| {
        let method = if path == "/sign-in" { Method::POST } else { Method::GET };
        let request = Request::builder().method(method).uri(path).header(AUTHORIZATION, format!("Bearer {token}"));
        Client::new(app).send(request.body(Body::empty()).unwrap()).await
    };
    let token = bearer(&visitors, "/sign-in", "").await.header("session-token").unwrap().to_owned();
    assert_eq!(bearer(&visitors, "/members", &token).await.text(), OWNER);
    assert_eq!(bearer(&admins, "/members", &token).await.status, StatusCode::UNAUTHORIZED);
    // A write begins a session of its own.
    let begun = bearer(&admins, "/sign-in", &token).await.header("session-token").unwrap().to_owned();
    assert_ne!(session_of(&begun), session_of(&token));
    setup.layer().sessions().end_all_of_in_every_realm(OWNER).await.unwrap();
}

/// A CSRF token is refused with a session of another realm, and with a session of this realm that it is not of.
pub async fn a_csrf_token_of_another_realm_is_refused(setup: &Setup) {
    let site = Site::new(setup);
    let (mut visitor, _) = site.sign_in("/sign-in").await;
    let (admin, _) = site.sign_in("/admin/sign-in").await;
    let csrf = visitor.get("/csrf").await.text().to_owned();
    for token in [visitor.jar.value(COOKIE_NAME).unwrap(), admin.jar.value(ADMIN).unwrap()] {
        let request = Request::post("/admin/guarded").header("X-CSRF-Token", &csrf).body(Body::empty()).unwrap();
        let reply = Client::with_cookie(&site.app, ADMIN, &token).send(request).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN);
        reply.assert_no_cookie();
    }
    site.visitors.end_all_of_in_every_realm(OWNER).await.unwrap();
}

/// `Sessions` neither finds, lists, changes nor ends a session of another realm by its id or token.
pub async fn sessions_of_another_realm_are_absent(setup: &Setup) {
    let site = Site::new(setup);
    let (id, token) = site.visitors.create_owned_by(OWNER, &json!({ "n": 1 })).await.unwrap();
    let admins = &site.admins;
    assert!(admins.find_by_id(&id).await.unwrap().is_none());
    assert!(admins.find_by_token(&token).await.unwrap().is_none());
    assert!(admins.open_for_write(&id).await.unwrap().is_none());
    assert!(!admins.merge(&id, &json!({ "n": 2 })).await.unwrap());
    assert!(admins.owned_by(OWNER).await.unwrap().is_empty());
    assert!(!admins.end_if_owned_by(&id, OWNER).await.unwrap());
    assert!(admins.end_all_of(OWNER).await.unwrap().is_empty());
    let found = site.visitors.find_by_token(&token).await.unwrap().expect("the session is live");
    assert_eq!(found.get::<u32>("n").unwrap(), Some(1));
    // Sessions of the realm by name, as those of the layer.
    let named = admins.clone().with_realm("id").unwrap();
    assert_eq!(named.owned_by(OWNER).await.unwrap().len(), 1);
    assert!(named.end_if_owned_by(&id, OWNER).await.unwrap());
}

/// The owner limit, `end_others_of` and `end_all_of` stay within their realm; `end_all_of_in_every_realm` does not.
pub async fn an_owners_sessions_end_by_realm_or_in_every_realm(setup: &Setup) {
    let site = Site::new(setup);
    let transient = setup.transient();
    transient.set(OWNER, &"kept", Duration::from_secs(600)).await.unwrap();
    let mut visitors = Vec::new();
    let mut admins = Vec::new();
    for _ in 0..3 {
        visitors.push(site.sign_in("/sign-in").await.1);
        admins.push(site.sign_in("/admin/sign-in").await.1);
        setup.clock.advance(Duration::from_secs(1));
    }
    let listed = async |sessions: &Sessions| -> Vec<SessionId> {
        sessions.owned_by(OWNER).await.unwrap().iter().map(|session| session.id()).collect()
    };
    assert_eq!(listed(&site.visitors).await, visitors[1..]);
    assert_eq!(listed(&site.admins).await, admins[1..]);

    let others = site.visitors.end_others_of(OWNER, &visitors[2]).await.unwrap();
    assert_eq!(others, visitors[1..2]);
    assert_eq!(listed(&site.admins).await, admins[1..]);

    let ended = site.admins.end_all_of(OWNER).await.unwrap();
    assert_eq!(ids(&ended), ids(&admins[1..]));
    assert_eq!(listed(&site.visitors).await, visitors[2..]);

    let admin = site.sign_in("/admin/sign-in").await.1;
    let ended = site.visitors.end_all_of_in_every_realm(OWNER).await.unwrap();
    assert_eq!(ids(&ended), ids(&[visitors[2], admin]));
    assert!(listed(&site.visitors).await.is_empty() && listed(&site.admins).await.is_empty());
    assert_eq!(transient.get::<String>(OWNER).await.unwrap().as_deref(), Some("kept"));
    assert!(transient.delete(OWNER).await.unwrap());
}

/// A layer with another cookie name opens the sessions of the old name if it has the old name's realm, and no others.
pub async fn a_renamed_cookie_keeps_its_sessions_by_its_realm(setup: &Setup) {
    let app = |builder: SessionLayerBuilder| -> Router {
        let layer: SessionLayer = builder.build().unwrap();
        routes().layer(layer)
    };
    let mut client = Client::new(&app(setup.builder()));
    let token = client.post("/sign-in").await.set_cookie().value;
    let renamed = || setup.builder().with_name("sid");
    assert_eq!(status(&app(renamed()), "__Host-sid", &token, "/members").await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&app(renamed().with_realm("id")), "__Host-sid", &token, "/members").await, StatusCode::OK);
    // A second service with the default cookie name.
    let other = setup.builder().with_realm("billing");
    assert_eq!(status(&app(other), COOKIE_NAME, &token, "/members").await, StatusCode::UNAUTHORIZED);
    setup.layer().sessions().end_all_of(OWNER).await.unwrap();
}
