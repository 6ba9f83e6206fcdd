//! What must hold of records that are damaged, foreign, or of a newer format.

#![allow(dead_code, reason = "each test binary compiles all of it and uses a part")]
#![allow(unreachable_pub, missing_debug_implementations, reason = "nothing outside of the test binary sees it")]
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use axum::http::StatusCode;
use sessile::store::{Expected, Outcome, Record, Store};
use sessile::{SessionId, Token};

use crate::nodes::Node;

/// States that are damaged: none of them opens a session, none of them is written over, and a newer format is an error.
pub async fn damaged_records_open_nothing_and_are_kept(store: impl Store + Clone) {
    let node = Node::over(store.clone());
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
        // Never the mark of a newer format.
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
        assert_eq!(answer.status, StatusCode::OK, "to the client it is as if there were no session");
        let after = store.get(&id).await.unwrap().unwrap();
        assert_eq!(after.state(), state, "a damaged record was written over");
    }
    let newer = [&[9][..], &state[1..]].concat();
    version = put(&store, &whole, version, &newer).await;
    assert!(node.sessions.find_by_token(&token).await.is_err(), "a newer format is an error");
    let answer = node.post("/set/key", Some(&cookie)).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(store.get(&id).await.unwrap().unwrap().state(), newer);
    put(&store, &whole, version, state).await;
    assert!(node.sessions.find_by_token(&token).await.unwrap().is_some(), "made good again, it opens");
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

/// A record that can be written; of the id, the version and the owner.
pub fn record(id: u128, owner: Option<&str>) -> Record {
    let now = time::OffsetDateTime::now_utc();
    Record::from_parts(sessile::store::RecordParts {
        id: SessionId::from(uuid::Uuid::from_u128(id)),
        version: sessile::store::Version::new(1),
        owner: owner.map(Into::into),
        last_seen: now,
        expires_at: now + time::Duration::hours(1),
        state: b"state"[..].into(),
    })
}
