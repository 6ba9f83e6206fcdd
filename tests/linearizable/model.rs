//! What must come of each step, were the steps done one at a time: a session store as simple as it can be.

use super::history::{Act, Carried, Cookie, Data, Outcome, Seen, Step, Timed};
use super::session::{Live, Presented, Secret, Session};

/// All sessions, and how far each request is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct World {
    now: u32,
    sessions: Vec<Session>,
    requests: Vec<Request>,
    /// The session and the secret of each token that a client was given.
    tokens: Vec<Option<(usize, Secret)>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Request {
    base: Base,
    cookie: Option<Secret>,
    removed: bool,
    /// What a commit that was given up came to, where it did not take effect.
    failed: Option<Failed>,
    /// The last step was given up: the response carries it to its end, and leaves for later what is due of itself.
    gave_up: bool,
    /// The end of a session has been seen to; what else was committed with it is still to come.
    after_end: bool,
    /// What was given up before it set out.
    unsent: Vec<Act>,
    /// What its handler takes for the owner, where the sign-in was left behind.
    believed: Option<u8>,
    /// A commit that was given up was left behind: what comes after it waits for it, or ends the session.
    waits: bool,
    /// When what was left behind was put together.
    drafted: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Failed {
    Superseded,
    Ended,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
enum Base {
    #[default]
    Fresh,
    Retired,
    Live(Live),
}

/// What a list of acts comes to.
#[derive(Debug, Default)]
struct Plan {
    /// The session that is ended first.
    end: Option<Live>,
    /// Whether what follows begins a session of its own.
    fresh: bool,
    changes: Vec<Act>,
    rotate: bool,
    sign_in: Option<(u8, usize)>,
}

/// How a step is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Whole,
    /// Of a commit that was given up: the end of a session, and no more.
    EndOnly,
    /// Of a commit that was given up: in one with what is committed next.
    WithTheNext,
}

/// How far a step came.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is done.
    Whole,
    /// Its first half is.
    Half,
}

impl World {
    pub fn new(requests: usize, tokens: usize) -> Self {
        Self { requests: vec![Request::default(); requests], tokens: vec![None; tokens], ..Self::default() }
    }

    /// Does the next part of a step; `None` where what was observed does not fit.
    ///
    /// `number` names the step, among all.
    pub fn take(&mut self, request: usize, number: Secret, timed: &Timed, faulty: bool, way: Way) -> Option<Taken> {
        if let Step::Commit { acts, .. } | Step::GivenUp { acts, .. } | Step::Respond { acts, .. } = &timed.step {
            let is_kept = !matches!(timed.step, Step::Respond { kept: false, .. });
            if self.ends_any(request, acts) {
                // What was given up before is not carried on: of that session there is nothing more to be known.
                (self.requests[request].waits, self.requests[request].failed) = (false, None);
            } else if self.requests[request].waits && is_kept {
                return None;
            }
        }
        match &timed.step {
            Step::Advance(seconds) => {
                self.now += seconds;
                Some(Taken::Whole)
            }
            Step::Load { token, seen } => self.load(request, *token, seen),
            Step::Refused(act) => self.refused(request, *act, faulty),
            Step::Commit { acts, returned, seen, outcome } => {
                let loose = timed.faults > 0;
                if let Some(taken) = self.fall_through(request, outcome) {
                    return taken;
                }
                let came = match self.write(request, number, acts, false, true)? {
                    Came::Half => return Some(Taken::Half),
                    Came::To(came) => came,
                };
                self.requests[request].gave_up = false;
                match (outcome, came) {
                    (Outcome::Done, Written::Done(value)) => {
                        let fits = match returned {
                            Some(returned) => value == Some(*returned),
                            None => true,
                        };
                        (fits && (loose || acts.is_empty() || self.shows(request, seen))).then_some(Taken::Whole)
                    }
                    (Outcome::Superseded, Written::Superseded) | (Outcome::Ended, Written::Ended) => {
                        self.requests[request].cookie = None;
                        Some(Taken::Whole)
                    }
                    // It may have been made before the session ended.
                    (Outcome::Ended, Written::Done(_)) if loose => {
                        self.requests[request].cookie = None;
                        Some(Taken::Whole)
                    }
                    _ => None,
                }
            }
            Step::GivenUp { acts, carried } => {
                // A session that its handler has ended is ended with the response, whatever its status. What it did after that
                // would have begun another, of which nobody is told.
                if way == Way::EndOnly && !self.ends_any(request, acts) {
                    return None;
                }
                self.requests[request].gave_up = true;
                if self.requests[request].failed.is_some() {
                    // With what failed before it, it was dropped.
                    return (*carried == Carried::Whole).then_some(Taken::Whole);
                }
                if way == Way::WithTheNext {
                    self.requests[request].unsent.extend_from_slice(acts);
                    return Some(Taken::Whole);
                }
                let was_carried = *carried == Carried::Whole || way == Way::EndOnly;
                match self.write(request, number, acts, false, way == Way::Whole)? {
                    Came::Half => Some(Taken::Half),
                    Came::To(Written::Done(_)) => Some(Taken::Whole),
                    // Whoever carries it so far is told.
                    Came::To(_) if !was_carried => None,
                    Came::To(Written::Superseded) => self.fail(request, Failed::Superseded),
                    Came::To(Written::Ended) => self.fail(request, Failed::Ended),
                }
            }
            Step::Respond { acts, kept, cookie, outcome } => {
                if let Some(failed) = self.requests[request].failed {
                    let fits = match failed {
                        Failed::Superseded => *outcome == Outcome::Superseded,
                        Failed::Ended => *outcome == Outcome::Done,
                    };
                    return (fits && self.tells(request, *cookie, faulty)).then_some(Taken::Whole);
                }
                let came = match self.write(request, number, acts, true, *kept)? {
                    Came::Half => return Some(Taken::Half),
                    Came::To(came) => came,
                };
                match (outcome, came) {
                    (Outcome::Done, Written::Done(_)) => {}
                    (Outcome::Done, Written::Ended) | (Outcome::Superseded, Written::Superseded) => {
                        self.requests[request].cookie = None;
                    }
                    _ => return None,
                }
                self.tells(request, *cookie, faulty).then_some(Taken::Whole)
            }
        }
    }

