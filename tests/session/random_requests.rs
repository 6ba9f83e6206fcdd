//! Random actions of a browser and an attacker, compared with a simple model.
//!
//! Requests start and finish one at a time, in any order, so each of them may have loaded its session long before it
//! writes. The attacker has planted a session in the browser, keeps every token that it receives, learns the browser's
//! tokens after they were rotated, and forges others.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::StatusCode;
use sessile::Token;
use support::race::{Answer, Held, SECOND, World};
use support::store::random;

const RUNS: u64 = 400;
const STEPS: usize = 60;
/// Seconds for which a retired token is remembered.
const GRACE: u64 = 30;
/// Seconds for which the mark of an ended session stays.
const MARK: u64 = 60;

const VICTIM: &str = "ada";
const ATTACKER: &str = "mallory";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Actor {
    Browser,
    Attacker,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Read,
    /// Adds this number to a list.
    Push(u32),
    Rotate,
    SignIn,
    SignOut,
}

/// One session of the model.
#[derive(Clone, Debug, Default)]
struct ModelSession {
    owner: Option<&'static str>,
    list: Vec<u32>,
    current: String,
    /// Tokens that an explicit rotation retired, with the time of the rotation.
    retired: Vec<(String, u64)>,
    epoch: u32,
    rotations: u32,
    /// When the session ended.
    ended_at: Option<u64>,
}

/// Result of loading a session under a token.
#[derive(Clone, Debug)]
enum Loaded {
    NoSession,
    /// The token of this session was retired within the grace period.
    Retired(usize),
    /// The session ended, and its mark is still there.
    Ended,
    /// A live session: its number and its state at the load.
    Live(usize, ModelSession),
}

/// A request that has loaded its session and has not finished.
struct PendingRequest {
    actor: Actor,
    action: Action,
    sent_token: bool,
    loaded: Loaded,
    observed: Arc<Mutex<Option<Observed>>>,
    request: Held,
}

/// Session state that a handler observed after its pause.
#[derive(Debug, PartialEq, Eq)]
struct Observed {
    new: bool,
    owner: Option<String>,
    list: Vec<u32>,
}

struct Model {
    world: World,
    now: u64,
    sessions: BTreeMap<usize, ModelSession>,
    browser_token: Option<String>,
    attacker_tokens: Vec<String>,
    pending: Vec<PendingRequest>,
    random: u64,
    trace: String,
}

impl Model {
    fn new(seed: u64) -> Self {
        let trace = format!("seed {seed}\n");
        let (sessions, attacker_tokens, pending) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self {
            world: World::new(),
            now: 0,
            sessions,
            browser_token: None,
            attacker_tokens,
            pending,
            random: seed,
            trace,
        }
    }

    fn choose(&mut self, count: usize) -> usize {
        usize::try_from(random(&mut self.random) % count as u64).unwrap()
    }

    fn load(&self, token: Option<&String>) -> Loaded {
        let Some(token) = token else { return Loaded::NoSession };
        for (number, session) in &self.sessions {
            if session.ended_at.is_some_and(|at| self.now - at >= MARK) {
                continue;
            }
            if session.current == *token {
                return if session.ended_at.is_some() { Loaded::Ended } else { Loaded::Live(*number, session.clone()) };
            }
            if session.retired.iter().any(|(retired, at)| retired == token && self.now - at < GRACE) {
                return Loaded::Retired(*number);
            }
        }
        Loaded::NoSession
    }

    async fn step(&mut self, number: u32) {
        match self.choose(12) {
            0 => self.advance_clock(),
            1 => self.plant(),
            2..=4 if !self.pending.is_empty() => {
                let next = self.choose(self.pending.len());
                let pending = self.pending.swap_remove(next);
                self.finish(pending).await;
            }
            2..=7 => {
                let pending = self.begin(number).await;
                self.pending.push(pending);
            }
            _ => {
                let pending = self.begin(number).await;
                self.finish(pending).await;
            }
        }
    }

    fn advance_clock(&mut self) {
        let seconds = [1, 10, 29, 30, 31][self.choose(5)];
        self.now += seconds;
        self.world.advance(SECOND * u32::try_from(seconds).unwrap());
        writeln!(self.trace, "wait {seconds} s").unwrap();
    }

    /// Replaces the browser's token with one of the attacker's (session fixation).
    fn plant(&mut self) {
        if let Some(token) = self.choose_received_token() {
            writeln!(self.trace, "plant {token}").unwrap();
            self.browser_token = Some(token);
        }
    }

