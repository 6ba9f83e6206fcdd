//! What the parts of a request share of its session while it is under way, behind one lock.

use std::future::poll_fn;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::work::Work;

/// Locked for a few instructions at a time: never while a closure of the application runs, nor across an await.
///
/// One lock rather than one for each of its parts, since a request takes it a handful of times whatever it does.
#[derive(Debug, Default)]
pub(super) struct Shared(Mutex<State>);

#[derive(Debug, Default)]
pub(super) struct State {
    /// Set when the session is loaded; a box, since most requests of most applications never load it.
    pub(super) work: Option<Box<Work>>,
    /// The head of the response is out.
    pub(super) closed: bool,
    /// Somebody has the turn.
    pub(super) busy: bool,
    /// Who waits for it.
    waiting: Vec<Waker>,
}

impl Shared {
    pub(super) fn loaded(work: Work) -> Self {
        Self(Mutex::new(State { work: Some(Box::new(work)), ..State::default() }))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The work of a session that is loaded.
    pub(super) fn work(&self) -> WorkGuard<'_> {
        WorkGuard(self.lock())
    }

    /// Waits until no other task of this request loads or commits.
    pub(super) async fn turn(&self) -> Turn<'_> {
        poll_fn(|context| self.lock().poll_turn(context)).await;
        Turn { shared: self, work: None }
    }

    /// The same, to load the session; `None` where another has loaded it.
    pub(super) async fn turn_to_load(&self) -> Option<Turn<'_>> {
        let is_ours = poll_fn(|context| {
            let mut state = self.lock();
            if state.work.is_some() { Poll::Ready(false) } else { state.poll_turn(context).map(|()| true) }
        });
        // Not made where it is not ours: dropped, it would end another's.
        is_ours.await.then(|| Turn { shared: self, work: None })
    }
}

impl State {
    fn poll_turn(&mut self, context: &Context<'_>) -> Poll<()> {
        if !std::mem::replace(&mut self.busy, true) {
            return Poll::Ready(());
        }
        if !self.waiting.iter().any(|waiting| waiting.will_wake(context.waker())) {
            self.waiting.push(context.waker().clone());
        }
        Poll::Pending
    }
}

/// The right to load or to commit; given on where it is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    shared: &'a Shared,
    work: Option<Box<Work>>,
}

impl Turn<'_> {
    /// Gives the turn on, with what was loaded.
    pub(super) fn end_with(mut self, work: Box<Work>) {
        self.work = Some(work);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let waiting = {
            let mut state = self.shared.lock();
            state.busy = false;
            if let Some(work) = self.work.take() {
                state.work = Some(work);
            }
            std::mem::take(&mut state.waiting)
        };
        // All of them: one that is woken may have gone away.
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// The work, under the lock.
#[derive(Debug)]
pub(crate) struct WorkGuard<'a>(MutexGuard<'a, State>);

impl WorkGuard<'_> {
    pub(super) fn is_closed(&self) -> bool {
        self.0.closed
    }
}

impl Deref for WorkGuard<'_> {
    type Target = Work;

    fn deref(&self) -> &Work {
        self.0.work.as_ref().expect("only what is loaded is given out as a session")
    }
}

impl DerefMut for WorkGuard<'_> {
    fn deref_mut(&mut self) -> &mut Work {
        self.0.work.as_mut().expect("only what is loaded is given out as a session")
    }
}
