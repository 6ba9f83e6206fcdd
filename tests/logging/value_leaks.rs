//! Values of a session never appear in the log, in `Debug` output or in errors.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::capture::Capture;
use crate::support;

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use http::{Request, StatusCode};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};
use sessile::config::KeyRing;
use sessile::csrf::{CsrfForm, CsrfFormFor};
use sessile::flash::FlashLevel;
use sessile::migrate::tower_sessions::decode;
use sessile::migrate::{LegacySession, LegacySessions, MigrationLayer};
use sessile::store::{Store, StoreError};
use sessile::{Error, ErrorKind, Field, MemoryStore, SealedStore, Session, SessionHandle, SessionLayer, Transient};
use support::client::{Client, Visitor, session_of};
use time::OffsetDateTime;
use tracing::Level;

/// The text value, and the key where a key is secret.
const CANARY: &str = "canary";
/// The number value.
const NUMBER: u32 = 8_675_309;

/// A type that accepts no value, and repeats the value in its error.
#[derive(Debug, Default)]
struct Picky;

impl<'de> Deserialize<'de> for Picky {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        Err(D::Error::custom(format!("refused: {:?}", Value::deserialize(input)?)))
    }
}

impl Serialize for Picky {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom(format!("refused: {CANARY}")))
    }
}

