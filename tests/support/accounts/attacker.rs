//! Two users, an attacker, and a model of the data that each request may read.
//!
//! The attacker keeps every token that a response set for it, plants these tokens in the users' browsers (instead of or
//! beside their cookies), learns retired tokens, forges tokens for known session ids, and makes the users' browsers submit
//! forms. The model predicts the session that each request opens. A value that was written to a session without the
//! attacker's access is a secret: the attacker must never read it.

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

use super::accounts::Setup;
use super::support::client::{COOKIE_NAME, Reply, send, session_of};

/// The grace period in seconds: replaced tokens still work, and retired tokens are recognized.
const GRACE_PERIOD: u64 = 30;
const REFRESH_INTERVAL: u64 = 60;
/// The time in seconds for which the mark of an ended session stays.
const MARK_LIFETIME: u64 = 60;
const MAX_PENDING_REFRESHES: usize = 8;
const IDLE_TIMEOUT: u64 = 60 * 60;
const ABSOLUTE_TIMEOUT: u64 = 24 * IDLE_TIMEOUT;

const NAMES: [&str; 3] = ["ada", "grace", "mallory"];
const MALLORY: usize = 2;

/// One step of a run.
#[derive(Clone, Debug)]
pub enum Op {
    /// A request. The attacker chooses among its tokens.
    Send {
        actor: usize,
        action: Action,
        choice: Choice,
    },
    /// A request of a user whose response is lost.
    Lose {
        actor: usize,
        action: Action,
    },
    /// A user submits the sign-in form twice: the browser sends the second one before it receives the first response.
    SignInTwice {
        actor: usize,
    },
    /// The attacker replaces a browser's cookie with one of its own tokens.
    Plant {
        victim: usize,
        choice: Choice,
    },
    /// Cookie tossing: for one request, the attacker adds its own cookie before or after the browser's.
    Toss {
        victim: usize,
        choice: Choice,
        first: bool,
    },
    /// The attacker makes a browser submit a form with one of the attacker's CSRF tokens.
    Forge {
        victim: usize,
        choice: Choice,
    },
    /// The attacker learns a token that no longer opens a session.
    Steal(Choice),
    /// A user closes the browser.
    Close {
        actor: usize,
    },
    Wait(u64),
    /// Requests for more than a day, so that only the absolute timeout ends the session.
    Stay {
        actor: usize,
    },
}

/// A random choice from a list of any length.
pub type Choice = prop::sample::Index;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Read,
    Write,
    Rotate,
    SignIn,
    SignOut,
    /// Shows a CSRF token.
    Show,
    /// Submits the newest form.
    Submit,
}

