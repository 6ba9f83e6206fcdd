//! A browser, somebody who attacks it, and a clock, doing whatever comes next: what happens is what a simple model says.
//!
//! Requests are begun and finished one at a time, in any order, so that each of them may have loaded its session long
//! before it writes. The attacker has planted its own session in the browser, keeps every token that it is given, learns
//! the browser's tokens once they were rotated out, and forges others.

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
const GRACE: u64 = 30;

const VICTIM: &str = "ada";
const ATTACKER: &str = "mallory";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Actor {
    Browser,
    Attacker,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Read,
    /// Adds this number to a list.
    Push(u32),
    Rotate,
    SignIn,
    SignOut,
}

/// What the model knows of one session.
#[derive(Clone, Debug, Default)]
struct Known {
    owner: Option<&'static str>,
    list: Vec<u32>,
    current: String,
    /// Tokens that were explicitly retired, and when.
    retired: Vec<(String, u64)>,
    epoch: u32,
    rotations: u32,
    ended: bool,
}

/// What a token opens.
#[derive(Clone, Debug)]
enum Opens {
    Nothing,
    Retired,
    /// The session of this number, as it is now.
    Live(usize, Known),
}

/// A request that has loaded its session and waits.
struct Waiting {
    actor: Actor,
    deed: Deed,
    loaded: Opens,
    seen: Arc<Mutex<Option<Seen>>>,
    request: Held,
}

/// What a handler saw of its session when it went on.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    new: bool,
    owner: Option<String>,
    list: Vec<u32>,
}

struct Model {
    world: World,
    now: u64,
    sessions: BTreeMap<usize, Known>,
    browser: Option<String>,
    attackers: Vec<String>,
    waiting: Vec<Waiting>,
    random: u64,
    trace: String,
}

impl Model {
    fn new(seed: u64) -> Self {
        let trace = format!("seed {seed}\n");
        let (sessions, attackers, waiting) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { world: World::new(), now: 0, sessions, browser: None, attackers, waiting, random: seed, trace }
    }

    fn choose(&mut self, of: usize) -> usize {
        usize::try_from(random(&mut self.random) % of as u64).unwrap()
    }

    fn opens(&self, token: Option<&String>) -> Opens {
        let Some(token) = token else { return Opens::Nothing };
        for (number, session) in self.sessions.iter().filter(|(_, session)| !session.ended) {
            if session.current == *token {
                return Opens::Live(*number, session.clone());
            }
            if session.retired.iter().any(|(retired, at)| retired == token && self.now - at < GRACE) {
                return Opens::Retired;
            }
        }
        Opens::Nothing
    }

    async fn step(&mut self, number: u32) {
        match self.choose(12) {
            0 => self.wait(),
            1 => self.plant(),
            2..=4 if !self.waiting.is_empty() => {
                let next = self.choose(self.waiting.len());
                let waiting = self.waiting.swap_remove(next);
                self.finish(waiting).await;
            }
            2..=7 => {
                let waiting = self.begin(number).await;
                self.waiting.push(waiting);
            }
            _ => {
                let waiting = self.begin(number).await;
                self.finish(waiting).await;
            }
        }
    }

    fn wait(&mut self) {
        let seconds = [1, 10, 29, 30, 31][self.choose(5)];
        self.now += seconds;
        self.world.advance(SECOND * u32::try_from(seconds).unwrap());
        writeln!(self.trace, "wait {seconds} s").unwrap();
    }

    /// The attacker puts a session of its own into the browser.
    fn plant(&mut self) {
        if let Some(token) = self.any_of_the_attackers() {
            writeln!(self.trace, "plant {token}").unwrap();
            self.browser = Some(token);
        }
    }

    fn any_of_the_attackers(&mut self) -> Option<String> {
        // The newest as often as all others.
        let newest = self.attackers.len().checked_sub(1)?;
        let chosen = if self.choose(2) == 0 { newest } else { self.choose(newest + 1) };
        Some(self.attackers[chosen].clone())
    }

