//! The recorded steps of all requests, with their times and observations.

use std::fmt;

/// Keys that handlers write.
pub const KEYS: [&str; 2] = ["a", "b"];
pub const COUNTER: &str = "n";
pub const LIST: &str = "list";

/// Values of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Data {
    pub values: [Option<u32>; 2],
    pub counter: Option<u32>,
    pub list: Option<Vec<u32>>,
}

/// An operation of a handler on its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    Insert(usize, u32),
    Remove(usize),
    Clear,
    Count,
    Push(u32),
    Take,
    Rotate,
    SignIn(u8),
    SignOut,
}

/// Observed state of a loaded session: its owner and data, or `None` for a new one.
pub type Observed = Option<(Option<u8>, Data)>;

/// Outcome of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was acknowledged.
    Done,
    Superseded,
    Ended,
    /// 503, or a client that disconnected: the commit took effect, will do so later, or never will.
    Unknown,
}

/// Effect of a response on the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookie {
    Untouched,
    /// A token, by its number.
    Set(usize),
    Removed,
}

/// Extent to which a later step of the request completed a commit whose future was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completion {
    /// Completely: by a commit with a known outcome, or by a response that commits.
    Full,
    /// By a response that does not commit, which only ends sessions that the handler ended.
    SessionEndOnly,
    /// Like `SessionEndOnly`, but a later commit was dropped before that response. It continues the earlier ones
    /// first, and may have completed this one.
    SessionEndOrFull,
    /// By a commit or a response that failed.
    Unknown,
}

#[derive(Clone, Debug)]
pub enum Step {
    /// The session was loaded under this token.
    Load { token: Option<usize>, observed: Observed },
    /// An operation returned an error at once.
    Refused(Operation),
    /// The handler committed: the value of `update_now` or `take_now`, and the state observed afterwards.
    Commit { operations: Vec<Operation>, returned: Option<Option<u32>>, observed: Observed, outcome: Outcome },
    /// The handler dropped the future of its commit.
    Dropped { operations: Vec<Operation>, completion: Completion },
    /// The response committed or dropped the remaining changes.
    Respond { operations: Vec<Operation>, commits: bool, cookie: Cookie, outcome: Outcome },
    /// The clock advanced by this many seconds.
    Advance(u32),
}

/// A step with its start and end.
#[derive(Clone)]
pub struct Timed {
    pub step: Step,
    pub started: usize,
    /// `usize::MAX` if the request was dropped before the step ended.
    pub ended: usize,
    /// Number of store calls that failed during the step.
    pub faults: usize,
}

/// All steps by request, in order.
#[derive(Default)]
pub struct History {
    pub requests: Vec<Vec<Timed>>,
    pub tokens: Vec<String>,
    moments: usize,
}

impl History {
    pub fn moment(&mut self) -> usize {
        self.moments += 1;
        self.moments
    }

    /// Returns the number of a token, and assigns one to a new token.
    pub fn token(&mut self, token: &str) -> usize {
        self.tokens.iter().position(|known| known == token).unwrap_or_else(|| {
            self.tokens.push(token.to_owned());
            self.tokens.len() - 1
        })
    }

    pub fn begin(&mut self, request: usize, step: Step, faults: usize) {
        let started = self.moment();
        if self.requests.len() <= request {
            self.requests.resize(request + 1, Vec::new());
        }
        self.requests[request].push(Timed { step, started, ended: usize::MAX, faults });
    }

    /// Records the end of a request's last step; `faults` counts the request's failed store calls so far.
    pub fn end(&mut self, request: usize, faults: usize) -> &mut Step {
        let ended = self.moment();
        let steps = &mut self.requests[request];
        let last = steps.len() - 1;
        let timed = &mut steps[last];
        timed.ended = ended;
        timed.faults = faults - timed.faults;
        &mut timed.step
    }

    /// Records the extent to which the last step completed the dropped commits before it.
    pub fn complete_dropped(&mut self, request: usize, latest: Completion) {
        let steps = &mut self.requests[request];
        let (last, earlier) = steps.split_last_mut().unwrap();
        let mut latest = latest;
        for timed in earlier.iter_mut().rev().filter(|timed| timed.ended == usize::MAX) {
            let Step::Dropped { completion, .. } = &mut timed.step else { continue };
            *completion = latest;
            (timed.ended, timed.faults) = (last.ended, 1);
            if latest == Completion::SessionEndOnly {
                latest = Completion::SessionEndOrFull;
            }
        }
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, steps) in self.requests.iter().enumerate() {
            writeln!(f, "request {number}")?;
            for Timed { step, started, ended, faults } in steps {
                let ended = if *ended == usize::MAX { "  …".to_owned() } else { format!("{ended:3}") };
                let failed = if *faults == 0 { String::new() } else { format!("  ({faults} failed)") };
                writeln!(f, "  {started:3}..{ended} {step:?}{failed}")?;
            }
        }
        Ok(())
    }
}
