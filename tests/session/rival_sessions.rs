//! Two live session cookies in one request: reads see no session, and a change that is stored ends both sessions.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use http::StatusCode;
use sessile::event::{EndReason, EventKind};
use sessile::{Error, Session, SessionId};
use support::client::session_of;
use support::race::{Answer, MINUTE, World, both};
use support::store::{Counts, Fault, Op};

/// A world with two live sessions, of which a planted cookie may be one.
struct Rivals {
    world: World,
    tokens: [String; 2],
}

impl Rivals {
    async fn new() -> Self {
        let world = World::new();
        let tokens = [world.begin_signed_in("ada").await, world.begin().await];
        world.events.take();
        Self { world, tokens }
    }

    /// Returns both cookies, in either order.
    fn orders(&self) -> [String; 2] {
        let [first, second] = &self.tokens;
        [both(first, second), both(second, first)]
    }

    async fn send<F>(&self, cookies: &str, handler: fn(Session) -> F) -> Answer
    where
        F: Future<Output = Result<StatusCode, Error>> + Send + 'static,
    {
        self.world.send(cookies, handler).await
    }

    /// Returns the sessions that ended, sorted.
    fn ends(&self, reason: EndReason) -> Vec<SessionId> {
        let ends = self.world.events.ends();
        assert!(ends.iter().all(|(_, found)| *found == reason), "{ends:?}");
        let mut ids: Vec<_> = ends.into_iter().map(|(id, _)| id).collect();
        ids.sort_unstable();
        ids
    }

    fn ids(&self) -> Vec<SessionId> {
        let mut ids = Vec::from(self.tokens.each_ref().map(|token| session_of(token)));
        ids.sort_unstable();
        ids
    }

    /// Checks that the response's session is the only live one, and that it is used beside either old cookie.
    async fn assert_settled(&self, answer: &Answer) {
        let new = answer.token();
        assert_eq!(self.world.live_sessions(), 1);
        assert_eq!(self.ends(EndReason::Ambiguous), self.ids());
        for old in &self.tokens {
            assert!(!self.world.is_live(old).await);
            for cookies in [both(old, &new), both(&new, old)] {
                assert_eq!(self.world.opens(&cookies).await.unwrap().id, session_of(&new));
            }
        }
    }

    async fn assert_unsettled(&self, answer: &Answer, status: StatusCode) {
        answer.assert_silent(status);
        assert_eq!(self.world.events.ends(), []);
        for token in &self.tokens {
            assert!(self.world.is_live(token).await);
        }
    }
}

/// An insert, a sign-in, `update_now` and a form's CSRF token store a new session, and then both others end.
#[tokio::test]
async fn stored_change_settles_two_live_sessions() {
    let handlers: [fn(Session) -> _; 5] = [
        |session| Box::pin(async move { session.insert("n", &1) }) as futures_util::future::BoxFuture<'static, _>,
        |session| Box::pin(async move { session.sign_in("ada") }),
        |session| Box::pin(async move { session.sign_in("bob") }),
        |session| Box::pin(async move { session.update_now("n", |n: &mut u32| *n += 1).await }),
        |session| Box::pin(async move { session.csrf_token().await.map(drop) }),
    ];
    for handler in handlers {
        for order in 0..2 {
            let rivals = Rivals::new().await;
            let answer = rivals.world.send(&rivals.orders()[order], handler).await;
            rivals.assert_settled(answer.assert_ok()).await;
            let keys = rivals.world.opens(&answer.token()).await.unwrap().keys;
            assert!(!keys.contains(&"start".to_owned()), "values of a rival: {keys:?}");
        }
    }
}

/// The new session has the owner of the sign-in and no values of either rival.
#[tokio::test]
async fn sign_in_with_two_live_sessions_begins_a_new_one() {
    let rivals = Rivals::new().await;
    let answer = rivals.world.send(&rivals.orders()[0], |session| async move { session.sign_in("ada") }).await;
    let opened = rivals.world.opens(&answer.token()).await.unwrap();
    assert_eq!((opened.owner.as_deref(), opened.keys.len()), (Some("ada"), 0));
    assert!(!rivals.ids().contains(&opened.id));
}

/// Empty changes, reads, a rotation and a touch that is due leave both sessions live, and set no cookie.
#[tokio::test]
async fn request_that_changes_nothing_settles_nothing() {
    let rivals = Rivals::new().await;
    rivals.world.advance(30 * MINUTE);
    for cookies in rivals.orders() {
        let work = rivals.send(&cookies, |session| async move {
            assert!(session.is_new() && session.keys().is_empty() && session.owner().is_none());
            assert_eq!(session.take_now::<bool>("start").await?, None);
            assert!(!session.remove("start")?);
            session.clear()?;
            session.rotate()?;
            session.touch().await?;
            session.commit().await?;
            Ok(StatusCode::OK)
        });
        let (answer, counts) = rivals.world.cost(work).await;
        assert_eq!(counts, Counts::gets(2));
        answer.assert_silent(StatusCode::OK);
    }
    let answer = rivals.send(&rivals.orders()[0], |_| async { Ok(StatusCode::OK) }).await;
    rivals.assert_unsettled(&answer, StatusCode::OK).await;
}

