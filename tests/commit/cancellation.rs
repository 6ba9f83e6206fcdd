//! Requests and commits that are dropped at every await point: a session is unchanged or completely changed, and an
//! acknowledged change takes effect once.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use futures_util::future::{BoxFuture, FutureExt};
use http::StatusCode;
use sessile::event::EventKind;
use sessile::{Error, Session};
use support::race::{Answer, MINUTE, NO_TOKEN, World};
use support::store::{Fault, Op};

/// Polls a future at most `times` times; returns `None` if it is still pending.
fn poll_times<F: Future + Unpin>(future: &mut F, times: usize) -> Option<F::Output> {
    let mut context = Context::from_waker(Waker::noop());
    (0..times).find_map(|_| match future.poll_unpin(&mut context) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    })
}

/// More polls than any request in this file needs.
const MAX_POLLS: usize = 200;

/// Runs a request in new worlds and drops it after 0, 1, 2, … polls until it completes.
///
/// `check` inspects each world, panics at a partial effect and returns whether the request took effect. With more polls,
/// an effect must not disappear, and the completed request must have it.
async fn drop_at_each_poll<P, C>(prepare: P, work: Work, check: C)
where
    P: AsyncFn(&World) -> String,
    C: AsyncFn(&World, &str, Option<Answer>) -> bool,
{
    let (mut effects, mut done) = (Vec::new(), false);
    for polls in 0..MAX_POLLS {
        let world = World::new();
        let token = prepare(&world).await;
        world.faults.pend(2);
        let mut request = world.call(&token, work);
        let answer = poll_times(&mut request, polls);
        drop(request);
        world.faults.heal();
        done = answer.is_some();
        effects.push(check(&world, &token, answer).await);
        // A live session must work as before.
        if world.is_live(&token).await {
            world.insert(&token, "later", 1).await.assert_silent(StatusCode::OK);
            assert_eq!(world.read::<u32>(&token, "later").await, Some(1));
        }
        if done {
            break;
        }
    }
    assert!(done, "the request never completes");
    assert!(effects.len() > 4, "the request was dropped at only {} points", effects.len());
    assert!(effects.is_sorted(), "{effects:?}");
    assert_eq!((effects.first(), effects.last()), (Some(&false), Some(&true)));
}

type Work = fn(Session) -> BoxFuture<'static, Result<(), Error>>;

async fn begin(world: &World) -> String {
    let token = world.begin().await;
    world.insert(&token, "n", 1_u32).await.assert_ok();
    token
}

// guarantee: 12
/// A request with an insert, a remove and an update is dropped at each poll; no partial commit is ever stored.
#[tokio::test]
async fn dropped_request_commits_all_its_writes_or_none() {
    let work: Work = |session| {
        Box::pin(async move {
            session.insert("a", &1)?;
            session.remove("start")?;
            session.update("n", |n: &mut u32| *n += 1)
        })
    };
    drop_at_each_poll(begin, work, async |world, token, _| {
        let keys = world.opens(token).await.unwrap().keys;
        let n = world.read::<u32>(token, "n").await.unwrap();
        match (keys.join(" ").as_str(), n) {
            ("start n", 1) => false,
            ("n a", 2) => true,
            partial => panic!("partial effect: {partial:?}"),
        }
    })
    .await;
}

/// A request that commits in its handler is dropped at each poll; no partial commit is ever stored.
#[tokio::test]
async fn dropped_update_now_commits_all_writes_or_none() {
    let work: Work = |session| {
        Box::pin(async move {
            session.insert("a", &1)?;
            session.update_now("n", |n: &mut u32| *n += 1).await
        })
    };
    drop_at_each_poll(begin, work, async |world, token, _| {
        let keys = world.opens(token).await.unwrap().keys;
        let n = world.read::<u32>(token, "n").await.unwrap();
        match (keys.join(" ").as_str(), n) {
            ("start n", 1) => false,
            ("start n a", 2) => true,
            partial => panic!("partial effect: {partial:?}"),
        }
    })
    .await;
}

