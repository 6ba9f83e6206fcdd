//! Several futures at once, in one task, on any runtime.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Runs all of them at once; their outputs come in the order in which they were given.
pub(super) async fn join<T: Future + Send>(futures: impl IntoIterator<Item = T>) -> Vec<T::Output> {
    let mut places: Vec<Place<T>> = futures.into_iter().map(Place::new).collect();
    poll_fn(|context| {
        let mut all_done = true;
        for place in &mut places {
            all_done &= place.poll(context);
        }
        if all_done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    places.into_iter().filter_map(|place| place.output).collect()
}

/// Polls a future so many times, then drops it, as a client that goes away does.
pub(super) async fn dropped_after<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|context| {
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// A future among others. It is polled only when it was woken, as it would be in a task of its own.
struct Place<T: Future> {
    future: Option<Pin<Box<T>>>,
    output: Option<T::Output>,
    bell: Arc<Bell>,
}

struct Bell {
    rung: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl<T: Future> Place<T> {
    fn new(future: T) -> Self {
        let bell = Bell { rung: AtomicBool::new(true), task: Mutex::new(None) };
        Self { future: Some(Box::pin(future)), output: None, bell: Arc::new(bell) }
    }

    /// Says whether it is done.
    fn poll(&mut self, context: &Context<'_>) -> bool {
        let Some(future) = &mut self.future else { return true };
        *self.bell.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.waker().clone());
        if !self.bell.rung.swap(false, Ordering::SeqCst) {
            return false;
        }
        let waker = Waker::from(Arc::clone(&self.bell));
        let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) else { return false };
        self.output = Some(output);
        self.future = None;
        true
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung.store(true, Ordering::SeqCst);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            task.wake();
        }
    }
}
