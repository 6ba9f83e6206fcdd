//! Replay policy: a retired token is reported, or ends its session, and other tokens do neither.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use sessile::Lifetime;
use sessile::config::ReplayPolicy;
use sessile::event::{EndReason, EventKind};
use support::client::session_of;
use support::race::{MINUTE, SECOND, World};
use support::store::{Fault, Op};

fn world(policy: ReplayPolicy) -> World {
    World::with(|layer| layer.with_lifetime(Lifetime::new().with_refresh_interval(MINUTE)).with_replay_policy(policy))
}

/// Refreshes the token and presents the new one, so that the given one is retired; returns the new one.
async fn refreshed(world: &World, token: &str) -> String {
    world.advance(MINUTE);
    let new = world.insert(token, "n", 1).await.token();
    world.insert(&new, "n", 2).await.assert_ok();
    new
}

/// A retired token after its grace period opens nothing and reports `Replayed`; the current token works.
#[tokio::test]
async fn replay_is_reported_and_keeps_the_session_by_default() {
    let world = world(ReplayPolicy::default());
    let old = world.begin_signed_in("ada").await;
    let new = refreshed(&world, &old).await;
    world.advance(31 * SECOND);
    assert!(!world.is_live(&old).await);
    assert_eq!(world.events.count(EventKind::Replayed), 1);
    assert!(world.is_live(&new).await);
}

/// With `ReplayPolicy::End`, a retired token works for 30 seconds, and after that its use ends the session.
#[tokio::test]
async fn replay_ends_the_session_with_policy_end() {
    for signed_in in [true, false] {
        let world = world(ReplayPolicy::End);
        let old = if signed_in { world.begin_signed_in("ada").await } else { world.begin().await };
        let new = refreshed(&world, &old).await;
        world.advance(29 * SECOND);
        assert!(world.is_live(&old).await, "a retired token works within its grace period");
        world.advance(2 * SECOND);
        assert!(!world.is_live(&old).await);
        assert!(!world.is_live(&new).await);
        assert_eq!(world.events.ends(), [(session_of(&old), EndReason::Replayed)]);
        assert_eq!(world.live_sessions(), 0);
    }
}

/// An owner and a thief hold pending tokens: with `ReplayPolicy::End`, the second to move ends the session for both.
#[tokio::test]
async fn second_of_two_pending_tokens_ends_the_session() {
    for (first, second) in [(0, 1), (1, 0)] {
        let world = world(ReplayPolicy::End);
        let shared = world.begin_signed_in("ada").await;
        world.advance(MINUTE);
        let mut pending = Vec::new();
        for _ in 0..2 {
            pending.push(world.insert(&shared, "n", 1).await.token());
            world.advance(31 * SECOND);
        }
        world.insert(&pending[first], "n", 2).await.assert_ok();
        world.advance(29 * SECOND);
        assert!(world.is_live(&pending[second]).await, "a retired token works within its grace period");
        world.advance(2 * SECOND);
        assert!(!world.is_live(&pending[second]).await);
        assert!(!world.is_live(&pending[first]).await);
        assert_eq!(world.events.ends(), [(session_of(&shared), EndReason::Replayed)]);
    }
}

/// A write that was in progress when a replay ended the session sets no cookie and stores nothing.
#[tokio::test]
async fn concurrent_write_does_not_revive_a_replayed_session() {
    let world = world(ReplayPolicy::End);
    let old = world.begin_signed_in("ada").await;
    let new = refreshed(&world, &old).await;
    world.advance(31 * SECOND);
    let held = world
        .hold(&new, |session, gate| async move {
            session.insert("late", &1)?;
            gate.wait().await;
            Ok(())
        })
        .await;
    assert!(!world.is_live(&old).await);
    assert_eq!(held.finish().await.new_token(), None);
    assert!(!world.is_live(&new).await);
}

/// Tokens from before the sign-in, rotated, forged or unknown ones open nothing and leave the session live.
#[tokio::test]
async fn only_refreshed_tokens_end_a_session_as_replays() {
    let world = world(ReplayPolicy::End);
    // Session fixation: the attacker knows tokens from before the sign-in, one of them retired by a refresh.
    let planted = world.begin().await;
    let refreshed = refreshed(&world, &planted).await;
    let victims = world.send(&refreshed, |session| async move { session.sign_in("ada") }).await.token();
    // Retired by an explicit rotation.
    let rotated = world.send(&victims, |session| async move { session.rotate() }).await.token();
    // The session's id with the secret of another store's session.
    let elsewhere = World::new().begin().await;
    let forged = format!("{}{}", &rotated[..22], &elsewhere[22..]);
    assert_eq!(session_of(&forged).to_string()[..30], session_of(&rotated).to_string()[..30]);
    world.advance(31 * SECOND);
    for token in [&planted, &refreshed, &victims, &forged, &elsewhere] {
        assert!(!world.is_live(token).await);
        assert!(world.is_live(&rotated).await, "{token} ended the session");
    }
    assert_eq!(world.events.ends(), []);
    assert_eq!(world.events.count(EventKind::Replayed), 0);
}

/// A sign-in that commits after a replay was detected, and before the session is ended, keeps the session.
#[tokio::test]
async fn replay_does_not_end_a_session_after_a_sign_in() {
    let world = world(ReplayPolicy::End);
    let old = world.begin().await;
    let new = refreshed(&world, &old).await;
    world.advance(31 * SECOND);
    // The request with the retired token has read the record; the sign-in commits before it ends the session.
    let gate = world.faults.hold_before(Op::Set, 1);
    let replay = world.spawn(&old, |_| async { Ok(()) });
    gate.reached().await;
    let signed_in = world.send(&new, |session| async move { session.sign_in("ada") }).await.token();
    gate.release();
    replay.await.unwrap().assert_ok();
    assert!(world.is_live(&signed_in).await);
    assert_eq!(world.events.ends(), []);
}

/// With sets failing, a replay reports `UpkeepFailed` and the session stays; the next replay ends it.
#[tokio::test]
async fn replay_opens_nothing_if_ending_the_session_fails() {
    let world = world(ReplayPolicy::End);
    let old = world.begin_signed_in("ada").await;
    let new = refreshed(&world, &old).await;
    world.advance(31 * SECOND);
    world.faults.fail_always(Op::Set, Fault::Before);
    assert!(!world.is_live(&old).await);
    assert!(world.saw(EventKind::UpkeepFailed));
    assert!(world.is_live(&new).await);
    world.faults.heal();
    assert!(!world.is_live(&old).await);
    assert!(!world.is_live(&new).await);
}

/// A hundred tokens of another store's sessions report a hundred `Unknown` events.
#[tokio::test]
async fn each_unknown_token_reports_an_event() {
    let world = World::new();
    let elsewhere = World::new();
    for _ in 0..100 {
        assert!(!world.is_live(&elsewhere.begin().await).await);
    }
    assert_eq!(world.events.count(EventKind::Unknown), 100);
}