    /// Leaves a step behind whose outcome nobody was told: it may take effect at any time, once, by itself. Says under
    /// which number it goes on.
    pub fn leave(&mut self, request: usize, timed: &Timed) -> Option<usize> {
        let left = Request { drafted: self.now, ..self.requests[request].clone() };
        let fits = match &timed.step {
            // Of a client that went away nothing is known.
            Step::Respond { cookie, .. } if timed.ended != usize::MAX => self.tells(request, *cookie, true),
            Step::GivenUp { acts, carried } => {
                let is_unknown = *carried == Carried::Perhaps || timed.ended == usize::MAX;
                let plan = self.plan(request, acts)?;
                let (ends, sign_in) = (plan.end.is_some(), plan.sign_in);
                let Request { base, believed, waits, .. } = &mut self.requests[request];
                if plan.fresh {
                    (*base, *believed) = (Base::Fresh, None);
                }
                *believed = sign_in.map(|(owner, _)| owner).or(*believed);
                *waits = true;
                is_unknown || !ends
            }
            _ => true,
        };
        self.requests.push(left);
        fits.then(|| self.requests.len() - 1)
    }

    /// Does the next part of a step that was left behind; nothing is known of what came of it.
    pub fn take_left(&mut self, left: usize, number: Secret, step: &Step) -> Option<Taken> {
        let (acts, last, kept) = match step {
            Step::Commit { acts, .. } | Step::GivenUp { acts, .. } => (acts, false, true),
            Step::Respond { acts, kept, .. } => (acts, true, *kept),
            Step::Load { .. } | Step::Refused(_) | Step::Advance(_) => return None,
        };
        let now = std::mem::replace(&mut self.now, self.requests[left].drafted);
        let came = self.write(left, number, acts, last, kept);
        self.now = now;
        match came? {
            Came::Half => Some(Taken::Half),
            Came::To(Written::Done(_)) => Some(Taken::Whole),
            Came::To(Written::Superseded | Written::Ended) => None,
        }
    }

    /// Goes on from what the session is now, as a commit does that looks at it after its answer was lost.
    pub fn look_again(&mut self, request: usize) -> bool {
        let Base::Live(live) = &self.requests[request].base else { return false };
        let live = live.clone();
        let session = &self.sessions[live.session];
        if session.ended || session.epoch != live.epoch || session.rotations == live.rotations {
            return false;
        }
        let presented = match (live.presented, session.presented(live.secret, self.now)) {
            (Presented::Replaced, _) => Presented::Replaced,
            (_, still @ (Presented::Current | Presented::Pending)) => still,
            _ => Presented::Replaced,
        };
        let (rotations, sign_ins) = (session.rotations, session.sign_ins);
        self.requests[request].base = Base::Live(Live { rotations, sign_ins, presented, ..live });
        true
    }

