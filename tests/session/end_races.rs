//! A sign-in beside an end of the same session, or of all sessions of its owner, in every order of their store calls.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::sync::{Arc, Mutex};

use sessile::{Error, SessionId, Sessions};
use support::client::session_of;
use support::orders::{Order, Task, every_order, point};
use support::race::{Answer, NO_TOKEN, World};

/// The moments of both tasks, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// The sign-in is committed.
    Committed,
    /// The call that ends sessions begins.
    Begun,
    /// The call that ends sessions returns.
    Returned,
}

/// The session that the sign-in begins on.
#[derive(Clone, Copy, Debug)]
enum Before {
    /// No session.
    Nothing,
    /// An anonymous one.
    Visitor,
    /// One of the same owner.
    Owner,
    /// One of another owner.
    Other,
}

const ALL: [Before; 4] = [Before::Nothing, Before::Visitor, Before::Owner, Before::Other];

struct Outcome {
    world: World,
    moments: Vec<Moment>,
    answer: Answer,
    /// The sessions that the call has ended.
    ended: Vec<SessionId>,
}

/// Signs "ada" in beside a call that ends sessions, in one order.
async fn run<F>(order: &mut Order, before: Before, end: impl FnOnce(Sessions, Option<SessionId>) -> F) -> Outcome
where
    F: Future<Output = Result<Vec<SessionId>, Error>> + Send + 'static,
{
    let world = World::new();
    let token = match before {
        Before::Nothing => NO_TOKEN,
        Before::Visitor => Some(world.begin().await),
        Before::Owner => Some(world.begin_signed_in("ada").await),
        Before::Other => Some(world.begin_signed_in("bob").await),
    };
    let moments = Arc::new(Mutex::new(Vec::new()));
    let answer = Arc::new(Mutex::new(None));
    let (noted, place) = (Arc::clone(&moments), Arc::clone(&answer));
    let request = world.call(token.clone(), move |session| async move {
        session.sign_in("ada")?;
        session.commit().await?;
        noted.lock().unwrap().push(Moment::Committed);
        point().await;
        Ok(())
    });
    let sign_in: Task = Box::pin(async move { *place.lock().unwrap() = Some(request.await) });
    let ended = Arc::new(Mutex::new(Vec::new()));
    let (noted, place) = (Arc::clone(&moments), Arc::clone(&ended));
    let ending = end(world.sessions(), token.as_deref().map(session_of));
    let end: Task = Box::pin(async move {
        noted.lock().unwrap().push(Moment::Begun);
        *place.lock().unwrap() = ending.await.unwrap();
        noted.lock().unwrap().push(Moment::Returned);
    });
    world.faults.pend_before();
    order.run(vec![sign_in, end]).await;
    world.faults.heal();
    let answer = answer.lock().unwrap().take().unwrap();
    let (moments, ended) = (moments.lock().unwrap().clone(), ended.lock().unwrap().clone());
    Outcome { world, moments, answer, ended }
}

impl Outcome {
    /// Checks that a sign-in before the call is over, that one after it is live, and that no ended session is live.
    async fn check_all_ended(&self, order: &Order) {
        self.answer.assert_ok();
        let token = self.answer.token();
        let at = |moment| self.moments.iter().position(|known| *known == moment).unwrap();
        let (committed, begun, returned) = (at(Moment::Committed), at(Moment::Begun), at(Moment::Returned));
        let is_live = self.world.is_live(&token).await;
        let report = format!("{:?}, {order:?}", self.moments);
        assert!(committed > begun || !is_live, "a sign-in before the call is live: {report}");
        assert!(committed < returned || is_live, "a sign-in after the call is over: {report}");
        assert_eq!(is_live, !self.ended.contains(&session_of(&token)), "{report}");
        for id in &self.ended {
            assert!(self.world.quiet().find_by_id(id).await.unwrap().is_none(), "an ended session is live: {report}");
        }
        assert_eq!(self.world.live_sessions(), usize::from(is_live), "{report}");
    }

    /// Checks that the session of the answer is live, unless this call has ended it after the sign-in.
    async fn check_one_ended(&self, order: &Order) {
        self.answer.assert_ok();
        let token = self.answer.token();
        let report = format!("{:?}, {order:?}", self.moments);
        let opened = self.world.opens(&token).await;
        assert_eq!(opened.is_none(), self.ended.contains(&session_of(&token)), "{report}");
        let at = |moment| self.moments.iter().position(|known| *known == moment).unwrap();
        match opened {
            Some(opened) => assert_eq!(opened.owner.as_deref(), Some("ada"), "{report}"),
            None => assert!(at(Moment::Committed) < at(Moment::Returned), "a new cookie opens nothing: {report}"),
        }
        for id in &self.ended {
            assert!(self.world.quiet().find_by_id(id).await.unwrap().is_none(), "an ended session is live: {report}");
        }
    }
}

/// Ends one session; returns it if the call says that it has ended it.
async fn ended(id: SessionId, end: impl Future<Output = Result<bool, Error>>) -> Result<Vec<SessionId>, Error> {
    Ok(if end.await? { vec![id] } else { Vec::new() })
}

// guarantee: 2
/// All sessions of the owner end beside a sign-in: it is over if it came before, and live if it came after.
#[tokio::test]
async fn a_sign_in_beside_an_end_of_all_sessions() {
    for before in ALL {
        for in_every_realm in [false, true] {
            let orders = every_order(async |order| {
                let outcome = run(order, before, |sessions, _| async move {
                    if in_every_realm {
                        sessions.end_all_of_in_every_realm("ada").await
                    } else {
                        sessions.end_all_of("ada").await
                    }
                });
                let outcome = outcome.await;
                if !matches!(before, Before::Other) {
                    outcome.check_all_ended(order).await;
                } else {
                    outcome.check_one_ended(order).await;
                }
            });
            assert!(orders.await >= 5, "{before:?}");
        }
    }
}

// guarantee: 2
/// An administrator ends the session that is being signed in: the client's cookie opens a session, or the end came later.
#[tokio::test]
async fn a_sign_in_beside_an_end_of_its_session() {
    for before in [Before::Visitor, Before::Owner, Before::Other] {
        let orders = every_order(async |order| {
            let end = |sessions: Sessions, id: Option<SessionId>| async move {
                let id = id.unwrap();
                ended(id, sessions.end(&id)).await
            };
            let outcome = run(order, before, end).await;
            outcome.check_one_ended(order).await;
        });
        assert!(orders.await >= 10, "{before:?}");
    }
}

// guarantee: 2
/// A session is ended as one of the owner's: before the sign-in of a visitor it is not, and stays.
#[tokio::test]
async fn a_sign_in_beside_an_end_by_its_owner() {
    for before in [Before::Visitor, Before::Owner, Before::Other] {
        let orders = every_order(async |order| {
            let end = |sessions: Sessions, id: Option<SessionId>| async move {
                let id = id.unwrap();
                ended(id, sessions.end_if_owned_by(&id, "ada")).await
            };
            let outcome = run(order, before, end).await;
            outcome.check_one_ended(order).await;
            let at = |moment| outcome.moments.iter().position(|known| *known == moment).unwrap();
            if matches!(before, Before::Visitor) && at(Moment::Returned) < at(Moment::Committed) {
                assert!(outcome.ended.is_empty(), "{:?}, {order:?}", outcome.moments);
            }
        });
        assert!(orders.await >= 5, "{before:?}");
    }
}