#[derive(Debug, Deserialize)]
struct Account {
    #[serde(rename = "name")]
    _name: u8,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Theme {
    Dark,
}

#[derive(Debug, Deserialize)]
struct Choice {
    #[serde(rename = "name")]
    _name: Theme,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Empty {}

/// Adds the error of a value of another type, which must name the key, the expected type and the kind that was found.
fn add_mismatch<T>(capture: &Capture, result: Result<T, Error>, parts: &[&str]) {
    let Err(error) = result else { panic!("{parts:?} is of the expected type") };
    assert_eq!(error.kind(), ErrorKind::TypeMismatch);
    for part in parts {
        assert!(error.to_string().contains(part), "{part:?} is missing: {error}");
    }
    capture.add_error(&error);
}

fn assert_hidden(capture: &Capture) {
    let bytes = |number: u32| format!("{:?}", number.to_be_bytes());
    for hidden in [CANARY.to_owned(), NUMBER.to_string(), bytes(NUMBER), format!("{:?}", CANARY.as_bytes())] {
        assert!(!capture.contains(hidden.trim_matches(['[', ']']).as_bytes()), "{hidden}: {:?}", capture.take());
    }
}

async fn write(session: Session) -> Result<(), Error> {
    session.insert("text", CANARY)?;
    session.insert("number", &NUMBER)?;
    session.insert("account", &json!({ "name": CANARY, CANARY: 1 }))?;
    session.insert("sessile.notes", CANARY)?;
    session.sign_in("ada")
}

async fn misread(session: Session, capture: Capture) -> Result<(), Error> {
    add_mismatch(&capture, session.get::<u32>("text"), &["\"text\"", "u32", "a string"]);
    add_mismatch(&capture, session.get::<u8>("number"), &["\"number\"", "u8", "an integer"]);
    add_mismatch(&capture, session.get::<bool>("number"), &["bool", "an integer"]);
    add_mismatch(&capture, session.get::<Theme>("text"), &["Theme", "a string"]);
    add_mismatch(&capture, session.get::<Account>("account"), &["Account", "a map"]);
    add_mismatch(&capture, session.get::<Empty>("account"), &["Empty", "a map"]);
    add_mismatch(&capture, session.get::<Picky>("text"), &["Picky", "a string"]);
    add_mismatch(&capture, session.get(Field::<Picky>::new("number")), &["Picky", "an integer"]);
    add_mismatch(&capture, session.update("text", |n: &mut u32| *n += 1), &["\"text\"", "u32"]);
    add_mismatch(&capture, session.update_now("text", |n: &mut u32| *n += 1).await, &["\"text\"", "u32"]);
    add_mismatch(&capture, session.take_now::<u32>("text").await, &["\"text\"", "u32"]);
    add_mismatch(&capture, session.note("agent", CANARY), &["sessile.notes", "a string"]);
    for error in [
        session.insert("new", &Picky).unwrap_err(),
        session.update("new", |_: &mut Picky| ()).unwrap_err(),
        session.insert("large", &CANARY.repeat(1 << 18)).unwrap_err(),
        session.insert("deep", &(0..200).fold(json!(CANARY), |inner, _| json!([inner]))).unwrap_err(),
    ] {
        capture.add_error(&error);
    }
    session.remove("sessile.notes")?;
    session.note("agent", CANARY)?;
    session.flash(FlashLevel::Info, CANARY)?;
    capture.add_debug(&session);
    capture.add_debug(&session.detach());
    capture.add_debug(&Field::<String>::new("text"));
    session.commit().await?;
    capture.add_debug(&session);
    capture.add_debug(&session.take_flashes().await?);
    // The response is an error, which is logged.
    session.get::<u32>("text").map(drop)
}

/// Errors, `Debug` output and the log, from a session's creation on, on a plain store and a sealed one.
#[tokio::test]
async fn errors_debug_and_log_contain_no_value() {
    check_store(MemoryStore::new()).await;
    check_store(SealedStore::new(MemoryStore::new(), &KeyRing::new([7; 64]).unwrap()).unwrap()).await;
}

async fn check_store(store: impl Store + Clone) {
    let (capture, _guard) = Capture::log(Level::TRACE);
    let events = capture.clone();
    let builder = SessionLayer::builder(store.clone()).with_strict_writes(true);
    let layer = builder.with_event_hook(move |event| events.add_debug(event)).build().unwrap();
    let mut visitor = Visitor::new(&layer);
    assert_eq!(visitor.visit(write).await.status, StatusCode::OK);
    let of_handler = capture.clone();
    let misread = async move |session: Session| misread(session, of_handler.clone()).await;
    assert_eq!(visitor.visit(misread).await.status, StatusCode::INTERNAL_SERVER_ERROR);

    // Two writes of one key that another request has changed, under strict writes.
    let (mut other, of_handler) = (visitor.clone(), capture.clone());
    let conflict = async move |session: Session, handle: SessionHandle| {
        session.get::<String>("text")?;
        other.visit(async |session: Session| session.insert("text", &format!("another {CANARY}"))).await;
        session.insert("text", CANARY)?;
        let error = session.commit().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        of_handler.add_error(&error);
        of_handler.add_debug(&(session, handle));
        Ok::<_, Error>(StatusCode::CONFLICT)
    };
    visitor.visit(conflict).await;

    let id = session_of(&visitor.token().unwrap());
    let record = store.get(&id).await.unwrap().unwrap();
    capture.add_debug(&(&record, record.clone().into_parts(), layer.sessions()));
    let stored = layer.sessions().find_by_id(&id).await.unwrap().unwrap();
    capture.add_debug(&stored);
    add_mismatch(&capture, stored.get::<u32>("text"), &["\"text\"", "u32", "a string"]);
    add_mismatch(&capture, stored.to::<BTreeMap<String, u32>>(), &["\"text\"", "u32", "a string"]);
    add_mismatch(&capture, stored.to::<BTreeMap<String, Picky>>(), &["Picky"]);
    add_mismatch(&capture, stored.to::<u32>(), &["u32"]);
    add_mismatch(&capture, stored.to::<Empty>(), &["Empty"]);
    let sessions = layer.sessions();
    capture.add_error(&sessions.create(CANARY).await.unwrap_err());
    capture.add_error(&sessions.create(&Picky).await.unwrap_err());
    capture.add_error(&sessions.merge(&id, &BTreeMap::from([((CANARY, 1), NUMBER)])).await.unwrap_err());

    let transient = Transient::new(store);
    let minute = Duration::from_secs(60);
    transient.set(CANARY, &NUMBER, minute).await.unwrap();
    add_mismatch(&capture, transient.get::<u8>(CANARY).await, &["u8", "an integer"]);
    capture.add_error(&transient.set(CANARY, &Picky, minute).await.unwrap_err());
    capture.add_debug(&transient);
    assert!(capture.contains(b"\"text\"") && capture.contains(b"ERROR"), "nothing was captured");
    assert_hidden(&capture);
}

/// A store of the other crate, whose sessions hold the canary.
#[derive(Clone)]
struct Old(Value);

impl LegacySessions for Old {
    async fn load(&self, _: &str) -> Result<Option<LegacySession>, StoreError> {
        decode(&rmp_serde::to_vec(&self.0).unwrap()).map(Some)
    }

