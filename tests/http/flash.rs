//! Flash messages. The rules that hold on every store are in `accounts/flash.rs`.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::{accounts, support};

use accounts::flash_rules;
use http::StatusCode;
use sessile::flash::FlashLevel;
use support::race::{NOBODY, World};
use support::store::Counts;

flash_rules!(in_memory);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_readers_on_four_threads_one_shows_each_message() {
    for _ in 0..10 {
        accounts::flash::of_fifty_readers_at_once_one_shows_each_message(&accounts::Over::memory()).await;
    }
}

#[tokio::test]
async fn a_page_without_messages_costs_nothing_more() {
    let world = World::new();
    let token = world.begin().await;
    let read = |session: sessile::Session| async move {
        assert!(session.take_flashes().await?.is_empty());
        Ok(())
    };
    let (answer, counts) = world.cost(world.send(&token, read)).await;
    answer.assert_silent(StatusCode::OK);
    assert_eq!(counts, Counts { gets: 1, ..Counts::NONE });
    let (answer, counts) = world.cost(world.send(NOBODY, read)).await;
    answer.assert_silent(StatusCode::OK);
    assert_eq!(counts, Counts::NONE);
}

#[tokio::test]
async fn messages_serialise_for_templates() {
    let world = World::new();
    world
        .send(NOBODY, |session| async move {
            session.flash(FlashLevel::Warning, "mind the gap")?;
            let flashes = session.take_flashes().await?;
            let json = serde_json::to_value(&flashes).unwrap();
            assert_eq!(json, serde_json::json!([{ "level": "warning", "message": "mind the gap" }]));
            Ok(())
        })
        .await
        .assert_ok();
}
