//! A commit that its handler gave up waiting for, and whose session it then ended: what that commit made is found out and
//! ended too, and what another request made of the session meanwhile is not.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use http::StatusCode;
use sessile::event::EventKind;
use sessile::{Error, ErrorKind, Session};
use support::client::session_of;
use support::race::{Answer, Held, NOBODY, World};
use support::store::{Fault, Gate, Op};

/// How far the write of a commit had come when it was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Write {
    /// It had not left.
    Unsent,
    /// It was lost, and that it failed was known.
    Lost,
    /// It was made, and its answer was on its way.
    Made,
    /// It was on its way, and is made before the next one.
    Late,
}

impl Write {
    const ALL: [Self; 4] = [Self::Unsent, Self::Lost, Self::Made, Self::Late];

    /// Until the next commit, of a session that is loaded, is to be given up.
    fn plan(self, world: &World) -> Gate {
        match self {
            Self::Unsent => world.faults.hold_before(Op::Set, 1),
            Self::Made => world.faults.hold_after(Op::Set, 1),
            Self::Lost | Self::Late => {
                world.faults.fail(Op::Set, 1, if self == Self::Lost { Fault::Before } else { Fault::Late });
                world.faults.hold_before(Op::Get, 1)
            }
        }
    }
}

async fn give_up(session: &Session, gate: &Gate) {
    tokio::select! {
        biased;
        done = session.commit() => panic!("it was not given up: {done:?}"),
        () = gate.reached() => {}
    }
}

/// A request whose handler does this, gives up the commit, waits, and then ends the session.
async fn hold(world: &World, token: Option<String>, write: Write, act: fn(&Session) -> Result<(), Error>) -> Held {
    let faults = world.clone();
    world
        .hold(token, move |session, gate| async move {
            act(&session)?;
            let given_up = write.plan(&faults);
            give_up(&session, &given_up).await;
            gate.wait().await;
            session.sign_out()
        })
        .await
}

#[track_caller]
fn assert_ended(world: &World, answer: &Answer, context: Write) {
    assert!(answer.assert_ok().is_removal(), "{context:?}: {answer:?}");
    assert!(world.memory.is_empty(), "{context:?}: {} records are left", world.memory.len());
    assert_eq!(world.events.count(EventKind::Ended), 1, "{context:?}");
}

// guarantee: 2
#[tokio::test]
async fn a_sign_in_given_up_and_then_ended_leaves_nobody_signed_in() {
    for write in Write::ALL {
        let world = World::new();
        let token = world.begin().await;
        let request = hold(&world, Some(token), write, |session| session.sign_in("ada")).await;
        assert_ended(&world, &request.finish().await, write);
    }
}

/// The handler was told that the sign-in failed, of which nobody could tell, and so is its client; but it is not left signed in.
#[tokio::test]
async fn a_sign_in_that_failed_though_it_was_made_is_ended_too() {
    let world = World::new();
    let token = world.begin().await;
    let faults = world.faults.clone();
    let answer = world
        .send(&token, |session| async move {
            session.sign_in("ada")?;
            faults.fail(Op::Set, 1, Fault::After);
            faults.fail_always(Op::Get, Fault::Before);
            assert_eq!(session.commit().await.unwrap_err().kind(), ErrorKind::Unavailable);
            faults.heal();
            session.sign_out()
        })
        .await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.is_removal());
    assert!(world.memory.is_empty());
}

#[tokio::test]
async fn a_rotation_given_up_and_then_ended_leaves_no_session() {
    for write in Write::ALL {
        for signed_in in [false, true] {
            let world = World::new();
            let token = if signed_in { world.begin_signed_in("ada").await } else { world.begin().await };
            let request = hold(&world, Some(token), write, Session::rotate).await;
            assert_ended(&world, &request.finish().await, write);
        }
    }
}

#[tokio::test]
async fn a_creation_given_up_and_then_ended_leaves_no_session_and_no_cookie() {
    let acts: [fn(&Session) -> _; 2] = [|session| session.insert("key", &1), |session| session.sign_in("ada")];
    for write in [Write::Unsent, Write::Made] {
        for act in acts {
            let world = World::new();
            let request = hold(&world, NOBODY, write, act).await;
            request.finish().await.assert_silent(StatusCode::OK);
            assert!(world.memory.is_empty(), "{write:?}");
        }
    }
}

