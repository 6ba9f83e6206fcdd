//! Session end: no concurrent request restores an ended session.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::sync::{Arc, Mutex};

use futures_util::future::join;
use http::StatusCode;
use sessile::event::EventKind;
use sessile::{ErrorKind, Lifetime};
use support::client::session_of;
use support::race::{Answer, DAY, HOUR, MINUTE, NO_TOKEN, World};
use support::store::{Fault, Op};
use tokio::sync::Barrier;

const ROUNDS: usize = 40;

async fn sign_out(world: &World, token: &str) -> Answer {
    world.send(token, |session| async move { session.sign_out() }).await
}

/// Creates an anonymous or signed-in session, which the layer ends in different ways.
async fn begin(world: &World, signed_in: bool) -> String {
    if signed_in { world.begin_signed_in("ada").await } else { world.begin().await }
}

#[track_caller]
fn assert_no_session(world: &World) {
    assert_eq!(world.live_sessions(), 0);
}

/// A sign-out of an anonymous or signed-in session leaves a mark, removes the cookie and raises `Ended` once.
#[tokio::test]
async fn sign_out_ends_the_session_and_removes_the_cookie() {
    for signed_in in [false, true] {
        let world = World::new();
        let token = begin(&world, signed_in).await;
        assert!(sign_out(&world, &token).await.assert_ok().is_removal());
        assert_no_session(&world);
        assert!(!world.is_live(&token).await);
        assert_eq!(world.events.count(EventKind::Ended), 1);
    }
}

/// A session ends while a request with an insert is pending; its commit is dropped with an event and no cookie.
#[tokio::test]
async fn sign_out_during_a_write_drops_the_write() {
    for signed_in in [false, true] {
        let world = World::new();
        let token = begin(&world, signed_in).await;
        let slow = world
            .hold(&token, |session, gate| async move {
                session.insert("slow", &1)?;
                gate.wait().await;
                Ok(())
            })
            .await;
        sign_out(&world, &token).await.assert_ok();
        slow.finish().await.assert_silent(StatusCode::OK);
        assert_no_session(&world);
        assert_eq!(world.events.count(EventKind::Dropped), 1);
    }
}

/// A `set` call reaches the store after the session's end; the request succeeds, and no session is left.
#[tokio::test]
async fn sign_out_before_a_delayed_set_drops_the_set() {
    for signed_in in [false, true] {
        let world = World::new();
        let token = begin(&world, signed_in).await;
        let gate = world.faults.hold_before(Op::Set, 1);
        let slow = world.spawn(&token, |session| async move { session.insert("slow", &1) });
        gate.reached().await;
        sign_out(&world, &token).await.assert_ok();
        gate.release();
        slow.await.unwrap().assert_silent(StatusCode::OK);
        assert_no_session(&world);
        assert!(!world.is_live(&token).await);
    }
}

// guarantee: 2
/// A `touch` call reaches the store after the session's end; the request succeeds, and no session is left.
#[tokio::test]
async fn sign_out_before_a_delayed_touch_drops_the_touch() {
    for signed_in in [false, true] {
        let world = World::new();
        let token = begin(&world, signed_in).await;
        world.advance(30 * MINUTE);
        let gate = world.faults.hold_before(Op::Touch, 1);
        let slow = world.spawn(&token, |session| async move { session.get::<bool>("start").map(|_| ()) });
        gate.reached().await;
        sign_out(&world, &token).await.assert_ok();
        gate.release();
        slow.await.unwrap().assert_silent(StatusCode::OK);
        assert_no_session(&world);
    }
}

/// A session ends while a request that reads it is pending; the request still reads the value and succeeds.
#[tokio::test]
async fn sign_out_during_a_read_sets_no_cookie() {
    let world = World::new();
    let token = world.begin().await;
    let slow = world
        .hold(&token, |session, gate| async move {
            gate.wait().await;
            assert_eq!(session.get("start")?, Some(true));
            Ok(())
        })
        .await;
    sign_out(&world, &token).await.assert_ok();
    slow.finish().await.assert_silent(StatusCode::OK);
    assert_no_session(&world);
}

