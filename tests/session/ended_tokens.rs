//! Tokens of sessions that ended within the last minute: they open and create nothing, and tell why the session ended.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::time::Duration;

use futures_util::future::BoxFuture;
use http::StatusCode;
use sessile::config::ReplayPolicy;
use sessile::event::{EndReason, EventKind};
use sessile::testing::ManualClock;
use sessile::{Error, ErrorKind, Lifetime, MemoryStore, Session};
use support::client::session_of;
use support::race::{Answer, MINUTE, NO_TOKEN, SECOND, World, both};
use support::store::Counts;

type Handler = fn(Session) -> BoxFuture<'static, Result<(), Error>>;

async fn sign_out(world: &World, token: &str) -> Answer {
    world.send(token, |session| async move { session.sign_out() }).await
}

/// Returns the reason that a request with this token learns.
async fn end_reason(world: &World, token: &str) -> Option<EndReason> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let answer = world.send(token, |session| async move {
        assert!(session.is_new() && session.keys().is_empty() && session.owner().is_none());
        sender.send(session.end_reason()).unwrap();
        Ok(())
    });
    answer.await.assert_silent(StatusCode::OK);
    receiver.await.unwrap()
}

/// Returns anonymous and signed-in sessions that a sign-out has just ended.
async fn ended(world: &World) -> [String; 2] {
    let tokens = [world.begin().await, world.begin_signed_in("ada").await];
    for token in &tokens {
        assert!(sign_out(world, token).await.assert_ok().is_removal());
    }
    tokens
}

/// A tab signs out and in again; a late write of another tab is refused, and leaves the new session and its cookie.
#[tokio::test]
async fn late_write_does_not_replace_a_later_sign_in() {
    for signed_in in [false, true] {
        let world = World::new();
        let token = if signed_in { world.begin_signed_in("ada").await } else { world.begin().await };
        sign_out(&world, &token).await.assert_ok();
        let new = world.begin_signed_in("ada").await;
        world.insert(&token, "late", 1).await.assert_silent(StatusCode::CONFLICT);
        let opened = world.opens(&new).await.unwrap();
        assert_eq!((opened.owner.as_deref(), opened.keys.len()), (Some("ada"), 0));
        assert_eq!(world.live_sessions(), 1);
    }
}

/// Nine changes fail with `Ended`, answer 409, set no cookie and store nothing.
#[tokio::test]
async fn each_change_under_an_ended_token_answers_409() {
    let changes: [Handler; 9] = [
        |session| Box::pin(async move { session.insert("n", &1) }),
        |session| Box::pin(async move { session.update("n", |n: &mut u32| *n += 1) }),
        |session| Box::pin(async move { session.update_now("n", |n: &mut u32| *n += 1).await }),
        |session| Box::pin(async move { session.take_now::<bool>("start").await.map(drop) }),
        |session| Box::pin(async move { session.remove("start").map(drop) }),
        |session| Box::pin(async move { session.clear() }),
        |session| Box::pin(async move { session.rotate() }),
        |session| Box::pin(async move { session.set_lifetime(Lifetime::aal1()) }),
        |session| Box::pin(async move { session.reauthenticate() }),
    ];
    let world = World::new();
    for token in ended(&world).await {
        for change in changes {
            let work = world.send(&token, move |session| async move {
                let error = change(session).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Ended);
                Err::<(), _>(error)
            });
            let (answer, counts) = world.cost(work).await;
            answer.assert_silent(StatusCode::CONFLICT);
            assert_eq!(counts, Counts::gets(1));
        }
    }
    assert_eq!(world.live_sessions(), 0);
}

/// A page under an ended token gets a CSRF token for a sign-in form, and stores nothing.
#[tokio::test]
async fn page_under_an_ended_token_stores_no_session() {
    let world = World::new();
    for token in ended(&world).await {
        let work = world.send(&token, |session| async move {
            let form = session.csrf_token().await?;
            assert!(session.verify_csrf(form.as_str()));
            Ok(())
        });
        let (answer, counts) = world.cost(work).await;
        answer.assert_silent(StatusCode::OK);
        assert_eq!(counts, Counts::gets(1));
    }
}

/// A handler that ignores the refusal stores nothing and sets no cookie; its response stands.
#[tokio::test]
async fn ignored_refusal_under_an_ended_token_stores_nothing() {
    let world = World::new();
    for token in ended(&world).await {
        let answer = world.send(&token, |session| async move {
            let _ = session.insert("n", &1);
            session.commit().await
        });
        answer.await.assert_silent(StatusCode::OK);
    }
    assert_eq!(world.live_sessions(), 0);
}

