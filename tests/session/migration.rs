//! Sessions of another crate are taken over: users stay signed in, no value is lost, and no old id is adopted.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use sessile::acting::ActingLayer;
use sessile::config::{ConfigErrorKind, SiteData};
use sessile::event::EventKind;
use sessile::flash::FlashLevel;
use sessile::migrate::tower_sessions::decode;
use sessile::migrate::{LegacySession, LegacySessions, MigrationLayer};
use sessile::store::{Expected, Outcome, Record};
use sessile::store::{Store, StoreError, Touch};
use sessile::testing::ManualClock;
use sessile::user::{Stamp, User, UserLayer, Users};
use sessile::{Error, MemoryStore, Session, SessionId, SessionLayer};
use sessile::{SessionLayerBuilder, SignedIn, Token};
use support::client::{COOKIE_NAME, Client, EventLog, request, request_with_cookies, send, session_of};
use support::race::{DAY, MINUTE};
use support::store::{CountingStore, Counts, Fault, FaultyStore, Op, pend};
use time::OffsetDateTime;
use tokio::task::JoinSet;
use tower::ServiceExt;

/// Cookie value that tower-sessions has set.
const OLD: &str = "AAECAwQFBgcICQoLDA0ODw";
const HOUR: time::Duration = time::Duration::HOUR;

/// A store that also records every byte written to it.
#[derive(Clone)]
struct RecordingStore {
    inner: MemoryStore,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Store for RecordingStore {
    async fn get(&self, id: &SessionId) -> Result<Option<Record>, StoreError> {
        self.inner.get(id).await
    }

    async fn set(&self, record: &Record, expected: Expected) -> Result<Outcome, StoreError> {
        self.written.lock().unwrap().extend(record.encode());
        self.inner.set(record, expected).await
    }

    async fn touch(&self, record: &Record, touch: Touch) -> Result<bool, StoreError> {
        self.inner.touch(record, touch).await
    }

    async fn delete(&self, id: &SessionId, owner: Option<&str>) -> Result<bool, StoreError> {
        self.inner.delete(id, owner).await
    }
}

/// The old sessions: bytes by id, as in a table of tower-sessions.
#[derive(Clone, Default)]
struct OldTable {
    rows: Arc<Mutex<HashMap<String, Vec<u8>>>>,
    broken: Arc<Mutex<Broken>>,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Broken {
    #[default]
    Not,
    Load,
    Delete,
}

impl OldTable {
    fn with(id: &str, data: &Value) -> Self {
        let table = Self::default();
        table.put(id, record(data, OffsetDateTime::now_utc() + HOUR));
        table
    }

    fn put(&self, id: &str, bytes: Vec<u8>) {
        self.rows.lock().unwrap().insert(id.to_owned(), bytes);
    }

    fn has(&self, id: &str) -> bool {
        self.rows.lock().unwrap().contains_key(id)
    }

    fn set_broken(&self, broken: Broken) {
        *self.broken.lock().unwrap() = broken;
    }

    fn check(&self, broken: Broken) -> Result<(), StoreError> {
        if *self.broken.lock().unwrap() == broken {
            return Err(StoreError::unavailable("as planned"));
        }
        Ok(())
    }
}

impl LegacySessions for OldTable {
    async fn load(&self, cookie: &str) -> Result<Option<LegacySession>, StoreError> {
        pend(1).await;
        self.check(Broken::Load)?;
        let found = self.rows.lock().unwrap().get(cookie).cloned();
        pend(1).await;
        let session = found.map(|bytes| decode(&bytes)).transpose()?;
        Ok(session.filter(|session| OffsetDateTime::now_utc() < session.expires_at()))
    }

