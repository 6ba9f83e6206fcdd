//! Log messages for mistakes that only a request reveals.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::capture::Capture;
use crate::support;

use axum::Router;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{get, post};
use http::{Method, Request, StatusCode};
use sessile::acting::{Acting, ActingLayer};
use sessile::errors::ErrorLayer;
use sessile::migrate::tower_sessions::decode;
use sessile::migrate::{LegacySession, LegacySessions, MigrationLayer};
use sessile::store::StoreError;
use sessile::{Error, MemoryStore, Session, SessionHandle, SessionLayer, SignedIn};
use support::client::{Client, Reply, request, send};
use support::race::{World, both};
use tracing::Level;

/// The old sessions of a migration: none.
struct Old;

impl LegacySessions for Old {
    async fn load(&self, _: &str) -> Result<Option<LegacySession>, StoreError> {
        decode(b"").map(Some)
    }

    async fn delete(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Asserts that each request is a 500 that has its kind, and that the log has this advice, once.
async fn assert_misconfigured(app: Router, log: &Capture, advice: &[&str]) {
    for (app, text) in [(app.clone().layer(ErrorLayer::new()), "Internal Server Error"), (app, "")] {
        let reply = send(&app, request(Method::GET, "/")).await;
        assert_eq!((reply.status, reply.text()), (StatusCode::INTERNAL_SERVER_ERROR, text));
        log.assert_says("ERROR", advice);
    }
}

/// Asserts a 500 without details.
fn assert_refused(reply: &Reply) {
    assert_eq!((reply.status, reply.text()), (StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"));
}

/// The log names the line that adds the layer.
#[tokio::test]
async fn a_missing_layer_is_logged_with_a_remedy() {
    struct Admin;
    let (log, _guard) = Capture::log(Level::INFO);
    let app = Router::new()
        .route("/session", get(async |_: Session| ()))
        .route("/handle", get(async |_: SessionHandle| ()))
        .route("/signed-in", get(async |_: SignedIn| ()))
        .route("/admin", get(async |_: Session<Admin>| ()));
    for path in ["/session", "/handle", "/signed-in"] {
        assert_refused(&send(&app, request(Method::GET, path)).await);
        log.assert_says("ERROR", &["no SessionLayer", ".layer(SessionLayer::new(store))", "after the routes"]);
    }
    let app = app.layer(SessionLayer::new(MemoryStore::new()));
    assert_refused(&send(&app, request(Method::GET, "/admin")).await);
    log.assert_says("ERROR", &["Admin", "with_marker"]);
}

/// A request with two live sessions is logged once, whatever it does, without a token.
#[tokio::test]
async fn two_live_sessions_in_one_request_are_a_warning() {
    let world = World::new();
    let (first, second) = (world.begin().await, world.begin_signed_in("ada").await);
    let (log, _guard) = Capture::log(Level::WARN);
    assert!(!world.is_live(&both(&first, &second)).await);
    log.assert_says("WARN", &["Ambiguous"]);
    world.insert(&both(&second, &first), "n", 1).await.assert_ok();
    log.assert_says("WARN", &["Ambiguous"]);
}

/// The log says that a later layer runs earlier.
#[tokio::test]
async fn a_layer_inside_its_middleware_is_logged() {
    async fn guard(_: Session, request: axum::extract::Request, next: Next) -> Response {
        next.run(request).await
    }
    let (log, _guard) = Capture::log(Level::INFO);
    let layer = || SessionLayer::new(MemoryStore::new());
    let routes = || Router::new().route("/", get(async |_: Session| "here"));
    let app = routes().layer(layer()).layer(from_fn(guard));
    assert_refused(&send(&app, request(Method::GET, "/")).await);
    log.assert_says("ERROR", &["a layer added later runs earlier"]);

    let app = routes().layer(from_fn(guard)).layer(layer());
    assert_eq!(send(&app, request(Method::GET, "/")).await.text(), "here");
    assert_eq!(log.take(), [""; 0]);
}

/// The log suggests two cookie names.
#[tokio::test]
async fn two_layers_with_one_cookie_are_logged() {
    let (log, _guard) = Capture::log(Level::INFO);
    let layer = || SessionLayer::new(MemoryStore::new());
    let app = Router::new().route("/", get(async || "here")).layer(layer()).layer(layer());
    assert_misconfigured(app, &log, &["__Host-id", "with_name"]).await;
}

/// The log says to add the session layer after the migration, and names the marker.
#[tokio::test]
async fn a_migration_outside_its_layer_is_logged() {
    struct Admin;
    let (log, _guard) = Capture::log(Level::INFO);
    let sessions = || SessionLayer::new(MemoryStore::new());
    let routes = || Router::new().route("/", get(async || ()));
    let app = routes().layer(sessions()).layer(MigrationLayer::new(Old));
    assert_misconfigured(app, &log, &["add the SessionLayer after it", "marker ()"]).await;
    let app = routes().layer(MigrationLayer::new(Old)).layer(sessions().with_marker::<Admin>());
    assert_misconfigured(app, &log, &["marker ()", "with_marker"]).await;
    let app = routes().layer(MigrationLayer::new(Old).with_marker::<Admin>()).layer(sessions());
    assert_misconfigured(app, &log, &["Admin", "with_marker"]).await;
}

/// The log says in which order an acting layer stands, alone and with a migration.
#[tokio::test]
async fn an_acting_layer_in_the_wrong_place_is_logged() {
    let (log, _guard) = Capture::log(Level::INFO);
    let layer = SessionLayer::new(MemoryStore::new());
    let acting = || ActingLayer::new(&layer).unwrap();
    let routes = || Router::new().route("/", get(async || ()));
    assert_misconfigured(routes().layer(layer.clone()).layer(acting()), &log, &["add the SessionLayer after it"]).await;
    let app = routes().layer(MigrationLayer::new(Old)).layer(acting()).layer(layer.clone());
    assert_misconfigured(app, &log, &["add the MigrationLayer after it", "SessionLayer after both"]).await;
}

/// The error of a missing layer says which layer to add, whichever it is.
#[tokio::test]
async fn the_error_of_a_missing_layer_names_it() {
    async fn session(session: Result<Session, Error>) -> String {
        session.unwrap_err().to_string()
    }
    async fn acting(acting: Result<Acting, Error>) -> String {
        acting.unwrap_err().to_string()
    }
    let app = Router::new().route("/session", get(session)).route("/acting", get(acting));
    for (path, layer) in [("/session", "SessionLayer::new"), ("/acting", "ActingLayer::new")] {
        let reply = send(&app, request(Method::GET, path)).await;
        let text = format!("a layer is missing around the handler: add .layer({layer}");
        assert!(reply.text().starts_with(&text), "{}", reply.text());
    }
}

/// Creates a session with a request that has these headers.
async fn begin(app: &Router, uri: &str, headers: &[(&str, &str)]) -> Reply {
    let mut request = Request::post(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let reply = send(app, request.body(axum::body::Body::empty()).unwrap()).await;
    assert_eq!(reply.set_cookies().len(), 1);
    reply
}

fn app(secure: bool) -> Router {
    let layer = SessionLayer::builder(MemoryStore::new()).with_secure(secure).build().unwrap();
    Router::new().route("/", post(async |session: Session| session.insert("n", &1))).layer(layer)
}

/// One warning for each layer, whatever the number of requests.
#[tokio::test]
async fn a_secure_cookie_over_http_is_warned_once() {
    let (log, _guard) = Capture::log(Level::INFO);
    for host in ["shop.example", "192.168.1.7:3000", "[2001:db8::1]:80", "localhost.example"] {
        let app = app(true);
        send(&app, request(Method::GET, "/")).await;
        assert_eq!(log.take(), [""; 0], "no cookie goes out");
        begin(&app, "/", &[("host", host)]).await;
        log.assert_says("WARN", &["__Host-id", "with_secure(false)", "https"]);
        begin(&app, "/", &[("host", host)]).await;
        assert_eq!(log.take(), [""; 0]);
    }
}

/// No warning if the browser accepts the cookie: localhost, https and proxies.
#[tokio::test]
async fn an_accepted_cookie_is_not_warned() {
    let (log, _guard) = Capture::log(Level::INFO);
    let fine: [(&str, &[(&str, &str)]); 12] = [
        ("/", &[]),
        ("/", &[("host", "localhost:3000")]),
        ("/", &[("host", "shop.LOCALHOST")]),
        ("/", &[("host", "127.0.0.1:80")]),
        ("/", &[("host", "[::1]:3000")]),
        ("http://localhost/", &[]),
        ("https://shop.example/", &[]),
        ("/", &[("host", "shop.example"), ("x-forwarded-proto", "https")]),
        ("/", &[("host", "shop.example"), ("x-forwarded-proto", "HTTPS, http")]),
        ("/", &[("host", "shop.example"), ("forwarded", "for=192.0.2.1;Proto=https")]),
        ("/", &[("host", "shop.example"), ("origin", "https://shop.example")]),
        ("/", &[("host", "shop.example"), ("sec-fetch-site", "same-origin")]),
    ];
    for (uri, headers) in fine {
        begin(&app(true), uri, headers).await;
        assert_eq!(log.take(), [""; 0], "{uri} {headers:?}");
    }
    begin(&app(false), "/", &[("host", "shop.example")]).await;
    assert_eq!(log.take(), [""; 0], "a cookie that is not Secure works anywhere");
}

/// A request to localhost does not use up the warning.
#[tokio::test]
async fn requests_to_localhost_do_not_hide_the_warning() {
    let (log, _guard) = Capture::log(Level::INFO);
    let app = app(true);
    begin(&app, "/", &[("host", "localhost")]).await;
    begin(&app, "/", &[("host", "192.168.1.7:3000")]).await;
    log.assert_says("WARN", &["with_secure(false)"]);
}

/// A write outside the cookie's path is warned once, after a request within the path.
#[tokio::test]
async fn write_outside_the_cookie_path_is_warned_once() {
    let app = |path: &str| {
        let layer = SessionLayer::builder(MemoryStore::new()).with_path(path).build().unwrap();
        let write = || post(async |session: Session| session.insert("n", &1)).get(async |_: Session| ());
        Router::new().fallback_service(write().with_state(())).layer(layer)
    };
    let (log, _guard) = Capture::log(Level::INFO);
    for (path, inside, outside) in [
        ("/shop", ["/shop", "/shop/cart", "/shop/"], ["/", "/shopping", "/sho"]),
        ("/shop/", ["/shop/", "/shop/cart", "/shop/?a=b"], ["/shop", "/", "/SHOP/"]),
    ] {
        for (first, other) in inside.into_iter().zip(outside) {
            let app = app(path);
            begin(&app, first, &[]).await;
            begin(&app, first, &[]).await;
            send(&app, request(Method::GET, other)).await;
            assert_eq!(log.take(), [""; 0], "no cookie is set outside {path}");
            begin(&app, other, &[]).await;
            log.assert_says("WARN", &["__Secure-id", path, "with_path"]);
            begin(&app, other, &[]).await;
            assert_eq!(log.take(), [""; 0]);
        }
    }
    // A proxy or a nested router may remove the start of the path, as long as no request shows it.
    begin(&app("/shop"), "/", &[]).await;
    begin(&app("/"), "/anything", &[]).await;
    assert_eq!(log.take(), [""; 0]);
}

/// A token of another realm is logged as a warning that names both realms.
#[tokio::test]
async fn a_token_of_another_realm_is_warned_with_both_realms() {
    let store = MemoryStore::new();
    let layer = |realm| SessionLayer::builder(store.clone()).with_realm(realm).build().unwrap();
    let (_, token) = layer("staff").sessions().create(&()).await.unwrap();
    let app = Router::new().route("/", get(async |session: Option<Session>| session.is_some().to_string()));
    let (log, _guard) = Capture::log(Level::INFO);
    assert_eq!(Client::with_token(&app.layer(layer("shop")), &token).get("/").await.text(), "false");
    let id = token.id().to_string();
    log.assert_says("WARN", &["OtherRealm", "realm=\"shop\"", "other_realm=\"staff\"", &id]);
}
