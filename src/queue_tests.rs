//! Commits that wait for a turn, some of which are dropped while they wait.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use tokio::task::yield_now;

use super::CommitQueue;
use crate::token::SessionId;

fn id(number: u128) -> SessionId {
    uuid::Uuid::from_u128(number).into()
}

fn below(random: &mut TestRunner, bound: usize) -> usize {
    (0..bound).new_tree(random).expect("a range has values").current()
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

type Task<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Polls the woken tasks in a random order, and drops up to `max_dropped` tasks at any point.
///
/// Panics if a task remains and none is woken.
fn run(random: &mut TestRunner, tasks: Vec<Task<'_>>, mut max_dropped: usize) {
    let new_flag = || Arc::new(Flag(AtomicBool::new(true)));
    let mut tasks: Vec<_> = tasks.into_iter().map(|task| (task, new_flag())).collect();
    while !tasks.is_empty() {
        if max_dropped > 0 && below(random, 6) == 0 {
            max_dropped -= 1;
            drop(tasks.swap_remove(below(random, tasks.len())));
            continue;
        }
        let woken: Vec<usize> = (0..tasks.len()).filter(|place| tasks[*place].1.0.load(Ordering::SeqCst)).collect();
        assert!(!woken.is_empty(), "{} tasks are never woken", tasks.len());
        let place = woken[below(random, woken.len())];
        let (task, flag) = &mut tasks[place];
        flag.0.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(flag));
        if task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            drop(tasks.swap_remove(place));
        }
    }
}

async fn yield_times(times: usize) {
    for _ in 0..times {
        yield_now().await;
    }
}

/// Commits of two sessions wait, and some are dropped: the others get their turns in order, one at a time.
#[test]
#[expect(clippy::await_holding_refcell_ref, reason = "a second borrow shows that two commits have the turn")]
fn turns_are_exclusive_and_in_order_when_commits_are_dropped() {
    let mut random = TestRunner::deterministic();
    for _ in 0..300 {
        let (queue, entered) = (CommitQueue::default(), [const { Cell::new(0) }; 2]);
        let order = [const { RefCell::new(Vec::new()) }; 2];
        let commit = |session: usize, times: usize| -> Task<'_> {
            let (queue, entered, order) = (&queue, &entered[session], &order[session]);
            Box::pin(async move {
                let number = entered.replace(entered.get() + 1);
                let mut place = queue.enter(id(session as u128));
                place.wait(pending::<()>, || false).await;
                let mut order = order.try_borrow_mut().expect("no other commit has the turn");
                order.push(number);
                yield_times(times).await;
            })
        };
        let tasks = (0..=below(&mut random, 8)).map(|_| commit(below(&mut random, 2), below(&mut random, 3))).collect();
        let max_dropped = below(&mut random, 4);
        run(&mut random, tasks, max_dropped);
        assert!(order.iter().all(|order| order.borrow().is_sorted()), "{order:?}");
        assert!(queue.lines().is_empty(), "{queue:?}");
    }
}

/// If the commit that has the turn is not polled any more, the next one continues without a turn after an idle wait.
#[tokio::test]
async fn a_turn_that_makes_no_progress_is_passed() {
    let queue = CommitQueue::default();
    let (mut first, mut second) = (queue.enter(id(1)), queue.enter(id(1)));
    assert!(!first.wait(pending::<()>, || false).await, "the first commit does not wait");
    assert!(second.wait(|| yield_times(16), || false).await);
    assert!(second.turn.is_none());
    drop(first);
    second.wait(pending::<()>, || false).await;
    assert!(second.turn.is_some(), "the turn is passed on when the first commit is dropped");
}

/// If a turn ended during the idle wait, the commit continues to wait until it is late.
#[tokio::test]
async fn a_wait_with_progress_lasts_until_the_deadline() {
    for is_late in [false, true] {
        let queue = CommitQueue::default();
        let [mut first, mut second, mut third] = [(); 3].map(|()| queue.enter(id(1)));
        first.wait(pending::<()>, || false).await;
        let mut second = Box::pin(second.wait(pending::<()>, || false));
        assert!(second.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let waits = Cell::new(0);
        let line = queue.lines().get(&id(1)).map(Arc::clone).expect("three places");
        let idle = || {
            waits.set(waits.get() + 1);
            if waits.get() < 3 {
                line.passed.fetch_add(1, Ordering::SeqCst);
            }
            yield_now()
        };
        assert!(third.wait(idle, || is_late).await);
        assert_eq!(waits.get(), if is_late { 1 } else { 3 });
    }
}
