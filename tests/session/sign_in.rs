//! Signing in while other requests are under way, some of them somebody else's.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use sessile::event::EventKind;
use sessile::{ErrorKind, Lifetime, Session};
use support::client::session_of;
use support::race::{Answer, DAY, HOUR, MINUTE, NOBODY, SECOND, World};
use support::store::{Fault, Gate, Op};
use tokio::sync::Barrier;

const ROUNDS: usize = 60;

async fn sign_in(world: &World, token: &str, owner: &'static str) -> Answer {
    world.send(token, move |session| async move { session.sign_in(owner) }).await
}

/// A sign-in that leaves something in the session that is for its owner alone.
async fn sign_in_with_secret(session: Session, owner: &'static str) -> Result<(), sessile::Error> {
    session.sign_in(owner)?;
    session.insert("secret", owner)
}

#[tokio::test]
async fn signing_in_keeps_the_cart_and_the_id_and_changes_the_token() {
    let world = World::new();
    let old = world.begin().await;
    let new = sign_in(&world, &old, "ada").await.assert_ok().token();
    let opened = world.opens(&new).await.unwrap();
    assert_eq!((opened.owner.as_deref(), opened.id), (Some("ada"), session_of(&old)));
    assert_eq!(opened.keys, ["start"]);
    assert!(!world.is_live(&old).await);
    assert_eq!(world.memory.len(), 1);
}

#[tokio::test]
async fn signing_in_over_another_owners_session_ends_that_one_and_begins_one_without_data() {
    let world = World::new();
    let old = world.begin_signed_in("ada").await;
    world.insert(&old, "hers", 1).await.assert_ok();
    let answer = world
        .send(&old, |session| async move {
            session.insert("hers, too", &1)?;
            session.sign_in("bob")?;
            session.insert("his", &1)
        })
        .await;
    let opened = world.opens(&answer.token()).await.unwrap();
    assert_eq!((opened.owner.as_deref(), opened.keys), (Some("bob"), vec!["his".to_owned()]));
    assert_ne!(opened.id, session_of(&old));
    assert!(!world.is_live(&old).await);
    assert!(world.sessions().find_by_id(&session_of(&old)).await.unwrap().is_none());
    assert!(world.sessions().owned_by("ada").await.unwrap().is_empty());
}

#[tokio::test]
async fn signing_in_again_keeps_the_data_and_restarts_the_lifetimes() {
    let world = World::with(|layer| {
        layer.with_lifetime(Lifetime::new().with_idle_timeout(HOUR).with_absolute_timeout(2 * HOUR))
    });
    let first = world.begin_signed_in("ada").await;
    world.insert(&first, "hers", 1).await.assert_ok();
    for _ in 0..3 {
        world.advance(35 * MINUTE);
        assert!(world.is_live(&first).await);
    }
    let second = sign_in(&world, &first, "ada").await.token();
    assert_eq!(session_of(&second), session_of(&first));
    assert!(!world.is_live(&first).await);
    world.advance(59 * MINUTE);
    assert!(world.is_live(&second).await, "past the end that the first sign-in set");
    assert_eq!(world.opens(&second).await.unwrap().keys, ["hers"]);
    let stored = world.sessions().find_by_id(&session_of(&second)).await.unwrap().unwrap();
    assert_eq!(stored.authenticated_at(), Some(world.clock.now() - 59 * MINUTE));
}

#[tokio::test]
async fn a_slow_writer_across_a_sign_in_is_refused_and_leaves_nothing() {
    let world = World::new();
    let old = world.begin().await;
    let slow = world
        .hold(&old, |session, gate| async move {
            session.insert("slow", &1)?;
            gate.wait().await;
            Ok(())
        })
        .await;
    let new = sign_in(&world, &old, "ada").await.token();
    slow.finish().await.assert_silent(StatusCode::CONFLICT);
    assert_eq!(world.opens(&new).await.unwrap().keys, ["start"]);
    assert_eq!(world.events.count(EventKind::Superseded), 1);
}

