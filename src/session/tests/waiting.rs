//! Those who wait for a turn, some of whom go away in the middle of it: whoever stays gets one, and nobody beside another.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::future::join;

use crate::session::shared::Shared;
use crate::session::turns::{Progress, Turns};
use crate::session::work::{Base, Work};

const SEEDS: u64 = 300;

/// A small generator (SplitMix64).
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

/// What a waker has woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

struct Task<'a> {
    future: Pin<Box<dyn Future<Output = ()> + 'a>>,
    woken: Arc<Woken>,
}

impl<'a> Task<'a> {
    fn new(future: impl Future<Output = ()> + 'a) -> Self {
        Self { future: Box::pin(future), woken: Arc::new(Woken(AtomicBool::new(true))) }
    }

    fn is_woken(&self) -> bool {
        self.woken.0.load(Ordering::SeqCst)
    }
}

/// Polls the tasks that were woken, one at a time in an order of the seed's, some under a waker of their own each time, and
/// drops up to `most_dropped` of them wherever they are. Panics where somebody is left that nobody wakes; says how many came
/// to their end.
fn run(random: &mut Random, tasks: Vec<Task<'_>>, mut most_dropped: usize) -> usize {
    let (mut tasks, mut done) = (tasks, 0);
    loop {
        if most_dropped > 0 && !tasks.is_empty() && random.below(6) == 0 {
            most_dropped -= 1;
            drop(tasks.swap_remove(random.below(tasks.len())));
        }
        let woken: Vec<usize> = (0..tasks.len()).filter(|place| tasks[*place].is_woken()).collect();
        if woken.is_empty() {
            assert!(tasks.is_empty(), "{} wait for what never comes", tasks.len());
            return done;
        }
        let place = woken[random.below(woken.len())];
        let task = &mut tasks[place];
        task.woken.0.store(false, Ordering::SeqCst);
        if random.below(3) == 0 {
            // As if it had gone to another task: only the last waker counts.
            task.woken = Arc::default();
        }
        let waker = Waker::from(Arc::clone(&task.woken));
        if task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            done += 1;
            drop(tasks.swap_remove(place));
        }
    }
}

/// Is pending so often.
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

/// Where one may be at a time.
#[derive(Default)]
struct Inside(Cell<bool>);

struct Visit<'a>(&'a Inside);

impl Inside {
    fn enter(&self) -> Visit<'_> {
        assert!(!self.0.replace(true), "two have the turn at once");
        Visit(self)
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.0.0.set(false);
    }
}

#[test]
fn whoever_stays_gets_a_turn_and_nobody_beside_another_whoever_goes_away() {
    for seed in 0..SEEDS {
        let mut random = Random(seed);
        let (shared, inside, had) = (Shared::default(), Inside::default(), Cell::new(0));
        let visits = |pauses: [usize; 3]| {
            let (shared, inside, had) = (&shared, &inside, &had);
            async move {
                for times in pauses {
                    let _turn = shared.turn().await;
                    let _visit = inside.enter();
                    had.set(had.get() + 1);
                    pend(times).await;
                }
            }
        };
        let mut tasks = Vec::new();
        for _ in 0..1 + random.below(6) {
            let (one, other) = ([(); 3].map(|()| random.below(3)), [(); 3].map(|()| random.below(3)));
            // Some wait in two places of one task, under one waker.
            let task = if random.below(3) == 0 {
                Task::new(async move {
                    join(visits(one), visits(other)).await;
                })
            } else {
                Task::new(visits(one))
            };
            tasks.push(task);
        }
        let most_dropped = random.below(4);
        let done = run(&mut random, tasks, most_dropped);
        assert!(had.get() >= 3 * done, "seed {seed}");
        assert!(!shared.lock().busy, "seed {seed}: the turn is given on, also by the last");
    }
}

#[test]
fn of_those_who_wait_to_load_one_does_and_another_in_the_place_of_one_who_goes_away() {
    for seed in 0..SEEDS {
        let mut random = Random(seed);
        let (shared, inside) = (Shared::default(), Inside::default());
        let (begun, ended) = (Cell::new(0), Cell::new(0));
        let load = |times: usize| {
            let (shared, inside, begun, ended) = (&shared, &inside, &begun, &ended);
            async move {
                if let Some(turn) = shared.turn_to_load().await {
                    let visit = inside.enter();
                    begun.set(begun.get() + 1);
                    pend(times).await;
                    drop(visit);
                    turn.end_with(Box::new(Work::new(Base::Fresh)));
                    ended.set(ended.get() + 1);
                }
                assert!(shared.lock().work.is_some(), "it is loaded, by whomever");
                let _turn = shared.turn().await;
                let _visit = inside.enter();
                pend(1).await;
            }
        };
        let tasks: Vec<Task<'_>> = (0..1 + random.below(6)).map(|_| Task::new(load(random.below(4)))).collect();
        let most_dropped = random.below(4);
        let done = run(&mut random, tasks, most_dropped);
        assert!(ended.get() <= 1 && begun.get() >= ended.get(), "seed {seed}: {} have loaded it", ended.get());
        assert_eq!(shared.lock().work.is_some(), ended.get() == 1, "seed {seed}");
        assert!(done == 0 || ended.get() == 1, "seed {seed}");
        assert!(!shared.lock().busy, "seed {seed}");
    }
}

#[test]
fn commits_that_lost_a_race_go_on_in_their_order_whoever_gives_up() {
    let sessions = [1, 2].map(|number| uuid::Uuid::from_u128(number).into());
    for seed in 0..SEEDS {
        let mut random = Random(seed);
        let (turns, order) = (Turns::default(), RefCell::new([const { Vec::new() }; 2]));
        let inside: [Inside; 2] = Default::default();
        let commit = |session: usize, entered: usize, times: usize| {
            let (inside, order) = (&inside[session], &order);
            let turn = turns.enter(sessions[session]);
            async move {
                while turn.progress() != Progress::Ours {
                    turn.called().await;
                }
                let _visit = inside.enter();
                order.borrow_mut()[session].push(entered);
                pend(times).await;
                drop(turn);
            }
        };
        let tasks: Vec<Task<'_>> = (0..1 + random.below(8))
            .map(|entered| Task::new(commit(random.below(2), entered, random.below(3))))
            .collect();
        let most_dropped = random.below(4);
        run(&mut random, tasks, most_dropped);
        for order in order.borrow().iter() {
            assert!(order.is_sorted(), "seed {seed}: {order:?}");
        }
        assert!(format!("{turns:?}").contains("queues: 0"), "seed {seed}: {turns:?}");
    }
}