/// `update_now` and later inserts of the request fail with `Ended`; the response is 409 without a cookie.
#[tokio::test]
async fn commit_after_a_concurrent_sign_out_fails_with_ended() {
    for signed_in in [false, true] {
        let world = World::new();
        let token = begin(&world, signed_in).await;
        let slow = world
            .hold(&token, |session, gate| async move {
                gate.wait().await;
                let error = session.update_now("n", |n: &mut u32| *n += 1).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Ended);
                // Later writes of the request must not create a session.
                assert_eq!(session.insert("n", &1).unwrap_err().kind(), ErrorKind::Ended);
                Err::<(), _>(error)
            })
            .await;
        sign_out(&world, &token).await.assert_ok();
        slow.finish().await.assert_silent(StatusCode::CONFLICT);
        assert_no_session(&world);
    }
}

/// A session ends while a request with a rotation is pending; the response sets no cookie.
#[tokio::test]
async fn rotation_across_a_sign_out_issues_no_token() {
    let world = World::new();
    let token = world.begin().await;
    let slow = world
        .hold(&token, |session, gate| async move {
            session.rotate()?;
            gate.wait().await;
            Ok(())
        })
        .await;
    sign_out(&world, &token).await.assert_ok();
    slow.finish().await.assert_silent(StatusCode::OK);
    assert_no_session(&world);
}

/// A detached session commits before the sign-out; after it, commits and reloads fail with `Ended`.
#[tokio::test]
async fn detached_commit_and_reload_fail_after_sign_out() {
    for signed_in in [false, true] {
        let world = World::new();
        let token = begin(&world, signed_in).await;
        let detached = Arc::new(Mutex::new(None));
        let place = Arc::clone(&detached);
        let answer = world.send(&token, move |session| async move {
            *place.lock().unwrap() = Some(session.detach());
            Ok(())
        });
        answer.await.assert_ok();
        let detached = detached.lock().unwrap().take().unwrap();
        detached.insert("during", &1).unwrap();
        detached.commit().await.unwrap();
        sign_out(&world, &token).await.assert_ok();
        detached.insert("after", &1).unwrap();
        assert_eq!(detached.commit().await.unwrap_err().kind(), ErrorKind::Ended);
        assert_eq!(detached.reload().await.unwrap_err().kind(), ErrorKind::Ended);
        assert_no_session(&world);
    }
}

/// `end_all_of` ends a session whose `set` call is delayed; the write leaves no session.
#[tokio::test]
async fn end_all_of_drops_a_concurrent_write() {
    let world = World::new();
    let token = world.begin_signed_in("ada").await;
    let gate = world.faults.hold_before(Op::Set, 1);
    let slow = world.spawn(&token, |session| async move { session.insert("slow", &1) });
    gate.reached().await;
    assert_eq!(world.sessions().end_all_of("ada").await.unwrap().len(), 1);
    gate.release();
    slow.await.unwrap().assert_silent(StatusCode::OK);
    assert_no_session(&world);
}

/// Two requests sign out; only the first removes the cookie, and `Ended` is raised once.
#[tokio::test]
async fn second_concurrent_sign_out_removes_no_cookie() {
    for signed_in in [false, true] {
        let world = World::new();
        let token = begin(&world, signed_in).await;
        let slow = world
            .hold(&token, |session, gate| async move {
                session.sign_out()?;
                gate.wait().await;
                Ok(())
            })
            .await;
        assert!(sign_out(&world, &token).await.is_removal());
        slow.finish().await.assert_silent(StatusCode::OK);
        assert_eq!(world.events.count(EventKind::Ended), 1);
        assert_no_session(&world);
    }
}

/// Two requests sign out after another sign-out, with and without a commit; later inserts create new sessions.
#[tokio::test]
async fn write_after_a_lost_sign_out_creates_a_session() {
    for signed_in in [false, true] {
        let world = World::new();
        let token = begin(&world, signed_in).await;
        let [committing, plain] = [true, false].map(|commits| {
            world.hold(&token, move |session, gate| async move {
                gate.wait().await;
                session.sign_out()?;
                if commits {
                    session.commit().await?;
                }
                session.insert("flash", "good bye")
            })
        });
        let (committing, plain) = (committing.await, plain.await);
        sign_out(&world, &token).await.assert_ok();
        for slow in [committing, plain] {
            let new = slow.finish().await.assert_ok().token();
            assert_eq!(world.opens(&new).await.unwrap().keys, ["flash"]);
        }
    }
}

/// A sign-out without a cookie succeeds, sets no cookie and makes no store call.
#[tokio::test]
async fn sign_out_without_a_session_does_nothing() {
    let world = World::new();
    let (answer, counts) = world.cost(world.send(NO_TOKEN, |session| async move { session.sign_out() })).await;
    answer.assert_silent(StatusCode::OK);
    assert_eq!(counts, support::store::Counts::NONE);
}

