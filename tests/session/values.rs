//! Session values in handlers: types, typed keys, updates and errors.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use http::StatusCode;
use serde::{Deserialize, Serialize};
use sessile::{Error, ErrorKind, Field, MemoryStore, Session, SessionLayer};
use support::client::Visitor;

fn visitor() -> Visitor {
    Visitor::new(&SessionLayer::new(MemoryStore::new()))
}

/// A value that cannot be serialized.
#[derive(Clone, Default, Deserialize)]
struct Unserializable;

impl Serialize for Unserializable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("never"))
    }
}

/// Inserted, replaced, removed and cleared values are visible in the same request and in later requests.
#[tokio::test]
async fn insert_get_remove_and_clear_work_across_requests() {
    let mut visitor = visitor();
    let reply = visitor.visit(async |session: Session| {
        assert_eq!(session.get::<u32>("n")?, None);
        assert!(!session.contains("n"));
        session.insert("n", &1)?;
        session.insert("name", "ada")?;
        assert_eq!(session.get::<u32>("n")?, Some(1));
        assert!(session.contains("n"));
        session.insert("n", &2)?;
        assert_eq!(session.keys(), ["n", "name"]);
        Ok::<_, Error>(())
    });
    assert_eq!(reply.await.status, StatusCode::OK);
    let reply = visitor.visit(async |session: Session| {
        assert_eq!(session.get::<u32>("n")?, Some(2));
        assert_eq!(session.get::<String>("name")?.as_deref(), Some("ada"));
        assert!(session.remove("n")?);
        assert!(!session.remove("n")?);
        assert!(!session.contains("n"));
        assert_eq!(session.get::<u32>("n")?, None);
        assert_eq!(session.keys(), ["name"]);
        Ok::<_, Error>(())
    });
    assert_eq!(reply.await.status, StatusCode::OK);
    let reply = visitor.visit(async |session: Session| {
        assert_eq!(session.keys(), ["name"]);
        session.insert("n", &3)?;
        session.clear()?;
        assert_eq!(session.keys(), [""; 0]);
        assert_eq!(session.get::<String>("name")?, None);
        session.insert("after", &true)
    });
    assert_eq!(reply.await.status, StatusCode::OK);
    let reply = visitor.visit(async |session: Session| session.keys().join(","));
    assert_eq!(reply.await.text(), "after");
}

