//! Checks with records that are damaged, of another session, or of a newer format.

#![allow(dead_code, reason = "each test binary uses a part of this file")]
#![allow(unreachable_pub, missing_debug_implementations, reason = "the items are private to a test binary")]
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use axum::http::StatusCode;
use sessile::store::{Expected, Outcome, Record, Store};
use sessile::{SessionId, Token};

use crate::nodes::Node;

/// Damaged records open no session and are not overwritten; a newer format is an error.
pub async fn damaged_records_open_no_session_and_stay(store: impl Store + Clone) {
    let node = Node::new(store.clone());
    let cookie = node.begin().await;
    let token = Token::parse(cookie.split_once('=').unwrap().1.as_bytes()).unwrap();
    let id = token.id();
    let whole = store.get(&id).await.unwrap().unwrap();
    let foreign = {
        let other = node.begin().await;
        let other = Token::parse(other.split_once('=').unwrap().1.as_bytes()).unwrap();
        store.get(&other.id()).await.unwrap().unwrap().state().to_vec()
    };
    let state = whole.state();
    let mut damaged: Vec<Vec<u8>> = (0..state.len()).step_by(7).map(|length| state[..length].to_vec()).collect();
    damaged.extend((1..64_u8).map(|seed| {
        let mut byte = seed;
        let next = || {
            byte = byte.wrapping_mul(167).wrapping_add(13);
            byte
        };
        // The first byte is not that of a newer format.
        [vec![0], std::iter::repeat_with(next).take(usize::from(seed) * 3).collect()].concat()
    }));
    damaged.push(foreign);
    let mut version = whole.version();
    for state in damaged {
        version = put(&store, &whole, version, &state).await;
        assert!(
            node.sessions.find_by_token(&token).await.unwrap().is_none(),
            "a damaged record opens a session: {state:?}"
        );
        let answer = node.post("/set/key", Some(&cookie)).await;
        assert_eq!(answer.status, StatusCode::OK, "a damaged record is like a missing one");
        let after = store.get(&id).await.unwrap().unwrap();
        assert_eq!(after.state(), state, "a damaged record was overwritten");
    }
    let newer = [&[9][..], &state[1..]].concat();
    version = put(&store, &whole, version, &newer).await;
    assert!(node.sessions.find_by_token(&token).await.is_err(), "a newer format is an error");
    let answer = node.post("/set/key", Some(&cookie)).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(store.get(&id).await.unwrap().unwrap().state(), newer);
    put(&store, &whole, version, state).await;
    assert!(node.sessions.find_by_token(&token).await.unwrap().is_some(), "the repaired record opens no session");
}

async fn put(
    store: &impl Store,
    whole: &Record,
    version: sessile::store::Version,
    state: &[u8],
) -> sessile::store::Version {
    let next = sessile::store::Version::new(version.get() + 1);
    let mut parts = whole.clone().into_parts();
    parts.version = next;
    parts.state = state.into();
    let outcome = store.set(&Record::from_parts(parts), Expected::Version(version)).await.unwrap();
    assert_eq!(outcome, Outcome::Written);
    next
}

/// Returns a record of this id and owner, with version 1, that expires in an hour.
pub fn record(id: u128, owner: Option<&str>) -> Record {
    let now = time::OffsetDateTime::now_utc();
    Record::from_parts(sessile::store::RecordParts {
        id: SessionId::from(uuid::Uuid::from_u128(id)),
        version: sessile::store::Version::new(1),
        realm: "id".into(),
        owner: owner.map(Into::into),
        last_seen: now,
        expires_at: now + time::Duration::hours(1),
        state: b"state"[..].into(),
    })
}
