//! Events: each kind is raised exactly where its documentation says.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use http::StatusCode;
use sessile::Lifetime;
use sessile::event::{EndReason, EventKind};
use sessile::store::{Expected, Record, Store, Version};
use support::client::session_of;
use support::race::{MINUTE, NO_TOKEN, World};
use support::store::{Fault, Op};

/// Returns the kinds of the events since the last call.
fn kinds(world: &World) -> Vec<EventKind> {
    world.events.take().into_iter().map(|(kind, _)| kind).collect()
}

// checklist: 33
/// Creation, rotation, sign-in, sign-out and `end_all_of` raise their events in order; reads and writes raise none.
#[tokio::test]
async fn each_step_of_a_session_raises_its_events() {
    let world = World::new();
    let first = world.begin().await;
    let id = Some(session_of(&first));
    assert_eq!(world.events.take(), [(EventKind::Created, id)]);
    world.insert(&first, "n", 1).await.assert_ok();
    assert!(world.is_live(&first).await);
    assert_eq!(kinds(&world), [], "reads and writes raise no event");
    let second = world.send(&first, |session| async move { session.rotate() }).await.token();
    assert_eq!(world.events.take(), [(EventKind::Rotated, id)]);
    let third = world.send(&second, |session| async move { session.sign_in("ada") }).await.token();
    assert_eq!(world.events.take(), [(EventKind::SignedIn, id), (EventKind::Rotated, id)]);
    world.send(&third, |session| async move { session.sign_out() }).await.assert_ok();
    assert_eq!(world.events.take(), [(EventKind::Ended, id)]);
    let fourth = world.begin_signed_in("ada").await;
    let id = Some(session_of(&fourth));
    assert_eq!(world.events.take(), [(EventKind::Created, id), (EventKind::SignedIn, id)]);
    let fifth = world.send(&fourth, |session| async move { session.sign_in("bob") }).await.token();
    let new = Some(session_of(&fifth));
    assert_eq!(world.events.take(), [(EventKind::Ended, id), (EventKind::Created, new), (EventKind::SignedIn, new)]);
    assert_eq!(world.sessions().end_all_of("bob").await.unwrap().len(), 1);
    assert_eq!(world.events.take(), [(EventKind::Ended, new)]);
}

/// A sign-in by another owner, a sign-out and `end` report `Replaced`, `SignedOut` and `Revoked`.
#[tokio::test]
async fn end_of_a_session_has_a_reason() {
    let world = World::new();
    let (first, second) = (world.begin_signed_in("ada").await, world.begin().await);
    let third = world.send(&first, |session| async move { session.sign_in("bob") }).await.token();
    world.send(&second, |session| async move { session.sign_out() }).await.assert_ok();
    assert!(world.sessions().end(&session_of(&third)).await.unwrap());
    let ends = [(&first, EndReason::Replaced), (&second, EndReason::SignedOut), (&third, EndReason::Revoked)];
    assert_eq!(world.events.ends(), ends.map(|(token, reason)| (session_of(token), reason)));
}

/// A session ends while a read with a due refresh is pending; the read succeeds without `Dropped`.
#[tokio::test]
async fn refresh_of_an_ended_session_raises_no_dropped_event() {
    let world = World::with(|layer| layer.with_lifetime(Lifetime::new().with_refresh_interval(MINUTE)));
    let token = world.begin_signed_in("ada").await;
    world.advance(MINUTE);
    let read = |session: sessile::Session| async move { session.get::<u32>("n").map(|_| ()) };
    let (slow, _) = world.overtake(&token, read, |session| async move { session.sign_out() }).await;
    slow.assert_silent(StatusCode::OK);
    assert!(!world.saw(EventKind::Dropped));
}

