//! What a request asks of the store, call by call.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use futures_util::future::join_all;
use http::StatusCode;
use sessile::{Session, Token};
use support::race::{MINUTE, NOBODY, World};
use support::store::{Counts, Fault, Op};

// guarantee: 5
#[tokio::test]
async fn a_request_that_does_not_use_the_session_costs_nothing_and_works_while_the_store_is_down() {
    let world = World::new();
    let token = world.begin().await;
    for op in [Op::Get, Op::Set, Op::Touch, Op::Delete] {
        world.faults.fail_always(op, Fault::Before);
    }
    world.advance(30 * MINUTE);
    for token in [NOBODY, Some(token)] {
        let (answer, counts) = world.cost(world.send_unloaded(token, |_| async { Ok("hello") })).await;
        answer.assert_silent(StatusCode::OK);
        assert_eq!(answer.body, "hello");
        assert_eq!(counts, Counts::NONE);
    }
}

// guarantee: 9
#[tokio::test]
async fn a_visitor_without_a_cookie_who_writes_nothing_costs_nothing() {
    let world = World::new();
    let (answer, counts) = world
        .cost(world.send(NOBODY, |session| async move {
            session.get::<u32>("n")?;
            session.remove("n")?;
            session.clear()?;
            session.rotate()?;
            session.commit().await
        }))
        .await;
    answer.assert_silent(StatusCode::OK);
    assert_eq!(counts, Counts::NONE);
    assert!(world.memory.is_empty());
}

// guarantee: 5
#[tokio::test]
async fn reading_costs_one_get_however_often_it_is_done() {
    let world = World::new();
    let token = world.begin().await;
    let (answer, counts) = world
        .cost(world.send_unloaded(&token, |handle| async move {
            for _ in 0..3 {
                let session = handle.load().await?;
                session.get::<bool>("start")?;
                assert_eq!(session.keys(), ["start"]);
            }
            Ok(())
        }))
        .await;
    answer.assert_silent(StatusCode::OK);
    assert_eq!(counts, Counts::gets(1));
}

#[tokio::test]
async fn parts_of_one_request_that_load_at_once_share_one_get() {
    let world = World::new();
    let token = world.begin().await;
    world.faults.pend(2);
    let (answer, counts) = world
        .cost(world.send_unloaded(&token, |handle| async move {
            let loaded: Vec<Result<Session, _>> = join_all((0..5).map(|_| handle.load())).await;
            for (place, session) in loaded.into_iter().enumerate() {
                session?.insert(&format!("key {place}"), &1)?;
            }
            Ok(())
        }))
        .await;
    answer.assert_ok();
    assert_eq!(counts, Counts::gets(1).and_sets(1));
    assert_eq!(world.opens(&token).await.unwrap().keys.len(), 6);
}

#[tokio::test]
async fn an_unknown_token_costs_one_get() {
    let world = World::new();
    let other = World::new().begin().await;
    assert!(Token::parse(other.as_bytes()).is_some());
    let (answer, counts) =
        world.cost(world.send(&other, |session| async move { session.get::<u32>("n").map(|_| ()) })).await;
    answer.assert_silent(StatusCode::OK);
    assert_eq!(counts, Counts::gets(1));
}

#[tokio::test]
async fn what_is_no_token_costs_nothing() {
    let world = World::new();
    for text in ["", "x", "deadbeef", &"A".repeat(43), &"A".repeat(8_000)] {
        let (_, counts) =
            world.cost(world.send(text, |session| async move { session.get::<u32>("n").map(|_| ()) })).await;
        assert_eq!(counts, Counts::NONE, "{text:?}");
    }
}

// guarantee: 5
#[tokio::test]
async fn writing_costs_one_set_more_however_much_is_written() {
    let world = World::new();
    let token = world.begin().await;
    let (_, counts) = world
        .cost(world.send(&token, |session| async move {
            session.insert("a", &1)?;
            session.update("b", |b: &mut u32| *b += 1)?;
            session.remove("start").map(|_| ())
        }))
        .await;
    assert_eq!(counts, Counts::gets(1).and_sets(1));
    let (_, counts) = world
        .cost(world.send(&token, |session| async move {
            session.insert("a", &2)?;
            session.rotate()
        }))
        .await;
    assert_eq!(counts, Counts::gets(1).and_sets(1), "a rotation goes with the write");
}