pub fn ops(length: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Op>> {
    use Action::{Read, Rotate, Show, SignIn, SignOut, Submit, Write};
    let action = prop_oneof![
        4 => Just(Read), 4 => Just(Write), 2 => Just(Rotate), 3 => Just(SignIn), 1 => Just(SignOut), 2 => Just(Show),
        2 => Just(Submit)
    ];
    let choice = any::<Choice>;
    let wait = prop_oneof![4 => Just(1), 2 => Just(10), 2 => Just(29), 4 => Just(31), 4 => Just(61), 1 => Just(2 * IDLE_TIMEOUT)];
    let op = prop_oneof![
        16 => (0..3usize, action, choice()).prop_map(|(actor, action, choice)| Op::Send { actor, action, choice }),
        3 => (0..2usize, prop_oneof![Just(Read), Just(Write)]).prop_map(|(actor, action)| Op::Lose { actor, action }),
        1 => (0..2usize).prop_map(|actor| Op::SignInTwice { actor }),
        3 => (0..2usize, choice()).prop_map(|(victim, choice)| Op::Plant { victim, choice }),
        2 => (0..2usize, choice(), any::<bool>()).prop_map(|(victim, choice, first)| Op::Toss { victim, choice, first }),
        2 => (0..2usize, choice()).prop_map(|(victim, choice)| Op::Forge { victim, choice }),
        2 => choice().prop_map(Op::Steal),
        1 => (0..2usize).prop_map(|actor| Op::Close { actor }),
        6 => wait.prop_map(Op::Wait),
        1 => (0..3usize).prop_map(|actor| Op::Stay { actor }),
    ];
    prop::collection::vec(op, length)
}

#[derive(Debug, Serialize, Deserialize)]
struct View {
    new: bool,
    owner: Option<String>,
    notes: Vec<u32>,
}

fn app(layer: SessionLayer) -> Router {
    async fn read(session: Session) -> Result<Json<View>, Error> {
        let owner = session.owner().map(|owner| owner.to_string());
        Ok(Json(View { new: session.is_new(), owner, notes: session.get("notes")?.unwrap_or_default() }))
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

/// One session in the model.
#[derive(Clone, Debug)]
struct ModelSession {
    owner: Option<usize>,
    notes: Vec<u32>,
    current: String,
    /// The time at which the current token was issued.
    issued: u64,
    pending: Vec<PendingToken>,
    /// Tokens that a pending one replaced, with the times.
    replaced: Vec<(String, u64)>,
    retired: Vec<RetiredToken>,
    started: u64,
    last_seen: u64,
    /// The number of explicit rotations; a CSRF token belongs to one generation.
    generation: u32,
    ended_at: Option<u64>,
}

#[derive(Clone, Debug)]
struct PendingToken {
    text: String,
    issued_at: u64,
    /// Issued to a sign-in that joined another, rather than by a refresh.
    by_sign_in: bool,
}

/// A token that an explicit rotation retired.
#[derive(Clone, Debug)]
struct RetiredToken {
    text: String,
    at: u64,
    by_sign_in: bool,
}

/// The status of a token in the model, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum TokenStatus {
    Current(usize),
    Pending(usize),
    Replaced(usize),
    Retired(usize),
    /// The token of a session that ended within the last minute.
    Ended(usize),
    Nothing,
}

impl TokenStatus {
    const fn session(self) -> Option<usize> {
        match self {
            Self::Current(number) | Self::Pending(number) | Self::Replaced(number) => Some(number),
            Self::Retired(_) | Self::Ended(_) | Self::Nothing => None,
        }
    }
}

/// A CSRF token with its session and generation.
type FormToken = (String, usize, u32);

pub struct Run<'a> {
    setup: &'a Setup,
    app: Router,
    now: u64,
    sessions: Vec<ModelSession>,
    browsers: [Option<String>; 2],
    /// Tokens that responses set for the attacker.
    attacker_tokens: Vec<String>,
    /// Forged tokens, and learned tokens that open nothing.
    invalid_tokens: Vec<String>,
    forms: [Vec<FormToken>; 3],
    /// Notes that were written to sessions without the attacker's access.
    secrets: Vec<u32>,
    next_note: u32,
    pub trace: String,
    /// The number of times that each event occurred, so that a test can check its coverage.
    pub covered: BTreeMap<&'static str, usize>,
}

/// Runs all steps; panics with the trace if a response differs from the model.
pub async fn run<'a>(setup: &'a Setup, ops: &[Op]) -> Run<'a> {
    let lifetime = Lifetime::new().with_refresh_interval(Duration::from_secs(REFRESH_INTERVAL));
    let layer = setup.builder().with_lifetime(lifetime).build().unwrap();
    let mut run = Run {
        setup,
        app: app(layer),
        now: 0,
        sessions: Vec::new(),
        browsers: [None, None],
        attacker_tokens: Vec::new(),
        invalid_tokens: Vec::new(),
        forms: Default::default(),
        secrets: Vec::new(),
        next_note: 0,
        trace: String::new(),
        covered: BTreeMap::new(),
    };
    for op in ops {
        run.step(op).await;
    }
    run.check_final_state().await;
    run
}

