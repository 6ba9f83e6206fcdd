//! Sign-in with concurrent requests, including those of another owner or an attacker.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use sessile::event::EventKind;
use sessile::{ErrorKind, Lifetime, Session};
use support::client::session_of;
use support::race::{Answer, DAY, HOUR, MINUTE, NO_TOKEN, SECOND, World};
use support::store::{Fault, Gate, Op};
use tokio::sync::Barrier;

const ROUNDS: usize = 60;

async fn sign_in(world: &World, token: &str, owner: &'static str) -> Answer {
    world.send(token, move |session| async move { session.sign_in(owner) }).await
}

/// Signs the owner in and inserts a value that only the owner may read.
async fn sign_in_with_secret(session: Session, owner: &'static str) -> Result<(), sessile::Error> {
    session.sign_in(owner)?;
    session.insert("secret", owner)
}

/// An anonymous session gets its owner and a new token; the old token opens nothing.
#[tokio::test]
async fn sign_in_keeps_keys_and_id_and_changes_the_token() {
    let world = World::new();
    let old = world.begin().await;
    let new = sign_in(&world, &old, "ada").await.assert_ok().token();
    let opened = world.opens(&new).await.unwrap();
    assert_eq!((opened.owner.as_deref(), opened.id), (Some("ada"), session_of(&old)));
    assert_eq!(opened.keys, ["start"]);
    assert!(!world.is_live(&old).await);
    assert_eq!(world.memory.len(), 1);
}

/// Bob's sign-in on Ada's session ends it and creates one with only the keys written after the sign-in.
#[tokio::test]
async fn sign_in_over_another_owner_ends_that_owners_session() {
    let world = World::new();
    let old = world.begin_signed_in("ada").await;
    world.insert(&old, "ada's", 1).await.assert_ok();
    let answer = world
        .send(&old, |session| async move {
            session.insert("also ada's", &1)?;
            session.sign_in("bob")?;
            session.insert("bob's", &1)
        })
        .await;
    let opened = world.opens(&answer.token()).await.unwrap();
    assert_eq!((opened.owner.as_deref(), opened.keys), (Some("bob"), vec!["bob's".to_owned()]));
    assert_ne!(opened.id, session_of(&old));
    assert!(!world.is_live(&old).await);
    assert!(world.sessions().find_by_id(&session_of(&old)).await.unwrap().is_none());
    assert!(world.sessions().owned_by("ada").await.unwrap().is_empty());
}

/// Another sign-in of the same owner keeps keys and id, changes the token, and restarts both timeouts.
#[tokio::test]
async fn second_sign_in_of_the_owner_restarts_the_timeouts() {
    let world = World::with(|layer| {
        layer.with_lifetime(Lifetime::new().with_idle_timeout(HOUR).with_absolute_timeout(2 * HOUR))
    });
    let first = world.begin_signed_in("ada").await;
    world.insert(&first, "ada's", 1).await.assert_ok();
    for _ in 0..3 {
        world.advance(35 * MINUTE);
        assert!(world.is_live(&first).await);
    }
    let second = sign_in(&world, &first, "ada").await.token();
    assert_eq!(session_of(&second), session_of(&first));
    assert!(!world.is_live(&first).await);
    world.advance(59 * MINUTE);
    assert!(world.is_live(&second).await, "the second sign-in restarts the timeouts");
    assert_eq!(world.opens(&second).await.unwrap().keys, ["ada's"]);
    let stored = world.sessions().find_by_id(&session_of(&second)).await.unwrap().unwrap();
    assert_eq!(stored.authenticated_at(), Some(world.clock.now() - 59 * MINUTE));
}

