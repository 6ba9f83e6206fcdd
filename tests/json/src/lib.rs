//! JSON values with the features `arbitrary_precision` and `raw_value` of `serde_json`, which any dependency can switch on.

#![cfg(test)]
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::header::COOKIE;
use http::{Request, StatusCode};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Number, Value, json};
use sessile::migrate::tower_sessions::decode;
use sessile::migrate::{LegacySession, LegacySessions, MigrationLayer};
use sessile::store::StoreError;
use sessile::{Error, ErrorKind, MemoryStore, Session, SessionLayer, Sessions};
use time::OffsetDateTime;
use tower::ServiceExt;

#[derive(Debug, PartialEq, Deserialize)]
struct Numbers {
    small: u8,
    negative: i64,
    large: u64,
    price: f64,
    list: Vec<u32>,
    any: Value,
}

fn data() -> Value {
    json!({ "small": 5, "negative": i64::MIN, "large": u64::MAX, "price": 0.1, "list": [1, 2], "any": { "n": 7, "f": -1.5 } })
}

fn numbers() -> Numbers {
    Numbers {
        small: 5,
        negative: i64::MIN,
        large: u64::MAX,
        price: 0.1,
        list: vec![1, 2],
        any: json!({ "n": 7, "f": -1.5 }),
    }
}

/// The feature is on: a number keeps its text.
#[test]
fn numbers_have_arbitrary_precision() {
    let text = "0.12345678901234567890123";
    assert_eq!(serde_json::from_str::<Number>(text).unwrap().to_string(), text);
}

/// `create`, `merge` and `insert` store the numbers of a JSON value as numbers.
#[tokio::test(flavor = "current_thread")]
async fn numbers_of_json_are_read_as_numbers() {
    let sessions = Sessions::new(MemoryStore::new());
    let (id, _) = sessions.create(&data()).await.unwrap();
    let found = sessions.find_by_id(&id).await.unwrap().unwrap();
    assert_eq!(found.get::<u8>("small").unwrap(), Some(5));
    assert_eq!(found.get::<Value>("small").unwrap(), Some(json!(5)));
    assert_eq!(found.to::<Numbers>().unwrap(), numbers());
    assert_eq!(found.to::<Value>().unwrap(), data());
    assert_eq!(serde_json::to_value(&found).unwrap()["values"], data());

    assert!(sessions.merge(&id, &json!({ "small": 6 })).await.unwrap());
    let session = sessions.open_for_write(&id).await.unwrap().unwrap();
    assert_eq!(session.get::<u8>("small").unwrap(), Some(6));
    session.insert("inserted", &json!([1, 2.5])).unwrap();
    session.update("updated", |value: &mut Value| *value = json!(-3)).unwrap();
    session.commit().await.unwrap();
    assert_eq!(session.get::<(u8, f64)>("inserted").unwrap(), Some((1, 2.5)));
    assert_eq!(session.get::<i8>("updated").unwrap(), Some(-3));
}

/// A number with more digits than an `f64` has is read as the JSON number that it was.
#[tokio::test(flavor = "current_thread")]
async fn longer_numbers_keep_their_digits() {
    let sessions = Sessions::new(MemoryStore::new());
    let data: BTreeMap<String, Value> =
        serde_json::from_str(r#"{ "pi": 3.14159265358979323846264338, "big": 123456789012345678901 }"#).unwrap();
    let (id, _) = sessions.create(&data).await.unwrap();
    let found = sessions.find_by_id(&id).await.unwrap().unwrap();
    assert_eq!(found.get::<Value>("pi").unwrap().as_ref(), data.get("pi"));
    assert_eq!(found.to::<BTreeMap<String, Value>>().unwrap(), data);
    assert_eq!(found.get::<f64>("pi").unwrap_err().kind(), ErrorKind::TypeMismatch);
}

/// A raw value could not be read back, so it is refused.
#[tokio::test(flavor = "current_thread")]
async fn raw_values_are_refused() {
    let sessions = Sessions::new(MemoryStore::new());
    let (id, _) = sessions.create(&()).await.unwrap();
    let session = sessions.open_for_write(&id).await.unwrap().unwrap();
    let raw: Box<RawValue> = to_raw_value(&data()).unwrap();
    let error = session.insert("raw", &raw).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Serialize);
    assert!(error.to_string().contains("\"raw\"") && error.to_string().contains("raw value"), "{error}");
    let error = sessions.create(&BTreeMap::from([("raw", raw)])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Serialize);
}

/// The store of another crate, with one session.
#[derive(Clone)]
struct Old(Arc<Mutex<Option<LegacySession>>>);

impl LegacySessions for Old {
    async fn load(&self, _: &str) -> Result<Option<LegacySession>, StoreError> {
        Ok(self.0.lock().unwrap().clone())
    }

    async fn delete(&self, _: &str) -> Result<(), StoreError> {
        *self.0.lock().unwrap() = None;
        Ok(())
    }
}

/// Sends the old cookie and reads the moved values as numbers.
async fn assert_moved(old: LegacySession) {
    let migration = MigrationLayer::new(Old(Arc::new(Mutex::new(Some(old))))).with_conversion(|old| {
        assert_eq!(old.get::<u8>("small")?, Some(5));
        old.retype::<u64>("large")
    });
    let read = async |session: Session| -> Result<(), Error> {
        assert_eq!(session.get::<u8>("small")?, Some(5));
        assert_eq!(session.get::<i64>("negative")?, Some(i64::MIN));
        assert_eq!(session.get::<u64>("large")?, Some(u64::MAX));
        assert_eq!(session.get::<f64>("price")?, Some(0.1));
        assert_eq!(session.get::<Vec<u32>>("list")?, Some(vec![1, 2]));
        assert_eq!(session.get::<Value>("any")?, Some(json!({ "n": 7, "f": -1.5 })));
        Ok(())
    };
    let app: Router = Router::new().route("/", get(read)).layer(migration).layer(SessionLayer::new(MemoryStore::new()));
    let request = Request::get("/").header(COOKIE, "id=old").body(Body::empty()).unwrap();
    assert_eq!(app.oneshot(request).await.unwrap().status(), StatusCode::OK);
}

/// Numbers of a session of another crate are moved as numbers.
#[tokio::test(flavor = "current_thread")]
async fn moved_numbers_stay_numbers() {
    let mut old = LegacySession::new(OffsetDateTime::now_utc() + time::Duration::HOUR);
    for (key, value) in data().as_object().unwrap() {
        old.insert_json(key, value.clone());
    }
    assert_moved(old).await;
}

/// Numbers in a record that tower-sessions wrote without the feature are moved as numbers.
#[tokio::test(flavor = "current_thread")]
async fn numbers_of_a_stored_record_stay_numbers() {
    #[derive(serde::Serialize)]
    struct Plain {
        small: u8,
        negative: i64,
        large: u64,
        price: f64,
        list: [u32; 2],
        any: Any,
    }
    #[derive(serde::Serialize)]
    struct Any {
        n: u8,
        f: f64,
    }
    let any = Any { n: 7, f: -1.5 };
    let data = Plain { small: 5, negative: i64::MIN, large: u64::MAX, price: 0.1, list: [1, 2], any };
    let record = (1_u64, data, (2999, 1, 0, 0, 0, 0, 0, 0, 0));
    let mut bytes = Vec::new();
    rmp_serde::encode::write_named(&mut bytes, &record).unwrap();
    assert_moved(decode(&bytes).unwrap()).await;
}
