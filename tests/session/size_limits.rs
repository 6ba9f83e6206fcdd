//! The limits of a session, of bytes and of keys, checked before the store is called.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::collections::BTreeMap;

use http::StatusCode;
use sessile::{Error, ErrorKind, MemoryStore, Session, SessionLayer};
use support::client::Visitor;
use support::store::{CountingStore, Counts};

fn visitor() -> Visitor {
    Visitor::new(&SessionLayer::new(MemoryStore::new()))
}

/// Bytes that a string takes besides its text: both lengths, a key of one character, and the value header.
const OVERHEAD: usize = 1 + 1 + 2 + 3;

/// With a limit of 1,000 bytes, one byte more answers 413 without a store call; removing a value frees its bytes.
#[tokio::test]
async fn insert_over_the_size_limit_fails_before_any_store_call() {
    const LIMIT: usize = 1_000;
    let store = CountingStore::new(MemoryStore::new());
    let layer = SessionLayer::builder(store.clone()).with_size_limit(LIMIT).build().unwrap();
    let mut visitor = Visitor::new(&layer);
    let text = |length: usize| "x".repeat(length);

    let over_the_limit = text(LIMIT - OVERHEAD + 1);
    let reply = visitor.visit(async move |session: Session| session.insert("k", &over_the_limit)).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
    reply.assert_no_cookie();
    assert_eq!(store.counts(), Counts::NONE);

    let at_the_limit = text(LIMIT - OVERHEAD);
    visitor.visit(async move |session: Session| session.insert("k", &at_the_limit)).await.set_cookie();
    store.reset();
    let reply = visitor.visit(async move |session: Session| {
        let error = session.insert("k", &text(LIMIT)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        let error = session.insert("other", &1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        let error = session.update("k", |text: &mut String| text.push('x')).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert_eq!(session.get::<String>("k")?.map(|text| text.len()), Some(LIMIT - OVERHEAD));
        Ok::<_, Error>(())
    });
    assert_eq!(reply.await.status, StatusCode::OK);
    assert_eq!(store.counts(), Counts::gets(1));

    let reply = visitor.visit(async move |session: Session| {
        // A replaced value frees its old bytes, and so do `remove` and `clear`.
        session.insert("k", &text(LIMIT - OVERHEAD))?;
        session.remove("k")?;
        session.insert("l", &text(LIMIT - OVERHEAD))?;
        session.clear()?;
        session.insert("m", &text(LIMIT - OVERHEAD))
    });
    assert_eq!(reply.await.status, StatusCode::OK);
    let reply = visitor.visit(async |session: Session| session.keys().join(","));
    assert_eq!(reply.await.text(), "m");
}

/// Without a setting, a text of 1 MiB is too large with its overhead, and one 12 bytes shorter is stored.
#[tokio::test]
async fn default_size_limit_is_one_mebibyte() {
    let mut visitor = visitor();
    let reply = visitor.visit(async |session: Session| {
        assert_eq!(session.insert("k", &"x".repeat(10 << 20)).unwrap_err().kind(), ErrorKind::TooLarge);
        assert_eq!(session.insert("k", &"x".repeat(1 << 20)).unwrap_err().kind(), ErrorKind::TooLarge);
        session.insert("k", &"x".repeat((1 << 20) - 12))
    });
    assert_eq!(reply.await.status, StatusCode::OK);
}

/// Of two concurrent requests that insert 600 bytes each under a limit of 1,000, the second to commit answers 413.
#[tokio::test]
async fn merge_over_the_size_limit_answers_413() {
    let layer = SessionLayer::builder(MemoryStore::new()).with_size_limit(1_000).build().unwrap();
    let mut visitor = Visitor::with_session(&layer).await;
    let concurrent = visitor.clone();
    let reply = visitor.visit(async move |session: Session| {
        session.insert("mine", &"x".repeat(600))?;
        let mut concurrent = concurrent.clone();
        let other = concurrent.visit(async |session: Session| session.insert("yours", &"x".repeat(600))).await;
        assert_eq!(other.status, StatusCode::OK);
        Ok::<_, Error>(())
    });
    let reply = reply.await;
    assert_eq!((reply.status, reply.text()), (StatusCode::PAYLOAD_TOO_LARGE, ""));
    reply.assert_no_cookie();
    let reply = visitor.visit(async |session: Session| session.keys().join(","));
    assert_eq!(reply.await.text(), "n,yours");
}

/// A key beyond the limit is refused before any store call; values can be replaced, and a removed key frees its place.
#[tokio::test]
async fn insert_over_the_key_limit_fails_before_any_store_call() {
    let store = CountingStore::new(MemoryStore::new());
    let layer = SessionLayer::builder(store.clone()).with_key_limit(3).build().unwrap();
    let mut visitor = Visitor::new(&layer);
    // Every insert but the last is committed with the refusal.
    let refused = async |session: Session| ["a", "b", "c", "d"].iter().try_for_each(|key| session.insert(*key, &1));
    assert_eq!(visitor.visit(refused).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(store.counts(), Counts { sets: 1, ..Counts::NONE });
    store.reset();
    let refused = async |session: Session| session.insert("d", &1);
    assert_eq!(visitor.visit(refused).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(store.counts(), Counts::gets(1));
    let reply = visitor.visit(async |session: Session| {
        for refused in [session.insert("d", &1), session.update("d", |n: &mut u32| *n += 1)] {
            let error = refused.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TooLarge);
            assert!(error.to_string().contains("4 keys") && error.to_string().contains("limit is 3"), "{error}");
        }
        session.insert("b", &2)?;
        session.remove("a")?;
        session.insert("d", &1)
    });
    assert_eq!(reply.await.status, StatusCode::OK);
    let reply = visitor.visit(async |session: Session| {
        assert_eq!(session.keys().join(","), "b,c,d");
        session.insert("e", &1).unwrap_err();
        session.clear()?;
        session.insert("e", &1)?;
        Ok::<_, Error>(session.keys().join(","))
    });
    assert_eq!(reply.await.text(), "e");
}

/// Without a setting, 1,024 keys fit and one more does not, also outside a request.
#[tokio::test]
async fn default_key_limit_is_1024() {
    let mut visitor = visitor();
    let reply = visitor.visit(async |session: Session| {
        for n in 0..1024 {
            session.insert(&n.to_string(), &n)?;
        }
        assert_eq!(session.insert("one more", &1).unwrap_err().kind(), ErrorKind::TooLarge);
        Ok::<_, Error>(())
    });
    assert_eq!(reply.await.status, StatusCode::OK);
    let reply = visitor.visit(async |session: Session| session.keys().len().to_string());
    assert_eq!(reply.await.text(), "1024");

    let sessions = sessile::Sessions::new(MemoryStore::new());
    let data = |keys: u32| (0..keys).map(|n| (n.to_string(), n)).collect::<BTreeMap<_, _>>();
    assert_eq!(sessions.create(&data(1025)).await.unwrap_err().kind(), ErrorKind::TooLarge);
    let (id, _) = sessions.create(&data(1024)).await.unwrap();
    let refused = sessions.merge(&id, &BTreeMap::from([("one more", 1)])).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::TooLarge);
    let found = sessions.find_by_id(&id).await.unwrap().unwrap();
    assert_eq!(found.to::<BTreeMap<String, u32>>().unwrap(), data(1024));
}

/// Of two requests whose keys together exceed the limit, the later commit answers 413; the session keeps the other's keys.
#[tokio::test]
async fn merge_over_the_key_limit_answers_413() {
    let layer = SessionLayer::builder(MemoryStore::new()).with_key_limit(4).build().unwrap();
    let mut visitor = Visitor::with_session(&layer).await;
    let concurrent = visitor.clone();
    let reply = visitor.visit(async move |session: Session| {
        session.insert("mine 1", &1)?;
        session.insert("mine 2", &1)?;
        let mut concurrent = concurrent.clone();
        let other = concurrent.visit(async |session: Session| {
            session.insert("yours 1", &1)?;
            session.insert("yours 2", &1)
        });
        assert_eq!(other.await.status, StatusCode::OK);
        Ok::<_, Error>(())
    });
    let reply = reply.await;
    assert_eq!((reply.status, reply.text()), (StatusCode::PAYLOAD_TOO_LARGE, ""));
    reply.assert_no_cookie();
    let reply = visitor.visit(async |session: Session| session.keys().join(","));
    assert_eq!(reply.await.text(), "n,yours 1,yours 2");
}

/// After the limit was lowered, a session with more keys is read, and its values are replaced and removed.
#[tokio::test]
async fn a_session_beyond_the_key_limit_is_readable() {
    let store = MemoryStore::new();
    let mut visitor = Visitor::new(&SessionLayer::new(store.clone()));
    visitor.visit(async |session: Session| (0..9).try_for_each(|n| session.insert(&n.to_string(), &n))).await;
    let lowered = SessionLayer::builder(store).with_key_limit(3).build().unwrap();
    let jar = std::mem::take(&mut visitor.jar);
    let mut visitor = Visitor::new(&lowered);
    visitor.jar = jar;
    let reply = visitor.visit(async |session: Session| {
        assert_eq!(session.get::<u32>("8")?, Some(8));
        session.insert("8", &80)?;
        session.update("7", |n: &mut u32| *n += 1)?;
        assert_eq!(session.insert("new", &1).unwrap_err().kind(), ErrorKind::TooLarge);
        session.remove("0")?;
        Ok::<_, Error>(())
    });
    assert_eq!(reply.await.status, StatusCode::OK);
    let reply = visitor.visit(async |session: Session| {
        assert_eq!(session.take_now::<u32>("8").await?, Some(80));
        for n in 1..6 {
            session.remove(&n.to_string())?;
        }
        session.insert("new", &1)?;
        Ok::<_, Error>(session.keys().join(","))
    });
    assert_eq!(reply.await.text(), "6,7,new");
}
