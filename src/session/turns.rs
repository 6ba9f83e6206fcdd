//! Turns: commits of one process that have lost a race for one session go on one after another.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::token::SessionId;

/// The queues of the sessions that commits of this process have lost races for. Where none has, it is empty.
///
/// A turn is a courtesy and no lock: who has waited long enough goes on without, so that a commit that has its turn and
/// is not polled any more holds nobody up for long.
#[derive(Default)]
pub(crate) struct Turns(Mutex<HashMap<SessionId, Queue>>);

#[derive(Default)]
struct Queue {
    /// In the order of their numbers; the first has its turn.
    waiting: VecDeque<(u64, Arc<Notify>)>,
    next: u64,
    /// How many have had their turn.
    passed: u64,
}

impl Turns {
    /// A place at the end of the queue.
    pub(super) fn enter(&self, id: SessionId) -> Turn<'_> {
        let mut queues = self.queues();
        let queue = queues.entry(id).or_default();
        let (number, called) = (queue.next, Arc::new(Notify::new()));
        queue.next += 1;
        queue.waiting.push_back((number, Arc::clone(&called)));
        Turn { turns: self, id, number, called }
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<SessionId, Queue>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in a queue, given up where it is dropped.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    id: SessionId,
    number: u64,
    called: Arc<Notify>,
}

/// How far a queue has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// To the one who asks.
    Ours,
    /// So many have had their turn.
    Passed(u64),
}

impl Turn<'_> {
    pub(super) fn progress(&self) -> Progress {
        let queues = self.turns.queues();
        let queue = queues.get(&self.id).expect("a queue stays for as long as somebody is in it");
        match queue.waiting.front() {
            Some((first, _)) if *first == self.number => Progress::Ours,
            _ => Progress::Passed(queue.passed),
        }
    }

    /// Until the turn comes, or somebody may have let it pass.
    pub(super) async fn called(&self) {
        self.called.notified().await;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut queues = self.turns.queues();
        let Some(queue) = queues.get_mut(&self.id) else { return };
        let Ok(place) = queue.waiting.binary_search_by_key(&self.number, |(number, _)| *number) else { return };
        queue.waiting.remove(place);
        if place == 0 {
            queue.passed += 1;
            match queue.waiting.front() {
                Some((_, next)) => next.notify_one(),
                None => drop(queues.remove(&self.id)),
            }
        }
    }
}

impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turns").field("queues", &self.queues().len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> SessionId {
        uuid::Uuid::from_u128(number).into()
    }

    #[test]
    fn turns_come_in_order_whoever_gives_up() {
        let turns = Turns::default();
        let [first, second, third, fourth] = [(); 4].map(|()| turns.enter(id(1)));
        let other = turns.enter(id(2));
        assert_eq!((first.progress(), other.progress()), (Progress::Ours, Progress::Ours));
        assert_eq!(second.progress(), Progress::Passed(0));
        drop(third);
        assert_eq!(second.progress(), Progress::Passed(0), "who gives up in the middle lets nobody through");
        drop(first);
        assert_eq!((second.progress(), fourth.progress()), (Progress::Ours, Progress::Passed(1)));
        drop(second);
        assert_eq!(fourth.progress(), Progress::Ours);
        drop(fourth);
        drop(other);
        assert!(turns.queues().is_empty(), "nothing is kept of what is over");
    }

    #[tokio::test]
    async fn a_call_that_comes_before_it_is_waited_for_is_heard() {
        let turns = Turns::default();
        let (first, second) = (turns.enter(id(1)), turns.enter(id(1)));
        drop(first);
        second.called().await;
    }
}
