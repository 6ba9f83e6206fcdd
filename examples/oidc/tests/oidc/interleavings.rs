//! Sign-ins and logouts that run at the same time: each order of their store calls with one change from one to the other and back.

use reqwest::StatusCode;
use serde_json::{Value, json};
use sessile::{MemoryStore, Sessions};
use tokio::task::JoinHandle;

use crate::browser::Browser;
use crate::issuer::Issuer;
use crate::node::Node;
use crate::steps::{Steps, Stop};

/// Two nodes over one store: one signs in, the other logs out.
struct Race {
    issuer: Issuer,
    memory: MemoryStore,
    /// A browser without cookies. Its clones share its connections.
    browser: Browser,
    signing_in: (Node, Steps<MemoryStore>),
    logging_out: (Node, Steps<MemoryStore>),
}

/// A request in another task.
type Request = JoinHandle<Browser>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    SignIn,
    Logout,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::SignIn => Self::Logout,
            Self::Logout => Self::SignIn,
        }
    }
}

impl Race {
    async fn new() -> Self {
        let issuer = Issuer::start().await;
        let memory = MemoryStore::new();
        let node = async || {
            let steps = Steps::new(memory.clone());
            (Node::start(&issuer.url, steps.clone()).await, steps)
        };
        let (signing_in, logging_out) = (node().await, node().await);
        Self { issuer, memory, browser: Browser::new(), signing_in, logging_out }
    }

    fn steps(&self, side: Side) -> &Steps<MemoryStore> {
        match side {
            Side::SignIn => &self.signing_in.1,
            Side::Logout => &self.logging_out.1,
        }
    }

    /// Runs both sides: `first` up to its call number `stops[0]`, the other one up to its call number `stops[1]`, the rest of `first`,
    /// and the rest of the other. Returns which of them got as far, and the browser.
    async fn run(&self, user: &str, logout: &Value, first: Side, stops: [usize; 2]) -> ([bool; 2], Browser) {
        let mut browser = self.browser.clone();
        let claims = json!({ "sub": user, "sid": user });
        let back = self.issuer.begin(&self.signing_in.0, &mut browser, claims).await;
        let token = self.issuer.logout_token(logout);

        let mut running = Vec::new();
        for (side, nth) in [first, first.other()].into_iter().zip(stops) {
            let stop = self.steps(side).stop(nth);
            let (mut browser, back, token) = (browser.clone(), back.clone(), token.clone());
            let node = self.logging_out.0.clone();
            let mut request: Request = tokio::spawn(async move {
                match side {
                    Side::SignIn => drop(browser.open(&back).await),
                    Side::Logout => assert_eq!(node.log_out(&token).await, StatusCode::OK),
                }
                browser
            });
            let is_stopped = is_stopped(&mut request, &stop).await;
            running.push((side, is_stopped, stop, request));
        }
        let mut are_stopped = Vec::new();
        for (side, is_stopped, stop, request) in running {
            stop.release();
            let after = request.await.unwrap();
            if side == Side::SignIn {
                browser = after;
            }
            self.steps(side).pass();
            are_stopped.push(is_stopped);
        }
        (are_stopped.try_into().unwrap(), browser)
    }

    /// Checks that a browser is not signed in, nor any other client of this user.
    async fn check(&self, user: &str, browser: &mut Browser) {
        for node in [&self.signing_in.0, &self.logging_out.0] {
            browser.copy_cookies(&self.signing_in.0.url, &node.url);
            assert_eq!(node.account(browser).await, StatusCode::UNAUTHORIZED, "{user}");
        }
        let left = Sessions::new(self.memory.clone()).owned_by(&format!("provider:{user}")).await.unwrap();
        assert!(left.is_empty(), "{user}: {left:?}");
    }
}

/// Waits until a request is stopped; returns whether it is. Otherwise it has ended.
async fn is_stopped(request: &mut Request, stop: &Stop) -> bool {
    tokio::select! {
        () = stop.reached() => true,
        () = async { while !request.is_finished() { tokio::task::yield_now().await } } => false,
    }
}

/// Runs every schedule of a sign-in and a logout with these claims, besides those of every token.
async fn the_logout_wins(claims: impl Fn(&str) -> Value) {
    let race = Race::new().await;
    let mut schedules = 0;
    for first in [Side::SignIn, Side::Logout] {
        'all: for before in 1.. {
            for after in 1.. {
                let user = format!("{first:?}-{before}-{after}");
                let (are_stopped, mut browser) = race.run(&user, &claims(&user), first, [before, after]).await;
                race.check(&user, &mut browser).await;
                schedules += 1;
                match are_stopped {
                    [false, _] => break 'all,
                    [true, false] => break,
                    [true, true] => {}
                }
            }
        }
    }
    assert!(schedules > 50, "{schedules} schedules");
}

/// A logout by `sid` wins over a sign-in, in each order.
#[tokio::test]
async fn a_logout_by_sid_wins_over_a_sign_in() {
    the_logout_wins(|user| json!({ "sid": user })).await;
}

/// A logout by `sid` and `sub` wins over a sign-in, in each order.
#[tokio::test]
async fn a_logout_by_sid_and_sub_wins_over_a_sign_in() {
    the_logout_wins(|user| json!({ "sid": user, "sub": user })).await;
}

/// A logout by `sub` wins over a sign-in, in each order.
#[tokio::test]
async fn a_logout_by_sub_wins_over_a_sign_in() {
    the_logout_wins(|user| json!({ "sub": user })).await;
}
