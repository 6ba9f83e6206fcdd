//! Store failures: the client gets an error, no cookie is set for an unstored session, and no change takes effect twice.

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
use support::race::{MINUTE, NO_TOKEN, World};
use support::store::{Counts, Fault, Op, random};
use tokio::sync::Barrier;

async fn increment(session: Session) -> Result<String, Error> {
    let number = session.update_now("n", |n: &mut u32| {
        *n += 1;
        *n
    });
    Ok(number.await?.to_string())
}

/// A failed `get` answers 503 and raises `StoreFailed`; the next request opens the session.
#[tokio::test]
async fn failed_get_is_a_503_without_a_cookie() {
    let world = World::new();
    let token = world.begin().await;
    world.faults.fail(Op::Get, 1, Fault::Before);
    world.insert(&token, "n", 1).await.assert_silent(StatusCode::SERVICE_UNAVAILABLE);
    assert!(world.saw(EventKind::StoreFailed));
    assert!(world.is_live(&token).await, "the next request works");
}

/// A handler's first load fails with `Unavailable`; its second load succeeds, and its write commits.
#[tokio::test]
async fn load_can_be_repeated_after_a_failed_get() {
    let world = World::new();
    let token = world.begin().await;
    world.faults.fail(Op::Get, 1, Fault::Before);
    let answer = world
        .send_unloaded(&token, |handle| async move {
            assert_eq!(handle.load().await.unwrap_err().kind(), ErrorKind::Unavailable);
            // The second load succeeds.
            handle.load().await?.insert("n", &1)
        })
        .await;
    answer.assert_silent(StatusCode::OK);
    assert_eq!(world.opens(&token).await.unwrap().keys, ["start", "n"]);
}

/// A commit whose first `set` is not applied loads the record again and retries; the increment counts once.
#[tokio::test]
async fn set_that_fails_before_it_is_applied_is_retried() {
    let world = World::new();
    let token = world.begin().await;
    world.faults.fail(Op::Set, 1, Fault::Before);
    let (answer, counts) = world.cost(world.send(&token, increment)).await;
    assert_eq!(answer.assert_ok().body, "1");
    assert_eq!(counts, Counts::gets(2).and_sets(2));
    assert_eq!(world.read::<u32>(&token, "n").await, Some(1));
    assert!(world.saw(EventKind::StoreFailed));
}

// guarantee: 13
/// A commit whose `set` is applied with a lost result finds its commit id in the record; the increment counts once.
#[tokio::test]
async fn set_that_fails_after_it_is_applied_is_not_retried() {
    let world = World::new();
    let token = world.begin().await;
    world.faults.fail(Op::Set, 1, Fault::After);
    let (answer, counts) = world.cost(world.send(&token, increment)).await;
    assert_eq!(answer.assert_ok().body, "1");
    assert_eq!(counts, Counts::gets(2).and_sets(1), "one get finds the commit id");
    assert_eq!(world.read::<u32>(&token, "n").await, Some(1));
}

// guarantee: 13
/// A failed `set` is applied just before its retry; the increment counts once.
#[tokio::test]
async fn late_set_takes_effect_once() {
    let world = World::new();
    let token = world.begin().await;
    world.faults.fail(Op::Set, 1, Fault::Late);
    let answer = world.send(&token, increment).await;
    assert_eq!(answer.assert_ok().body, "1");
    assert_eq!(world.read::<u32>(&token, "n").await, Some(1));
}

