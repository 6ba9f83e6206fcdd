//! Clients that go away and handlers that stop waiting, at every point where a request can wait: the session is as it
//! was or as it was to become, and what is acknowledged is there once.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use futures_util::future::{BoxFuture, FutureExt};
use http::StatusCode;
use sessile::{Error, Session};
use support::race::{Answer, MINUTE, NOBODY, World};
use support::store::{Fault, Op};

/// Polls a future at most so often; `None` if it is not ready by then.
fn poll_times<F: Future + Unpin>(future: &mut F, times: usize) -> Option<F::Output> {
    let mut context = Context::from_waker(Waker::noop());
    (0..times).find_map(|_| match future.poll_unpin(&mut context) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    })
}

/// More polls than any request here takes.
const ENOUGH: usize = 200;

/// Runs one kind of request again and again, each time in a fresh world, and drops it after its first poll, its second,
/// and so on until it completes; `check` sees what it has left, and says whether it took effect.
///
/// In each run the effect must be all or nothing; it cannot go back once it is there, and it must be there at the end.
async fn drop_at_each_poll<P, C>(prepare: P, work: Work, check: C)
where
    P: AsyncFn(&World) -> String,
    C: AsyncFn(&World, &str, Option<Answer>) -> bool,
{
    let (mut effects, mut done) = (Vec::new(), false);
    for polls in 0..ENOUGH {
        let world = World::new();
        let token = prepare(&world).await;
        world.faults.pend(2);
        let mut request = world.call(&token, work);
        let answer = poll_times(&mut request, polls);
        drop(request);
        world.faults.heal();
        done = answer.is_some();
        effects.push(check(&world, &token, answer).await);
        // The session can be used as if nothing had been, where it is there.
        if world.is_live(&token).await {
            world.insert(&token, "later", 1).await.assert_silent(StatusCode::OK);
            assert_eq!(world.read::<u32>(&token, "later").await, Some(1));
        }
        if done {
            break;
        }
    }
    assert!(done, "the request never completes");
    assert!(effects.len() > 4, "it was dropped at {} points only", effects.len());
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
#[tokio::test]
async fn a_write_that_is_dropped_anywhere_is_made_whole_or_not_at_all() {
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
            between => panic!("in between: {between:?}"),
        }
    })
    .await;
}

#[tokio::test]
async fn a_commit_of_the_handlers_own_that_is_dropped_anywhere_is_made_whole_or_not_at_all() {
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
            between => panic!("in between: {between:?}"),
        }
    })
    .await;
}

#[tokio::test]
async fn a_sign_out_that_is_dropped_anywhere_ends_the_session_or_does_not() {
    let work: Work = |session| Box::pin(async move { session.sign_out() });
    drop_at_each_poll(begin, work, async |world, token, _| !world.is_live(token).await).await;
    drop_at_each_poll(
        async |world: &World| world.begin_signed_in("ada").await,
        work,
        async |world: &World, token: &str, _| {
            let live = world.is_live(token).await;
            assert_eq!(world.memory.len(), usize::from(live));
            !live
        },
    )
    .await;
}

// guarantee: 12
#[tokio::test]
async fn a_sign_in_that_is_dropped_anywhere_takes_place_or_does_not() {
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
                assert!(world.is_live(token).await, "signed out by a sign-in that did not take place");
                false
            }
            (Some("ada"), "start n secret") => {
                assert!(!world.is_live(token).await, "the old token works on");
                if let Some(answer) = answer {
                    assert!(world.is_live(&answer.token()).await);
                }
                true
            }
            between => panic!("in between: {between:?}"),
        }
    })
    .await;
}

#[tokio::test]
async fn a_touch_that_is_dropped_anywhere_harms_nothing() {
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
#[tokio::test]
async fn a_creation_that_is_dropped_anywhere_leaves_one_session_at_most() {
    for polls in 0..ENOUGH {
        let world = World::new();
        world.faults.pend(2);
        let mut request = world.call(NOBODY, |session| async move {
            session.insert("a", &1)?;
            session.insert("b", &1)
        });
        let answer = poll_times(&mut request, polls);
        drop(request);
        world.faults.heal();
        assert!(world.memory.len() <= 1);
        if let Some(answer) = answer {
            assert_eq!(world.opens(&answer.token()).await.unwrap().keys, ["a", "b"]);
            return;
        }
    }
    panic!("the request never completes");
}

/// A handler that polls its commit so often and no more, writes once again, and answers with success.
async fn give_up_after(world: &World, token: Option<String>, polls: usize) -> (Answer, bool) {
    let committed = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&committed);
    world.faults.pend(2);
    let answer = world
        .send(token, move |session| async move {
            session.update("n", |n: &mut u32| *n += 1)?;
            session.insert("before", &1)?;
            {
                let mut commit = Box::pin(session.commit());
                noted.store(poll_times(&mut commit, polls).is_some(), Ordering::SeqCst);
            }
            session.insert("after", &1)?;
            session.update("n", |n: &mut u32| *n += 10)
        })
        .await;
    world.faults.heal();
    (answer, committed.load(Ordering::SeqCst))
}

#[tokio::test]
async fn a_commit_that_its_handler_stops_waiting_for_takes_effect_once_with_the_response() {
    for polls in 0..ENOUGH {
        let world = World::new();
        let token = world.begin().await;
        let (answer, committed) = give_up_after(&world, Some(token.clone()), polls).await;
        answer.assert_silent(StatusCode::OK);
        assert_eq!(world.read::<u32>(&token, "n").await, Some(11), "given up after {polls} polls");
        assert_eq!(world.read::<u32>(&token, "before").await, Some(1), "given up after {polls} polls");
        assert_eq!(world.read::<u32>(&token, "after").await, Some(1), "given up after {polls} polls");
        if committed {
            return;
        }
    }
    panic!("the commit never completes");
}

