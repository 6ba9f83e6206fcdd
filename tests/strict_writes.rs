//! An `insert` that rests on what another request has changed meanwhile: an event, and with strict writes a 409.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use http::StatusCode;
use sessile::EventKind;
use support::race::{Answer, World};
use support::store::Gate;

/// A request that reads a key, is overtaken by another that writes it, and inserts it.
async fn read_then_insert(world: &World, token: &str, meanwhile: &'static str, value: &'static str) -> Answer {
    let gate = Gate::new();
    let held = gate.clone();
    let slow = world.spawn(token, move |session| async move {
        session.get::<String>("theme")?;
        held.wait().await;
        session.insert("theme", "slow")
    });
    gate.reached().await;
    world.insert(token, meanwhile, value).await.assert_ok();
    gate.release();
    slow.await.unwrap()
}

#[tokio::test]
async fn an_insert_that_rests_on_a_stale_read_is_an_event_and_stays() {
    let world = World::new();
    let token = world.begin().await;
    world.insert(&token, "theme", "old").await.assert_ok();
    read_then_insert(&world, &token, "theme", "quick").await.assert_silent(StatusCode::OK);
    assert_eq!(world.events.count(EventKind::Conflict), 1);
    assert_eq!(world.read::<String>(&token, "theme").await.as_deref(), Some("slow"));
}

#[tokio::test]
async fn strict_writes_refuse_an_insert_that_rests_on_a_stale_read() {
    let world = World::with(|layer| layer.with_strict_writes(true));
    let token = world.begin().await;
    world.insert(&token, "theme", "old").await.assert_ok();
    read_then_insert(&world, &token, "theme", "quick").await.assert_silent(StatusCode::CONFLICT);
    assert_eq!(world.events.count(EventKind::Conflict), 1);
    assert_eq!(world.read::<String>(&token, "theme").await.as_deref(), Some("quick"));
}

#[tokio::test]
async fn strict_writes_refuse_an_insert_of_a_key_that_was_read_as_absent() {
    let world = World::with(|layer| layer.with_strict_writes(true));
    let token = world.begin().await;
    read_then_insert(&world, &token, "theme", "quick").await.assert_silent(StatusCode::CONFLICT);
    assert_eq!(world.read::<String>(&token, "theme").await.as_deref(), Some("quick"));
}

#[tokio::test]
async fn strict_writes_let_pass_what_was_read_and_did_not_change() {
    let world = World::with(|layer| layer.with_strict_writes(true));
    let token = world.begin().await;
    world.insert(&token, "theme", "old").await.assert_ok();
    read_then_insert(&world, &token, "another key", "quick").await.assert_silent(StatusCode::OK);
    // What another request has written again as it was has not changed either.
    read_then_insert(&world, &token, "theme", "slow").await.assert_silent(StatusCode::OK);
    assert!(!world.saw(EventKind::Conflict));
}

#[tokio::test]
async fn strict_writes_let_pass_an_insert_without_a_read_and_an_update() {
    let world = World::with(|layer| layer.with_strict_writes(true));
    let token = world.begin().await;
    for update in [false, true] {
        let (slow, _) = world
            .overtake(
                &token,
                move |session| async move {
                    if update {
                        session.get::<u32>("count")?;
                        session.update("count", |count: &mut u32| *count += 1)
                    } else {
                        session.insert("count", &1)
                    }
                },
                |session| async move { session.update("count", |count: &mut u32| *count += 10) },
            )
            .await;
        slow.assert_silent(StatusCode::OK);
    }
    assert_eq!(world.read::<u32>(&token, "count").await, Some(12));
    assert!(!world.saw(EventKind::Conflict));
}

#[tokio::test]
async fn a_read_that_was_overtaken_before_a_first_commit_still_counts_for_a_later_insert() {
    let world = World::with(|layer| layer.with_strict_writes(true));
    let token = world.begin().await;
    world.insert(&token, "theme", "old").await.assert_ok();
    let gate = Gate::new();
    let held = gate.clone();
    let slow = world.spawn(&token, move |session| async move {
        session.get::<String>("theme")?;
        held.wait().await;
        // This commit goes on from the newer record, and the value that was read is still the older one.
        session.update_now("visits", |visits: &mut u32| *visits += 1).await?;
        session.insert("theme", "slow")
    });
    gate.reached().await;
    world.insert(&token, "theme", "quick").await.assert_ok();
    gate.release();
    slow.await.unwrap().assert_silent(StatusCode::CONFLICT);
    assert_eq!(world.read::<String>(&token, "theme").await.as_deref(), Some("quick"));
}

#[tokio::test]
async fn what_a_request_has_cleared_itself_is_no_stale_read() {
    let world = World::with(|layer| layer.with_strict_writes(true));
    let token = world.begin().await;
    let clear_and_insert = |session: sessile::Session| async move {
        session.clear()?;
        assert_eq!(session.get::<String>("theme")?, None);
        session.insert("theme", "slow")
    };
    let insert = |session: sessile::Session| async move { session.insert("theme", "quick") };
    let (slow, _) = world.overtake(&token, clear_and_insert, insert).await;
    slow.assert_silent(StatusCode::OK);
    assert_eq!(world.events.count(EventKind::Conflict), 0);
    assert_eq!(world.read::<String>(&token, "theme").await.as_deref(), Some("slow"));
}