/// A handler signs out once or twice under a malformed, forged or expired token: the response removes the cookie.
#[tokio::test]
async fn sign_out_under_an_invalid_token_removes_the_cookie() {
    let world = World::new();
    let expired = world.begin().await;
    world.advance(DAY);
    let live = world.begin().await;
    let forged = format!("{}{}", &live[..22], &expired[22..]);
    for token in ["malformed", &forged, &expired] {
        for times in [1, 2] {
            let answer = world.send(token, move |session| async move {
                for _ in 0..times {
                    session.sign_out()?;
                }
                Ok(())
            });
            assert!(answer.await.assert_ok().is_removal(), "{token}, {times} times");
        }
        // The cookie of a session that begins afterwards replaces it.
        let answer = world.send(token, |session| async move {
            session.sign_out()?;
            session.insert("flash", "good bye")
        });
        assert!(world.is_live(&answer.await.token()).await);
    }
    assert!(world.is_live(&live).await);
    assert_eq!(world.events.ends(), []);
}

/// Eight requests sign out concurrently, 40 times; all succeed, and one response removes the cookie.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_eight_concurrent_sign_outs_removes_the_cookie() {
    for round in 0..ROUNDS {
        let world = World::new();
        let token = begin(&world, round % 2 == 0).await;
        let barrier = Arc::new(Barrier::new(8));
        let requests: Vec<_> = (0..8)
            .map(|_| {
                let barrier = Arc::clone(&barrier);
                world.spawn(&token, move |session| async move {
                    barrier.wait().await;
                    session.sign_out()
                })
            })
            .collect();
        let mut removals = 0;
        for request in requests {
            removals += usize::from(request.await.unwrap().assert_ok().is_removal());
        }
        assert_eq!(removals, 1);
        assert_no_session(&world);
    }
}

// guarantee: 2
// checklist: 26
/// Reads, writes, a rotation, `update_now` and a detached commit run with a sign-out; no token and no session remain.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_concurrent_request_survives_a_sign_out() {
    for round in 0..ROUNDS {
        let world = World::new();
        let token = begin(&world, round % 2 == 0).await;
        world.advance(30 * MINUTE);
        let barrier = Arc::new(Barrier::new(9));
        let requests: Vec<_> = (0..9)
            .map(|place| {
                let barrier = Arc::clone(&barrier);
                world.spawn(&token, move |session| async move {
                    barrier.wait().await;
                    match place {
                        0 => session.sign_out(),
                        1 | 2 => session.get::<bool>("start").map(|_| ()),
                        3 => session.rotate(),
                        4 => session.update_now("n", |n: &mut u32| *n += 1).await,
                        5 => {
                            let detached = session.detach();
                            detached.insert("detached", &1)?;
                            detached.commit().await
                        }
                        _ => session.insert("key", &place),
                    }
                })
            })
            .collect();
        let mut tokens = vec![token.clone()];
        for request in requests {
            tokens.extend(request.await.unwrap().new_token());
        }
        for token in tokens {
            assert!(!world.is_live(&token).await);
        }
        assert_no_session(&world);
    }
}

/// After a sign-out the same request has no keys and no owner; its insert is stored under a new id.
#[tokio::test]
async fn write_after_sign_out_creates_another_session() {
    for signed_in in [false, true] {
        let world = World::new();
        let token = begin(&world, signed_in).await;
        let answer = world
            .send(&token, |session| async move {
                session.insert("before", &1)?;
                session.sign_out()?;
                assert!(session.keys().is_empty());
                assert_eq!(session.owner(), None);
                session.insert("flash", "good bye")
            })
            .await;
        let opened = world.opens(&answer.token()).await.unwrap();
        assert_eq!((opened.owner, opened.keys), (None, vec!["flash".to_owned()]));
        assert_ne!(opened.id, session_of(&token));
        assert!(!world.is_live(&token).await);
        assert_eq!(world.live_sessions(), 1);
    }
}

/// A handler signs out and answers 500; the session ends and the cookie is removed.
#[tokio::test]
async fn sign_out_with_status_500_ends_the_session() {
    let world = World::new();
    let token = world.begin_signed_in("ada").await;
    let answer = world
        .send(&token, |session| async move {
            session.sign_out()?;
            Ok(StatusCode::INTERNAL_SERVER_ERROR)
        })
        .await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(answer.is_removal());
    assert_no_session(&world);
}

