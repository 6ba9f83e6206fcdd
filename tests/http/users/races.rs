//! Requests beside a change of the password, in every order of their calls to the store and to the application's database.

use std::sync::{Arc, Mutex};

use http::StatusCode;
use sessile::event::EventKind;
use sessile::testing::ManualClock;
use sessile::{MemoryStore, SessionLayer};

use crate::support::client::{EventLog, session_of};
use crate::support::orders::{Order, Task, dropped_after, every_order, random_orders};
use crate::support::store::FaultyStore;
use crate::support::users::{Site, USER};

const RANDOM_ORDERS: u64 = 1_000;

/// An application with the password 10, whose store calls are points at which other tasks run.
struct World {
    site: Site,
    faults: FaultyStore<MemoryStore>,
    events: EventLog,
}

/// A response: its status, the token that it sets, and its text.
type Answer = Arc<Mutex<Option<(StatusCode, Option<String>, String)>>>;

impl World {
    fn new() -> Self {
        let (clock, events) = (ManualClock::new(), EventLog::default());
        let faults = FaultyStore::new(MemoryStore::new().with_clock(&clock));
        let layer = SessionLayer::builder(faults.clone()).with_clock(&clock).with_event_hook(events.hook());
        Self { site: Site::new(layer.build().unwrap(), 10), faults, events }
    }

    /// Returns a request as a task, and the place of its answer.
    fn request(&self, path: &'static str, token: Option<&str>) -> (Task, Answer) {
        let (site, token, answer) = (self.site.clone(), token.map(str::to_owned), Answer::default());
        let place = Arc::clone(&answer);
        let task = Box::pin(async move {
            let reply = site.send(path, token.as_deref()).await;
            let set = reply.set_cookies().first().filter(|cookie| !cookie.is_removal()).map(|set| set.value.clone());
            *place.lock().unwrap() = Some((reply.status, set, reply.text().to_owned()));
        });
        (task, answer)
    }

    fn save(&self, password: u64) -> Task {
        let accounts = self.site.accounts.clone();
        Box::pin(async move { accounts.save(USER, password).await })
    }