/// A write of the anonymous session that commits after a sign-in is refused, and `Superseded` is reported.
#[tokio::test]
async fn writer_overtaken_by_a_sign_in_answers_409() {
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

/// Runs an operation in a request that loaded its session before a sign-in; returns its answer and the new token.
async fn overtaken_by_a_sign_in(world: &World, operation: &'static str) -> (Answer, String) {
    let old = world.begin().await;
    let slow = world
        .hold(&old, move |session, gate| async move {
            gate.wait().await;
            let superseded = |error: sessile::Error| {
                assert_eq!(error.kind(), ErrorKind::Superseded);
                error
            };
            match operation {
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
/// Each of eleven operations that a sign-in overtakes answers 409, sets no cookie and changes nothing.
#[tokio::test]
async fn no_operation_overtaken_by_a_sign_in_is_committed() {
    let operations = [
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
    for operation in operations {
        let world = World::new();
        let (answer, new) = overtaken_by_a_sign_in(&world, operation).await;
        assert_eq!(answer.status, StatusCode::CONFLICT, "{operation}");
        assert!(answer.set.is_empty(), "{operation}: {answer:?}");
        let opened = world.opens(&new).await.unwrap_or_else(|| panic!("{operation} ended the session"));
        assert_eq!((opened.owner.as_deref(), opened.keys), (Some("ada"), vec!["start".to_owned()]), "{operation}");
        assert_eq!(world.read::<bool>(&new, "start").await, Some(true), "{operation}");
        world.advance(2 * HOUR);
        assert!(!world.is_live(&new).await, "{operation} changed the lifetime");
    }
}

// guarantee: 14
/// A request that loaded before a sign-in reads neither the owner nor a value written with it.
#[tokio::test]
async fn reader_overtaken_by_a_sign_in_sees_the_earlier_state() {
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

/// A commit's reply is lost and a sign-in follows: the request sees none of its state, and sets and writes nothing.
#[tokio::test]
async fn retry_after_a_lost_reply_shows_nothing_of_a_sign_in() {
    let world = World::new();
    let old = world.begin().await;
    // The write is applied and its reply lost. The sign-in commits before the layer reads the record again.
    world.faults.fail(Op::Set, 1, Fault::After);
    let gate = world.faults.hold_before(Op::Get, 2);
    let slow = world.spawn(&old, |session| async move {
        session.update_now("n", |n: &mut u32| *n += 1).await?;
        let seen = session.get::<String>("secret")?;
        assert_eq!(seen, None, "a value of the sign-in");
        assert_eq!(session.owner(), None, "the owner of the sign-in");
        session.insert("slow", &1)?;
        session.rotate()
    });
    gate.reached().await;
    let new = world.send(&old, |session| sign_in_with_secret(session, "ada")).await.token();
    gate.release();
    let answer = slow.await.unwrap();
    assert_eq!(answer.new_token(), None, "{answer:?}");
    let opened = world.opens(&new).await.expect("the token of the sign-in opens the session");
    assert!(!opened.keys.contains(&"slow".to_owned()), "a write of the anonymous session was committed: {opened:?}");
}

/// Of two sign-ins on one session, the loser's detached handle neither reads nor writes the winner's session.
#[tokio::test]
async fn detached_session_of_a_losing_sign_in_stays_separate() {
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
            assert!(written.await.is_err(), "mallory's write was committed to ada's session");
            assert!(detached.reload().await.is_err(), "mallory reloads ada's session");
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

/// The new session has the owner and no keys; the rotated session stays anonymous.
#[tokio::test]
async fn sign_in_under_a_retired_token_creates_a_new_session() {
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

/// Sends sign-ins of one owner that all load the session before the first of them commits.
async fn concurrent_sign_ins(world: &World, token: &str, times: usize) -> Vec<Answer> {
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

/// Of 2 or 20 concurrent sign-ins, the token of any one response opens the one session with all writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn double_submitted_sign_in_keeps_either_response_valid() {
    for times in [2, 20] {
        for kept in 0..ROUNDS / 3 {
            let world = World::new();
            let old = world.begin().await;
            let answers = concurrent_sign_ins(&world, &old, times).await;
            let kept = &answers[kept % times];
            let opened = world.opens(&kept.assert_ok().token()).await.expect("the response's cookie opens the session");
            assert_eq!((opened.owner.as_deref(), opened.id), (Some("ada"), session_of(&old)));
            assert_eq!(opened.keys.len(), times + 1, "the writes of all sign-ins are kept");
            assert!(!world.is_live(&old).await);
            assert_eq!(world.memory.len(), 1);
        }
    }
}

/// All twenty tokens work in turn; after 31 seconds only the last used one does, without a replay.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tokens_of_concurrent_sign_ins_work_side_by_side() {
    let world = World::new();
    let old = world.begin().await;
    let answers = concurrent_sign_ins(&world, &old, 20).await;
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
    assert_eq!(live, 1, "only the token that was used last is live");
    assert!(!world.saw(EventKind::Replayed), "a token of a concurrent sign-in is not a replay");
}

// guarantee: 3
/// Thirty seconds after its issue, a pending token is retired when another one is presented.
#[tokio::test]
async fn unused_token_of_a_concurrent_sign_in_expires() {
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
        world.advance(30 * SECOND);
        assert_eq!(world.is_live(&third).await, works);
        assert_eq!(world.saw(EventKind::Replayed), !works);
    }
}

/// Three owners sign in on one session at once: three sessions, each without the others' keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_sign_ins_of_different_owners_get_own_sessions() {
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

/// The attacker's rotation of a planted session commits before the victim's sign-in: its token opens nothing after it.
#[tokio::test]
async fn rotation_before_a_fixated_sign_in_gives_no_access() {
    let world = World::new();
    let planted = world.begin().await;
    let victim = world
        .hold(&planted, |session, gate| async move {
            gate.wait().await;
            sign_in_with_secret(session, "ada").await
        })
        .await;
    let attacker_token = world.send(&planted, |session| async move { session.rotate() }).await.token();
    let victim_token = victim.finish().await.assert_ok().token();
    assert_eq!(world.opens(&victim_token).await.unwrap().owner.as_deref(), Some("ada"));
    assert!(!world.is_live(&planted).await);
    assert!(!world.is_live(&attacker_token).await);
    world.advance(31 * SECOND);
    assert!(!world.is_live(&attacker_token).await);
}

/// The attacker's rotation of a planted session commits after the victim's sign-in: 409 without a cookie.
#[tokio::test]
async fn rotation_after_a_fixated_sign_in_yields_no_token() {
    let world = World::new();
    let planted = world.begin().await;
    let attacker = world
        .hold(&planted, |session, gate| async move {
            session.rotate()?;
            gate.wait().await;
            Ok(())
        })
        .await;
    let victim_token = world.send(&planted, |session| sign_in_with_secret(session, "ada")).await.token();
    attacker.finish().await.assert_silent(StatusCode::CONFLICT);
    assert!(!world.is_live(&planted).await);
    assert_eq!(world.opens(&victim_token).await.unwrap().owner.as_deref(), Some("ada"));
}

/// A refresh gives the attacker a pending token during the victim's sign-in: after it, that token opens nothing.
#[tokio::test]
async fn sign_in_retires_a_pending_token_of_the_attacker() {
    let world = World::with(|layer| layer.with_lifetime(Lifetime::new().with_refresh_interval(MINUTE)));
    let planted = world.begin().await;
    world.advance(2 * MINUTE);
    let victim = world
        .hold(&planted, |session, gate| async move {
            gate.wait().await;
            sign_in_with_secret(session, "ada").await
        })
        .await;
    // The victim's request has not responded yet, so this request and its token are the attacker's.
    let pending = world.send(&planted, |session| async move { session.get::<bool>("start").map(|_| ()) }).await.token();
    let victim_token = victim.finish().await.assert_ok().token();
    for attacker_token in [&planted, &pending] {
        assert!(!world.is_live(attacker_token).await);
        world.insert(attacker_token, "planted", 1).await.assert_silent(StatusCode::CONFLICT);
    }
    assert_eq!(world.opens(&victim_token).await.unwrap().owner.as_deref(), Some("ada"));
    world.advance(31 * SECOND);
    for attacker_token in [&planted, &pending] {
        assert!(!world.is_live(attacker_token).await);
    }
    assert!(!world.saw(EventKind::Replayed), "a token from before the sign-in is not a replay");
}

// guarantee: 14
/// Four concurrent operations of the attacker race the victim's sign-in: none of its tokens opens the victim's session.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_attacks_on_a_fixated_sign_in_fail() {
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
        let mut attacker_tokens = vec![planted.clone()];
        for attack in attacks {
            attacker_tokens.extend(attack.await.unwrap().new_token());
        }
        let answer = victim.await.unwrap();
        answer.assert_ok();
        if let Some(victim_token) = answer.new_token() {
            let opened = world.opens(&victim_token).await.expect("the victim's token opens a session");
            assert_eq!(opened.owner.as_deref(), Some("ada"));
            assert!(opened.keys.contains(&"secret".to_owned()));
        }
        for token in attacker_tokens {
            if let Some(opened) = world.opens(&token).await {
                assert_eq!(opened.owner.as_deref(), Some("mallory"), "an attacker's token opens {opened:?}");
                assert!(!opened.keys.contains(&"secret".to_owned()));
            }
        }
    }
}

/// The anonymous session ends before the sign-in commits: the owner gets another session with the sign-in's keys.
#[tokio::test]
async fn sign_in_on_a_session_ended_meanwhile_creates_a_new_one() {
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
    let opened = world.opens(&answer.assert_ok().token()).await.expect("the sign-in was dropped");
    assert_eq!((opened.owner.as_deref(), opened.keys), (Some("ada"), vec!["secret".to_owned()]));
    assert_ne!(opened.id, session_of(&planted), "the ended session is not reused");
}

/// A first request that writes and signs in stores one session with its key and sets one cookie.
#[tokio::test]
async fn sign_in_without_a_session_creates_one() {
    let world = World::new();
    let answer = world
        .send(NO_TOKEN, |session| async move {
            session.insert("cart", &1)?;
            session.sign_in("ada")
        })
        .await;
    let opened = world.opens(&answer.token()).await.unwrap();
    assert_eq!((opened.owner.as_deref(), opened.keys), (Some("ada"), vec!["cart".to_owned()]));
    assert_eq!(world.memory.len(), 1);
}