    async fn begin(&mut self, number: u32) -> Waiting {
        let actor = [Actor::Browser, Actor::Attacker][self.choose(2)];
        let mut deed = [Deed::Read, Deed::Push(number), Deed::Push(number), Deed::Rotate, Deed::SignIn, Deed::SignOut]
            [self.choose(6)];
        // Two sign-ins of one owner at once are another test's.
        if self.waiting.iter().any(|waiting| (waiting.actor, waiting.deed) == (actor, Deed::SignIn))
            && deed == Deed::SignIn
        {
            deed = Deed::Read;
        }
        let token = match actor {
            Actor::Browser => self.browser.clone(),
            Actor::Attacker => self.attackers_token(),
        };
        let loaded = self.opens(token.as_ref());
        writeln!(self.trace, "{number}: {actor:?} begins {deed:?} under {token:?}, which opens {loaded:?}").unwrap();
        if let (Actor::Attacker, Opens::Live(_, session)) = (actor, &loaded) {
            assert_ne!(session.owner, Some(VICTIM), "the model itself is broken\n{}", self.trace);
        }

        let owner = if actor == Actor::Browser { VICTIM } else { ATTACKER };
        let seen = Arc::new(Mutex::new(None));
        let place = Arc::clone(&seen);
        let request = self
            .world
            .hold(token, move |session, gate| async move {
                gate.wait().await;
                *place.lock().unwrap() = Some(Seen {
                    new: session.is_new(),
                    owner: session.owner().map(|owner| owner.to_string()),
                    list: session.get("list")?.unwrap_or_default(),
                });
                match deed {
                    Deed::Read => Ok(()),
                    Deed::Push(number) => session.update("list", move |list: &mut Vec<u32>| list.push(number)),
                    Deed::Rotate => session.rotate(),
                    Deed::SignIn => session.sign_in(owner),
                    Deed::SignOut => session.sign_out(),
                }
            })
            .await;
        Waiting { actor, deed, loaded, seen, request }
    }

    /// One that it was given, one that the browser had once, or one that it makes up.
    fn attackers_token(&mut self) -> Option<String> {
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
                // The name of a session is no secret; what follows it is.
                let named = self.browser.clone()?;
                let mut forged = named.clone().into_bytes();
                let place = 24 + self.choose(18);
                forged[place] = if forged[place] == b'A' { b'B' } else { b'A' };
                let forged = String::from_utf8(forged).unwrap();
                assert!(Token::parse(forged.as_bytes()).is_some());
                Some(forged)
            }
            _ => self.any_of_the_attackers(),
        }
    }

    async fn finish(&mut self, waiting: Waiting) {
        let Waiting { actor, deed, loaded, seen, request } = waiting;
        writeln!(self.trace, "{actor:?} finishes {deed:?}").unwrap();
        let answer = request.finish().await;
        self.check_what_was_seen(actor, &loaded, seen.lock().unwrap().take());
        let owner = if actor == Actor::Browser { VICTIM } else { ATTACKER };
        match (deed, loaded) {
            (Deed::Read, _) | (Deed::Rotate | Deed::SignOut, Opens::Nothing) | (Deed::SignOut, Opens::Retired) => {
                self.expect_silent(&answer, StatusCode::OK);
            }
            (Deed::Push(_) | Deed::Rotate, Opens::Retired) => self.expect_silent(&answer, StatusCode::CONFLICT),
            (Deed::Push(number), Opens::Nothing) => self.expect_new(actor, &answer, None, vec![number]),
            (Deed::SignIn, Opens::Nothing | Opens::Retired) => self.expect_new(actor, &answer, Some(owner), Vec::new()),
            (deed, Opens::Live(session, before)) => self.expect_change(actor, &answer, deed, session, &before),
        }
    }

    fn check_what_was_seen(&self, actor: Actor, loaded: &Opens, seen: Option<Seen>) {
        let seen = seen.unwrap_or_else(|| panic!("the handler did not run\n{}", self.trace));
        let expected = match loaded {
            Opens::Live(_, session) => {
                Seen { new: false, owner: session.owner.map(str::to_owned), list: session.list.clone() }
            }
            Opens::Nothing | Opens::Retired => Seen { new: true, owner: None, list: Vec::new() },
        };
        assert_eq!(seen, expected, "{}", self.trace);
        assert!(actor == Actor::Browser || seen.owner.as_deref() != Some(VICTIM), "{}", self.trace);
    }

    fn expect_change(&mut self, actor: Actor, answer: &Answer, deed: Deed, number: usize, before: &Known) {
        let now = self.now;
        let owner = if actor == Actor::Browser { VICTIM } else { ATTACKER };
        let session = self.sessions.get_mut(&number).unwrap();
        if deed == Deed::SignIn && before.owner.is_some_and(|present| present != owner) {
            // Over another owner's session: that one ends, wherever it stands by now.
            session.ended = true;
            return self.expect_new(actor, answer, Some(owner), Vec::new());
        }
        if session.ended {
            // A sign-in finds another session to begin.
            if deed == Deed::SignIn {
                return self.expect_new(actor, answer, Some(owner), Vec::new());
            }
            return self.expect_silent(answer, StatusCode::OK);
        }
        if deed == Deed::SignIn && session.owner.is_some_and(|present| present != owner) {
            return self.expect_new(actor, answer, Some(owner), Vec::new());
        }
        if deed != Deed::SignIn && session.epoch != before.epoch {
            return self.expect_silent(answer, StatusCode::CONFLICT);
        }
        match deed {
            Deed::Read => unreachable!("it changes nothing"),
            Deed::Push(number) => {
                session.list.push(number);
                self.expect_silent(answer, StatusCode::OK);
            }
            Deed::Rotate if session.rotations > before.rotations => self.expect_silent(answer, StatusCode::OK),
            Deed::Rotate | Deed::SignIn => {
                session.rotations += 1;
                if deed == Deed::SignIn {
                    session.epoch += u32::from(session.owner.is_none());
                    session.owner = Some(owner);
                }
                let token = answer.given().unwrap_or_else(|| panic!("{answer:?} sets no token\n{}", self.trace));
                session.retired.push((std::mem::replace(&mut session.current, token.clone()), now));
                self.give(actor, answer, token);
            }
            Deed::SignOut => {
                session.ended = true;
                assert_eq!(answer.status, StatusCode::OK, "{}", self.trace);
                assert!(answer.is_removal(), "{answer:?}\n{}", self.trace);
                if actor == Actor::Browser {
                    self.browser = None;
                }
            }
        }
    }

    fn expect_silent(&self, answer: &Answer, status: StatusCode) {
        assert!(answer.status == status && answer.set.is_empty(), "{status} was expected: {answer:?}\n{}", self.trace);
    }

    fn expect_new(&mut self, actor: Actor, answer: &Answer, owner: Option<&'static str>, list: Vec<u32>) {
        let token = answer.given().unwrap_or_else(|| panic!("{answer:?} sets no token\n{}", self.trace));
        let known = self.sessions.values().map(|session| support::client::session_of(&session.current));
        assert!(!known.into_iter().any(|id| id == support::client::session_of(&token)), "{}", self.trace);
        let epoch = u32::from(owner.is_some());
        let new = Known { owner, list, current: token.clone(), epoch, ..Known::default() };
        self.sessions.insert(self.sessions.len(), new);
        self.give(actor, answer, token);
    }

    fn give(&mut self, actor: Actor, answer: &Answer, token: String) {
        assert_eq!(answer.status, StatusCode::OK, "{}", self.trace);
        writeln!(self.trace, "    given {token}").unwrap();
        match actor {
            Actor::Browser => self.browser = Some(token),
            Actor::Attacker => self.attackers.push(token),
        }
    }

    /// Looks at everything once more, when all is done.
    async fn settle(&mut self) {
        while let Some(waiting) = self.waiting.pop() {
            self.finish(waiting).await;
        }
        for session in self.sessions.values() {
            let opened = self.world.opens(&session.current).await;
            assert_eq!(opened.is_some(), !session.ended, "{session:?}\n{}", self.trace);
            if let Some(opened) = opened {
                assert_eq!(opened.owner.as_deref(), session.owner, "{}", self.trace);
                let list: Vec<u32> = self.world.read(&session.current, "list").await.unwrap_or_default();
                assert_eq!(list, session.list, "{}", self.trace);
            }
            for (token, _) in &session.retired {
                assert!(!self.world.is_live(token).await, "{token} is alive\n{}", self.trace);
            }
        }
        let live = self.sessions.values().filter(|session| !session.ended).count();
        assert_eq!(self.world.memory.len(), live, "{}", self.trace);
        for token in &self.attackers {
            let opened = self.world.opens(token).await;
            assert_ne!(opened.and_then(|opened| opened.owner).as_deref(), Some(VICTIM), "{}", self.trace);
        }
    }
}

