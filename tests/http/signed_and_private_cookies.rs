//! Signed and private session cookies with a key ring.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use axum::Router;
use axum::routing::get;
use http::header::COOKIE;
use http::{Request, StatusCode};
use proptest::prelude::*;
use sessile::config::KeyRing;
use sessile::event::EventKind;
use sessile::{MemoryStore, Session, SessionLayer, SessionLayerBuilder, Token};
use support::client::{COOKIE_NAME, Client, EventLog, Reply, request_with_cookies, send};
use support::store::{CountingStore, Counts};

const NEW: [u8; 32] = [1; 32];
const OLD: [u8; 32] = [2; 32];

/// Setters of both cookie protections.
const PROTECTIONS: [Protect; 2] = [SessionLayerBuilder::with_signed_cookie, SessionLayerBuilder::with_private_cookie];

type Protect = fn(SessionLayerBuilder, KeyRing) -> SessionLayerBuilder;

/// One store behind layers with different keys.
#[derive(Clone)]
struct World {
    store: CountingStore<MemoryStore>,
    protect: Option<Protect>,
}

impl World {
    fn new(protect: Protect) -> Self {
        Self { store: CountingStore::new(MemoryStore::new()), protect: Some(protect) }
    }

    fn app(&self, keys: KeyRing) -> Router {
        let builder = SessionLayer::builder(self.store.clone());
        let builder = match self.protect {
            Some(protect) => protect(builder, keys),
            None => builder,
        };
        Router::new()
            .route("/write", get(async |session: Session| session.insert("n", &7)))
            .route("/read", get(async |session: Session| format!("{:?}", session.get::<u32>("n").unwrap())))
            .route("/rotate", get(async |session: Session| session.rotate()))
            .route("/sign-out", get(async |session: Session| session.sign_out()))
            .layer(builder.build().unwrap())
    }
}

async fn read(app: &Router, cookie: &str) -> Reply {
    send(app, request_with_cookies("/read", &[format!("{COOKIE_NAME}={cookie}").as_bytes()])).await
}

/// Write, read, rotate and sign out work with signed and private cookies, and retired cookies open nothing.
#[tokio::test]
async fn protected_cookie_works_from_creation_to_sign_out() {
    for protect in PROTECTIONS {
        let app = World::new(protect).app(KeyRing::new(NEW).unwrap());
        let mut client = Client::new(&app);
        let first = client.get("/write").await.set_cookie().value;
        assert_eq!(client.get("/read").await.text(), "Some(7)");
        let second = client.get("/rotate").await.set_cookie().value;
        assert_ne!(first, second);
        assert_eq!(client.get("/read").await.text(), "Some(7)");
        assert_eq!(read(&app, &first).await.text(), "None");
        assert!(client.get("/sign-out").await.set_cookie().is_removal());
        assert_eq!(read(&app, &second).await.text(), "None");
    }
}

/// Cookies with another key, without protection, with a swapped part or a changed character load nothing.
#[tokio::test]
async fn invalid_protected_cookie_makes_no_store_call() {
    for protect in PROTECTIONS {
        let world = World::new(protect);
        let app = world.app(KeyRing::new(NEW).unwrap());
        let cookie = Client::new(&app).get("/write").await.set_cookie().value;
        let other_key = Client::new(&world.app(KeyRing::new(OLD).unwrap())).get("/write").await.set_cookie().value;
        let plain = Client::new(&World { protect: None, ..world.clone() }.app(KeyRing::new(NEW).unwrap()));
        let plain = { plain }.get("/write").await.set_cookie().value;
        assert!(Token::parse(plain.as_bytes()).is_some());
        let mut forged = vec![other_key, plain.clone(), String::new(), format!("{}{plain}", &cookie[..44])];
        for position in [0, 10, 43, 44, 60, cookie.len() - 1] {
            let mut bytes = cookie.clone().into_bytes();
            bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
            forged.push(String::from_utf8(bytes).unwrap());
        }
        world.store.reset();
        for cookie in &forged {
            let reply = read(&app, cookie).await;
            assert_eq!((reply.status, reply.text()), (StatusCode::OK, "None"), "{cookie}");
            reply.assert_no_cookie();
        }
        assert_eq!(world.store.counts(), Counts::NONE);
        assert_eq!(read(&app, &cookie).await.text(), "Some(7)");
        assert_eq!(world.store.counts(), Counts::gets(1));
    }
}

/// Returns the cookie with one character changed, at the same length.
fn forged(cookie: &str) -> String {
    let mut bytes = cookie.to_owned().into_bytes();
    let position = bytes.len() - 10;
    bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
    String::from_utf8(bytes).unwrap()
}

