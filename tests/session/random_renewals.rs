//! Random requests of a browser and a thief around refreshes, compared with the rotation rule.
//!
//! The browser keeps the cookie that it received last. Its responses arrive late, out of order, or never. The thief copies the
//! browser's cookie, keeps every token, and presents any of them.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::fmt::Write;
use std::time::Duration;

use http::StatusCode;
use sessile::Lifetime;
use sessile::event::EventKind;
use support::race::{DAY, Held, SECOND, World};
use support::store::random;

const RUNS: u64 = 300;
const STEPS: usize = 120;

/// Times in seconds.
const GRACE: u64 = 30;
const REFRESH_INTERVAL: u64 = 60;
/// Within this time a response reaches the browser, or else it is late.
const DELIVERY: u64 = 30;

const MAX_PENDING: usize = 8;
const REMEMBERED_RENEWALS: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Party {
    Browser,
    Thief,
}

/// The behavior of the thief in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thief {
    Absent,
    /// Presents any of its tokens.
    Random,
    /// Presents the first token that it copied, after every pause and so before the browser; rarely another one.
    First,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Current,
    Pending,
    Replaced,
    Replayed,
    Unknown,
}

/// The rotation rule: all tokens of a session, in the order of issue.
struct Rule {
    tokens: Vec<RuleToken>,
    current: usize,
    since: u64,
    renewals: usize,
}

struct RuleToken {
    text: String,
    issued_at: u64,
    /// When a renewal retired it, and the number of that renewal.
    retired: Option<(u64, usize)>,
}

impl Rule {
    fn status(&self, token: usize, now: u64) -> Status {
        match self.tokens[token].retired {
            None if token == self.current => Status::Current,
            None => Status::Pending,
            Some((at, _)) if now - at < GRACE => Status::Replaced,
            Some((_, renewal)) if self.renewals - renewal < REMEMBERED_RENEWALS => Status::Replayed,
            Some(_) => Status::Unknown,
        }
    }

    fn pending(&self) -> impl Iterator<Item = &RuleToken> {
        let tokens = self.tokens.iter().enumerate();
        tokens.filter(|(place, token)| *place != self.current && token.retired.is_none()).map(|(_, token)| token)
    }

    /// Returns whether a request gets a pending token: none that was on its way when the request was loaded may be overtaken.
    fn can_issue(&self, loaded_at: u64, now: u64) -> bool {
        now - self.since >= REFRESH_INTERVAL
            && self.pending().count() < MAX_PENDING
            && self.pending().all(|token| loaded_at >= token.issued_at + GRACE)
    }

    /// Makes a pending token current; the current one and all other pending ones are retired.
    fn renew(&mut self, token: usize, now: u64) {
        self.renewals += 1;
        for (place, other) in self.tokens.iter_mut().enumerate() {
            if place != token {
                other.retired.get_or_insert((now, self.renewals));
            }
        }
        self.current = token;
        self.since = now;
    }
}

/// A request that has loaded its session and has not finished.
struct Exchange {
    party: Party,
    token: usize,
    status: Status,
    loaded_at: u64,
    request: Held,
}

/// A token on its way to the browser.
#[derive(Clone, Copy, Debug)]
struct Response {
    token: usize,
    sent_at: u64,
}

/// The number of times that each case occurred.
#[derive(Debug, Default)]
struct Covered {
    late: usize,
    overwritten: usize,
    lost: usize,
    full: usize,
    browser_replays: usize,
    thief_replays: usize,
}

struct Run<'a> {
    world: World,
    rule: Rule,
    now: u64,
    thief: Thief,
    /// The token in the browser's jar.
    jar: usize,
    /// The newest token that the browser has sent.
    newest_sent: usize,
    /// The tokens that the thief knows.
    stolen: Vec<usize>,
    /// The thief has made a pending token the current one.
    thief_has_renewed: bool,
    open: Vec<Exchange>,
    responses: Vec<Response>,
    random: u64,
    covered: &'a mut Covered,
    trace: String,
}