    async fn delete(&self, cookie: &str) -> Result<(), StoreError> {
        pend(1).await;
        self.check(Broken::Delete)?;
        self.rows.lock().unwrap().remove(cookie);
        pend(1).await;
        Ok(())
    }
}

/// Returns a record as the stores of tower-sessions encode it.
fn record(data: &Value, expires_at: OffsetDateTime) -> Vec<u8> {
    let (year, day) = expires_at.to_ordinal_date();
    let (hour, minute, second, nanosecond) = expires_at.to_hms_nano();
    let id: i128 = 42;
    rmp_serde::to_vec(&(id, data, (year, day, hour, minute, second, nanosecond, 0_i8, 0_i8, 0_i8))).unwrap()
}

fn old_data() -> Value {
    json!({ "user": 42, "cart": ["tea"], "profile": { "name": "Ada", "admin": false } })
}

fn migration(old: &OldTable) -> MigrationLayer {
    MigrationLayer::new(old.clone()).with_conversion(|old| {
        if let Some(user) = old.get::<u64>("user")? {
            old.sign_in(&format!("user:{user}"), OffsetDateTime::UNIX_EPOCH);
        }
        Ok(())
    })
}

fn routes() -> Router {
    async fn show(session: Session) -> Result<String, Error> {
        let cart: Option<Vec<String>> = session.get("cart")?;
        Ok(format!("{:?} {}", session.owner().as_deref(), cart.unwrap_or_default().join(",")))
    }

    async fn add(session: Session, item: String) -> Result<(), Error> {
        session.update("cart", move |cart: &mut Vec<String>| cart.push(item))
    }

    Router::new()
        .route("/", get(show))
        .route("/add", post(add))
        .route("/sign-in", post(async |session: Session| session.sign_in("user:42")))
        .route("/sign-out", post(async |session: Session| session.sign_out()))
        .route("/account", get(async |user: SignedIn| user.owner().to_owned()))
        .route("/static", get(async || "the same for every client"))
}

fn app(old: &OldTable, settings: SessionLayerBuilder) -> Router {
    routes().layer(migration(old)).layer(settings.build().unwrap())
}

fn over(store: &MemoryStore) -> SessionLayerBuilder {
    SessionLayer::builder(store.clone())
}

fn client_with_the_old_cookie(app: &Router) -> Client {
    Client::with_cookie(app, "id", OLD)
}

/// The new session has the values, owner and sign-in time of the old session, which is deleted.
#[tokio::test]
async fn an_old_session_continues_as_a_new_session() {
    let (old, store) = (OldTable::with(OLD, &old_data()), MemoryStore::new());
    let app = app(&old, over(&store));
    let mut client = client_with_the_old_cookie(&app);

    let reply = client.get("/account").await;
    assert_eq!((reply.status, reply.text()), (StatusCode::OK, "user:42"));
    let cookies = reply.set_cookies();
    let names: Vec<_> = cookies.iter().map(|cookie| (cookie.name.as_str(), cookie.is_removal())).collect();
    assert_eq!(names, [("id", true), (COOKIE_NAME, false)]);
    assert_eq!(cookies[0].attribute("Path"), Some("/"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert!(!old.has(OLD));

    assert_eq!(client.jar.value("id"), None);
    let reply = client.get("/").await;
    assert_eq!(reply.text(), r#"Some("user:42") tea"#);
    reply.assert_no_cookie();

    let sessions = SessionLayer::new(store).sessions();
    let stored = sessions.find_by_id(&session_of(&client.token().unwrap())).await.unwrap().unwrap();
    assert_eq!(stored.get::<Value>("profile").unwrap(), Some(json!({ "name": "Ada", "admin": false })));
    assert_eq!(stored.authenticated_at(), Some(OffsetDateTime::UNIX_EPOCH));
    assert!(stored.expires_at() > OffsetDateTime::now_utc());
}

/// A signed and an encrypted old cookie, as the crate `cookie` writes them, open the old session; forged ones open nothing.
#[tokio::test]
async fn signed_and_private_old_cookies_are_read() {
    const SIGNED: &str = "5maWZ2P0ApHXHR7/pIT3ugBLjLbqmL3QcQYkApB1GKk=AAECAwQFBgcICQoLDA0ODw";
    const PRIVATE: &str = "hnQCv1luDL3UGZVW0h9HIB3DJqfwU28vRn0LwVmgn0mbBy++z/hcdMh/XZMWuwqNZLc=";
    let key: Vec<u8> = (0..64).collect();
    for cookie in [SIGNED, PRIVATE] {
        let old = OldTable::with(OLD, &old_data());
        let with_key = |key: &[u8]| match cookie {
            SIGNED => migration(&old).with_signed_cookie(key),
            _ => migration(&old).with_private_cookie(key),
        };
        let app = |key: &[u8]| routes().layer(with_key(key).unwrap()).layer(SessionLayer::new(MemoryStore::new()));
        assert_eq!(with_key(&key[..63]).expect_err("a short key").kind(), ConfigErrorKind::Key);
        let forged = cookie.replacen(['A', 'h'], "B", 1);
        for (key, cookie) in [(&*key, OLD), (&*key, &*forged), (&[7; 64], cookie)] {
            let reply = Client::with_cookie(&app(key), "id", cookie).get("/account").await;
            assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{cookie}");
            reply.assert_no_cookie();
        }
        assert!(old.has(OLD));
        let mut client = Client::with_cookie(&app(&key), "id", cookie);
        assert_eq!(client.get("/account").await.text(), "user:42");
        assert_eq!((client.jar.value("id"), old.has(OLD)), (None, false));
    }
}

/// The stamp of the old credentials keeps the user signed in until the user has other ones; without a stamp nothing does.
#[tokio::test]
async fn the_stamp_of_an_old_session_is_compared() {
    /// The stamp of every user.
    struct Version(u64);

    impl Users for Version {
        type Id = String;
        type User = Stamp;
        type Error = Infallible;

        async fn find(&self, _: &String) -> Result<Option<Stamp>, Infallible> {
            Ok(Some(Stamp::from_version(self.0)))
        }

        fn id(_: &Stamp) -> String {
            "user:42".into()
        }

        fn stamp(&self, user: &Stamp) -> Stamp {
            user.clone()
        }
    }

    for (old_stamp, stamp, is_signed_in) in [(Some(1), 1, true), (Some(1), 2, false), (None, 1, false)] {
        let old = OldTable::with(OLD, &old_data());
        let migration = migration(&old).with_conversion(move |old| {
            old.sign_in("user:42", OffsetDateTime::UNIX_EPOCH);
            old_stamp.map_or(Ok(()), |version| old.set_stamp(Stamp::from_version(version)))
        });
        let users = UserLayer::new(Version(stamp));
        let app = Router::new().route("/", get(async |_: User<Version>| "hello")).layer(users);
        let app = app.layer(migration).layer(SessionLayer::new(MemoryStore::new()));
        let mut client = client_with_the_old_cookie(&app);
        for _ in 0..2 {
            assert_eq!(client.get("/").await.status == StatusCode::OK, is_signed_in, "{old_stamp:?}, {stamp}");
        }
    }
}

/// Messages of the old session are shown once, in order.
#[tokio::test]
async fn messages_of_the_old_session_are_shown() {
    let old = OldTable::with(OLD, &old_data());
    let migration = migration(&old).with_conversion(|old| {
        old.flash(FlashLevel::Error, "first")?;
        old.flash(FlashLevel::Success, "second")
    });
    let page = get(async |session: Session| {
        let flashes = session.take_flashes().await?;
        Ok::<_, Error>(flashes.iter().map(|flash| format!("{}: {flash}\n", flash.level)).collect::<String>())
    });
    let app = Router::new().route("/", page).layer(migration).layer(SessionLayer::new(MemoryStore::new()));
    let mut client = client_with_the_old_cookie(&app);
    assert_eq!(client.get("/").await.text(), "error: first\nsuccess: second\n");
    assert_eq!(client.get("/").await.text(), "");
}

/// The request that moves a session can also end it or sign it in.
#[tokio::test]
async fn the_first_request_can_sign_out_or_in() {
    for (path, stays) in [("/sign-out", false), ("/sign-in", true)] {
        let (old, store) = (OldTable::with(OLD, &old_data()), MemoryStore::new());
        let app = app(&old, over(&store));
        let mut client = client_with_the_old_cookie(&app);
        let reply = client.post(path).await;
        assert_eq!(reply.status, StatusCode::OK);
        assert!(client.jar.value("id").is_none());
        assert_eq!(client.get("/account").await.status == StatusCode::OK, stays);
        assert_eq!(client_with_the_old_cookie(&app).get("/account").await.status, StatusCode::UNAUTHORIZED);
    }
}

/// The response removes both cookies and sends `Clear-Site-Data`.
#[tokio::test]
async fn signing_out_in_the_first_request_clears_the_client() {
    let (old, store) = (OldTable::with(OLD, &old_data()), MemoryStore::new());
    let app = app(&old, over(&store).with_clear_site_data([SiteData::Cache]));
    let reply = client_with_the_old_cookie(&app).post("/sign-out").await;
    let cookies = reply.set_cookies();
    let names: Vec<_> = cookies.iter().map(|cookie| (cookie.name.as_str(), cookie.is_removal())).collect();
    assert_eq!(names, [("id", true), (COOKIE_NAME, true)]);
    assert_eq!(reply.header("clear-site-data"), Some("\"cache\""));
}

/// Fifty concurrent requests with one old cookie share one new session that has all their changes.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_requests_get_one_session_and_lose_no_write() {
    for _ in 0..20 {
        let (old, store) = (OldTable::with(OLD, &old_data()), MemoryStore::new());
        let layer = over(&store).build().unwrap();
        let app = routes().layer(migration(&old)).layer(layer.clone());
        let mut requests = JoinSet::new();
        for n in 0..50 {
            let mut client = client_with_the_old_cookie(&app);
            requests.spawn(async move {
                let reply = client.post_body("/add", n.to_string()).await;
                assert_eq!(reply.status, StatusCode::OK);
                client.token().unwrap()
            });
        }
        let tokens: BTreeSet<String> = requests.join_all().await.into_iter().collect();
        assert_eq!(tokens.len(), 1, "all requests got one token");
        let sessions = layer.sessions().owned_by("user:42").await.unwrap();
        assert_eq!(sessions.len(), 1, "no second session is left");
        let cart: BTreeSet<String> = sessions[0].get::<Vec<String>>("cart").unwrap().unwrap().into_iter().collect();
        assert_eq!(cart.len(), 51);
        assert!(!old.has(OLD));
    }
}

/// A sign-out with both cookies ends both sessions, also if the old one was moved by another client before.
#[tokio::test]
async fn signing_out_with_both_cookies_ends_both() {
    for is_moved in [false, true] {
        let (old, store) = (OldTable::with(OLD, &old_data()), MemoryStore::new());
        let app = app(&old, over(&store));
        let mut moved = client_with_the_old_cookie(&app);
        if is_moved {
            moved.get("/account").await;
        }
        let mut client = Client::new(&app);
        client.post("/sign-in").await;
        client.jar.put("id", OLD);

        old.set_broken(Broken::Delete);
        let token = client.token().unwrap();
        assert_eq!(
            client.post("/sign-out").await.status,
            StatusCode::SERVICE_UNAVAILABLE,
            "{is_moved} {:?}",
            client.jar.header()
        );
        old.set_broken(Broken::Not);
        let reply = client.post("/sign-out").await;
        assert_eq!(reply.status, StatusCode::OK);
        assert!(reply.set_cookies().iter().all(|cookie| cookie.is_removal()), "{reply:?}");
        assert!(client.jar.is_empty());
        assert!(!old.has(OLD));
        for (name, value) in [(COOKIE_NAME, &*token), ("id", OLD)] {
            let reply = Client::with_cookie(&app, name, value).get("/account").await;
            assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{name}");
        }
        assert_eq!(moved.get("/account").await.status, StatusCode::UNAUTHORIZED);
    }
}

/// A request with both cookies that does not sign out leaves the old session in place.
#[tokio::test]
async fn other_requests_with_both_cookies_leave_the_old_session() {
    let (old, store) = (OldTable::with(OLD, &old_data()), MemoryStore::new());
    let app = app(&old, over(&store));
    let mut client = Client::new(&app);
    client.post("/sign-in").await;
    client.jar.put("id", OLD);
    client.post_body("/add", "milk").await;
    assert!(old.has(OLD));
}

/// The session stays ended even if the old record is restored.
#[tokio::test]
async fn a_moved_session_that_was_ended_stays_ended() {
    let (old, store) = (OldTable::with(OLD, &old_data()), MemoryStore::new());
    let app = app(&old, over(&store));
    old.set_broken(Broken::Delete);
    let mut client = client_with_the_old_cookie(&app);
    let reply = client.get("/account").await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    reply.assert_no_cookie();

    old.set_broken(Broken::Not);
    assert_eq!(client.get("/account").await.status, StatusCode::OK);
    // An old node or a backup restores the record.
    old.put(OLD, record(&old_data(), OffsetDateTime::now_utc() + HOUR));
    client.post("/sign-out").await;
    let mut again = client_with_the_old_cookie(&app);
    let reply = again.get("/account").await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    reply.assert_no_cookie();
}

/// The note of a move lives as long as the old record, at least a day, by the layer's clock.
#[tokio::test]
async fn the_note_of_a_move_outlives_the_old_record() {
    for (days_left, note_days) in [(30, 30), (0, 1)] {
        let (old, clock) = (OldTable::default(), ManualClock::new());
        // The layer's clock is ahead of the system's.
        clock.advance(100 * DAY);
        let restored = record(&old_data(), clock.now() + time::Duration::days(days_left) + time::Duration::MINUTE);
        old.put(OLD, restored.clone());
        let store = MemoryStore::new().with_clock(&clock);
        let app = app(&old, over(&store).with_clock(&clock));
        let mut client = client_with_the_old_cookie(&app);
        assert_eq!(client.get("/account").await.text(), "user:42");
        client.post("/sign-out").await;
        old.put(OLD, restored);
        clock.advance(note_days * DAY - MINUTE);
        let reply = client_with_the_old_cookie(&app).get("/account").await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "the ended session is back, with {days_left} days left");
    }
}

/// After a failure of either store, the next request has the session.
#[tokio::test]
async fn a_failing_store_answers_503_and_loses_nothing() {
    let calls = [(Op::Get, 1), (Op::Get, 2), (Op::Set, 1), (Op::Set, 2)];
    let faults = calls.iter().flat_map(|&(op, nth)| [(op, nth, Fault::Before), (op, nth, Fault::After)]);
    for fault in faults {
        let (old, store) = (OldTable::with(OLD, &old_data()), FaultyStore::new(MemoryStore::new()));
        let app = app(&old, SessionLayer::builder(store.clone()));
        let mut client = client_with_the_old_cookie(&app);
        store.fail(fault.0, fault.1, fault.2);
        let reply = client.get("/").await;
        if reply.status != StatusCode::OK {
            assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{fault:?}");
            assert!(client.jar.value("id").is_some(), "{fault:?}");
        }
        assert_eq!(client.get("/").await.text(), r#"Some("user:42") tea"#, "{fault:?}");
    }
    let (old, store) = (OldTable::with(OLD, &old_data()), MemoryStore::new());
    let app = app(&old, over(&store));
    let mut client = client_with_the_old_cookie(&app);
    old.set_broken(Broken::Load);
    let reply = client.get("/").await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    reply.assert_no_cookie();
    old.set_broken(Broken::Not);
    assert_eq!(client.get("/").await.text(), r#"Some("user:42") tea"#);
}

/// A request that is dropped during the move leaves the old session or the new one.
#[tokio::test]
async fn a_request_dropped_at_any_await_leaves_the_session() {
    let mut unfinished = 0;
    for polls in 0..200 {
        let (old, store) = (OldTable::with(OLD, &old_data()), FaultyStore::new(MemoryStore::new()));
        store.pend(1);
        let app = app(&old, SessionLayer::builder(store.clone()));
        let cookie = format!("id={OLD}");
        let mut first = app.clone().oneshot(request_with_cookies("/", &[cookie.as_bytes()]));
        let waker = std::task::Waker::noop();
        let mut context = std::task::Context::from_waker(waker);
        let done = (0..polls).any(|_| first.poll_unpin(&mut context).is_ready());
        drop(first);
        store.heal();
        let mut client = client_with_the_old_cookie(&app);
        assert_eq!(client.get("/").await.text(), r#"Some("user:42") tea"#, "after {polls} polls");
        if done {
            break;
        }
        unfinished += 1;
    }
    assert!((10..199).contains(&unfinished), "{unfinished}");
}

/// The note of the move reveals neither the old id nor the new secret.
#[tokio::test]
async fn neither_the_old_id_nor_the_new_secret_is_stored() {
    let written = Arc::<Mutex<Vec<u8>>>::default();
    let store = RecordingStore { inner: MemoryStore::new(), written: Arc::clone(&written) };
    let old = OldTable::with(OLD, &old_data());
    let app = app(&old, SessionLayer::builder(store));
    let mut client = client_with_the_old_cookie(&app);
    client.get("/").await;
    let token = URL_SAFE_NO_PAD.decode(client.token().unwrap()).unwrap();
    let old_id = URL_SAFE_NO_PAD.decode(OLD).unwrap();
    let written = written.lock().unwrap();
    let holds_bytes = |needle: &[u8]| written.windows(needle.len()).any(|window| window == needle);
    // As bytes, and as MessagePack's array of numbers.
    let holds = |bytes: &[u8]| holds_bytes(bytes) || holds_bytes(&rmp_serde::to_vec(bytes).unwrap()[3..]);
    assert!(holds(&token[..16]), "the new id is stored");
    assert!(!holds(&token[16..]) && !holds(&old_id) && !holds(OLD.as_bytes()));
}

/// An unknown, empty or malformed old cookie gets no session and no cookie.
#[tokio::test]
async fn an_invented_old_cookie_gets_no_session() {
    let (old, store) = (OldTable::with(OLD, &old_data()), MemoryStore::new());
    let app = app(&old, over(&store));
    for value in ["AAECAwQFBgcICQoLDA0ODg", "", "x", "%00", &"x".repeat(5000)] {
        let mut client = Client::with_cookie(&app, "id", value);
        let reply = client.get("/").await;
        assert_eq!(reply.text(), "None ");
        reply.assert_no_cookie();
    }
    assert!(store.is_empty());
    assert!(old.has(OLD));
}

/// An expired record of the old store is as if missing.
#[tokio::test]
async fn an_expired_old_session_is_not_taken_over() {
    let (old, store) = (OldTable::default(), MemoryStore::new());
    old.put(OLD, record(&old_data(), OffsetDateTime::now_utc() - HOUR));
    let reply = client_with_the_old_cookie(&app(&old, over(&store))).get("/account").await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    assert!(store.is_empty());
}

/// If two old cookies differ, neither is used; equal ones are.
#[tokio::test]
async fn two_different_old_cookies_are_ignored() {
    let (old, store) = (OldTable::with(OLD, &old_data()), MemoryStore::new());
    let app = app(&old, over(&store));
    for (cookies, owner) in [
        (format!("id={OLD}; id=BBECAwQFBgcICQoLDA0ODw"), "None "),
        (format!("id={OLD}; id={OLD}"), r#"Some("user:42") tea"#),
    ] {
        assert_eq!(send(&app, request_with_cookies("/", &[cookies.as_bytes()])).await.text(), owner);
    }
}

/// A corrupt record and its cookie stay, and raise an event.
#[tokio::test]
async fn a_record_that_cannot_be_read_is_left_in_place() {
    let (old, store, events) = (OldTable::default(), MemoryStore::new(), EventLog::default());
    old.put(OLD, b"\xc1 no record".to_vec());
    let app = app(&old, over(&store).with_event_hook(events.hook()));
    let reply = client_with_the_old_cookie(&app).get("/").await;
    assert_eq!(reply.text(), "None ");
    reply.assert_no_cookie();
    assert!(old.has(OLD));
    assert_eq!(events.kinds(), [EventKind::Corrupt]);
}

/// A request without the old cookie, or with a new one, costs no store operation.
#[tokio::test]
async fn requests_without_an_old_session_cost_no_operation() {
    let (old, store) = (OldTable::with(OLD, &old_data()), CountingStore::new(MemoryStore::new()));
    let app = app(&old, SessionLayer::builder(store.clone()));
    send(&app, request(Method::GET, "/static")).await;
    assert_eq!(store.counts(), Counts::default());

    let mut client = Client::new(&app);
    client.post_body("/add", "milk").await;
    client.jar.put("id", OLD);
    store.reset();
    assert_eq!(client.get("/static").await.status, StatusCode::OK);
    assert_eq!(store.counts(), Counts::default());
    assert_eq!(client.get("/").await.text(), "None milk");
    assert!(old.has(OLD));
}

/// A new cookie of the same name replaces the old one, which is not removed.
#[tokio::test]
async fn the_new_cookie_can_have_the_old_name() {
    let (old, store) = (OldTable::with(OLD, &old_data()), MemoryStore::new());
    let app = app(&old, over(&store).with_secure(false));
    let mut client = client_with_the_old_cookie(&app);
    let reply = client.get("/account").await;
    assert_eq!((reply.status, reply.set_cookie().name.as_str()), (StatusCode::OK, "id"));
    assert!(Token::parse(client.jar.value("id").unwrap().as_bytes()).is_some());
    assert_eq!(client.get("/account").await.text(), "user:42");
}

/// A session that middleware has loaded before still becomes the moved session.
#[tokio::test]
async fn middleware_may_load_the_session_before_the_move() {
    let (old, store) = (OldTable::with(OLD, &old_data()), MemoryStore::new());
    let peek = axum::middleware::from_fn(async |session: Session, request, next: axum::middleware::Next| {
        assert!(session.is_new());
        next.run(request).await
    });
    let app = routes().layer(migration(&old)).layer(peek).layer(SessionLayer::new(store));
    let mut client = client_with_the_old_cookie(&app);
    assert_eq!(client.get("/account").await.text(), "user:42");
    assert!(client.token().is_some());
}

/// If middleware has signed in another owner, the move does not change that.
#[tokio::test]
async fn a_sign_in_by_earlier_middleware_is_kept() {
    let (old, store) = (OldTable::with(OLD, &old_data()), MemoryStore::new());
    let sign_in = axum::middleware::from_fn(async |session: Session, request, next: axum::middleware::Next| {
        session.sign_in("user:1").unwrap();
        next.run(request).await
    });
    let app = routes().layer(migration(&old)).layer(sign_in).layer(SessionLayer::new(store));
    assert_eq!(client_with_the_old_cookie(&app).get("/account").await.text(), "user:1");
}

/// An old cookie never yields a token in a header that a script can read.
#[tokio::test]
async fn the_old_cookie_is_ignored_with_a_token_header() {
    let store = MemoryStore::new();
    let header = || over(&store).with_token_header(sessile::config::TokenHeader::bearer());
    for settings in [header(), header().without_cookie()] {
        let old = OldTable::with(OLD, &old_data());
        let app = app(&old, settings);
        let mut browser = client_with_the_old_cookie(&app);
        let mut request = request(Method::GET, "/");
        request.headers_mut().insert("authorization", "Bearer".parse().unwrap());
        let reply = browser.send(request).await;
        assert_eq!(reply.header("session-token"), None);
        reply.assert_no_cookie();
        assert!(old.has(OLD));
    }
    assert!(store.is_empty());
}

/// A migration layer outside of its session layer answers 500.
#[tokio::test]
async fn layers_in_the_wrong_order_answer_500() {
    let old = OldTable::default();
    let app = routes().layer(SessionLayer::new(MemoryStore::new())).layer(migration(&old));
    assert_eq!(send(&app, request(Method::GET, "/static")).await.status, StatusCode::INTERNAL_SERVER_ERROR);
}

/// A migration layer inside an acting layer answers 500 and moves nothing, with and without an acting cookie.
#[tokio::test]
async fn a_migration_inside_an_acting_layer_answers_500() {
    let (old, store) = (OldTable::with(OLD, &old_data()), CountingStore::new(MemoryStore::new()));
    let layer = SessionLayer::new(store.clone());
    let acting = ActingLayer::new(&layer).unwrap();
    let app = routes().layer(migration(&old)).layer(acting).layer(layer);
    for acting_cookie in [None, Some("junk"), Some("AZIkzs9cdCykSEZXFoVXSAAAAAAAAAAAAAAAAAAAAAA")] {
        let mut client = client_with_the_old_cookie(&app);
        acting_cookie.inspect(|value| client.jar.put("__Host-id-acting", value));
        for path in ["/", "/static"] {
            let reply = client.get(path).await;
            assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR, "{path} {acting_cookie:?}");
            reply.assert_no_cookie();
        }
    }
    assert_eq!((store.counts(), old.has(OLD)), (Counts::default(), true));
}

/// The migration works between a session layer and its acting layer, and in an application inside the acting layer of another.
#[tokio::test]
async fn a_migration_works_beside_an_acting_layer() {
    let layer = |name| SessionLayer::builder(MemoryStore::new()).with_name(name).build().unwrap();
    let acting = |layer: &SessionLayer| ActingLayer::new(layer).unwrap();
    let (old, own) = (OldTable::with(OLD, &old_data()), layer("own"));
    let right_order = routes().layer(acting(&own)).layer(migration(&old)).layer(own);
    let (nested_old, own, site) = (OldTable::with(OLD, &old_data()), layer("own"), layer("site"));
    let nested = routes().layer(migration(&nested_old)).layer(own).layer(acting(&site)).layer(site);
    for (app, old) in [(right_order, old), (nested, nested_old)] {
        assert_eq!(client_with_the_old_cookie(&app).get("/account").await.text(), "user:42");
        assert!(!old.has(OLD));
    }
}

/// Names, paths and domains with which the old cookie cannot be found or removed are refused.
#[test]
fn attributes_that_cannot_remove_the_cookie_are_refused() {
    let layer = || migration(&OldTable::default());
    for name in ["", " ", "a b", "a;b", "a=b", "a\nb", "a\0", "\u{e9}", "a\t"] {
        let error = layer().with_name(name).unwrap_err();
        assert_eq!(error.kind(), ConfigErrorKind::Cookie);
        assert!(error.to_string().contains(&format!("{name:?}")), "{error}");
    }
    for path in ["", "a", "/a\nb", "/a;b", "/\u{e9}", &format!("/{}", "a".repeat(1_024))] {
        assert_eq!(layer().with_path(path).unwrap_err().kind(), ConfigErrorKind::Cookie, "{path}");
    }
    for domain in ["", "a b", "a;b", "a\nb", "\u{e9}.example", &"a".repeat(1_025)] {
        assert_eq!(layer().with_domain(domain).unwrap_err().kind(), ConfigErrorKind::Cookie, "{domain}");
    }
}

/// The old cookie is removed with its scope, and with what the prefix of its name asks for (RFC 6265bis).
#[tokio::test]
async fn the_old_cookie_is_removed_with_its_attributes() {
    for (name, path, domain, has_prefix) in [
        ("connect.sid[1]", "/shop", Some("shop.example"), false),
        ("__Secure-sid", "/shop", Some("shop.example"), true),
        ("__Host-sid", "/", None, true),
        ("__HTTP-sid", "/", None, true),
        ("__sid", "/", None, false),
    ] {
        let old = OldTable::with(OLD, &old_data());
        let mut migration = migration(&old).with_name(name).unwrap().with_path(path).unwrap();
        if let Some(domain) = domain {
            migration = migration.with_domain(domain).unwrap();
        }
        let app = routes().layer(migration).layer(SessionLayer::new(MemoryStore::new()));
        let reply = Client::with_cookie(&app, name, OLD).get("/account").await;
        let removal = &reply.set_cookies()[0];
        assert_eq!((removal.name.as_str(), removal.is_removal()), (name, true));
        assert_eq!((removal.attribute("Path"), removal.attribute("Domain")), (Some(path), domain));
        assert_eq!([removal.has("Secure"), removal.has("HttpOnly")], [has_prefix; 2], "{name}");
    }
}

/// A conversion can rename and remove keys and encode a value as another type.
#[tokio::test]
async fn a_conversion_can_rename_remove_and_retype_values() {
    let id = uuid::Uuid::from_u128(7);
    let old = OldTable::with(OLD, &json!({ "csrf": "x", "name": "Ada", "device": id }));
    let migration = MigrationLayer::new(old.clone()).with_conversion(|old| {
        assert!(old.remove("csrf") && !old.remove("nothing"));
        if let Some(name) = old.get::<String>("name")? {
            old.remove("name");
            old.insert("full_name", &name)?;
        }
        old.retype::<uuid::Uuid>("device")
    });
    let read = async |session: Session| -> Result<String, Error> {
        let mut keys = session.keys();
        keys.sort();
        Ok(format!("{keys:?} {:?}", session.get::<uuid::Uuid>("device")?))
    };
    let app = Router::new().route("/", get(read)).layer(migration).layer(SessionLayer::new(MemoryStore::new()));
    let reply = client_with_the_old_cookie(&app).get("/").await;
    assert_eq!(reply.text(), format!(r#"["device", "full_name"] Some({id})"#));
}

/// A conversion that fails answers 500 and leaves the old session.
#[tokio::test]
async fn a_failed_conversion_leaves_the_old_session() {
    let old = OldTable::with(OLD, &json!({ "user": "no number" }));
    let app = app(&old, over(&MemoryStore::new()));
    let reply = client_with_the_old_cookie(&app).get("/").await;
    assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
    reply.assert_no_cookie();
    assert!(old.has(OLD));
}
