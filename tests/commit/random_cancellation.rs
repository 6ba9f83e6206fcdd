//! Requests on one session, and tasks of one request, that wait for one another, some of which go away at any point of it:
//! whoever stays comes to its end, and what it was told is so.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use http::StatusCode;
use sessile::Session;
use support::race::{Answer, World};
use support::store::{pend, random};

const SEEDS: u64 = 150;

/// A number below the bound.
fn below(state: &mut u64, bound: usize) -> usize {
    usize::try_from(random(state) % u64::try_from(bound).unwrap()).unwrap()
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Polls what was woken, one at a time in an order of the seed's, and drops up to `most_dropped` of the futures wherever they
/// are. The outcomes of the others, of which none may be left that nobody wakes.
async fn run<T>(
    seed: &mut u64,
    futures: Vec<Pin<Box<dyn Future<Output = T> + Send>>>,
    mut most_dropped: usize,
) -> Vec<T> {
    let mut waiting: Vec<_> =
        futures.into_iter().map(|future| (future, Arc::new(Woken(AtomicBool::new(true))))).collect();
    let mut done = Vec::new();
    loop {
        if most_dropped > 0 && !waiting.is_empty() && below(seed, 20) == 0 {
            most_dropped -= 1;
            drop(waiting.swap_remove(below(seed, waiting.len())));
        }
        let woken: Vec<usize> = (0..waiting.len()).filter(|place| waiting[*place].1.0.load(Ordering::SeqCst)).collect();
        if woken.is_empty() {
            assert!(waiting.is_empty(), "{} wait for what never comes", waiting.len());
            return done;
        }
        pend(1).await;
        let place = woken[below(seed, woken.len())];
        let (future, woken) = &mut waiting[place];
        woken.0.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(woken));
        if let Poll::Ready(outcome) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            done.push(outcome);
            drop(waiting.swap_remove(place));
        }
    }
}

/// Counts, notes that it has begun to, and says which number it was given.
async fn count(session: Session, begun: Arc<AtomicU32>) -> Result<u32, sessile::Error> {
    begun.fetch_add(1, Ordering::SeqCst);
    let number = session.update_now("n", |n: &mut u32| {
        *n += 1;
        *n
    });
    number.await
}

#[tokio::test]
async fn of_requests_on_one_session_those_whose_clients_stay_are_all_answered() {
    for seed in 0..SEEDS {
        let mut state = seed;
        let world = World::new();
        let token = world.begin().await;
        world.faults.pend(below(&mut state, 3));
        let begun = Arc::new(AtomicU32::new(0));
        let numbers = Arc::new(Mutex::new(Vec::new()));
        let requests = (0..2 + below(&mut state, 6))
            .map(|_| {
                let (begun, numbers) = (Arc::clone(&begun), Arc::clone(&numbers));
                world.call(&token, |session| async move {
                    let number = count(session, begun).await?;
                    numbers.lock().unwrap().push(number);
                    Ok(())
                })
            })
            .collect::<Vec<_>>();
        let most_dropped = below(&mut state, requests.len());
        let answers: Vec<Answer> = run(&mut state, requests, most_dropped).await;
        for answer in &answers {
            answer.assert_silent(StatusCode::OK);
        }
        world.faults.heal();
        let given = std::mem::take(&mut *numbers.lock().unwrap());
        let stored = world.read::<u32>(&token, "n").await.unwrap_or(0);
        assert!(given.len() >= answers.len(), "seed {seed}");
        assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), given.len(), "seed {seed}: {given:?}");
        assert!(given.iter().all(|number| *number <= stored), "seed {seed}: {given:?}, and {stored} is stored");
        let most = begun.load(Ordering::SeqCst);
        assert!((given.len() as u64..=u64::from(most)).contains(&stored.into()), "seed {seed}: {stored} of {most}");
    }
}

#[tokio::test]
async fn of_tasks_of_one_request_those_that_stay_all_commit_and_what_the_others_began_goes_with_the_response() {
    for seed in 0..SEEDS {
        let world = World::new();
        let token = world.begin().await;
        let begun = Arc::new(AtomicU32::new(0));
        let counting = Arc::clone(&begun);
        world.faults.pend(2);
        let handler = move |session: Session| async move {
            let mut state = seed;
            let (inner, tasks) = (session.clone(), 2 + below(&mut state, 6));
            let most_dropped = below(&mut state, tasks);
            let tasks = (0..tasks)
                .map(|_| {
                    let (session, begun) = (inner.clone(), Arc::clone(&counting));
                    let pauses = below(&mut state, 4);
                    Box::pin(async move {
                        pend(pauses).await;
                        count(session, begun).await
                    }) as Pin<Box<dyn Future<Output = _> + Send>>
                })
                .collect::<Vec<_>>();
            let outcomes = run(&mut state, tasks, most_dropped).await;
            outcomes.into_iter().collect::<Result<Vec<u32>, sessile::Error>>()?;
            // And the turn is free for one more.
            count(session, Arc::clone(&counting)).await.map(|_| ())
        };
        let mut requests = vec![world.call(&token, handler)];
        // Another that writes beside it, so that commits are refused in between.
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
        assert_eq!(stored, Some(begun.load(Ordering::SeqCst)), "seed {seed}");
    }
}
