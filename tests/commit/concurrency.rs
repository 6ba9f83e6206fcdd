//! Many requests at once on one session: nothing that was acknowledged is lost, and no two are given the same.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use http::StatusCode;
use sessile::Session;
use support::client::session_of;
use support::race::{Answer, NOBODY, World};
use support::store::{Fault, Op};
use tokio::sync::Barrier;
use tokio::task::JoinHandle;

const MANY: usize = 50;
const ROUNDS: usize = 20;

/// Fifty requests that have all loaded the session before the first of them goes on.
fn at_once<F, Fut>(world: &World, token: &str, work: F) -> Vec<JoinHandle<Answer>>
where
    F: Fn(usize, Session) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<String, sessile::Error>> + Send,
{
    let barrier = Arc::new(Barrier::new(MANY));
    (0..MANY)
        .map(|place| {
            let (barrier, work) = (Arc::clone(&barrier), work.clone());
            world.spawn(token, move |session| async move {
                barrier.wait().await;
                work(place, session).await
            })
        })
        .collect()
}

async fn all(requests: Vec<JoinHandle<Answer>>) -> Vec<Answer> {
    let mut answers = Vec::new();
    for request in requests {
        answers.push(request.await.unwrap());
    }
    answers
}

// guarantee: 1
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_requests_that_each_set_their_own_key_all_find_it_there() {
    for _ in 0..ROUNDS {
        let world = World::new();
        let token = world.begin().await;
        let requests = at_once(&world, &token, |place, session| async move {
            session.insert(&format!("key {place}"), &place)?;
            Ok(String::new())
        });
        for answer in all(requests).await {
            answer.assert_silent(StatusCode::OK);
        }
        let stored = world.quiet().find_by_id(&support::client::session_of(&token)).await.unwrap().unwrap();
        for place in 0..MANY {
            assert_eq!(stored.get::<usize>(&format!("key {place}")).unwrap(), Some(place));
        }
        assert_eq!(stored.keys().len(), MANY + 1);
    }
}