    fn load(&mut self, request: usize, token: Option<usize>, seen: &Seen) -> Option<Taken> {
        let mut base = Base::Fresh;
        if let Some((number, secret)) = token.and_then(|token| self.tokens[token]) {
            let session = &self.sessions[number];
            let presented = session.presented(secret, self.now);
            base = match presented {
                _ if session.ended => Base::Fresh,
                Presented::Unknown => Base::Fresh,
                Presented::Retired => Base::Retired,
                _ => Base::Live(session.live(number, secret, presented, true)),
            };
        }
        self.requests[request].base = base;
        self.shows(request, seen).then_some(Taken::Whole)
    }

    /// Whether a request that goes on from what is stored now sees this.
    fn shows(&self, request: usize, seen: &Seen) -> bool {
        match (&self.requests[request].base, seen) {
            (Base::Fresh | Base::Retired, None) => true,
            (Base::Live(live), Some((owner, data))) => {
                let session = &self.sessions[live.session];
                session.owner == *owner && session.data == *data
            }
            _ => false,
        }
    }

    fn refused(&self, request: usize, act: Act, faulty: bool) -> Option<Taken> {
        let fits = match (&self.requests[request].base, act) {
            (_, Act::SignOut) | (Base::Fresh, _) => false,
            (Base::Retired, act) => !matches!(act, Act::SignIn(_)),
            (Base::Live(live), Act::Rotate | Act::SignIn(_)) => live.presented == Presented::Replaced || faulty,
            (Base::Live(_), _) => false,
        };
        fits.then_some(Taken::Whole)
    }

    fn fall_through(&mut self, request: usize, outcome: &Outcome) -> Option<Option<Taken>> {
        let failed = self.requests[request].failed.take()?;
        let fits = match failed {
            Failed::Superseded => *outcome == Outcome::Superseded,
            Failed::Ended => *outcome == Outcome::Ended,
        };
        Some(fits.then_some(Taken::Whole))
    }

    fn fail(&mut self, request: usize, failed: Failed) -> Option<Taken> {
        self.requests[request].failed = Some(failed);
        self.requests[request].cookie = None;
        Some(Taken::Whole)
    }

    /// Commits acts: first the end of a session, if they come to one, then what else they come to. `None` where the acts
    /// could not have been accepted.
    fn write(&mut self, request: usize, number: Secret, acts: &[Act], last: bool, kept: bool) -> Option<Came> {
        let mut plan = self.plan(request, acts)?;
        if let (Some(live), false) = (&plan.end, self.requests[request].after_end) {
            return self.end(request, number, live).map(|()| Came::Half).or(Some(Came::To(Written::Superseded)));
        }
        self.requests[request].after_end = false;
        self.requests[request].unsent.clear();
        if plan.fresh {
            self.requests[request].base = Base::Fresh;
        }
        if !kept {
            plan = Plan::default();
        }
        let Base::Live(live) = self.requests[request].base.clone() else {
            if !plan.changes.is_empty() || plan.sign_in.is_some() {
                return Some(Came::To(self.create(request, number, &plan, 0)));
            }
            return Some(Came::To(Written::Done(None)));
        };
        let promotes = last && live.presented == Presented::Pending && !self.requests[request].gave_up;
        let asked = !plan.changes.is_empty() || plan.sign_in.is_some() || plan.rotate;
        if !asked && !promotes {
            return Some(Came::To(Written::Done(None)));
        }
        let session = &mut self.sessions[live.session];
        if let Some((owner, after)) = plan.sign_in {
            if session.ended || session.owner.is_some_and(|present| present != owner) {
                return Some(Came::To(self.create(request, number, &plan, after)));
            }
        } else if session.ended || session.epoch != live.epoch {
            // What is due of itself fails in silence.
            let came = match (asked, session.ended) {
                (false, _) => Written::Done(None),
                (true, true) => Written::Ended,
                (true, false) => Written::Superseded,
            };
            return Some(Came::To(came));
        }
        if promotes {
            session.promote(live.secret, self.now);
        }
        let mut issued = true;
        if plan.sign_in.is_some() {
            session.signed_in_by.push(number);
        }
        match plan.sign_in {
            Some(_) if session.sign_ins > live.sign_ins => session.pending.push((number, self.now)),
            Some((owner, _)) => {
                session.epoch += u8::from(session.owner.is_none());
                session.owner = Some(owner);
                session.sign_ins += 1;
                session.replace_all(number, self.now);
            }
            None if plan.rotate && session.rotations == live.rotations && live.presented != Presented::Replaced => {
                session.replace_all(number, self.now)
            }
            None => issued = false,
        }
        let value = session.data.apply(&plan.changes);
        let new = if issued {
            self.requests[request].cookie = Some(number);
            session.live(live.session, number, Presented::Current, live.is_the_clients)
        } else {
            let presented = match (live.presented, session.presented(live.secret, self.now)) {
                (Presented::Replaced, _) => Presented::Replaced,
                (_, still @ (Presented::Current | Presented::Pending)) => still,
                _ => Presented::Replaced,
            };
            session.live(live.session, live.secret, presented, live.is_the_clients)
        };
        self.requests[request].base = Base::Live(new);
        Some(Came::To(Written::Done(value)))
    }

