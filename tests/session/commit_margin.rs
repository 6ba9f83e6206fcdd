//! Requests that outlast the idle timeout of their session: they commit within a margin, and no request begins in it.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::time::Duration;

use http::StatusCode;
use sessile::event::EventKind;
use sessile::store::Store;
use sessile::{Lifetime, Session, SessionLayer};
use support::client::session_of;
use support::race::{DAY, HOUR, Held, MINUTE, World};

const MARGIN: Duration = Duration::from_secs(5 * 60);
const MILLISECOND: Duration = Duration::from_millis(1);

fn world() -> World {
    World::with(|layer| {
        layer.with_lifetime(
            Lifetime::new().with_idle_timeout(HOUR).with_absolute_timeout(DAY).with_commit_margin(MARGIN),
        )
    })
}

/// Holds an upload, which then writes the number of its bytes.
async fn upload(world: &World, token: &str) -> Held {
    let slow = world.hold(token, |session: Session, gate| async move {
        gate.wait().await;
        session.insert("bytes", &1_000)
    });
    slow.await
}

// guarantee: 7
/// An upload beyond the idle timeout keeps its write and its user until the margin is over.
#[tokio::test]
async fn slow_upload_within_the_margin_is_a_use() {
    for (beyond, is_kept) in [(Duration::ZERO, true), (MARGIN - MILLISECOND, true), (MARGIN, false)] {
        let world = world();
        let token = world.begin_signed_in("ada").await;
        let slow = upload(&world, &token).await;
        world.advance(HOUR + beyond);
        slow.finish().await.assert_silent(StatusCode::OK);
        assert_eq!(world.read::<u32>(&token, "bytes").await, is_kept.then_some(1_000), "{beyond:?}");
        assert_eq!(world.events.count(EventKind::Dropped), usize::from(!is_kept));
        let opened = world.opens(&token).await;
        assert_eq!(opened.and_then(|opened| opened.owner).as_deref(), is_kept.then_some("ada"));
        world.advance(HOUR - MILLISECOND);
        assert_eq!(world.is_live(&token).await, is_kept);
    }
}

/// A slow request that only reads notes its use within the margin.
#[tokio::test]
async fn slow_reader_within_the_margin_is_a_use() {
    for (beyond, is_kept) in [(MARGIN - MILLISECOND, true), (MARGIN, false)] {
        let world = world();
        let token = world.begin().await;
        let slow = world.hold(&token, |session, gate| async move {
            gate.wait().await;
            assert_eq!(session.get("start")?, Some(true));
            Ok(())
        });
        let slow = slow.await;
        world.advance(HOUR + beyond);
        slow.finish().await.assert_silent(StatusCode::OK);
        assert_eq!(world.is_live(&token).await, is_kept);
    }
}

// guarantee: 7
/// A request that begins at the idle timeout finds no session, although the store has the record.
#[tokio::test]
async fn no_request_begins_within_the_margin() {
    let world = world();
    let token = world.begin_signed_in("ada").await;
    world.advance(HOUR - MILLISECOND);
    let stored = world.sessions().find_by_id(&session_of(&token)).await.unwrap().unwrap();
    assert_eq!(stored.expires_at(), world.clock.now() + MILLISECOND, "the exact end, without the margin");
    world.advance(MILLISECOND);
    let sessions = world.sessions();
    assert!(world.memory.get(&session_of(&token)).await.unwrap().is_some());
    assert!(!world.is_live(&token).await);
    assert_eq!(world.events.count(EventKind::Expired), 1);
    assert!(sessions.find_by_id(&session_of(&token)).await.unwrap().is_none());
    assert!(sessions.open_for_write(&session_of(&token)).await.unwrap().is_none());
    assert!(sessions.owned_by("ada").await.unwrap().is_empty());
    // A write begins another session, and a sign-out removes the cookie.
    assert_ne!(session_of(&world.insert(&token, "n", 1).await.token()), session_of(&token));
    let signed_out = world.send(&token, |session| async move { session.sign_out() }).await;
    assert!(signed_out.assert_ok().is_removal());
}

// guarantee: 2
/// A sign-out, and an end from outside, reach a session past its idle timeout: a slow request no longer commits to it.
#[tokio::test]
async fn an_end_within_the_margin_drops_the_slow_request() {
    for from_outside in [false, true] {
        let world = world();
        let token = world.begin_signed_in("ada").await;
        let slow = upload(&world, &token).await;
        world.advance(HOUR + MINUTE);
        if from_outside {
            assert!(world.sessions().end_if_owned_by(&session_of(&token), "ada").await.unwrap());
            assert!(!world.sessions().end(&session_of(&token)).await.unwrap());
        } else {
            let signed_out = world.send(&token, |session| async move { session.sign_out() }).await;
            assert!(signed_out.assert_ok().is_removal());
        }
        slow.finish().await;
        assert!(!world.is_live(&token).await);
        assert_eq!(world.live_sessions(), 0);
        assert_eq!(world.events.ends().len(), 1);
    }
}