    fn choose_received_token(&mut self) -> Option<String> {
        // The newest token is chosen as often as all others together.
        let newest = self.attacker_tokens.len().checked_sub(1)?;
        let chosen = if self.choose(2) == 0 { newest } else { self.choose(newest + 1) };
        Some(self.attacker_tokens[chosen].clone())
    }

    async fn begin(&mut self, number: u32) -> PendingRequest {
        let actor = [Actor::Browser, Actor::Attacker][self.choose(2)];
        let mut action =
            [Action::Read, Action::Push(number), Action::Push(number), Action::Rotate, Action::SignIn, Action::SignOut]
                [self.choose(6)];
        // Concurrent sign-ins of one owner are tested in `sign_in.rs`.
        if self.pending.iter().any(|pending| (pending.actor, pending.action) == (actor, Action::SignIn))
            && action == Action::SignIn
        {
            action = Action::Read;
        }
        let token = match actor {
            Actor::Browser => self.browser_token.clone(),
            Actor::Attacker => self.choose_attacker_token(),
        };
        let owner = if actor == Actor::Browser { VICTIM } else { ATTACKER };
        let loaded = self.load(token.as_ref());
        // A sign-in that joins one of the same owner is tested in `sign_in.rs`, too.
        if matches!(loaded, Loaded::Retired(number) if self.sessions[&number].owner == Some(owner))
            && action == Action::SignIn
        {
            action = Action::Read;
        }
        writeln!(self.trace, "{number}: {actor:?} starts {action:?} under {token:?}, which loads {loaded:?}").unwrap();
        if let (Actor::Attacker, Loaded::Live(_, session)) = (actor, &loaded) {
            assert_ne!(
                session.owner,
                Some(VICTIM),
                "the model gives the attacker a session of the victim\n{}",
                self.trace
            );
        }

        let observed = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&observed);
        let sent_token = token.is_some();
        let request = self
            .world
            .hold(token, move |session, gate| async move {
                gate.wait().await;
                *slot.lock().unwrap() = Some(Observed {
                    new: session.is_new(),
                    owner: session.owner().map(|owner| owner.to_string()),
                    list: session.get("list")?.unwrap_or_default(),
                });
                match action {
                    Action::Read => Ok(()),
                    Action::Push(number) => session.update("list", move |list: &mut Vec<u32>| list.push(number)),
                    Action::Rotate => session.rotate(),
                    Action::SignIn => session.sign_in(owner),
                    Action::SignOut => session.sign_out(),
                }
            })
            .await;
        PendingRequest { actor, action, sent_token, loaded, observed, request }
    }

    /// Chooses no token, a rotated token of the browser, a forged one, or one that the attacker received.
    fn choose_attacker_token(&mut self) -> Option<String> {
        match self.choose(8) {
            0 => None,
            1 => {
                let retired: Vec<String> = self
                    .sessions
                    .values()
                    .flat_map(|session| session.retired.iter().map(|(token, _)| token.clone()))
                    .collect();
                if retired.is_empty() { None } else { Some(retired[self.choose(retired.len())].clone()) }
            }
            2 => {
                // The first part of a token is the session id, which the attacker may know; the rest is the secret.
                let named = self.browser_token.clone()?;
                let mut forged = named.clone().into_bytes();
                let position = 24 + self.choose(18);
                forged[position] = if forged[position] == b'A' { b'B' } else { b'A' };
                let forged = String::from_utf8(forged).unwrap();
                assert!(Token::parse(forged.as_bytes()).is_some());
                Some(forged)
            }
            _ => self.choose_received_token(),
        }
    }

    async fn finish(&mut self, pending: PendingRequest) {
        let PendingRequest { actor, action, sent_token, loaded, observed, request } = pending;
        writeln!(self.trace, "{actor:?} finishes {action:?}").unwrap();
        let answer = request.finish().await;
        self.check_observed(actor, &loaded, observed.lock().unwrap().take());
        let owner = if actor == Actor::Browser { VICTIM } else { ATTACKER };
        match (action, loaded) {
            (Action::SignOut, Loaded::NoSession) if sent_token => self.expect_removal(actor, &answer),
            (Action::Read, _)
            | (Action::Rotate | Action::SignOut, Loaded::NoSession)
            | (Action::SignOut, Loaded::Ended) => self.expect_no_cookie(&answer, StatusCode::OK),
            (Action::Push(_) | Action::Rotate, Loaded::Retired(_) | Loaded::Ended)
            | (Action::SignOut, Loaded::Retired(_)) => self.expect_no_cookie(&answer, StatusCode::CONFLICT),
            (Action::Push(number), Loaded::NoSession) => self.expect_new(actor, &answer, None, vec![number]),
            (Action::SignIn, Loaded::NoSession | Loaded::Retired(_) | Loaded::Ended) => {
                self.expect_new(actor, &answer, Some(owner), Vec::new())
            }
            (action, Loaded::Live(session, before)) => self.expect_change(actor, &answer, action, session, &before),
        }
    }

    fn check_observed(&self, actor: Actor, loaded: &Loaded, observed: Option<Observed>) {
        let observed = observed.unwrap_or_else(|| panic!("the handler did not run\n{}", self.trace));
        let expected = match loaded {
            Loaded::Live(_, session) => {
                Observed { new: false, owner: session.owner.map(str::to_owned), list: session.list.clone() }
            }
            Loaded::NoSession | Loaded::Retired(_) | Loaded::Ended => {
                Observed { new: true, owner: None, list: Vec::new() }
            }
        };
        assert_eq!(observed, expected, "{}", self.trace);
        assert!(actor == Actor::Browser || observed.owner.as_deref() != Some(VICTIM), "{}", self.trace);
    }

    fn expect_change(&mut self, actor: Actor, answer: &Answer, action: Action, number: usize, before: &ModelSession) {
        let now = self.now;
        let owner = if actor == Actor::Browser { VICTIM } else { ATTACKER };
        let session = self.sessions.get_mut(&number).unwrap();
        if action == Action::SignIn && before.owner.is_some_and(|present| present != owner) {
            // The sign-in replaces another owner's session, which ends whatever its present state.
            session.ended_at.get_or_insert(now);
            return self.expect_new(actor, answer, Some(owner), Vec::new());
        }
        if session.ended_at.is_some() {
            // A sign-in creates a new session in this case.
            if action == Action::SignIn {
                return self.expect_new(actor, answer, Some(owner), Vec::new());
            }
            return self.expect_no_cookie(answer, StatusCode::OK);
        }
        if action == Action::SignIn && session.owner.is_some_and(|present| present != owner) {
            return self.expect_new(actor, answer, Some(owner), Vec::new());
        }
        if action != Action::SignIn && session.epoch != before.epoch {
            return self.expect_no_cookie(answer, StatusCode::CONFLICT);
        }
        match action {
            Action::Read => unreachable!("a read changes nothing"),
            Action::Push(number) => {
                session.list.push(number);
                self.expect_no_cookie(answer, StatusCode::OK);
            }
            Action::Rotate if session.rotations > before.rotations => self.expect_no_cookie(answer, StatusCode::OK),
            Action::Rotate | Action::SignIn => {
                session.rotations += 1;
                if action == Action::SignIn {
                    session.epoch += u32::from(session.owner.is_none());
                    session.owner = Some(owner);
                }
                let token = answer.new_token().unwrap_or_else(|| panic!("{answer:?} has no new token\n{}", self.trace));
                session.retired.push((std::mem::replace(&mut session.current, token.clone()), now));
                self.record_token(actor, answer, token);
            }
            Action::SignOut => {
                session.ended_at = Some(now);
                self.expect_removal(actor, answer);
            }
        }
    }

    fn expect_removal(&mut self, actor: Actor, answer: &Answer) {
        assert_eq!(answer.status, StatusCode::OK, "{}", self.trace);
        assert!(answer.is_removal(), "{answer:?}\n{}", self.trace);
        if actor == Actor::Browser {
            self.browser_token = None;
        }
    }

    fn expect_no_cookie(&self, answer: &Answer, status: StatusCode) {
        assert!(answer.status == status && answer.set.is_empty(), "expected {status}, got {answer:?}\n{}", self.trace);
    }

    fn expect_new(&mut self, actor: Actor, answer: &Answer, owner: Option<&'static str>, list: Vec<u32>) {
        let token = answer.new_token().unwrap_or_else(|| panic!("{answer:?} has no new token\n{}", self.trace));
        let known = self.sessions.values().map(|session| support::client::session_of(&session.current));
        assert!(!known.into_iter().any(|id| id == support::client::session_of(&token)), "{}", self.trace);
        let epoch = u32::from(owner.is_some());
        let new = ModelSession { owner, list, current: token.clone(), epoch, ..ModelSession::default() };
        self.sessions.insert(self.sessions.len(), new);
        self.record_token(actor, answer, token);
    }

    fn record_token(&mut self, actor: Actor, answer: &Answer, token: String) {
        assert_eq!(answer.status, StatusCode::OK, "{}", self.trace);
        writeln!(self.trace, "    received {token}").unwrap();
        match actor {
            Actor::Browser => self.browser_token = Some(token),
            Actor::Attacker => self.attacker_tokens.push(token),
        }
    }

    /// Finishes all pending requests and compares every session and token with the model.
    async fn check_final_state(&mut self) {
        while let Some(pending) = self.pending.pop() {
            self.finish(pending).await;
        }
        for session in self.sessions.values() {
            let opened = self.world.opens(&session.current).await;
            assert_eq!(opened.is_some(), session.ended_at.is_none(), "{session:?}\n{}", self.trace);
            if let Some(opened) = opened {
                assert_eq!(opened.owner.as_deref(), session.owner, "{}", self.trace);
                let list: Vec<u32> = self.world.read(&session.current, "list").await.unwrap_or_default();
                assert_eq!(list, session.list, "{}", self.trace);
            }
            for (token, _) in &session.retired {
                assert!(!self.world.is_live(token).await, "the retired token {token} opens a session\n{}", self.trace);
            }
        }
        self.world.advance(SECOND * u32::try_from(MARK).unwrap());
        self.world.sessions().delete_expired().await.unwrap();
        let live = self.sessions.values().filter(|session| session.ended_at.is_none()).count();
        assert_eq!(self.world.memory.len(), live, "no mark stays\n{}", self.trace);
        for token in &self.attacker_tokens {
            let opened = self.world.opens(token).await;
            assert_ne!(opened.and_then(|opened| opened.owner).as_deref(), Some(VICTIM), "{}", self.trace);
        }
    }
}