/// A request learns each of the six reasons.
#[tokio::test]
async fn each_reason_of_an_end_is_known_for_a_minute() {
    let world = World::new();
    let [anonymous, owned] = ended(&world).await;
    let replaced = world.begin_signed_in("ada").await;
    world.send(&replaced, |session| async move { session.sign_in("bob") }).await.assert_ok();
    let (revoked, revoked_as_owned) = (world.begin().await, world.begin_signed_in("ada").await);
    assert!(world.sessions().end(&session_of(&revoked)).await.unwrap());
    assert!(world.sessions().end_if_owned_by(&session_of(&revoked_as_owned), "ada").await.unwrap());
    let rivals = [world.begin().await, world.begin_signed_in("ada").await];
    world.insert(&both(&rivals[0], &rivals[1]), "n", 1).await.assert_ok();
    for (token, reason) in [
        (&anonymous, EndReason::SignedOut),
        (&owned, EndReason::SignedOut),
        (&replaced, EndReason::Replaced),
        (&revoked, EndReason::Revoked),
        (&revoked_as_owned, EndReason::Revoked),
        (&rivals[0], EndReason::Ambiguous),
        (&rivals[1], EndReason::Ambiguous),
    ] {
        assert_eq!(end_reason(&world, token).await, Some(reason));
        world.insert(token, "late", 1).await.assert_silent(StatusCode::CONFLICT);
    }
}

/// The session that a third sign-in ended, and the one that a replay ended, know why.
#[tokio::test]
async fn end_by_a_limit_or_a_replay_has_its_reason() {
    let world = World::with(|layer| layer.with_owner_limit(2));
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(world.begin_signed_in("ada").await);
        world.advance(SECOND);
    }
    assert_eq!(end_reason(&world, &tokens[0]).await, Some(EndReason::OwnerLimit));
    assert!(world.is_live(&tokens[1]).await);

    let lifetime = Lifetime::new().with_refresh_interval(MINUTE);
    let world = World::with(|layer| layer.with_lifetime(lifetime).with_replay_policy(ReplayPolicy::End));
    let old = world.begin_signed_in("ada").await;
    world.advance(MINUTE);
    let new = world.insert(&old, "n", 1).await.token();
    world.insert(&new, "n", 2).await.assert_ok();
    world.advance(31 * SECOND);
    assert!(!world.is_live(&old).await);
    assert_eq!(end_reason(&world, &new).await, Some(EndReason::Replayed));
}

/// A millisecond before the minute is over a write is refused; after it the token is unknown and a write begins anew.
#[tokio::test]
async fn ended_token_is_unknown_after_a_minute() {
    let world = World::new();
    let tokens = ended(&world).await;
    world.advance(MINUTE - Duration::from_millis(1));
    for token in &tokens {
        assert_eq!(end_reason(&world, token).await, Some(EndReason::SignedOut));
        world.insert(token, "late", 1).await.assert_silent(StatusCode::CONFLICT);
    }
    world.advance(Duration::from_millis(1));
    for token in &tokens {
        world.events.take();
        assert_eq!(end_reason(&world, token).await, None);
        assert!(world.saw(EventKind::Unknown));
        let new = world.insert(token, "late", 1).await.token();
        assert_ne!(session_of(&new), session_of(token));
    }
}

/// A store whose clock is behind keeps the mark: the layer's clock decides.
#[tokio::test]
async fn mark_expires_by_the_clock_of_the_layer() {
    let clock = ManualClock::new();
    let memory = MemoryStore::new().with_clock(ManualClock::at(clock.now()));
    let world = World::over(memory, clock, |layer| layer);
    let [token, _] = ended(&world).await;
    world.advance(MINUTE - Duration::from_millis(1));
    assert_eq!(end_reason(&world, &token).await, Some(EndReason::SignedOut));
    world.advance(Duration::from_millis(1));
    assert_eq!(end_reason(&world, &token).await, None);
    world.insert(&token, "late", 1).await.assert_ok().token();
}

/// The id of an ended session with a wrong secret is unknown: it learns no reason, and a write begins a session.
#[tokio::test]
async fn wrong_secret_learns_nothing_of_an_end() {
    let world = World::new();
    let elsewhere = World::new().begin().await;
    for token in ended(&world).await {
        let forged = format!("{}{}", &token[..22], &elsewhere[22..]);
        world.events.take();
        assert_eq!(end_reason(&world, &forged).await, None);
        assert_eq!(world.events.count(EventKind::Unknown), 1);
        world.insert(&forged, "n", 1).await.assert_ok().token();
    }
}

