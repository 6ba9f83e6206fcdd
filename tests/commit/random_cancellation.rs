//! Requests and tasks that wait for each other's commits on one session, some of which are dropped at any await point.
//!
//! All that remain complete, and what they returned agrees with the store.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::StreamExt;
use http::StatusCode;
use sessile::Session;
use support::race::{Answer, World};
use support::store::{pend, random};

const SEEDS: u64 = 150;

/// Returns a random number less than the bound.
fn random_below(state: &mut u64, bound: usize) -> usize {
    usize::try_from(random(state) % u64::try_from(bound).unwrap()).unwrap()
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Polls woken futures in random order, drops up to `max_dropped` of them, and returns the outputs of the others.
///
/// Panics if futures are pending and none of them is woken.
async fn run<T>(
    seed: &mut u64,
    futures: Vec<Pin<Box<dyn Future<Output = T> + Send>>>,
    mut max_dropped: usize,
) -> Vec<T> {
    let mut waiting: Vec<_> =
        futures.into_iter().map(|future| (future, Arc::new(Woken(AtomicBool::new(true))))).collect();
    let mut done = Vec::new();
    loop {
        if max_dropped > 0 && !waiting.is_empty() && random_below(seed, 20) == 0 {
            max_dropped -= 1;
            drop(waiting.swap_remove(random_below(seed, waiting.len())));
        }
        let woken: Vec<usize> = (0..waiting.len()).filter(|place| waiting[*place].1.0.load(Ordering::SeqCst)).collect();
        if woken.is_empty() {
            assert!(waiting.is_empty(), "{} futures are pending and are never woken", waiting.len());
            return done;
        }
        pend(1).await;
        let place = woken[random_below(seed, woken.len())];
        let (future, woken) = &mut waiting[place];
        woken.0.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(woken));
        if let Poll::Ready(outcome) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            done.push(outcome);
            drop(waiting.swap_remove(place));
        }
    }
}

/// Records its start, increments `n`, and returns the new value.
async fn count(session: Session, started: Arc<AtomicU32>) -> Result<u32, sessile::Error> {
    started.fetch_add(1, Ordering::SeqCst);
    let number = session.update_now("n", |n: &mut u32| {
        *n += 1;
        *n
    });
    number.await
}

/// Of up to seven concurrent increments, some dropped at random, all others answer 200 with distinct stored counts.
#[tokio::test]
async fn requests_complete_when_concurrent_ones_are_dropped() {
    for seed in 0..SEEDS {
        let mut state = seed;
        let world = World::new();
        let token = world.begin().await;
        world.faults.pend(random_below(&mut state, 3));
        let started = Arc::new(AtomicU32::new(0));
        let numbers = Arc::new(Mutex::new(Vec::new()));
        let requests = (0..2 + random_below(&mut state, 6))
            .map(|_| {
                let (started, numbers) = (Arc::clone(&started), Arc::clone(&numbers));
                world.call(&token, |session| async move {
                    let number = count(session, started).await?;
                    numbers.lock().unwrap().push(number);
                    Ok(())
                })
            })
            .collect::<Vec<_>>();
        let max_dropped = random_below(&mut state, requests.len());
        let answers: Vec<Answer> = run(&mut state, requests, max_dropped).await;
        for answer in &answers {
            answer.assert_silent(StatusCode::OK);
        }
        world.faults.heal();
        let returned = std::mem::take(&mut *numbers.lock().unwrap());
        let stored = world.read::<u32>(&token, "n").await.unwrap_or(0);
        assert!(returned.len() >= answers.len(), "seed {seed}");
        assert_eq!(returned.iter().collect::<BTreeSet<_>>().len(), returned.len(), "seed {seed}: {returned:?}");
        assert!(returned.iter().all(|number| *number <= stored), "seed {seed}: {returned:?}, stored {stored}");
        let most = started.load(Ordering::SeqCst);
        assert!((returned.len() as u64..=u64::from(most)).contains(&stored.into()), "seed {seed}: {stored} of {most}");
    }
}

/// Tasks of one request increment and some are dropped at random: with the response, all started increments are stored.
#[tokio::test]
async fn tasks_of_a_request_commit_when_others_are_dropped() {
    for seed in 0..SEEDS {
        let world = World::new();
        let token = world.begin().await;
        let started = Arc::new(AtomicU32::new(0));
        let tasks_started = Arc::clone(&started);
        world.faults.pend(2);
        let handler = move |session: Session| async move {
            let mut state = seed;
            let (inner, tasks) = (session.clone(), 2 + random_below(&mut state, 6));
            let max_dropped = random_below(&mut state, tasks);
            let tasks = (0..tasks)
                .map(|_| {
                    let (session, started) = (inner.clone(), Arc::clone(&tasks_started));
                    let pauses = random_below(&mut state, 4);
                    Box::pin(async move {
                        pend(pauses).await;
                        count(session, started).await
                    }) as Pin<Box<dyn Future<Output = _> + Send>>
                })
                .collect::<Vec<_>>();
            let outcomes = run(&mut state, tasks, max_dropped).await;
            outcomes.into_iter().collect::<Result<Vec<u32>, sessile::Error>>()?;
            // The commit queue must be free for one more commit.
            count(session, Arc::clone(&tasks_started)).await.map(|_| ())
        };
        let mut requests = vec![world.call(&token, handler)];
        // Another request writes concurrently, so that some commits are refused and retried.
        if seed % 2 == 0 {
            requests.push(world.call(&token, |session| async move {
                for _ in 0..3 {
                    session.update_now("other", |n: &mut u32| *n += 1).await?;
                }
                Ok(())
            }));
        }
        for answer in run(&mut seed.wrapping_add(1), requests, 0).await {
            answer.assert_silent(StatusCode::OK);
        }
        world.faults.heal();
        let stored = world.read::<u32>(&token, "n").await;
        assert_eq!(stored, Some(started.load(Ordering::SeqCst)), "seed {seed}");
    }
}

/// Of two concurrent commits one is no longer polled while it waits; the handler's next commit does not wait for it.
#[tokio::test]
async fn unpolled_commit_does_not_block_its_request() {
    let world = World::new();
    let token = world.begin().await;
    world.faults.pend(2);
    let handler = |session: Session| async move {
        let counts = futures_util::stream::iter(0..6).map(|_| session.update_now("n", |n: &mut u32| *n += 1));
        let mut counts = counts.buffer_unordered(2);
        while let Some(counted) = counts.next().await {
            counted?;
            // Here the stream is not polled, and one of its commits may be waiting for its turn.
            session.insert("last", &1)?;
            session.commit().await?;
        }
        Ok(())
    };
    world.send(&token, handler).await.assert_silent(StatusCode::OK);
    world.faults.heal();
    assert_eq!(world.read::<u32>(&token, "n").await, Some(6));
}
