//! Rotation while other requests are under way: one new token for the browser, none for anybody else, and nothing lost.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use http::StatusCode;
use sessile::event::EventKind;
use sessile::store::Store;
use sessile::{ErrorKind, Lifetime};
use support::client::session_of;
use support::race::{Answer, DAY, HOUR, MINUTE, NOBODY, SECOND, World};
use support::store::Op;

const ROUNDS: usize = 30;
const MANY: usize = 20;

async fn rotate(world: &World, token: &str) -> Answer {
    world.send(token, |session| async move { session.rotate() }).await
}

// guarantee: 3
#[tokio::test]
async fn a_rotation_keeps_the_session_and_kills_the_old_token() {
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

#[tokio::test]
async fn a_rotation_of_a_session_that_is_not_stored_yet_does_nothing() {
    let world = World::new();
    let answer = world.send(NOBODY, |session| async move { session.rotate() }).await;
    answer.assert_silent(StatusCode::OK);
    assert!(world.memory.is_empty());
}

#[tokio::test]
async fn what_is_written_in_the_request_that_rotates_goes_along() {
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
#[tokio::test]
async fn a_slow_writer_across_a_rotation_commits_into_the_same_session_and_sets_no_cookie() {
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

#[tokio::test]
async fn a_slow_reader_across_a_rotation_reads_on_and_sets_no_cookie() {
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

#[tokio::test]
async fn no_slow_request_renews_a_persistent_cookie_across_a_rotation() {
    let lifetime = Lifetime::new().with_idle_timeout(HOUR).with_absolute_timeout(30 * DAY).with_max_age(30 * DAY);
    for writes in [false, true] {
        let world = World::with(|layer| layer.with_lifetime(lifetime));
        let old = world.begin().await;
        // So that a touch is due, which would send the cookie again.
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

#[tokio::test]
async fn a_touch_that_a_rotation_overtakes_sets_no_cookie() {
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

#[tokio::test]
async fn a_write_that_a_rotation_overtakes_between_its_get_and_its_set_is_not_lost() {
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

#[tokio::test]
async fn under_a_token_that_was_just_retired_a_request_reads_no_session_and_writes_nothing() {
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

#[tokio::test]
async fn a_write_whose_refusal_the_handler_ignores_is_still_not_stored_and_sets_no_cookie() {
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

#[tokio::test]
async fn a_sign_out_under_a_token_that_was_just_retired_ends_nothing_and_clears_no_cookie() {
    let world = World::new();
    let old = world.begin_signed_in("ada").await;
    let new = rotate(&world, &old).await.token();
    let answer = world.send(&old, |session| async move { session.sign_out() }).await;
    assert!(answer.set.is_empty(), "{answer:?} clears the cookie that the rotation has set");
    assert!(world.is_live(&new).await);
}

#[tokio::test]
async fn a_sign_out_with_a_parting_word_under_a_token_that_was_just_retired_begins_no_session() {
    let world = World::new();
    let old = world.begin_signed_in("ada").await;
    let new = rotate(&world, &old).await.token();
    let answer = world
        .send(&old, |session| async move {
            session.sign_out()?;
            session.insert("flash", "good bye")
        })
        .await;
    answer.assert_silent(StatusCode::CONFLICT);
    assert!(world.is_live(&new).await);
    assert_eq!(world.memory.len(), 1);
}

#[tokio::test]
async fn thirty_seconds_later_a_retired_token_is_an_unknown_one() {
    let world = World::new();
    let old = world.begin().await;
    let new = rotate(&world, &old).await.token();
    world.advance(30 * SECOND);
    assert!(!world.is_live(&old).await);
    let answer = world.insert(&old, "late", 1).await;
    let begun = answer.assert_ok().token();
    assert_ne!(session_of(&begun), session_of(&old));
    assert_eq!(world.opens(&begun).await.unwrap().keys, ["late"]);
    assert_eq!(world.opens(&new).await.unwrap().keys, ["start"]);
    assert!(!world.saw(EventKind::Replayed), "what an explicit rotation retired is no replay");
}

#[tokio::test]
async fn of_two_rotations_at_once_the_one_that_comes_second_is_dropped() {
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
    assert_eq!(world.opens(&new).await.unwrap().keys, ["start", "slow"], "what came with it is kept");
    assert_eq!(world.events.count(EventKind::Rotated), 1);
}

// guarantee: 3
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_rotations_at_once_one_sets_a_cookie_and_its_token_works() {
    for _ in 0..ROUNDS {
        let world = World::new();
        let old = world.begin().await;
        let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(MANY));
        let requests: Vec<_> = (0..MANY)
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
            given.extend(request.await.unwrap().assert_ok().given());
        }
        assert_eq!(given.len(), 1, "one of them rotates");
        let opened = world.opens(&given[0]).await.expect("the token that was set works");
        assert_eq!(opened.keys.len(), MANY + 1);
        assert!(!world.is_live(&old).await);
        assert_eq!(world.events.count(EventKind::Rotated), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rotations_and_writes_at_once_lose_neither_a_write_nor_the_browser() {
    for _ in 0..ROUNDS {
        let world = World::new();
        let old = world.begin().await;
        let requests: Vec<_> = (0..MANY)
            .map(|place| {
                world.spawn(&old, move |session| async move {
                    if place % 4 == 0 { session.rotate() } else { session.update("n", |n: &mut usize| *n += 1) }
                })
            })
            .collect();
        let (mut written, mut given) = (0, Vec::new());
        for (place, request) in requests.into_iter().enumerate() {
            let answer = request.await.unwrap();
            given.extend(answer.given());
            written += usize::from(place % 4 != 0 && answer.status == StatusCode::OK);
        }
        assert_eq!(given.len(), 1);
        assert_eq!(world.read::<usize>(&given[0], "n").await.unwrap_or(0), written);
        assert_eq!(world.memory.len(), 1, "no request under the retired token has begun a session");
    }
}

#[tokio::test]
async fn a_request_that_a_rotation_has_overtaken_cannot_rotate_after_a_commit_of_its_own() {
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
    assert_eq!(answer.given(), None, "a token that was rotated out must not earn another: {answer:?}");
    assert!(world.is_live(&new).await, "the browser has the token that the rotation set");
}

#[tokio::test]
async fn a_request_that_a_rotation_has_overtaken_cannot_rotate_after_a_reload() {
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
    assert_eq!(answer.given(), None, "a token that was rotated out must not earn another: {answer:?}");
    assert!(world.is_live(&new).await, "the browser has the token that the rotation set");
}

#[tokio::test]
async fn a_rotation_that_was_dropped_cannot_be_asked_for_again_in_the_same_request() {
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
    assert_eq!(answer.given(), None, "one of them takes place: {answer:?}");
    assert!(world.is_live(&new).await);
}

#[tokio::test]
async fn what_was_retired_leaves_the_record_after_thirty_seconds() {
    let mut lengths = Vec::new();
    for period in [30 * SECOND, 31 * SECOND, 50 * MINUTE] {
        let world = World::new();
        let mut token = world.begin().await;
        for times in 1..=20 {
            world.advance(period);
            token = rotate(&world, &token).await.token();
            if times >= 10 {
                let record = world.memory.get(&session_of(&token)).await.unwrap().unwrap();
                lengths.push(record.encode().len());
            }
        }
    }
    assert!(lengths.iter().all(|length| *length == lengths[0]), "{lengths:?}");
}

#[tokio::test]
async fn two_rotations_one_after_the_other_each_take_place() {
    let world = World::new();
    let first = world.begin().await;
    let second = rotate(&world, &first).await.token();
    let third = rotate(&world, &second).await.token();
    assert!(!world.is_live(&first).await);
    assert!(!world.is_live(&second).await);
    assert!(world.is_live(&third).await);
}

#[tokio::test]
async fn a_request_that_commits_a_rotation_and_rotates_again_sets_one_cookie_that_works() {
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

#[tokio::test]
async fn a_rotation_that_the_answer_undoes_keeps_the_old_token() {
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
