//! One random schedule: a seed decides the order in which requests are polled and the events of their store calls.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use sessile::SessionLayer;
use sessile::testing::ManualClock;

use super::handler::{HandlerStep, Recorder, Script, run};
use super::history::{History, Operation, Step};
use super::network::{Network, NetworkEvent, OpenCall};
use crate::support::store::random;

/// More decisions than any schedule takes.
const MAX_DECISIONS: usize = 20_000;

/// Probabilities and options of a schedule.
#[derive(Clone, Copy, Debug)]
struct Conditions {
    /// Percentage of store calls that fail.
    faults: usize,
    /// Probability per 1,000 decisions that a client disconnects.
    disconnects: usize,
    /// Handlers drop commits.
    drops_commits: bool,
    /// One slow request runs beside many others.
    one_slow_request: bool,
}

pub struct Schedule {
    random: u64,
    conditions: Conditions,
    clock: ManualClock,
    network: Network,
    layer: SessionLayer,
    history: Arc<Mutex<History>>,
    tasks: Vec<Option<Task>>,
    written: u32,
    decisions: usize,
    /// The request that is rarely advanced.
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
        // A schedule is finite, so it needs no deadline by the wall clock.
        let layer = builder.with_commit_deadline(Duration::from_secs(3600)).build().unwrap();
        let conditions = Conditions { faults: 0, disconnects: 0, drops_commits: false, one_slow_request: false };
        let (history, tasks) = (Arc::default(), Vec::new());
        let mut schedule = Self {
            random: seed,
            conditions,
            clock,
            network,
            layer,
            history,
            tasks,
            written: 0,
            decisions: 0,
            slow: None,
        };
        schedule.conditions = Conditions {
            faults: [0, 0, 4, 15][schedule.choose(4)],
            disconnects: [0, 0, 10, 40][schedule.choose(4)],
            drops_commits: schedule.choose(4) == 0,
            one_slow_request: schedule.choose(8) == 0,
        };
        schedule
    }

    /// Runs all requests, then loads every token, and returns the history.
    pub fn run(mut self) -> History {
        let no_faults = Conditions { faults: 0, disconnects: 0, drops_commits: false, one_slow_request: false };
        let conditions = std::mem::replace(&mut self.conditions, no_faults);
        let steps = vec![HandlerStep::Do(Operation::Insert(0, 0)), HandlerStep::CountNow];
        self.begin(Script { token: None, steps, commits: true });
        self.until_quiet();
        for _ in 0..1 + self.choose(2) {
            self.conditions = conditions;
            self.slow = conditions.one_slow_request.then_some(self.tasks.len());
            let mut remaining = if conditions.one_slow_request { 12 } else { 2 + self.choose(4) };
            while remaining > 0 || self.is_busy() {
                let quick = self.busy().iter().any(|task| Some(*task) != self.slow);
                if remaining > 0 && (!quick || (!conditions.one_slow_request && self.choose(4) == 0)) {
                    let script = self.script();
                    self.begin(script);
                    remaining -= 1;
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
        // The remaining calls are applied or dropped before every token is loaded.
        self.conditions = no_faults;
        while !self.network.open_calls().is_empty() {
            self.advance();
        }
        let tokens = self.history.lock().unwrap().tokens.len();
        for token in 0..tokens {
            self.begin(Script { token: Some(token), steps: Vec::new(), commits: true });
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
        let steps = (0..1 + self.choose(3)).map(|_| self.handler_step()).collect();
        let commits = self.choose(10) > 0;
        Script { token, steps, commits }
    }

    fn handler_step(&mut self) -> HandlerStep {
        self.written += 1;
        let (key, value) = (self.choose(2), self.written);
        match self.choose(24) {
            0..=2 => HandlerStep::Do(Operation::Insert(key, value)),
            3 => HandlerStep::Do(Operation::Remove(key)),
            4 => HandlerStep::Do(Operation::Clear),
            5..=6 => HandlerStep::Do(Operation::Count),
            7..=9 => HandlerStep::Do(Operation::Push(value)),
            10 => HandlerStep::Commit,
            11..=13 => HandlerStep::CountNow,
            14 => HandlerStep::TakeNow,
            15..=17 => HandlerStep::Do(Operation::Rotate),
            18..=19 => HandlerStep::Do(Operation::SignIn(0)),
            20 => HandlerStep::Do(Operation::SignIn(1)),
            21..=22 => HandlerStep::Do(Operation::SignOut),
            _ if self.conditions.drops_commits => HandlerStep::DropCommit(u32::try_from(self.choose(5)).unwrap()),
            _ => HandlerStep::Do(Operation::Push(value)),
        }
    }

    fn begin(&mut self, script: Script) {
        let request = self.tasks.len();
        let recorder = Recorder { network: self.network.clone(), history: Arc::clone(&self.history), request };
        // The network must know the request before its first call.
        self.network.set_polled(request);
        let future = Box::pin(run(self.layer.clone(), recorder, script));
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

    /// Polls a request, applies an event to a call, or disconnects a client.
    fn advance(&mut self) {
        self.decisions += 1;
        assert!(self.decisions < MAX_DECISIONS, "the schedule does not end");
        let busy = self.busy();
        let mut ready = busy.clone();
        ready.retain(|task| self.tasks[*task].as_ref().is_some_and(|task| task.ready.0.load(Ordering::Relaxed)));
        let mut calls = self.network.open_calls();
        if !busy.is_empty() && self.choose(1000) < self.conditions.disconnects {
            let disconnected = busy[self.choose(busy.len())];
            self.tasks[disconnected] = None;
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
        let fails = self.choose(100) < self.conditions.faults;
        let event = match (awaited, applied, fails) {
            (true, true, true) => NetworkEvent::Fail,
            (true, true, false) => NetworkEvent::Reply,
            (true, false, true) => [NetworkEvent::Fail, NetworkEvent::FailAndDelay][self.choose(2)],
            (true, false, false) => [NetworkEvent::Apply, NetworkEvent::ApplyAndReply][self.choose(2)],
            (false, ..) => [NetworkEvent::Apply, NetworkEvent::Drop][self.choose(2)],
        };
        self.network.apply_event(number, event);
    }

    fn poll(&mut self, number: usize) {
        let Some(task) = &mut self.tasks[number] else { return };
        task.ready.0.store(false, Ordering::Relaxed);
        self.network.set_polled(number);
        let waker = Waker::from(Arc::clone(&task.ready));
        if let Poll::Ready(()) = task.future.as_mut().poll(&mut Context::from_waker(&waker)) {
            self.tasks[number] = None;
        }
    }
}