/// What a request may have in flight when the session changes hands.
async fn in_flight(world: &World, work: &'static str) -> (Answer, String) {
    let old = world.begin().await;
    let slow = world
        .hold(&old, move |session, gate| async move {
            gate.wait().await;
            let superseded = |error: sessile::Error| {
                assert_eq!(error.kind(), ErrorKind::Superseded);
                error
            };
            match work {
                "insert" => session.insert("slow", &1),
                "update" => session.update("start", |start: &mut bool| *start = false),
                "update_now" => session.update_now("n", |n: &mut u32| *n += 1).await.map_err(superseded),
                "take_now" => session.take_now::<bool>("start").await.map(|_| ()).map_err(superseded),
                "remove" => session.remove("start").map(|_| ()),
                "clear" => session.clear(),
                "rotate" => session.rotate(),
                "set_lifetime" => session.set_lifetime(Lifetime::new().with_absolute_timeout(400 * DAY)),
                "sign_out" => session.sign_out(),
                "detached" => {
                    let detached = session.detach();
                    detached.insert("slow", &1)?;
                    detached.commit().await.map_err(superseded)
                }
                "reload" => session.reload().await.map_err(superseded),
                other => unreachable!("{other}"),
            }
        })
        .await;
    let new = sign_in(world, &old, "ada").await.token();
    (slow.finish().await, new)
}

// guarantee: 14
// checklist: 22
#[tokio::test]
async fn whatever_was_begun_before_a_sign_in_never_lands_after() {
    let works = [
        "insert",
        "update",
        "update_now",
        "take_now",
        "remove",
        "clear",
        "rotate",
        "set_lifetime",
        "sign_out",
        "detached",
        "reload",
    ];
    for work in works {
        let world = World::new();
        let (answer, new) = in_flight(&world, work).await;
        assert_eq!(answer.status, StatusCode::CONFLICT, "{work}");
        assert!(answer.set.is_empty(), "{work}: {answer:?}");
        let opened = world.opens(&new).await.unwrap_or_else(|| panic!("{work} has ended the session"));
        assert_eq!((opened.owner.as_deref(), opened.keys), (Some("ada"), vec!["start".to_owned()]), "{work}");
        assert_eq!(world.read::<bool>(&new, "start").await, Some(true), "{work}");
        world.advance(2 * HOUR);
        assert!(!world.is_live(&new).await, "{work} has changed the lifetime");
    }
}