/// An anonymous or signed-in sign-out is dropped at each poll; no session is half ended.
#[tokio::test]
async fn dropped_sign_out_ends_session_or_leaves_it_live() {
    let work: Work = |session| Box::pin(async move { session.sign_out() });
    drop_at_each_poll(begin, work, async |world, token, _| !world.is_live(token).await).await;
    drop_at_each_poll(
        async |world: &World| world.begin_signed_in("ada").await,
        work,
        async |world: &World, token: &str, _| {
            let live = world.is_live(token).await;
            assert_eq!(world.live_sessions(), usize::from(live));
            !live
        },
    )
    .await;
}

// guarantee: 12
/// A sign-in with an insert is dropped at each poll; owner, value and token rotation change together.
#[tokio::test]
async fn dropped_sign_in_applies_completely_or_not_at_all() {
    let work: Work = |session| {
        Box::pin(async move {
            session.sign_in("ada")?;
            session.insert("secret", &1)
        })
    };
    drop_at_each_poll(begin, work, async |world, token, answer| {
        let stored = world.quiet().find_by_id(&support::client::session_of(token)).await.unwrap().unwrap();
        let keys = stored.keys();
        match (stored.owner(), keys.join(" ").as_str()) {
            (None, "start n") => {
                assert!(world.is_live(token).await, "the sign-in did not apply, so the token must work");
                false
            }
            (Some("ada"), "start n secret") => {
                assert!(!world.is_live(token).await, "the sign-in must retire the old token");
                if let Some(answer) = answer {
                    assert!(world.is_live(&answer.token()).await);
                }
                true
            }
            partial => panic!("partial effect: {partial:?}"),
        }
    })
    .await;
}

/// A read with a due touch is dropped at each of 20 polls; the session stays live with its keys.
#[tokio::test]
async fn dropped_touch_leaves_session_intact() {
    for polls in 0..20 {
        let world = World::new();
        let token = world.begin().await;
        world.advance(30 * MINUTE);
        world.faults.pend(1);
        let mut request = world.call(&token, |session| async move { session.get::<bool>("start").map(|_| ()) });
        poll_times(&mut request, polls);
        drop(request);
        world.faults.heal();
        assert_eq!(world.opens(&token).await.unwrap().keys, ["start"]);
    }
}

// guarantee: 12
/// A request that creates a session is dropped at each poll; a completed request's token opens both keys.
#[tokio::test]
async fn dropped_creation_leaves_at_most_one_session() {
    for polls in 0..MAX_POLLS {
        let world = World::new();
        world.faults.pend(2);
        let mut request = world.call(NO_TOKEN, |session| async move {
            session.insert("a", &1)?;
            session.insert("b", &1)
        });
        let answer = poll_times(&mut request, polls);
        drop(request);
        world.faults.heal();
        assert!(world.live_sessions() <= 1);
        if let Some(answer) = answer {
            assert_eq!(world.opens(&answer.token()).await.unwrap().keys, ["a", "b"]);
            return;
        }
    }
    panic!("the request never completes");
}

/// Sends a request that polls its commit `polls` times, drops it, writes again and succeeds.
async fn abandon_after(world: &World, token: Option<String>, polls: usize) -> (Answer, bool) {
    let committed = Arc::new(AtomicBool::new(false));
    let completed = Arc::clone(&committed);
    world.faults.pend(2);
    let answer = world
        .send(token, move |session| async move {
            session.update("n", |n: &mut u32| *n += 1)?;
            session.insert("before", &1)?;
            {
                let mut commit = Box::pin(session.commit());
                completed.store(poll_times(&mut commit, polls).is_some(), Ordering::SeqCst);
            }
            session.insert("after", &1)?;
            session.update("n", |n: &mut u32| *n += 10)
        })
        .await;
    world.faults.heal();
    (answer, committed.load(Ordering::SeqCst))
}

