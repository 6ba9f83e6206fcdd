//! Two people who use an application, somebody who attacks them, and a model of what each may learn.
//!
//! The attacker has a session of its own and keeps every token that it was given, plants them in the browsers of the
//! others, beside their own cookie or in its place, learns their tokens once they are dead, makes up others under the
//! known names of their sessions, and has their browsers send forms of its making. The model says what each request
//! opens; whatever was written where the attacker had no way in must never be shown to it.

#![allow(unreachable_pub, reason = "nothing outside of the test binary sees it")]
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::header::COOKIE;
use http::{Method, Request, StatusCode};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use sessile::csrf::CsrfLayer;
use sessile::{Error, Lifetime, Session, SessionLayer, Token};

use super::accounts::Over;
use super::support::client::{COOKIE_NAME, Reply, send, session_of};

/// How long a retired secret is told from an unknown one, and a replaced one works on.
const GRACE: u64 = 30;
const ROTATION: u64 = 60;
const IDLE: u64 = 60 * 60;
const ABSOLUTE: u64 = 24 * IDLE;

const NAMES: [&str; 3] = ["ada", "grace", "mallory"];
const MALLORY: usize = 2;

/// One thing that somebody does.
#[derive(Clone, Debug)]
pub enum Op {
    /// Somebody sends a request. The attacker chooses among its tokens.
    Send {
        who: usize,
        verb: Verb,
        choice: Choice,
    },
    /// The attacker puts a token of its own into a browser, in place of what is there.
    Plant {
        whom: usize,
        choice: Choice,
    },
    /// The attacker puts a token of its own beside the browser's, for one request, on this side of it.
    Toss {
        whom: usize,
        choice: Choice,
        first: bool,
    },
    /// A browser is made to send a form with a token for forms that the attacker was shown.
    Forge {
        whom: usize,
        choice: Choice,
    },
    /// The attacker learns a token that opens nothing any more.
    Steal(Choice),
    /// Somebody closes the browser.
    Close {
        who: usize,
    },
    Wait(u64),
    /// Somebody goes on for a day and more, so that nothing but the absolute lifetime ends the session.
    Stay {
        who: usize,
    },
}

/// What is picked of however many there are.
pub type Choice = prop::sample::Index;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Read,
    Write,
    Rotate,
    SignIn,
    SignOut,
    /// Shows a token for forms.
    Show,
    /// Sends the form that was shown last.
    Submit,
}

