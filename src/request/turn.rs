//! The turn of a request's tasks: one at a time loads or commits the session.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// A lock that whichever task is polled first takes.
///
/// A tokio `Mutex` hands its permit to the oldest waiter, even to a future that its handler no longer polls (one of several in
/// a `select!`), and the response would wait for that future forever.
#[derive(Debug, Default)]
pub(crate) struct TurnLock {
    is_taken: AtomicBool,
    released: Notify,
}

/// The turn, which is released when this is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a>(&'a TurnLock);

impl TurnLock {
    /// Waits until no other task of the request has the turn.
    pub(crate) async fn take(&self) -> Turn<'_> {
        self.take_unless(|| false).await.expect("the turn is taken at the end")
    }

    /// Waits for the turn; `None` once `is_done`, even if another task has the turn.
    pub(super) async fn take_unless(&self, is_done: impl Fn() -> bool) -> Option<Turn<'_>> {
        loop {
            // Registered before the checks, so that a release in between is not missed.
            let mut released = pin!(self.released.notified());
            released.as_mut().enable();
            if is_done() {
                return None;
            }
            if let Some(turn) = self.try_take() {
                return Some(turn);
            }
            released.await;
        }
    }

    /// Takes the turn if no other task of the request has it.
    pub(super) fn try_take(&self) -> Option<Turn<'_>> {
        // Lazily: a turn that is created and dropped releases that of another task.
        (!self.is_taken.swap(true, Ordering::SeqCst)).then(|| Turn(self))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.is_taken.store(false, Ordering::SeqCst);
        self.0.released.notify_waiters();
    }
}