/// A sign-in under an ended token begins an empty session under a new id.
#[tokio::test]
async fn sign_in_under_an_ended_token_begins_a_session() {
    let world = World::new();
    for token in ended(&world).await {
        let answer = world.send(&token, |session| async move {
            session.sign_in("ada")?;
            assert_eq!(session.end_reason(), None);
            session.insert("n", &1)
        });
        let opened = world.opens(&answer.await.assert_ok().token()).await.unwrap();
        assert_eq!((opened.owner.as_deref(), opened.keys), (Some("ada"), vec!["n".to_owned()]));
        assert_ne!(opened.id, session_of(&token));
    }
}

/// A second sign-out answers 200 and leaves the cookie, which may be that of a later sign-in; later writes are refused.
#[tokio::test]
async fn sign_out_under_an_ended_token_leaves_the_cookie() {
    let world = World::new();
    for token in ended(&world).await {
        sign_out(&world, &token).await.assert_silent(StatusCode::OK);
        let answer = world.send(&token, |session| async move {
            session.sign_out()?;
            session.insert("flash", "good bye")
        });
        answer.await.assert_silent(StatusCode::CONFLICT);
    }
    assert_eq!(world.events.count(EventKind::Ended), 2);
}

/// A request under the token of an ended session raises an event with the reason; later ones, and invented secrets, do not.
#[tokio::test]
async fn a_request_after_the_end_raises_an_event() {
    let world = World::new();
    let [_, token] = ended(&world).await;
    world.send(&token, |_| async { Ok(()) }).await.assert_silent(StatusCode::OK);
    assert_eq!(world.events.with_reason(EventKind::AfterEnd), [(session_of(&token), EndReason::SignedOut)]);
    let other = world.begin().await;
    let forged = format!("{}{}", &token[..22], &other[22..]);
    world.send(&forged, |_| async { Ok(()) }).await.assert_silent(StatusCode::OK);
    world.advance(MINUTE);
    world.send(&token, |_| async { Ok(()) }).await.assert_silent(StatusCode::OK);
    assert_eq!(world.events.count(EventKind::AfterEnd), 1);
}

/// `require_recent` under an ended token asks for a sign-in.
#[tokio::test]
async fn ended_token_is_not_signed_in() {
    let world = World::new();
    let [_, token] = ended(&world).await;
    let answer = world.send(&token, |session| async move { session.require_recent(MINUTE) }).await;
    answer.assert_silent(StatusCode::UNAUTHORIZED);
}

/// A mark is in no list, is found by no id or token, and ends no second time.
#[tokio::test]
async fn mark_is_no_session() {
    let world = World::new();
    for token in ended(&world).await {
        let sessions = world.sessions();
        let id = session_of(&token);
        assert!(sessions.find_by_id(&id).await.unwrap().is_none());
        assert!(sessions.find_by_token(&sessile::Token::parse(token.as_bytes()).unwrap()).await.unwrap().is_none());
        assert!(sessions.open_for_write(&id).await.unwrap().is_none());
        assert!(!sessions.merge(&id, &std::collections::BTreeMap::from([("n", 1)])).await.unwrap());
        assert!(!sessions.end(&id).await.unwrap());
        assert!(!sessions.end_if_owned_by(&id, "ada").await.unwrap());
    }
    assert!(world.sessions().owned_by("ada").await.unwrap().is_empty());
    assert!(world.sessions().end_all_of("ada").await.unwrap().is_empty());
}

/// Beside a live session's cookie, an ended one changes nothing: the live session is used.
#[tokio::test]
async fn ended_token_beside_a_live_one_is_ignored() {
    let world = World::new();
    let live = world.begin().await;
    for token in ended(&world).await {
        for cookies in [both(&token, &live), both(&live, &token)] {
            assert_eq!(world.opens(&cookies).await.unwrap().id, session_of(&live));
            world.insert(&cookies, "n", 1).await.assert_silent(StatusCode::OK);
        }
    }
}

/// The mark of an end expires by itself, at the latest with the session.
#[tokio::test]
async fn marks_are_freed_after_a_minute() {
    let world = World::new();
    ended(&world).await;
    assert_eq!(world.memory.len(), 2);
    world.advance(MINUTE);
    assert_eq!(world.sessions().delete_expired().await.unwrap(), 2);
    assert!(world.memory.is_empty());
    world.send(NO_TOKEN, |_| async { Ok(()) }).await.assert_silent(StatusCode::OK);
}
