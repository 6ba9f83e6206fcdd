//! Commits that a handler polls and then keeps: they hold the response up to the deadline of a commit, and no longer.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use http::StatusCode;
use sessile::{Error, Session};
use support::race::{Answer, NO_TOKEN, World};
use support::store::{Gate, Op};

type Change = fn(&Session) -> Result<(), Error>;

/// A commit that outlives its handler.
type Kept = Arc<Mutex<Option<BoxFuture<'static, Result<(), Error>>>>>;

fn world() -> World {
    World::with(|layer| layer.with_commit_deadline(Duration::from_millis(50)))
}

/// Sends a request whose handler polls its commit once and keeps it.
async fn keep(world: &World, token: Option<String>, change: Change) -> (Answer, Kept) {
    let kept = Kept::default();
    let place = Arc::clone(&kept);
    let answer = world.send(token, move |session| async move {
        change(&session)?;
        let mut commit = Box::pin(async move { session.commit().await });
        assert!((&mut commit).now_or_never().is_none(), "the store has not answered");
        *place.lock().unwrap() = Some(commit);
        Ok(())
    });
    (answer.await, kept)
}

/// The store does not answer: the response is a 503 without a cookie once the deadline is over.
#[tokio::test]
async fn kept_commit_holds_the_response_until_the_deadline() {
    let changes: [Change; 4] =
        [|session| session.insert("n", &1), |session| session.sign_in("ada"), Session::rotate, Session::sign_out];
    for change in changes {
        let world = world();
        let token = world.begin().await;
        let _gate: Gate = world.faults.hold_before(Op::Set, 1);
        let (answer, kept) = keep(&world, Some(token.clone()), change).await;
        answer.assert_silent(StatusCode::SERVICE_UNAVAILABLE);
        drop(kept.lock().unwrap().take());
        world.faults.heal();
        assert_eq!(world.opens(&token).await.unwrap().keys, ["start"]);
    }
}

/// A kept creation is a 503 without a cookie, and the session is not stored.
#[tokio::test]
async fn kept_creation_sends_no_cookie() {
    let world = world();
    let _gate = world.faults.hold_before(Op::Set, 1);
    let (answer, kept) = keep(&world, NO_TOKEN, |session| session.insert("n", &1)).await;
    answer.assert_silent(StatusCode::SERVICE_UNAVAILABLE);
    drop(kept.lock().unwrap().take());
    assert!(world.memory.is_empty());
}

/// Another task goes on polling the commit: the response waits for it and succeeds.
#[tokio::test]
async fn commit_in_another_task_is_awaited_by_the_response() {
    let world = World::new();
    let token = world.begin().await;
    let gate = world.faults.hold_before(Op::Set, 1);
    let handler_gate = gate.clone();
    let answer = world.send(&token, move |session| async move {
        session.insert("n", &1)?;
        tokio::spawn(async move { session.commit().await });
        handler_gate.reached().await;
        handler_gate.release();
        Ok(())
    });
    answer.await.assert_silent(StatusCode::OK);
    assert_eq!(world.read::<u32>(&token, "n").await, Some(1));
}

/// The memory store alone never pends: a commit that is polled once is complete.
#[tokio::test]
async fn commit_on_the_memory_store_is_complete_at_once() {
    let world = World::new();
    let layer = sessile::SessionLayer::new(sessile::MemoryStore::new());
    let world = world.with_layer(layer);
    let answer = world.send(NO_TOKEN, |session| async move {
        session.insert("n", &1)?;
        session.commit().now_or_never().expect("the commit is complete")
    });
    let token = answer.await.assert_ok().token();
    assert_eq!(world.read::<u32>(&token, "n").await, Some(1));
}