/// The closure computes a different value in each run; `update_now` returns the value of the late, stored run.
#[tokio::test]
async fn update_now_returns_the_stored_value_after_a_late_set() {
    let world = World::new();
    let token = world.begin().await;
    let slow = world
        .hold(&token, |session, gate| async move {
            gate.wait().await;
            // The closure computes a different value in each run, like one that draws a ticket number.
            let runs = Arc::new(AtomicU32::new(0));
            let ticket = session.update_now("ticket", move |ticket: &mut u32| {
                *ticket = runs.fetch_add(1, Ordering::SeqCst);
                *ticket
            });
            Ok(ticket.await?.to_string())
        })
        .await;
    // The first attempt conflicts; the second runs the closure again and is applied late.
    world.insert(&token, "meanwhile", 1).await.assert_ok();
    world.faults.fail(Op::Set, 2, Fault::Late);
    let returned: u32 = slow.finish().await.assert_ok().body.parse().unwrap();
    assert_eq!(world.read::<u32>(&token, "ticket").await, Some(returned));
}

// guarantee: 6
/// While every `set` fails, inserts, rotations, sign-ins and `update_now` answer 503; the old session stays unchanged.
#[tokio::test]
async fn permanent_set_failure_is_a_503_without_a_cookie() {
    let world = World::new();
    let token = world.begin().await;
    world.faults.fail_always(Op::Set, Fault::Before);
    world.insert(&token, "n", 1).await.assert_silent(StatusCode::SERVICE_UNAVAILABLE);
    world.send(&token, |session| async move { session.rotate() }).await.assert_silent(StatusCode::SERVICE_UNAVAILABLE);
    let signed_in = world.send(&token, |session| async move { session.sign_in("ada") }).await;
    signed_in.assert_silent(StatusCode::SERVICE_UNAVAILABLE);
    world.send(&token, increment).await.assert_silent(StatusCode::SERVICE_UNAVAILABLE);
    world.faults.heal();
    let opened = world.opens(&token).await.expect("the old token must still work");
    assert_eq!((opened.owner, opened.keys), (None, vec!["start".to_owned()]));
}

/// Every `set` is applied with a lost result; twenty increments return 1 to 20.
#[tokio::test]
async fn commits_with_lost_results_are_found_by_commit_id() {
    let world = World::new();
    let token = world.begin().await;
    world.faults.fail_always(Op::Set, Fault::After);
    for number in 1..=20 {
        assert_eq!(world.send(&token, increment).await.assert_ok().body, number.to_string());
    }
    assert_eq!(world.read::<u32>(&token, "n").await, Some(20));
}

