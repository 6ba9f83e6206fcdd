//! What comes of a secret that a periodic rotation had retired, and of those that are no replay.

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

/// The token that a periodic rotation gives in the place of this one, presented once, so that this one is retired.
async fn refreshed(world: &World, token: &str) -> String {
    world.advance(MINUTE);
    let new = world.insert(token, "n", 1).await.token();
    world.insert(&new, "n", 2).await.assert_ok();
    new
}

#[tokio::test]
async fn by_default_a_replay_is_told_and_the_session_goes_on() {
    let world = world(ReplayPolicy::default());
    let old = world.begin_signed_in("ada").await;
    let new = refreshed(&world, &old).await;
    world.advance(31 * SECOND);
    assert!(!world.is_live(&old).await);
    assert_eq!(world.events.count(EventKind::Replayed), 1);
    assert!(world.is_live(&new).await);
}

#[tokio::test]
async fn a_replay_ends_the_session_where_that_is_the_policy() {
    for signed_in in [true, false] {
        let world = world(ReplayPolicy::End);
        let old = if signed_in { world.begin_signed_in("ada").await } else { world.begin().await };
        let new = refreshed(&world, &old).await;
        world.advance(29 * SECOND);
        assert!(world.is_live(&old).await, "within the grace it is no replay");
        world.advance(2 * SECOND);
        assert!(!world.is_live(&old).await);
        assert!(!world.is_live(&new).await);
        assert_eq!(world.events.ends(), [(session_of(&old), EndReason::Replayed)]);
        assert_eq!(world.memory.len(), 0);
    }
}

#[tokio::test]
async fn a_write_of_the_victim_that_is_under_way_does_not_bring_the_session_back() {
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
    assert_eq!(held.finish().await.given(), None);
    assert!(!world.is_live(&new).await);
}

#[tokio::test]
async fn no_other_token_ends_a_session() {
    let world = world(ReplayPolicy::End);
    // A planted session: the attacker knows tokens of the anonymous one, one of them retired by a periodic rotation.
    let planted = world.begin().await;
    let refreshed = refreshed(&world, &planted).await;
    let victims = world.send(&refreshed, |session| async move { session.sign_in("ada") }).await.token();
    // Retired by an explicit rotation.
    let rotated = world.send(&victims, |session| async move { session.rotate() }).await.token();
    // The id alone, with a secret from elsewhere.
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

#[tokio::test]
async fn a_session_that_was_signed_in_while_a_replay_was_looked_at_is_not_ended() {
    let world = world(ReplayPolicy::End);
    let old = world.begin().await;
    let new = refreshed(&world, &old).await;
    world.advance(31 * SECOND);
    // The replay has read the record; before it is ended, the session changes hands.
    let gate = world.faults.hold_before(Op::Set, 1);
    let replay = world.spawn(&old, |_| async { Ok(()) });
    gate.reached().await;
    let signed_in = world.send(&new, |session| async move { session.sign_in("ada") }).await.token();
    gate.release();
    replay.await.unwrap().assert_ok();
    assert!(world.is_live(&signed_in).await);
    assert_eq!(world.events.ends(), []);
}

#[tokio::test]
async fn where_the_store_fails_the_replay_still_opens_nothing_and_the_next_one_ends_the_session() {
    let world = world(ReplayPolicy::End);
    let old = world.begin_signed_in("ada").await;
    let new = refreshed(&world, &old).await;
    world.advance(31 * SECOND);
    world.faults.fail_always(Op::Delete, Fault::Before);
    assert!(!world.is_live(&old).await);
    assert!(world.saw(EventKind::UpkeepFailed));
    assert!(world.is_live(&new).await);
    world.faults.heal();
    assert!(!world.is_live(&old).await);
    assert!(!world.is_live(&new).await);
}

#[tokio::test]
async fn a_hundred_guesses_are_a_hundred_events() {
    let world = World::new();
    let elsewhere = World::new();
    for _ in 0..100 {
        assert!(!world.is_live(&elsewhere.begin().await).await);
    }
    assert_eq!(world.events.count(EventKind::Unknown), 100);
}