    /// Whether acts come to the end of a session.
    fn ends_any(&self, request: usize, acts: &[Act]) -> bool {
        self.plan(request, acts).is_some_and(|plan| plan.end.is_some())
    }

    /// What acts come to, from where the request stands.
    fn plan(&self, request: usize, acts: &[Act]) -> Option<Plan> {
        let mut plan = Plan::default();
        let Request { base, gave_up, believed, unsent, .. } = &self.requests[request];
        let mut base = base;
        let mut owner = believed.or_else(|| base.live()?.owner);
        for act in unsent.iter().chain(acts) {
            match act {
                Act::SignOut => {
                    plan = Plan { end: plan.end.take().or_else(|| base.live().cloned()), ..Plan::default() };
                    if !matches!(base, Base::Retired) {
                        plan.fresh = true;
                        base = &Base::Fresh;
                    }
                    owner = None;
                }
                // What was done while a commit was under way that another rotation came before is not refused, but comes to
                // nothing.
                Act::SignIn(_) | Act::Rotate
                    if !gave_up && base.live().is_some_and(|live| live.presented == Presented::Replaced) =>
                {
                    return None;
                }
                Act::SignIn(new) => {
                    if owner.is_some_and(|present| present != *new) || matches!(base, Base::Retired) {
                        plan = Plan { end: plan.end.take().or_else(|| base.live().cloned()), ..Plan::default() };
                        plan.fresh = true;
                        base = &Base::Fresh;
                    }
                    owner = Some(*new);
                    plan.rotate = false;
                    plan.sign_in = Some((*new, plan.changes.len()));
                }
                _ if matches!(base, Base::Retired) => return None,
                Act::Rotate => plan.rotate |= base.live().is_some() && plan.sign_in.is_none(),
                change => plan.changes.push(*change),
            }
        }
        Some(plan)
    }

    fn create(&mut self, request: usize, number: Secret, plan: &Plan, after: usize) -> Written {
        let mut data = Data::default();
        let value = data.apply(&plan.changes[after..]);
        let owner = plan.sign_in.map(|(owner, _)| owner);
        let session = Session { owner, epoch: u8::from(owner.is_some()), data, current: number, ..Session::default() };
        let new = session.live(self.sessions.len(), number, Presented::Current, false);
        self.sessions.push(session);
        self.requests[request].base = Base::Live(new);
        self.requests[request].cookie = Some(number);
        Written::Done(value)
    }

    /// Ends a session; `None` where it is another's by now. Not if a sign-in of the same request, that was left behind, has
    /// made it so.
    fn end(&mut self, request: usize, number: Secret, live: &Live) -> Option<()> {
        let session = &mut self.sessions[live.session];
        let request = &mut self.requests[request];
        request.cookie = None;
        let is_our_sign_in = session.signed_in_by.iter().any(|by| by >> 8 == number >> 8);
        if live.owner.is_none() && !session.ended && session.epoch != live.epoch && !is_our_sign_in {
            return None;
        }
        request.removed |= !session.ended && live.is_the_clients;
        session.ended = true;
        request.after_end = true;
        Some(())
    }

    /// Whether a response with this cookie fits; a token that it sets is known from then on.
    fn tells(&mut self, request: usize, cookie: Cookie, faulty: bool) -> bool {
        let Request { cookie: secret, removed, base, .. } = &self.requests[request];
        match (cookie, secret) {
            (Cookie::Set(token), Some(secret)) => {
                let Base::Live(live) = base else { return false };
                let known = &mut self.tokens[token];
                let issued = (live.session, *secret);
                *known.get_or_insert(issued) == issued
            }
            (Cookie::Set(_), None) => false,
            (Cookie::Untouched, secret) => (secret.is_none() && !removed) || faulty,
            (Cookie::Removed, secret) => (*removed && secret.is_none()) || faulty,
        }
    }
}

enum Came {
    Half,
    To(Written),
}

/// What a write came to; with the value that its last act returned.
enum Written {
    Done(Option<Option<u32>>),
    Superseded,
    Ended,
}

impl Base {
    fn live(&self) -> Option<&Live> {
        match self {
            Self::Live(live) => Some(live),
            _ => None,
        }
    }
}