/// A `set` fails and every `get` after it; the request answers 503, whether or not the `set` was applied.
#[tokio::test]
async fn store_outage_during_a_commit_is_a_503() {
    for applied in [Fault::Before, Fault::After] {
        let world = World::new();
        let token = world.begin().await;
        let answer = world
            .hold(&token, |session, gate| async move {
                gate.wait().await;
                increment(session).await
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
/// While every `set` fails, an insert or a sign-in without a session answers 503.
#[tokio::test]
async fn failed_creation_sets_no_cookie_and_leaves_no_record() {
    let world = World::new();
    world.faults.fail_always(Op::Set, Fault::Before);
    let answer = world.send(NO_TOKEN, |session| async move { session.insert("n", &1) }).await;
    answer.assert_silent(StatusCode::SERVICE_UNAVAILABLE);
    let answer = world.send(NO_TOKEN, |session| async move { session.sign_in("ada") }).await;
    answer.assert_silent(StatusCode::SERVICE_UNAVAILABLE);
    assert!(world.memory.is_empty());
}

/// A creating `set` is applied with a lost result; one `get` finds the session, and the cookie is set.
#[tokio::test]
async fn creation_with_a_lost_result_is_found() {
    let world = World::new();
    world.faults.fail(Op::Set, 1, Fault::After);
    let (answer, counts) = world.cost(world.send(NO_TOKEN, increment)).await;
    assert_eq!(answer.assert_ok().body, "1");
    assert_eq!(counts, Counts::gets(1).and_sets(1));
    assert_eq!(world.read::<u32>(&answer.token(), "n").await, Some(1));
    assert_eq!(world.memory.len(), 1);
}

/// A `set` fails before or after it is applied, or is applied late; the new token works, and the old one does not.
#[tokio::test]
async fn rotation_and_sign_in_survive_a_store_fault() {
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
/// The `set` fails and the record is deleted before the retry; the sign-in answers 503 and sets no cookie.
#[tokio::test]
async fn sign_in_with_unknown_outcome_is_a_503() {
    for fault in [Fault::Before, Fault::After, Fault::Late] {
        let world = World::new();
        let token = world.begin().await;
        world.faults.fail(Op::Set, 1, fault);
        let reload = world.faults.hold_before(Op::Get, 2);
        let request = world.spawn(&token, |session| async move { session.sign_in("ada") });
        reload.reached().await;
        // The session ends meanwhile, so the record cannot show whether the sign-in was applied.
        assert!(world.memory.delete(&session_of(&token), None).await.unwrap());
        reload.release();
        request.await.unwrap().assert_silent(StatusCode::SERVICE_UNAVAILABLE);
        assert!(world.memory.is_empty());
    }
}

// guarantee: 6
/// A failed `touch` raises `UpkeepFailed`; the response is 200 and the session stays live.
#[tokio::test]
async fn failed_touch_raises_an_event_and_the_request_succeeds() {
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

// guarantee: 2
/// The `set` of a mark fails before or after it is applied, or is applied late; the sign-out succeeds and holds.
#[tokio::test]
async fn failed_end_is_retried() {
    for fault in [Fault::Before, Fault::After, Fault::Late] {
        for signed_in in [false, true] {
            let world = World::new();
            let token = if signed_in { world.begin_signed_in("ada").await } else { world.begin().await };
            world.faults.fail(Op::Set, 1, fault);
            let answer = world.send(&token, |session| async move { session.sign_out() }).await;
            assert!(answer.assert_ok().is_removal(), "{fault:?}, signed in: {signed_in}");
            assert!(!world.is_live(&token).await);
            assert_eq!(world.live_sessions(), 0);
            assert_eq!(world.events.count(EventKind::Ended), 1);
        }
    }
}

/// While every `set` fails, a sign-out answers 503 without a cookie; the session stays live.
#[tokio::test]
async fn failed_sign_out_is_a_503_and_keeps_the_cookie() {
    for signed_in in [false, true] {
        let world = World::new();
        let token = if signed_in { world.begin_signed_in("ada").await } else { world.begin().await };
        world.faults.fail_always(Op::Set, Fault::Before);
        let answer = world.send(&token, |session| async move { session.sign_out() }).await;
        answer.assert_silent(StatusCode::SERVICE_UNAVAILABLE);
        world.faults.heal();
        assert_eq!(world.opens(&token).await.unwrap().owner.is_some(), signed_in);
        assert_eq!(world.events.ends(), []);
    }
}

/// The owner's index keeps the entry of an ended session: an event is raised, and the sign-out succeeds.
#[tokio::test]
async fn failed_index_removal_is_an_event() {
    for fault in [Fault::Before, Fault::After] {
        let world = World::new();
        let token = world.begin_signed_in("ada").await;
        world.faults.fail_always(Op::RemoveFromIndex, fault);
        let answer = world.send(&token, |session| async move { session.sign_out() }).await;
        assert!(answer.assert_ok().is_removal());
        assert_eq!(world.events.count(EventKind::UpkeepFailed), 1);
        assert!(!world.is_live(&token).await);
        assert!(world.sessions().owned_by("ada").await.unwrap().is_empty());
    }
}

/// The mark of an ended session contains neither its keys nor its values nor its owner, and is gone in a minute.
#[tokio::test]
async fn mark_of_an_ended_session_holds_no_data() {
    for signed_in in [false, true] {
        let world = World::new();
        let token = if signed_in { world.begin_signed_in("ada lovelace").await } else { world.begin().await };
        world.insert(&token, "note", "private").await;
        world.send(&token, |session| async move { session.sign_out() }).await.assert_ok();
        let mark = world.memory.get(&session_of(&token)).await.unwrap().unwrap();
        assert_eq!(mark.expires_at(), world.clock.now() + MINUTE);
        let left = mark.encode();
        let holds = |text: &[u8]| left.windows(text.len()).any(|bytes| bytes == text);
        assert!(!holds(b"note") && !holds(b"private") && !holds(b"lovelace"));
        assert!(!world.saw(EventKind::Expired), "the session ended and did not expire");
    }
}

/// While every `set` fails, Bob's sign-in to Ada's session answers 503; Ada's session stays, and Bob has none.
#[tokio::test]
async fn sign_in_fails_if_another_owners_session_cannot_be_ended() {
    let world = World::new();
    let token = world.begin_signed_in("ada").await;
    world.faults.fail_always(Op::Set, Fault::Before);
    let answer = world.send(&token, |session| async move { session.sign_in("bob") }).await;
    answer.assert_silent(StatusCode::SERVICE_UNAVAILABLE);
    world.faults.heal();
    assert_eq!(world.opens(&token).await.unwrap().owner.as_deref(), Some("ada"));
    assert!(world.sessions().owned_by("bob").await.unwrap().is_empty());
}

/// Increments with a faulty `set` and `others` commits before the retry; returns the status and the counter.
async fn increment_with_unknown_outcome(fault: Fault, others: u32) -> (StatusCode, u32) {
    let world = World::new();
    let token = world.begin().await;
    world.faults.fail(Op::Set, 1, fault);
    let gate = world.faults.hold_before(Op::Get, 2);
    let slow = world.spawn(&token, increment);
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
/// With up to 7 commits in between, the commit takes effect once; with 9 or more it fails with 503, without a retry.
#[tokio::test]
async fn commit_with_unknown_outcome_is_retried_only_if_safe() {
    for others in 0..=7 {
        assert_eq!(
            increment_with_unknown_outcome(Fault::After, others).await,
            (StatusCode::OK, 1),
            "applied, {others} others"
        );
        assert_eq!(
            increment_with_unknown_outcome(Fault::Before, others).await,
            (StatusCode::OK, 1),
            "not applied, {others} others"
        );
    }
    for others in 9..=12 {
        let unknown = StatusCode::SERVICE_UNAVAILABLE;
        assert_eq!(
            increment_with_unknown_outcome(Fault::After, others).await,
            (unknown, 1),
            "applied, {others} others"
        );
        assert_eq!(
            increment_with_unknown_outcome(Fault::Before, others).await,
            (unknown, 0),
            "not applied, {others} others"
        );
    }
}

// guarantee: 6
/// A handler ignores its commit's failure and succeeds; the response is 503, for new and existing sessions.
#[tokio::test]
async fn ignored_commit_failure_fails_the_response() {
    let world = World::new();
    for token in [NO_TOKEN, Some(world.begin().await)] {
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

/// A handler ignores the failed commit of its sign-out and succeeds; the response is 503 without a cookie.
#[tokio::test]
async fn ignored_sign_out_failure_fails_the_response() {
    let world = World::new();
    let token = world.begin_signed_in("ada").await;
    world.faults.fail_always(Op::Set, Fault::Before);
    let answer = world
        .send(&token, |session| async move {
            session.sign_out()?;
            let _ = session.commit().await;
            Ok(())
        })
        .await;
    answer.assert_silent(StatusCode::SERVICE_UNAVAILABLE);
}

/// A handler commits a new session and then a write fails; the 503 response sets the cookie of the stored session.
#[tokio::test]
async fn committed_session_sets_its_cookie_after_a_later_failure() {
    let world = World::new();
    let faults = world.faults.clone();
    let answer = world
        .send(NO_TOKEN, |session| async move {
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
/// Sixteen concurrent clients increment under random faults; every acknowledged number is unique and counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn random_faults_never_lose_or_repeat_an_increment() {
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
                        answers.push(world.send(&token, increment).await);
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
                        assert!(acknowledged.insert(answer.body.parse::<u32>().unwrap()), "a number was returned twice")
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