impl Run<'_> {
    async fn step(&mut self, op: &Op) {
        writeln!(self.trace, "{:6} s  {op:?}", self.now).unwrap();
        match op {
            Op::Send { actor, action, choice } => {
                let token = self.token_of(*actor, choice);
                self.request(*actor, *action, token).await;
            }
            Op::Lose { actor, action } => {
                let before = self.browsers[*actor].clone();
                self.request(*actor, *action, before.clone()).await;
                self.browsers[*actor] = before;
            }
            Op::SignInTwice { actor } => {
                let token = self.browsers[*actor].clone();
                self.request(*actor, Action::SignIn, token.clone()).await;
                self.request(*actor, Action::SignIn, token).await;
            }
            Op::Plant { victim, choice } => {
                if let Some(token) = self.pick(&self.attacker_tokens, choice) {
                    self.browsers[*victim] = Some(token);
                    self.cover("planted");
                }
            }
            Op::Toss { victim, choice, first } => self.toss(*victim, choice, *first).await,
            Op::Forge { victim, choice } => self.forge(*victim, choice).await,
            Op::Steal(choice) => self.steal(choice),
            Op::Close { actor } => self.browsers[*actor] = None,
            Op::Wait(seconds) => self.wait(*seconds),
            Op::Stay { actor } => {
                for _ in 0..30 {
                    let token = if *actor == MALLORY {
                        self.attacker_tokens.last().cloned()
                    } else {
                        self.browsers[*actor].clone()
                    };
                    self.request(*actor, Action::Read, token).await;
                    self.wait(50 * 60);
                }
                // Expires every other session: uses are recorded to a tenth of the idle timeout, so its exact end varies.
                self.wait(2 * IDLE_TIMEOUT);
            }
        }
    }

    fn wait(&mut self, seconds: u64) {
        self.now += seconds;
        self.setup.clock.advance(Duration::from_secs(seconds));
    }

    fn cover(&mut self, event: &'static str) {
        *self.covered.entry(event).or_default() += 1;
    }

    fn pick(&self, tokens: &[String], choice: &Choice) -> Option<String> {
        // Half of the choices take the newest token.
        let newest = tokens.last()?;
        let index = choice.index(tokens.len() * 2);
        Some(tokens.get(index).unwrap_or(newest).clone())
    }

    fn token_of(&mut self, actor: usize, choice: &Choice) -> Option<String> {
        if actor != MALLORY {
            return self.browsers[actor].clone();
        }
        match choice.index(8) {
            0 => None,
            1 => self.pick(&self.invalid_tokens, choice),
            // The session id is public; only the secret after it must be guessed.
            2 => {
                let known: Vec<String> = self.browsers.iter().flatten().cloned().collect();
                let mut forged = self.pick(&known, choice)?.into_bytes();
                let place = 24 + choice.index(18);
                forged[place] = if forged[place] == b'A' { b'B' } else { b'A' };
                let forged = String::from_utf8(forged).unwrap();
                assert!(Token::parse(forged.as_bytes()).is_some());
                self.invalid_tokens.push(forged.clone());
                self.cover("forged");
                Some(forged)
            }
            _ => self.pick(&self.attacker_tokens, choice),
        }
    }

    /// Gives the attacker a token that no longer opens a session.
    fn steal(&mut self, choice: &Choice) {
        let now = self.now;
        let mut expired = Vec::new();
        for session in &self.sessions {
            expired.extend(session.retired.iter().map(|retired| retired.text.clone()));
            expired.extend(
                session.replaced.iter().filter(|(_, at)| now - at >= GRACE_PERIOD).map(|(token, _)| token.clone()),
            );
            if session.ended_at.is_some() {
                expired.push(session.current.clone());
            }
        }
        if let Some(token) = self.pick(&expired, choice) {
            self.invalid_tokens.push(token);
            self.cover("learned an expired token");
        }
    }

    fn status_of(&self, token: Option<&str>) -> TokenStatus {
        let Some(token) = token else { return TokenStatus::Nothing };
        for (number, session) in self.sessions.iter().enumerate() {
            let end = (session.last_seen + IDLE_TIMEOUT).min(session.started + ABSOLUTE_TIMEOUT);
            if self.now >= session.ended_at.map_or(end, |at| at + MARK_LIFETIME) {
                continue;
            }
            let in_grace = |at: u64| self.now - at < GRACE_PERIOD;
            let live = if session.current == token {
                TokenStatus::Current(number)
            } else if session.pending.iter().any(|pending| pending.text == token) {
                TokenStatus::Pending(number)
            } else if session.replaced.iter().any(|(known, at)| known == token && in_grace(*at)) {
                TokenStatus::Replaced(number)
            } else if session.retired.iter().any(|retired| retired.text == token && in_grace(retired.at)) {
                return TokenStatus::Retired(number);
            } else {
                continue;
            };
            return if session.ended_at.is_some() { TokenStatus::Ended(number) } else { live };
        }
        TokenStatus::Nothing
    }

    fn is_of_another(&self, actor: usize, number: usize) -> bool {
        self.sessions[number].owner.is_some_and(|owner| owner != actor)
    }

    /// Returns whether one of the attacker's tokens opens the session.
    fn is_open_to_mallory(&self, number: usize) -> bool {
        self.attacker_tokens.iter().any(|token| self.status_of(Some(token)).session() == Some(number))
    }

    async fn request(&mut self, actor: usize, action: Action, token: Option<String>) {
        let status = self.status_of(token.as_deref());
        let note = self.next_note;
        let mut form = None;
        let (method, path) = match action {
            Action::Read => (Method::GET, "/read".to_owned()),
            Action::Write => (Method::POST, format!("/write/{note}")),
            Action::Rotate => (Method::POST, "/rotate".to_owned()),
            Action::SignIn => (Method::POST, format!("/sign-in?name={}", NAMES[actor])),
            Action::SignOut => (Method::POST, "/sign-out".to_owned()),
            Action::Show => (Method::GET, "/show".to_owned()),
            Action::Submit => {
                form = self.forms[actor].last().cloned();
                (Method::POST, format!("/submit/{note}"))
            }
        };
        let cookie = token.as_ref().map(|token| format!("{COOKIE_NAME}={token}"));
        let header = form.as_ref().map(|(text, ..)| text.clone());
        let reply = self.send(method, &path, cookie, header).await;
        writeln!(self.trace, "          {} does {action:?} under {token:?}, which is {status:?}", NAMES[actor])
            .unwrap();
        let ends_session = action == Action::SignOut
            || (action == Action::SignIn && status.session().is_some_and(|number| self.is_of_another(actor, number)));
        if !ends_session {
            self.record_use(status, token.as_deref());
        }
        match action {
            Action::Read => self.check_read(actor, status, &reply),
            Action::Write => self.check_write(actor, status, &reply, true),
            Action::Submit => {
                let good = form.is_some_and(|form| self.form_is_valid(&form, status));
                self.check_write(actor, status, &reply, good);
            }
            Action::Show => self.check_show(actor, status, &reply),
            Action::Rotate | Action::SignIn | Action::SignOut => {
                self.check_change(actor, action, status, token.as_deref(), &reply);
            }
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

    /// Records the use of a token; a pending token becomes the current one and replaces the others.
    fn record_use(&mut self, status: TokenStatus, token: Option<&str>) {
        let Some(number) = status.session() else { return };
        let session = &mut self.sessions[number];
        session.last_seen = self.now;
        if let TokenStatus::Pending(_) = status {
            let place = session.pending.iter().position(|pending| Some(&*pending.text) == token).unwrap();
            let promoted = session.pending.remove(place).text;
            // The response of a sign-in that joined another may be on its way to the browser.
            let is_on_its_way =
                |pending: &PendingToken| pending.by_sign_in && self.now - pending.issued_at < GRACE_PERIOD;
            let (siblings, others): (Vec<_>, Vec<_>) =
                std::mem::take(&mut session.pending).into_iter().partition(is_on_its_way);
            session.pending = siblings;
            let others = others.into_iter().map(|pending| pending.text);
            let replaced = others.chain([std::mem::replace(&mut session.current, promoted)]);
            session.replaced.extend(replaced.map(|token| (token, self.now)));
            session.issued = self.now;
            self.cover("promoted");
        }
    }

    fn form_is_valid(&self, (_, number, generation): &FormToken, status: TokenStatus) -> bool {
        // The mark of an ended session still knows its forms: a sign-out may be sent twice.
        let form_session = match status {
            TokenStatus::Ended(number) => Some(number),
            status => status.session(),
        };
        form_session == Some(*number) && self.sessions[*number].generation == *generation
    }

    #[track_caller]
    fn expect(&self, holds: bool, what: &str, reply: &Reply) {
        assert!(holds, "{what}: {reply:?}\n{}", self.trace);
    }

    fn check_read(&mut self, actor: usize, status: TokenStatus, reply: &Reply) {
        self.expect(reply.status == StatusCode::OK, "a read succeeds", reply);
        let seen: View = reply.json();
        self.check_seen(actor, status, &seen, reply);
        self.check_refresh(actor, status, reply);
    }

    fn check_seen(&self, actor: usize, status: TokenStatus, seen: &View, reply: &Reply) {
        let (owner, notes) = match status.session() {
            Some(number) => (self.sessions[number].owner, self.sessions[number].notes.clone()),
            None => (None, Vec::new()),
        };
        self.expect(
            seen.new == status.session().is_none(),
            "only a live token opens a session, and opens its own",
            reply,
        );
        self.expect(seen.owner.as_deref() == owner.map(|owner| NAMES[owner]), "the owner matches the model", reply);
        self.expect(seen.notes == notes, "the notes match the model", reply);
        if actor == MALLORY {
            self.expect(
                !seen.notes.iter().any(|note| self.secrets.contains(note)),
                "the attacker reads no secret",
                reply,
            );
            self.expect(owner.is_none_or(|owner| owner == MALLORY), "the attacker opens no session of a user", reply);
        }
    }

    fn check_write(&mut self, actor: usize, status: TokenStatus, reply: &Reply, has_form: bool) {
        if !has_form && !matches!(status, TokenStatus::Retired(_)) {
            self.expect(reply.status == StatusCode::FORBIDDEN, "a form without a valid token is refused", reply);
            self.cover("refused a form");
            return self.check_refresh(actor, status, reply);
        }
        match status {
            TokenStatus::Retired(_) | TokenStatus::Ended(_) => {
                self.expect_silent(StatusCode::CONFLICT, reply);
                self.cover("wrote too late");
            }
            TokenStatus::Nothing => {
                self.expect(reply.status == StatusCode::OK, "a write creates a session", reply);
                self.begin(actor, None, vec![self.next_note], reply);
            }
            TokenStatus::Current(number) | TokenStatus::Pending(number) | TokenStatus::Replaced(number) => {
                self.expect(reply.status == StatusCode::OK, "a write succeeds", reply);
                self.sessions[number].notes.push(self.next_note);
                if actor != MALLORY && !self.is_open_to_mallory(number) {
                    self.secrets.push(self.next_note);
                    self.cover("wrote a secret");
                }
                self.check_refresh(actor, status, reply);
            }
        }
    }

    fn check_show(&mut self, actor: usize, status: TokenStatus, reply: &Reply) {
        match status {
            TokenStatus::Retired(_) => return self.expect_silent(StatusCode::CONFLICT, reply),
            // For the form of a sign-in.
            TokenStatus::Ended(_) => self.expect_silent(StatusCode::OK, reply),
            TokenStatus::Nothing => self.begin(actor, None, Vec::new(), reply),
            _ => self.check_refresh(actor, status, reply),
        }
        self.expect(reply.status == StatusCode::OK, "a CSRF token is shown", reply);
        let number = match status {
            TokenStatus::Ended(number) => number,
            status => status.session().unwrap_or(self.sessions.len() - 1),
        };
        self.forms[actor].push((reply.text().to_owned(), number, self.sessions[number].generation));
    }

    fn check_change(&mut self, actor: usize, action: Action, status: TokenStatus, token: Option<&str>, reply: &Reply) {
        match (action, status) {
            (Action::SignOut, TokenStatus::Nothing) if token.is_some() => {
                let is_removal = reply.status == StatusCode::OK && reply.set_cookie().is_removal();
                self.expect(is_removal, "a cookie that opens nothing is removed", reply);
                if actor != MALLORY {
                    self.browsers[actor] = None;
                }
            }
            (Action::SignOut, TokenStatus::Ended(_)) | (Action::SignOut | Action::Rotate, TokenStatus::Nothing) => {
                self.expect_silent(StatusCode::OK, reply);
            }
            (Action::SignOut, TokenStatus::Retired(_)) | (Action::Rotate, TokenStatus::Ended(_)) => {
                self.expect_silent(StatusCode::CONFLICT, reply);
            }
            (Action::SignOut, _) => {
                let number = status.session().unwrap();
                self.sessions[number].ended_at = Some(self.now);
                let cookie = reply.set_cookie();
                self.expect(reply.status == StatusCode::OK && cookie.is_removal(), "the cookie is removed", reply);
                if actor != MALLORY {
                    self.browsers[actor] = None;
                }
                self.cover("signed out");
            }
            (Action::Rotate, TokenStatus::Retired(_)) | (Action::Rotate | Action::SignIn, TokenStatus::Replaced(_)) => {
                self.expect(reply.status == StatusCode::CONFLICT, "a replaced or retired token rotates nothing", reply);
                self.check_refresh(actor, status, reply);
            }
            (Action::SignIn, TokenStatus::Retired(number)) if self.may_join(actor, number, token) => {
                self.joined(actor, number, reply);
            }
            (Action::SignIn, TokenStatus::Nothing | TokenStatus::Retired(_) | TokenStatus::Ended(_)) => {
                self.begin(actor, Some(actor), Vec::new(), reply)
            }
            (_, TokenStatus::Current(number) | TokenStatus::Pending(number)) => {
                if action == Action::SignIn && self.is_of_another(actor, number) {
                    self.sessions[number].ended_at = Some(self.now);
                    self.cover("signed in over another");
                    return self.begin(actor, Some(actor), Vec::new(), reply);
                }
                self.rotated(actor, number, action == Action::SignIn, reply);
            }
            (Action::Read | Action::Write | Action::Show | Action::Submit, _) => {
                unreachable!("these actions have other checks")
            }
        }
    }

    fn rotated(&mut self, actor: usize, number: usize, signs_in: bool, reply: &Reply) {
        self.expect(reply.status == StatusCode::OK, "a rotation succeeds", reply);
        let token = reply.set_cookie().value;
        self.expect(session_of(&token) == session_of(&self.sessions[number].current), "the session id stays", reply);
        let now = self.now;
        let session = &mut self.sessions[number];
        let replaced = std::mem::take(&mut session.replaced);
        let in_grace = replaced.into_iter().filter(|(_, at)| now - at < GRACE_PERIOD).map(|(token, _)| token);
        let pending = std::mem::take(&mut session.pending).into_iter().map(|pending| pending.text);
        let current = std::mem::replace(&mut session.current, token.clone());
        let retire = |text| RetiredToken { text, at: now, by_sign_in: signs_in };
        session.retired.extend(in_grace.chain(pending).chain([current]).map(retire));
        session.issued = now;
        session.generation += 1;
        if signs_in {
            session.owner = Some(actor);
            session.started = now;
            self.cover("signed in");
        }
        self.set_token(actor, token);
    }

    /// Returns whether a sign-in of the same user has retired the token, so that another one joins its session.
    fn may_join(&self, actor: usize, number: usize, token: Option<&str>) -> bool {
        let session = &self.sessions[number];
        let in_grace = |retired: &RetiredToken| retired.by_sign_in && self.now - retired.at < GRACE_PERIOD;
        let mut retired = session.retired.iter().filter(|retired| Some(&*retired.text) == token);
        session.owner == Some(actor) && session.ended_at.is_none() && retired.any(in_grace)
    }

    fn joined(&mut self, actor: usize, number: usize, reply: &Reply) {
        self.expect(reply.status == StatusCode::OK, "a second sign-in joins the first", reply);
        let token = reply.set_cookie().value;
        let session = &mut self.sessions[number];
        assert_eq!(session_of(&token), session_of(&session.current), "it joins the same session\n{}", self.trace);
        session.pending.push(PendingToken { text: token.clone(), issued_at: self.now, by_sign_in: true });
        (session.started, session.last_seen) = (self.now, self.now);
        self.set_token(actor, token);
        self.cover("joined");
    }

    /// Records a new session and its cookie.
    fn begin(&mut self, actor: usize, owner: Option<usize>, notes: Vec<u32>, reply: &Reply) {
        self.expect(reply.status == StatusCode::OK, "a session is created", reply);
        let token = reply.set_cookie().value;
        let known = self.sessions.iter().any(|session| session_of(&session.current) == session_of(&token));
        self.expect(!known, "a new session has a new id", reply);
        if actor != MALLORY {
            self.secrets.extend(&notes);
        }
        self.sessions.push(ModelSession {
            owner,
            notes,
            current: token.clone(),
            issued: self.now,
            pending: Vec::new(),
            replaced: Vec::new(),
            retired: Vec::new(),
            started: self.now,
            last_seen: self.now,
            generation: 0,
            ended_at: None,
        });
        self.set_token(actor, token);
    }

    fn set_token(&mut self, actor: usize, token: String) {
        if actor == MALLORY {
            self.attacker_tokens.push(token);
        } else {
            self.browsers[actor] = Some(token);
        }
    }

    /// Checks that a cookie is set if a refresh is due, and not otherwise.
    fn check_refresh(&mut self, actor: usize, status: TokenStatus, reply: &Reply) {
        let due = match status {
            TokenStatus::Current(number) => self.is_refresh_due(number),
            _ => false,
        };
        let cookie = reply.set_cookies().pop();
        self.expect(cookie.is_some() == due, "a cookie is set if a refresh is due", reply);
        let (Some(cookie), Some(number)) = (cookie, status.session()) else { return };
        let session = &mut self.sessions[number];
        assert_eq!(session_of(&cookie.value), session_of(&session.current), "the session id stays\n{}", self.trace);
        let is_second = session.pending.iter().any(|pending| !pending.by_sign_in);
        session.pending.push(PendingToken { text: cookie.value.clone(), issued_at: self.now, by_sign_in: false });
        self.set_token(actor, cookie.value);
        self.cover(if is_second { "refreshed again" } else { "refreshed" });
    }

    fn is_refresh_due(&self, number: usize) -> bool {
        let session = &self.sessions[number];
        let refreshes = session.pending.iter().filter(|pending| !pending.by_sign_in).count();
        self.now - session.issued >= REFRESH_INTERVAL
            && refreshes < MAX_PENDING_REFRESHES
            && session.pending.iter().all(|pending| self.now - pending.issued_at >= GRACE_PERIOD)
    }

    fn expect_silent(&self, status: StatusCode, reply: &Reply) {
        self.expect(reply.status == status && reply.set_cookies().is_empty(), "the request changes nothing", reply);
    }

    /// Sends two cookies of one name: two different live sessions open neither.
    async fn toss(&mut self, victim: usize, choice: &Choice, first: bool) {
        let (Some(own), Some(theirs)) = (self.browsers[victim].clone(), self.pick(&self.attacker_tokens, choice))
        else {
            return;
        };
        let (left, right) = if first { (&theirs, &own) } else { (&own, &theirs) };
        let cookie = format!("{COOKIE_NAME}={left}; {COOKIE_NAME}={right}");
        let both = (self.status_of(Some(&own)), self.status_of(Some(&theirs)));
        let status = match (both.0.session(), both.1.session()) {
            (Some(own), Some(theirs)) if own != theirs => TokenStatus::Nothing,
            (Some(_), None) => both.0,
            (None, _) => both.1,
            // Both tokens belong to one session: the better status wins, then the first cookie.
            (Some(_), Some(_)) => {
                if first {
                    both.1.min(both.0)
                } else {
                    both.0.min(both.1)
                }
            }
        };
        let used = if status == both.0 && (status != both.1 || !first) { own.clone() } else { theirs.clone() };
        writeln!(self.trace, "          {} reads under {left} and {right}, which are {status:?}", NAMES[victim])
            .unwrap();
        let reply = self.send(Method::GET, "/read", Some(cookie), None).await;
        self.record_use(status, Some(&used));
        self.check_seen(victim, status, &reply.json(), &reply);
        self.check_refresh(victim, status, &reply);
        self.cover("tossed");
    }

    /// Submits the attacker's form from a user's browser, with the user's cookie.
    async fn forge(&mut self, victim: usize, choice: &Choice) {
        if self.forms[MALLORY].is_empty() {
            return;
        }
        let form = self.forms[MALLORY][choice.index(self.forms[MALLORY].len())].clone();
        let token = self.browsers[victim].clone();
        let status = self.status_of(token.as_deref());
        let good = self.form_is_valid(&form, status);
        if let (true, Some(number)) = (good, status.session()) {
            // Accepted only in a session that the attacker planted, until the user signs in to it.
            let owner = self.sessions[number].owner;
            assert_ne!(owner, Some(victim), "the attacker's form is accepted\n{}", self.trace);
        }
        let cookie = token.as_ref().map(|token| format!("{COOKIE_NAME}={token}"));
        let path = format!("/submit/{}", self.next_note);
        let reply = self.send(Method::POST, &path, cookie, Some(form.0)).await;
        self.record_use(status, token.as_deref());
        self.check_write(victim, status, &reply, good);
        self.next_note += 1;
        self.cover("forged a form");
    }

    /// Checks that the attacker's tokens open no user's session and that all sessions hold their notes.
    async fn check_final_state(&mut self) {
        for token in self.attacker_tokens.iter().chain(&self.invalid_tokens) {
            let reply = self.send(Method::GET, "/read", Some(format!("{COOKIE_NAME}={token}")), None).await;
            let seen: View = reply.json();
            self.expect(
                seen.owner.is_none_or(|owner| owner == NAMES[MALLORY]),
                "the attacker opens no session of a user",
                &reply,
            );
            self.expect(
                !seen.notes.iter().any(|note| self.secrets.contains(note)),
                "the attacker reads no secret",
                &reply,
            );
        }
        for session in &self.sessions {
            let status = self.status_of(Some(&session.current));
            let cookie = format!("{COOKIE_NAME}={}", session.current);
            let reply = self.send(Method::GET, "/read", Some(cookie), None).await;
            let seen: View = reply.json();
            let notes = if status.session().is_none() { &Vec::new() } else { &session.notes };
            self.expect(&seen.notes == notes, "the notes match the model at the end", &reply);
        }
    }
}