/// The handler drops its commit after each number of polls; the response commits every change exactly once.
#[tokio::test]
async fn abandoned_commit_takes_effect_once_with_response() {
    for polls in 0..MAX_POLLS {
        let world = World::new();
        let token = world.begin().await;
        let (answer, committed) = abandon_after(&world, Some(token.clone()), polls).await;
        answer.assert_silent(StatusCode::OK);
        assert_eq!(world.read::<u32>(&token, "n").await, Some(11), "abandoned after {polls} polls");
        assert_eq!(world.read::<u32>(&token, "before").await, Some(1), "abandoned after {polls} polls");
        assert_eq!(world.read::<u32>(&token, "after").await, Some(1), "abandoned after {polls} polls");
        if committed {
            return;
        }
    }
    panic!("the commit never completes");
}

/// The creating commit is dropped after each number of polls; the client gets one complete session, or 503 and none.
#[tokio::test]
async fn abandoned_creation_takes_effect_once_or_fails_with_503() {
    let mut created = 0;
    for polls in 0..MAX_POLLS {
        let world = World::new();
        let (answer, committed) = abandon_after(&world, NO_TOKEN, polls).await;
        if answer.status == StatusCode::OK {
            created += 1;
            let token = answer.token();
            assert_eq!(world.read::<u32>(&token, "n").await, Some(11), "abandoned after {polls} polls");
            assert_eq!(world.opens(&token).await.unwrap().keys.len(), 3, "abandoned after {polls} polls");
            assert_eq!(world.live_sessions(), 1);
        } else {
            answer.assert_silent(StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(world.live_sessions(), 0, "abandoned after {polls} polls");
        }
        if committed {
            assert!(created > 1);
            return;
        }
    }
    panic!("the commit never completes");
}

/// Up to seven other commits follow the abandoned commit before the response; the increment counts once.
#[tokio::test]
async fn abandoned_commit_takes_effect_once_despite_other_commits() {
    for polls in 1..40 {
        for others in 0..=7_u32 {
            let world = World::new();
            let token = world.begin().await;
            world.faults.pend(2);
            let slow = world
                .hold(&token, move |session, gate| async move {
                    session.update("n", |n: &mut u32| *n += 1)?;
                    {
                        let mut commit = Box::pin(session.commit());
                        let _ = poll_times(&mut commit, polls);
                    }
                    gate.wait().await;
                    Ok(())
                })
                .await;
            world.faults.heal();
            for other in 0..others {
                world.insert(&token, "other", other).await.assert_ok();
            }
            slow.finish().await.assert_ok();
            assert_eq!(world.read::<u32>(&token, "n").await, Some(1), "{polls} polls, {others} others");
        }
    }
}

/// The handler drops the sign-out's commit after each number of polls; the response ends the session and removes the cookie.
#[tokio::test]
async fn abandoned_sign_out_ends_session_with_response() {
    for signed_in in [false, true] {
        for polls in 0..MAX_POLLS {
            let world = World::new();
            let token = if signed_in { world.begin_signed_in("ada").await } else { world.begin().await };
            world.faults.pend(2);
            let done = Arc::new(AtomicBool::new(false));
            let completed = Arc::clone(&done);
            let answer = world
                .send(&token, move |session| async move {
                    session.sign_out()?;
                    let mut commit = Box::pin(session.commit());
                    completed.store(poll_times(&mut commit, polls).is_some(), Ordering::SeqCst);
                    Ok(())
                })
                .await;
            world.faults.heal();
            assert!(answer.assert_ok().is_removal(), "abandoned after {polls} polls");
            assert_eq!(world.live_sessions(), 0, "abandoned after {polls} polls");
            if done.load(Ordering::SeqCst) {
                break;
            }
            assert!(polls + 1 < MAX_POLLS, "the commit never completes");
        }
    }
}

// guarantee: 2
/// The mark's `set` fails before or after it is applied, or late, and the handler drops the commit: the response ends it.
#[tokio::test]
async fn abandoned_sign_out_with_store_fault_ends_the_session() {
    for fault in [Fault::Before, Fault::After, Fault::Late] {
        for polls in 0..40 {
            for signed_in in [false, true] {
                let world = World::new();
                let token = if signed_in { world.begin_signed_in("ada").await } else { world.begin().await };
                world.faults.fail(Op::Set, 1, fault);
                world.faults.pend(2);
                let answer = world.send(&token, move |session| async move {
                    session.sign_out()?;
                    let mut commit = Box::pin(session.commit());
                    let _ = poll_times(&mut commit, polls);
                    Ok(())
                });
                let answer = answer.await;
                world.faults.heal();
                assert!(answer.assert_ok().is_removal(), "{fault:?}, {polls} polls");
                assert_eq!(world.live_sessions(), 0, "{fault:?}, {polls} polls");
                assert_eq!(world.events.count(EventKind::Ended), 1, "{fault:?}, {polls} polls");
            }
        }
    }
}

// guarantee: 2
/// `end` and `end_if_owned_by` are dropped at each poll: the session is live or ended, and a second call ends the rest.
#[tokio::test]
async fn dropped_end_outside_a_request_ends_or_leaves_live() {
    for fault in [None, Some(Fault::Before), Some(Fault::After), Some(Fault::Late)] {
        for checks_owner in [false, true] {
            for polls in 0..MAX_POLLS {
                let world = World::new();
                let token = world.begin_signed_in("ada").await;
                let (sessions, id) = (world.sessions(), support::client::session_of(&token));
                world.faults.pend(2);
                if let Some(fault) = fault {
                    world.faults.fail(Op::Set, 1, fault);
                }
                let end = async || {
                    if checks_owner { sessions.end_if_owned_by(&id, "ada").await } else { sessions.end(&id).await }
                };
                let done = poll_times(&mut Box::pin(end()), polls);
                world.faults.heal();
                let live = world.is_live(&token).await;
                assert_eq!(world.live_sessions(), usize::from(live));
                let is_ended_now = end().await.unwrap();
                // The first call's write may arrive only now.
                assert!(is_ended_now == live || fault == Some(Fault::Late), "{fault:?}, {polls} polls");
                assert!(!world.is_live(&token).await);
                if let Some(done) = done {
                    assert!(done.unwrap() && !live);
                    break;
                }
                assert!(polls + 1 < MAX_POLLS, "the end never completes");
            }
        }
    }
}

/// The handler drops the creating commit after up to 19 polls and signs out; no cookie and no session remain.
#[tokio::test]
async fn sign_out_after_abandoned_creation_leaves_no_session() {
    for polls in 0..20 {
        let world = World::new();
        world.faults.pend(2);
        let answer = world
            .send(NO_TOKEN, move |session| async move {
                session.insert("a", &1)?;
                {
                    let mut commit = Box::pin(session.commit());
                    let _ = poll_times(&mut commit, polls);
                }
                session.sign_out()
            })
            .await;
        world.faults.heal();
        assert_eq!(answer.assert_ok().new_token(), None, "abandoned after {polls} polls");
        assert_eq!(world.live_sessions(), 0, "abandoned after {polls} polls");
    }
}

/// The handler signs out while the creating commit is pending, then drops the commit; no cookie and no session remain.
#[tokio::test]
async fn sign_out_during_abandoned_creation_leaves_no_session() {
    for polls in 0..20 {
        for signs_in in [false, true] {
            let world = World::new();
            world.faults.pend(2);
            let answer = world
                .send(NO_TOKEN, move |session| async move {
                    if signs_in {
                        session.sign_in("ada")?
                    } else {
                        session.insert("a", &1)?
                    }
                    let mut commit = Box::pin(session.commit());
                    let _ = poll_times(&mut commit, polls);
                    session.sign_out()?;
                    drop(commit);
                    Ok(())
                })
                .await;
            world.faults.heal();
            assert_eq!(answer.assert_ok().new_token(), None, "abandoned after {polls} polls");
            assert_eq!(world.live_sessions(), 0, "abandoned after {polls} polls");
        }
    }
}

/// An applied commit is dropped, up to 12 others follow, and it is retried; the increment counts once.
#[tokio::test]
async fn abandoned_detached_commit_is_never_applied_twice() {
    for others in [0_u32, 3, 7, 9, 12] {
        let world = World::new();
        let token = world.begin().await;
        let place = Arc::new(std::sync::Mutex::new(None));
        let slot = Arc::clone(&place);
        // The request writes too, so that the detached session looks for its session at its first commit.
        let answer = world.send(&token, move |session| async move {
            session.insert("parent", &1)?;
            *slot.lock().unwrap() = Some(session.detach());
            Ok(())
        });
        answer.await.assert_ok();
        let detached = place.lock().unwrap().take().unwrap();
        detached.update("n", |n: &mut u32| *n += 1).unwrap();
        let gate = world.faults.hold_after(Op::Set, 1);
        {
            let mut commit = Box::pin(detached.commit());
            assert!(poll_times(&mut commit, 3).is_none(), "the store's reply is pending");
            gate.reached().await;
        }
        for other in 0..others {
            world.insert(&token, "other", other).await.assert_ok();
        }
        let committed = detached.commit().await;
        assert_eq!(world.read::<u32>(&token, "n").await, Some(1), "after {others} others");
        assert!(committed.is_ok() || others >= 8, "{committed:?} after {others} others");
    }
}

/// The handler drops four loads at different polls; the next load succeeds and its write commits.
#[tokio::test]
async fn abandoned_load_is_started_again() {
    let world = World::new();
    let token = world.begin().await;
    world.faults.pend(3);
    let answer = world
        .send_unloaded(&token, |handle| async move {
            for polls in 0..4 {
                let mut load = Box::pin(handle.load());
                assert!(poll_times(&mut load, polls).is_none());
            }
            handle.load().await?.insert("n", &1)
        })
        .await;
    answer.assert_silent(StatusCode::OK);
    world.faults.heal();
    assert_eq!(world.opens(&token).await.unwrap().keys, ["start", "n"]);
}

/// The store fails before or after the write, or applies it late; the abandoned commit's increment counts once.
#[tokio::test]
async fn abandoned_commit_with_store_fault_takes_effect_once() {
    for fault in [Fault::Before, Fault::After, Fault::Late] {
        for polls in 0..40 {
            let world = World::new();
            let token = world.begin().await;
            world.faults.fail(Op::Set, 1, fault);
            let (answer, _) = abandon_after(&world, Some(token.clone()), polls).await;
            answer.assert_silent(StatusCode::OK);
            assert_eq!(world.read::<u32>(&token, "n").await, Some(11), "{fault:?}, {polls} polls");
        }
    }
}

// guarantee: 3
/// Another request rotates first; the later rotation under the retired token is dropped, and its update still commits.
#[tokio::test]
async fn rotation_after_abandoned_commit_keeps_concurrent_rotation() {
    for polls in 1..40 {
        let world = World::new();
        let token = world.begin().await;
        world.faults.pend(2);
        let slow = world
            .hold(&token, move |session, gate| async move {
                session.update("n", |n: &mut u32| *n += 1)?;
                {
                    let mut commit = Box::pin(session.commit());
                    let _ = poll_times(&mut commit, polls);
                }
                session.rotate()?;
                gate.wait().await;
                Ok(())
            })
            .await;
        world.faults.heal();
        let rotated = world.send(&token, |session| async move { session.rotate() }).await.token();
        slow.finish().await.assert_silent(StatusCode::OK);
        assert!(world.is_live(&rotated).await, "abandoned after {polls} polls");
        assert_eq!(world.read::<u32>(&rotated, "n").await, Some(1), "abandoned after {polls} polls");
    }
}
