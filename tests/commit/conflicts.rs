//! What a request is told, and what it sends, when its session moves on without it.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use http::StatusCode;
use sessile::{Error, ErrorKind, Session};
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
    let session = sessions.open_for_write(&id).await.unwrap().unwrap();
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
    let mut keys = sessions.find_by_id(&id).await.unwrap().unwrap().keys();
    keys.sort();
    assert_eq!(keys, ["mine", "n", "start", "theirs"]);
}

/// Counts in `n`, by a closure beside which another part of the request does this when it first runs.
fn count_beside(session: &Session, other: fn(&Session)) -> Result<(), Error> {
    let (same, done) = (session.clone(), Arc::new(AtomicBool::new(false)));
    session.update("n", move |n: &mut u64| {
        *n += 1;
        if !done.swap(true, Ordering::SeqCst) {
            other(&same);
        }
    })
}

#[tokio::test]
async fn a_closure_runs_again_on_what_its_request_did_to_the_session_meanwhile() {
    let world = World::new();
    let token = world.begin().await;
    let insert = |session: &Session| session.insert("n", &10).unwrap();
    world
        .send(&token, move |session| async move { count_beside(&session, insert) })
        .await
        .assert_silent(StatusCode::OK);
    assert_eq!(world.read::<u64>(&token, "n").await, Some(11));

    let sign_out = |session: &Session| session.sign_out().unwrap();
    let new = world.send(&token, move |session| async move { count_beside(&session, sign_out) }).await.token();
    assert_eq!(world.stored(&new).await.unwrap(), BTreeMap::from([("n".to_owned(), 1)]));
}

#[tokio::test]
async fn a_closure_runs_again_where_a_commit_beside_it_was_refused_and_dropped_what_it_saw() {
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
            count_beside(&session, commit)?;
            assert_eq!(session.get::<u64>("read")?, None);
            Ok(())
        })
        .await;
    world.insert(&token, "read", 2).await.assert_ok();
    slow.finish().await.assert_silent(StatusCode::OK);
    assert_eq!(world.read::<u64>(&token, "read").await, Some(2));
    assert_eq!(world.read::<u64>(&token, "n").await, Some(1));
}

/// A session that was detached by the request that had yet to store it, and its token.
async fn promised(world: &World) -> (Session, String) {
    let (kept, place) = place();
    let answer = world.send(NOBODY, move |session| async move {
        session.insert("seen", &1)?;
        *kept.lock().unwrap() = Some(session.detach());
        Ok(())
    });
    let token = answer.await.token();
    let detached = place.lock().unwrap().take().unwrap();
    (detached, token)
}

#[tokio::test]
async fn one_that_ends_so_and_cannot_be_deleted_is_dead_all_the_same() {
    let world = World::new();
    let (detached, token) = promised(&world).await;
    world.faults.fail_always(Op::Delete, Fault::Before);
    detached.sign_out().unwrap();
    detached.commit().await.unwrap();
    assert!(!world.is_live(&token).await);
    assert_eq!(world.memory.len(), 1);
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
    assert_eq!(session.reload().await.unwrap_err().kind(), ErrorKind::ResponseSent);
    assert_eq!(session.commit().await.unwrap_err().kind(), ErrorKind::ResponseSent);
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
            sessions.end(&session.id().unwrap()).await?;
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
            session.end()
        })
        .await;
    answer.assert_silent(StatusCode::OK);
    assert!(world.memory.is_empty());
}
