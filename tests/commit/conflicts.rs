//! Requests whose session changes or ends while they run: the errors they return and the cookies they send.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use http::StatusCode;
use sessile::{Error, ErrorKind, Session};
use support::client::session_of;
use support::race::{NO_TOKEN, World};
use support::store::{Fault, Op};

/// Session that a handler hands to the test.
type SessionSlot = Arc<Mutex<Option<Session>>>;

/// Returns two handles of one slot: for the handler and for the test.
fn slot() -> (SessionSlot, SessionSlot) {
    let slot = SessionSlot::default();
    (Arc::clone(&slot), slot)
}

/// A commit that completes while an update closure runs, and merges another write, makes the closure run again.
#[tokio::test]
async fn update_closure_reruns_after_a_concurrent_commit() {
    let world = World::new();
    let token = world.begin().await;
    let (sessions, id) = (world.sessions(), session_of(&token));
    let session = sessions.open_for_write(&id).await.unwrap().unwrap();
    session.insert("mine", &1).unwrap();
    sessions.merge(&id, &BTreeMap::from([("concurrent", 7)])).await.unwrap();
    let (during, committed) = (session.clone(), Arc::new(AtomicBool::new(false)));
    let update = move |n: &mut u32| {
        *n += 1;
        if !committed.swap(true, Ordering::SeqCst) {
            let commit = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(during.commit()).unwrap();
            });
            commit.join().unwrap();
        }
    };
    session.update("n", update).unwrap();
    session.commit().await.unwrap();
    let mut keys = sessions.find_by_id(&id).await.unwrap().unwrap().keys();
    keys.sort();
    assert_eq!(keys, ["concurrent", "mine", "n", "start"]);
}

/// Increments `n` with a closure that calls `during` on the same session the first time it runs.
fn count_and_run(session: &Session, during: fn(&Session)) -> Result<(), Error> {
    let (same, ran) = (session.clone(), Arc::new(AtomicBool::new(false)));
    session.update("n", move |n: &mut u64| {
        *n += 1;
        if !ran.swap(true, Ordering::SeqCst) {
            during(&same);
        }
    })
}

/// An insert or a sign-out during the closure's first run makes it run again on the changed session.
#[tokio::test]
async fn update_closure_reruns_after_a_change_it_missed() {
    let world = World::new();
    let token = world.begin().await;
    let insert = |session: &Session| session.insert("n", &10).unwrap();
    world
        .send(&token, move |session| async move { count_and_run(&session, insert) })
        .await
        .assert_silent(StatusCode::OK);
    assert_eq!(world.read::<u64>(&token, "n").await, Some(11));

    let sign_out = |session: &Session| session.sign_out().unwrap();
    let new = world.send(&token, move |session| async move { count_and_run(&session, sign_out) }).await.token();
    assert_eq!(world.stored(&new).await.unwrap(), BTreeMap::from([("n".to_owned(), 1)]));
}

/// With strict writes, a commit during the closure fails with `Conflict`; the closure runs again and counts once.
#[tokio::test]
async fn update_closure_reruns_after_a_commit_was_refused() {
    let world = World::with(|layer| layer.with_strict_writes(true));
    let token = world.begin().await;
    let commit = |session: &Session| {
        let session = session.clone();
        let commit = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(session.commit()).unwrap_err().kind()
        });
        assert_eq!(commit.join().unwrap(), ErrorKind::Conflict);
    };
    let slow = world
        .hold(&token, move |session, gate| async move {
            session.get::<u64>("read")?;
            gate.wait().await;
            session.insert("read", &1)?;
            count_and_run(&session, commit)?;
            assert_eq!(session.get::<u64>("read")?, None);
            Ok(())
        })
        .await;
    world.insert(&token, "read", 2).await.assert_ok();
    slow.finish().await.assert_silent(StatusCode::OK);
    assert_eq!(world.read::<u64>(&token, "read").await, Some(2));
    assert_eq!(world.read::<u64>(&token, "n").await, Some(1));
}

/// Returns a session that its request detached before its first commit, and the token.
async fn detached_before_the_first_commit(world: &World) -> (Session, String) {
    let (handler_slot, slot) = slot();
    let answer = world.send(NO_TOKEN, move |session| async move {
        session.insert("seen", &1)?;
        *handler_slot.lock().unwrap() = Some(session.detach());
        Ok(())
    });
    let token = answer.await.token();
    let detached = slot.lock().unwrap().take().unwrap();
    (detached, token)
}

