//! One schedule: a few requests on one session, advanced one wait at a time in an order that a seed decides, over a
//! network in which the same seed decides what becomes of each operation.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use sessile::SessionLayer;
use sessile::testing::ManualClock;

use super::handler::{Deed, Notes, Script, run};
use super::history::{Act, History, Step};
use super::network::{Event, Network, OpenCall};
use crate::support::store::random;

/// More decisions than any schedule takes.
const ENOUGH: usize = 20_000;

/// What may happen in a schedule.
#[derive(Clone, Copy, Debug)]
struct Weather {
    /// Of a hundred operations so many fail.
    faults: usize,
    /// Of a thousand decisions so many are a client's to go away.
    leavers: usize,
    /// Whether handlers give up waiting.
    impatient: bool,
    /// Whether one request is slow, and many others go by.
    crowded: bool,
}

pub struct Schedule {
    random: u64,
    weather: Weather,
    clock: ManualClock,
    network: Network,
    layer: SessionLayer,
    history: Arc<Mutex<History>>,
    tasks: Vec<Option<Task>>,
    written: u32,
    decisions: usize,
    /// The request that everything of takes its time.
    slow: Option<usize>,
}

struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    ready: Arc<Ready>,
}

struct Ready(AtomicBool);

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Schedule {
    pub fn new(seed: u64) -> Self {
        let clock = ManualClock::new();
        let network = Network::new(&clock);
        let builder = SessionLayer::builder(network.clone()).with_clock(&clock);
        // The schedule is finite; the clock on the wall is none of its business.
        let layer = builder.with_commit_deadline(Duration::from_secs(3600)).build().unwrap();
        let weather = Weather { faults: 0, leavers: 0, impatient: false, crowded: false };
        let (history, tasks) = (Arc::default(), Vec::new());
        let mut schedule =
            Self { random: seed, weather, clock, network, layer, history, tasks, written: 0, decisions: 0, slow: None };
        schedule.weather = Weather {
            faults: [0, 0, 4, 15][schedule.choose(4)],
            leavers: [0, 0, 10, 40][schedule.choose(4)],
            impatient: schedule.choose(4) == 0,
            crowded: schedule.choose(8) == 0,
        };
        schedule
    }

    /// What the requests did, from the first to the last look at everything.
    pub fn run(mut self) -> History {
        let calm = Weather { faults: 0, leavers: 0, impatient: false, crowded: false };
        let weather = std::mem::replace(&mut self.weather, calm);
        let deeds = vec![Deed::Act(Act::Insert(0, 0)), Deed::CountNow];
        self.begin(Script { token: None, deeds, kept: true });
        self.until_quiet();
        for _ in 0..1 + self.choose(2) {
            self.weather = weather;
            self.slow = weather.crowded.then_some(self.tasks.len());
            let mut left = if weather.crowded { 12 } else { 2 + self.choose(4) };
            while left > 0 || self.is_busy() {
                let quick = self.busy().iter().any(|task| Some(*task) != self.slow);
                if left > 0 && (!quick || (!weather.crowded && self.choose(4) == 0)) {
                    let script = self.script();
                    self.begin(script);
                    left -= 1;
                }
                self.advance();
            }
            let seconds = [1, 29, 31, 400][self.choose(4)];
            self.clock.advance(Duration::from_secs(u64::from(seconds)));
            let number = self.tasks.len();
            self.tasks.push(None);
            let mut history = self.history.lock().unwrap();
            history.begin(number, Step::Advance(seconds), 0);
            history.end(number, 0);
        }
        // What lingers in the network is applied or lost; then every token is tried.
        self.weather = calm;
        while !self.network.open_calls().is_empty() {
            self.advance();
        }
        let tokens = self.history.lock().unwrap().tokens.len();
        for token in 0..tokens {
            self.begin(Script { token: Some(token), deeds: Vec::new(), kept: true });
            self.until_quiet();
        }
        std::mem::take(&mut *self.history.lock().unwrap())
    }

    fn choose(&mut self, of: usize) -> usize {
        usize::try_from(random(&mut self.random) % of as u64).unwrap()
    }

    fn script(&mut self) -> Script {
        let known = self.history.lock().unwrap().tokens.len();
        let token = match self.choose(10) {
            0 => None,
            1..=3 => Some(self.choose(known)),
            _ => Some(known - 1),
        };
        let deeds = (0..1 + self.choose(3)).map(|_| self.deed()).collect();
        let kept = self.choose(10) > 0;
        Script { token, deeds, kept }
    }

    fn deed(&mut self) -> Deed {
        self.written += 1;
        let (key, value) = (self.choose(2), self.written);
        match self.choose(24) {
            0..=2 => Deed::Act(Act::Insert(key, value)),
            3 => Deed::Act(Act::Remove(key)),
            4 => Deed::Act(Act::Clear),
            5..=6 => Deed::Act(Act::Count),
            7..=9 => Deed::Act(Act::Push(value)),
            10 => Deed::Commit,
            11..=13 => Deed::CountNow,
            14 => Deed::TakeNow,
            15..=17 => Deed::Act(Act::Rotate),
            18..=19 => Deed::Act(Act::SignIn(0)),
            20 => Deed::Act(Act::SignIn(1)),
            21..=22 => Deed::Act(Act::SignOut),
            _ if self.weather.impatient => Deed::GiveUp(u32::try_from(self.choose(5)).unwrap()),
            _ => Deed::Act(Act::Push(value)),
        }
    }

    fn begin(&mut self, script: Script) {
        let request = self.tasks.len();
        let notes = Notes { network: self.network.clone(), history: Arc::clone(&self.history), request };
        // Known to the network before it asks anything.
        self.network.polling(request);
        let future = Box::pin(run(self.layer.clone(), notes, script));
        self.tasks.push(Some(Task { future, ready: Arc::new(Ready(AtomicBool::new(true))) }));
    }

    fn is_busy(&self) -> bool {
        self.tasks.iter().any(Option::is_some)
    }

    fn busy(&self) -> Vec<usize> {
        (0..self.tasks.len()).filter(|task| self.tasks[*task].is_some()).collect()
    }

    fn until_quiet(&mut self) {
        while self.is_busy() {
            self.advance();
        }
    }

    /// One thing happens.
    fn advance(&mut self) {
        self.decisions += 1;
        assert!(self.decisions < ENOUGH, "the schedule has no end");
        let busy = self.busy();
        let mut ready = busy.clone();
        ready.retain(|task| self.tasks[*task].as_ref().is_some_and(|task| task.ready.0.load(Ordering::Relaxed)));
        let mut calls = self.network.open_calls();
        if !busy.is_empty() && self.choose(1000) < self.weather.leavers {
            let leaver = busy[self.choose(busy.len())];
            self.tasks[leaver] = None;
            return;
        }
        if let Some(slow) = self.slow
            && busy.iter().any(|task| *task != slow)
            && self.choose(40) > 0
        {
            ready.retain(|task| *task != slow);
            calls.retain(|call| call.request != slow);
        }
        let choices = ready.len() + calls.len();
        if choices == 0 {
            return;
        }
        let choice = self.choose(choices);
        if choice < ready.len() {
            return self.poll(ready[choice]);
        }
        let OpenCall { number, applied, awaited, .. } = calls[choice - ready.len()];
        let fails = self.choose(100) < self.weather.faults;
        let event = match (awaited, applied, fails) {
            (true, true, true) => Event::Fail,
            (true, true, false) => Event::Answer,
            (true, false, true) => [Event::Fail, Event::FailAndLinger][self.choose(2)],
            (true, false, false) => [Event::Apply, Event::ApplyAndAnswer][self.choose(2)],
            (false, ..) => [Event::Apply, Event::Lose][self.choose(2)],
        };
        self.network.happen(number, event);
    }

    fn poll(&mut self, number: usize) {
        let Some(task) = &mut self.tasks[number] else { return };
        task.ready.0.store(false, Ordering::Relaxed);
        self.network.polling(number);
        let waker = Waker::from(Arc::clone(&task.ready));
        if let Poll::Ready(()) = task.future.as_mut().poll(&mut Context::from_waker(&waker)) {
            self.tasks[number] = None;
        }
    }
}
