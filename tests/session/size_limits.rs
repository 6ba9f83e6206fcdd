//! The size limit of a session, checked before the store is called.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

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