// guarantee: 14
#[tokio::test]
async fn a_slow_reader_across_a_sign_in_sees_nothing_that_came_after() {
    let world = World::new();
    let old = world.begin().await;
    let slow = world
        .hold(&old, |session, gate| async move {
            gate.wait().await;
            assert_eq!(session.get::<String>("secret")?, None);
            assert_eq!(session.owner(), None);
            Ok(())
        })
        .await;
    world.send(&old, |session| sign_in_with_secret(session, "ada")).await.assert_ok();
    slow.finish().await.assert_silent(StatusCode::OK);
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_shows_its_request_nothing_of_a_sign_in_that_came_after() {
    let world = World::new();
    let old = world.begin().await;
    // The write is applied, its answer lost; before the store is asked what became of it, the session changes hands.
    world.faults.fail(Op::Set, 1, Fault::After);
    let gate = world.faults.hold_before(Op::Get, 2);
    let slow = world.spawn(&old, |session| async move {
        session.update_now("n", |n: &mut u32| *n += 1).await?;
        let seen = session.get::<String>("secret")?;
        assert_eq!(seen, None, "what came after the sign-in");
        assert_eq!(session.owner(), None, "who signed in");
        session.insert("slow", &1)?;
        session.rotate()
    });
    gate.reached().await;
    let new = world.send(&old, |session| sign_in_with_secret(session, "ada")).await.token();
    gate.release();
    let answer = slow.await.unwrap();
    assert_eq!(answer.given(), None, "{answer:?}");
    let opened = world.opens(&new).await.expect("the token of the sign-in works");
    assert!(!opened.keys.contains(&"slow".to_owned()), "work of the earlier epoch has landed: {opened:?}");
}

#[tokio::test]
async fn a_detached_session_of_a_sign_in_that_lost_to_another_owners_stays_out_of_that_ones() {
    let world = World::new();
    let planted = world.begin().await;
    let slow = world
        .hold(&planted, |session, gate| async move {
            session.sign_in("mallory")?;
            let detached = session.detach();
            gate.wait().await;
            let written = async {
                detached.insert("slow", &1)?;
                detached.commit().await
            };
            assert!(written.await.is_err(), "work of mallory's has landed with ada");
            assert!(detached.reload().await.is_err(), "mallory reads what is ada's");
            assert_eq!(detached.get::<String>("secret")?, None);
            Ok(())
        })
        .await;
    let new = world.send(&planted, |session| sign_in_with_secret(session, "ada")).await.token();
    let answer = slow.finish().await;
    answer.assert_ok();
    assert_eq!(world.opens(&new).await.unwrap().keys, ["start", "secret"]);
    assert_eq!(world.opens(&answer.token()).await.unwrap().owner.as_deref(), Some("mallory"));
}

#[tokio::test]
async fn signing_in_under_a_token_that_was_just_retired_begins_a_new_session() {
    let world = World::new();
    let old = world.begin().await;
    let rotated = world.send(&old, |session| async move { session.rotate() }).await.token();
    let answer = sign_in(&world, &old, "ada").await;
    let new = answer.assert_ok().token();
    assert_ne!(session_of(&new), session_of(&old));
    let opened = world.opens(&new).await.unwrap();
    assert_eq!((opened.owner.as_deref(), opened.keys.len()), (Some("ada"), 0));
    assert_eq!(world.opens(&rotated).await.unwrap().owner, None);
}

/// So many sign-ins of one owner, all of which have loaded the session before the first is committed.
async fn sign_in_many_times(world: &World, token: &str, times: usize) -> Vec<Answer> {
    let barrier = Arc::new(Barrier::new(times));
    let requests: Vec<_> = (0..times)
        .map(|place| {
            let barrier = Arc::clone(&barrier);
            world.spawn(token, move |session| async move {
                barrier.wait().await;
                session.sign_in("ada")?;
                session.insert(&format!("form {place}"), &1)
            })
        })
        .collect();
    let mut answers = Vec::new();
    for request in requests {
        answers.push(request.await.unwrap());
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_form_sent_twice_leaves_the_browser_signed_in_whichever_response_it_keeps() {
    for times in [2, 20] {
        for kept in 0..ROUNDS / 3 {
            let world = World::new();
            let old = world.begin().await;
            let answers = sign_in_many_times(&world, &old, times).await;
            let kept = &answers[kept % times];
            let opened = world.opens(&kept.assert_ok().token()).await.expect("its cookie opens the session");
            assert_eq!((opened.owner.as_deref(), opened.id), (Some("ada"), session_of(&old)));
            assert_eq!(opened.keys.len(), times + 1, "what came with each of them is there");
            assert!(!world.is_live(&old).await);
            assert_eq!(world.memory.len(), 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_sign_ins_at_once_every_token_works_and_goes_on_working_while_the_others_are_used() {
    let world = World::new();
    let old = world.begin().await;
    let answers = sign_in_many_times(&world, &old, 20).await;
    for answer in answers.iter().chain(&answers) {
        assert!(world.is_live(&answer.token()).await);
    }
    world.advance(31 * SECOND);
    let live = {
        let mut live = 0;
        for answer in &answers {
            live += usize::from(world.is_live(&answer.token()).await);
        }
        live
    };
    assert_eq!(live, 1, "the one that was used last is the browser's");
    assert!(!world.saw(EventKind::Replayed), "none of them was stolen");
}

// guarantee: 3
#[tokio::test]
async fn of_sign_ins_at_once_a_token_that_was_not_used_for_thirty_seconds_goes_when_another_is() {
    for (waited, works) in [(30 * SECOND - Duration::from_millis(1), true), (30 * SECOND, false)] {
        let world = World::new();
        let old = world.begin().await;
        let slow = |session: Session, gate: Gate| async move {
            gate.wait().await;
            session.sign_in("ada")
        };
        let (second, third) = (world.hold(&old, slow).await, world.hold(&old, slow).await);
        let first = sign_in(&world, &old, "ada").await.token();
        let (second, third) = (second.finish().await.token(), third.finish().await.token());
        assert!(world.is_live(&first).await);
        world.advance(waited);
        assert!(world.is_live(&second).await);
        assert_eq!(world.is_live(&third).await, works);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sign_ins_of_different_owners_at_once_end_up_in_sessions_of_their_own() {
    for _ in 0..ROUNDS {
        let world = World::new();
        let old = world.begin().await;
        let barrier = Arc::new(Barrier::new(3));
        let requests = ["ada", "bob", "eve"].map(|owner| {
            let barrier = Arc::clone(&barrier);
            world.spawn(&old, move |session| async move {
                session.insert(&format!("before {owner}"), &1)?;
                barrier.wait().await;
                session.sign_in(owner)?;
                session.insert(&format!("after {owner}"), &1)
            })
        });
        let mut ids = Vec::new();
        for (owner, request) in ["ada", "bob", "eve"].into_iter().zip(requests) {
            let opened = world.opens(&request.await.unwrap().assert_ok().token()).await.unwrap();
            assert_eq!(opened.owner.as_deref(), Some(owner));
            assert!(opened.keys.contains(&format!("after {owner}")));
            let foreign = |key: &&String| !key.ends_with(owner) && *key != "start";
            assert_eq!(opened.keys.iter().find(foreign), None);
            ids.push(opened.id);
        }
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 3);
        assert!(!world.is_live(&old).await);
    }
}

#[tokio::test]
async fn a_rotation_of_a_planted_session_that_is_committed_first_ends_with_a_dead_token() {
    let world = World::new();
    let planted = world.begin().await;
    let victim = world
        .hold(&planted, |session, gate| async move {
            gate.wait().await;
            sign_in_with_secret(session, "ada").await
        })
        .await;
    let attackers = world.send(&planted, |session| async move { session.rotate() }).await.token();
    let hers = victim.finish().await.assert_ok().token();
    assert_eq!(world.opens(&hers).await.unwrap().owner.as_deref(), Some("ada"));
    assert!(!world.is_live(&planted).await);
    assert!(!world.is_live(&attackers).await);
    world.advance(31 * SECOND);
    assert!(!world.is_live(&attackers).await);
}

#[tokio::test]
async fn a_rotation_of_a_planted_session_that_is_committed_second_gives_no_token() {
    let world = World::new();
    let planted = world.begin().await;
    let attacker = world
        .hold(&planted, |session, gate| async move {
            session.rotate()?;
            gate.wait().await;
            Ok(())
        })
        .await;
    let hers = world.send(&planted, |session| sign_in_with_secret(session, "ada")).await.token();
    attacker.finish().await.assert_silent(StatusCode::CONFLICT);
    assert!(!world.is_live(&planted).await);
    assert_eq!(world.opens(&hers).await.unwrap().owner.as_deref(), Some("ada"));
}

#[tokio::test]
async fn the_pending_token_that_a_periodic_rotation_gave_an_attacker_dies_with_the_sign_in() {
    let world = World::with(|layer| layer.with_lifetime(Lifetime::new().with_refresh_interval(MINUTE)));
    let planted = world.begin().await;
    world.advance(2 * MINUTE);
    let victim = world
        .hold(&planted, |session, gate| async move {
            gate.wait().await;
            sign_in_with_secret(session, "ada").await
        })
        .await;
    // The victim's own request does not end before, so this one is the attacker's.
    let pending = world.send(&planted, |session| async move { session.get::<bool>("start").map(|_| ()) }).await.token();
    let hers = victim.finish().await.assert_ok().token();
    for attackers in [&planted, &pending] {
        assert!(!world.is_live(attackers).await);
        world.insert(attackers, "planted", 1).await.assert_silent(StatusCode::CONFLICT);
    }
    assert_eq!(world.opens(&hers).await.unwrap().owner.as_deref(), Some("ada"));
    world.advance(31 * SECOND);
    for attackers in [&planted, &pending] {
        assert!(!world.is_live(attackers).await);
    }
    assert!(!world.saw(EventKind::Replayed), "nothing of an earlier epoch is a replay");
}

// guarantee: 14
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_an_attacker_does_at_once_with_a_sign_in_on_a_planted_session_gives_it_nothing() {
    for round in 0..ROUNDS {
        let world = World::new();
        let planted = world.begin().await;
        let barrier = Arc::new(Barrier::new(5));
        let attacks = (0..4).map(|place| {
            let barrier = Arc::clone(&barrier);
            world.spawn(&planted, move |session| async move {
                barrier.wait().await;
                match (round + place) % 6 {
                    0 | 1 => session.rotate(),
                    2 => session.insert("planted", &1),
                    3 => session.sign_in("mallory"),
                    4 => session.sign_out(),
                    _ => session.update_now("planted", |n: &mut u32| *n += 1).await,
                }
            })
        });
        let attacks: Vec<_> = attacks.collect();
        let gate = Arc::clone(&barrier);
        let victim = world.spawn(&planted, move |session| async move {
            gate.wait().await;
            sign_in_with_secret(session, "ada").await
        });
        let mut stolen = vec![planted.clone()];
        for attack in attacks {
            stolen.extend(attack.await.unwrap().given());
        }
        let answer = victim.await.unwrap();
        answer.assert_ok();
        if let Some(hers) = answer.given() {
            let opened = world.opens(&hers).await.expect("the victim's token works");
            assert_eq!(opened.owner.as_deref(), Some("ada"));
            assert!(opened.keys.contains(&"secret".to_owned()));
        }
        for token in stolen {
            if let Some(opened) = world.opens(&token).await {
                assert_eq!(opened.owner.as_deref(), Some("mallory"), "an attacker's token opens {opened:?}");
                assert!(!opened.keys.contains(&"secret".to_owned()));
            }
        }
    }
}

#[tokio::test]
async fn a_sign_in_whose_anonymous_session_is_ended_meanwhile_is_not_dropped() {
    let world = World::new();
    let planted = world.begin().await;
    let victim = world
        .hold(&planted, |session, gate| async move {
            sign_in_with_secret(session, "ada").await?;
            gate.wait().await;
            Ok(())
        })
        .await;
    world.send(&planted, |session| async move { session.sign_out() }).await.assert_ok();
    let answer = victim.finish().await;
    let opened = world.opens(&answer.assert_ok().token()).await.expect("a sign-in is never dropped");
    assert_eq!((opened.owner.as_deref(), opened.keys), (Some("ada"), vec!["secret".to_owned()]));
    assert_ne!(opened.id, session_of(&planted), "what was ended stays ended");
}

#[tokio::test]
async fn a_new_visitor_who_signs_in_gets_one_session_and_one_cookie() {
    let world = World::new();
    let answer = world
        .send(NOBODY, |session| async move {
            session.insert("cart", &1)?;
            session.sign_in("ada")
        })
        .await;
    let opened = world.opens(&answer.token()).await.unwrap();
    assert_eq!((opened.owner.as_deref(), opened.keys), (Some("ada"), vec!["cart".to_owned()]));
    assert_eq!(world.memory.len(), 1);
}