/// A cookie that no key has written raises `Forged` once a request that uses the session; cookies of known keys raise none.
#[tokio::test]
async fn forged_cookie_raises_an_event() {
    for protect in PROTECTIONS {
        let events = EventLog::default();
        let app = |keys: KeyRing| {
            let builder = SessionLayer::builder(MemoryStore::new()).with_event_hook(events.hook());
            Router::new()
                .route("/write", get(async |session: Session| session.insert("n", &7)))
                .route("/read", get(async |session: Session| format!("{:?}", session.get::<u32>("n").unwrap())))
                .route("/untouched", get(async || ()))
                .layer(protect(builder, keys).build().unwrap())
        };
        let old = Client::new(&app(KeyRing::new(OLD).unwrap())).get("/write").await.set_cookie().value;
        let other = Client::new(&app(KeyRing::new([3; 32]).unwrap())).get("/write").await.set_cookie().value;
        let app = app(KeyRing::new(NEW).unwrap().add_old_key(OLD).unwrap());
        let new = Client::new(&app).get("/write").await.set_cookie().value;
        events.take();
        for known in [&new, &old, &format!("\"{new}\"")] {
            read(&app, known).await;
            assert_eq!(events.count(EventKind::Forged), 0, "{known}");
        }
        events.take();
        let plain = Token::parse(&[b'A'; 43]).map_or_else(|| "A".repeat(43), |token| token.expose_secret());
        for unknown in [forged(&new), other, plain, new[1..].to_owned(), "x".to_owned()] {
            let cookie = format!("{COOKIE_NAME}={unknown}");
            assert_eq!(read(&app, &unknown).await.text(), "None");
            assert_eq!(events.take(), [(EventKind::Forged, None)], "{unknown}");
            // Beside a valid cookie, and many times in one request.
            let many = format!("{cookie}; {COOKIE_NAME}={new}; {}", format!("{cookie}; ").repeat(20));
            assert_eq!(send(&app, request_with_cookies("/read", &[many.as_bytes()])).await.text(), "Some(7)");
            assert_eq!(events.count(EventKind::Forged), 1, "{unknown}");
            events.take();
            send(&app, request_with_cookies("/untouched", &[cookie.as_bytes()])).await;
            assert_eq!(events.take(), []);
        }
        for absent in ["/read", "/write"] {
            send(&app, request_with_cookies(absent, &[b"other=x"])).await;
        }
        assert_eq!(events.count(EventKind::Forged), 0);
    }
}

// guarantee: 11
/// A valid cookie after 15 forged ones opens its session; after 16 it does not.
#[tokio::test]
async fn at_most_sixteen_protected_cookies_are_verified() {
    for protect in PROTECTIONS {
        let app = World::new(protect).app(KeyRing::new(NEW).unwrap());
        let cookie = Client::new(&app).get("/write").await.set_cookie().value;
        let after = |others: usize, other: String| {
            let header = format!("{COOKIE_NAME}={other}; ").repeat(others) + &format!("{COOKIE_NAME}={cookie}");
            let app = &app;
            async move { send(app, request_with_cookies("/read", &[header.as_bytes()])).await.text().to_owned() }
        };
        assert_eq!(after(15, forged(&cookie)).await, "Some(7)");
        assert_eq!(after(16, forged(&cookie)).await, "None");
        // A cookie of another length is skipped without a check and does not count.
        assert_eq!(after(100, forged(&cookie) + "A").await, "Some(7)");
    }
}

/// A read under an old key costs a touch and sends a cookie that a ring without the old key accepts.
#[tokio::test]
async fn cookie_of_an_old_key_is_sent_again_with_the_new_key() {
    for protect in PROTECTIONS {
        let world = World::new(protect);
        let old = Client::new(&world.app(KeyRing::new(OLD).unwrap())).get("/write").await.set_cookie().value;
        let app = world.app(KeyRing::new(NEW).unwrap().add_old_key(OLD).unwrap());
        world.store.reset();
        let reply = read(&app, &old).await;
        assert_eq!(reply.text(), "Some(7)");
        let new = reply.set_cookie().value;
        assert_eq!(world.store.counts(), Counts::gets(1).and_touches(1));
        let reply = read(&app, &new).await;
        assert_eq!(reply.text(), "Some(7)");
        reply.assert_no_cookie();
        // A ring without the old key reads the new cookie only.
        let after = world.app(KeyRing::new(NEW).unwrap());
        assert_eq!(read(&after, &new).await.text(), "Some(7)");
        assert_eq!(read(&after, &old).await.text(), "None");
    }
}

