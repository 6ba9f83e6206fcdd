//! The sessions of one owner: listed, noted, ended one by one or together, and limited in number.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::collections::BTreeMap;

use futures_util::future::join_all;
use http::StatusCode;
use sessile::event::{EndReason, EventKind};
use sessile::testing::Clock;
use sessile::{MemoryStore, SessionLayer};
use support::client::session_of;
use support::race::{Answer, MINUTE, NOBODY, SECOND, World};
use support::store::{Counts, Fault, Op};

fn limited(limit: usize) -> World {
    World::with(|layer| layer.with_owner_limit(limit))
}

async fn live(world: &World, tokens: &[String]) -> Vec<bool> {
    join_all(tokens.iter().map(|token| world.is_live(token))).await
}

// checklist: 28
#[tokio::test]
async fn the_sign_in_that_exceeds_the_limit_ends_the_oldest_by_its_sign_in() {
    let world = limited(2);
    // Begun first, and signed in last: what counts is the sign-in.
    let first_begun = world.begin().await;
    let mut tokens = Vec::new();
    for _ in 0..2 {
        world.advance(SECOND);
        tokens.push(world.begin_signed_in("ada").await);
    }
    world.advance(SECOND);
    tokens.push(world.send(&first_begun, |session| async move { session.sign_in("ada") }).await.token());
    assert_eq!(live(&world, &tokens).await, [false, true, true]);
    assert_eq!(world.events.ends(), [(session_of(&tokens[0]), EndReason::OwnerLimit)]);
}

#[tokio::test]
async fn the_limit_of_one_owner_is_nothing_to_another_and_nothing_to_anonymous_sessions() {
    let world = limited(1);
    let (anonymous, bob) = (world.begin().await, world.begin_signed_in("bob").await);
    world.advance(SECOND);
    let tokens = [world.begin_signed_in("ada").await, anonymous, bob];
    assert_eq!(live(&world, &tokens).await, [true; 3]);
}

// checklist: 28
#[tokio::test]
async fn twenty_sign_ins_at_once_leave_as_many_as_are_allowed() {
    for _ in 0..20 {
        let world = limited(3);
        let sign_in = |_| world.spawn(NOBODY, |session| async move { session.sign_in("ada") });
        let answers = join_all((0..20).map(sign_in)).await;
        let tokens: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().assert_ok().token()).collect();
        let left = live(&world, &tokens).await.into_iter().filter(|live| *live).count();
        assert_eq!(left, 3);
        assert_eq!(world.sessions().owned_by("ada").await.unwrap().len(), 3);
    }
}

#[tokio::test]
async fn a_sign_in_stands_where_the_limit_cannot_be_enforced_and_the_next_one_makes_up_for_it() {
    let world = limited(1);
    let first = world.begin_signed_in("ada").await;
    world.advance(SECOND);
    world.faults.fail_always(Op::Delete, Fault::Before);
    let second = world.send(NOBODY, |session| async move { session.sign_in("ada") }).await.assert_ok().token();
    assert_eq!(live(&world, &[first.clone(), second.clone()]).await, [true, true]);
    assert_eq!(world.events.count(EventKind::UpkeepFailed), 1);
    world.faults.heal();
    world.advance(SECOND);
    let third = world.begin_signed_in("ada").await;
    assert_eq!(live(&world, &[first, second, third]).await, [false, false, true]);
}

#[tokio::test]
async fn without_a_limit_a_sign_in_asks_for_no_index() {
    let world = World::new();
    let (_, counts) = world.cost(world.begin_signed_in("ada")).await;
    assert_eq!(counts, Counts::NONE.and_sets(1));
}

#[test]
fn a_limit_of_zero_is_refused_when_the_layer_is_built() {
    let error = SessionLayer::builder(MemoryStore::new()).with_owner_limit(0).build().unwrap_err();
    assert!(error.to_string().contains("owner limit"), "{error}");
}

#[tokio::test]
async fn an_owner_ends_a_session_of_its_own_and_nobody_elses() {
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

#[tokio::test]
async fn the_list_of_an_owners_sessions_says_when_and_what_was_noted() {
    let world = World::new();
    let phone = world.begin_signed_in("ada").await;
    note(&world, &phone, "user_agent", "Phone/1".into()).await.assert_ok();
    let began = Clock::from(&world.clock).now_utc();
    world.advance(10 * MINUTE);
    let laptop = world.begin_signed_in("ada").await;
    world.advance(10 * MINUTE);
    world.opens(&phone).await;
    let listed = world.sessions().owned_by("ada").await.unwrap();
    let [first, second] = &listed[..] else { panic!("two sessions, not {listed:?}") };
    assert_eq!((first.id(), second.id()), (session_of(&phone), session_of(&laptop)));
    assert_eq!(first.created_at().unix_timestamp(), began.unix_timestamp());
    assert_eq!(first.authenticated_at(), Some(began));
    assert_eq!(first.last_seen(), Clock::from(&world.clock).now_utc());
    assert_eq!(first.notes().unwrap(), BTreeMap::from([("user_agent".into(), "Phone/1".into())]));
    assert_eq!(second.notes().unwrap(), BTreeMap::new());
}

#[tokio::test]
async fn a_note_that_is_there_already_costs_no_write() {
    let world = World::new();
    let token = world.begin_signed_in("ada").await;
    note(&world, &token, "user_agent", "Phone/1".into()).await.assert_ok();
    let (_, counts) = world.cost(note(&world, &token, "user_agent", "Phone/1".into())).await;
    assert_eq!(counts, Counts::gets(1));
    let (_, counts) = world.cost(note(&world, &token, "user_agent", "Phone/2".into())).await;
    assert_eq!(counts, Counts::gets(1).and_sets(1));
}

#[tokio::test]
async fn notes_are_bounded_in_number_and_length_and_keep_to_one_line() {
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

#[tokio::test]
async fn notes_of_parallel_requests_are_all_kept() {
    let world = World::new();
    let token = world.begin_signed_in("ada").await;
    let names = ["agent", "address", "country", "app"];
    let all = names.map(|name| world.spawn(&token, move |session| async move { session.note(name, name) }));
    for answer in join_all(all).await {
        assert_eq!(answer.unwrap().status, StatusCode::OK);
    }
    assert_eq!(notes(&world, &token).await.len(), names.len());
}

#[tokio::test]
async fn notes_are_beside_the_values() {
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
    // So that the clearing is applied again, to what is stored by then.
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
    // Where there is nothing to clear, nothing is written.
    let (_, counts) = world.cost(world.send(&token, |session| async move { session.clear() })).await;
    assert_eq!(counts, Counts::gets(1));
}
