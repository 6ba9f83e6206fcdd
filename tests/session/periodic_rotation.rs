//! Periodic rotation: in two halves, since a response can be lost, and with an eye on tokens that come back.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use sessile::Lifetime;
use sessile::event::EventKind;
use support::client::session_of;
use support::race::{Answer, DAY, HOUR, Held, MINUTE, SECOND, World};
use support::store::{Counts, Fault, Op, random};
use tokio::sync::Barrier;

const PERIOD: Duration = MINUTE;
const MILLISECOND: Duration = Duration::from_millis(1);

fn world() -> World {
    World::with(|layer| layer.with_lifetime(Lifetime::new().with_refresh_interval(PERIOD)))
}

async fn read(world: &World, token: &str) -> Answer {
    world.send(token, |session| async move { session.get::<bool>("start").map(|_| ()) }).await
}

/// A session whose token is due to be renewed.
async fn due(world: &World) -> String {
    let token = world.begin().await;
    world.advance(PERIOD);
    token
}

/// A session with a token and the pending one beside it.
async fn pending(world: &World) -> (String, String) {
    let old = due(world).await;
    let new = read(world, &old).await.assert_ok().token();
    (old, new)
}

/// A session whose renewed token the client has presented; the replaced one and the renewed one.
async fn replaced(world: &World) -> (String, String) {
    let (old, new) = pending(world).await;
    read(world, &new).await.assert_silent(StatusCode::OK);
    (old, new)
}

#[tokio::test]
async fn a_token_is_renewed_when_it_is_due_and_not_before() {
    let world = world();
    let old = world.begin().await;
    world.advance(PERIOD - SECOND);
    let (answer, counts) = world.cost(read(&world, &old)).await;
    answer.assert_silent(StatusCode::OK);
    assert_eq!(counts, Counts::gets(1));
    world.advance(SECOND);
    let (answer, counts) = world.cost(read(&world, &old)).await;
    let new = answer.assert_ok().token();
    assert_eq!(counts, Counts::gets(1).and_sets(1));
    assert_ne!(new, old);
    assert_eq!(session_of(&new), session_of(&old));
    assert_eq!(world.events.count(EventKind::Refreshed), 1);
    assert_eq!(world.opens(&new).await.unwrap().keys, ["start"]);
}

#[tokio::test]
async fn a_token_that_is_due_is_renewed_with_the_write_of_the_request() {
    let world = world();
    let old = due(&world).await;
    let (answer, counts) = world.cost(world.insert(&old, "n", 1)).await;
    assert_eq!(counts, Counts::gets(1).and_sets(1));
    assert_eq!(world.opens(&answer.token()).await.unwrap().keys, ["start", "n"]);
}

#[tokio::test]
async fn where_the_response_is_lost_the_old_token_goes_on_and_another_is_issued_after_the_grace() {
    let world = world();
    let (old, lost) = pending(&world).await;
    for _ in 0..3 {
        world.advance(9 * SECOND);
        read(&world, &old).await.assert_silent(StatusCode::OK);
        world.insert(&old, "n", 1).await.assert_silent(StatusCode::OK);
    }
    world.advance(3 * SECOND);
    let second = read(&world, &old).await.assert_ok().token();
    assert_ne!(second, lost);
    assert!(world.is_live(&old).await);
    assert!(world.is_live(&second).await);
}

#[tokio::test]
async fn the_old_token_goes_on_for_as_long_as_the_new_one_is_not_seen() {
    let world = world();
    let old = due(&world).await;
    for _ in 0..100 {
        assert!(world.is_live(&old).await, "nobody is signed out by lost responses");
        world.advance(20 * SECOND);
    }
    assert!(!world.saw(EventKind::Replayed));
}

#[tokio::test]
async fn the_new_token_takes_over_when_it_is_seen_and_the_old_one_has_a_grace() {
    let world = world();
    let (old, new) = pending(&world).await;
    let (answer, counts) = world.cost(read(&world, &new)).await;
    answer.assert_silent(StatusCode::OK);
    assert_eq!(counts, Counts::gets(1).and_sets(1));
    read(&world, &new).await.assert_silent(StatusCode::OK);

    world.advance(30 * SECOND - MILLISECOND);
    read(&world, &old).await.assert_silent(StatusCode::OK);
    world.insert(&old, "late", 1).await.assert_silent(StatusCode::OK);
    assert_eq!(world.opens(&new).await.unwrap().keys, ["start", "late"]);
    world.send(&old, |session| async move { session.rotate() }).await.assert_silent(StatusCode::CONFLICT);
    world.send(&old, |session| async move { session.sign_in("ada") }).await.assert_silent(StatusCode::CONFLICT);
    assert!(!world.saw(EventKind::Replayed));

    world.advance(MILLISECOND);
    assert!(!world.is_live(&old).await);
    assert_eq!(world.events.count(EventKind::Replayed), 1);
    assert!(world.is_live(&new).await);
}