impl<'a> Run<'a> {
    async fn new(seed: u64, covered: &'a mut Covered) -> Self {
        let lifetime =
            Lifetime::new().with_idle_timeout(DAY).with_refresh_interval(Duration::from_secs(REFRESH_INTERVAL));
        let world = World::with(|layer| layer.with_lifetime(lifetime));
        let text = world.begin_signed_in("ada").await;
        let first = RuleToken { text, issued_at: 0, retired: None };
        let thief = [Thief::Absent, Thief::Random, Thief::First][usize::try_from(seed % 3).unwrap()];
        Self {
            world,
            rule: Rule { tokens: vec![first], current: 0, since: 0, renewals: 0 },
            now: 0,
            thief,
            jar: 0,
            newest_sent: 0,
            stolen: Vec::new(),
            thief_has_renewed: false,
            open: Vec::new(),
            responses: Vec::new(),
            random: seed,
            covered,
            trace: format!("seed {seed}, thief: {thief:?}\n"),
        }
    }

    fn choose(&mut self, count: usize) -> usize {
        usize::try_from(random(&mut self.random) % count as u64).unwrap()
    }

    /// Runs one step; returns whether the browser still has its session.
    async fn step(&mut self) -> bool {
        match self.choose(12) {
            0..3 => self.pause().await,
            3 | 4 if !self.responses.is_empty() => self.deliver(),
            5 | 6 if !self.open.is_empty() => {
                let next = self.choose(self.open.len());
                self.finish(next).await;
            }
            7 | 8 if self.thief != Thief::Absent => self.act_as_thief().await,
            9 => return self.send(Party::Browser, self.jar).await,
            _ => {
                let has_session = self.send(Party::Browser, self.jar).await;
                self.finish(self.open.len() - 1).await;
                return has_session;
            }
        }
        true
    }

    async fn pause(&mut self) {
        let seconds = [1, 5, 14, 29, 30, 31, 60, 61, 600][self.choose(9)];
        self.settle_responses(seconds);
        self.now += seconds;
        self.world.advance(SECOND * u32::try_from(seconds).unwrap());
        writeln!(self.trace, "{}: after {seconds} s", self.now).unwrap();
        if let (Thief::First, Some(first)) = (self.thief, self.stolen.first().copied()) {
            self.send(Party::Thief, first).await;
            self.finish(self.open.len() - 1).await;
        }
    }

    /// Decides about each response that would be late after a pause: it arrives at once, is late, or is lost.
    fn settle_responses(&mut self, seconds: u64) {
        for response in std::mem::take(&mut self.responses) {
            let is_due = self.now + seconds - response.sent_at >= DELIVERY && !self.is_late(response);
            match self.choose(3) {
                0 if is_due => self.receive(response.token),
                1 if is_due => self.lose(response),
                _ => self.responses.push(response),
            }
        }
    }

    fn is_late(&self, response: Response) -> bool {
        self.now - response.sent_at >= DELIVERY
    }

    fn lose(&mut self, response: Response) {
        self.covered.lost += 1;
        writeln!(self.trace, "{}: the response with token {} is lost", self.now, response.token).unwrap();
    }

    /// Delivers a response of the browser, in any order.
    ///
    /// No server can tell a late response to the browser from a response to a thief. So a late one waits until the browser has no
    /// open exchange, and is lost if the browser has already sent a newer token.
    fn deliver(&mut self) {
        let next = self.choose(self.responses.len());
        let response = self.responses.swap_remove(next);
        if !self.is_late(response) {
            return self.receive(response.token);
        }
        if self.newest_sent > response.token || self.rule.status(response.token, self.now) != Status::Pending {
            return self.lose(response);
        }
        let has_exchange = self.open.iter().any(|open| open.party == Party::Browser)
            || self.responses.iter().any(|other| !self.is_late(*other));
        if has_exchange {
            return self.responses.push(response);
        }
        self.covered.late += 1;
        self.covered.overwritten += usize::from(response.token < self.jar);
        self.receive(response.token);
    }

    fn receive(&mut self, token: usize) {
        writeln!(self.trace, "{}: the browser receives token {token}", self.now).unwrap();
        self.jar = token;
    }