#[tokio::test]
async fn creating_a_session_costs_one_set() {
    let world = World::new();
    let (_, counts) = world.cost(world.begin()).await;
    assert_eq!(counts, Counts::NONE.and_sets(1));
    let (_, counts) = world.cost(world.begin_signed_in("ada")).await;
    assert_eq!(counts, Counts::NONE.and_sets(1));
}

#[tokio::test]
async fn signing_in_costs_one_get_and_one_set() {
    let world = World::new();
    let token = world.begin().await;
    let (_, counts) = world.cost(world.send(&token, |session| async move { session.sign_in("ada") })).await;
    assert_eq!(counts, Counts::gets(1).and_sets(1));
}

// guarantee: 5
#[tokio::test]
async fn a_conflict_costs_one_get_and_one_set_more() {
    let world = World::new();
    let token = world.begin().await;
    let slow = world
        .hold(&token, |session, gate| async move {
            session.insert("slow", &1)?;
            gate.wait().await;
            Ok(())
        })
        .await;
    world.insert(&token, "quick", 1).await.assert_ok();
    let (answer, counts) = world.cost(slow.finish()).await;
    answer.assert_ok();
    assert_eq!(counts, Counts::gets(1).and_sets(2), "beside the get of its load");
}

#[tokio::test]
async fn signing_out_of_a_session_with_an_owner_costs_one_get_and_one_delete() {
    let world = World::new();
    let token = world.begin_signed_in("ada").await;
    let (_, counts) = world.cost(world.send(&token, |session| async move { session.sign_out() })).await;
    assert_eq!(counts, Counts::gets(1).and_deletes(1));
}

#[tokio::test]
async fn ending_an_anonymous_session_costs_one_set_more() {
    let world = World::new();
    let token = world.begin().await;
    let (_, counts) = world.cost(world.send(&token, |session| async move { session.sign_out() })).await;
    assert_eq!(counts, Counts::gets(1).and_sets(1).and_deletes(1));
}

// guarantee: 7
#[tokio::test]
async fn a_use_is_noted_once_in_a_tenth_of_the_idle_time() {
    let world = World::new();
    let token = world.begin().await;
    let read = || world.send(&token, |session| async move { session.get::<bool>("start").map(|_| ()) });
    assert_eq!(world.cost(read()).await.1, Counts::gets(1));
    world.advance(6 * MINUTE - std::time::Duration::from_millis(1));
    assert_eq!(world.cost(read()).await.1, Counts::gets(1));
    world.advance(std::time::Duration::from_millis(1));
    assert_eq!(world.cost(read()).await.1, Counts::gets(1).and_touches(1));
    assert_eq!(world.cost(read()).await.1, Counts::gets(1));
    // A write notes the use by itself.
    world.advance(6 * MINUTE);
    assert_eq!(world.cost(world.insert(&token, "n", 1)).await.1, Counts::gets(1).and_sets(1));
    world.advance(5 * MINUTE);
    assert_eq!(world.cost(read()).await.1, Counts::gets(1));
}

#[tokio::test]
async fn a_commit_of_the_handlers_own_is_not_repeated_with_the_response() {
    let world = World::new();
    let token = world.begin().await;
    world.advance(30 * MINUTE);
    let (_, counts) = world
        .cost(world.send(&token, |session| async move { session.update_now("n", |n: &mut u32| *n += 1).await }))
        .await;
    assert_eq!(counts, Counts::gets(1).and_sets(1));
}

#[tokio::test]
async fn changes_that_the_answer_undoes_cost_no_set() {
    let world = World::new();
    let token = world.begin().await;
    let (answer, counts) = world
        .cost(world.send(&token, |session| async move {
            session.insert("n", &1)?;
            Ok(StatusCode::BAD_GATEWAY)
        }))
        .await;
    answer.assert_silent(StatusCode::BAD_GATEWAY);
    assert_eq!(counts, Counts::gets(1));
    assert_eq!(world.opens(&token).await.unwrap().keys, ["start"]);
}
