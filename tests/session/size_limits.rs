//! How much a session may hold, and that it is refused in time.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use http::StatusCode;
use sessile::{Error, ErrorKind, MemoryStore, Session, SessionLayer};
use support::client::Visitor;
use support::store::{CountingStore, Counts};

fn visitor() -> Visitor {
    Visitor::new(&SessionLayer::new(MemoryStore::new()))
}

/// What a text of this length takes under a key of one character: the lengths of both, the key, and the header of the
/// value.
const OVERHEAD: usize = 1 + 1 + 2 + 3;

#[tokio::test]
async fn a_session_over_its_limit_is_refused_before_the_store_is_asked() {
    const LIMIT: usize = 1_000;
    let store = CountingStore::new(MemoryStore::new());
    let layer = SessionLayer::builder(store.clone()).with_size_limit(LIMIT).build().unwrap();
    let mut visitor = Visitor::new(&layer);
    let text = |length: usize| "x".repeat(length);

    let just_too_long = text(LIMIT - OVERHEAD + 1);
    let reply = visitor.visit(async move |session: Session| session.insert("k", &just_too_long)).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
    reply.assert_no_cookie();
    assert_eq!(store.counts(), Counts::NONE);

    let just_fits = text(LIMIT - OVERHEAD);
    visitor.visit(async move |session: Session| session.insert("k", &just_fits)).await.set_cookie();
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
        // In the place of the old value, not beside it; and what was removed makes room.
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

#[tokio::test]
async fn the_limit_is_one_mebibyte_unless_told_otherwise() {
    let mut visitor = visitor();
    let reply = visitor.visit(async |session: Session| {
        assert_eq!(session.insert("k", &"x".repeat(10 << 20)).unwrap_err().kind(), ErrorKind::TooLarge);
        assert_eq!(session.insert("k", &"x".repeat(1 << 20)).unwrap_err().kind(), ErrorKind::TooLarge);
        session.insert("k", &"x".repeat((1 << 20) - 12))
    });
    assert_eq!(reply.await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_session_that_would_outgrow_its_limit_by_merging_is_refused() {
    let layer = SessionLayer::builder(MemoryStore::new()).with_size_limit(1_000).build().unwrap();
    let mut visitor = Visitor::with_session(&layer).await;
    let meanwhile = visitor.clone();
    let reply = visitor.visit(async move |session: Session| {
        session.insert("mine", &"x".repeat(600))?;
        let mut meanwhile = meanwhile.clone();
        let other = meanwhile.visit(async |session: Session| session.insert("yours", &"x".repeat(600))).await;
        assert_eq!(other.status, StatusCode::OK);
        Ok::<_, Error>(())
    });
    let reply = reply.await;
    assert_eq!((reply.status, reply.text()), (StatusCode::PAYLOAD_TOO_LARGE, ""));
    reply.assert_no_cookie();
    let reply = visitor.visit(async |session: Session| session.keys().join(","));
    assert_eq!(reply.await.text(), "n,yours");
}
