//! Sequential model of the session store: the expected result of each step, applied one at a time.

use super::history::{Completion, Cookie, Data, Observed, Operation, Outcome, Step, Timed};
use super::session::{LiveSession, RetiredBy, Secret, Session, TokenStatus};

/// All sessions and the state of each request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Model {
    now: u32,
    sessions: Vec<Session>,
    requests: Vec<Request>,
    /// Session and secret of each token that a client received.
    tokens: Vec<Option<(usize, Secret)>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Request {
    loaded: Loaded,
    cookie: Option<Secret>,
    /// The request has ended the session of its token.
    removed: bool,
    /// A sign-out removes the cookie, since its token opened nothing.
    cleared: bool,
    sent_token: bool,
    /// The request has ended a session, or gone on without one.
    restarted: bool,
    /// Error of a dropped commit that did not take effect.
    failed: Option<Failed>,
    /// The last step was a dropped commit: the response completes it, and leaves a refresh or promotion for later.
    dropped_commit: bool,
    /// The end of a session took effect; the rest of its commit is still to come.
    session_end_applied: bool,
    /// Operations of dropped commits that had not started.
    unsent: Vec<Operation>,
    /// Owner that the handler assumes after a deferred sign-in.
    assumed_owner: Option<u8>,
    /// A dropped commit was deferred: the next commit waits for it, unless it ends the session.
    blocked: bool,
    /// Model time at which the deferred step was prepared.
    drafted_at: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Failed {
    Superseded,
    Ended,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
enum Loaded {
    #[default]
    New,
    /// The token was just retired. A sign-in of this owner joins the session.
    Retired(LiveSession, Option<u8>),
    /// The session ended within the last minute.
    Ended,
    Live(LiveSession),
}

/// Combined effect of a list of operations.
#[derive(Debug, Default)]
struct Plan {
    /// The session to end first.
    end: Option<LiveSession>,
    /// The other operations create a new session.
    fresh: bool,
    /// A repeated sign-in: the other operations go into this session.
    join: Option<LiveSession>,
    restarts: bool,
    clears_cookie: bool,
    changes: Vec<Operation>,
    rotate: bool,
    sign_in: Option<(u8, usize)>,
}

/// The parts of a step to apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Full,
    /// For a dropped commit: only the end of a session.
    SessionEndOnly,
    /// For a dropped commit: together with the next commit.
    WithNext,
}

/// The part of a step that was applied.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// All of it.
    Complete,
    /// The end of a session; the rest is still to come.
    Partial,
}

impl Model {
    pub fn new(requests: usize, tokens: usize) -> Self {
        Self { requests: vec![Request::default(); requests], tokens: vec![None; tokens], ..Self::default() }
    }