// guarantee: 3, 14
/// 500 seeds of 60 random steps each: every response and the final state match the model.
#[tokio::test]
async fn random_actions_of_browser_and_attacker_match_the_model() {
    // The same seeds in every run, and some new ones.
    let fresh = u64::from(std::process::id()) << 32;
    let mut sign_ins = 0;
    for seed in (0..RUNS).chain(fresh..fresh + RUNS / 4) {
        let mut model = Model::new(seed);
        for number in 0..STEPS {
            model.step(u32::try_from(number).unwrap()).await;
        }
        model.check_final_state().await;
        sign_ins += model.sessions.values().filter(|session| session.owner == Some(VICTIM)).count();
    }
    assert!(sign_ins > 500, "only {sign_ins} sign-ins of the victim: the runs cover too little");
}

/// Six tabs push and rotate at once: the one session left holds exactly the acknowledged items.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_tabs_with_rotations_lose_no_acknowledged_write() {
    for seed in 0..60 {
        let mut state = seed;
        let world = World::new();
        let token = world.begin_signed_in(VICTIM).await;
        let jar = Arc::new(Mutex::new(token));
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let tabs: Vec<_> = (0..6_u32)
            .map(|tab| {
                let (world, jar, acknowledged) = (world.clone(), Arc::clone(&jar), Arc::clone(&acknowledged));
                let mut state = random(&mut state);
                tokio::spawn(async move {
                    for number in 0..8 {
                        let item = tab * 100 + number;
                        let rotates = random(&mut state).is_multiple_of(4);
                        let token = jar.lock().unwrap().clone();
                        let answer = world
                            .send(&token, move |session| async move {
                                session.update("list", move |list: &mut Vec<u32>| list.push(item))?;
                                if rotates { session.rotate() } else { Ok(()) }
                            })
                            .await;
                        // A write under a token that another tab has just rotated is refused. The browser has the new
                        // token, or will have it with the other tab's response.
                        match answer.status {
                            StatusCode::OK => acknowledged.lock().unwrap().push(item),
                            StatusCode::CONFLICT => assert!(answer.set.is_empty()),
                            other => panic!("{other}"),
                        }
                        if let Some(token) = answer.new_token() {
                            *jar.lock().unwrap() = token;
                        }
                    }
                })
            })
            .collect();
        for tab in tabs {
            tab.await.unwrap();
        }
        let current = world.quiet().owned_by(VICTIM).await.unwrap();
        assert_eq!(current.len(), 1, "the owner has exactly one session");
        let mut stored: Vec<u32> = current[0].get("list").unwrap().unwrap_or_default();
        let mut expected = std::mem::take(&mut *acknowledged.lock().unwrap());
        stored.sort_unstable();
        expected.sort_unstable();
        assert_eq!(stored, expected);
        world.advance(Duration::from_secs(60));
    }
}