/// A write, a sign-in or a sign-out whose response is a 500: only the sign-out ends the sessions.
#[tokio::test]
async fn server_error_settles_nothing() {
    for order in 0..2 {
        let rivals = Rivals::new().await;
        let answer = rivals
            .send(&rivals.orders()[order], |session| async move {
                session.insert("n", &1)?;
                session.sign_in("bob")?;
                Ok(StatusCode::INTERNAL_SERVER_ERROR)
            })
            .await;
        rivals.assert_unsettled(&answer, StatusCode::INTERNAL_SERVER_ERROR).await;
        let answer = rivals
            .send(&rivals.orders()[order], |session| async move {
                session.sign_out()?;
                Ok(StatusCode::INTERNAL_SERVER_ERROR)
            })
            .await;
        assert!(answer.is_removal());
        assert_eq!(rivals.ends(EndReason::SignedOut), rivals.ids());
    }
}

/// `update_now` settles at once: a later 500 revives neither session, and the new one keeps its value.
#[tokio::test]
async fn committed_change_settles_before_a_server_error() {
    let rivals = Rivals::new().await;
    let answer = rivals
        .send(&rivals.orders()[0], |session| async move {
            session.update_now("n", |n: &mut u32| *n += 1).await?;
            Ok(StatusCode::INTERNAL_SERVER_ERROR)
        })
        .await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    rivals.assert_settled(&answer).await;
    assert_eq!(rivals.world.read::<u32>(&answer.token(), "n").await, Some(1));
}

/// Neither session's CSRF token is accepted beside the other cookie.
#[tokio::test]
async fn no_csrf_token_of_an_ambiguous_request_is_accepted() {
    let rivals = Rivals::new().await;
    for token in rivals.tokens.clone() {
        let page =
            rivals.world.send(&token, |session| async move { Ok(session.csrf_token().await?.to_string()) }).await;
        let form = page.assert_ok().body.clone();
        for cookies in rivals.orders() {
            let form = form.clone();
            let answer = rivals.world.send(&cookies, |session| async move {
                assert!(!session.verify_csrf(&form));
                Ok(())
            });
            answer.await.assert_silent(StatusCode::OK);
        }
    }
}

/// A sign-out ends both sessions, and the response removes the cookie.
#[tokio::test]
async fn sign_out_ends_both_live_sessions() {
    for order in 0..2 {
        for commits in [false, true] {
            let rivals = Rivals::new().await;
            let answer = rivals
                .world
                .send(&rivals.orders()[order], move |session| async move {
                    session.sign_out()?;
                    if commits { session.commit().await } else { Ok(()) }
                })
                .await;
            assert!(answer.assert_ok().is_removal());
            assert_eq!(rivals.ends(EndReason::SignedOut), rivals.ids());
            assert_eq!(rivals.world.live_sessions(), 0);
        }
    }
}

/// One of the two ends fails: 503, and the cookie stays. The next sign-out ends the other session and removes it.
#[tokio::test]
async fn sign_out_that_ends_one_of_two_sessions_is_a_503() {
    for order in 0..2 {
        for failing in [1, 2] {
            for commits in [false, true] {
                let rivals = Rivals::new().await;
                let cookies = &rivals.orders()[order];
                (failing..failing + 3).for_each(|nth| rivals.world.faults.fail(Op::Set, nth, Fault::Before));
                let sign_out = move |session: Session| async move {
                    session.sign_out()?;
                    if commits { session.commit().await } else { Ok(()) }
                };
                rivals.world.send(cookies, sign_out).await.assert_silent(StatusCode::SERVICE_UNAVAILABLE);
                assert!(rivals.world.live_sessions() > 0);
                rivals.world.faults.heal();
                assert!(rivals.world.send(cookies, sign_out).await.assert_ok().is_removal());
                assert_eq!(rivals.world.live_sessions(), 0);
            }
        }
    }
}