/// `clear` removes all keys; owner and token stay, and no cookie is set.
#[tokio::test]
async fn clear_keeps_the_owner_and_the_token() {
    let mut visitor = visitor();
    visitor.visit(async |session: Session| session.sign_in("ada").and_then(|()| session.insert("n", &1))).await;
    let token = visitor.token();
    visitor.visit(async |session: Session| session.clear()).await.assert_no_cookie();
    let reply = visitor.visit(async |session: Session| format!("{:?} {:?}", session.owner(), session.keys()));
    assert_eq!(reply.await.text(), r#"Some("ada") []"#);
    assert_eq!(visitor.token(), token);
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Point,
    Circle(f64),
    Pair(i8, String),
    Box { width: u64, height: Option<u64> },
}

/// Checks that a value written in one request is read unchanged in the next.
async fn assert_round_trip<T>(value: T)
where
    T: Clone + std::fmt::Debug + PartialEq + Serialize + serde::de::DeserializeOwned + Send + Sync + 'static,
{
    let mut visitor = visitor();
    let written = value.clone();
    let reply = visitor.visit(async move |session: Session| session.insert("value", &written)).await;
    assert_eq!(reply.status, StatusCode::OK, "{value:?}");
    let reply = visitor.visit(async move |session: Session| {
        assert_eq!(session.get::<T>("value")?.as_ref(), Some(&value));
        Ok::<_, Error>(())
    });
    assert_eq!(reply.await.status, StatusCode::OK);
}

/// Numbers, texts, options, maps, enums, JSON and a 500 kB text are read back unchanged in the next request.
#[tokio::test]
async fn values_of_many_types_round_trip() {
    assert_round_trip(()).await;
    assert_round_trip((true, 'ß', u64::MAX, i64::MIN, -0.0, f32::MAX)).await;
    assert_round_trip((u128::MAX, i128::MIN)).await;
    assert_round_trip(vec![Some(1), None, Some(3)]).await;
    assert_round_trip(String::new()).await;
    assert_round_trip("\0\u{feff}日本語 🦀".to_owned()).await;
    assert_round_trip(vec![0u8, 127, 128, 255]).await;
    assert_round_trip(BTreeMap::from([(1, "one".to_owned()), (2, "two".to_owned())])).await;
    assert_round_trip(BTreeMap::from([((1, 2), Shape::Point)])).await;
    for shape in [Shape::Point, Shape::Circle(0.1), Shape::Pair(-1, "x".into()), Shape::Box { width: 1, height: None }]
    {
        assert_round_trip(shape).await;
    }
    assert_round_trip(serde_json::json!({ "a": [1, 2.5, "x", null, { "b": true }] })).await;
    assert_round_trip("x".repeat(500_000)).await;
}

/// An inserted `None` makes `contains` true, and `get` returns `Some(None)`.
#[tokio::test]
async fn stored_none_is_a_present_value() {
    let mut visitor = visitor();
    let reply = visitor.visit(async |session: Session| {
        session.insert("maybe", &None::<u8>)?;
        assert!(session.contains("maybe"));
        assert_eq!(session.get::<Option<u8>>("maybe")?, Some(None));
        Ok::<_, Error>(())
    });
    assert_eq!(reply.await.status, StatusCode::OK);
}

/// Empty, Unicode, control-character and 10,000-byte keys are stored and listed in insertion order.
#[tokio::test]
async fn any_string_is_a_valid_key() {
    let keys = || {
        ["", " ", "a.b", "a\0b", "日本語", "ключ", "\u{2000}", "\n"]
            .map(str::to_owned)
            .into_iter()
            .chain(["k".repeat(10_000)])
    };
    let mut visitor = visitor();
    let reply = visitor.visit(async move |session: Session| {
        for (n, key) in keys().enumerate() {
            session.insert(&key, &n)?;
        }
        Ok::<_, Error>(())
    });
    assert_eq!(reply.await.status, StatusCode::OK);
    let reply = visitor.visit(async move |session: Session| {
        for (n, key) in keys().enumerate() {
            assert_eq!(session.get::<usize>(&key)?, Some(n), "{key:?}");
        }
        assert_eq!(session.keys(), keys().collect::<Vec<_>>());
        Ok::<_, Error>(())
    });
    assert_eq!(reply.await.status, StatusCode::OK);
}

/// After 500 inserts, removals and replacements, every key has its expected value and is listed once.
#[tokio::test]
async fn five_hundred_keys_keep_their_values() {
    let mut visitor = visitor();
    let reply = visitor.visit(async |session: Session| {
        for n in 0..500 {
            session.insert(&format!("key {n}"), &n)?;
        }
        for n in (0..500).step_by(3) {
            session.remove(&format!("key {n}"))?;
        }
        for n in (0..500).step_by(5) {
            session.insert(&format!("key {n}"), &-n)?;
        }
        Ok::<_, Error>(())
    });
    assert_eq!(reply.await.status, StatusCode::OK);
    let reply = visitor.visit(async |session: Session| {
        for n in 0..500 {
            let expected = if n % 5 == 0 { Some(-n) } else { (n % 3 != 0).then_some(n) };
            assert_eq!(session.get::<i32>(&format!("key {n}"))?, expected, "key {n}");
        }
        let mut keys = session.keys();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), session.keys().len());
        Ok::<_, Error>(())
    });
    assert_eq!(reply.await.status, StatusCode::OK);
}