/// A write sends the same token and a rotation the new one, both protected with the new key.
#[tokio::test]
async fn write_and_rotation_under_an_old_key_use_the_new_key() {
    for protect in PROTECTIONS {
        let world = World::new(protect);
        let mut client = Client::new(&world.app(KeyRing::new(OLD).unwrap()));
        let old = client.get("/write").await.set_cookie().value;
        let app = world.app(KeyRing::new(NEW).unwrap().add_old_key(OLD).unwrap());
        let at = |path: &str| {
            let cookie = format!("{COOKIE_NAME}={old}");
            Request::get(path).header(COOKIE, cookie).body(axum::body::Body::empty()).unwrap()
        };
        let written = send(&app, at("/write")).await.set_cookie().value;
        let rotated = send(&app, at("/rotate")).await.set_cookie().value;
        let after = world.app(KeyRing::new(NEW).unwrap());
        assert_eq!(read(&after, &written).await.text(), "None", "the rotation retired this token");
        assert_eq!(read(&after, &rotated).await.text(), "Some(7)");
        let gone = send(&app, at("/read")).await;
        assert_eq!(gone.text(), "None");
        gone.assert_no_cookie();
    }
}

/// A valid cookie value under another layer's cookie name opens no session.
#[tokio::test]
async fn protected_cookie_is_bound_to_its_name() {
    for protect in PROTECTIONS {
        let world = World::new(protect);
        let cookie = Client::new(&world.app(KeyRing::new(NEW).unwrap())).get("/write").await.set_cookie().value;
        let other = protect(SessionLayer::builder(world.store.clone()).with_name("other"), KeyRing::new(NEW).unwrap());
        let app = Router::new()
            .route("/read", get(async |session: Session| format!("{:?}", session.get::<u32>("n").unwrap())))
            .layer(other.build().unwrap());
        let swapped = format!("__Host-other={cookie}");
        assert_eq!(send(&app, request_with_cookies("/read", &[swapped.as_bytes()])).await.text(), "None");
    }
}

/// The value of a private cookie contains neither the token nor the session id, and it opens the session.
#[tokio::test]
async fn private_cookie_hides_id_and_token() {
    let world = World::new(SessionLayerBuilder::with_private_cookie);
    let app = world.app(KeyRing::new(NEW).unwrap());
    let layer =
        SessionLayer::builder(world.store.clone()).with_private_cookie(KeyRing::new(NEW).unwrap()).build().unwrap();
    let (id, token) = layer.sessions().create(&serde_json::json!({ "n": 7 })).await.unwrap();
    let cookie = sessile::testing::cookie(&layer, &token);
    let text = cookie.to_str().unwrap();
    assert!(!text.contains(&token.expose_secret()[..20]));
    assert!(!text.contains(&id.to_string()[..8]));
    let mut request = request_with_cookies("/read", &[]);
    request.headers_mut().insert(COOKIE, cookie);
    assert_eq!(send(&app, request).await.text(), "Some(7)");
}

/// `KeyRing::new` and `add_old_key` refuse a short key with an error that names the minimum of 32 bytes.
#[test]
fn key_shorter_than_32_bytes_is_a_config_error() {
    let ring = KeyRing::new(NEW).unwrap();
    for refused in [KeyRing::new([0; 31]), ring.add_old_key([0; 16]), KeyRing::new("")] {
        let error = refused.unwrap_err();
        assert!(error.to_string().contains("32 bytes"), "{error}");
    }
}

/// `Debug` of the ring, the builder and the layer contains no byte of the key.
#[test]
fn debug_of_key_ring_and_layer_hides_keys() {
    let ring = KeyRing::new(b"0123456789abcdef0123456789abcdef").unwrap();
    let layer = SessionLayer::builder(MemoryStore::new()).with_signed_cookie(ring.clone());
    let mut shown = format!("{ring:?} {layer:?}");
    shown += &format!("{:?}", layer.build().unwrap());
    assert!(!shown.contains("0123456789") && !shown.contains("48, 49"), "{shown}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Up to 20 cookies of random bytes answer 200 with a new session and make no store call.
    #[test]
    fn random_cookie_bytes_load_no_session(values in prop::collection::vec(prop::collection::vec((32u8..=255).prop_filter("not allowed in a header", |byte| *byte != 127), 0..200), 0..20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for protect in PROTECTIONS {
            let world = World::new(protect);
            let app = world.app(KeyRing::new(NEW).unwrap());
            let cookies: Vec<Vec<u8>> = values.iter().map(|value| [b"__Host-id=", &value[..]].concat()).collect();
            let cookies: Vec<&[u8]> = cookies.iter().map(|cookie| &cookie[..]).collect();
            let reply = runtime.block_on(send(&app, request_with_cookies("/read", &cookies)));
            prop_assert_eq!((reply.status, reply.text()), (StatusCode::OK, "None"));
            prop_assert_eq!(world.store.counts(), Counts::NONE);
        }
    }
}
