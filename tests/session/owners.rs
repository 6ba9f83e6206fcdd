//! An owner's sessions: the list, notes, ending one or all, and the owner limit.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use sessile::event::{EndReason, EventKind};
use sessile::testing::{Clock, ManualClock};
use sessile::{MemoryStore, SessionLayer};
use support::client::session_of;
use support::race::{Answer, HOUR, MINUTE, NO_TOKEN, SECOND, World};
use support::store::{Counts, Fault, Op};

fn limited(limit: usize) -> World {
    World::with(|layer| layer.with_owner_limit(limit))
}

async fn live(world: &World, tokens: &[String]) -> Vec<bool> {
    join_all(tokens.iter().map(|token| world.is_live(token))).await
}

// checklist: 28
/// With a limit of 2, the third sign-in ends the session with the oldest sign-in, not the one created first.
#[tokio::test]
async fn sign_in_over_the_owner_limit_ends_the_oldest_sign_in() {
    let world = limited(2);
    // The limit orders sessions by sign-in time, not by creation time.
    let created_first = world.begin().await;
    let mut tokens = Vec::new();
    for _ in 0..2 {
        world.advance(SECOND);
        tokens.push(world.begin_signed_in("ada").await);
    }
    world.advance(SECOND);
    tokens.push(world.send(&created_first, |session| async move { session.sign_in("ada") }).await.token());
    assert_eq!(live(&world, &tokens).await, [false, true, true]);
    assert_eq!(world.events.ends(), [(session_of(&tokens[0]), EndReason::OwnerLimit)]);
}

/// With a limit of 1, a sign-in ends neither an anonymous session nor one of another owner.
#[tokio::test]
async fn owner_limit_counts_only_sessions_of_that_owner() {
    let world = limited(1);
    let (anonymous, bob) = (world.begin().await, world.begin_signed_in("bob").await);
    world.advance(SECOND);
    let tokens = [world.begin_signed_in("ada").await, anonymous, bob];
    assert_eq!(live(&world, &tokens).await, [true; 3]);
}

// checklist: 28
/// A session past its idle timeout ends before a live one with an older sign-in, and only if the limit is exceeded.
#[tokio::test]
async fn owner_limit_ends_sessions_past_the_idle_timeout_first() {
    for (limit, is_kept) in [(2, false), (3, true)] {
        let world = limited(limit);
        let live_one = world.begin_signed_in("ada").await;
        world.advance(SECOND);
        let idle = world.begin_signed_in("ada").await;
        let slow = world.hold(&idle, |session, gate| async move {
            gate.wait().await;
            session.insert("upload", &true)
        });
        let slow = slow.await;
        world.advance(HOUR / 2);
        world.insert(&live_one, "n", 1).await.assert_ok();
        world.advance(HOUR / 2 + MINUTE);
        let new = world.begin_signed_in("ada").await;
        slow.finish().await;
        assert_eq!(live(&world, &[live_one, idle, new]).await, [true, is_kept, true], "limit {limit}");
    }
}

// checklist: 28
/// Twenty concurrent sign-ins under a limit of 3 leave at least three sessions, and the next one exactly three.
///
/// Each spares its own session, so one that is stored last and ordered first may be a fourth until then.
#[tokio::test]
async fn concurrent_sign_ins_converge_to_the_owner_limit() {
    for _ in 0..20 {
        let world = limited(3);
        let sign_in = |_| world.spawn(NO_TOKEN, |session| async move { session.sign_in("ada") });
        let answers = join_all((0..20).map(sign_in)).await;
        let mut tokens: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().assert_ok().token()).collect();
        assert!(live(&world, &tokens).await.into_iter().filter(|live| *live).count() >= 3);
        world.advance(SECOND);
        tokens.push(world.begin_signed_in("ada").await);
        let left = live(&world, &tokens).await;
        assert_eq!((left.iter().filter(|live| **live).count(), left.last()), (3, Some(&true)));
        assert_eq!(world.sessions().owned_by("ada").await.unwrap().len(), 3);
    }
}

/// With the end failing, a sign-in over the limit succeeds and reports `UpkeepFailed`; the next one ends both others.
#[tokio::test]
async fn sign_in_succeeds_if_enforcing_the_owner_limit_fails() {
    let world = limited(1);
    let first = world.begin_signed_in("ada").await;
    world.advance(SECOND);
    // The first `set` is the sign-in's.
    (2..5).for_each(|nth| world.faults.fail(Op::Set, nth, Fault::Before));
    let second = world.send(NO_TOKEN, |session| async move { session.sign_in("ada") }).await.assert_ok().token();
    assert_eq!(live(&world, &[first.clone(), second.clone()]).await, [true, true]);
    assert_eq!(world.events.count(EventKind::UpkeepFailed), 1);
    world.faults.heal();
    world.advance(SECOND);
    let third = world.begin_signed_in("ada").await;
    assert_eq!(live(&world, &[first, second, third]).await, [false, false, true]);
}

