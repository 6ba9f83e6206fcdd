//! A store that fails: the client is told, no cookie is sent for what was not stored, and nothing takes effect twice.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http::StatusCode;
use sessile::event::EventKind;
use sessile::store::Store;
use sessile::{Error, ErrorKind, Session};
use support::client::session_of;
use support::race::{MINUTE, NOBODY, World};
use support::store::{Counts, Fault, Op, random};
use tokio::sync::Barrier;

async fn count(session: Session) -> Result<String, Error> {
    let number = session.update_now("n", |n: &mut u32| {
        *n += 1;
        *n
    });
    Ok(number.await?.to_string())
}

#[tokio::test]
async fn a_get_that_fails_is_a_503_without_a_cookie() {
    let world = World::new();
    let token = world.begin().await;
    world.faults.fail(Op::Get, 1, Fault::Before);
    world.insert(&token, "n", 1).await.assert_silent(StatusCode::SERVICE_UNAVAILABLE);
    assert!(world.saw(EventKind::StoreFailed));
    assert!(world.is_live(&token).await, "the next request works");
}

#[tokio::test]
async fn a_handler_that_goes_on_after_a_get_that_failed_has_no_session_to_lose() {
    let world = World::new();
    let token = world.begin().await;
    world.faults.fail(Op::Get, 1, Fault::Before);
    let answer = world
        .send_unloaded(&token, |handle| async move {
            assert_eq!(handle.load().await.unwrap_err().kind(), ErrorKind::Unavailable);
            // Once more, and the store answers.
            handle.load().await?.insert("n", &1)
        })
        .await;
    answer.assert_silent(StatusCode::OK);
    assert_eq!(world.opens(&token).await.unwrap().keys, ["start", "n"]);
}

#[tokio::test]
async fn a_set_that_fails_before_it_is_applied_is_repeated() {
    let world = World::new();
    let token = world.begin().await;
    world.faults.fail(Op::Set, 1, Fault::Before);
    let (answer, counts) = world.cost(world.send(&token, count)).await;
    assert_eq!(answer.assert_ok().body, "1");
    assert_eq!(counts, Counts::gets(2).and_sets(2));
    assert_eq!(world.read::<u32>(&token, "n").await, Some(1));
    assert!(world.saw(EventKind::StoreFailed));
}

// guarantee: 13
#[tokio::test]
async fn a_set_that_fails_after_it_was_applied_is_not_repeated() {
    let world = World::new();
    let token = world.begin().await;
    world.faults.fail(Op::Set, 1, Fault::After);
    let (answer, counts) = world.cost(world.send(&token, count)).await;
    assert_eq!(answer.assert_ok().body, "1");
    assert_eq!(counts, Counts::gets(2).and_sets(1), "one get finds its name");
    assert_eq!(world.read::<u32>(&token, "n").await, Some(1));
}

// guarantee: 13
#[tokio::test]
async fn a_set_that_arrives_after_it_was_given_up_takes_effect_once() {
    let world = World::new();
    let token = world.begin().await;
    world.faults.fail(Op::Set, 1, Fault::Late);
    let answer = world.send(&token, count).await;
    assert_eq!(answer.assert_ok().body, "1");
    assert_eq!(world.read::<u32>(&token, "n").await, Some(1));
}

#[tokio::test]
async fn what_an_update_answers_is_of_the_run_that_was_stored_though_that_arrived_late() {
    let world = World::new();
    let token = world.begin().await;
    let slow = world
        .hold(&token, |session, gate| async move {
            gate.wait().await;
            // A closure that never computes the same twice, as one that draws a ticket number would.
            let runs = Arc::new(AtomicU32::new(0));
            let ticket = session.update_now("ticket", move |ticket: &mut u32| {
                *ticket = runs.fetch_add(1, Ordering::SeqCst);
                *ticket
            });
            Ok(ticket.await?.to_string())
        })
        .await;
    // So that the first try loses, and the second runs the closure again; the second arrives late.
    world.insert(&token, "meanwhile", 1).await.assert_ok();
    world.faults.fail(Op::Set, 2, Fault::Late);
    let answered: u32 = slow.finish().await.assert_ok().body.parse().unwrap();
    assert_eq!(world.read::<u32>(&token, "ticket").await, Some(answered));
}

