//! The store calls that each kind of request makes.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use futures_util::future::join_all;
use http::StatusCode;
use sessile::{Session, Token};
use support::race::{MINUTE, NO_TOKEN, World};
use support::store::{Counts, Fault, Op};

// guarantee: 5
/// While every store operation fails, a handler that never loads the session succeeds without a store call.
#[tokio::test]
async fn request_without_session_use_makes_no_store_calls() {
    let world = World::new();
    let token = world.begin().await;
    for op in [Op::Get, Op::Set, Op::Touch, Op::Delete] {
        world.faults.fail_always(op, Fault::Before);
    }
    world.advance(30 * MINUTE);
    for token in [NO_TOKEN, Some(token)] {
        let (answer, counts) = world.cost(world.send_unloaded(token, |_| async { Ok("hello") })).await;
        answer.assert_silent(StatusCode::OK);
        assert_eq!(answer.body, "hello");
        assert_eq!(counts, Counts::NONE);
    }
}

// guarantee: 9
/// Reads, removes, a clear, a rotation and a commit without a session make no store call.
#[tokio::test]
async fn request_without_cookie_and_writes_makes_no_store_calls() {
    let world = World::new();
    let (answer, counts) = world
        .cost(world.send(NO_TOKEN, |session| async move {
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
/// A handler loads and reads the session three times; the store gets one `get` call.
#[tokio::test]
async fn repeated_loads_and_reads_cost_one_get() {
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

/// Five concurrent loads cost one `get`, and the writes of all five commit with one `set`.
#[tokio::test]
async fn concurrent_loads_of_one_request_share_one_get() {
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

/// A well-formed token of another store costs one `get` and sets no cookie.
#[tokio::test]
async fn unknown_token_costs_one_get() {
    let world = World::new();
    let other = World::new().begin().await;
    assert!(Token::parse(other.as_bytes()).is_some());
    let (answer, counts) =
        world.cost(world.send(&other, |session| async move { session.get::<u32>("n").map(|_| ()) })).await;
    answer.assert_silent(StatusCode::OK);
    assert_eq!(counts, Counts::gets(1));
}

/// Five malformed cookie values make no store call.
#[tokio::test]
async fn malformed_token_makes_no_store_calls() {
    let world = World::new();
    for text in ["", "x", "deadbeef", &"A".repeat(43), &"A".repeat(8_000)] {
        let (_, counts) =
            world.cost(world.send(text, |session| async move { session.get::<u32>("n").map(|_| ()) })).await;
        assert_eq!(counts, Counts::NONE, "{text:?}");
    }
}

// guarantee: 5
/// Several writes in one request, or a write and a rotation, cost one `get` and one `set`.
#[tokio::test]
async fn any_number_of_writes_costs_one_set() {
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
    assert_eq!(counts, Counts::gets(1).and_sets(1), "the rotation and the write share one set");
}

/// A new anonymous session and a new signed-in session cost one `set` each.
#[tokio::test]
async fn creation_costs_one_set() {
    let world = World::new();
    let (_, counts) = world.cost(world.begin()).await;
    assert_eq!(counts, Counts::NONE.and_sets(1));
    let (_, counts) = world.cost(world.begin_signed_in("ada")).await;
    assert_eq!(counts, Counts::NONE.and_sets(1));
}

/// A sign-in to an existing anonymous session costs one `get` and one `set`.
#[tokio::test]
async fn sign_in_costs_one_get_and_one_set() {
    let world = World::new();
    let token = world.begin().await;
    let (_, counts) = world.cost(world.send(&token, |session| async move { session.sign_in("ada") })).await;
    assert_eq!(counts, Counts::gets(1).and_sets(1));
}

// guarantee: 5
/// A commit with one conflict costs two `set` calls and one `get` besides the load.
#[tokio::test]
async fn conflict_costs_one_more_get_and_set() {
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
    assert_eq!(counts, Counts::gets(1).and_sets(2), "the load's get is not counted here");
}

/// A signed-in session is ended with one `get`, one `set` and one removal from its owner's index.
#[tokio::test]
async fn sign_out_of_an_owner_costs_get_set_and_index_removal() {
    let world = World::new();
    let token = world.begin_signed_in("ada").await;
    let (_, counts) = world.cost(world.send(&token, |session| async move { session.sign_out() })).await;
    assert_eq!(counts, Counts::gets(1).and_sets(1).and_index_removals(1));
}

/// An anonymous session is ended with one `get`, and one `set` that marks it as ended.
#[tokio::test]
async fn sign_out_of_anonymous_session_costs_get_and_set() {
    let world = World::new();
    let token = world.begin().await;
    let (_, counts) = world.cost(world.send(&token, |session| async move { session.sign_out() })).await;
    assert_eq!(counts, Counts::gets(1).and_sets(1));
}

// guarantee: 7
/// A read costs one `touch` after a tenth of the idle timeout, but not before it, twice, or soon after a write.
#[tokio::test]
async fn use_is_recorded_once_per_tenth_of_the_idle_timeout() {
    let world = World::new();
    let token = world.begin().await;
    let read = || world.send(&token, |session| async move { session.get::<bool>("start").map(|_| ()) });
    assert_eq!(world.cost(read()).await.1, Counts::gets(1));
    world.advance(6 * MINUTE - std::time::Duration::from_millis(1));
    assert_eq!(world.cost(read()).await.1, Counts::gets(1));
    world.advance(std::time::Duration::from_millis(1));
    assert_eq!(world.cost(read()).await.1, Counts::gets(1).and_touches(1));
    assert_eq!(world.cost(read()).await.1, Counts::gets(1));
    // A write records the use too.
    world.advance(6 * MINUTE);
    assert_eq!(world.cost(world.insert(&token, "n", 1)).await.1, Counts::gets(1).and_sets(1));
    world.advance(5 * MINUTE);
    assert_eq!(world.cost(read()).await.1, Counts::gets(1));
}

/// After `update_now` in the handler, the response makes no further store call, although a touch was due.
#[tokio::test]
async fn explicit_commit_is_not_repeated_with_the_response() {
    let world = World::new();
    let token = world.begin().await;
    world.advance(30 * MINUTE);
    let (_, counts) = world
        .cost(world.send(&token, |session| async move { session.update_now("n", |n: &mut u32| *n += 1).await }))
        .await;
    assert_eq!(counts, Counts::gets(1).and_sets(1));
}

/// An insert in a 502 response costs only the `get` of the load.
#[tokio::test]
async fn discarded_changes_cost_no_set() {
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