/// A handler signs out while its own commit is pending, for new and existing sessions; no token and no session remain.
#[tokio::test]
async fn sign_out_during_own_commit_ends_the_session() {
    for new in [false, true] {
        let world = World::new();
        let token = if new { NO_TOKEN } else { Some(world.begin().await) };
        let gate = world.faults.hold_before(Op::Set, 1);
        let request = world.spawn(token, move |session| async move {
            session.insert("key", &1)?;
            let ending = async {
                gate.reached().await;
                let ended = session.sign_out();
                gate.release();
                ended
            };
            let (committed, ended) = join(session.commit(), ending).await;
            ended?;
            // The commit started before the sign-out, so it may succeed or fail.
            drop(committed);
            Ok(())
        });
        let answer = request.await.unwrap();
        assert_eq!(answer.assert_ok().new_token(), None, "{answer:?} sets the token of an ended session");
        assert_no_session(&world);
    }
}

/// The idle timeout and the margin pass while a request with an insert is pending; the commit is dropped with an event.
#[tokio::test]
async fn write_across_the_expiry_of_its_session_is_dropped() {
    let world =
        World::with(|layer| layer.with_lifetime(Lifetime::new().with_idle_timeout(MINUTE).with_absolute_timeout(HOUR)));
    let token = world.begin().await;
    let slow = world
        .hold(&token, |session, gate| async move {
            session.insert("slow", &1)?;
            gate.wait().await;
            Ok(())
        })
        .await;
    world.advance(6 * MINUTE);
    slow.finish().await.assert_silent(StatusCode::OK);
    assert!(!world.is_live(&token).await);
    assert_eq!(world.events.count(EventKind::Dropped), 1);
}

/// Eleven changing operations on a kept session fail with `ResponseSent`; a read works, and the record is unchanged.
#[tokio::test]
async fn session_operations_after_response_fail_with_response_sent() {
    let world = World::new();
    let token = world.begin().await;
    let kept = Arc::new(Mutex::new(None));
    let place = Arc::clone(&kept);
    let answer = world.send(&token, move |session| async move {
        *place.lock().unwrap() = Some(session);
        Ok(())
    });
    answer.await.assert_ok();
    let session = kept.lock().unwrap().take().unwrap();
    assert_eq!(session.get::<bool>("start").unwrap(), Some(true));
    let assert_response_sent =
        |done: Result<(), sessile::Error>| assert_eq!(done.unwrap_err().kind(), ErrorKind::ResponseSent);
    assert_response_sent(session.insert("late", &1));
    assert_response_sent(session.update("late", |late: &mut u32| *late += 1));
    assert_response_sent(session.remove("start").map(|_| ()));
    assert_response_sent(session.clear());
    assert_response_sent(session.rotate());
    assert_response_sent(session.sign_in("ada"));
    assert_response_sent(session.sign_out());
    assert_response_sent(session.set_lifetime(Lifetime::aal1()));
    assert_response_sent(session.commit().await);
    assert_response_sent(session.update_now("late", |late: &mut u32| *late += 1).await);
    assert_response_sent(session.take_now::<bool>("start").await.map(|_| ()));
    // Nothing is to be taken, so nothing is lost.
    assert_eq!(session.take_now::<bool>("missing").await.unwrap(), None);
    assert!(session.take_flashes().await.unwrap().is_empty());
    assert_eq!(world.opens(&token).await.unwrap().keys, ["start"]);
}

// guarantee: 2
/// A commit's result is lost and the session ends; a later write is dropped.
#[tokio::test]
async fn commit_found_in_an_ended_record_does_not_restore_it() {
    let world = World::new();
    let token = world.begin().await;
    let gate = world.faults.hold_after(Op::Set, 1);
    world.faults.fail(Op::Set, 1, Fault::After);
    let slow = world.spawn(&token, |session| async move {
        session.update_now("n", |n: &mut u32| *n += 1).await?;
        session.insert("later", &1)
    });
    gate.reached().await;
    let ended = world.send(&token, |session| async move { session.sign_out() }).await;
    assert!(ended.assert_ok().is_removal());
    gate.release();
    slow.await.unwrap().assert_silent(StatusCode::OK);
    assert!(!world.is_live(&token).await, "the session was restored");
    assert_eq!(
        world.quiet().find_by_id(&support::client::session_of(&token)).await.unwrap().map(|stored| stored.keys()),
        None
    );
}
