//! An `insert` that rests on what another request has changed meanwhile: an event, and with strict writes a 409.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use http::StatusCode;
use sessile::event::EventKind;
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
async fn each_of_many_values_that_were_read_counts() {
    const KEYS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "a longer key", "another longer key"];
    for key in KEYS {
        let world = World::with(|layer| layer.with_strict_writes(true));
        let token = world.begin().await;
        let read_all_and_insert = move |session: sessile::Session| async move {
            for read in [KEYS, KEYS].concat() {
                assert_eq!(session.get::<u32>(read)?, None);
            }
            session.insert(key, &1)
        };
        let insert = move |session: sessile::Session| async move { session.insert(key, &2) };
        let (slow, _) = world.overtake(&token, read_all_and_insert, insert).await;
        slow.assert_silent(StatusCode::CONFLICT);
        assert_eq!(world.read::<u32>(&token, key).await, Some(2));
    }
}

#[tokio::test]
async fn short_keys_are_not_taken_for_one_another() {
    let world = World::with(|layer| layer.with_strict_writes(true));
    let token = world.begin().await;
    let read_and_insert = |session: sessile::Session| async move {
        for read in ["a", "b", "d"] {
            assert_eq!(session.get::<u32>(read)?, None);
        }
        // What it has written is read no more.
        session.insert("a", &1)?;
        session.insert("", &1)?;
        session.insert("c", &1)
    };
    let insert = |session: sessile::Session| async move {
        session.insert("", &2)?;
        session.insert("c", &2)
    };
    let (slow, _) = world.overtake(&token, read_and_insert, insert).await;
    slow.assert_silent(StatusCode::OK);
    assert_eq!(world.events.count(EventKind::Conflict), 0);
}

#[tokio::test]
async fn a_read_after_writes_of_other_keys_counts_as_much() {
    for others in [1, 10, 65, 200] {
        let world = World::with(|layer| layer.with_strict_writes(true));
        let token = world.begin().await;
        world.insert(&token, "theme", "old").await.assert_ok();
        let slow = world
            .hold(&token, move |session, gate| async move {
                for place in 0..others {
                    session.insert(&format!("key {place}"), &place)?;
                }
                session.get::<String>("theme")?;
                gate.wait().await;
                session.insert("theme", "slow")
            })
            .await;
        world.insert(&token, "theme", "quick").await.assert_ok();
        slow.finish().await.assert_silent(StatusCode::CONFLICT);
        assert_eq!(world.read::<String>(&token, "theme").await.as_deref(), Some("quick"));
    }
}

#[tokio::test]
async fn a_value_that_the_request_wrote_itself_is_no_stale_read_however_much_else_it_wrote() {
    for others in [1, 10, 65, 200] {
        let world = World::with(|layer| layer.with_strict_writes(true));
        let token = world.begin().await;
        let write_and_insert = move |session: sessile::Session| async move {
            session.insert("theme", "first")?;
            for place in 0..others {
                session.insert(&format!("key {place}"), &place)?;
            }
            assert_eq!(session.get::<String>("theme")?.as_deref(), Some("first"));
            session.insert("theme", "slow")
        };
        let insert = |session: sessile::Session| async move { session.insert("theme", "quick") };
        let (slow, _) = world.overtake(&token, write_and_insert, insert).await;
        slow.assert_silent(StatusCode::OK);
        assert_eq!(world.read::<String>(&token, "theme").await.as_deref(), Some("slow"));
    }
}

#[tokio::test]
async fn a_read_that_another_request_left_alone_before_a_first_commit_does_not_stand_in_the_way_of_a_later_insert() {
    let world = World::with(|layer| layer.with_strict_writes(true));
    let token = world.begin().await;
    world.insert(&token, "theme", "old").await.assert_ok();
    let slow = world
        .hold(&token, |session, gate| async move {
            session.get::<String>("theme")?;
            gate.wait().await;
            session.update_now("visits", |visits: &mut u32| *visits += 1).await?;
            session.insert("theme", "slow")
        })
        .await;
    world.insert(&token, "visits", 7).await.assert_ok();
    slow.finish().await.assert_silent(StatusCode::OK);
    assert_eq!(world.read::<String>(&token, "theme").await.as_deref(), Some("slow"));
    assert_eq!(world.read::<u32>(&token, "visits").await, Some(8));
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
