//! What a handler can do with a session's values: of every kind, by typed keys, read-modify-writes, and errors.

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

/// Fails to be written, and to be shown.
#[derive(Clone, Default, Deserialize)]
struct Stubborn;

impl Serialize for Stubborn {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("never"))
    }
}

#[tokio::test]
async fn values_are_written_read_and_removed_within_a_request_and_across() {
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

#[tokio::test]
async fn clearing_keeps_the_session_its_owner_and_its_token() {
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

/// Writes a value in one request and reads it in the next.
async fn assert_kept<T>(value: T)
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

#[tokio::test]
async fn values_of_every_kind_come_back_as_they_were() {
    assert_kept(()).await;
    assert_kept((true, 'ß', u64::MAX, i64::MIN, -0.0, f32::MAX)).await;
    assert_kept((u128::MAX, i128::MIN)).await;
    assert_kept(vec![Some(1), None, Some(3)]).await;
    assert_kept(String::new()).await;
    assert_kept("\0\u{feff}日本語 🦀".to_owned()).await;
    assert_kept(vec![0u8, 127, 128, 255]).await;
    assert_kept(BTreeMap::from([(1, "one".to_owned()), (2, "two".to_owned())])).await;
    assert_kept(BTreeMap::from([((1, 2), Shape::Point)])).await;
    for shape in [Shape::Point, Shape::Circle(0.1), Shape::Pair(-1, "x".into()), Shape::Box { width: 1, height: None }]
    {
        assert_kept(shape).await;
    }
    assert_kept(serde_json::json!({ "a": [1, 2.5, "x", null, { "b": true }] })).await;
    assert_kept("x".repeat(500_000)).await;
}

#[tokio::test]
async fn a_none_that_was_written_is_there() {
    let mut visitor = visitor();
    let reply = visitor.visit(async |session: Session| {
        session.insert("maybe", &None::<u8>)?;
        assert!(session.contains("maybe"));
        assert_eq!(session.get::<Option<u8>>("maybe")?, Some(None));
        Ok::<_, Error>(())
    });
    assert_eq!(reply.await.status, StatusCode::OK);
}

#[tokio::test]
async fn any_string_is_a_key() {
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

#[tokio::test]
async fn many_keys_keep_their_values_and_their_order() {
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

#[tokio::test]
async fn fields_of_a_struct_can_come_and_go() {
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

#[tokio::test]
async fn a_field_knows_the_type_of_its_value() {
    let mut visitor = visitor();
    let reply = visitor.visit(async |session: Session| {
        assert_eq!(session.get(CART)?, None);
        session.update(CART, |cart| cart.push("tea".to_owned()))?;
        session.insert(COUNT, &7)?;
        // By its name it is the same value.
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

#[tokio::test]
async fn an_update_starts_from_the_default_and_is_seen_at_once() {
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

#[tokio::test]
async fn update_now_answers_what_is_stored() {
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

#[tokio::test]
async fn a_value_is_taken_once() {
    let mut visitor = visitor();
    visitor.visit(async |session: Session| session.insert("code", "4711")).await;
    let take = async |session: Session| Ok::<_, Error>(session.take_now::<String>("code").await?.unwrap_or_default());
    assert_eq!(visitor.visit(take).await.text(), "4711");
    assert_eq!(visitor.visit(take).await.text(), "");
}

#[tokio::test]
async fn reading_as_another_type_is_an_error_and_harms_nothing() {
    let mut visitor = visitor();
    visitor.visit(async |session: Session| session.insert("name", "a private matter")).await;
    let reply = visitor.visit(async |session: Session| {
        let error = session.get::<u32>("name").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TypeMismatch);
        let text = error.to_string();
        assert!(text.contains("name") && text.contains("u32"), "{text}");
        assert!(!format!("{error} {error:?}").contains("private"), "{error:?}");
        assert!(std::error::Error::source(&error).is_some());

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

#[tokio::test]
async fn a_number_is_read_as_any_number_that_holds_it() {
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

#[tokio::test]
async fn a_value_that_cannot_be_serialised_leaves_the_old_one() {
    let mut visitor = visitor();
    visitor.visit(async |session: Session| session.insert("value", &())).await;
    let reply = visitor.visit(async |session: Session| {
        assert_eq!(session.insert("value", &Stubborn).unwrap_err().kind(), ErrorKind::Serialize);
        assert_eq!(session.insert("new", &Stubborn).unwrap_err().kind(), ErrorKind::Serialize);
        let error = session.update("value", |_: &mut Stubborn| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Serialize);
        let error = session.update_now("value", |_: &mut Stubborn| ()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Serialize);
        assert_eq!(session.get::<()>("value")?, Some(()));
        assert_eq!(session.keys(), ["value"]);
        session.insert("after", &1)
    });
    assert_eq!(reply.await.status, StatusCode::OK);
    let reply = visitor.visit(async |session: Session| session.keys().join(","));
    assert_eq!(reply.await.text(), "value,after");
}

#[tokio::test]
async fn a_closure_may_use_the_session_that_it_updates() {
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

#[tokio::test]
async fn a_closure_that_panics_changes_nothing_and_breaks_nothing() {
    let mut visitor = visitor();
    visitor.visit(async |session: Session| session.insert("n", &1)).await;
    let reply = visitor.visit(async |session: Session| {
        let update = || {
            session.update("n", |n: &mut u32| {
                *n = 99;
                std::panic::resume_unwind(Box::new("as planned"));
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