    async fn delete(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }
}

/// An old session that cannot be read, or not be converted, and the errors of its values.
#[tokio::test]
async fn a_failed_migration_logs_no_value() {
    let (capture, _guard) = Capture::log(Level::TRACE);
    let mut session = LegacySession::new(OffsetDateTime::now_utc());
    session.insert_json("text", json!(CANARY));
    session.insert("number", &NUMBER).unwrap();
    capture.add_debug(&session);
    add_mismatch(&capture, session.get::<u32>("text"), &["\"text\"", "u32", "a string"]);
    add_mismatch(&capture, session.get::<Picky>("text"), &["Picky"]);
    add_mismatch(&capture, session.get::<u8>("number"), &["\"number\"", "u8", "an integer"]);
    add_mismatch(&capture, session.retype::<u32>("text"), &["\"text\""]);
    capture.add_error(&session.insert("new", &Picky).unwrap_err());

    let later = [2999, 1, 0, 0, 0, 0, 0, 0, 0];
    for (old, status) in [
        (json!([1, { "user": CANARY }, later]), StatusCode::INTERNAL_SERVER_ERROR),
        // The date and the values have changed places.
        (json!([1, later, { "user": CANARY }]), StatusCode::OK),
        (json!([1, CANARY, later]), StatusCode::OK),
        (json!([1, {}, [2999, 1, 0, 0, 0, 0, 0, 0, CANARY]]), StatusCode::OK),
        (json!([1, {}, [2999, 1, NUMBER, 0, 0, 0, 0, 0, 0]]), StatusCode::OK),
    ] {
        if let Err(error) = Old(old.clone()).load("").await {
            capture.add_error(&error);
        }
        let migration = MigrationLayer::new(Old(old)).with_conversion(|old| old.get::<u64>("user").map(drop));
        let app = Router::new().route("/", get(async || ())).layer(migration);
        let app = app.layer(SessionLayer::new(MemoryStore::new()));
        assert_eq!(Client::with_cookie(&app, "id", "old").get("/").await.status, status);
    }
    assert!(capture.contains(b"conversion") && capture.contains(b"Corrupt"), "nothing was captured");
    assert_hidden(&capture);
}

/// A form that is not of the expected type.
#[tokio::test]
async fn a_refused_form_logs_no_field() {
    let (capture, _guard) = Capture::log(Level::TRACE);
    let of_handler = capture.clone();
    let refused = |form: Result<(), Error>, capture: &Capture| {
        let error = form.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidForm);
        assert!(error.to_string().contains("Choice"), "{error}");
        capture.add_error(&error);
    };
    let form = async move |form: Result<CsrfForm<Choice>, Error>| refused(form.map(drop), &of_handler);
    let of_handler = capture.clone();
    let marked = async move |form: Result<CsrfFormFor<(), Choice>, Error>| refused(form.map(drop), &of_handler);
    let app = Router::new()
        .route("/token", get(async |session: Session| Ok::<_, Error>(session.csrf_token().await?.to_string())))
        .route("/form", post(form))
        .route("/marked", post(marked))
        .layer(SessionLayer::new(MemoryStore::new()));
    let mut client = Client::new(&app);
    let token = client.get("/token").await.text().to_owned();
    for path in ["/form", "/marked"] {
        let request = Request::post(path).header("content-type", "application/x-www-form-urlencoded");
        let request = request.body(Body::from(format!("name={CANARY}&csrf_token={token}"))).unwrap();
        assert_eq!(client.send(request).await.status, StatusCode::OK);
    }
    assert_hidden(&capture);
}