// guarantee: 1
// checklist: 37
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_increments_count_to_fifty_and_answer_fifty_numbers() {
    for _ in 0..ROUNDS {
        let world = World::new();
        let token = world.begin().await;
        let requests = at_once(&world, &token, |_, session| async move {
            let number = session
                .update_now("count", |count: &mut usize| {
                    *count += 1;
                    *count
                })
                .await?;
            Ok(number.to_string())
        });
        let numbers: BTreeSet<usize> = all(requests).await.iter().map(|answer| answer.body.parse().unwrap()).collect();
        assert_eq!(numbers, (1..=MANY).collect());
        assert_eq!(world.read::<usize>(&token, "count").await, Some(MANY));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_updates_that_push_to_a_list_keep_all_fifty_items() {
    for _ in 0..ROUNDS {
        let world = World::new();
        let token = world.begin().await;
        let requests = at_once(&world, &token, |place, session| async move {
            session.update("list", move |list: &mut Vec<usize>| list.push(place))?;
            Ok(String::new())
        });
        for answer in all(requests).await {
            answer.assert_silent(StatusCode::OK);
        }
        let mut list: Vec<usize> = world.read(&token, "list").await.unwrap();
        list.sort_unstable();
        assert_eq!(list, (0..MANY).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_value_is_taken_by_one_request_of_fifty() {
    for _ in 0..ROUNDS {
        let world = World::new();
        let token = world.begin().await;
        world.insert(&token, "coupon", 493).await.assert_ok();
        let requests = at_once(&world, &token, |_, session| async move {
            let taken: Option<u32> = session.take_now("coupon").await?;
            Ok(taken.map(|taken| taken.to_string()).unwrap_or_default())
        });
        let taken: Vec<String> = all(requests).await.into_iter().map(|answer| answer.body).collect();
        let winners: Vec<&String> = taken.iter().filter(|body| !body.is_empty()).collect();
        assert_eq!(winners, ["493"]);
        assert_eq!(world.read::<u32>(&token, "coupon").await, None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_inserts_of_one_key_the_last_to_be_committed_stays() {
    for _ in 0..ROUNDS {
        let world = World::new();
        let token = world.begin().await;
        let order = Arc::new(AtomicU32::new(0));
        let requests = at_once(&world, &token, move |place, session| {
            let order = Arc::clone(&order);
            async move {
                // The counter that is committed with it tells which was the last.
                session.insert("last", &place)?;
                session.update("commits", |commits: &mut u32| *commits += 1)?;
                session.update("order", move |list: &mut Vec<usize>| list.push(place))?;
                session.commit().await?;
                order.fetch_add(1, Ordering::SeqCst);
                Ok(String::new())
            }
        });
        all(requests).await;
        let list: Vec<usize> = world.read(&token, "order").await.unwrap();
        assert_eq!(world.read::<usize>(&token, "last").await, list.last().copied());
        assert_eq!(world.read::<u32>(&token, "commits").await, Some(50));
    }
}

// guarantee: 1
#[tokio::test]
async fn the_later_of_two_inserts_of_one_key_stays() {
    let world = World::new();
    let token = world.begin().await;
    let (slow, quick) = world
        .overtake(
            &token,
            |session| async move { session.insert("theme", "slow") },
            |session| async move { session.insert("theme", "quick") },
        )
        .await;
    slow.assert_silent(StatusCode::OK);
    quick.assert_silent(StatusCode::OK);
    assert_eq!(world.read::<String>(&token, "theme").await.as_deref(), Some("slow"));
}

#[tokio::test]
async fn an_insert_and_a_removal_of_other_keys_merge() {
    let world = World::new();
    let token = world.begin().await;
    world.insert(&token, "old", 1).await.assert_ok();
    let (slow, quick) = world
        .overtake(
            &token,
            |session| async move { session.insert("new", &1) },
            |session| async move {
                assert!(session.remove("old")?);
                Ok(())
            },
        )
        .await;
    slow.assert_ok();
    quick.assert_ok();
    assert_eq!(world.opens(&token).await.unwrap().keys, ["start", "new"]);
}

#[tokio::test]
async fn a_removal_and_an_insert_of_other_keys_merge() {
    let world = World::new();
    let token = world.begin().await;
    world.insert(&token, "old", 1).await.assert_ok();
    let (slow, quick) = world
        .overtake(
            &token,
            |session| async move { session.remove("old").map(|_| ()) },
            |session| async move { session.insert("new", &1) },
        )
        .await;
    slow.assert_ok();
    quick.assert_ok();
    assert_eq!(world.opens(&token).await.unwrap().keys, ["start", "new"]);
}

#[tokio::test]
async fn a_clear_that_is_committed_later_removes_what_came_before_it() {
    let world = World::new();
    let token = world.begin().await;
    let (slow, _) = world
        .overtake(&token, |session| async move { session.clear() }, |session| async move { session.insert("new", &1) })
        .await;
    slow.assert_silent(StatusCode::OK);
    let opened = world.opens(&token).await.expect("the session itself stays");
    assert!(opened.keys.is_empty());
}

#[tokio::test]
async fn an_insert_that_is_committed_after_a_clear_stays_alone() {
    let world = World::new();
    let token = world.begin().await;
    world
        .overtake(&token, |session| async move { session.insert("new", &1) }, |session| async move { session.clear() })
        .await;
    assert_eq!(world.opens(&token).await.unwrap().keys, ["new"]);
}

#[tokio::test]
async fn a_write_after_a_clear_in_one_request_survives_it_on_replay_too() {
    let world = World::new();
    let token = world.begin().await;
    world
        .overtake(
            &token,
            |session| async move {
                session.insert("before", &1)?;
                session.clear()?;
                session.insert("after", &1)
            },
            |session| async move { session.insert("meanwhile", &1) },
        )
        .await;
    assert_eq!(world.opens(&token).await.unwrap().keys, ["after"]);
}

#[tokio::test]
async fn an_update_runs_again_on_what_another_request_has_stored() {
    let world = World::new();
    let token = world.begin().await;
    world.insert(&token, "count", 10).await.assert_ok();
    let runs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    world
        .overtake(
            &token,
            move |session| async move {
                session.update("count", move |count: &mut u32| {
                    counted.fetch_add(1, Ordering::SeqCst);
                    *count += 1;
                })
            },
            |session| async move { session.update("count", |count: &mut u32| *count += 100) },
        )
        .await;
    assert_eq!(world.read::<u32>(&token, "count").await, Some(111));
    assert_eq!(runs.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_number_is_that_of_the_run_that_was_stored() {
    let world = World::new();
    let token = world.begin().await;
    let gate = world.faults.hold_before(Op::Set, 1);
    let slow = world.spawn(&token, |session| async move {
        let number = session.update_now("count", |count: &mut u32| {
            *count += 1;
            *count
        });
        Ok(number.await?.to_string())
    });
    gate.reached().await;
    world.insert(&token, "count", 41_u32).await.assert_ok();
    gate.release();
    assert_eq!(slow.await.unwrap().assert_ok().body, "42");
}

#[tokio::test]
async fn changes_that_no_longer_fit_what_is_stored_are_refused_whole() {
    let world = World::new();
    let token = world.begin().await;
    let (slow, _) = world
        .overtake(
            &token,
            |session| async move {
                session.insert("kept", &1)?;
                session.update("value", |value: &mut u32| *value += 1)
            },
            |session| async move { session.insert("value", "a text") },
        )
        .await;
    slow.assert_silent(StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(world.opens(&token).await.unwrap().keys, ["start", "value"]);
    assert_eq!(world.read::<String>(&token, "value").await.as_deref(), Some("a text"));
}

#[tokio::test]
async fn a_session_that_has_grown_meanwhile_still_keeps_its_limit() {
    let world = World::with(|layer| layer.with_size_limit(1_000));
    let token = world.begin().await;
    let (slow, quick) = world
        .overtake(
            &token,
            |session| async move { session.insert("slow", &"x".repeat(600)) },
            |session| async move { session.insert("quick", &"x".repeat(600)) },
        )
        .await;
    quick.assert_silent(StatusCode::OK);
    slow.assert_silent(StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(world.opens(&token).await.unwrap().keys, ["start", "quick"]);
}

#[tokio::test]
async fn a_commit_that_keeps_losing_gives_up_at_its_deadline_and_says_so() {
    let world = World::with(|layer| layer.with_commit_deadline(Duration::ZERO));
    let token = world.begin().await;
    let (slow, _) = world
        .overtake(
            &token,
            |session| async move { session.insert("slow", &1) },
            |session| async move { session.insert("quick", &1) },
        )
        .await;
    slow.assert_silent(StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(world.opens(&token).await.unwrap().keys, ["start", "quick"]);
}

#[tokio::test]
async fn a_first_try_may_take_longer_than_the_deadline() {
    // No time at all, and so a try of any length is longer.
    let world = World::with(|layer| layer.with_commit_deadline(Duration::ZERO));
    let token = world.begin().await;
    world.faults.pend(5);
    let answer = world.send(&token, |session| async move {
        session.insert("by the response", &1)?;
        session.update_now("at once", |n: &mut u32| *n += 1).await
    });
    answer.await.assert_silent(StatusCode::OK);
    assert_eq!(world.opens(&token).await.unwrap().keys, ["start", "by the response", "at once"]);
}

#[tokio::test]
async fn the_deadline_of_a_commit_counts_from_its_first_failed_try() {
    const DEADLINE: Duration = Duration::from_millis(500);
    for fails in [false, true] {
        let world = World::with(|layer| layer.with_commit_deadline(DEADLINE));
        let token = world.begin().await;
        let gate = world.faults.hold_before(Op::Set, 1);
        if fails {
            world.faults.fail(Op::Set, 1, Fault::Before);
        }
        let slow = world.spawn(&token, |session| async move { session.insert("slow", &1) });
        gate.reached().await;
        let begun = Instant::now();
        if !fails {
            // Past the store that holds the other up.
            world.quiet().update(&session_of(&token), &BTreeMap::from([("quick", 1)])).await.unwrap();
        }
        while begun.elapsed() <= DEADLINE {
            tokio::task::yield_now().await;
        }
        gate.release();
        slow.await.unwrap().assert_silent(StatusCode::OK);
        let expected = if fails { ["start", "slow"].as_slice() } else { &["start", "quick", "slow"] };
        assert_eq!(world.opens(&token).await.unwrap().keys, expected);
    }
}

#[tokio::test]
async fn a_response_waits_for_the_commit_that_a_task_of_its_handler_has_begun() {
    let world = World::new();
    let gate = world.faults.hold_before(Op::Set, 1);
    let reached = gate.clone();
    let mut request = world.call(NOBODY, move |session| async move {
        session.insert("key", &1)?;
        tokio::spawn(async move { session.commit().await });
        reached.reached().await;
        Ok(())
    });
    // The handler answers once the commit is under way, so this can only end where the response did not wait for it.
    for _ in 0..100 {
        if let Some(answer) = (&mut request).now_or_never() {
            panic!("{answer:?} acknowledges what is not stored");
        }
        tokio::task::yield_now().await;
    }
    gate.release();
    let answer = request.await;
    answer.assert_ok();
    assert_eq!(world.read::<u32>(&answer.token(), "key").await, Some(1));
}
