//! A second sign-in under a token that was just retired: the form was sent twice, or the session changed hands meanwhile.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use http::StatusCode;
use sessile::Session;
use sessile::event::EventKind;
use support::client::session_of;
use support::race::{Answer, MINUTE, SECOND, World};
use support::store::{Fault, Op};

async fn sign_in(world: &World, token: &str, owner: &'static str) -> Answer {
    world.send(token, move |session| async move { session.sign_in(owner) }).await
}

// guarantee: 3
/// The form is sent again a moment later: the cart is kept, and the cookie of either response works.
#[tokio::test]
async fn second_sign_in_a_moment_later_joins_the_session() {
    for first_used in [0, 1] {
        let world = World::new();
        let old = world.begin().await;
        world.insert(&old, "cart", 3).await.assert_ok();
        let first = sign_in(&world, &old, "ada").await.token();
        world.advance(29 * SECOND);
        let answer = world.send(&old, |session| async move {
            session.sign_in("ada")?;
            session.insert("form", &2)
        });
        let second = answer.await.assert_ok().token();
        let tokens = [&first, &second];
        for token in [tokens[first_used], tokens[1 - first_used]] {
            let opened = world.opens(token).await.unwrap();
            assert_eq!((opened.id, opened.owner.as_deref()), (session_of(&old), Some("ada")));
            assert_eq!(opened.keys[..3], ["start", "cart", "form"]);
            world.insert(token, "later", 1).await.assert_silent(StatusCode::OK);
        }
        assert!(!world.is_live(&old).await);
        assert_eq!(world.live_sessions(), 1);
        assert_eq!(world.events.count(EventKind::SignedIn), 2);
    }
}

/// A third sign-in joins too, and the session is dated by the last one.
#[tokio::test]
async fn each_joining_sign_in_moves_the_authentication_forward() {
    let world = World::new();
    let old = world.begin().await;
    for number in 0..3 {
        let token = sign_in(&world, &old, "ada").await.assert_ok().token();
        let stored = world.sessions().find_by_id(&session_of(&token)).await.unwrap().unwrap();
        assert_eq!(stored.authenticated_at(), Some(world.clock.now()), "sign-in {number}");
        world.advance(9 * SECOND);
    }
}

/// After `rotate()`, after another owner's sign-in and after 30 seconds, a sign-in begins an empty session.
#[tokio::test]
async fn sign_in_begins_a_session_unless_the_owner_just_signed_in() {
    for case in ["rotate", "another owner", "rotate after sign-in", "30 seconds"] {
        let world = World::new();
        let mut old = world.begin().await;
        let first = match case {
            "rotate" => world.send(&old, |session| async move { session.rotate() }).await.token(),
            "another owner" => sign_in(&world, &old, "bob").await.token(),
            "rotate after sign-in" => {
                old = sign_in(&world, &old, "ada").await.token();
                world.send(&old, |session| async move { session.rotate() }).await.token()
            }
            _ => sign_in(&world, &old, "ada").await.token(),
        };
        if case == "30 seconds" {
            world.advance(30 * SECOND);
        }
        let second = sign_in(&world, &old, "ada").await.assert_ok().token();
        let opened = world.opens(&second).await.unwrap();
        assert_eq!((opened.owner.as_deref(), opened.keys.len()), (Some("ada"), 0), "{case}");
        assert_ne!(opened.id, session_of(&old), "{case}");
        assert!(world.is_live(&first).await, "{case}");
        assert_eq!(world.live_sessions(), 2, "{case}");
    }
}

/// The session that a second sign-in would join has ended: it begins another one.
#[tokio::test]
async fn second_sign_in_after_the_end_begins_a_session() {
    for ends_before_load in [true, false] {
        let world = World::new();
        let old = world.begin().await;
        let first = sign_in(&world, &old, "ada").await.token();
        let sign_out = |world: World| async move {
            world.send(&first, |session| async move { session.sign_out() }).await.assert_ok();
        };
        let second = if ends_before_load {
            sign_out(world.clone()).await;
            sign_in(&world, &old, "ada").await
        } else {
            let slow = world.hold(&old, |session, gate| async move {
                session.sign_in("ada")?;
                gate.wait().await;
                Ok(())
            });
            let slow = slow.await;
            sign_out(world.clone()).await;
            slow.finish().await
        };
        let opened = world.opens(&second.assert_ok().token()).await.unwrap();
        assert_eq!((opened.owner.as_deref(), opened.keys.len()), (Some("ada"), 0));
        assert_ne!(opened.id, session_of(&old));
        assert_eq!(world.live_sessions(), 1);
    }
}

/// The commit of a second sign-in fails, or its response is a 500: the request is back under its retired token.
#[tokio::test]
async fn second_sign_in_that_is_not_committed_joins_nothing() {
    for fails in [false, true] {
        let world = World::new();
        let old = world.begin().await;
        let first = sign_in(&world, &old, "ada").await.token();
        if fails {
            world.faults.fail_always(Op::Set, Fault::Before);
        }
        let answer = world
            .send(&old, move |session| async move {
                session.sign_in("ada")?;
                assert_eq!(session.keys(), ["start"]);
                if fails {
                    assert!(session.commit().await.is_err());
                    assert!(session.keys().is_empty() && session.owner().is_none());
                    assert!(session.insert("late", &1).is_err());
                }
                Ok(StatusCode::INTERNAL_SERVER_ERROR)
            })
            .await;
        answer.assert_silent(StatusCode::INTERNAL_SERVER_ERROR);
        world.faults.heal();
        assert_eq!(world.opens(&first).await.unwrap().keys, ["start"]);
        assert_eq!(world.live_sessions(), 1);
    }
}

/// Of two overlapping reauthentications the later one decides, although the earlier one was committed first.
#[tokio::test]
async fn reauthentication_that_lost_the_race_moves_the_times() {
    let world = World::new();
    let token = world.begin_signed_in("ada").await;
    let slow = world.hold(&token, |session, gate| async move {
        gate.wait().await;
        session.reauthenticate()
    });
    let slow = slow.await;
    world.send(&token, |session| async move { session.reauthenticate() }).await.assert_ok();
    world.advance(20 * MINUTE);
    let new = slow.finish().await.assert_ok().token();
    let recent = |session: Session| async move { session.require_recent(MINUTE) };
    world.send(&new, recent).await.assert_silent(StatusCode::OK);
    // The absolute timeout of a day counts from it, too.
    for _ in 0..47 {
        world.advance(30 * MINUTE);
        assert!(world.is_live(&new).await);
    }
    world.advance(29 * MINUTE);
    assert!(world.is_live(&new).await);
    world.advance(MINUTE);
    assert!(!world.is_live(&new).await);
}
