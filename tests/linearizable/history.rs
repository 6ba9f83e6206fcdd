//! What requests did and were told, and when: what the model has to explain.

use std::fmt;

/// The keys that the handlers write.
pub const KEYS: [&str; 2] = ["a", "b"];
pub const COUNTER: &str = "n";
pub const LIST: &str = "list";

/// The data of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Data {
    pub values: [Option<u32>; 2],
    pub counter: Option<u32>,
    pub list: Option<Vec<u32>>,
}

/// Something that a handler does to its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
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

/// What a loaded session showed; `None` for one that is new.
pub type Seen = Option<(Option<u8>, Data)>;

/// What became of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was acknowledged.
    Done,
    Superseded,
    Ended,
    /// 503, or nobody was there to be told: it took effect or not, now or later.
    Unknown,
}

/// What a response did to the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookie {
    Untouched,
    /// The token of this number.
    Set(usize),
    Removed,
}

/// How far a commit that was given up was carried by what came after it in its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// To its end: by a commit of which something is known, or by a response that was kept.
    Whole,
    /// By a response that was not kept, which ends what its handler has ended and drops the rest.
    ToTheEndOfASession,
    /// The same, and between it and that response there was a commit that was given up too: which goes on with the earlier ones
    /// first, and may have come to the end of this one.
    OrWhole,
    /// To its end or not: by a commit or a response that failed.
    Perhaps,
}

#[derive(Clone, Debug)]
pub enum Step {
    /// The session was loaded under the token of this number.
    Load { token: Option<usize>, seen: Seen },
    /// An act was refused at once.
    Refused(Act),
    /// Acts were committed by the handler: what `update_now` or `take_now` returned, and what was seen after.
    Commit { acts: Vec<Act>, returned: Option<Option<u32>>, seen: Seen, outcome: Outcome },
    /// The same, and the handler gave up waiting for it.
    GivenUp { acts: Vec<Act>, carried: Carried },
    /// The response: what was done since is committed, or dropped.
    Respond { acts: Vec<Act>, kept: bool, cookie: Cookie, outcome: Outcome },
    /// So many seconds went by.
    Advance(u32),
}

/// A step, from when to when it was under way.
#[derive(Clone)]
pub struct Timed {
    pub step: Step,
    pub begun: usize,
    /// `usize::MAX` where nobody was there to see the end.
    pub ended: usize,
    /// How many operations of the store failed under it.
    pub faults: usize,
}

/// The steps of each request, in order.
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

    /// The number of a token that a client was given.
    pub fn token(&mut self, token: &str) -> usize {
        self.tokens.iter().position(|known| known == token).unwrap_or_else(|| {
            self.tokens.push(token.to_owned());
            self.tokens.len() - 1
        })
    }

    pub fn begin(&mut self, request: usize, step: Step, faults: usize) {
        let begun = self.moment();
        if self.requests.len() <= request {
            self.requests.resize(request + 1, Vec::new());
        }
        self.requests[request].push(Timed { step, begun, ended: usize::MAX, faults });
    }

    /// The last step of a request has ended; `faults` is how many operations of the request failed by now.
    pub fn end(&mut self, request: usize, faults: usize) -> &mut Step {
        let ended = self.moment();
        let steps = &mut self.requests[request];
        let last = steps.len() - 1;
        let timed = &mut steps[last];
        timed.ended = ended;
        timed.faults = faults - timed.faults;
        &mut timed.step
    }

    /// The last step carried so far what was given up before it.
    pub fn carried(&mut self, request: usize, how: Carried) {
        let steps = &mut self.requests[request];
        let (last, given_up) = steps.split_last_mut().unwrap();
        let mut how = how;
        for timed in given_up.iter_mut().rev().filter(|timed| timed.ended == usize::MAX) {
            let Step::GivenUp { carried, .. } = &mut timed.step else { continue };
            *carried = how;
            (timed.ended, timed.faults) = (last.ended, 1);
            if how == Carried::ToTheEndOfASession {
                how = Carried::OrWhole;
            }
        }
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, steps) in self.requests.iter().enumerate() {
            writeln!(f, "request {number}")?;
            for Timed { step, begun, ended, faults } in steps {
                let ended = if *ended == usize::MAX { "  …".to_owned() } else { format!("{ended:3}") };
                let failed = if *faults == 0 { String::new() } else { format!("  ({faults} failed)") };
                writeln!(f, "  {begun:3}..{ended} {step:?}{failed}")?;
            }
        }
        Ok(())
    }
}