/// Returns a world over the store of another one, whose clock is ahead of its own by three seconds.
fn behind(ahead: &World, limit: usize) -> World {
    let clock = ManualClock::at(ahead.clock.now() - 3 * SECOND);
    World::over(ahead.memory.clone(), clock, |layer| layer.with_owner_limit(limit))
}

// checklist: 28
/// A node three seconds behind signs in over the limit: no session ends for it, and the next sign-in settles the limit.
#[tokio::test]
async fn sign_in_of_a_node_behind_survives_the_owner_limit() {
    let ahead = limited(2);
    let behind = behind(&ahead, 2);
    let mut tokens = Vec::new();
    for _ in 0..2 {
        tokens.push(ahead.begin_signed_in("ada").await);
        ahead.advance(Duration::from_millis(1));
    }
    tokens.push(behind.begin_signed_in("ada").await);
    assert_eq!(live(&ahead, &tokens).await, [true, true, true]);
    assert_eq!((ahead.events.ends(), behind.events.ends()), (Vec::new(), Vec::new()));
    tokens.push(ahead.begin_signed_in("ada").await);
    assert_eq!(live(&ahead, &tokens).await, [false, true, false, true]);
}

// checklist: 28
/// Of two sign-ins at once under a limit of 1, the newer one survives, whichever node is behind and whichever waits.
#[tokio::test]
async fn one_of_two_sign_ins_at_once_survives_the_owner_limit() {
    let sign_in = |session: sessile::Session| async move { session.sign_in("ada") };
    for slow_is_behind in [false, true] {
        for holds_both in [false, true] {
            let ahead = limited(1);
            let behind = behind(&ahead, 1);
            let (slow, quick) = if slow_is_behind { (&behind, &ahead) } else { (&ahead, &behind) };
            // Each has stored its session, and looks for surplus ones after the other has stored its own.
            let slow_gate = slow.faults.hold_after(Op::Set, 1);
            let slow_answer = slow.spawn(NO_TOKEN, sign_in);
            slow_gate.reached().await;
            let quick_gate = quick.faults.hold_after(Op::Set, 1);
            let quick_answer = quick.spawn(NO_TOKEN, sign_in);
            quick_gate.reached().await;
            if holds_both {
                slow_gate.release();
            } else {
                quick_gate.release();
            }
            let (first, second) = if holds_both { (slow_answer, quick_answer) } else { (quick_answer, slow_answer) };
            let first = first.await.unwrap().assert_ok().token();
            slow_gate.release();
            quick_gate.release();
            let second = second.await.unwrap().assert_ok().token();
            let newer_is_first = slow_is_behind != holds_both;
            assert_eq!(live(&ahead, &[first, second]).await, [newer_is_first, !newer_is_first]);
        }
    }
}

/// Without an owner limit, a sign-in costs one set and no `owned_by`.
#[tokio::test]
async fn sign_in_without_owner_limit_lists_no_sessions() {
    let world = World::new();
    let (_, counts) = world.cost(world.begin_signed_in("ada")).await;
    assert_eq!(counts, Counts::NONE.and_sets(1));
}

/// `build` fails with an error that names the owner limit.
#[test]
fn owner_limit_of_zero_is_a_config_error() {
    let error = SessionLayer::builder(MemoryStore::new()).with_owner_limit(0).build().unwrap_err();
    assert!(error.to_string().contains("owner limit"), "{error}");
}

/// It ends a session of that owner once, and neither another owner's session nor an anonymous one.
#[tokio::test]
async fn end_if_owned_by_checks_the_owner() {
    let world = World::new();
    let (ada, bob) = (world.begin_signed_in("ada").await, world.begin_signed_in("bob").await);
    let anonymous = world.begin().await;
    let sessions = world.sessions();
    for token in [&bob, &anonymous] {
        assert!(!sessions.end_if_owned_by(&session_of(token), "ada").await.unwrap());
    }
    assert!(sessions.end_if_owned_by(&session_of(&ada), "ada").await.unwrap());
    assert!(!sessions.end_if_owned_by(&session_of(&ada), "ada").await.unwrap());
    assert_eq!(live(&world, &[ada.clone(), bob, anonymous]).await, [false, true, true]);
    assert_eq!(world.events.ends(), [(session_of(&ada), EndReason::Revoked)]);
}

async fn note(world: &World, token: &str, name: &'static str, text: String) -> Answer {
    world.send(token, move |session| async move { session.note(name, &text) }).await
}

async fn notes(world: &World, token: &str) -> BTreeMap<String, String> {
    world.quiet().find_by_id(&session_of(token)).await.unwrap().unwrap().notes().unwrap()
}

