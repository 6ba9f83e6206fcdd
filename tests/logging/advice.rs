//! Log messages for mistakes that only a request reveals.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::io::Write;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{get, post};
use http::{Method, Request, StatusCode};
use sessile::migrate::tower_sessions::decode;
use sessile::migrate::{LegacySession, LegacySessions, MigrationLayer};
use sessile::store::StoreError;
use sessile::{MemoryStore, Session, SessionHandle, SessionLayer, SignedIn};
use support::client::{Client, Reply, request, send};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

/// The lines that this thread logged since `begin`.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn begin() -> (Self, DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// The lines since the last call.
    fn take(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap());
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[track_caller]
fn assert_says(log: &Log, level: &str, parts: &[&str]) {
    let lines = log.take();
    assert_eq!(lines.len(), 1, "one line was expected: {lines:?}");
    for part in [&[level], parts].concat() {
        assert!(lines[0].contains(part), "{part:?} is missing: {lines:?}");
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
    let (log, _guard) = Log::begin();
    let app = Router::new()
        .route("/session", get(async |_: Session| ()))
        .route("/handle", get(async |_: SessionHandle| ()))
        .route("/signed-in", get(async |_: SignedIn| ()))
        .route("/admin", get(async |_: Session<Admin>| ()));
    for path in ["/session", "/handle", "/signed-in"] {
        assert_refused(&send(&app, request(Method::GET, path)).await);
        assert_says(&log, "ERROR", &["no SessionLayer", ".layer(SessionLayer::new(store))", "after the routes"]);
    }
    let app = app.layer(SessionLayer::new(MemoryStore::new()));
    assert_refused(&send(&app, request(Method::GET, "/admin")).await);
    assert_says(&log, "ERROR", &["Admin", "with_marker"]);
}

/// The log says that a later layer runs earlier.
#[tokio::test]
async fn a_layer_inside_its_middleware_is_logged() {
    async fn guard(_: Session, request: axum::extract::Request, next: Next) -> Response {
        next.run(request).await
    }
    let (log, _guard) = Log::begin();
    let layer = || SessionLayer::new(MemoryStore::new());
    let routes = || Router::new().route("/", get(async |_: Session| "here"));
    let app = routes().layer(layer()).layer(from_fn(guard));
    assert_refused(&send(&app, request(Method::GET, "/")).await);
    assert_says(&log, "ERROR", &["a layer added later runs earlier"]);

    let app = routes().layer(from_fn(guard)).layer(layer());
    assert_eq!(send(&app, request(Method::GET, "/")).await.text(), "here");
    assert_eq!(log.take(), [""; 0]);
}

/// The log suggests two cookie names.
#[tokio::test]
async fn two_layers_with_one_cookie_are_logged() {
    let (log, _guard) = Log::begin();
    let layer = || SessionLayer::new(MemoryStore::new());
    let app = Router::new().route("/", get(async || "here")).layer(layer()).layer(layer());
    assert_eq!(send(&app, request(Method::GET, "/")).await.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_says(&log, "ERROR", &["__Host-id", "with_name"]);
}

/// The log says to add the session layer after the migration.
#[tokio::test]
async fn a_migration_outside_its_layer_is_logged() {
    struct Old;
    impl LegacySessions for Old {
        async fn load(&self, _: &str) -> Result<Option<LegacySession>, StoreError> {
            decode(b"").map(Some)
        }

        async fn delete(&self, _: &str) -> Result<(), StoreError> {
            Ok(())
        }
    }
    let (log, _guard) = Log::begin();
    let app = Router::new().route("/", get(async || ()));
    let app = app.layer(SessionLayer::new(MemoryStore::new())).layer(MigrationLayer::new(Old));
    assert_eq!(send(&app, request(Method::GET, "/")).await.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_says(&log, "ERROR", &["add the SessionLayer after it"]);
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
    let (log, _guard) = Log::begin();
    for host in ["shop.example", "192.168.1.7:3000", "[2001:db8::1]:80", "localhost.example"] {
        let app = app(true);
        send(&app, request(Method::GET, "/")).await;
        assert_eq!(log.take(), [""; 0], "no cookie goes out");
        begin(&app, "/", &[("host", host)]).await;
        assert_says(&log, "WARN", &["__Host-id", "with_secure(false)", "https"]);
        begin(&app, "/", &[("host", host)]).await;
        assert_eq!(log.take(), [""; 0]);
    }
}

/// No warning if the browser accepts the cookie: localhost, https and proxies.
#[tokio::test]
async fn an_accepted_cookie_is_not_warned() {
    let (log, _guard) = Log::begin();
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
    let (log, _guard) = Log::begin();
    let app = app(true);
    begin(&app, "/", &[("host", "localhost")]).await;
    begin(&app, "/", &[("host", "192.168.1.7:3000")]).await;
    assert_says(&log, "WARN", &["with_secure(false)"]);
}

/// A token of another realm is logged as a warning that names both realms.
#[tokio::test]
async fn a_token_of_another_realm_is_warned_with_both_realms() {
    let store = MemoryStore::new();
    let layer = |realm| SessionLayer::builder(store.clone()).with_realm(realm).build().unwrap();
    let (_, token) = layer("staff").sessions().create(&()).await.unwrap();
    let app = Router::new().route("/", get(async |session: Option<Session>| session.is_some().to_string()));
    let (log, _guard) = Log::begin();
    assert_eq!(Client::with_token(&app.layer(layer("shop")), &token).get("/").await.text(), "false");
    let id = token.id().to_string();
    assert_says(&log, "WARN", &["OtherRealm", "realm=\"shop\"", "other_realm=\"staff\"", &id]);
}