    /// Applies the next part of a step; returns `None` if the observations contradict the model.
    ///
    /// `number` identifies the step among all requests.
    pub fn apply(
        &mut self,
        request: usize,
        number: Secret,
        timed: &Timed,
        has_faults: bool,
        mode: Mode,
    ) -> Option<Progress> {
        if let Step::Commit { operations, .. } | Step::Dropped { operations, .. } | Step::Respond { operations, .. } =
            &timed.step
        {
            let response_commits = !matches!(timed.step, Step::Respond { commits: false, .. });
            if self.ends_any(request, operations) {
                // Earlier dropped commits are not completed: the request has no further effect on that session.
                (self.requests[request].blocked, self.requests[request].failed) = (false, None);
            } else if self.requests[request].blocked && response_commits {
                return None;
            }
        }
        match &timed.step {
            Step::Advance(seconds) => {
                self.now += seconds;
                Some(Progress::Complete)
            }
            Step::Load { token, observed } => self.load(request, *token, observed),
            Step::Refused(operation) => self.refused(request, *operation, has_faults),
            Step::Commit { operations, returned, observed, outcome } => {
                let may_be_stale = timed.faults > 0;
                if let Some(progress) = self.report_failure(request, outcome) {
                    return progress;
                }
                let result = match self.write(request, number, operations, false, true)? {
                    WriteProgress::Partial => return Some(Progress::Partial),
                    WriteProgress::Complete(result) => result,
                };
                self.requests[request].dropped_commit = false;
                match (outcome, result) {
                    (Outcome::Done, WriteResult::Done(value)) => {
                        let fits = match returned {
                            Some(returned) => value == Some(*returned),
                            None => true,
                        };
                        (fits && (may_be_stale || operations.is_empty() || self.matches_observed(request, observed)))
                            .then_some(Progress::Complete)
                    }
                    (Outcome::Superseded, WriteResult::Superseded) | (Outcome::Ended, WriteResult::Ended) => {
                        self.requests[request].cookie = None;
                        Some(Progress::Complete)
                    }
                    // The commit may have taken effect before the session ended.
                    (Outcome::Ended, WriteResult::Done(_)) if may_be_stale => {
                        self.requests[request].cookie = None;
                        Some(Progress::Complete)
                    }
                    _ => None,
                }
            }
            Step::Dropped { operations, completion } => {
                // A session that the handler ended ends with the response, whatever its status. Later operations
                // would create a session whose token no client receives.
                if mode == Mode::SessionEndOnly && !self.ends_any(request, operations) {
                    return None;
                }
                self.requests[request].dropped_commit = true;
                if self.requests[request].failed.is_some() {
                    // It was dropped together with the failed commit before it.
                    return (*completion == Completion::Full).then_some(Progress::Complete);
                }
                if mode == Mode::WithNext {
                    self.requests[request].unsent.extend_from_slice(operations);
                    return Some(Progress::Complete);
                }
                let is_completed = *completion == Completion::Full || mode == Mode::SessionEndOnly;
                match self.write(request, number, operations, false, mode == Mode::Full)? {
                    WriteProgress::Partial => Some(Progress::Partial),
                    WriteProgress::Complete(WriteResult::Done(_)) => Some(Progress::Complete),
                    // A step that completes it this far reports the error.
                    WriteProgress::Complete(_) if !is_completed => None,
                    WriteProgress::Complete(WriteResult::Superseded) => self.fail(request, Failed::Superseded),
                    WriteProgress::Complete(WriteResult::Ended) => self.fail(request, Failed::Ended),
                }
            }
            Step::Respond { operations, commits, cookie, outcome } => {
                if let Some(failed) = self.requests[request].failed {
                    let fits = match failed {
                        Failed::Superseded => *outcome == Outcome::Superseded,
                        Failed::Ended => *outcome == Outcome::Done,
                    };
                    return (fits && self.cookie_fits(request, *cookie, has_faults)).then_some(Progress::Complete);
                }
                let result = match self.write(request, number, operations, true, *commits)? {
                    WriteProgress::Partial => return Some(Progress::Partial),
                    WriteProgress::Complete(result) => result,
                };
                match (outcome, result) {
                    (Outcome::Done, WriteResult::Done(_)) => {}
                    (Outcome::Done, WriteResult::Ended) | (Outcome::Superseded, WriteResult::Superseded) => {
                        self.requests[request].cookie = None;
                    }
                    _ => return None,
                }
                self.cookie_fits(request, *cookie, has_faults).then_some(Progress::Complete)
            }
        }
    }

    /// Defers a step whose outcome no client received: it may take effect once, at any later time.
    ///
    /// Returns the number under which the deferred step is applied.
    pub fn defer(&mut self, request: usize, timed: &Timed) -> Option<usize> {
        let deferred = Request { drafted_at: self.now, ..self.requests[request].clone() };
        let fits = match &timed.step {
            // The outcome is unknown if the client disconnected.
            Step::Respond { cookie, .. } if timed.ended != usize::MAX => self.cookie_fits(request, *cookie, true),
            Step::Dropped { operations, completion } => {
                let is_unknown = *completion == Completion::Unknown || timed.ended == usize::MAX;
                let plan = self.plan(request, operations)?;
                let (ends, sign_in) = (plan.end.is_some(), plan.sign_in);
                let Request { loaded, assumed_owner, blocked, .. } = &mut self.requests[request];
                if plan.fresh {
                    (*loaded, *assumed_owner) = (Loaded::New, None);
                }
                *assumed_owner = sign_in.map(|(owner, _)| owner).or(*assumed_owner);
                *blocked = true;
                is_unknown || !ends
            }
            _ => true,
        };
        self.requests.push(deferred);
        fits.then(|| self.requests.len() - 1)
    }

