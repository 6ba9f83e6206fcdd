//! What a request is told, and what it sends, when its session moves on without it.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use http::StatusCode;
use sessile::{ErrorKind, Session};
use support::client::session_of;
use support::race::{NOBODY, World};
use support::store::{Fault, Op};

/// What a handler leaves behind for the test.
type Place = Arc<Mutex<Option<Session>>>;

/// One for the handler, and the same for the test.
fn place() -> (Place, Place) {
    let place = Place::default();
    (Arc::clone(&place), place)
}

#[tokio::test]
async fn a_closure_that_runs_while_a_commit_lands_runs_again_on_what_landed() {
    let world = World::new();
    let token = world.begin().await;
    let (sessions, id) = (world.sessions(), session_of(&token));
    let session = sessions.open(&id).await.unwrap().unwrap();
    session.insert("mine", &1).unwrap();
    sessions.update(&id, &BTreeMap::from([("theirs", 7)])).await.unwrap();
    let (other, committed) = (session.clone(), Arc::new(AtomicBool::new(false)));
    let update = move |n: &mut u32| {
        *n += 1;
        if !committed.swap(true, Ordering::SeqCst) {
            let commit = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(other.commit()).unwrap();
            });
            commit.join().unwrap();
        }
    };
    session.update("n", update).unwrap();
    session.commit().await.unwrap();
    let mut keys = sessions.get(&id).await.unwrap().unwrap().keys();
    keys.sort();
    assert_eq!(keys, ["mine", "n", "start", "theirs"]);
}

#[tokio::test]
async fn a_session_that_its_request_had_yet_to_store_when_it_was_detached_can_be_ended() {
    let world = World::new();
    let token = world.begin_signed_in("ada").await;
    let (kept, place) = place();
    let answer = world.send(&token, move |session| async move {
        session.insert("seen", &1)?;
        *kept.lock().unwrap() = Some(session.detach());
        Ok(())
    });
    answer.await.assert_ok();
    let detached = place.lock().unwrap().take().unwrap();
    detached.sign_out().unwrap();
    detached.commit().await.unwrap();
    assert!(!world.is_live(&token).await);
    assert!(world.sessions().owned_by("ada").await.unwrap().is_empty());
}

#[tokio::test]
async fn what_an_error_answer_dropped_is_dropped_for_whoever_holds_on_to_the_session_too() {
    let world = World::new();
    let token = world.begin().await;
    let (kept, place) = place();
    let answer = world
        .send(&token, move |session| async move {
            session.insert("dropped", &1)?;
            session.rotate()?;
            *kept.lock().unwrap() = Some(session);
            Ok(StatusCode::INTERNAL_SERVER_ERROR)
        })
        .await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    let session = place.lock().unwrap().take().unwrap();
    assert_eq!(session.reload().await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(session.commit().await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(world.opens(&token).await.unwrap().keys, ["start"]);
}

#[tokio::test]
async fn a_token_of_an_early_commit_is_not_sent_once_the_session_has_changed_hands() {
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

#[tokio::test]
async fn a_token_of_an_early_commit_is_not_sent_once_the_session_has_ended() {
    let world = World::new();
    let sessions = world.sessions();
    let answer = world
        .send(NOBODY, move |session| async move {
            session.insert("n", &1)?;
            session.commit().await?;
            sessions.delete(&session.id().unwrap()).await?;
            session.insert("late", &1)
        })
        .await;
    answer.assert_silent(StatusCode::OK);
    assert!(world.memory.is_empty());
}

#[tokio::test]
async fn a_rotation_whose_answer_is_lost_and_that_a_sign_in_overtakes_sends_no_token() {
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

#[tokio::test]
async fn a_client_that_came_without_a_cookie_is_sent_no_removal_of_one() {
    let world = World::new();
    let answer = world
        .send(NOBODY, |session| async move {
            session.insert("n", &1)?;
            session.commit().await?;
            session.delete()
        })
        .await;
    answer.assert_silent(StatusCode::OK);
    assert!(world.memory.is_empty());
}