    async fn act_as_thief(&mut self) {
        if self.stolen.is_empty() || self.choose(8) == 0 {
            self.stolen.push(self.jar);
        }
        let newest = self.stolen.len() - 1;
        let chosen = match self.choose(24) {
            1.. if self.thief == Thief::First => 0,
            // The newest token is chosen as often as all others together.
            0..12 => newest,
            _ => self.choose(newest + 1),
        };
        self.send(Party::Thief, self.stolen[chosen]).await;
        if self.choose(4) > 0 {
            self.finish(self.open.len() - 1).await;
        }
    }

    /// Sends a request and loads its session; returns whether there is one.
    async fn send(&mut self, party: Party, token: usize) -> bool {
        let status = self.rule.status(token, self.now);
        writeln!(self.trace, "{}: {party:?} sends token {token}, which is {status:?}", self.now).unwrap();
        let replays = self.world.events.count(EventKind::Replayed);
        let request = self
            .world
            .hold(&self.rule.tokens[token].text, |session, gate| async move {
                let is_new = session.is_new();
                gate.wait().await;
                Ok(is_new.to_string())
            })
            .await;
        let is_replay = status == Status::Replayed;
        assert_eq!(self.world.events.count(EventKind::Replayed) - replays, usize::from(is_replay), "{}", self.trace);
        let has_session = !matches!(status, Status::Replayed | Status::Unknown);
        match party {
            Party::Browser => {
                assert!(has_session || self.thief_has_renewed, "a renewal signed the browser out\n{}", self.trace);
                self.covered.browser_replays += usize::from(is_replay);
                self.newest_sent = self.newest_sent.max(token);
            }
            Party::Thief => self.covered.thief_replays += usize::from(is_replay),
        }
        self.open.push(Exchange { party, token, status, loaded_at: self.now, request });
        has_session
    }

    /// Finishes a request, and checks the cookie of its response.
    async fn finish(&mut self, place: usize) {
        let Exchange { party, token, status, loaded_at, request } = self.open.swap_remove(place);
        writeln!(self.trace, "{}: {party:?} finishes under token {token}", self.now).unwrap();
        let answer = request.finish().await;
        let is_new = matches!(status, Status::Replayed | Status::Unknown);
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (StatusCode::OK, if is_new { "true" } else { "false" }),
            "{}",
            self.trace
        );
        if status == Status::Pending && self.rule.status(token, self.now) == Status::Pending {
            self.rule.renew(token, self.now);
            self.thief_has_renewed |= party == Party::Thief;
        }
        let is_issued =
            status == Status::Current && token == self.rule.current && self.rule.can_issue(loaded_at, self.now);
        assert_eq!(answer.new_token().is_some(), is_issued, "{answer:?}\n{}", self.trace);
        let Some(text) = answer.new_token() else { return };
        let issued = self.rule.tokens.len();
        self.rule.tokens.push(RuleToken { text, issued_at: self.now, retired: None });
        self.covered.full += usize::from(self.rule.pending().count() == MAX_PENDING);
        writeln!(self.trace, "{}: {party:?} is issued token {issued}", self.now).unwrap();
        match party {
            Party::Browser => self.responses.push(Response { token: issued, sent_at: self.now }),
            Party::Thief => self.stolen.push(issued),
        }
    }

    /// Presents every token, the live ones last, since a pending one retires the others.
    async fn check_final_state(&mut self) {
        while !self.open.is_empty() {
            self.finish(0).await;
        }
        let mut tokens: Vec<usize> = (0..self.rule.tokens.len()).collect();
        tokens.sort_by_key(|token| std::cmp::Reverse(self.rule.status(*token, self.now) as u8));
        for token in tokens {
            self.send(Party::Thief, token).await;
            self.finish(0).await;
        }
    }
}

/// 300 seeds of 120 steps: each cookie and replay is as the rule says, and a renewal never signs the browser out.
#[tokio::test]
async fn random_requests_of_browser_and_thief_follow_the_rule() {
    let mut covered = Covered::default();
    for seed in 0..RUNS {
        let mut run = Run::new(seed, &mut covered).await;
        let mut steps = 0..STEPS;
        while steps.next().is_some() && run.step().await {}
        run.check_final_state().await;
    }
    let Covered { late, overwritten, lost, full, browser_replays, thief_replays } = covered;
    let least = [late, overwritten, lost, full, browser_replays, thief_replays].into_iter().min().unwrap();
    assert!(least >= 10, "the runs cover too little: {covered:?}");
}