    /// Applies the next part of a deferred step, whose outcome is unknown.
    pub fn apply_deferred(&mut self, deferred: usize, number: Secret, step: &Step) -> Option<Progress> {
        let (operations, last, commits) = match step {
            Step::Commit { operations, .. } | Step::Dropped { operations, .. } => (operations, false, true),
            Step::Respond { operations, commits, .. } => (operations, true, *commits),
            Step::Load { .. } | Step::Refused(_) | Step::Advance(_) => return None,
        };
        let now = std::mem::replace(&mut self.now, self.requests[deferred].drafted_at);
        let result = self.write(deferred, number, operations, last, commits);
        self.now = now;
        match result? {
            WriteProgress::Partial => Some(Progress::Partial),
            WriteProgress::Complete(WriteResult::Done(_)) => Some(Progress::Complete),
            WriteProgress::Complete(WriteResult::Superseded | WriteResult::Ended) => None,
        }
    }

    /// Continues from the present record, as a commit does when it reads the record after a lost reply.
    pub fn reload_after_lost_reply(&mut self, request: usize) -> bool {
        let Loaded::Live(live) = &self.requests[request].loaded else { return false };
        let live = live.clone();
        let session = &self.sessions[live.session];
        if session.ended.is_some() || session.epoch != live.epoch || session.rotations == live.rotations {
            return false;
        }
        let token_status = match (live.token_status, session.token_status(live.secret, self.now)) {
            (TokenStatus::Replaced, _) => TokenStatus::Replaced,
            (_, still @ (TokenStatus::Current | TokenStatus::Pending)) => still,
            _ => TokenStatus::Replaced,
        };
        let (rotations, sign_ins) = (session.rotations, session.sign_ins);
        self.requests[request].loaded = Loaded::Live(LiveSession { rotations, sign_ins, token_status, ..live });
        true
    }

    fn load(&mut self, request: usize, token: Option<usize>, observed: &Observed) -> Option<Progress> {
        let mut loaded = Loaded::New;
        if let Some((number, secret)) = token.and_then(|token| self.tokens[token]) {
            let session = &self.sessions[number];
            let token_status = session.token_status(secret, self.now);
            loaded = match token_status {
                _ if session.ended.is_some() && !session.is_marked(self.now) => Loaded::New,
                TokenStatus::Unknown => Loaded::New,
                TokenStatus::Retired => {
                    let joining = session.owner.filter(|_| session.is_joined_under(secret, self.now));
                    Loaded::Retired(session.live(number, secret, token_status, false), joining)
                }
                _ if session.ended.is_some() => Loaded::Ended,
                _ => Loaded::Live(session.live(number, secret, token_status, true)),
            };
        }
        self.requests[request].loaded = loaded;
        self.requests[request].sent_token = token.is_some();
        self.matches_observed(request, observed).then_some(Progress::Complete)
    }

    /// Returns whether a request that continues from the present record makes this observation.
    fn matches_observed(&self, request: usize, observed: &Observed) -> bool {
        match (&self.requests[request].loaded, observed) {
            (Loaded::New | Loaded::Retired(..) | Loaded::Ended, None) => true,
            (Loaded::Live(live), Some((owner, data))) => {
                let session = &self.sessions[live.session];
                session.owner == *owner && session.data == *data
            }
            _ => false,
        }
    }

    fn refused(&self, request: usize, operation: Operation, has_faults: bool) -> Option<Progress> {
        let fits = match (&self.requests[request].loaded, operation) {
            (Loaded::New, _) | (Loaded::Live(_) | Loaded::Ended, Operation::SignOut) => false,
            (Loaded::Retired(..) | Loaded::Ended, operation) => !matches!(operation, Operation::SignIn(_)),
            (Loaded::Live(live), Operation::Rotate | Operation::SignIn(_)) => {
                live.token_status == TokenStatus::Replaced || has_faults
            }
            (Loaded::Live(_), _) => false,
        };
        fits.then_some(Progress::Complete)
    }

    fn report_failure(&mut self, request: usize, outcome: &Outcome) -> Option<Option<Progress>> {
        let failed = self.requests[request].failed.take()?;
        let fits = match failed {
            Failed::Superseded => *outcome == Outcome::Superseded,
            Failed::Ended => *outcome == Outcome::Ended,
        };
        Some(fits.then_some(Progress::Complete))
    }

    fn fail(&mut self, request: usize, failed: Failed) -> Option<Progress> {
        self.requests[request].failed = Some(failed);
        self.requests[request].cookie = None;
        Some(Progress::Complete)
    }