// guarantee: 6
#[tokio::test]
async fn a_set_that_never_succeeds_is_a_503_without_a_cookie() {
    let world = World::new();
    let token = world.begin().await;
    world.faults.fail_always(Op::Set, Fault::Before);
    world.insert(&token, "n", 1).await.assert_silent(StatusCode::SERVICE_UNAVAILABLE);
    world.send(&token, |session| async move { session.rotate() }).await.assert_silent(StatusCode::SERVICE_UNAVAILABLE);
    let signed_in = world.send(&token, |session| async move { session.sign_in("ada") }).await;
    signed_in.assert_silent(StatusCode::SERVICE_UNAVAILABLE);
    world.send(&token, count).await.assert_silent(StatusCode::SERVICE_UNAVAILABLE);
    world.faults.heal();
    let opened = world.opens(&token).await.expect("the old token still works");
    assert_eq!((opened.owner, opened.keys), (None, vec!["start".to_owned()]));
}

#[tokio::test]
async fn a_set_whose_every_answer_is_lost_is_found_by_its_name() {
    let world = World::new();
    let token = world.begin().await;
    world.faults.fail_always(Op::Set, Fault::After);
    for number in 1..=20 {
        assert_eq!(world.send(&token, count).await.assert_ok().body, number.to_string());
    }
    assert_eq!(world.read::<u32>(&token, "n").await, Some(20));
}

#[tokio::test]
async fn a_store_that_goes_away_in_the_middle_of_a_commit_is_a_503() {
    for applied in [Fault::Before, Fault::After] {
        let world = World::new();
        let token = world.begin().await;
        let answer = world
            .hold(&token, |session, gate| async move {
                gate.wait().await;
                count(session).await
            })
            .await;
        world.faults.fail(Op::Set, 1, applied);
        world.faults.fail_always(Op::Get, Fault::Before);
        answer.finish().await.assert_silent(StatusCode::SERVICE_UNAVAILABLE);
        world.faults.heal();
        let expected = if applied == Fault::After { Some(1) } else { None };
        assert_eq!(world.read::<u32>(&token, "n").await, expected);
    }
}

// guarantee: 6
#[tokio::test]
async fn a_session_that_could_not_be_created_sends_no_cookie_and_leaves_no_record() {
    let world = World::new();
    world.faults.fail_always(Op::Set, Fault::Before);
    let answer = world.send(NOBODY, |session| async move { session.insert("n", &1) }).await;
    answer.assert_silent(StatusCode::SERVICE_UNAVAILABLE);
    let answer = world.send(NOBODY, |session| async move { session.sign_in("ada") }).await;
    answer.assert_silent(StatusCode::SERVICE_UNAVAILABLE);
    assert!(world.memory.is_empty());
}

#[tokio::test]
async fn a_session_whose_creation_was_applied_and_reported_as_failed_is_found() {
    let world = World::new();
    world.faults.fail(Op::Set, 1, Fault::After);
    let (answer, counts) = world.cost(world.send(NOBODY, count)).await;
    assert_eq!(answer.assert_ok().body, "1");
    assert_eq!(counts, Counts::gets(1).and_sets(1));
    assert_eq!(world.read::<u32>(&answer.token(), "n").await, Some(1));
    assert_eq!(world.memory.len(), 1);
}

#[tokio::test]
async fn a_rotation_or_a_sign_in_whose_answer_is_lost_still_gives_its_token() {
    for fault in [Fault::After, Fault::Before, Fault::Late] {
        for signs_in in [false, true] {
            let world = World::new();
            let old = world.begin().await;
            world.faults.fail(Op::Set, 1, fault);
            let answer = world
                .send(
                    &old,
                    move |session| async move { if signs_in { session.sign_in("ada") } else { session.rotate() } },
                )
                .await;
            let new = answer.assert_ok().token();
            assert!(world.is_live(&new).await, "{fault:?}");
            assert!(!world.is_live(&old).await, "{fault:?}");
        }
    }
}

// guarantee: 6
#[tokio::test]
async fn a_sign_in_of_which_nobody_can_tell_whether_it_took_effect_is_a_503() {
    for fault in [Fault::Before, Fault::After, Fault::Late] {
        let world = World::new();
        let token = world.begin().await;
        world.faults.fail(Op::Set, 1, fault);
        let looks = world.faults.hold_before(Op::Get, 2);
        let request = world.spawn(&token, |session| async move { session.sign_in("ada") });
        looks.reached().await;
        // Whoever it was, the visitor or ada, has signed out meanwhile.
        assert!(world.memory.delete(&session_of(&token), None).await.unwrap());
        looks.release();
        request.await.unwrap().assert_silent(StatusCode::SERVICE_UNAVAILABLE);
        assert!(world.memory.is_empty());
    }
}

