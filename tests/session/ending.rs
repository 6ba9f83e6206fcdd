//! A session that was ended stays ended, whatever is still under way.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::sync::{Arc, Mutex};

use futures_util::future::join;
use http::StatusCode;
use sessile::event::EventKind;
use sessile::{ErrorKind, Lifetime};
use support::client::session_of;
use support::race::{Answer, HOUR, MINUTE, NOBODY, SECOND, World};
use support::store::{Fault, Op};
use tokio::sync::Barrier;

const ROUNDS: usize = 40;

async fn sign_out(world: &World, token: &str) -> Answer {
    world.send(token, |session| async move { session.sign_out() }).await
}

/// A session of either kind: they are ended in different ways.
async fn begin(world: &World, signed_in: bool) -> String {
    if signed_in { world.begin_signed_in("ada").await } else { world.begin().await }
}

#[track_caller]
fn assert_gone(world: &World) {
    assert!(world.memory.is_empty(), "{} records are left", world.memory.len());
}

#[tokio::test]
async fn a_sign_out_deletes_the_record_and_removes_the_cookie() {
    for signed_in in [false, true] {
        let world = World::new();
        let token = begin(&world, signed_in).await;
        assert!(sign_out(&world, &token).await.assert_ok().is_removal());
        assert_gone(&world);
        assert!(!world.is_live(&token).await);
        assert_eq!(world.events.count(EventKind::Ended), 1);
    }
}

#[tokio::test]
async fn a_slow_writer_across_a_sign_out_revives_nothing_and_sets_no_cookie() {
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
        assert_gone(&world);
        assert_eq!(world.events.count(EventKind::Dropped), 1);
    }
}

#[tokio::test]
async fn a_write_that_is_on_its_way_to_the_store_when_the_session_ends_revives_nothing() {
    for signed_in in [false, true] {
        let world = World::new();
        let token = begin(&world, signed_in).await;
        let gate = world.faults.hold_before(Op::Set, 1);
        let slow = world.spawn(&token, |session| async move { session.insert("slow", &1) });
        gate.reached().await;
        sign_out(&world, &token).await.assert_ok();
        gate.release();
        slow.await.unwrap().assert_silent(StatusCode::OK);
        assert_gone(&world);
        assert!(!world.is_live(&token).await);
    }
}

// guarantee: 2
#[tokio::test]
async fn a_touch_that_is_on_its_way_to_the_store_when_the_session_ends_revives_nothing() {
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
        assert_gone(&world);
    }
}

#[tokio::test]
async fn a_slow_reader_across_a_sign_out_answers_and_sets_no_cookie() {
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
    assert_gone(&world);
}

#[tokio::test]
async fn a_handler_that_commits_across_a_sign_out_is_told() {
    for signed_in in [false, true] {
        let world = World::new();
        let token = begin(&world, signed_in).await;
        let slow = world
            .hold(&token, |session, gate| async move {
                gate.wait().await;
                let error = session.update_now("n", |n: &mut u32| *n += 1).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Ended);
                // Nor does what it writes after that begin another session.
                assert_eq!(session.insert("n", &1).unwrap_err().kind(), ErrorKind::Ended);
                Err::<(), _>(error)
            })
            .await;
        sign_out(&world, &token).await.assert_ok();
        slow.finish().await.assert_silent(StatusCode::CONFLICT);
        assert_gone(&world);
    }
}

#[tokio::test]
async fn a_slow_rotation_across_a_sign_out_gives_no_token() {
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
    assert_gone(&world);
}

#[tokio::test]
async fn detached_work_notices_that_its_session_was_ended() {
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
        assert_gone(&world);
    }
}

#[tokio::test]
async fn an_administrator_who_ends_all_sessions_of_an_owner_during_a_write_ends_them() {
    let world = World::new();
    let token = world.begin_signed_in("ada").await;
    let gate = world.faults.hold_before(Op::Set, 1);
    let slow = world.spawn(&token, |session| async move { session.insert("slow", &1) });
    gate.reached().await;
    assert_eq!(world.sessions().end_all_of("ada").await.unwrap(), 1);
    gate.release();
    slow.await.unwrap().assert_silent(StatusCode::OK);
    assert_gone(&world);
}

#[tokio::test]
async fn a_sign_out_that_finds_nothing_to_end_removes_no_cookie() {
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
        assert_gone(&world);
    }
}

