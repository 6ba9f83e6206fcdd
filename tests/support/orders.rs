//! Runs a few tasks in every order, or in random ones, one poll at a time.
//!
//! A task gives way where it awaits [`point`], and where it waits for another task.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::store::{pend, random};

pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// More orders than any test needs.
const MAX_ORDERS: usize = 200_000;

/// A point at which another task may run.
pub async fn point() {
    pend(1).await;
}

/// Runs a scenario in each order of its tasks; returns the number of orders.
///
/// The scenario gets the runner of this order, and has to do the same each time.
pub async fn every_order(mut scenario: impl AsyncFnMut(&mut Order)) -> usize {
    let mut order = Order { choices: Vec::new(), next: 0, random: None };
    for count in 1..MAX_ORDERS {
        order.next = 0;
        scenario(&mut order).await;
        while order.choices.last().is_some_and(|(chosen, of)| chosen + 1 == *of) {
            order.choices.pop();
        }
        match order.choices.last_mut() {
            Some((chosen, _)) => *chosen += 1,
            None => return count,
        }
    }
    panic!("more than {MAX_ORDERS} orders");
}

/// Runs a scenario in this many random orders.
pub async fn random_orders(count: u64, mut scenario: impl AsyncFnMut(&mut Order)) {
    for seed in 0..count {
        scenario(&mut Order { choices: Vec::new(), next: 0, random: Some(seed) }).await;
    }
}

/// One order, as the choices of the next task. Printed by a failing test.
#[derive(Debug)]
pub struct Order {
    /// The place of the task among those that can run, and their number.
    choices: Vec<(usize, usize)>,
    next: usize,
    random: Option<u64>,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Order {
    /// Chooses one of several ways.
    pub fn choose(&mut self, of: usize) -> usize {
        if self.next == self.choices.len() {
            let chosen = match &mut self.random {
                Some(state) => usize::try_from(random(state) % of as u64).unwrap(),
                None => 0,
            };
            self.choices.push((chosen, of));
        }
        let (chosen, known) = self.choices[self.next];
        assert_eq!(known, of, "the scenario does not repeat itself");
        self.next += 1;
        chosen
    }

    /// Runs the tasks to their end, in this order.
    pub async fn run(&mut self, tasks: Vec<Task>) {
        let mut waiting: Vec<_> =
            tasks.into_iter().map(|task| (task, Arc::new(Woken(AtomicBool::new(true))))).collect();
        while !waiting.is_empty() {
            let woken: Vec<usize> =
                (0..waiting.len()).filter(|place| waiting[*place].1.0.load(Ordering::SeqCst)).collect();
            assert!(!woken.is_empty(), "{} tasks wait for each other: {self:?}", waiting.len());
            let place = woken[if woken.len() == 1 { 0 } else { self.choose(woken.len()) }];
            // Resets the budget of the runtime for one task.
            pend(1).await;
            let (task, woken) = &mut waiting[place];
            woken.0.store(false, Ordering::SeqCst);
            let waker = Waker::from(Arc::clone(woken));
            if let Poll::Ready(()) = task.as_mut().poll(&mut Context::from_waker(&waker)) {
                drop(waiting.remove(place));
            }
        }
    }
}

/// Polls a future this often, and then drops it; returns whether it was ready.
pub async fn dropped_after(polls: usize, future: impl Future<Output = ()> + Send) -> bool {
    let mut future = Box::pin(future);
    for _ in 0..polls {
        let polled = std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await;
        if polled.is_ready() {
            return true;
        }
        pend(1).await;
    }
    false
}