    /// Commits operations: first the end of a session, then the rest; `None` if they could not have been accepted.
    fn write(
        &mut self,
        request: usize,
        number: Secret,
        operations: &[Operation],
        last: bool,
        commits: bool,
    ) -> Option<WriteProgress> {
        let mut plan = self.plan(request, operations)?;
        if let (Some(live), false) = (&plan.end, self.requests[request].session_end_applied) {
            return self
                .end(request, number, live)
                .map(|()| WriteProgress::Partial)
                .or(Some(WriteProgress::Complete(WriteResult::Superseded)));
        }
        self.requests[request].session_end_applied = false;
        self.requests[request].unsent.clear();
        self.requests[request].restarted |= plan.restarts;
        self.requests[request].cleared |= plan.clears_cookie;
        if plan.fresh {
            self.requests[request].loaded = Loaded::New;
        }
        if let Some(live) = plan.join.take().filter(|_| commits) {
            self.requests[request].loaded = Loaded::Live(live);
        }
        if !commits {
            plan = Plan::default();
        }
        let Loaded::Live(live) = self.requests[request].loaded.clone() else {
            if !plan.changes.is_empty() || plan.sign_in.is_some() {
                return Some(WriteProgress::Complete(self.create(request, number, &plan, 0)));
            }
            return Some(WriteProgress::Complete(WriteResult::Done(None)));
        };
        let promotes = last && live.token_status == TokenStatus::Pending && !self.requests[request].dropped_commit;
        let asked = !plan.changes.is_empty() || plan.sign_in.is_some() || plan.rotate;
        if !asked && !promotes {
            return Some(WriteProgress::Complete(WriteResult::Done(None)));
        }
        let session = &mut self.sessions[live.session];
        if let Some((owner, after)) = plan.sign_in {
            if session.ended.is_some() || session.owner.is_some_and(|present| present != owner) {
                return Some(WriteProgress::Complete(self.create(request, number, &plan, after)));
            }
        } else if session.ended.is_some() || session.epoch != live.epoch {
            // A refresh or promotion fails without an error.
            let result = match (asked, session.ended.is_some()) {
                (false, _) => WriteResult::Done(None),
                (true, true) => WriteResult::Ended,
                (true, false) => WriteResult::Superseded,
            };
            return Some(WriteProgress::Complete(result));
        }
        if promotes {
            session.promote(live.secret, self.now);
        }
        let mut issued = true;
        if plan.sign_in.is_some() {
            session.signed_in_by.push(number);
        }
        match plan.sign_in {
            Some(_) if session.sign_ins > live.sign_ins || live.token_status == TokenStatus::Retired => {
                session.pending.push((number, self.now));
            }
            Some((owner, _)) => {
                session.epoch += u8::from(session.owner.is_none());
                session.owner = Some(owner);
                session.sign_ins += 1;
                session.replace_all(number, self.now, RetiredBy::SignIn);
            }
            None if plan.rotate
                && session.rotations == live.rotations
                && live.token_status != TokenStatus::Replaced =>
            {
                session.replace_all(number, self.now, RetiredBy::Rotation);
            }
            None => issued = false,
        }
        let value = session.data.apply(&plan.changes);
        let new = if issued {
            self.requests[request].cookie = Some(number);
            session.live(live.session, number, TokenStatus::Current, live.from_client_token)
        } else {
            let token_status = match (live.token_status, session.token_status(live.secret, self.now)) {
                (TokenStatus::Replaced, _) => TokenStatus::Replaced,
                (_, still @ (TokenStatus::Current | TokenStatus::Pending)) => still,
                _ => TokenStatus::Replaced,
            };
            session.live(live.session, live.secret, token_status, live.from_client_token)
        };
        self.requests[request].loaded = Loaded::Live(new);
        Some(WriteProgress::Complete(WriteResult::Done(value)))
    }

    /// Returns whether the operations end a session.
    fn ends_any(&self, request: usize, operations: &[Operation]) -> bool {
        self.plan(request, operations).is_some_and(|plan| plan.end.is_some())
    }