#[tokio::test]
async fn a_sign_out_that_finds_nothing_to_end_is_no_error_and_what_is_written_after_it_is_kept() {
    for signed_in in [false, true] {
        let world = World::new();
        let token = begin(&world, signed_in).await;
        let [told, untold] = [true, false].map(|commits| {
            world.hold(&token, move |session, gate| async move {
                gate.wait().await;
                session.sign_out()?;
                if commits {
                    session.commit().await?;
                }
                session.insert("flash", "good bye")
            })
        });
        let (told, untold) = (told.await, untold.await);
        sign_out(&world, &token).await.assert_ok();
        for slow in [told, untold] {
            let new = slow.finish().await.assert_ok().token();
            assert_eq!(world.opens(&new).await.unwrap().keys, ["flash"]);
        }
    }
}

#[tokio::test]
async fn a_sign_out_of_nobody_does_nothing() {
    let world = World::new();
    let (answer, counts) = world.cost(world.send(NOBODY, |session| async move { session.sign_out() })).await;
    answer.assert_silent(StatusCode::OK);
    assert_eq!(counts, support::store::Counts::NONE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_sign_outs_at_once_one_removes_the_cookie() {
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
        assert_gone(&world);
    }
}

// guarantee: 2
// checklist: 26
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_runs_at_once_with_a_sign_out_the_session_is_gone_after_it() {
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
        let mut given = vec![token.clone()];
        for request in requests {
            given.extend(request.await.unwrap().given());
        }
        for token in given {
            assert!(!world.is_live(&token).await);
        }
        assert_gone(&world);
    }
}

#[tokio::test]
async fn what_is_written_after_a_sign_out_begins_another_session() {
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
        assert_eq!(world.memory.len(), 1);
    }
}

#[tokio::test]
async fn a_sign_out_ends_the_session_though_the_answer_is_an_error() {
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
    assert_gone(&world);
}

#[tokio::test]
async fn a_session_that_is_ended_while_the_same_request_commits_it_ends() {
    for new in [false, true] {
        let world = World::new();
        let token = if new { NOBODY } else { Some(world.begin().await) };
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
            // It was under way before the session was ended, so it may have been made or not.
            drop(committed);
            Ok(())
        });
        let answer = request.await.unwrap();
        assert_eq!(answer.assert_ok().given(), None, "{answer:?} gives a token of an ended session");
        assert_gone(&world);
    }
}

#[tokio::test]
async fn a_slow_write_that_spans_the_expiry_of_its_session_revives_nothing() {
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
    world.advance(61 * SECOND);
    slow.finish().await.assert_silent(StatusCode::OK);
    assert!(!world.is_live(&token).await);
    assert_eq!(world.events.count(EventKind::Dropped), 1);
}

#[tokio::test]
async fn a_write_after_the_head_of_the_response_is_refused() {
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
    let closed = |done: Result<(), sessile::Error>| assert_eq!(done.unwrap_err().kind(), ErrorKind::ResponseSent);
    closed(session.insert("late", &1));
    closed(session.update("late", |late: &mut u32| *late += 1));
    closed(session.remove("start").map(|_| ()));
    closed(session.clear());
    closed(session.rotate());
    closed(session.sign_in("ada"));
    closed(session.sign_out());
    closed(session.set_lifetime(Lifetime::aal1()));
    closed(session.commit().await);
    closed(session.update_now("late", |late: &mut u32| *late += 1).await);
    closed(session.take_now::<bool>("start").await.map(|_| ()));
    assert_eq!(world.opens(&token).await.unwrap().keys, ["start"]);
}

/// Its record is still there for a moment, marked as ended, and holds the name of that commit.
// guarantee: 2
#[tokio::test]
async fn a_request_whose_commit_was_found_in_a_session_that_has_ended_since_does_not_revive_it() {
    let world = World::new();
    let token = world.begin().await;
    let gate = world.faults.hold_after(Op::Set, 1);
    world.faults.fail(Op::Set, 1, Fault::After);
    let slow = world.spawn(&token, |session| async move {
        session.update_now("n", |n: &mut u32| *n += 1).await?;
        session.insert("later", &1)
    });
    gate.reached().await;
    world.faults.fail_always(Op::Delete, Fault::Before);
    let ended = world.send(&token, |session| async move { session.sign_out() }).await;
    assert!(ended.assert_ok().is_removal());
    gate.release();
    slow.await.unwrap().assert_silent(StatusCode::OK);
    world.faults.heal();
    assert!(!world.is_live(&token).await, "the session is back");
    assert_eq!(
        world.quiet().find_by_id(&support::client::session_of(&token)).await.unwrap().map(|stored| stored.keys()),
        None
    );
}