    /// Runs requests, and other tasks beside them, in an order; returns the answers of the requests.
    async fn run(
        &self,
        order: &mut Order,
        requests: &[(&'static str, Option<&str>)],
        others: Vec<Task>,
    ) -> Vec<(StatusCode, Option<String>, String)> {
        let (mut tasks, answers): (Vec<_>, Vec<_>) =
            requests.iter().map(|(path, token)| self.request(path, *token)).unzip();
        tasks.extend(others);
        self.faults.pend_before();
        order.run(tasks).await;
        self.faults.heal();
        answers.into_iter().map(|answer| answer.lock().unwrap().take().unwrap()).collect()
    }

    /// Runs requests of one session, and checks that each was signed in and the session still is.
    async fn stays_signed_in(&self, order: &mut Order, paths: &[&'static str], token: &str) {
        let requests: Vec<_> = paths.iter().map(|path| (*path, Some(token))).collect();
        for (path, (status, _, text)) in paths.iter().zip(self.run(order, &requests, Vec::new()).await) {
            assert_eq!(status, StatusCode::OK, "{path}, {order:?}");
            assert!(text.is_empty() || text == USER.to_string(), "{path}: {text}, {order:?}");
        }
        assert!(self.site.is_signed_in(token).await, "{order:?}");
        assert_eq!(self.events.count(EventKind::Ended), 0, "{order:?}");
    }
}

/// The session that changes the password stays signed in, in every order of one other request.
#[tokio::test]
async fn a_change_beside_one_request_in_every_order() {
    for beside in ["/who", "/write", "/accept/12", "/change/12"] {
        let orders = every_order(async |order| {
            let world = World::new();
            let token = world.site.begin("/sign-in/10", None).await;
            world.stays_signed_in(order, &["/change/11", beside], &token).await;
        });
        assert!(orders.await > 50, "{beside}");
    }
}

/// Several changes and other requests of one session run beside each other, and it stays signed in.
#[tokio::test]
async fn changes_beside_requests_in_random_orders() {
    for paths in [
        &["/change/11", "/who", "/write"][..],
        &["/change/11", "/change/12", "/who", "/who"],
        &["/change/11", "/change/12", "/change/13", "/write", "/who", "/accept/14"],
    ] {
        random_orders(RANDOM_ORDERS, async |order| {
            let world = World::new();
            let token = world.site.begin("/sign-in/10", None).await;
            world.stays_signed_in(order, paths, &token).await;
        })
        .await;
    }
}

/// A change whose request is dropped at any of its awaits leaves the session signed in.
#[tokio::test]
async fn a_change_dropped_at_each_await() {
    for polls in 0.. {
        let world = World::new();
        let token = world.site.begin("/sign-in/10", None).await;
        world.faults.pend(1);
        let (change, _) = world.request("/change/11", Some(&*token));
        let is_done = dropped_after(polls, change).await;
        world.faults.heal();
        assert!(world.site.is_signed_in(&token).await, "{polls} polls");
        if is_done {
            assert!(polls > 5, "{polls}");
            return;
        }
    }
}

/// A sign-in with the old password, beside the change, is over at its next request; the session with the change goes on.
#[tokio::test]
async fn a_sign_in_beside_a_change_in_every_order() {
    every_order(async |order| {
        let world = World::new();
        let here = world.site.begin("/sign-in/10", None).await;
        let there = world.site.begin("/visit", None).await;
        let answers =
            world.run(order, &[("/change/11", Some(&*here)), ("/sign-in/10", Some(&there))], Vec::new()).await;
        assert!(world.site.is_signed_in(&here).await, "{order:?}");
        // It may have come after the change.
        if let (StatusCode::OK, Some(token), _) = &answers[1] {
            assert!(!world.site.is_signed_in(token).await, "{order:?}");
        }
    })
    .await;
}

/// Of two sign-ins on one anonymous session, that with the old password is over, whatever joins what.
#[tokio::test]
async fn sign_ins_with_two_passwords_share_no_session() {
    let check = async |order: &mut Order| {
        let world = World::new();
        let planted = world.site.begin("/visit", None).await;
        let requests = [("/sign-in/10", Some(&*planted)), ("/sign-in/11", Some(&*planted))];
        let answers = world.run(order, &requests, vec![world.save(11)]).await;
        for (answer, is_signed_in) in answers.iter().zip([false, true]) {
            match answer {
                (StatusCode::OK, Some(token), _) => {
                    assert_eq!(world.site.is_signed_in(token).await, is_signed_in, "{order:?}");
                }
                // The password was another at that moment.
                (status, ..) => assert_eq!(*status, StatusCode::UNAUTHORIZED, "{order:?}"),
            }
        }
    };
    assert!(every_order(check).await > 500);
}

/// A form that is sent twice signs in once, also beside a request that looks the user up.
#[tokio::test]
async fn a_form_sent_twice_joins_one_session() {
    random_orders(RANDOM_ORDERS, async |order| {
        let world = World::new();
        let visitor = world.site.begin("/visit", None).await;
        let form = ("/sign-in/10", Some(&*visitor));
        let answers = world.run(order, &[form, form, ("/who", Some(&visitor))], Vec::new()).await;
        let token = |place: usize| answers[place].1.clone().unwrap();
        assert_eq!(session_of(&token(0)), session_of(&token(1)), "{order:?}");
        assert!(world.site.is_signed_in(&token(0)).await && world.site.is_signed_in(&token(1)).await, "{order:?}");
    })
    .await;
}

/// A sign-in with the new password, on a session with the old one, is not ended by a request that saw the old one.
#[tokio::test]
async fn a_sign_in_beside_a_request_that_signs_out() {
    let orders = every_order(async |order| {
        let world = World::new();
        let old = world.site.begin("/sign-in/10", None).await;
        world.site.accounts.set(USER, 11);
        let answers = world.run(order, &[("/sign-in/11", Some(&*old)), ("/who", Some(&*old))], Vec::new()).await;
        // The token of the other request may have been retired, or its session signed in with the new password, before it looked.
        let (status, set, text) = &answers[1];
        assert!(*status == StatusCode::CONFLICT || ["0", "7"].contains(&&**text), "{text}, {order:?}");
        assert_eq!(*set, None, "{order:?}");
        let token = answers[0].1.clone().unwrap();
        assert!(world.site.is_signed_in(&token).await, "{order:?}");
    });
    assert!(orders.await > 20);
}

/// Requests beside each other find the credentials changed: each is a visitor's, and none fails.
#[tokio::test]
async fn requests_that_sign_out_beside_each_other() {
    every_order(async |order| {
        let world = World::new();
        let token = world.site.begin("/sign-in/10", None).await;
        world.site.accounts.set(USER, 11);
        for (status, set, text) in world.run(order, &[("/who", Some(&*token)); 2], Vec::new()).await {
            assert_eq!((status, set, &*text), (StatusCode::OK, None, "0"), "{order:?}");
        }
        assert!(!world.site.is_signed_in(&token).await, "{order:?}");
        assert_eq!(world.events.count(EventKind::Ended), 1, "{order:?}");
    })
    .await;
}

/// A change beside a sign-in of the same session by the old password: the session goes on, and no other is signed in.
#[tokio::test]
async fn a_change_beside_a_sign_in_of_its_session() {
    let orders = every_order(async |order| {
        let world = World::new();
        let here = world.site.begin("/sign-in/10", None).await;
        let requests = [("/change/11", Some(&*here)), ("/sign-in/10", Some(&*here))];
        let answers = world.run(order, &requests, Vec::new()).await;
        let signed_in = answers[1].1.as_ref();
        // Under a token that the sign-in has retired, nothing changes.
        assert!([StatusCode::OK, StatusCode::CONFLICT].contains(&answers[0].0), "{order:?}");
        let token = match signed_in {
            Some(token) if session_of(token) != session_of(&here) => {
                assert!(!world.site.is_signed_in(token).await, "{order:?}");
                &here
            }
            Some(token) => token,
            None => &here,
        };
        assert!(world.site.is_signed_in(token).await, "{order:?}");
    });
    assert!(orders.await > 50);
}