/// A stored struct is read as a struct without one of its fields and with a new default field.
#[tokio::test]
async fn struct_fields_can_be_added_and_removed() {
    #[derive(Serialize)]
    struct Before {
        name: &'static str,
        age: u8,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct After {
        #[serde(default)]
        email: Option<String>,
        name: String,
    }

    let mut visitor = visitor();
    visitor.visit(async |session: Session| session.insert("user", &Before { name: "ada", age: 36 })).await;
    let reply = visitor.visit(async |session: Session| {
        assert_eq!(session.get("user")?, Some(After { email: None, name: "ada".to_owned() }));
        Ok::<_, Error>(())
    });
    assert_eq!(reply.await.status, StatusCode::OK);
}

const CART: Field<Vec<String>> = Field::new("cart");
const COUNT: Field<u64> = Field::new("count");

/// `Field` keys work with all operations without a type annotation, and share the value with their string name.
#[tokio::test]
async fn typed_field_infers_its_value_type() {
    let mut visitor = visitor();
    let reply = visitor.visit(async |session: Session| {
        assert_eq!(session.get(CART)?, None);
        session.update(CART, |cart| cart.push("tea".to_owned()))?;
        session.insert(COUNT, &7)?;
        // The string key reads the same value.
        assert_eq!(session.get::<Vec<String>>(CART.name())?, Some(vec!["tea".to_owned()]));
        assert!(session.contains(COUNT));
        let next = session.update_now(COUNT, |count| {
            *count += 1;
            *count
        });
        assert_eq!(next.await?, 8);
        assert_eq!(session.take_now(CART).await?, Some(vec!["tea".to_owned()]));
        assert!(!session.contains(CART));
        assert!(session.remove(COUNT)?);
        Ok::<_, Error>(())
    });
    assert_eq!(reply.await.status, StatusCode::OK);
}

/// Four updates in each of three requests count from 0; each result is visible at once.
#[tokio::test]
async fn update_starts_from_the_default_value() {
    let mut visitor = visitor();
    for round in 1..=3u32 {
        let reply = visitor.visit(async move |session: Session| {
            for step in 1..=4 {
                session.update("n", |n: &mut u32| *n += 1)?;
                assert_eq!(session.get::<u32>("n")?, Some((round - 1) * 4 + step));
            }
            Ok::<_, Error>(())
        });
        assert_eq!(reply.await.status, StatusCode::OK);
    }
}

/// Three requests call `update_now`; each gets the next number, and the session is then stored.
#[tokio::test]
async fn update_now_returns_the_stored_value() {
    let mut visitor = visitor();
    for expected in 1..=3u32 {
        let reply = visitor.visit(async move |session: Session| {
            session.insert("beside", &expected)?;
            let n = session.update_now("n", |n: &mut u32| {
                *n += 1;
                *n
            });
            assert_eq!(n.await?, expected);
            assert!(!session.is_new());
            Ok::<_, Error>(())
        });
        assert_eq!(reply.await.status, StatusCode::OK);
    }
}

/// Two requests call `take_now`; only the first gets the value.
#[tokio::test]
async fn take_now_returns_a_value_once() {
    let mut visitor = visitor();
    visitor.visit(async |session: Session| session.insert("code", "4711")).await;
    let take = async |session: Session| Ok::<_, Error>(session.take_now::<String>("code").await?.unwrap_or_default());
    assert_eq!(visitor.visit(take).await.text(), "4711");
    assert_eq!(visitor.visit(take).await.text(), "");
}

/// Four operations with a wrong type fail with `TypeMismatch`, which names key and type but not the value.
#[tokio::test]
async fn wrong_type_is_an_error_and_keeps_the_value() {
    let mut visitor = visitor();
    visitor.visit(async |session: Session| session.insert("name", "a private matter")).await;
    let reply = visitor.visit(async |session: Session| {
        let error = session.get::<u32>("name").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TypeMismatch);
        let text = error.to_string();
        assert!(text.contains("name") && text.contains("u32"), "{text}");
        assert!(!format!("{error} {error:?}").contains("private"), "{error:?}");
        assert!(text.contains("a string"), "{text}");

        let error = session.update("name", |n: &mut u32| *n += 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TypeMismatch);
        let error = session.update_now("name", |n: &mut u32| *n += 1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TypeMismatch);
        let error = session.take_now::<u32>("name").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TypeMismatch);
        assert_eq!(session.get::<String>("name")?.as_deref(), Some("a private matter"));
        session.insert("after", &1)
    });
    let reply = reply.await;
    assert_eq!(reply.status, StatusCode::OK);
    let reply = visitor.visit(async |session: Session| session.keys().join(","));
    assert_eq!(reply.await.text(), "name,after");
}

/// A stored 200 is read as `u8` and `i64`; as `i8` it is a `TypeMismatch`.
#[tokio::test]
async fn number_is_read_as_any_type_that_can_hold_it() {
    let mut visitor = visitor();
    let reply = visitor.visit(async |session: Session| {
        session.insert("n", &200u64)?;
        assert_eq!(session.get::<u8>("n")?, Some(200));
        assert_eq!(session.get::<i64>("n")?, Some(200));
        assert_eq!(session.get::<i8>("n").unwrap_err().kind(), ErrorKind::TypeMismatch);
        Ok::<_, Error>(())
    });
    assert_eq!(reply.await.status, StatusCode::OK);
}

/// Inserts and updates of an unserializable value fail with `Serialize`; the old value and later writes stay.
#[tokio::test]
async fn serialization_error_keeps_the_old_value() {
    let mut visitor = visitor();
    visitor.visit(async |session: Session| session.insert("value", &())).await;
    let reply = visitor.visit(async |session: Session| {
        assert_eq!(session.insert("value", &Unserializable).unwrap_err().kind(), ErrorKind::Serialize);
        assert_eq!(session.insert("new", &Unserializable).unwrap_err().kind(), ErrorKind::Serialize);
        let error = session.update("value", |_: &mut Unserializable| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Serialize);
        let error = session.update_now("value", |_: &mut Unserializable| ()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Serialize);
        assert_eq!(session.get::<()>("value")?, Some(()));
        assert_eq!(session.keys(), ["value"]);
        session.insert("after", &1)
    });
    assert_eq!(reply.await.status, StatusCode::OK);
    let reply = visitor.visit(async |session: Session| session.keys().join(","));
    assert_eq!(reply.await.text(), "value,after");
}