// guarantee: 3, 14
#[tokio::test]
async fn whatever_a_browser_and_its_attacker_do_is_what_the_model_says() {
    // The same runs each time, and a few that nobody has seen yet.
    let fresh = u64::from(std::process::id()) << 32;
    let mut deeds = 0;
    for seed in (0..RUNS).chain(fresh..fresh + RUNS / 4) {
        let mut model = Model::new(seed);
        for number in 0..STEPS {
            model.step(u32::try_from(number).unwrap()).await;
        }
        model.settle().await;
        deeds += model.sessions.values().filter(|session| session.owner == Some(VICTIM)).count();
    }
    assert!(deeds > 500, "the browser has signed in {deeds} times only: these runs show little");
}

/// The same browser with several tabs, all of them at once: the list holds what was acknowledged, and one token works.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tabs_of_one_browser_at_once_keep_it_signed_in_and_lose_nothing() {
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
                        // Under a token that another tab has just rotated out a write is refused, and the browser has
                        // the new one, or is about to.
                        match answer.status {
                            StatusCode::OK => acknowledged.lock().unwrap().push(item),
                            StatusCode::CONFLICT => assert!(answer.set.is_empty()),
                            other => panic!("{other}"),
                        }
                        if let Some(token) = answer.given() {
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
        assert_eq!(current.len(), 1, "nobody was signed out, and no second session was begun");
        let mut stored: Vec<u32> = current[0].get("list").unwrap().unwrap_or_default();
        let mut expected = std::mem::take(&mut *acknowledged.lock().unwrap());
        stored.sort_unstable();
        expected.sort_unstable();
        assert_eq!(stored, expected);
        world.advance(Duration::from_secs(60));
    }
}