    /// Returns the combined effect of the operations on the request's session.
    fn plan(&self, request: usize, operations: &[Operation]) -> Option<Plan> {
        let mut plan = Plan::default();
        let Request { loaded, dropped_commit, assumed_owner, unsent, sent_token, restarted, .. } =
            &self.requests[request];
        let mut loaded = loaded.clone();
        let mut owner = assumed_owner.or_else(|| loaded.live()?.owner);
        for operation in unsent.iter().chain(operations) {
            match operation {
                Operation::SignOut => {
                    if matches!(loaded, Loaded::Retired(..)) {
                        return None;
                    }
                    if !matches!(loaded, Loaded::Ended) {
                        let clears_cookie = plan.clears_cookie
                            || (*sent_token && !restarted && !plan.restarts && matches!(loaded, Loaded::New));
                        plan = plan.restart(&loaded);
                        plan.clears_cookie = clears_cookie;
                        loaded = Loaded::New;
                    }
                    owner = None;
                }
                // During a commit that another rotation overtook, these operations are accepted and have no effect.
                Operation::SignIn(_) | Operation::Rotate
                    if !dropped_commit
                        && loaded.live().is_some_and(|live| live.token_status == TokenStatus::Replaced) =>
                {
                    return None;
                }
                Operation::SignIn(new) => {
                    match &loaded {
                        Loaded::Retired(live, joining) if *joining == Some(*new) => {
                            plan.join = Some(live.clone());
                            loaded = Loaded::Live(live.clone());
                        }
                        _ if owner.is_some_and(|present| present != *new)
                            || matches!(loaded, Loaded::Retired(..) | Loaded::Ended) =>
                        {
                            plan = plan.restart(&loaded);
                            loaded = Loaded::New;
                        }
                        _ => {}
                    }
                    owner = Some(*new);
                    plan.rotate = false;
                    plan.sign_in = Some((*new, plan.changes.len()));
                }
                _ if matches!(loaded, Loaded::Retired(..) | Loaded::Ended) => return None,
                Operation::Rotate => plan.rotate |= loaded.live().is_some() && plan.sign_in.is_none(),
                change => plan.changes.push(*change),
            }
        }
        Some(plan)
    }

    fn create(&mut self, request: usize, number: Secret, plan: &Plan, after: usize) -> WriteResult {
        let mut data = Data::default();
        let value = data.apply(&plan.changes[after..]);
        let owner = plan.sign_in.map(|(owner, _)| owner);
        let session = Session { owner, epoch: u8::from(owner.is_some()), data, current: number, ..Session::default() };
        let new = session.live(self.sessions.len(), number, TokenStatus::Current, false);
        self.sessions.push(session);
        self.requests[request].loaded = Loaded::Live(new);
        self.requests[request].cookie = Some(number);
        self.requests[request].cleared = false;
        WriteResult::Done(value)
    }

    /// Ends a session; `None` if it has another owner by now, except through a deferred sign-in of this request.
    fn end(&mut self, request: usize, number: Secret, live: &LiveSession) -> Option<()> {
        let session = &mut self.sessions[live.session];
        let request = &mut self.requests[request];
        request.cookie = None;
        let is_our_sign_in = session.signed_in_by.iter().any(|by| by >> 8 == number >> 8);
        if live.owner.is_none() && session.ended.is_none() && session.epoch != live.epoch && !is_our_sign_in {
            return None;
        }
        request.removed |= session.ended.is_none() && live.from_client_token;
        session.ended.get_or_insert(self.now);
        request.session_end_applied = true;
        Some(())
    }

    /// Returns whether a response's cookie agrees with the model, and records a token that it sets.
    fn cookie_fits(&mut self, request: usize, cookie: Cookie, has_faults: bool) -> bool {
        let Request { cookie: secret, removed, cleared, loaded, .. } = &self.requests[request];
        let removed = *removed || *cleared;
        match (cookie, secret) {
            (Cookie::Set(token), Some(secret)) => {
                let Loaded::Live(live) = loaded else { return false };
                let known = &mut self.tokens[token];
                let issued = (live.session, *secret);
                *known.get_or_insert(issued) == issued
            }
            (Cookie::Set(_), None) => false,
            (Cookie::Untouched, secret) => (secret.is_none() && !removed) || has_faults,
            (Cookie::Removed, secret) => (removed && secret.is_none()) || has_faults,
        }
    }
}

impl Plan {
    /// Goes on without a session, after the end of the present one.
    fn restart(self, loaded: &Loaded) -> Self {
        let end = self.end.or_else(|| loaded.live().cloned());
        Self { end, fresh: true, restarts: true, clears_cookie: self.clears_cookie, ..Self::default() }
    }
}

enum WriteProgress {
    Partial,
    Complete(WriteResult),
}

/// Result of a write, with the value that its last operation returned.
enum WriteResult {
    Done(Option<Option<u32>>),
    Superseded,
    Ended,
}

impl Loaded {
    fn live(&self) -> Option<&LiveSession> {
        match self {
            Self::Live(live) => Some(live),
            _ => None,
        }
    }
}
