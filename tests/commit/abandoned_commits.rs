//! Sign-outs after an abandoned commit: the session that the commit produced ends, and a session that another request
//! produced meanwhile does not.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use http::StatusCode;
use sessile::event::EventKind;
use sessile::{Error, ErrorKind, Session};
use support::client::session_of;
use support::race::{Answer, Held, NO_TOKEN, World};
use support::store::{Fault, Gate, Op};

/// The stage of a commit's `set` call when the handler abandons the commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Not sent.
    Unsent,
    /// Not applied, and reported as failed.
    Lost,
    /// Applied, with the result pending.
    Applied,
    /// Reported as failed, and applied before the next `set`.
    Late,
}

impl Stage {
    const ALL: [Self; 4] = [Self::Unsent, Self::Lost, Self::Applied, Self::Late];

    /// Returns the gate at which the next commit of a loaded session is abandoned.
    fn plan(self, world: &World) -> Gate {
        match self {
            Self::Unsent => world.faults.hold_before(Op::Set, 1),
            Self::Applied => world.faults.hold_after(Op::Set, 1),
            Self::Lost | Self::Late => {
                world.faults.fail(Op::Set, 1, if self == Self::Lost { Fault::Before } else { Fault::Late });
                world.faults.hold_before(Op::Get, 1)
            }
        }
    }
}

async fn abandon_commit(session: &Session, gate: &Gate) {
    tokio::select! {
        biased;
        done = session.commit() => panic!("the commit completed: {done:?}"),
        () = gate.reached() => {}
    }
}

/// Sends a request whose handler runs `act`, abandons the commit, waits at the gate and signs out.
async fn hold(world: &World, token: Option<String>, stage: Stage, act: fn(&Session) -> Result<(), Error>) -> Held {
    let faults = world.clone();
    world
        .hold(token, move |session, gate| async move {
            act(&session)?;
            let gate_of_commit = stage.plan(&faults);
            abandon_commit(&session, &gate_of_commit).await;
            gate.wait().await;
            session.sign_out()
        })
        .await
}

#[track_caller]
fn assert_ended(world: &World, answer: &Answer, stage: Stage) {
    assert!(answer.assert_ok().is_removal(), "{stage:?}: {answer:?}");
    assert_eq!(world.live_sessions(), 0, "{stage:?}");
    assert_eq!(world.events.count(EventKind::Ended), 1, "{stage:?}");
}

// guarantee: 2
/// The handler abandons a sign-in's commit at four stages and signs out; the session ends and the cookie is removed, with one event.
#[tokio::test]
async fn sign_out_after_an_abandoned_sign_in_ends_the_session() {
    for stage in Stage::ALL {
        let world = World::new();
        let token = world.begin().await;
        let request = hold(&world, Some(token), stage, |session| session.sign_in("ada")).await;
        assert_ended(&world, &request.finish().await, stage);
    }
}

/// A sign-in is applied but reported as failed; the sign-out ends the session, and the 503 removes the cookie.
#[tokio::test]
async fn sign_out_after_a_failed_but_applied_sign_in_ends_it() {
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
    assert_eq!(world.live_sessions(), 0);
}

/// The handler abandons a rotation's commit at four stages and signs out; no session is left.
#[tokio::test]
async fn sign_out_after_an_abandoned_rotation_ends_the_session() {
    for stage in Stage::ALL {
        for signed_in in [false, true] {
            let world = World::new();
            let token = if signed_in { world.begin_signed_in("ada").await } else { world.begin().await };
            let request = hold(&world, Some(token), stage, Session::rotate).await;
            assert_ended(&world, &request.finish().await, stage);
        }
    }
}

/// The handler abandons a creating commit before or after it is applied and signs out; no cookie and no session.
#[tokio::test]
async fn sign_out_after_an_abandoned_creation_leaves_no_session() {
    let acts: [fn(&Session) -> _; 2] = [|session| session.insert("key", &1), |session| session.sign_in("ada")];
    for stage in [Stage::Unsent, Stage::Applied] {
        for act in acts {
            let world = World::new();
            let request = hold(&world, NO_TOKEN, stage, act).await;
            request.finish().await.assert_silent(StatusCode::OK);
            assert_eq!(world.live_sessions(), 0, "{stage:?}");
        }
    }
}