// guarantee: 7
/// Another margin of the layer ends no session and brings none back: a record keeps the margin that it was written with.
#[tokio::test]
async fn another_margin_changes_no_stored_session() {
    for (before, after) in [(5 * MINUTE, 30 * MINUTE), (30 * MINUTE, Duration::ZERO)] {
        let lifetime = |margin| Lifetime::new().with_idle_timeout(15 * MINUTE).with_commit_margin(margin);
        let world = World::with(|layer| layer.with_lifetime(lifetime(before)));
        let (used, idle) = (world.begin().await, world.begin().await);
        let changed =
            SessionLayer::builder(world.store.clone()).with_clock(&world.clock).with_lifetime(lifetime(after));
        let sessions = changed.build().unwrap().sessions();
        let finds = async |token: &str| sessions.find_by_id(&session_of(token)).await.unwrap().is_some();
        world.advance(14 * MINUTE);
        assert!(finds(&used).await && finds(&idle).await);
        world.send(&used, |_| async { Ok(()) }).await.assert_ok();
        world.advance(MINUTE);
        assert!(finds(&used).await && !finds(&idle).await);
        world.advance(14 * MINUTE);
        assert!(!finds(&used).await);
    }
}

// guarantee: 7
/// The margin never reaches beyond the absolute timeout.
#[tokio::test]
async fn margin_ends_with_the_absolute_timeout() {
    for (absolute, is_kept) in [(HOUR + 2 * MINUTE, true), (HOUR + MINUTE, false)] {
        let lifetime = Lifetime::new().with_idle_timeout(HOUR).with_absolute_timeout(absolute);
        let world = World::with(|layer| layer.with_lifetime(lifetime.with_commit_margin(MARGIN)));
        let token = world.begin().await;
        let slow = upload(&world, &token).await;
        world.advance(HOUR + MINUTE);
        slow.finish().await.assert_silent(StatusCode::OK);
        assert_eq!(world.read::<u32>(&token, "bytes").await, is_kept.then_some(1_000));
        world.advance(MINUTE);
        assert!(!world.is_live(&token).await);
    }
}

/// Without a margin the commit is dropped at the idle timeout; a session's own lifetime has its own margin.
#[tokio::test]
async fn margin_is_a_setting_of_the_lifetime() {
    let without = Lifetime::new().with_idle_timeout(HOUR).with_commit_margin(Duration::ZERO);
    for own in [false, true] {
        let world = World::with(|layer| layer.with_lifetime(if own { Lifetime::new() } else { without }));
        let token = world.begin().await;
        if own {
            world.send(&token, move |session| async move { session.set_lifetime(without) }).await.assert_ok();
        }
        let slow = upload(&world, &token).await;
        world.advance(HOUR);
        slow.finish().await.assert_silent(StatusCode::OK);
        assert!(!world.is_live(&token).await);
    }
}

/// A refresh, a rotation and a sign-in of a request that outlasts the idle timeout take effect within the margin.
#[tokio::test]
async fn sign_in_within_the_margin_keeps_the_session() {
    let world = world();
    let token = world.begin().await;
    let slow = world.hold(&token, |session, gate| async move {
        gate.wait().await;
        session.sign_in("ada")
    });
    let slow = slow.await;
    world.advance(HOUR + MINUTE);
    let new = slow.finish().await.assert_ok().token();
    let opened = world.opens(&new).await.unwrap();
    assert_eq!((opened.id, opened.keys), (session_of(&token), vec!["start".to_owned()]));
}

/// An unconfirmed session ends exactly at its time for new requests, and a slow first request still commits.
#[tokio::test]
async fn margin_applies_to_an_unconfirmed_session() {
    let world = World::with(|layer| layer.with_unconfirmed_lifetime(10 * MINUTE));
    let (slow_token, token) = (world.begin().await, world.begin().await);
    let slow = upload(&world, &slow_token).await;
    world.advance(10 * MINUTE);
    assert!(!world.is_live(&token).await);
    slow.finish().await.assert_silent(StatusCode::OK);
    assert_eq!(world.read::<u32>(&slow_token, "bytes").await, Some(1_000));
}

/// A session that ended under a shorter idle timeout does not come back under a longer one, whatever the margin.
#[tokio::test]
async fn longer_lifetime_restores_no_session_within_the_margin() {
    let world = world();
    let short = world.layer.sessions().with_lifetime(Lifetime::new().with_idle_timeout(10 * MINUTE)).unwrap();
    let (id, _) = short.create(&()).await.unwrap();
    let stored = world.sessions().find_by_id(&id).await.unwrap().unwrap();
    assert_eq!(stored.expires_at(), world.clock.now() + 10 * MINUTE);
    world.advance(10 * MINUTE);
    assert!(world.memory.get(&id).await.unwrap().is_some());
    assert!(world.sessions().find_by_id(&id).await.unwrap().is_none());
}
