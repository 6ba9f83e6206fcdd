//! Per-session queues of the commits of this process that lost a race.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::sync::OwnedMutexGuard;

use crate::token::SessionId;

/// Lets the commits that lost a race for one session go on one after another. Empty while none has.
///
/// A turn saves attempts and is not a lock: a commit that waits too long goes on without one, so that a commit that holds its
/// turn and is no longer polled does not hold up the others.
#[derive(Default)]
pub(crate) struct CommitQueue(Mutex<HashMap<SessionId, Arc<Line>>>);

/// The commits that wait for one session.
#[derive(Default)]
struct Line {
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Number of turns that have ended.
    passed: AtomicU64,
}

/// A commit's place in the queue, given up when it is dropped.
pub(crate) struct Place<'a> {
    queue: &'a CommitQueue,
    id: SessionId,
    line: Option<Arc<Line>>,
    turn: Option<OwnedMutexGuard<()>>,
}

impl CommitQueue {
    /// Creates a place in the queue of a session.
    pub(crate) fn enter(&self, id: SessionId) -> Place<'_> {
        let line = Some(Arc::clone(self.lines().entry(id).or_default()));
        Place { queue: self, id, line, turn: None }
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Line>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place<'_> {
    /// Waits for the turn; returns whether it had to wait.
    ///
    /// It returns without the turn if no turn ended during `idle`, or if `is_late` says so after one.
    pub(crate) async fn wait<I>(&mut self, idle: impl Fn() -> I, is_late: impl Fn() -> bool) -> bool
    where
        I: Future<Output = ()>,
    {
        let Some(line) = self.line.as_ref().filter(|_| self.turn.is_none()) else { return false };
        if let Ok(turn) = Arc::clone(&line.turn).try_lock_owned() {
            self.turn = Some(turn);
            return false;
        }
        let mut turn = pin!(Arc::clone(&line.turn).lock_owned());
        loop {
            let passed = line.passed.load(Ordering::SeqCst);
            self.turn = ready_before(turn.as_mut(), idle()).await;
            if self.turn.is_some() || line.passed.load(Ordering::SeqCst) == passed || is_late() {
                return true;
            }
        }
    }
}

/// Waits for a future; `None` if `limit` is over first.
pub(crate) async fn ready_before<T>(
    mut future: Pin<&mut impl Future<Output = T>>,
    limit: impl Future<Output = ()>,
) -> Option<T> {
    let mut limit = pin!(limit);
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => limit.as_mut().poll(context).map(|()| None),
    })
    .await
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let (Some(turn), Some(line)) = (self.turn.take(), &self.line) {
            line.passed.fetch_add(1, Ordering::SeqCst);
            drop(turn);
        }
        let mut lines = self.queue.lines();
        // Under the lock, so that the last place sees that it is the last.
        drop(self.line.take());
        if let Entry::Occupied(line) = lines.entry(self.id)
            && Arc::strong_count(line.get()) == 1
        {
            line.remove();
        }
    }
}

impl fmt::Debug for CommitQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommitQueue").field("sessions", &self.lines().len()).finish()
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
