//! Signed and private session cookies, under a ring of keys.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use axum::Router;
use axum::routing::get;
use http::header::COOKIE;
use http::{Request, StatusCode};
use proptest::prelude::*;
use sessile::config::KeyRing;
use sessile::{MemoryStore, Session, SessionLayer, SessionLayerBuilder, Token};
use support::client::{COOKIE_NAME, Client, Reply, request_with_cookies, send};
use support::store::{CountingStore, Counts};

const NEW: [u8; 32] = [1; 32];
const OLD: [u8; 32] = [2; 32];

/// Both ways to protect a cookie.
const WAYS: [Way; 2] = [SessionLayerBuilder::with_signed_cookie, SessionLayerBuilder::with_private_cookie];

type Way = fn(SessionLayerBuilder, KeyRing) -> SessionLayerBuilder;

/// One store behind layers of different keys.
#[derive(Clone)]
struct World {
    store: CountingStore<MemoryStore>,
    way: Option<Way>,
}

impl World {
    fn new(way: Way) -> Self {
        Self { store: CountingStore::new(MemoryStore::new()), way: Some(way) }
    }

    fn app(&self, keys: KeyRing) -> Router {
        let builder = SessionLayer::builder(self.store.clone());
        let builder = match self.way {
            Some(way) => way(builder, keys),
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

#[tokio::test]
async fn a_protected_cookie_opens_its_session_through_its_whole_life() {
    for way in WAYS {
        let app = World::new(way).app(KeyRing::new(NEW).unwrap());
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

#[tokio::test]
async fn a_forged_or_foreign_cookie_costs_no_store_operation() {
    for way in WAYS {
        let world = World::new(way);
        let app = world.app(KeyRing::new(NEW).unwrap());
        let cookie = Client::new(&app).get("/write").await.set_cookie().value;
        let foreign = Client::new(&world.app(KeyRing::new(OLD).unwrap())).get("/write").await.set_cookie().value;
        let plain = Client::new(&World { way: None, ..world.clone() }.app(KeyRing::new(NEW).unwrap()));
        let plain = { plain }.get("/write").await.set_cookie().value;
        assert!(Token::parse(plain.as_bytes()).is_some());
        let mut forged = vec![foreign, plain.clone(), String::new(), format!("{}{plain}", &cookie[..44])];
        for place in [0, 10, 43, 44, 60, cookie.len() - 1] {
            let mut bytes = cookie.clone().into_bytes();
            bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
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

/// The cookie with one character changed: as long as the real one, and no longer one of ours.
fn forged(cookie: &str) -> String {
    let mut bytes = cookie.to_owned().into_bytes();
    let place = bytes.len() - 10;
    bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
    String::from_utf8(bytes).unwrap()
}

// guarantee: 11
#[tokio::test]
async fn however_many_protected_cookies_come_sixteen_are_looked_at() {
    for way in WAYS {
        let app = World::new(way).app(KeyRing::new(NEW).unwrap());
        let cookie = Client::new(&app).get("/write").await.set_cookie().value;
        let after = |others: usize, other: String| {
            let header = format!("{COOKIE_NAME}={other}; ").repeat(others) + &format!("{COOKIE_NAME}={cookie}");
            let app = &app;
            async move { send(app, request_with_cookies("/read", &[header.as_bytes()])).await.text().to_owned() }
        };
        assert_eq!(after(15, forged(&cookie)).await, "Some(7)");
        assert_eq!(after(16, forged(&cookie)).await, "None");
        // What is not as long as ours is not looked at, and so does not count.
        assert_eq!(after(100, forged(&cookie) + "A").await, "Some(7)");
    }
}

#[tokio::test]
async fn a_cookie_of_an_old_key_is_read_and_written_again_with_the_newest() {
    for way in WAYS {
        let world = World::new(way);
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
        // The old key is gone.
        let after = world.app(KeyRing::new(NEW).unwrap());
        assert_eq!(read(&after, &new).await.text(), "Some(7)");
        assert_eq!(read(&after, &old).await.text(), "None");
    }
}

#[tokio::test]
async fn a_write_under_an_old_key_sends_the_cookie_again_and_a_rotation_sends_the_new_one() {
    for way in WAYS {
        let world = World::new(way);
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
        assert_eq!(read(&after, &written).await.text(), "None", "rotated out");
        assert_eq!(read(&after, &rotated).await.text(), "Some(7)");
        let gone = send(&app, at("/read")).await;
        assert_eq!(gone.text(), "None");
        gone.assert_no_cookie();
    }
}

#[tokio::test]
async fn a_cookie_that_was_written_under_another_name_opens_nothing() {
    for way in WAYS {
        let world = World::new(way);
        let cookie = Client::new(&world.app(KeyRing::new(NEW).unwrap())).get("/write").await.set_cookie().value;
        let other = way(SessionLayer::builder(world.store.clone()).with_name("other"), KeyRing::new(NEW).unwrap());
        let app = Router::new()
            .route("/read", get(async |session: Session| format!("{:?}", session.get::<u32>("n").unwrap())))
            .layer(other.build().unwrap());
        let swapped = format!("__Host-other={cookie}");
        assert_eq!(send(&app, request_with_cookies("/read", &[swapped.as_bytes()])).await.text(), "None");
    }
}

#[tokio::test]
async fn a_private_cookie_shows_neither_the_id_nor_the_token() {
    let world = World::new(SessionLayerBuilder::with_private_cookie);
    let app = world.app(KeyRing::new(NEW).unwrap());
    let layer = SessionLayer::builder(world.store.clone()).with_private_cookie(KeyRing::new(NEW).unwrap()).build().unwrap();
    let (id, token) = layer.sessions().create(&serde_json::json!({ "n": 7 })).await.unwrap();
    let cookie = sessile::testing::cookie(&layer, &token);
    let text = cookie.to_str().unwrap();
    assert!(!text.contains(&token.expose_secret()[..20]));
    assert!(!text.contains(&id.to_string()[..8]));
    let mut request = request_with_cookies("/read", &[]);
    request.headers_mut().insert(COOKIE, cookie);
    assert_eq!(send(&app, request).await.text(), "Some(7)");
}

#[test]
fn a_short_key_is_refused_when_the_layer_is_built() {
    for way in WAYS {
        for ring in [KeyRing::new([0; 31]).unwrap(), KeyRing::new(NEW).unwrap().add_old_key([0; 16]).unwrap(), KeyRing::new("").unwrap()] {
            let error = way(SessionLayer::builder(MemoryStore::new()), ring).build().unwrap_err();
            assert!(error.to_string().contains("32 bytes"), "{error}");
        }
    }
}

#[test]
fn a_ring_shows_no_key() {
    let ring = KeyRing::new(b"0123456789abcdef0123456789abcdef").unwrap();
    let layer = SessionLayer::builder(MemoryStore::new()).with_signed_cookie(ring.clone());
    let mut shown = format!("{ring:?} {layer:?}");
    shown += &format!("{:?}", layer.build().unwrap());
    assert!(!shown.contains("0123456789") && !shown.contains("48, 49"), "{shown}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_in_the_header_are_a_session_or_none(values in prop::collection::vec(prop::collection::vec((32u8..=255).prop_filter("in no header", |byte| *byte != 127), 0..200), 0..20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for way in WAYS {
            let world = World::new(way);
            let app = world.app(KeyRing::new(NEW).unwrap());
            let cookies: Vec<Vec<u8>> = values.iter().map(|value| [b"__Host-id=", &value[..]].concat()).collect();
            let cookies: Vec<&[u8]> = cookies.iter().map(|cookie| &cookie[..]).collect();
            let reply = runtime.block_on(send(&app, request_with_cookies("/read", &cookies)));
            prop_assert_eq!((reply.status, reply.text()), (StatusCode::OK, "None"));
            prop_assert_eq!(world.store.counts(), Counts::NONE);
        }
    }
}
