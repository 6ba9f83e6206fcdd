//! Explicit rotation with concurrent requests: one new token, no lost write, and no token for other requests.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use http::StatusCode;
use sessile::event::EventKind;
use sessile::store::Store;
use sessile::{ErrorKind, Lifetime};
use support::client::session_of;
use support::race::{Answer, DAY, HOUR, MINUTE, NO_TOKEN, SECOND, World};
use support::store::Op;

const ROUNDS: usize = 30;
const CONCURRENT: usize = 20;

async fn rotate(world: &World, token: &str) -> Answer {
    world.send(token, |session| async move { session.rotate() }).await
}

// guarantee: 3
/// The new token opens the same session with its keys; the old one opens nothing.
#[tokio::test]
async fn rotation_keeps_the_session_and_retires_the_old_token() {
    let world = World::new();
    let old = world.begin().await;
    let answer = rotate(&world, &old).await;
    let new = answer.assert_ok().token();
    assert_ne!(new, old);
    assert_eq!(session_of(&new), session_of(&old));
    assert_eq!(world.opens(&new).await.unwrap().keys, ["start"]);
    assert!(!world.is_live(&old).await);
    assert_eq!(world.memory.len(), 1);
}

/// A request without a session that only rotates sets no cookie and stores nothing.
#[tokio::test]
async fn rotation_of_an_empty_new_session_does_nothing() {
    let world = World::new();
    let answer = world.send(NO_TOKEN, |session| async move { session.rotate() }).await;
    answer.assert_silent(StatusCode::OK);
    assert!(world.memory.is_empty());
}

// guarantee: 3
/// A request that has committed a rotation or a sign-in rotates again: only its last token opens the session.
#[tokio::test]
async fn a_request_rotates_again_after_it_has_committed() {
    for signs_in in [false, true] {
        let world = World::new();
        let old = world.begin().await;
        let answer = world
            .send(&old, move |session| async move {
                if signs_in { session.sign_in("ada") } else { session.rotate() }?;
                session.commit().await?;
                session.rotate()
            })
            .await;
        let new = answer.assert_ok().token();
        assert!(world.is_live(&new).await && !world.is_live(&old).await);
        assert_eq!(world.events.count(EventKind::Rotated), 2);
    }
}

/// A request that writes, rotates and writes again commits both keys under the new token.
#[tokio::test]
async fn writes_before_and_after_a_rotation_are_committed() {
    let world = World::new();
    let old = world.begin().await;
    let answer = world
        .send(&old, |session| async move {
            session.insert("before", &1)?;
            session.rotate()?;
            session.insert("after", &1)
        })
        .await;
    assert_eq!(world.opens(&answer.token()).await.unwrap().keys, ["start", "before", "after"]);
}

// guarantee: 3
/// A request that loaded before the rotation writes after it: the key is in the rotated session.
#[tokio::test]
async fn writer_overtaken_by_a_rotation_commits_without_a_cookie() {
    let world = World::new();
    let old = world.begin().await;
    let slow = world
        .hold(&old, |session, gate| async move {
            gate.wait().await;
            session.insert("slow", &1)
        })
        .await;
    let new = rotate(&world, &old).await.token();
    slow.finish().await.assert_silent(StatusCode::OK);
    assert_eq!(world.opens(&new).await.unwrap().keys, ["start", "slow"]);
}

/// A request that loaded before the rotation reads its values after it, and the new token works.
#[tokio::test]
async fn reader_overtaken_by_a_rotation_sets_no_cookie() {
    let world = World::new();
    let old = world.begin().await;
    let slow = world
        .hold(&old, |session, gate| async move {
            gate.wait().await;
            assert_eq!(session.get("start")?, Some(true));
            Ok(())
        })
        .await;
    let new = rotate(&world, &old).await.token();
    slow.finish().await.assert_silent(StatusCode::OK);
    assert!(world.is_live(&new).await);
}