/// The documented exceptions: nested options, and values without their type under `flatten`, `untagged` and `tag`.
#[tokio::test]
async fn values_that_are_not_kept_are_as_documented() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Inner<T> {
        value: T,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Flat<T> {
        #[serde(flatten)]
        inner: Inner<T>,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged<T> {
        Only(T),
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged<T> {
        Only { value: T },
    }
    fn assert_mismatch<T: Serialize + serde::de::DeserializeOwned>(session: &Session, value: &T) -> Result<(), Error> {
        session.insert("value", value)?;
        let error = session.get::<T>("value").err().map(|error| error.kind());
        assert_eq!(error, Some(ErrorKind::TypeMismatch), "{}", std::any::type_name::<T>());
        Ok(())
    }

    let mut visitor = visitor();
    let reply = visitor.visit(async |session: Session| {
        session.insert("nested", &Some(None::<u8>))?;
        assert_eq!(session.get::<Option<Option<u8>>>("nested")?, Some(None));
        session.insert("unit", &Some(()))?;
        assert_eq!(session.get::<Option<()>>("unit")?, Some(None));
        let address: std::net::IpAddr = "192.0.2.1".parse().unwrap();
        assert_mismatch(&session, &Flat { inner: Inner { value: address } })?;
        assert_mismatch(&session, &Flat { inner: Inner { value: 1_u128 } })?;
        assert_mismatch(&session, &Untagged::Only(address))?;
        assert_mismatch(&session, &Tagged::Only { value: -1_i128 })?;
        let text = Flat { inner: Inner { value: address.to_string() } };
        session.insert("text", &text)?;
        assert_eq!(session.get("text")?, Some(text));
        Ok::<_, Error>(())
    });
    assert_eq!(reply.await.status, StatusCode::OK);
}

/// A `Serialize` that announces more or fewer elements than it writes is refused: the value could not be read back.
#[tokio::test]
async fn a_value_of_a_wrong_length_is_refused() {
    struct Announced(usize);

    impl Serialize for Announced {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeStruct;
            let mut fields = serializer.serialize_struct("Announced", self.0)?;
            fields.serialize_field("a", &1)?;
            fields.serialize_field("b", &2)?;
            fields.end()
        }
    }

    let mut visitor = visitor();
    let reply = visitor.visit(async |session: Session| {
        session.insert("value", &Announced(2))?;
        for announced in [0, 1, 3, 100] {
            let error = session.insert("value", &Announced(announced)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Serialize, "{announced}");
            assert!(error.to_string().contains("Announced"), "{error}");
        }
        assert_eq!(session.get::<BTreeMap<String, u8>>("value")?.map(|fields| fields.len()), Some(2));
        Ok::<_, Error>(())
    });
    assert_eq!(reply.await.status, StatusCode::OK);
}

/// An update's closure reads another key of the same session without a deadlock.
#[tokio::test]
async fn update_closure_may_read_its_session() {
    let mut visitor = visitor();
    let reply = visitor.visit(async |session: Session| {
        session.insert("step", &5)?;
        let same = session.clone();
        session.update("n", move |n: &mut u32| *n += same.get::<u32>("step").unwrap().unwrap())?;
        session.commit().await?;
        assert_eq!(session.get::<u32>("n")?, Some(5));
        Ok::<_, Error>(())
    });
    assert_eq!(reply.await.status, StatusCode::OK);
}

/// An update's closure panics after a change; the value is unchanged, and later updates work.
#[tokio::test]
async fn panicking_update_closure_changes_nothing() {
    let mut visitor = visitor();
    visitor.visit(async |session: Session| session.insert("n", &1)).await;
    let reply = visitor.visit(async |session: Session| {
        let update = || {
            session.update("n", |n: &mut u32| {
                *n = 99;
                std::panic::resume_unwind(Box::new("planned panic"));
            })
        };
        assert!(catch_unwind(AssertUnwindSafe(update)).is_err());
        assert_eq!(session.get::<u32>("n")?, Some(1));
        session.update("n", |n: &mut u32| *n += 1)
    });
    assert_eq!(reply.await.status, StatusCode::OK);
    let reply = visitor.visit(async |session: Session| session.get::<u8>("n").map(|n| format!("{n:?}")));
    assert_eq!(reply.await.text(), "Some(2)");
}