// guarantee: 6
#[tokio::test]
async fn a_touch_that_fails_is_an_event_and_nothing_to_the_client() {
    for fault in [Fault::Before, Fault::After] {
        let world = World::new();
        let token = world.begin().await;
        world.advance(10 * MINUTE);
        world.faults.fail(Op::Touch, 1, fault);
        let answer = world.send(&token, |session| async move { session.get::<bool>("start").map(|_| ()) }).await;
        answer.assert_silent(StatusCode::OK);
        assert_eq!(world.events.count(EventKind::UpkeepFailed), 1);
        assert!(world.is_live(&token).await);
    }
}

#[tokio::test]
async fn a_deletion_that_fails_is_repeated() {
    for fault in [Fault::Before, Fault::After] {
        for signed_in in [false, true] {
            let world = World::new();
            let token = if signed_in { world.begin_signed_in("ada").await } else { world.begin().await };
            world.faults.fail(Op::Delete, 1, fault);
            let answer = world.send(&token, |session| async move { session.sign_out() }).await;
            assert!(answer.assert_ok().is_removal(), "{fault:?}, signed in: {signed_in}");
            assert!(!world.is_live(&token).await);
        }
    }
}

#[tokio::test]
async fn a_sign_out_that_the_store_refuses_is_a_503_and_leaves_the_cookie() {
    let world = World::new();
    let token = world.begin_signed_in("ada").await;
    world.faults.fail_always(Op::Delete, Fault::Before);
    let answer = world.send(&token, |session| async move { session.sign_out() }).await;
    answer.assert_silent(StatusCode::SERVICE_UNAVAILABLE);
    world.faults.heal();
    assert_eq!(world.opens(&token).await.unwrap().owner.as_deref(), Some("ada"));
}

#[tokio::test]
async fn an_anonymous_session_that_cannot_be_marked_as_ended_is_a_503_and_lives_on() {
    let world = World::new();
    let token = world.begin().await;
    world.faults.fail_always(Op::Set, Fault::Before);
    let answer = world.send(&token, |session| async move { session.sign_out() }).await;
    answer.assert_silent(StatusCode::SERVICE_UNAVAILABLE);
    world.faults.heal();
    assert!(world.is_live(&token).await);
}

#[tokio::test]
async fn an_anonymous_session_that_cannot_be_deleted_is_dead_all_the_same() {
    let world = World::new();
    let token = world.begin().await;
    world.faults.fail_always(Op::Delete, Fault::Before);
    let answer = world.send(&token, |session| async move { session.sign_out() }).await;
    assert!(answer.assert_ok().is_removal());
    assert_eq!(world.events.count(EventKind::UpkeepFailed), 1);
    assert!(!world.is_live(&token).await);
    assert!(world.sessions().find_by_id(&session_of(&token)).await.unwrap().is_none());
    assert!(!world.saw(EventKind::Expired), "it was ended");
}

#[tokio::test]
async fn what_is_left_of_a_session_that_cannot_be_deleted_holds_no_data() {
    let world = World::new();
    let token = world.begin().await;
    world.insert(&token, "note", "for nobody else").await;
    world.faults.fail_always(Op::Delete, Fault::Before);
    world.send(&token, |session| async move { session.sign_out() }).await.assert_ok();
    let left = world.memory.get(&session_of(&token)).await.unwrap().unwrap().encode();
    let holds = |text: &[u8]| left.windows(text.len()).any(|bytes| bytes == text);
    assert!(!holds(b"note") && !holds(b"for nobody else"));
}

#[tokio::test]
async fn signing_in_over_another_owners_session_that_cannot_be_ended_signs_nobody_in() {
    let world = World::new();
    let token = world.begin_signed_in("ada").await;
    world.faults.fail_always(Op::Delete, Fault::Before);
    let answer = world.send(&token, |session| async move { session.sign_in("bob") }).await;
    answer.assert_silent(StatusCode::SERVICE_UNAVAILABLE);
    world.faults.heal();
    assert_eq!(world.opens(&token).await.unwrap().owner.as_deref(), Some("ada"));
    assert!(world.sessions().owned_by("bob").await.unwrap().is_empty());
}

