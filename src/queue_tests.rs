//! Commits that wait for a turn, some of which are dropped on the way.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::CommitQueue;
use crate::token::SessionId;

const SEEDS: u64 = 300;

fn id(number: u128) -> SessionId {
    uuid::Uuid::from_u128(number).into()
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).expect("it is below the bound")
    }
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

type Task<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Polls the tasks that were woken, one at a time in an order that the seed decides, and drops up to `max_dropped` of them at
/// any point. Panics if a task is left that no other wakes.
fn run(random: &mut Random, tasks: Vec<Task<'_>>, mut max_dropped: usize) {
    let new_flag = || Arc::new(Flag(AtomicBool::new(true)));
    let mut tasks: Vec<_> = tasks.into_iter().map(|task| (task, new_flag())).collect();
    loop {
        if max_dropped > 0 && !tasks.is_empty() && random.below(6) == 0 {
            max_dropped -= 1;
            drop(tasks.swap_remove(random.below(tasks.len())));
        }
        let woken: Vec<usize> = (0..tasks.len()).filter(|place| tasks[*place].1.0.load(Ordering::SeqCst)).collect();
        if woken.is_empty() {
            assert!(tasks.is_empty(), "{} tasks are never woken", tasks.len());
            return;
        }
        let place = woken[random.below(woken.len())];
        let (task, flag) = &mut tasks[place];
        flag.0.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(flag));
        if task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            drop(tasks.swap_remove(place));
        }
    }
}

/// Is pending so many times.
async fn pend(times: usize) {
    let mut left = times;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Commits for two sessions wait in queues, and some are dropped: the others get their turns in order, one at a time.
#[test]
fn turns_come_in_order_and_alone_when_commits_are_dropped() {
    for seed in 0..SEEDS {
        let mut random = Random(seed);
        let (queue, order) = (CommitQueue::default(), RefCell::new([const { Vec::new() }; 2]));
        let entered = [const { Cell::new(0) }; 2];
        let has_turn = [const { Cell::new(false) }; 2];
        let commit = |session: usize, times: usize| -> Task<'_> {
            let (queue, order, entered, has_turn) = (&queue, &order, &entered[session], &has_turn[session]);
            Box::pin(async move {
                let number = entered.replace(entered.get() + 1);
                let mut place = queue.enter(id(session as u128));
                place.wait(pending::<()>, || false).await;
                assert!(!has_turn.replace(true), "two commits have the turn");
                // Also when the task is dropped.
                let leave = scopeguard(|| has_turn.set(false));
                order.borrow_mut()[session].push(number);
                pend(times).await;
                drop(leave);
                drop(place);
            })
        };
        let tasks = (0..1 + random.below(8)).map(|_| commit(random.below(2), random.below(3))).collect();
        let max_dropped = random.below(4);
        run(&mut random, tasks, max_dropped);
        for order in order.borrow().iter() {
            assert!(order.is_sorted(), "seed {seed}: {order:?}");
        }
        assert!(queue.lines().is_empty(), "seed {seed}: {queue:?}");
    }
}

/// Calls a closure when it is dropped.
struct ScopeGuard<F: Fn()>(F);

fn scopeguard<F: Fn()>(leave: F) -> ScopeGuard<F> {
    ScopeGuard(leave)
}

impl<F: Fn()> Drop for ScopeGuard<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// A commit keeps its turn and is not polled any more: another one goes on without a turn after an idle wait.
#[tokio::test]
async fn a_turn_that_makes_no_progress_is_passed() {
    let queue = CommitQueue::default();
    let (mut first, mut second) = (queue.enter(id(1)), queue.enter(id(1)));
    assert!(!first.wait(pending::<()>, || false).await, "the first commit does not wait");
    assert!(second.wait(|| pend(16), || false).await);
    assert!(second.turn.is_none());
    drop(first);
    second.wait(pending::<()>, || false).await;
    assert!(second.turn.is_some(), "the turn is passed on when the first commit is dropped");
}

/// A turn ended during the idle wait: the commit waits on, unless it is late.
#[tokio::test]
async fn a_wait_with_progress_goes_on_until_the_deadline() {
    for is_late in [false, true] {
        let queue = CommitQueue::default();
        let mut places = [(); 3].map(|()| queue.enter(id(1)));
        let [first, second, third] = &mut places;
        first.wait(pending::<()>, || false).await;
        let mut second = Box::pin(second.wait(pending::<()>, || false));
        assert!(second.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let waits = Cell::new(0);
        let progress = queue.lines().get(&id(1)).map(Arc::clone).expect("there are places");
        let idle = || {
            waits.set(waits.get() + 1);
            if waits.get() < 3 {
                progress.passed.fetch_add(1, Ordering::SeqCst);
            }
            pend(1)
        };
        assert!(third.wait(idle, || is_late).await);
        assert_eq!(waits.get(), if is_late { 1 } else { 3 });
    }
}