#[tokio::test]
async fn a_creation_that_its_handler_stops_waiting_for_takes_effect_once_or_is_a_503() {
    let mut created = 0;
    for polls in 0..ENOUGH {
        let world = World::new();
        let (answer, committed) = give_up_after(&world, NOBODY, polls).await;
        if answer.status == StatusCode::OK {
            created += 1;
            let token = answer.token();
            assert_eq!(world.read::<u32>(&token, "n").await, Some(11), "given up after {polls} polls");
            assert_eq!(world.opens(&token).await.unwrap().keys.len(), 3, "given up after {polls} polls");
            assert_eq!(world.memory.len(), 1);
        } else {
            answer.assert_silent(StatusCode::SERVICE_UNAVAILABLE);
            assert!(world.memory.is_empty(), "given up after {polls} polls");
        }
        if committed {
            assert!(created > 1);
            return;
        }
    }
    panic!("the commit never completes");
}

#[tokio::test]
async fn a_commit_that_is_given_up_while_others_commit_takes_effect_once() {
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

#[tokio::test]
async fn a_sign_out_that_its_handler_stops_waiting_for_ends_the_session_with_the_response() {
    for signed_in in [false, true] {
        for polls in 0..ENOUGH {
            let world = World::new();
            let token = if signed_in { world.begin_signed_in("ada").await } else { world.begin().await };
            world.faults.pend(2);
            let done = Arc::new(AtomicBool::new(false));
            let noted = Arc::clone(&done);
            let answer = world
                .send(&token, move |session| async move {
                    session.sign_out()?;
                    let mut commit = Box::pin(session.commit());
                    noted.store(poll_times(&mut commit, polls).is_some(), Ordering::SeqCst);
                    Ok(())
                })
                .await;
            world.faults.heal();
            assert!(answer.assert_ok().is_removal(), "given up after {polls} polls");
            assert!(world.memory.is_empty(), "given up after {polls} polls");
            if done.load(Ordering::SeqCst) {
                break;
            }
            assert!(polls + 1 < ENOUGH, "the commit never completes");
        }
    }
}

#[tokio::test]
async fn a_commit_given_up_and_then_ended_by_its_handler_leaves_no_session() {
    for polls in 0..20 {
        let world = World::new();
        world.faults.pend(2);
        let answer = world
            .send(NOBODY, move |session| async move {
                session.insert("a", &1)?;
                {
                    let mut commit = Box::pin(session.commit());
                    let _ = poll_times(&mut commit, polls);
                }
                session.sign_out()
            })
            .await;
        world.faults.heal();
        assert_eq!(answer.assert_ok().given(), None, "given up after {polls} polls");
        assert!(world.memory.is_empty(), "given up after {polls} polls");
    }
}

#[tokio::test]
async fn a_commit_given_up_after_its_handler_has_ended_the_session_leaves_none() {
    for polls in 0..20 {
        for signs_in in [false, true] {
            let world = World::new();
            world.faults.pend(2);
            let answer = world
                .send(NOBODY, move |session| async move {
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
            assert_eq!(answer.assert_ok().given(), None, "given up after {polls} polls");
            assert!(world.memory.is_empty(), "given up after {polls} polls");
        }
    }
}

#[tokio::test]
async fn a_detached_commit_that_was_given_up_is_not_made_twice_however_many_others_come_between() {
    for others in [0_u32, 3, 7, 9, 12] {
        let world = World::new();
        let token = world.begin().await;
        let place = Arc::new(std::sync::Mutex::new(None));
        let kept = Arc::clone(&place);
        // Detached from a request that has something to write, so that it finds its session when it first commits.
        let answer = world.send(&token, move |session| async move {
            session.insert("parent", &1)?;
            *kept.lock().unwrap() = Some(session.detach());
            Ok(())
        });
        answer.await.assert_ok();
        let detached = place.lock().unwrap().take().unwrap();
        detached.update("n", |n: &mut u32| *n += 1).unwrap();
        let gate = world.faults.hold_after(Op::Set, 1);
        {
            let mut commit = Box::pin(detached.commit());
            assert!(poll_times(&mut commit, 3).is_none(), "the answer is on its way");
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

#[tokio::test]
async fn a_load_that_is_given_up_is_begun_again() {
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

#[tokio::test]
async fn a_commit_that_is_given_up_and_whose_answer_is_lost_takes_effect_once() {
    for fault in [Fault::Before, Fault::After, Fault::Late] {
        for polls in 0..40 {
            let world = World::new();
            let token = world.begin().await;
            world.faults.fail(Op::Set, 1, fault);
            let (answer, _) = give_up_after(&world, Some(token.clone()), polls).await;
            answer.assert_silent(StatusCode::OK);
            assert_eq!(world.read::<u32>(&token, "n").await, Some(11), "{fault:?}, {polls} polls");
        }
    }
}

/// It came with a token that the other rotation has retired.
// guarantee: 3
#[tokio::test]
async fn a_rotation_after_a_commit_that_was_given_up_does_not_undo_one_that_came_between() {
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
        assert!(world.is_live(&rotated).await, "given up after {polls} polls");
        assert_eq!(world.read::<u32>(&rotated, "n").await, Some(1), "given up after {polls} polls");
    }
}