/// Two sessions are listed oldest first, with creation, sign-in and last-seen times and the notes of each.
#[tokio::test]
async fn owner_list_has_times_and_notes() {
    let world = World::new();
    let phone = world.begin_signed_in("ada").await;
    note(&world, &phone, "user_agent", "Phone/1".into()).await.assert_ok();
    let sign_in_time = Clock::from(&world.clock).now_utc();
    world.advance(10 * MINUTE);
    let laptop = world.begin_signed_in("ada").await;
    world.advance(10 * MINUTE);
    world.opens(&phone).await;
    let listed = world.sessions().owned_by("ada").await.unwrap();
    let [first, second] = &listed[..] else { panic!("two sessions, not {listed:?}") };
    assert_eq!((first.id(), second.id()), (session_of(&phone), session_of(&laptop)));
    assert_eq!(first.created_at().unix_timestamp(), sign_in_time.unix_timestamp());
    assert_eq!(first.authenticated_at(), Some(sign_in_time));
    assert_eq!(first.last_seen(), Clock::from(&world.clock).now_utc());
    assert_eq!(first.notes().unwrap(), BTreeMap::from([("user_agent".into(), "Phone/1".into())]));
    assert_eq!(second.notes().unwrap(), BTreeMap::new());
}

/// Setting a note to its present text costs one get; another text costs a set as well.
#[tokio::test]
async fn unchanged_note_costs_no_write() {
    let world = World::new();
    let token = world.begin_signed_in("ada").await;
    note(&world, &token, "user_agent", "Phone/1".into()).await.assert_ok();
    let (_, counts) = world.cost(note(&world, &token, "user_agent", "Phone/1".into())).await;
    assert_eq!(counts, Counts::gets(1));
    let (_, counts) = world.cost(note(&world, &token, "user_agent", "Phone/2".into())).await;
    assert_eq!(counts, Counts::gets(1).and_sets(1));
}

/// A note loses its control characters and is cut to about 250 bytes; ten names leave eight notes.
#[tokio::test]
async fn notes_are_limited_in_number_and_length() {
    let world = World::new();
    let token = world.begin_signed_in("ada").await;
    note(&world, &token, "agent", format!("a\r\nb\0{}", "é".repeat(500))).await.assert_ok();
    let noted = notes(&world, &token).await.remove("agent").unwrap();
    assert!(noted.starts_with("a  b é"), "{noted:?}");
    assert!((250..=251).contains(&noted.len()), "{} bytes", noted.len());
    for name in ["b", "c", "d", "e", "f", "g", "h", "i", "j"] {
        note(&world, &token, name, name.to_owned()).await.assert_ok();
    }
    assert_eq!(notes(&world, &token).await.len(), 8);
}

/// Four concurrent requests that set one note each leave all four.
#[tokio::test]
async fn notes_of_concurrent_requests_are_merged() {
    let world = World::new();
    let token = world.begin_signed_in("ada").await;
    let names = ["agent", "address", "country", "app"];
    let all = names.map(|name| world.spawn(&token, move |session| async move { session.note(name, name) }));
    for answer in join_all(all).await {
        assert_eq!(answer.unwrap().status, StatusCode::OK);
    }
    assert_eq!(notes(&world, &token).await.len(), names.len());
}

/// Notes are no session keys, and `clear` keeps them, also one that a concurrent request has just set.
#[tokio::test]
async fn clear_keeps_notes() {
    let world = World::new();
    let token = world.begin_signed_in("ada").await;
    note(&world, &token, "user_agent", "Firefox".to_owned()).await.assert_ok();
    world.insert(&token, "n", 1).await.assert_ok();
    let slow = world
        .hold(&token, |session, gate| async move {
            assert_eq!(session.keys(), ["n"]);
            session.clear()?;
            assert!(session.keys().is_empty());
            gate.wait().await;
            Ok(())
        })
        .await;
    // A concurrent write makes the commit apply `clear` again to the newer record.
    note(&world, &token, "address", "192.0.2.1".to_owned()).await.assert_ok();
    slow.finish().await.assert_ok();
    let noted = notes(&world, &token).await;
    assert_eq!(
        noted.into_iter().collect::<Vec<_>>(),
        [("address".to_owned(), "192.0.2.1".to_owned()), ("user_agent".to_owned(), "Firefox".to_owned())]
    );
    let stored = world.sessions().find_by_id(&session_of(&token)).await.unwrap().unwrap();
    assert!(stored.keys().is_empty());
    assert!(stored.to::<BTreeMap<String, u32>>().unwrap().is_empty());
    // An empty session has nothing to clear, so nothing is written.
    let (_, counts) = world.cost(world.send(&token, |session| async move { session.clear() })).await;
    assert_eq!(counts, Counts::gets(1));
}