/// Ada's sign-in is abandoned at four stages and Bob signs in; only Bob's session remains, empty and under a new id.
#[tokio::test]
async fn another_owners_sign_in_replaces_an_abandoned_sign_in() {
    for stage in Stage::ALL {
        let world = World::new();
        let token = world.begin().await;
        let faults = world.clone();
        let answer = world
            .send(&token, move |session| async move {
                session.sign_in("ada")?;
                abandon_commit(&session, &stage.plan(&faults)).await;
                session.sign_in("bob")
            })
            .await;
        let opened = world.opens(&answer.assert_ok().token()).await.unwrap();
        assert_eq!((opened.owner.as_deref(), opened.keys), (Some("bob"), Vec::new()), "{stage:?}");
        assert_ne!(opened.id, session_of(&token));
        assert_eq!(world.live_sessions(), 1, "{stage:?}");
    }
}

/// The handler signs out while its applied commit is pending, then drops or awaits it; the session ends and the cookie is removed.
#[tokio::test]
async fn sign_out_during_a_pending_commit_ends_the_session() {
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
                        done = &mut commit => panic!("the commit completed: {done:?}"),
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
            assert_ended(&world, &answer, Stage::Applied);
        }
    }
}

// guarantee: 14
/// Another request signs in first; the sign-out of the abandoned sign-in answers 409, and the other session stays live.
#[tokio::test]
async fn abandoned_sign_in_does_not_end_another_requests_sign_in() {
    for owner in ["ada", "bob"] {
        for stage in [Stage::Unsent, Stage::Lost] {
            let world = World::new();
            let token = world.begin().await;
            let request = hold(&world, Some(token.clone()), stage, |session| session.sign_in("ada")).await;
            let new = world.send(&token, move |session| async move { session.sign_in(owner) }).await.token();
            request.finish().await.assert_silent(StatusCode::CONFLICT);
            assert_eq!(world.opens(&new).await.unwrap().owner.as_deref(), Some(owner), "{stage:?}");
        }
    }
}

/// A concurrent sign-in of the same owner ends too; a sign-in of another owner has a new session, which stays live.
#[tokio::test]
async fn sign_out_after_abandoned_sign_in_ends_only_that_session() {
    for (owner, is_the_same) in [("ada", true), ("bob", false)] {
        let world = World::new();
        let token = world.begin().await;
        let other = world
            .hold(&token, move |session, gate| async move {
                gate.wait().await;
                session.sign_in(owner)
            })
            .await;
        let request = hold(&world, Some(token.clone()), Stage::Applied, |session| session.sign_in("ada")).await;
        let new = other.finish().await.token();
        assert_eq!(session_of(&new) == session_of(&token), is_the_same);
        assert!(request.finish().await.assert_ok().is_removal());
        assert_eq!(world.is_live(&new).await, !is_the_same);
        assert_eq!(world.live_sessions(), usize::from(!is_the_same));
    }
}

/// Ada signs in first, so Bob's abandoned sign-in creates a session; the sign-out ends that one, not Ada's.
#[tokio::test]
async fn sign_out_ends_only_the_session_of_its_own_sign_in() {
    let world = World::new();
    let token = world.begin().await;
    let faults = world.clone();
    let request = world
        .hold(&token, |session, gate| async move {
            session.sign_in("bob")?;
            gate.wait().await;
            abandon_commit(&session, &faults.faults.hold_after(Op::Set, 2)).await;
            session.sign_out()
        })
        .await;
    let new = world.send(&token, |session| async move { session.sign_in("ada") }).await.token();
    request.finish().await.assert_silent(StatusCode::CONFLICT);
    assert_eq!(world.opens(&new).await.unwrap().owner.as_deref(), Some("ada"));
    assert_eq!(world.live_sessions(), 1);
}