/// A session detached before its first commit signs out: its token opens nothing, and a mark is left.
#[tokio::test]
async fn session_detached_before_its_creation_can_be_ended() {
    let world = World::new();
    let (detached, token) = detached_before_the_first_commit(&world).await;
    detached.sign_out().unwrap();
    detached.commit().await.unwrap();
    assert!(!world.is_live(&token).await);
    assert_eq!((world.memory.len(), world.live_sessions()), (1, 0));
}

/// A signed-in session is detached with an uncommitted change; its sign-out ends it and empties the owner's list.
#[tokio::test]
async fn session_detached_before_a_commit_can_be_ended() {
    let world = World::new();
    let token = world.begin_signed_in("ada").await;
    let (handler_slot, slot) = slot();
    let answer = world.send(&token, move |session| async move {
        session.insert("seen", &1)?;
        *handler_slot.lock().unwrap() = Some(session.detach());
        Ok(())
    });
    answer.await.assert_ok();
    let detached = slot.lock().unwrap().take().unwrap();
    detached.sign_out().unwrap();
    detached.commit().await.unwrap();
    assert!(!world.is_live(&token).await);
    assert!(world.sessions().owned_by("ada").await.unwrap().is_empty());
}

/// After a 500 response, `reload` and `commit` fail with `ResponseSent`, and the dropped changes are not stored.
#[tokio::test]
async fn handle_kept_after_an_error_response_cannot_commit() {
    let world = World::new();
    let token = world.begin().await;
    let (handler_slot, slot) = slot();
    let answer = world
        .send(&token, move |session| async move {
            session.insert("dropped", &1)?;
            session.rotate()?;
            *handler_slot.lock().unwrap() = Some(session);
            Ok(StatusCode::INTERNAL_SERVER_ERROR)
        })
        .await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    let session = slot.lock().unwrap().take().unwrap();
    assert_eq!(session.reload().await.unwrap_err().kind(), ErrorKind::ResponseSent);
    assert_eq!(session.commit().await.unwrap_err().kind(), ErrorKind::ResponseSent);
    assert_eq!(world.opens(&token).await.unwrap().keys, ["start"]);
}

/// A request rotates, commits and writes again after another request's sign-in: 409 without a cookie.
#[tokio::test]
async fn token_of_an_early_commit_is_not_sent_after_a_sign_in() {
    let world = World::new();
    let old = world.begin().await;
    let victim = world
        .hold(&old, |session, gate| async move {
            gate.wait().await;
            session.sign_in("ada")
        })
        .await;
    let slow = world
        .hold(&old, |session, gate| async move {
            session.rotate()?;
            session.commit().await?;
            gate.wait().await;
            session.insert("late", &1)
        })
        .await;
    let new = victim.finish().await.token();
    slow.finish().await.assert_silent(StatusCode::CONFLICT);
    assert!(world.is_live(&new).await);
}

/// A request creates and commits a session that is ended before the response: no cookie, and no session is stored.
#[tokio::test]
async fn token_of_an_early_commit_is_not_sent_after_the_end() {
    let world = World::new();
    let sessions = world.sessions();
    let answer = world
        .send(NO_TOKEN, move |session| async move {
            session.insert("n", &1)?;
            session.commit().await?;
            sessions.end(&session.id().unwrap()).await?;
            session.insert("late", &1)
        })
        .await;
    answer.assert_silent(StatusCode::OK);
    assert_eq!(world.live_sessions(), 0);
}

/// The store loses the reply to a rotation and a sign-in commits before the retry: the response sets no cookie.
#[tokio::test]
async fn rotation_with_unknown_outcome_sends_no_superseded_token() {
    let world = World::new();
    let old = world.begin().await;
    let victim = world
        .hold(&old, |session, gate| async move {
            gate.wait().await;
            session.sign_in("ada")
        })
        .await;
    world.faults.fail(Op::Set, 1, Fault::After);
    let gate = world.faults.hold_before(Op::Get, 2);
    let slow = world.spawn(&old, |session| async move { session.rotate() });
    gate.reached().await;
    let new = victim.finish().await.token();
    gate.release();
    slow.await.unwrap().assert_silent(StatusCode::OK);
    assert!(world.is_live(&new).await);
}

/// A request without a cookie creates, commits and ends a session: its response has no `Set-Cookie`.
#[tokio::test]
async fn no_cookie_removal_for_a_client_without_a_cookie() {
    let world = World::new();
    let answer = world
        .send(NO_TOKEN, |session| async move {
            session.insert("n", &1)?;
            session.commit().await?;
            session.end()
        })
        .await;
    answer.assert_silent(StatusCode::OK);
    assert_eq!(world.live_sessions(), 0);
}
