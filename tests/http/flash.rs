//! Flash messages. The tests that run on every store are in `accounts/flash.rs`.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::{accounts, support};

use accounts::flash_rules;
use http::StatusCode;
use sessile::event::EndReason;
use sessile::flash::FlashLevel;
use support::client::session_of;
use support::race::{NO_TOKEN, World};
use support::store::Counts;

flash_rules!(in_memory);

/// Repeats the test with fifty concurrent readers ten times on four threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_flash_message_is_shown_once_on_four_threads() {
    for _ in 0..10 {
        accounts::flash::each_flash_message_is_shown_by_one_of_fifty_readers(&accounts::Setup::memory()).await;
    }
}

/// Beyond the load's `get`, a page without messages makes no store call; without a session it makes none at all.
#[tokio::test]
async fn take_flashes_without_messages_makes_no_store_calls() {
    let world = World::new();
    let token = world.begin().await;
    let read = |session: sessile::Session| async move {
        assert!(session.take_flashes().await?.is_empty());
        Ok(())
    };
    let (answer, counts) = world.cost(world.send(&token, read)).await;
    answer.assert_silent(StatusCode::OK);
    assert_eq!(counts, Counts { gets: 1, ..Counts::NONE });
    let (answer, counts) = world.cost(world.send(NO_TOKEN, read)).await;
    answer.assert_silent(StatusCode::OK);
    assert_eq!(counts, Counts::NONE);
}

/// A page under the token of a session that has just ended has no messages, and is answered.
#[tokio::test]
async fn page_of_a_session_that_just_ended_has_no_messages() {
    let world = World::new();
    let token = world.begin_signed_in("ada").await;
    world.send(&token, |session| async move { session.flash(FlashLevel::Info, "saved") }).await.assert_ok();
    assert!(world.sessions().end(&session_of(&token)).await.unwrap());
    let read = |session: sessile::Session| async move {
        assert_eq!(session.end_reason(), Some(EndReason::Revoked));
        assert!(session.take_flashes().await?.is_empty());
        Ok(())
    };
    world.send(&token, read).await.assert_silent(StatusCode::OK);
}

/// A taken message serializes as an object with `level` and `message`.
#[tokio::test]
async fn flash_messages_serialize_with_level_and_message() {
    let world = World::new();
    world
        .send(NO_TOKEN, |session| async move {
            session.flash(FlashLevel::Warning, "mind the gap")?;
            let flashes = session.take_flashes().await?;
            let json = serde_json::to_value(&flashes).unwrap();
            assert_eq!(json, serde_json::json!([{ "level": "warning", "message": "mind the gap" }]));
            Ok(())
        })
        .await
        .assert_ok();
}