/// With a Max-Age and a touch due, a request overtaken by a rotation sets no cookie, whether it writes or not.
#[tokio::test]
async fn overtaken_request_does_not_resend_a_persistent_cookie() {
    let lifetime = Lifetime::new().with_idle_timeout(HOUR).with_absolute_timeout(30 * DAY).with_max_age(30 * DAY);
    for writes in [false, true] {
        let world = World::with(|layer| layer.with_lifetime(lifetime));
        let old = world.begin().await;
        // A touch is due now, which would send the cookie again.
        world.advance(30 * MINUTE);
        let slow = world
            .hold(&old, move |session, gate| async move {
                gate.wait().await;
                if writes { session.insert("slow", &1) } else { Ok(()) }
            })
            .await;
        let new = rotate(&world, &old).await.token();
        slow.finish().await.assert_silent(StatusCode::OK);
        assert!(world.is_live(&new).await);
    }
}

/// A rotation that commits just before another request's touch leaves that request without a cookie.
#[tokio::test]
async fn touch_overtaken_by_a_rotation_sets_no_cookie() {
    let lifetime = Lifetime::new().with_idle_timeout(HOUR).with_absolute_timeout(30 * DAY).with_max_age(30 * DAY);
    let world = World::with(|layer| layer.with_lifetime(lifetime));
    let old = world.begin().await;
    world.advance(30 * MINUTE);
    let gate = world.faults.hold_before(Op::Touch, 1);
    let slow = world.spawn(&old, |session| async move { session.get::<bool>("start").map(|_| ()) });
    gate.reached().await;
    let new = rotate(&world, &old).await.token();
    gate.release();
    slow.await.unwrap().assert_silent(StatusCode::OK);
    assert!(world.is_live(&new).await);
}

/// A rotation between another request's get and set makes the set fail; the retry stores the write, without a cookie.
#[tokio::test]
async fn write_overtaken_by_a_rotation_is_retried() {
    let world = World::new();
    let old = world.begin().await;
    let gate = world.faults.hold_before(Op::Set, 1);
    let slow = world.spawn(&old, |session| async move { session.insert("slow", &1) });
    gate.reached().await;
    let new = rotate(&world, &old).await.token();
    gate.release();
    slow.await.unwrap().assert_silent(StatusCode::OK);
    assert_eq!(world.opens(&new).await.unwrap().keys, ["start", "slow"]);
    assert!(!world.is_live(&old).await);
}

/// Within 30 seconds of a rotation, reads under the old token see a new session and changes fail with `Superseded`.
#[tokio::test]
async fn retired_token_reads_nothing_and_answers_409_to_writes() {
    let world = World::new();
    let old = world.begin().await;
    let new = rotate(&world, &old).await.token();
    world.advance(30 * SECOND - std::time::Duration::from_millis(1));

    let read = world
        .send(&old, |session| async move {
            assert!(session.is_new());
            assert_eq!((session.id(), session.owner()), (None, None));
            assert!(session.keys().is_empty());
            assert_eq!(session.get::<bool>("start")?, None);
            Ok(())
        })
        .await;
    read.assert_silent(StatusCode::OK);

    let write = world.send(&old, |session| async move { session.insert("late", &1) }).await;
    write.assert_silent(StatusCode::CONFLICT);
    let update = world
        .send(&old, |session| async move {
            let refused = session.update_now("late", |late: &mut u32| *late += 1).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Superseded);
            Err::<(), _>(refused)
        })
        .await;
    update.assert_silent(StatusCode::CONFLICT);
    world.send(&old, |session| async move { session.rotate() }).await.assert_silent(StatusCode::CONFLICT);
    world.send(&old, |session| async move { session.clear() }).await.assert_silent(StatusCode::CONFLICT);
    let lifetime = world.send(&old, |session| async move { session.set_lifetime(Lifetime::aal1()) }).await;
    lifetime.assert_silent(StatusCode::CONFLICT);

    assert_eq!(world.opens(&new).await.unwrap().keys, ["start"]);
    assert_eq!(world.memory.len(), 1);
}

/// A handler that ignores the error of its insert sets no cookie, and the session stays as it was.
#[tokio::test]
async fn ignored_write_error_under_a_retired_token_stores_nothing() {
    let world = World::new();
    let old = world.begin().await;
    let new = rotate(&world, &old).await.token();
    let answer = world
        .send(&old, |session| async move {
            let _ = session.insert("late", &1);
            Ok(())
        })
        .await;
    assert!(answer.set.is_empty());
    assert_eq!(world.opens(&new).await.unwrap().keys, ["start"]);
    assert_eq!(world.memory.len(), 1);
}

