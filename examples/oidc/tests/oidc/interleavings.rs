//! Sign-ins and logouts that run at the same time: each order of their store calls with one change from one to the other and back.

use reqwest::StatusCode;
use serde_json::{Value, json};
use sessile::Sessions;
use sessile::store::Store;

use crate::browser::Browser;
use crate::issuer::Issuer;
use crate::site::{SIGNED_OUT, Site};
use crate::steps::Steps;

/// A sign-in on a site's first node, and a logout on its second.
struct Race<'a, S> {
    issuer: &'a Issuer,
    site: &'a Site<S>,
    /// A browser without cookies. Its clones share its connections.
    browser: Browser,
}

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

impl<S: Store + Clone> Race<'_, S> {
    fn steps(&self, side: Side) -> &Steps<S> {
        &self.site.steps[side as usize]
    }

    /// Runs both sides: `first` up to its call number `stops[0]`, the other one up to its call number `stops[1]`, the rest of `first`,
    /// and the rest of the other. Returns which of them got as far, and the browser.
    async fn run(&self, user: &str, logout: &Value, first: Side, stops: [usize; 2]) -> ([bool; 2], Browser) {
        let mut browser = self.browser.clone();
        let claims = json!({ "sub": user, "sid": user });
        let back = self.issuer.begin(&self.site.nodes[0], &mut browser, claims).await;
        let token = self.issuer.logout_token(logout);

        let mut running = Vec::new();
        for (side, nth) in [first, first.other()].into_iter().zip(stops) {
            let stop = self.steps(side).stop(nth);
            let (mut browser, back, token) = (browser.clone(), back.clone(), token.clone());
            let node = self.site.nodes[1].clone();
            let mut request = tokio::spawn(async move {
                match side {
                    Side::SignIn => drop(browser.open(&back).await),
                    Side::Logout => assert_eq!(node.log_out(&token).await, StatusCode::OK),
                }
                browser
            });
            let until_stop = tokio::select! {
                () = stop.reached() => Err(request),
                browser = &mut request => Ok(browser.unwrap()),
            };
            running.push((side, stop, until_stop));
        }
        let mut are_stopped = Vec::new();
        for (side, stop, until_stop) in running {
            are_stopped.push(until_stop.is_err());
            stop.release();
            let after = match until_stop {
                Ok(browser) => browser,
                Err(request) => request.await.unwrap(),
            };
            if side == Side::SignIn {
                browser = after;
            }
            self.steps(side).pass();
        }
        (are_stopped.try_into().unwrap(), browser)
    }

    /// Checks that a browser is not signed in, nor any other client of this user.
    async fn check(&self, user: &str, browser: &mut Browser) {
        assert_eq!(self.site.account(browser).await, SIGNED_OUT, "{user}");
        let left = Sessions::new(self.site.steps[0].clone()).owned_by(&format!("provider:{user}")).await.unwrap();
        assert!(left.is_empty(), "{user}: {left:?}");
    }
}

/// Runs every schedule of a sign-in and a logout with these claims, besides those of every token.
async fn the_logout_wins(claims: impl Fn(&str) -> Value) {
    let issuer = Issuer::start().await;
    let race = Race { issuer: &issuer, site: &Site::in_memory(&issuer.url).await, browser: Browser::new() };
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

/// Runs each schedule in which all of the sign-in is between two calls of the logout, or the other way round.
pub async fn the_logout_wins_in_between<S: Store + Clone>(issuer: &Issuer, site: &Site<S>) {
    let race = Race { issuer, site, browser: Browser::new() };
    let mut schedules = 0;
    for claim in ["sid", "sub"] {
        for first in [Side::SignIn, Side::Logout] {
            for before in 1.. {
                let user = format!("{claim}-{first:?}-{before}");
                let logout = json!({ claim: user });
                let (are_stopped, mut browser) = race.run(&user, &logout, first, [before, usize::MAX]).await;
                race.check(&user, &mut browser).await;
                schedules += 1;
                if !are_stopped[0] {
                    break;
                }
            }
        }
    }
    assert!(schedules > 20, "{schedules} schedules");
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