#[tokio::test]
async fn a_sign_in_given_up_and_then_replaced_by_another_owners_leaves_that_one_alone() {
    for write in Write::ALL {
        let world = World::new();
        let token = world.begin().await;
        let faults = world.clone();
        let answer = world
            .send(&token, move |session| async move {
                session.sign_in("ada")?;
                give_up(&session, &write.plan(&faults)).await;
                session.sign_in("bob")
            })
            .await;
        let opened = world.opens(&answer.assert_ok().token()).await.unwrap();
        assert_eq!((opened.owner.as_deref(), opened.keys), (Some("bob"), Vec::new()), "{write:?}");
        assert_ne!(opened.id, session_of(&token));
        assert_eq!(world.memory.len(), 1, "{write:?}");
    }
}

/// The commit is under way still when the handler ends the session.
#[tokio::test]
async fn a_session_that_is_ended_while_its_commit_is_under_way_is_removed_with_its_cookie() {
    let acts: [fn(&Session) -> _; 3] =
        [|session| session.insert("key", &1), Session::rotate, |session| session.sign_in("ada")];
    for act in acts {
        for is_dropped in [false, true] {
            let world = World::new();
            let token = world.begin().await;
            let gate = world.faults.hold_after(Op::Set, 1);
            let answer = world
                .send(&token, move |session| async move {
                    act(&session)?;
                    let mut commit = Box::pin(session.commit());
                    tokio::select! {
                        biased;
                        done = &mut commit => panic!("it was not held: {done:?}"),
                        () = gate.reached() => {}
                    }
                    session.sign_out()?;
                    if is_dropped {
                        drop(commit);
                        return Ok(());
                    }
                    gate.release();
                    commit.await
                })
                .await;
            assert_ended(&world, &answer, Write::Made);
        }
    }
}

/// Before ours was written.
// guarantee: 14
#[tokio::test]
async fn a_session_that_another_request_signed_in_is_not_ended() {
    for owner in ["ada", "bob"] {
        for write in [Write::Unsent, Write::Lost] {
            let world = World::new();
            let token = world.begin().await;
            let request = hold(&world, Some(token.clone()), write, |session| session.sign_in("ada")).await;
            let new = world.send(&token, move |session| async move { session.sign_in(owner) }).await.token();
            request.finish().await.assert_silent(StatusCode::CONFLICT);
            assert_eq!(world.opens(&new).await.unwrap().owner.as_deref(), Some(owner), "{write:?}");
        }
    }
}

/// After ours was written, by requests that had loaded the session before.
#[tokio::test]
async fn what_other_sign_ins_made_of_one_that_was_given_up_is_ended_if_it_is_the_same_session() {
    for (owner, is_the_same) in [("ada", true), ("bob", false)] {
        let world = World::new();
        let token = world.begin().await;
        let other = world
            .hold(&token, move |session, gate| async move {
                gate.wait().await;
                session.sign_in(owner)
            })
            .await;
        let request = hold(&world, Some(token.clone()), Write::Made, |session| session.sign_in("ada")).await;
        let new = other.finish().await.token();
        assert_eq!(session_of(&new) == session_of(&token), is_the_same);
        assert!(request.finish().await.assert_ok().is_removal());
        assert_eq!(world.is_live(&new).await, !is_the_same);
        assert_eq!(world.memory.len(), usize::from(!is_the_same));
    }
}

/// The visitor's session was ada's by the time bob's sign-in was to be written, so that it began one of its own.
#[tokio::test]
async fn a_session_begun_instead_of_anothers_is_ended_though_that_one_may_not_be() {
    let world = World::new();
    let token = world.begin().await;
    let faults = world.clone();
    let request = world
        .hold(&token, |session, gate| async move {
            session.sign_in("bob")?;
            gate.wait().await;
            give_up(&session, &faults.faults.hold_after(Op::Set, 2)).await;
            session.sign_out()
        })
        .await;
    let new = world.send(&token, |session| async move { session.sign_in("ada") }).await.token();
    request.finish().await.assert_silent(StatusCode::CONFLICT);
    assert_eq!(world.opens(&new).await.unwrap().owner.as_deref(), Some("ada"));
    assert_eq!(world.memory.len(), 1);
}