/// The response removes no cookie, and the current token still works.
#[tokio::test]
async fn sign_out_under_a_retired_token_ends_nothing() {
    let world = World::new();
    let old = world.begin_signed_in("ada").await;
    let new = rotate(&world, &old).await.token();
    let answer = world.send(&old, |session| async move { session.sign_out() }).await;
    assert!(answer.set.is_empty(), "{answer:?} removes the cookie of the rotation");
    assert!(world.is_live(&new).await);
}

/// A sign-out followed by an insert under a retired token creates no session and keeps the live one.
#[tokio::test]
async fn insert_after_sign_out_under_a_retired_token_answers_409() {
    let world = World::new();
    let old = world.begin_signed_in("ada").await;
    let new = rotate(&world, &old).await.token();
    let answer = world
        .send(&old, |session| async move {
            session.sign_out()?;
            session.insert("flash", "goodbye")
        })
        .await;
    answer.assert_silent(StatusCode::CONFLICT);
    assert!(world.is_live(&new).await);
    assert_eq!(world.memory.len(), 1);
}

/// Thirty seconds after a rotation, a write under the old token creates another session and is no replay.
#[tokio::test]
async fn retired_token_is_unknown_after_thirty_seconds() {
    let world = World::new();
    let old = world.begin().await;
    let new = rotate(&world, &old).await.token();
    world.advance(30 * SECOND);
    assert!(!world.is_live(&old).await);
    let answer = world.insert(&old, "late", 1).await;
    let created = answer.assert_ok().token();
    assert_ne!(session_of(&created), session_of(&old));
    assert_eq!(world.opens(&created).await.unwrap().keys, ["late"]);
    assert_eq!(world.opens(&new).await.unwrap().keys, ["start"]);
    assert!(!world.saw(EventKind::Replayed), "a token retired by an explicit rotation is not a replay");
}

/// The second rotation commits its insert and sets no cookie; the first one's token works.
#[tokio::test]
async fn second_of_two_concurrent_rotations_is_dropped() {
    let world = World::new();
    let old = world.begin().await;
    let slow = world
        .hold(&old, |session, gate| async move {
            session.rotate()?;
            session.insert("slow", &1)?;
            gate.wait().await;
            Ok(())
        })
        .await;
    let new = rotate(&world, &old).await.token();
    slow.finish().await.assert_silent(StatusCode::OK);
    assert_eq!(world.opens(&new).await.unwrap().keys, ["start", "slow"], "the writes of the dropped rotation are kept");
    assert_eq!(world.events.count(EventKind::Rotated), 1);
}

// guarantee: 3
/// Twenty concurrent requests write and rotate: one gets a token that opens the session with all keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_concurrent_rotations_exactly_one_takes_effect() {
    for _ in 0..ROUNDS {
        let world = World::new();
        let old = world.begin().await;
        let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(CONCURRENT));
        let requests: Vec<_> = (0..CONCURRENT)
            .map(|place| {
                let barrier = barrier.clone();
                world.spawn(&old, move |session| async move {
                    barrier.wait().await;
                    session.insert(&format!("key {place}"), &1)?;
                    session.rotate()
                })
            })
            .collect();
        let mut given = Vec::new();
        for request in requests {
            given.extend(request.await.unwrap().assert_ok().new_token());
        }
        assert_eq!(given.len(), 1, "exactly one request rotates");
        let opened = world.opens(&given[0]).await.expect("the new token opens the session");
        assert_eq!(opened.keys.len(), CONCURRENT + 1);
        assert!(!world.is_live(&old).await);
        assert_eq!(world.events.count(EventKind::Rotated), 1);
    }
}

/// Five rotations and fifteen increments: one new token, and a count equal to the acknowledged increments.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_rotations_and_writes_lose_no_write() {
    for _ in 0..ROUNDS {
        let world = World::new();
        let old = world.begin().await;
        let requests: Vec<_> = (0..CONCURRENT)
            .map(|place| {
                world.spawn(&old, move |session| async move {
                    if place % 4 == 0 { session.rotate() } else { session.update("n", |n: &mut usize| *n += 1) }
                })
            })
            .collect();
        let (mut written, mut given) = (0, Vec::new());
        for (place, request) in requests.into_iter().enumerate() {
            let answer = request.await.unwrap();
            given.extend(answer.new_token());
            written += usize::from(place % 4 != 0 && answer.status == StatusCode::OK);
        }
        assert_eq!(given.len(), 1);
        assert_eq!(world.read::<usize>(&given[0], "n").await.unwrap_or(0), written);
        assert_eq!(world.memory.len(), 1, "a request under the retired token created a session");
    }
}