pub fn ops(length: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Op>> {
    use Verb::{Read, Rotate, Show, SignIn, SignOut, Submit, Write};
    let verb = prop_oneof![
        4 => Just(Read), 4 => Just(Write), 2 => Just(Rotate), 3 => Just(SignIn), 1 => Just(SignOut), 2 => Just(Show),
        2 => Just(Submit)
    ];
    let choice = any::<Choice>;
    let wait =
        prop_oneof![4 => Just(1), 2 => Just(10), 2 => Just(29), 4 => Just(31), 4 => Just(61), 1 => Just(2 * IDLE)];
    let op = prop_oneof![
        16 => (0..3usize, verb, choice()).prop_map(|(who, verb, choice)| Op::Send { who, verb, choice }),
        3 => (0..2usize, choice()).prop_map(|(whom, choice)| Op::Plant { whom, choice }),
        2 => (0..2usize, choice(), any::<bool>()).prop_map(|(whom, choice, first)| Op::Toss { whom, choice, first }),
        2 => (0..2usize, choice()).prop_map(|(whom, choice)| Op::Forge { whom, choice }),
        2 => choice().prop_map(Op::Steal),
        1 => (0..2usize).prop_map(|who| Op::Close { who }),
        6 => wait.prop_map(Op::Wait),
        1 => (0..3usize).prop_map(|who| Op::Stay { who }),
    ];
    prop::collection::vec(op, length)
}

#[derive(Debug, Serialize, Deserialize)]
struct Seen {
    new: bool,
    owner: Option<String>,
    notes: Vec<u32>,
}

fn app(layer: SessionLayer) -> Router {
    async fn read(session: Session) -> Result<Json<Seen>, Error> {
        let owner = session.owner().map(|owner| owner.to_string());
        Ok(Json(Seen { new: session.is_new(), owner, notes: session.get("notes")?.unwrap_or_default() }))
    }

    async fn write(session: Session, Path(note): Path<u32>) -> Result<(), Error> {
        session.update("notes", move |notes: &mut Vec<u32>| notes.push(note))
    }

    #[derive(Deserialize)]
    struct As {
        name: String,
    }

    let guarded = Router::new().route("/submit/{note}", post(write)).layer(CsrfLayer::new());
    Router::new()
        .route("/read", get(read))
        .route("/write/{note}", post(write))
        .route("/rotate", post(async |session: Session| session.rotate()))
        .route("/sign-in", post(async |session: Session, Query(As { name }): Query<As>| session.sign_in(&name)))
        .route("/sign-out", post(async |session: Session| session.sign_out()))
        .route("/show", get(async |session: Session| session.csrf_token().await.map(|token| token.to_string())))
        .merge(guarded)
        .layer(layer)
}

/// What the model knows of one session.
#[derive(Clone, Debug)]
struct Known {
    owner: Option<usize>,
    notes: Vec<u32>,
    current: String,
    /// Since when the current one is.
    since: u64,
    pending: Option<String>,
    /// Replaced by a periodic rotation, and when.
    replaced: Vec<(String, u64)>,
    /// Explicitly retired, and when.
    retired: Vec<(String, u64)>,
    started: u64,
    seen: u64,
    /// How often it was explicitly rotated: tokens for forms are of one of these.
    generation: u32,
    ended: bool,
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Is {
    Current(usize),
    Pending(usize),
    Replaced(usize),
    Retired,
    Nothing,
}

impl Is {
    const fn session(self) -> Option<usize> {
        match self {
            Self::Current(number) | Self::Pending(number) | Self::Replaced(number) => Some(number),
            Self::Retired | Self::Nothing => None,
        }
    }
}

/// A token for forms: of which session it is, and of which of its generations.
type Form = (String, usize, u32);

pub struct Run<'a> {
    over: &'a Over,
    app: Router,
    now: u64,
    sessions: Vec<Known>,
    browsers: [Option<String>; 2],
    /// The attacker's tokens, and those that it has made up or stolen dead.
    given: Vec<String>,
    worthless: Vec<String>,
    forms: [Vec<Form>; 3],
    /// What was written where the attacker had no way in.
    secrets: Vec<u32>,
    next_note: u32,
    pub trace: String,
    /// What was reached, so that a test can see that its runs show something.
    pub reached: BTreeMap<&'static str, usize>,
}

/// Does all of it; panics with the trace where the answer is not what the model says.
pub async fn run<'a>(over: &'a Over, ops: &[Op]) -> Run<'a> {
    let lifetime = Lifetime::new().with_refresh_interval(Duration::from_secs(ROTATION));
    let layer = over.builder().with_lifetime(lifetime).build().unwrap();
    let mut run = Run {
        over,
        app: app(layer),
        now: 0,
        sessions: Vec::new(),
        browsers: [None, None],
        given: Vec::new(),
        worthless: Vec::new(),
        forms: Default::default(),
        secrets: Vec::new(),
        next_note: 0,
        trace: String::new(),
        reached: BTreeMap::new(),
    };
    for op in ops {
        run.step(op).await;
    }
    run.look_at_everything().await;
    run
}