/// A commit whose outcome is not known, while so many others are made; what it answers, and what the counter says then.
async fn in_doubt(fault: Fault, others: u32) -> (StatusCode, u32) {
    let world = World::new();
    let token = world.begin().await;
    world.faults.fail(Op::Set, 1, fault);
    let gate = world.faults.hold_before(Op::Get, 2);
    let slow = world.spawn(&token, count);
    gate.reached().await;
    for other in 0..others {
        world.insert(&token, "other", other).await.assert_ok();
    }
    gate.release();
    let answer = slow.await.unwrap();
    assert!(answer.set.is_empty());
    (answer.status, world.read::<u32>(&token, "n").await.unwrap_or(0))
}

// guarantee: 13
#[tokio::test]
async fn a_commit_in_doubt_takes_effect_once_while_the_names_reach_back_and_is_not_repeated_when_they_do_not() {
    for others in 0..=7 {
        assert_eq!(in_doubt(Fault::After, others).await, (StatusCode::OK, 1), "applied, {others} others");
        assert_eq!(in_doubt(Fault::Before, others).await, (StatusCode::OK, 1), "not applied, {others} others");
    }
    for others in 9..=12 {
        let unknown = StatusCode::SERVICE_UNAVAILABLE;
        assert_eq!(in_doubt(Fault::After, others).await, (unknown, 1), "applied, {others} others");
        assert_eq!(in_doubt(Fault::Before, others).await, (unknown, 0), "not applied, {others} others");
    }
}

// guarantee: 6
#[tokio::test]
async fn a_handler_that_ignores_a_commit_that_failed_does_not_make_it_a_success() {
    let world = World::new();
    for token in [NOBODY, Some(world.begin().await)] {
        world.faults.fail_always(Op::Set, Fault::Before);
        let answer = world
            .send(token.clone(), |session| async move {
                session.insert("n", &1)?;
                let _ = session.commit().await;
                Ok(())
            })
            .await;
        world.faults.heal();
        answer.assert_silent(StatusCode::SERVICE_UNAVAILABLE);
        if let Some(token) = token {
            assert_eq!(world.opens(&token).await.unwrap().keys, ["start"]);
        }
    }
}

#[tokio::test]
async fn a_handler_that_ignores_a_sign_out_that_failed_does_not_make_it_a_success() {
    let world = World::new();
    let token = world.begin_signed_in("ada").await;
    world.faults.fail_always(Op::Delete, Fault::Before);
    let answer = world
        .send(&token, |session| async move {
            session.sign_out()?;
            let _ = session.commit().await;
            Ok(())
        })
        .await;
    answer.assert_silent(StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_session_that_was_stored_is_announced_though_a_later_write_of_the_request_fails() {
    let world = World::new();
    let faults = world.faults.clone();
    let answer = world
        .send(NOBODY, |session| async move {
            session.insert("first", &1)?;
            session.commit().await?;
            faults.fail_always(Op::Set, Fault::Before);
            session.insert("second", &1)
        })
        .await;
    world.faults.heal();
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(world.opens(&answer.token()).await.unwrap().keys, ["first"]);
}

// guarantee: 13
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_random_faults_and_contention_every_acknowledged_increment_counts_once() {
    let mut seed = u64::from(std::process::id());
    for _ in 0..40 {
        let seed = random(&mut seed);
        println!("seed {seed}");
        let world = World::new();
        let token = world.begin().await;
        world.faults.fail_at_random(seed, 150);
        let barrier = Arc::new(Barrier::new(16));
        let requests: Vec<_> = (0..16)
            .map(|_| {
                let barrier = Arc::clone(&barrier);
                let (world, token) = (world.clone(), token.clone());
                tokio::spawn(async move {
                    barrier.wait().await;
                    let mut answers = Vec::new();
                    for _ in 0..4 {
                        answers.push(world.send(&token, count).await);
                    }
                    answers
                })
            })
            .collect();
        let (mut acknowledged, mut unknown) = (BTreeSet::new(), 0);
        for request in requests {
            for answer in request.await.unwrap() {
                assert!(answer.set.is_empty());
                match answer.status {
                    StatusCode::OK => {
                        assert!(acknowledged.insert(answer.body.parse::<u32>().unwrap()), "answered twice")
                    }
                    StatusCode::SERVICE_UNAVAILABLE => unknown += 1,
                    other => panic!("{other}"),
                }
            }
        }
        world.faults.heal();
        let counted = world.read::<u32>(&token, "n").await.unwrap_or(0) as usize;
        assert!(
            acknowledged.len() <= counted && counted <= acknowledged.len() + unknown,
            "{} acknowledged, {unknown} unknown, {counted} counted",
            acknowledged.len()
        );
        assert!(acknowledged.iter().all(|number| *number as usize <= counted));
    }
}