/// A request overtaken by a rotation commits early and then rotates: it receives no token.
#[tokio::test]
async fn overtaken_request_cannot_rotate_after_a_commit() {
    let world = World::new();
    let old = world.begin().await;
    let slow = world
        .hold(&old, |session, gate| async move {
            gate.wait().await;
            session.update_now("slow", |slow: &mut u32| *slow += 1).await?;
            session.rotate()
        })
        .await;
    let new = rotate(&world, &old).await.token();
    let answer = slow.finish().await;
    assert_eq!(answer.new_token(), None, "a retired token was exchanged for a new one: {answer:?}");
    assert!(world.is_live(&new).await, "the token of the first rotation opens nothing");
}

/// A request overtaken by a rotation reloads and then rotates: it receives no token.
#[tokio::test]
async fn overtaken_request_cannot_rotate_after_a_reload() {
    let world = World::new();
    let old = world.begin().await;
    let slow = world
        .hold(&old, |session, gate| async move {
            gate.wait().await;
            session.reload().await?;
            session.rotate()
        })
        .await;
    let new = rotate(&world, &old).await.token();
    let answer = slow.finish().await;
    assert_eq!(answer.new_token(), None, "a retired token was exchanged for a new one: {answer:?}");
    assert!(world.is_live(&new).await, "the token of the first rotation opens nothing");
}

/// An overtaken request rotates, commits and rotates again: it receives no token.
#[tokio::test]
async fn dropped_rotation_cannot_be_repeated_in_its_request() {
    let world = World::new();
    let old = world.begin().await;
    let slow = world
        .hold(&old, |session, gate| async move {
            gate.wait().await;
            session.rotate()?;
            session.commit().await?;
            session.rotate()
        })
        .await;
    let new = rotate(&world, &old).await.token();
    let answer = slow.finish().await;
    assert_eq!(answer.new_token(), None, "both rotations took place: {answer:?}");
    assert!(world.is_live(&new).await);
}

/// Rotations 30 seconds or more apart leave records of constant length, however many there were.
#[tokio::test]
async fn retired_tokens_are_removed_after_thirty_seconds() {
    let mut record_lengths = Vec::new();
    for period in [30 * SECOND, 31 * SECOND, 50 * MINUTE] {
        let world = World::new();
        let mut token = world.begin().await;
        for times in 1..=20 {
            world.advance(period);
            token = rotate(&world, &token).await.token();
            if times >= 10 {
                let record = world.memory.get(&session_of(&token)).await.unwrap().unwrap();
                record_lengths.push(record.encode().len());
            }
        }
    }
    assert!(record_lengths.iter().all(|length| *length == record_lengths[0]), "{record_lengths:?}");
}

/// After two rotations, only the third token opens the session.
#[tokio::test]
async fn sequential_rotations_each_take_effect() {
    let world = World::new();
    let first = world.begin().await;
    let second = rotate(&world, &first).await.token();
    let third = rotate(&world, &second).await.token();
    assert!(!world.is_live(&first).await);
    assert!(!world.is_live(&second).await);
    assert!(world.is_live(&third).await);
}

/// A request rotates, commits and rotates again: the one token it sets works, the old one does not.
#[tokio::test]
async fn two_rotations_in_one_request_set_one_working_cookie() {
    let world = World::new();
    let old = world.begin().await;
    let answer = world
        .send(&old, |session| async move {
            session.rotate()?;
            session.commit().await?;
            session.rotate()
        })
        .await;
    assert!(world.is_live(&answer.token()).await);
    assert!(!world.is_live(&old).await);
}

/// A request that rotates and answers 500 sets no cookie, and the old token still works.
#[tokio::test]
async fn error_response_drops_a_rotation() {
    let world = World::new();
    let old = world.begin().await;
    let answer = world
        .send(&old, |session| async move {
            session.rotate()?;
            Ok(StatusCode::INTERNAL_SERVER_ERROR)
        })
        .await;
    answer.assert_silent(StatusCode::INTERNAL_SERVER_ERROR);
    assert!(world.is_live(&old).await);
}