// checklist: 34
#[tokio::test]
async fn a_replaced_token_that_comes_back_is_a_replay_each_time() {
    let world = world();
    let (old, new) = replaced(&world).await;
    world.advance(10 * MINUTE);
    for times in 1..=3 {
        assert!(!world.is_live(&old).await);
        assert_eq!(world.events.count(EventKind::Replayed), times);
    }
    let events = world.events.take();
    assert!(events.contains(&(EventKind::Replayed, Some(session_of(&new)))));
}

#[tokio::test]
async fn of_the_tokens_that_were_replaced_the_last_eight_are_told_as_replays() {
    let world = world();
    let mut token = world.begin().await;
    let mut replaced = Vec::new();
    for _ in 0..12 {
        world.advance(PERIOD);
        let new = read(&world, &token).await.token();
        read(&world, &new).await.assert_silent(StatusCode::OK);
        replaced.push(std::mem::replace(&mut token, new));
    }
    world.advance(31 * SECOND);
    for (newer, old) in replaced.iter().rev().enumerate() {
        let before = world.events.count(EventKind::Replayed);
        assert!(!world.is_live(old).await);
        assert_eq!(world.events.count(EventKind::Replayed) - before, usize::from(newer < 8), "{newer} are newer");
    }
    assert!(world.is_live(&token).await);
}

#[tokio::test]
async fn a_token_that_was_replaced_thirty_seconds_before_a_rotation_is_a_replay_after_it_and_one_of_later_is_not() {
    for (waited, replays) in [(30 * SECOND - MILLISECOND, 0), (30 * SECOND, 1)] {
        let world = world();
        let (old, new) = replaced(&world).await;
        world.advance(waited);
        world.send(&new, |session| async move { session.rotate() }).await.token();
        assert!(!world.is_live(&old).await);
        assert_eq!(world.events.count(EventKind::Replayed), replays);
    }
}

#[tokio::test]
async fn what_an_explicit_rotation_has_retired_is_no_replay_and_nor_is_what_was_replaced_before_a_sign_in() {
    let world = world();
    let (old, new) = replaced(&world).await;
    world.advance(40 * SECOND);
    let answer = world.send(&new, |session| async move { session.sign_in("ada") }).await;
    let newest = answer.token();
    for _ in 0..2 {
        assert!(!world.is_live(&old).await);
        assert!(!world.is_live(&new).await);
        world.advance(MINUTE);
    }
    assert!(!world.saw(EventKind::Replayed));
    assert!(world.is_live(&newest).await);
}

#[tokio::test]
async fn the_next_period_counts_from_when_the_new_token_took_over() {
    let world = world();
    let (_, new) = pending(&world).await;
    world.advance(20 * SECOND);
    read(&world, &new).await.assert_silent(StatusCode::OK);
    world.advance(PERIOD - SECOND);
    read(&world, &new).await.assert_silent(StatusCode::OK);
    world.advance(SECOND);
    assert!(read(&world, &new).await.given().is_some());
}

#[tokio::test]
async fn an_explicit_rotation_kills_the_pending_and_the_replaced_token_at_once() {
    let world = world();
    let (old, new) = pending(&world).await;
    let rotated = world.send(&old, |session| async move { session.rotate() }).await.token();
    for dead in [&old, &new] {
        assert!(!world.is_live(dead).await);
        world.insert(dead, "late", 1).await.assert_silent(StatusCode::CONFLICT);
    }
    assert!(world.is_live(&rotated).await);

    let world = self::world();
    let (old, new) = replaced(&world).await;
    let rotated = world.send(&new, |session| async move { session.rotate() }).await.token();
    for dead in [&old, &new] {
        assert!(!world.is_live(dead).await);
        world.insert(dead, "late", 1).await.assert_silent(StatusCode::CONFLICT);
    }
    assert!(world.is_live(&rotated).await);
}