/// A handler signs in and answers 500; no event is raised.
#[tokio::test]
async fn discarded_sign_in_raises_no_event() {
    let world = World::new();
    let answer = world
        .send(NO_TOKEN, |session| async move {
            session.sign_in("ada")?;
            Ok(StatusCode::INTERNAL_SERVER_ERROR)
        })
        .await;
    answer.assert_silent(StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(kinds(&world), []);
}

/// A token of another store raises `Unknown` without a session, a wrong secret with it, and a malformed token nothing.
#[tokio::test]
async fn unknown_token_raises_unknown_with_the_session_if_any() {
    let world = World::new();
    let other = World::new().begin().await;
    assert!(!world.is_live(&other).await);
    assert_eq!(world.events.take(), [(EventKind::Unknown, None)]);
    let token = world.begin().await;
    world.events.take();
    let mut wrong = token.clone().into_bytes();
    wrong[30] = if wrong[30] == b'A' { b'B' } else { b'A' };
    assert!(!world.is_live(std::str::from_utf8(&wrong).unwrap()).await);
    assert_eq!(world.events.take(), [(EventKind::Unknown, Some(session_of(&token)))]);
    // A malformed token raises no event.
    assert!(!world.is_live("x").await);
    assert_eq!(kinds(&world), []);
}

/// After a redeployment with a shorter idle timeout, the token opens nothing and raises `Expired`.
#[tokio::test]
async fn session_past_the_layers_idle_timeout_raises_expired() {
    let world = World::new();
    let token = world.begin().await;
    world.advance(10 * MINUTE);
    world.events.take();
    let after = world.redeployed(|layer| layer.with_lifetime(Lifetime::new().with_idle_timeout(5 * MINUTE)));
    assert!(!after.is_live(&token).await);
    assert_eq!(world.events.take(), [(EventKind::Expired, Some(session_of(&token)))]);
}

/// Two live tokens raise `Ambiguous` and open nothing; an ended token beside a live one raises nothing.
#[tokio::test]
async fn two_live_sessions_in_one_request_raise_ambiguous() {
    let world = World::new();
    let (first, second) = (world.begin().await, world.begin().await);
    world.events.take();
    assert_eq!(world.opens(&format!("{first}; __Host-id={second}")).await, None);
    assert_eq!(world.events.take(), [(EventKind::Ambiguous, None)]);
    // An ended session beside a live one is not ambiguous.
    world.send(&first, |session| async move { session.sign_out() }).await.assert_ok();
    world.events.take();
    assert_eq!(world.opens(&format!("{first}; __Host-id={second}")).await.unwrap().id, session_of(&second));
    assert_eq!(kinds(&world), []);
}

/// Replaces the state in a session's record.
async fn replace_state(world: &World, token: &str, state: &[u8]) {
    let record = world.memory.get(&session_of(token)).await.unwrap().unwrap();
    let version = record.version();
    let mut parts = record.into_parts();
    parts.version = Version::new(version.get() + 1);
    parts.state = state.into();
    let outcome = world.memory.set(&Record::from_parts(parts), Expected::Version(version)).await.unwrap();
    assert_eq!(outcome, sessile::store::Outcome::Written);
}

/// Four corrupt states open no session and raise `Corrupt`; a write creates another session and leaves the record.
#[tokio::test]
async fn corrupt_record_raises_corrupt_and_is_never_overwritten() {
    let world = World::new();
    let token = world.begin().await;
    for state in [&b""[..], b"\0", b"\x01garbage", b"\x01"] {
        replace_state(&world, &token, state).await;
        world.events.take();
        assert!(!world.is_live(&token).await);
        assert_eq!(world.events.take(), [(EventKind::Corrupt, Some(session_of(&token)))], "{state:?}");
    }
    let before = world.memory.get(&session_of(&token)).await.unwrap();
    let answer = world.insert(&token, "n", 1).await;
    assert_ne!(session_of(&answer.assert_ok().token()), session_of(&token));
    assert_eq!(world.memory.get(&session_of(&token)).await.unwrap(), before, "the corrupt record must stay unchanged");
}

/// A record with an unknown format version fails the request with 503 and is not overwritten.
#[tokio::test]
async fn record_of_a_newer_format_is_a_503_and_stays_unchanged() {
    let world = World::new();
    let token = world.begin().await;
    replace_state(&world, &token, b"\x07from the future").await;
    let before = world.memory.get(&session_of(&token)).await.unwrap();
    world.insert(&token, "n", 1).await.assert_silent(StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(world.memory.get(&session_of(&token)).await.unwrap(), before);
}

/// The record becomes corrupt while a write is pending; the commit leaves it unchanged and sets no cookie.
#[tokio::test]
async fn record_corrupted_during_a_write_is_not_overwritten() {
    let world = World::new();
    let token = world.begin().await;
    let slow = world
        .hold(&token, |session, gate| async move {
            session.insert("slow", &1)?;
            gate.wait().await;
            Ok(())
        })
        .await;
    replace_state(&world, &token, b"\x01garbage").await;
    let before = world.memory.get(&session_of(&token)).await.unwrap();
    let answer = slow.finish().await;
    assert!(answer.set.is_empty());
    assert_eq!(world.memory.get(&session_of(&token)).await.unwrap(), before);
    assert_ne!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
}

/// A failed `set` raises `StoreFailed` and a failed `touch` raises `UpkeepFailed`, each with session and cause.
#[tokio::test]
async fn store_failures_raise_events_with_the_store_error() {
    let log = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let hook_log = log.clone();
    let world = World::with(|layer| {
        layer.with_event_hook(move |event| {
            let error = event.error.and_then(std::error::Error::source).map(ToString::to_string);
            hook_log.lock().unwrap().push((event.kind, event.session, error));
        })
    });
    let token = world.begin().await;
    log.lock().unwrap().clear();
    let id = Some(session_of(&token));
    world.faults.fail(Op::Set, 1, Fault::After);
    world.insert(&token, "n", 1).await.assert_ok();
    let failed = (EventKind::StoreFailed, id, Some("planned fault after the call".to_owned()));
    assert_eq!(std::mem::take(&mut *log.lock().unwrap()), [failed]);
    world.advance(30 * MINUTE);
    world.faults.fail(Op::Touch, 1, Fault::Before);
    assert!(world.is_live(&token).await);
    let failed = (EventKind::UpkeepFailed, id, Some("planned fault before the call".to_owned()));
    assert_eq!(std::mem::take(&mut *log.lock().unwrap()), [failed]);
}

/// A token of another realm raises `OtherRealm`, which names the layer's realm and the record's.
#[tokio::test]
async fn other_realm_names_both_realms() {
    let log = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let hook_log = log.clone();
    let world = World::with(|layer| {
        layer.with_realm("shop").with_event_hook(move |event| {
            let other = event.other_realm.map(str::to_owned);
            hook_log.lock().unwrap().push((event.kind, event.session, event.realm.to_owned(), other));
        })
    });
    let (id, token) = world.sessions().with_realm("staff").unwrap().create(&()).await.unwrap();
    log.lock().unwrap().clear();
    assert!(!world.is_live(&token.expose_secret()).await);
    let due = (EventKind::OtherRealm, Some(id), "shop".to_owned(), Some("staff".to_owned()));
    assert_eq!(*log.lock().unwrap(), [due]);
}