impl Run<'_> {
    async fn step(&mut self, op: &Op) {
        writeln!(self.trace, "{:6} s  {op:?}", self.now).unwrap();
        match op {
            Op::Send { who, verb, choice } => {
                let token = self.token_of(*who, choice);
                self.request(*who, *verb, token).await;
            }
            Op::Plant { whom, choice } => {
                if let Some(token) = self.pick(&self.given, choice) {
                    self.browsers[*whom] = Some(token);
                    self.reach("planted");
                }
            }
            Op::Toss { whom, choice, first } => self.toss(*whom, choice, *first).await,
            Op::Forge { whom, choice } => self.forge(*whom, choice).await,
            Op::Steal(choice) => self.steal(choice),
            Op::Close { who } => self.browsers[*who] = None,
            Op::Wait(seconds) => self.wait(*seconds),
            Op::Stay { who } => {
                for _ in 0..30 {
                    let token = if *who == MALLORY { self.given.last().cloned() } else { self.browsers[*who].clone() };
                    self.request(*who, Verb::Read, token).await;
                    self.wait(50 * 60);
                }
                // So that nobody else's session is within a tenth of its idle time.
                self.wait(2 * IDLE);
            }
        }
    }

    fn wait(&mut self, seconds: u64) {
        self.now += seconds;
        self.over.clock.advance(Duration::from_secs(seconds));
    }

    fn reach(&mut self, what: &'static str) {
        *self.reached.entry(what).or_default() += 1;
    }

    fn pick(&self, of: &[String], choice: &Choice) -> Option<String> {
        // The newest as often as all others.
        let newest = of.last()?;
        let index = choice.index(of.len() * 2);
        Some(of.get(index).unwrap_or(newest).clone())
    }

    fn token_of(&mut self, who: usize, choice: &Choice) -> Option<String> {
        if who != MALLORY {
            return self.browsers[who].clone();
        }
        match choice.index(8) {
            0 => None,
            1 => self.pick(&self.worthless, choice),
            // The name of a session is no secret; what follows it is.
            2 => {
                let named: Vec<String> = self.browsers.iter().flatten().cloned().collect();
                let mut forged = self.pick(&named, choice)?.into_bytes();
                let place = 24 + choice.index(18);
                forged[place] = if forged[place] == b'A' { b'B' } else { b'A' };
                let forged = String::from_utf8(forged).unwrap();
                assert!(Token::parse(forged.as_bytes()).is_some());
                self.worthless.push(forged.clone());
                self.reach("forged");
                Some(forged)
            }
            _ => self.pick(&self.given, choice),
        }
    }

    /// The attacker learns a token that is dead.
    fn steal(&mut self, choice: &Choice) {
        let now = self.now;
        let mut dead = Vec::new();
        for session in &self.sessions {
            dead.extend(session.retired.iter().map(|(token, _)| token.clone()));
            dead.extend(session.replaced.iter().filter(|(_, at)| now - at >= GRACE).map(|(token, _)| token.clone()));
            if session.ended {
                dead.push(session.current.clone());
            }
        }
        if let Some(token) = self.pick(&dead, choice) {
            self.worthless.push(token);
            self.reach("stole a dead token");
        }
    }

    fn is(&self, token: Option<&str>) -> Is {
        let Some(token) = token else { return Is::Nothing };
        for (number, session) in self.sessions.iter().enumerate() {
            if session.ended || self.now >= (session.seen + IDLE).min(session.started + ABSOLUTE) {
                continue;
            }
            let in_grace = |(known, at): &(String, u64)| known == token && self.now - at < GRACE;
            if session.current == token {
                return Is::Current(number);
            }
            if session.pending.as_deref() == Some(token) {
                return Is::Pending(number);
            }
            if session.replaced.iter().any(in_grace) {
                return Is::Replaced(number);
            }
            if session.retired.iter().any(in_grace) {
                return Is::Retired;
            }
        }
        Is::Nothing
    }

    /// Whether the attacker has a way into a session.
    fn is_open_to_mallory(&self, number: usize) -> bool {
        self.given.iter().any(|token| self.is(Some(token)).session() == Some(number))
    }

    async fn request(&mut self, who: usize, verb: Verb, token: Option<String>) {
        let is = self.is(token.as_deref());
        let note = self.next_note;
        let mut form = None;
        let (method, path) = match verb {
            Verb::Read => (Method::GET, "/read".to_owned()),
            Verb::Write => (Method::POST, format!("/write/{note}")),
            Verb::Rotate => (Method::POST, "/rotate".to_owned()),
            Verb::SignIn => (Method::POST, format!("/sign-in?name={}", NAMES[who])),
            Verb::SignOut => (Method::POST, "/sign-out".to_owned()),
            Verb::Show => (Method::GET, "/show".to_owned()),
            Verb::Submit => {
                form = self.forms[who].last().cloned();
                (Method::POST, format!("/submit/{note}"))
            }
        };
        let cookie = token.as_ref().map(|token| format!("{COOKIE_NAME}={token}"));
        let header = form.as_ref().map(|(text, ..)| text.clone());
        let reply = self.send(method, &path, cookie, header).await;
        writeln!(self.trace, "          {} does {verb:?} under {token:?}, which is {is:?}", NAMES[who]).unwrap();
        self.used(is);
        match verb {
            Verb::Read => self.check_read(who, is, &reply),
            Verb::Write => self.check_write(who, is, &reply, true),
            Verb::Submit => {
                let good = form.is_some_and(|form| self.is_of(&form, is));
                self.check_write(who, is, &reply, good);
            }
            Verb::Show => self.check_show(who, is, &reply),
            Verb::Rotate | Verb::SignIn | Verb::SignOut => self.check_change(who, verb, is, &reply),
        }
        self.next_note += 1;
    }

    async fn send(&self, method: Method, path: &str, cookie: Option<String>, form: Option<String>) -> Reply {
        let mut request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        if let Some(cookie) = cookie {
            request.headers_mut().insert(COOKIE, cookie.parse().unwrap());
        }
        if let Some(form) = form {
            request.headers_mut().insert("x-csrf-token", form.parse().unwrap());
        }
        send(&self.app, request).await
    }

    /// A token was presented: the session is in use, and a pending secret takes its place.
    fn used(&mut self, is: Is) {
        let Some(number) = is.session() else { return };
        let session = &mut self.sessions[number];
        session.seen = self.now;
        if let Is::Pending(_) = is {
            let promoted = session.pending.take().unwrap();
            session.replaced.push((std::mem::replace(&mut session.current, promoted), self.now));
            session.since = self.now;
            self.reach("promoted");
        }
    }

    fn is_of(&self, (_, number, generation): &Form, is: Is) -> bool {
        is.session() == Some(*number) && self.sessions[*number].generation == *generation
    }

    #[track_caller]
    fn expect(&self, holds: bool, what: &str, reply: &Reply) {
        assert!(holds, "{what}: {reply:?}\n{}", self.trace);
    }

    fn check_read(&mut self, who: usize, is: Is, reply: &Reply) {
        self.expect(reply.status == StatusCode::OK, "a read is answered", reply);
        let seen: Seen = reply.json();
        self.check_seen(who, is, &seen, reply);
        self.after(who, is, reply);
    }

    fn check_seen(&self, who: usize, is: Is, seen: &Seen, reply: &Reply) {
        let (owner, notes) = match is.session() {
            Some(number) => (self.sessions[number].owner, self.sessions[number].notes.clone()),
            None => (None, Vec::new()),
        };
        self.expect(seen.new == is.session().is_none(), "a live token opens its session, no other one", reply);
        self.expect(seen.owner.as_deref() == owner.map(|owner| NAMES[owner]), "the owner is as it was", reply);
        self.expect(seen.notes == notes, "the notes are as they were written", reply);
        if who == MALLORY {
            self.expect(
                !seen.notes.iter().any(|note| self.secrets.contains(note)),
                "the attacker is shown nothing that was written where it had no way in",
                reply,
            );
            self.expect(owner.is_none_or(|owner| owner == MALLORY), "nobody's session is the attacker's", reply);
        }
    }

    fn check_write(&mut self, who: usize, is: Is, reply: &Reply, has_form: bool) {
        if !has_form {
            self.expect(reply.status == StatusCode::FORBIDDEN, "a form without its token is refused", reply);
            self.reach("refused a form");
            return self.after(who, is, reply);
        }
        match is {
            Is::Retired => self.expect_silent(StatusCode::CONFLICT, reply),
            Is::Nothing => {
                self.expect(reply.status == StatusCode::OK, "a write begins a session", reply);
                self.begin(who, None, vec![self.next_note], reply);
            }
            Is::Current(number) | Is::Pending(number) | Is::Replaced(number) => {
                self.expect(reply.status == StatusCode::OK, "a write is taken", reply);
                self.sessions[number].notes.push(self.next_note);
                if who != MALLORY && !self.is_open_to_mallory(number) {
                    self.secrets.push(self.next_note);
                    self.reach("wrote a secret");
                }
                self.after(who, is, reply);
            }
        }
    }

    fn check_show(&mut self, who: usize, is: Is, reply: &Reply) {
        match is {
            Is::Retired => return self.expect_silent(StatusCode::CONFLICT, reply),
            Is::Nothing => self.begin(who, None, Vec::new(), reply),
            _ => self.after(who, is, reply),
        }
        self.expect(reply.status == StatusCode::OK, "a token for forms is shown", reply);
        let number = is.session().unwrap_or(self.sessions.len() - 1);
        self.forms[who].push((reply.text().to_owned(), number, self.sessions[number].generation));
    }

    fn check_change(&mut self, who: usize, verb: Verb, is: Is, reply: &Reply) {
        match (verb, is) {
            (Verb::SignOut, Is::Retired | Is::Nothing) | (Verb::Rotate, Is::Nothing) => {
                self.expect_silent(StatusCode::OK, reply);
            }
            (Verb::SignOut, _) => {
                let number = is.session().unwrap();
                self.sessions[number].ended = true;
                let cookie = reply.set_cookie();
                self.expect(reply.status == StatusCode::OK && cookie.is_removal(), "the cookie is removed", reply);
                if who != MALLORY {
                    self.browsers[who] = None;
                }
                self.reach("signed out");
            }
            (Verb::Rotate, Is::Retired) | (Verb::Rotate | Verb::SignIn, Is::Replaced(_)) => {
                self.expect(reply.status == StatusCode::CONFLICT, "its token changes no other", reply);
                self.after(who, is, reply);
            }
            (Verb::SignIn, Is::Nothing | Is::Retired) => self.begin(who, Some(who), Vec::new(), reply),
            (_, Is::Current(number) | Is::Pending(number)) => {
                if verb == Verb::SignIn && self.sessions[number].owner.is_some_and(|owner| owner != who) {
                    self.sessions[number].ended = true;
                    self.reach("signed in over another");
                    return self.begin(who, Some(who), Vec::new(), reply);
                }
                self.rotated(who, number, verb == Verb::SignIn, reply);
            }
            (Verb::Read | Verb::Write | Verb::Show | Verb::Submit, _) => unreachable!("they are checked elsewhere"),
        }
    }

    fn rotated(&mut self, who: usize, number: usize, signs_in: bool, reply: &Reply) {
        self.expect(reply.status == StatusCode::OK, "it is rotated", reply);
        let token = reply.set_cookie().value;
        self.expect(session_of(&token) == session_of(&self.sessions[number].current), "the name stays", reply);
        let now = self.now;
        let session = &mut self.sessions[number];
        let replaced = std::mem::take(&mut session.replaced);
        let in_grace = replaced.into_iter().filter(|(_, at)| now - at < GRACE).map(|(token, _)| token);
        session.retired.extend(in_grace.chain(session.pending.take()).map(|token| (token, now)));
        session.retired.push((std::mem::replace(&mut session.current, token.clone()), now));
        session.since = now;
        session.generation += 1;
        if signs_in {
            session.owner = Some(who);
            session.started = now;
            self.reach("signed in");
        }
        self.give(who, token);
    }

    /// A new session began, and its cookie was set.
    fn begin(&mut self, who: usize, owner: Option<usize>, notes: Vec<u32>, reply: &Reply) {
        self.expect(reply.status == StatusCode::OK, "a session begins", reply);
        let token = reply.set_cookie().value;
        let known = self.sessions.iter().any(|session| session_of(&session.current) == session_of(&token));
        self.expect(!known, "a new session has a new name", reply);
        if who != MALLORY {
            self.secrets.extend(&notes);
        }
        self.sessions.push(Known {
            owner,
            notes,
            current: token.clone(),
            since: self.now,
            pending: None,
            replaced: Vec::new(),
            retired: Vec::new(),
            started: self.now,
            seen: self.now,
            generation: 0,
            ended: false,
        });
        self.give(who, token);
    }

    fn give(&mut self, who: usize, token: String) {
        if who == MALLORY {
            self.given.push(token);
        } else {
            self.browsers[who] = Some(token);
        }
    }

    /// What any request may set: the next secret of a periodic rotation, for who came with the current one.
    fn after(&mut self, who: usize, is: Is, reply: &Reply) {
        let Some(cookie) = reply.set_cookies().pop() else { return };
        let Some(number) = is.session() else { return self.expect(false, "no cookie is set without a session", reply) };
        let session = &self.sessions[number];
        let due = matches!(is, Is::Current(_)) && self.now - session.since >= ROTATION;
        self.expect(due && session_of(&cookie.value) == session_of(&session.current), "no rotation was due", reply);
        self.sessions[number].pending = Some(cookie.value.clone());
        self.give(who, cookie.value);
        self.reach("refreshed");
    }

    fn expect_silent(&self, status: StatusCode, reply: &Reply) {
        self.expect(reply.status == status && reply.set_cookies().is_empty(), "nothing is done", reply);
    }

    /// Two cookies of one name: one live session is taken, two are none.
    async fn toss(&mut self, whom: usize, choice: &Choice, first: bool) {
        let (Some(own), Some(theirs)) = (self.browsers[whom].clone(), self.pick(&self.given, choice)) else { return };
        let (left, right) = if first { (&theirs, &own) } else { (&own, &theirs) };
        let cookie = format!("{COOKIE_NAME}={left}; {COOKIE_NAME}={right}");
        let both = (self.is(Some(&own)), self.is(Some(&theirs)));
        let is = match (both.0.session(), both.1.session()) {
            (Some(own), Some(theirs)) if own != theirs => Is::Nothing,
            // Of one session: whichever is the better.
            (Some(_), Some(_)) => {
                if matches!(both.0, Is::Current(_)) || matches!(both.1, Is::Replaced(_)) {
                    both.0
                } else {
                    both.1
                }
            }
            (Some(_), None) => both.0,
            (None, _) => both.1,
        };
        writeln!(self.trace, "          {} reads under {left} and {right}, which are {is:?}", NAMES[whom]).unwrap();
        let reply = self.send(Method::GET, "/read", Some(cookie), None).await;
        self.used(is);
        self.check_seen(whom, is, &reply.json(), &reply);
        self.after(whom, is, &reply);
        self.reach("tossed");
    }

    /// A form of the attacker's, sent by somebody's browser with its cookie.
    async fn forge(&mut self, whom: usize, choice: &Choice) {
        if self.forms[MALLORY].is_empty() {
            return;
        }
        let form = self.forms[MALLORY][choice.index(self.forms[MALLORY].len())].clone();
        let token = self.browsers[whom].clone();
        let is = self.is(token.as_deref());
        let good = self.is_of(&form, is);
        if let (true, Some(number)) = (good, is.session()) {
            // Only in a session that it has planted itself, until somebody signs in to that.
            let owner = self.sessions[number].owner;
            assert_ne!(owner, Some(whom), "a form of the attacker's is taken\n{}", self.trace);
        }
        let cookie = token.map(|token| format!("{COOKIE_NAME}={token}"));
        let path = format!("/submit/{}", self.next_note);
        let reply = self.send(Method::POST, &path, cookie, Some(form.0)).await;
        self.used(is);
        self.check_write(whom, is, &reply, good);
        self.next_note += 1;
        self.reach("forged a form");
    }

    /// At the end: what the attacker holds opens nothing of anybody's, and everybody has what is theirs.
    async fn look_at_everything(&mut self) {
        for token in self.given.iter().chain(&self.worthless) {
            let reply = self.send(Method::GET, "/read", Some(format!("{COOKIE_NAME}={token}")), None).await;
            let seen: Seen = reply.json();
            self.expect(seen.owner.is_none_or(|owner| owner == NAMES[MALLORY]), "a token of the attacker's", &reply);
            self.expect(!seen.notes.iter().any(|note| self.secrets.contains(note)), "a secret", &reply);
        }
        for session in &self.sessions {
            let is = self.is(Some(&session.current));
            let cookie = format!("{COOKIE_NAME}={}", session.current);
            let reply = self.send(Method::GET, "/read", Some(cookie), None).await;
            let seen: Seen = reply.json();
            let notes = if is == Is::Nothing { &Vec::new() } else { &session.notes };
            self.expect(&seen.notes == notes, "a session's notes at the end", &reply);
        }
    }
}