#[tokio::test]
async fn a_pending_token_can_rotate_and_sign_in() {
    let world = world();
    let (old, new) = pending(&world).await;
    let signed_in = world.send(&new, |session| async move { session.sign_in("ada") }).await.token();
    assert_eq!(world.opens(&signed_in).await.unwrap().owner.as_deref(), Some("ada"));
    assert!(!world.is_live(&old).await);
    assert!(!world.is_live(&new).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_requests_at_the_time_it_is_due_one_issues_a_token() {
    for round in 0..30 {
        let world = world();
        let old = due(&world).await;
        let barrier = Arc::new(Barrier::new(20));
        let requests: Vec<_> = (0..20)
            .map(|place| {
                let barrier = Arc::clone(&barrier);
                world.spawn(&old, move |session| async move {
                    barrier.wait().await;
                    if (place + round) % 2 == 0 { session.update("n", |n: &mut u32| *n += 1) } else { Ok(()) }
                })
            })
            .collect();
        let mut given = Vec::new();
        for request in requests {
            given.extend(request.await.unwrap().assert_ok().given());
        }
        assert_eq!(given.len(), 1);
        assert!(world.is_live(&old).await);
        assert_eq!(world.read::<u32>(&given[0], "n").await, Some(10));
        assert_eq!(world.events.count(EventKind::Refreshed), 1);
    }
}

// checklist: 25
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_requests_that_show_the_new_token_at_once_all_work() {
    for _ in 0..30 {
        let world = world();
        let (old, new) = pending(&world).await;
        let barrier = Arc::new(Barrier::new(20));
        let requests: Vec<_> = (0..20)
            .map(|place| {
                let barrier = Arc::clone(&barrier);
                let token = if place % 5 == 0 { &old } else { &new };
                world.spawn(token, move |session| async move {
                    barrier.wait().await;
                    session.update("n", |n: &mut u32| *n += 1)
                })
            })
            .collect();
        for request in requests {
            request.await.unwrap().assert_silent(StatusCode::OK);
        }
        assert_eq!(world.read::<u32>(&new, "n").await, Some(20));
    }
}

#[tokio::test]
async fn an_answer_that_undoes_the_handlers_work_renews_the_token_all_the_same() {
    let world = world();
    let old = due(&world).await;
    let answer = world
        .send(&old, |session| async move {
            session.insert("n", &1)?;
            Ok(StatusCode::INTERNAL_SERVER_ERROR)
        })
        .await;
    assert_eq!(world.opens(&answer.token()).await.unwrap().keys, ["start"]);
}

#[tokio::test]
async fn a_renewal_that_the_store_refuses_is_an_event_and_nothing_to_the_client() {
    let world = world();
    let old = due(&world).await;
    world.faults.fail_always(Op::Set, Fault::Before);
    let (answer, counts) = world.cost(read(&world, &old)).await;
    answer.assert_silent(StatusCode::OK);
    assert!(counts.sets <= 3, "{counts:?}");
    assert_eq!(world.events.count(EventKind::UpkeepFailed), 1);
    world.faults.heal();
    assert!(read(&world, &old).await.given().is_some(), "the next request renews it");
}

#[tokio::test]
async fn a_takeover_that_the_store_refuses_is_an_event_and_nothing_to_the_client() {
    let world = world();
    let (old, new) = pending(&world).await;
    world.faults.fail_always(Op::Set, Fault::Before);
    read(&world, &new).await.assert_silent(StatusCode::OK);
    assert_eq!(world.events.count(EventKind::UpkeepFailed), 1);
    world.faults.heal();
    read(&world, &new).await.assert_silent(StatusCode::OK);
    world.advance(31 * SECOND);
    assert!(!world.is_live(&old).await, "it has taken over");
}

#[tokio::test]
async fn a_reader_with_something_due_across_a_sign_in_answers_and_sets_no_cookie() {
    for takes_over in [false, true] {
        let world = world();
        let token = if takes_over { pending(&world).await.1 } else { due(&world).await };
        let slow = world
            .hold(&token, |session, gate| async move {
                gate.wait().await;
                session.get::<bool>("start").map(|_| ())
            })
            .await;
        let new = world.send(&token, |session| async move { session.sign_in("ada") }).await.token();
        slow.finish().await.assert_silent(StatusCode::OK);
        assert!(world.is_live(&new).await);
    }
}

#[tokio::test]
async fn a_reader_with_something_due_across_a_sign_out_answers_and_sets_no_cookie() {
    for takes_over in [false, true] {
        let world = world();
        let token = if takes_over { pending(&world).await.1 } else { due(&world).await };
        let slow = world
            .hold(&token, |session, gate| async move {
                gate.wait().await;
                session.get::<bool>("start").map(|_| ())
            })
            .await;
        world.send(&token, |session| async move { session.sign_out() }).await.assert_ok();
        slow.finish().await.assert_silent(StatusCode::OK);
        assert!(world.memory.is_empty());
    }
}

#[tokio::test]
async fn a_reader_with_something_due_across_a_rotation_answers_and_sets_no_cookie() {
    for takes_over in [false, true] {
        let world = world();
        let token = if takes_over { pending(&world).await.1 } else { due(&world).await };
        let slow = world
            .hold(&token, |session, gate| async move {
                gate.wait().await;
                session.get::<bool>("start").map(|_| ())
            })
            .await;
        let new = world.send(&token, |session| async move { session.rotate() }).await.token();
        slow.finish().await.assert_silent(StatusCode::OK);
        assert!(world.is_live(&new).await, "the token that the rotation set");
        assert!(!world.is_live(&token).await);
    }
}

#[tokio::test]
async fn a_write_under_way_while_the_new_token_takes_over_is_kept_and_sets_no_cookie() {
    let world = world();
    let (old, new) = pending(&world).await;
    let slow = world
        .hold(&old, |session, gate| async move {
            gate.wait().await;
            session.insert("slow", &1)
        })
        .await;
    read(&world, &new).await.assert_silent(StatusCode::OK);
    slow.finish().await.assert_silent(StatusCode::OK);
    assert_eq!(world.opens(&new).await.unwrap().keys, ["start", "slow"]);
}

#[tokio::test]
async fn a_persistent_cookie_of_a_renewed_token_has_its_max_age_cut_to_what_is_left() {
    let lifetime = Lifetime::new().with_absolute_timeout(DAY).with_max_age(DAY).with_refresh_interval(30 * MINUTE);
    let world = World::with(|layer| layer.with_lifetime(lifetime));
    let old = world.begin().await;
    world.advance(HOUR - SECOND);
    let answer = read(&world, &old).await;
    assert_eq!(answer.set[0].max_age(), Some(23 * 60 * 60 + 1));
    assert!(world.is_live(&answer.token()).await);
}

/// A request that commits early, when its token is due to be renewed, and answers late.
async fn commits_early(world: &World, token: &str) -> Held {
    world
        .hold(token, |session, gate| async move {
            session.update_now("early", |n: &mut u32| *n += 1).await?;
            gate.wait().await;
            Ok(())
        })
        .await
}

#[tokio::test]
async fn a_renewal_of_an_early_commit_does_not_overwrite_the_cookie_of_a_rotation_that_came_after() {
    let world = world();
    let old = due(&world).await;
    let slow = commits_early(&world, &old).await;
    let new = world.send(&old, |session| async move { session.rotate() }).await.token();
    slow.finish().await.assert_silent(StatusCode::OK);
    assert!(world.is_live(&new).await);
}

#[tokio::test]
async fn a_renewal_of_an_early_commit_whose_answer_takes_long_does_not_sign_the_browser_out() {
    let world = world();
    let old = due(&world).await;
    let slow = commits_early(&world, &old).await;
    world.advance(31 * SECOND);
    let mut browser = old;
    for _ in 0..2 {
        browser = read(&world, &browser).await.assert_ok().given().unwrap_or(browser);
    }
    browser = slow.finish().await.assert_ok().given().unwrap_or(browser);
    assert!(world.is_live(&browser).await);
}

#[tokio::test]
async fn a_browser_that_loses_any_of_its_responses_stays_signed_in() {
    for seed in 0..100 {
        println!("seed {seed}");
        let mut state = seed;
        let world = world();
        let mut browser = world.begin_signed_in("ada").await;
        for _ in 0..60 {
            world.advance(SECOND * u32::try_from(random(&mut state) % 50).unwrap());
            let answer = read(&world, &browser).await;
            let lost = random(&mut state).is_multiple_of(3);
            if let Some(token) = answer.assert_ok().given().filter(|_| !lost) {
                browser = token;
            }
            assert!(world.is_live(&browser).await);
        }
        assert!(!world.saw(EventKind::Replayed));
        assert!(world.events.count(EventKind::Refreshed) > 5);
    }
}

#[tokio::test]
async fn a_cookie_is_not_renewed_after_a_periodic_rotation_has_sent_another() {
    let lifetime = Lifetime::new().with_refresh_interval(PERIOD).with_max_age(10 * MINUTE);
    let world = World::with(|layer| layer.with_lifetime(lifetime));
    let old = due(&world).await;
    let write = |session: sessile::Session| async move { session.insert("n", &1) };
    let read = |session: sessile::Session| async move { session.get::<u32>("n").map(|_| ()) };
    let (slow, quick) = world.overtake(&old, write, read).await;
    assert_ne!(quick.token(), old);
    slow.assert_silent(StatusCode::OK);
    assert_eq!(world.read::<u32>(&quick.token(), "n").await, Some(1));
}

#[tokio::test]
async fn a_sign_in_or_a_rotation_under_a_token_that_is_due_is_no_renewal_beside_it() {
    for signs_in in [true, false] {
        let world = world();
        let old = due(&world).await;
        world.events.take();
        let answer = world
            .send(&old, move |session| async move { if signs_in { session.sign_in("ada") } else { session.rotate() } });
        let new = answer.await.assert_ok().token();
        let told = if signs_in { &[EventKind::SignedIn, EventKind::Rotated][..] } else { &[EventKind::Rotated] };
        assert_eq!(world.events.kinds(), told);
        assert!(world.is_live(&new).await);
        assert!(!world.is_live(&old).await);
    }
}
