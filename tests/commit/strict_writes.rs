//! Stale reads: an overtaken insert of a key that was read reports `Conflict`, and with strict writes answers 409.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use http::StatusCode;
use sessile::ErrorKind;
use sessile::event::EventKind;
use support::race::{Answer, World};
use support::store::Gate;

/// Runs a request that reads `theme`, is overtaken by an insert of the given key, and inserts `theme`.
async fn read_then_insert(world: &World, token: &str, concurrent_key: &'static str, value: &'static str) -> Answer {
    let gate = Gate::new();
    let handler_gate = gate.clone();
    let slow = world.spawn(token, move |session| async move {
        session.get::<String>("theme")?;
        handler_gate.wait().await;
        session.insert("theme", "slow")
    });
    gate.reached().await;
    world.insert(token, concurrent_key, value).await.assert_ok();
    gate.release();
    slow.await.unwrap()
}

/// Without strict writes, the overtaken insert is stored and one `Conflict` event is reported.
#[tokio::test]
async fn insert_after_a_stale_read_reports_a_conflict() {
    let world = World::new();
    let token = world.begin().await;
    world.insert(&token, "theme", "old").await.assert_ok();
    read_then_insert(&world, &token, "theme", "quick").await.assert_silent(StatusCode::OK);
    assert_eq!(world.events.count(EventKind::Conflict), 1);
    assert_eq!(world.read::<String>(&token, "theme").await.as_deref(), Some("slow"));
}

/// The overtaken insert answers 409, reports one `Conflict`, and the other request's value stays.
#[tokio::test]
async fn strict_writes_refuse_an_insert_after_a_stale_read() {
    let world = World::with(|layer| layer.with_strict_writes(true));
    let token = world.begin().await;
    world.insert(&token, "theme", "old").await.assert_ok();
    read_then_insert(&world, &token, "theme", "quick").await.assert_silent(StatusCode::CONFLICT);
    assert_eq!(world.events.count(EventKind::Conflict), 1);
    assert_eq!(world.read::<String>(&token, "theme").await.as_deref(), Some("quick"));
}

/// Another request inserts the key after it was read as absent: 409, and that value stays.
#[tokio::test]
async fn strict_writes_refuse_an_insert_of_a_key_read_as_absent() {
    let world = World::with(|layer| layer.with_strict_writes(true));
    let token = world.begin().await;
    read_then_insert(&world, &token, "theme", "quick").await.assert_silent(StatusCode::CONFLICT);
    assert_eq!(world.read::<String>(&token, "theme").await.as_deref(), Some("quick"));
}

/// A concurrent insert of another key, or of the same value, is no conflict.
#[tokio::test]
async fn strict_writes_accept_an_insert_if_the_key_is_unchanged() {
    let world = World::with(|layer| layer.with_strict_writes(true));
    let token = world.begin().await;
    world.insert(&token, "theme", "old").await.assert_ok();
    read_then_insert(&world, &token, "another key", "quick").await.assert_silent(StatusCode::OK);
    // A concurrent insert of the same value is no change.
    read_then_insert(&world, &token, "theme", "slow").await.assert_silent(StatusCode::OK);
    assert!(!world.saw(EventKind::Conflict));
}

/// An insert without a read and an update by closure succeed when overtaken, without a conflict.
#[tokio::test]
async fn strict_writes_accept_blind_inserts_and_updates() {
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

/// A read overtaken before the request's first commit makes an insert after that commit answer 409.
#[tokio::test]
async fn stale_read_before_an_early_commit_still_conflicts() {
    let world = World::with(|layer| layer.with_strict_writes(true));
    let token = world.begin().await;
    world.insert(&token, "theme", "old").await.assert_ok();
    let gate = Gate::new();
    let handler_gate = gate.clone();
    let slow = world.spawn(&token, move |session| async move {
        session.get::<String>("theme")?;
        handler_gate.wait().await;
        // This commit retries on the newer record, but the value that the handler read is from the older one.
        session.update_now("visits", |visits: &mut u32| *visits += 1).await?;
        session.insert("theme", "slow")
    });
    gate.reached().await;
    world.insert(&token, "theme", "quick").await.assert_ok();
    gate.release();
    slow.await.unwrap().assert_silent(StatusCode::CONFLICT);
    assert_eq!(world.read::<String>(&token, "theme").await.as_deref(), Some("quick"));
}

/// After reading eight absent keys twice, an overtaken insert of any one of them answers 409.
#[tokio::test]
async fn each_of_many_reads_is_in_the_read_set() {
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

/// Reads of `a`, `b` and `d` do not make overtaken inserts of `c` and the empty key conflicts.
#[tokio::test]
async fn read_set_distinguishes_short_keys() {
    let world = World::with(|layer| layer.with_strict_writes(true));
    let token = world.begin().await;
    let read_and_insert = |session: sessile::Session| async move {
        for read in ["a", "b", "d"] {
            assert_eq!(session.get::<u32>(read)?, None);
        }
        // The insert removes `a` from the read set.
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

/// After up to 200 inserts, a read of another key still makes its overtaken insert answer 409.
#[tokio::test]
async fn read_after_many_writes_is_in_the_read_set() {
    for other_keys in [1, 10, 65, 200] {
        let world = World::with(|layer| layer.with_strict_writes(true));
        let token = world.begin().await;
        world.insert(&token, "theme", "old").await.assert_ok();
        let slow = world
            .hold(&token, move |session, gate| async move {
                for place in 0..other_keys {
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

/// A request inserts a key, up to 200 others, reads the first and inserts it again: no conflict.
#[tokio::test]
async fn reading_the_requests_own_write_is_no_stale_read() {
    for other_keys in [1, 10, 65, 200] {
        let world = World::with(|layer| layer.with_strict_writes(true));
        let token = world.begin().await;
        let write_and_insert = move |session: sessile::Session| async move {
            session.insert("theme", "first")?;
            for place in 0..other_keys {
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

/// The first commit merges another request's key; an insert of the unchanged key that was read succeeds.
#[tokio::test]
async fn fresh_read_before_an_early_commit_does_not_conflict() {
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

/// A request clears, reads an absent key and inserts it when overtaken: its insert is stored without a conflict.
#[tokio::test]
async fn reading_a_key_after_clear_is_no_stale_read() {
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

/// An insert that exceeds the size limit fails; a smaller one of the same stale value is still a conflict.
#[tokio::test]
async fn strict_writes_refuse_a_stale_insert_after_a_failed_one() {
    let world = World::with(|layer| layer.with_strict_writes(true).with_size_limit(1_000));
    let token = world.begin().await;
    world.insert(&token, "theme", "old").await.assert_ok();
    let gate = Gate::new();
    let handler_gate = gate.clone();
    let slow = world.spawn(&token, move |session| async move {
        session.get::<String>("theme")?;
        let refused = session.insert("theme", &"x".repeat(2_000)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::TooLarge);
        handler_gate.wait().await;
        session.insert("theme", "slow")
    });
    gate.reached().await;
    world.insert(&token, "theme", "quick").await.assert_ok();
    gate.release();
    slow.await.unwrap().assert_silent(StatusCode::CONFLICT);
    assert_eq!(world.read::<String>(&token, "theme").await.as_deref(), Some("quick"));
}