/// If the first of two ends fails, the second is tried all the same, and the answer is a 503 whatever the handler answered.
#[tokio::test]
async fn each_end_of_a_sign_out_is_tried() {
    for status in [StatusCode::OK, StatusCode::NOT_FOUND] {
        let rivals = Rivals::new().await;
        (1..=3).for_each(|nth| rivals.world.faults.fail(Op::Set, nth, Fault::Before));
        let sign_out = move |session: Session| async move { session.sign_out().map(|()| status) };
        let answer = rivals.world.send(&rivals.orders()[0], sign_out).await;
        answer.assert_silent(StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(rivals.world.live_sessions(), 1, "{status}");
    }
}

/// Behind four planted tokens a session is not looked up: a sign-out ends what it finds and answers 503, with a warning event.
#[tokio::test]
async fn sign_out_with_more_than_four_tokens_is_a_503() {
    for place in [0, 4] {
        let world = World::new();
        let own = world.begin_signed_in("ada").await;
        let mut tokens: Vec<String> = Vec::new();
        for _ in 0..4 {
            let other = world.begin().await;
            tokens.push(format!("{}{}", &other[..22], &own[22..]));
        }
        tokens.insert(place, own.clone());
        let cookies = tokens.into_iter().reduce(|left, right| both(&left, &right)).unwrap();
        world.events.take();
        let answer = world.send(&cookies, |session| async move { session.sign_out() }).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(world.events.count(EventKind::TooManyTokens), 1);
        assert_eq!(world.is_live(&own).await, place == 4);
    }
}

/// Rivals do not count for the owner limit: only what a sign-in leaves does.
#[tokio::test]
async fn rivals_do_not_count_for_the_owner_limit() {
    let world = World::with(|layer| layer.with_owner_limit(2));
    let phone = world.begin_signed_in("ada").await;
    world.advance(MINUTE);
    let (browser, planted) = (world.begin_signed_in("ada").await, world.begin().await);
    world.advance(MINUTE);
    let answer = world.send(&both(&browser, &planted), |session| async move { session.sign_in("ada") }).await;
    assert!(world.is_live(&answer.token()).await && world.is_live(&phone).await);
    assert!(!world.is_live(&browser).await);
}

/// A second sign-in of the request, by another owner, leaves the rivals to the commit: a failed response ends nothing.
#[tokio::test]
async fn discarded_sign_ins_end_no_rival() {
    let rivals = Rivals::new().await;
    let sign_ins = |session: Session| async move {
        session.sign_in("ada")?;
        session.sign_in("bob")?;
        Ok(StatusCode::INTERNAL_SERVER_ERROR)
    };
    let answer = rivals.send(&rivals.orders()[0], sign_ins).await;
    rivals.assert_unsettled(&answer, StatusCode::INTERNAL_SERVER_ERROR).await;
}

/// The write and its cookie stand if a rival cannot be ended: an event is raised, and the next request settles it.
#[tokio::test]
async fn failing_end_of_a_rival_is_an_event() {
    let rivals = Rivals::new().await;
    let cookies = &rivals.orders()[0];
    // The first `set` creates the session; each end takes three attempts.
    (2..8).for_each(|nth| rivals.world.faults.fail(Op::Set, nth, Fault::Before));
    let answer = rivals.world.send(cookies, |session| async move { session.insert("n", &1) }).await;
    assert_eq!(rivals.world.events.count(EventKind::UpkeepFailed), 2);
    assert_eq!(rivals.world.read::<u32>(&answer.assert_ok().token(), "n").await, Some(1));
    assert_eq!(rivals.world.live_sessions(), 3);
    rivals.world.faults.heal();
    let new = answer.token();
    let left = both(&rivals.tokens[0], &new);
    let answer = rivals.world.send(&left, |session| async move { session.insert("n", &2) }).await;
    assert_eq!(rivals.world.read::<u32>(&answer.token(), "n").await, Some(2));
    assert!(!rivals.world.is_live(&rivals.tokens[0]).await && !rivals.world.is_live(&new).await);
}

/// A failed creation ends neither session.
#[tokio::test]
async fn rivals_stay_live_if_the_new_session_is_not_stored() {
    let rivals = Rivals::new().await;
    rivals.world.faults.fail_always(Op::Set, Fault::Before);
    let answer = rivals.world.send(&rivals.orders()[0], |session| async move { session.insert("n", &1) }).await;
    rivals.world.faults.heal();
    rivals.assert_unsettled(&answer, StatusCode::SERVICE_UNAVAILABLE).await;
}

/// A cookie of another realm is no rival: the own session is used, and a sign-out leaves the other live.
#[tokio::test]
async fn session_of_another_realm_is_no_rival() {
    let world = World::new();
    let other = world.redeployed(|layer| layer.with_realm("other"));
    let (own, foreign) = (world.begin().await, other.begin().await);
    for cookies in [both(&own, &foreign), both(&foreign, &own)] {
        assert_eq!(world.opens(&cookies).await.unwrap().id, session_of(&own));
    }
    world.insert(&both(&foreign, &own), "n", 1).await.assert_silent(StatusCode::OK);
    let signed_out = world.send(&both(&foreign, &own), |session| async move { session.sign_out() }).await;
    assert!(signed_out.assert_ok().is_removal());
    assert!(!world.is_live(&own).await && other.is_live(&foreign).await);
}

/// A session that is signed in after it was read as a rival, and before its end, stays live: an event is raised.
#[tokio::test]
async fn rival_that_changes_hands_meanwhile_stays_live() {
    let rivals = Rivals::new().await;
    let anonymous = &rivals.tokens[1];
    let slow = rivals
        .world
        .hold(&rivals.orders()[0], |session, gate| async move {
            gate.wait().await;
            session.insert("n", &1)
        })
        .await;
    let signed_in = rivals.world.send(anonymous, |session| async move { session.sign_in("bob") }).await.token();
    slow.finish().await.assert_ok().token();
    assert_eq!(rivals.world.opens(&signed_in).await.unwrap().owner.as_deref(), Some("bob"));
    assert_eq!(rivals.world.events.count(EventKind::UpkeepFailed), 1);
}
