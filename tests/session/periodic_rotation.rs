//! Periodic rotation (refresh): the new token is pending until the client presents it, since a response can be lost.
//!
//! A retired token that is presented after its grace period is reported as a replay.

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

const REFRESH_INTERVAL: Duration = MINUTE;
const MILLISECOND: Duration = Duration::from_millis(1);

fn world() -> World {
    World::with(|layer| layer.with_lifetime(Lifetime::new().with_refresh_interval(REFRESH_INTERVAL)))
}

async fn read(world: &World, token: &str) -> Answer {
    world.send(token, |session| async move { session.get::<bool>("start").map(|_| ()) }).await
}

/// Creates a session whose token is due for a refresh, and returns the token.
async fn due_for_refresh(world: &World) -> String {
    let token = world.begin().await;
    world.advance(REFRESH_INTERVAL);
    token
}

/// Creates a session with a pending token, and returns the current and the pending one.
async fn with_pending_token(world: &World) -> (String, String) {
    let old = due_for_refresh(world).await;
    let new = read(world, &old).await.assert_ok().token();
    (old, new)
}

/// Presents the current token until no further one is issued, each time after the grace period; returns the pending ones.
async fn fill_pending_tokens(world: &World, current: &str) -> Vec<String> {
    let mut pending = Vec::new();
    while let Some(token) = read(world, current).await.assert_ok().new_token() {
        pending.push(token);
        world.advance(31 * SECOND);
    }
    pending
}

/// Presents each of these tokens, and checks that it opens nothing and reports a replay.
async fn assert_replays<'a>(world: &World, tokens: impl IntoIterator<Item = &'a String>) {
    for token in tokens {
        let before = world.events.count(EventKind::Replayed);
        assert!(!world.is_live(token).await, "a replayed token opens the session");
        assert_eq!(world.events.count(EventKind::Replayed), before + 1, "no replay is reported");
    }
}

/// Creates a session whose client has presented the pending token, and returns the retired and the current one.
async fn refreshed(world: &World) -> (String, String) {
    let (old, new) = with_pending_token(world).await;
    read(world, &new).await.assert_silent(StatusCode::OK);
    (old, new)
}

/// One second before the interval ends there is no write; at its end one set and a new token of the same session.
#[tokio::test]
async fn token_is_refreshed_when_the_interval_has_passed() {
    let world = world();
    let old = world.begin().await;
    world.advance(REFRESH_INTERVAL - SECOND);
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

/// A request that writes when a refresh is due costs one get and one set.
#[tokio::test]
async fn refresh_shares_the_commit_of_the_request() {
    let world = world();
    let old = due_for_refresh(&world).await;
    let (answer, counts) = world.cost(world.insert(&old, "n", 1)).await;
    assert_eq!(counts, Counts::gets(1).and_sets(1));
    assert_eq!(world.opens(&answer.token()).await.unwrap().keys, ["start", "n"]);
}

/// The current token keeps working without a new cookie for 30 seconds, then gets another pending token.
#[tokio::test]
async fn lost_refresh_response_is_repeated_after_the_grace_period() {
    let world = world();
    let (old, lost) = with_pending_token(&world).await;
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

/// A client that keeps its current token through 100 refreshes stays signed in, and no replay is reported.
#[tokio::test]
async fn current_token_works_until_the_pending_one_is_presented() {
    let world = world();
    let old = due_for_refresh(&world).await;
    for _ in 0..100 {
        assert!(world.is_live(&old).await, "a lost response ended the session for its client");
        world.advance(20 * SECOND);
    }
    assert!(!world.saw(EventKind::Replayed));
}

/// The former token reads and writes for 30 seconds, cannot rotate or sign in, and is a replay after that.
#[tokio::test]
async fn presented_pending_token_becomes_current() {
    let world = world();
    let (old, new) = with_pending_token(&world).await;
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
/// Ten minutes after a refresh, three requests under the retired token report three `Replayed` events of the session.
#[tokio::test]
async fn each_use_of_a_retired_token_reports_a_replay() {
    let world = world();
    let (old, new) = refreshed(&world).await;
    world.advance(10 * MINUTE);
    for times in 1..=3 {
        assert!(!world.is_live(&old).await);
        assert_eq!(world.events.count(EventKind::Replayed), times);
    }
    let events = world.events.take();
    assert!(events.contains(&(EventKind::Replayed, Some(session_of(&new)))));
}

/// After twelve refreshes, the eight newest retired tokens are replays and the four oldest are unknown.
#[tokio::test]
async fn the_last_eight_retired_tokens_are_reported_as_replays() {
    let world = world();
    let mut token = world.begin().await;
    let mut retired = Vec::new();
    for _ in 0..12 {
        world.advance(REFRESH_INTERVAL);
        let new = read(&world, &token).await.token();
        read(&world, &new).await.assert_silent(StatusCode::OK);
        retired.push(std::mem::replace(&mut token, new));
    }
    world.advance(31 * SECOND);
    for (newer, old) in retired.iter().rev().enumerate() {
        let before = world.events.count(EventKind::Replayed);
        assert!(!world.is_live(old).await);
        assert_eq!(
            world.events.count(EventKind::Replayed) - before,
            usize::from(newer < 8),
            "{newer} retired tokens are newer"
        );
    }
    assert!(world.is_live(&token).await);
}

/// A token retired 30 seconds before an explicit rotation is a replay after it; one retired later is not.
#[tokio::test]
async fn rotation_keeps_replay_detection_of_tokens_out_of_grace() {
    for (waited, replays) in [(30 * SECOND - MILLISECOND, 0), (30 * SECOND, 1)] {
        let world = world();
        let (old, new) = refreshed(&world).await;
        world.advance(waited);
        world.send(&new, |session| async move { session.rotate() }).await.token();
        assert!(!world.is_live(&old).await);
        assert_eq!(world.events.count(EventKind::Replayed), replays);
    }
}

/// After a sign-in, the token that it retired and one that a refresh had retired open nothing and report nothing.
#[tokio::test]
async fn tokens_retired_by_or_before_a_sign_in_are_no_replays() {
    let world = world();
    let (old, new) = refreshed(&world).await;
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

/// A pending token presented after 20 seconds is refreshed one interval after that, and not earlier.
#[tokio::test]
async fn refresh_interval_restarts_when_the_token_becomes_current() {
    let world = world();
    let (_, new) = with_pending_token(&world).await;
    world.advance(20 * SECOND);
    read(&world, &new).await.assert_silent(StatusCode::OK);
    world.advance(REFRESH_INTERVAL - SECOND);
    read(&world, &new).await.assert_silent(StatusCode::OK);
    world.advance(SECOND);
    assert!(read(&world, &new).await.new_token().is_some());
}

/// An explicit rotation makes the current, the pending and the retired token open nothing and refuses their writes.
#[tokio::test]
async fn rotation_ends_the_grace_period_of_other_tokens() {
    let world = world();
    let (old, new) = with_pending_token(&world).await;
    let rotated = world.send(&old, |session| async move { session.rotate() }).await.token();
    for dead in [&old, &new] {
        assert!(!world.is_live(dead).await);
        world.insert(dead, "late", 1).await.assert_silent(StatusCode::CONFLICT);
    }
    assert!(world.is_live(&rotated).await);

    let world = self::world();
    let (old, new) = refreshed(&world).await;
    let rotated = world.send(&new, |session| async move { session.rotate() }).await.token();
    for dead in [&old, &new] {
        assert!(!world.is_live(dead).await);
        world.insert(dead, "late", 1).await.assert_silent(StatusCode::CONFLICT);
    }
    assert!(world.is_live(&rotated).await);
}

/// A sign-in under the pending token succeeds and retires both the current and the pending one.
#[tokio::test]
async fn pending_token_can_sign_in() {
    let world = world();
    let (old, new) = with_pending_token(&world).await;
    let signed_in = world.send(&new, |session| async move { session.sign_in("ada") }).await.token();
    assert_eq!(world.opens(&signed_in).await.unwrap().owner.as_deref(), Some("ada"));
    assert!(!world.is_live(&old).await);
    assert!(!world.is_live(&new).await);
}

/// Of twenty concurrent requests when a refresh is due, one gets a new token and all writes are kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_requests_at_the_interval_issue_one_token() {
    for round in 0..30 {
        let world = world();
        let old = due_for_refresh(&world).await;
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
            given.extend(request.await.unwrap().assert_ok().new_token());
        }
        assert_eq!(given.len(), 1);
        assert!(world.is_live(&old).await);
        assert_eq!(world.read::<u32>(&given[0], "n").await, Some(10));
        assert_eq!(world.events.count(EventKind::Refreshed), 1);
    }
}

// checklist: 25
/// Twenty concurrent requests, some with the current token, all commit their increment without a cookie.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_requests_with_the_pending_token_all_commit() {
    for _ in 0..30 {
        let world = world();
        let (old, new) = with_pending_token(&world).await;
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

/// A 500 response drops the handler's insert and carries the refreshed token.
#[tokio::test]
async fn error_response_still_refreshes_the_token() {
    let world = world();
    let old = due_for_refresh(&world).await;
    let answer = world
        .send(&old, |session| async move {
            session.insert("n", &1)?;
            Ok(StatusCode::INTERNAL_SERVER_ERROR)
        })
        .await;
    assert_eq!(world.opens(&answer.token()).await.unwrap().keys, ["start"]);
}

/// With sets failing, a due refresh reports `UpkeepFailed`, answers 200, and succeeds with the next request.
#[tokio::test]
async fn failed_refresh_is_an_event_and_no_error_response() {
    let world = world();
    let old = due_for_refresh(&world).await;
    world.faults.fail_always(Op::Set, Fault::Before);
    let (answer, counts) = world.cost(read(&world, &old)).await;
    answer.assert_silent(StatusCode::OK);
    assert!(counts.sets <= 3, "{counts:?}");
    assert_eq!(world.events.count(EventKind::UpkeepFailed), 1);
    world.faults.heal();
    assert!(read(&world, &old).await.new_token().is_some(), "the next request refreshes the token");
}

/// With sets failing, presenting the pending token reports `UpkeepFailed`, answers 200, and succeeds next time.
#[tokio::test]
async fn failed_promotion_is_an_event_and_no_error_response() {
    let world = world();
    let (old, new) = with_pending_token(&world).await;
    world.faults.fail_always(Op::Set, Fault::Before);
    read(&world, &new).await.assert_silent(StatusCode::OK);
    assert_eq!(world.events.count(EventKind::UpkeepFailed), 1);
    world.faults.heal();
    read(&world, &new).await.assert_silent(StatusCode::OK);
    world.advance(31 * SECOND);
    assert!(!world.is_live(&old).await, "the pending token is current now");
}

/// A reading request with a refresh or a promotion due, overtaken by a sign-in, answers 200 without a cookie.
#[tokio::test]
async fn overdue_reader_overtaken_by_a_sign_in_sets_no_cookie() {
    for is_pending in [false, true] {
        let world = world();
        let token = if is_pending { with_pending_token(&world).await.1 } else { due_for_refresh(&world).await };
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

/// A reading request with a refresh or a promotion due, overtaken by a sign-out, answers 200 without a cookie.
#[tokio::test]
async fn overdue_reader_overtaken_by_a_sign_out_sets_no_cookie() {
    for is_pending in [false, true] {
        let world = world();
        let token = if is_pending { with_pending_token(&world).await.1 } else { due_for_refresh(&world).await };
        let slow = world
            .hold(&token, |session, gate| async move {
                gate.wait().await;
                session.get::<bool>("start").map(|_| ())
            })
            .await;
        world.send(&token, |session| async move { session.sign_out() }).await.assert_ok();
        slow.finish().await.assert_silent(StatusCode::OK);
        assert_eq!(world.live_sessions(), 0);
    }
}

/// A reading request with a refresh or a promotion due, overtaken by a rotation, answers 200 without a cookie.
#[tokio::test]
async fn overdue_reader_overtaken_by_a_rotation_sets_no_cookie() {
    for is_pending in [false, true] {
        let world = world();
        let token = if is_pending { with_pending_token(&world).await.1 } else { due_for_refresh(&world).await };
        let slow = world
            .hold(&token, |session, gate| async move {
                gate.wait().await;
                session.get::<bool>("start").map(|_| ())
            })
            .await;
        let new = world.send(&token, |session| async move { session.rotate() }).await.token();
        slow.finish().await.assert_silent(StatusCode::OK);
        assert!(world.is_live(&new).await, "the token of the rotation is retired");
        assert!(!world.is_live(&token).await);
    }
}

/// A write under the former token commits after the pending one became current: it is stored, without a cookie.
#[tokio::test]
async fn write_during_a_promotion_is_kept_and_sets_no_cookie() {
    let world = world();
    let (old, new) = with_pending_token(&world).await;
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

/// An hour into an absolute timeout of a day, the refreshed cookie has a Max-Age of 23 hours.
#[tokio::test]
async fn refreshed_cookie_max_age_ends_at_the_absolute_timeout() {
    let lifetime = Lifetime::new().with_absolute_timeout(DAY).with_max_age(DAY).with_refresh_interval(30 * MINUTE);
    let world = World::with(|layer| layer.with_lifetime(lifetime));
    let old = world.begin().await;
    world.advance(HOUR - SECOND);
    let answer = read(&world, &old).await;
    assert_eq!(answer.set[0].max_age(), Some(23 * 60 * 60 + 1));
    assert!(world.is_live(&answer.token()).await);
}

/// Holds a request that has committed, under a token that is due for a refresh, before its response.
async fn hold_after_early_commit(world: &World, token: &str) -> Held {
    world
        .hold(token, |session, gate| async move {
            session.update_now("early", |n: &mut u32| *n += 1).await?;
            gate.wait().await;
            Ok(())
        })
        .await
}

/// A request commits early with a refresh and responds after a rotation: it sets no cookie.
#[tokio::test]
async fn refresh_of_an_early_commit_yields_to_a_later_rotation() {
    let world = world();
    let old = due_for_refresh(&world).await;
    let slow = hold_after_early_commit(&world, &old).await;
    let new = world.send(&old, |session| async move { session.rotate() }).await.token();
    slow.finish().await.assert_silent(StatusCode::OK);
    assert!(world.is_live(&new).await);
}

/// A response that is 31 seconds later than its commit leaves the browser with a token that works.
#[tokio::test]
async fn late_response_with_a_refreshed_token_keeps_the_session() {
    let world = world();
    let old = due_for_refresh(&world).await;
    let slow = hold_after_early_commit(&world, &old).await;
    world.advance(31 * SECOND);
    let mut browser = old;
    for _ in 0..2 {
        browser = read(&world, &browser).await.assert_ok().new_token().unwrap_or(browser);
    }
    browser = slow.finish().await.assert_ok().new_token().unwrap_or(browser);
    assert!(world.is_live(&browser).await);
}

/// A request is overtaken by a refresh, and takes longer than the grace period: it sends no token, and neither does its write.
#[tokio::test]
async fn overtaken_long_request_sends_no_token() {
    for (writes, commits_early) in [(false, false), (true, false), (true, true)] {
        let max_age = if commits_early { DAY } else { 10 * MINUTE };
        let lifetime = Lifetime::new().with_refresh_interval(REFRESH_INTERVAL).with_max_age(max_age);
        let world = World::with(|layer| layer.with_lifetime(lifetime));
        let old = due_for_refresh(&world).await;
        let long = world
            .hold(&old, move |session, gate| async move {
                if commits_early {
                    session.update_now("early", |n: &mut u32| *n += 1).await?;
                }
                gate.wait().await;
                if writes { session.insert("n", &1) } else { Ok(()) }
            })
            .await;
        let browsers = read(&world, &old).await.token();
        let next = world
            .hold(&browsers, |_, gate| async move {
                gate.wait().await;
                Ok(())
            })
            .await;
        world.advance(61 * SECOND);
        long.finish().await.assert_silent(StatusCode::OK);
        assert!(next.finish().await.assert_ok().new_token().is_none_or(|token| token == browsers));
        world.advance(31 * SECOND);
        assert!(world.is_live(&browsers).await);
    }
}

/// A hundred seeds of 60 requests, a third of the responses lost: the browser's token always works, without replays.
#[tokio::test]
async fn lost_responses_never_sign_the_browser_out() {
    for seed in 0..100 {
        println!("seed {seed}");
        let mut state = seed;
        let world = world();
        let mut browser = world.begin_signed_in("ada").await;
        for _ in 0..60 {
            world.advance(SECOND * u32::try_from(random(&mut state) % 50).unwrap());
            let answer = read(&world, &browser).await;
            let lost = random(&mut state).is_multiple_of(3);
            if let Some(token) = answer.assert_ok().new_token().filter(|_| !lost) {
                browser = token;
            }
            assert!(world.is_live(&browser).await);
        }
        assert!(!world.saw(EventKind::Replayed));
        assert!(world.events.count(EventKind::Refreshed) > 5);
    }
}

/// A write overtaken by a request that refreshed the token is stored and sends no cookie, despite a Max-Age.
#[tokio::test]
async fn overtaken_write_does_not_send_its_cookie_again() {
    let lifetime = Lifetime::new().with_refresh_interval(REFRESH_INTERVAL).with_max_age(10 * MINUTE);
    let world = World::with(|layer| layer.with_lifetime(lifetime));
    let old = due_for_refresh(&world).await;
    let write = |session: sessile::Session| async move { session.insert("n", &1) };
    let read = |session: sessile::Session| async move { session.get::<u32>("n").map(|_| ()) };
    let (slow, quick) = world.overtake(&old, write, read).await;
    assert_ne!(quick.token(), old);
    slow.assert_silent(StatusCode::OK);
    assert_eq!(world.read::<u32>(&quick.token(), "n").await, Some(1));
}

/// With a refresh due, a sign-in or a rotation reports its own events only and retires the token.
#[tokio::test]
async fn sign_in_or_rotation_replaces_a_due_refresh() {
    for signs_in in [true, false] {
        let world = world();
        let old = due_for_refresh(&world).await;
        world.events.take();
        let answer = world
            .send(&old, move |session| async move { if signs_in { session.sign_in("ada") } else { session.rotate() } });
        let new = answer.await.assert_ok().token();
        let expected = if signs_in { &[EventKind::SignedIn, EventKind::Rotated][..] } else { &[EventKind::Rotated] };
        assert_eq!(world.events.kinds(), expected);
        assert!(world.is_live(&new).await);
        assert!(!world.is_live(&old).await);
    }
}

/// A client that is idle with a pending token keeps its session while another request gets the next one.
#[tokio::test]
async fn idle_client_keeps_its_pending_token() {
    let world = world();
    let (old, idle) = with_pending_token(&world).await;
    world.advance(31 * SECOND);
    let lost = read(&world, &old).await.token();
    world.advance(20 * MINUTE);
    read(&world, &idle).await.assert_silent(StatusCode::OK);
    assert!(world.is_live(&idle).await, "a later refresh signed the client out");
    assert!(!world.saw(EventKind::Replayed));
    world.advance(30 * SECOND);
    assert_replays(&world, [&old, &lost]).await;
    assert!(world.is_live(&idle).await);
}

/// Any of eight pending tokens becomes current when presented; all others are replays after 30 seconds.
#[tokio::test]
async fn any_of_eight_pending_tokens_can_become_current() {
    for place in 0..8 {
        let world = world();
        let old = due_for_refresh(&world).await;
        let mut pending = fill_pending_tokens(&world, &old).await;
        assert_eq!(pending.len(), 8);
        let presented = pending.remove(place);
        read(&world, &presented).await.assert_silent(StatusCode::OK);
        world.advance(30 * SECOND - MILLISECOND);
        for token in pending.iter().chain([&old]) {
            world.insert(token, "late", 1).await.assert_silent(StatusCode::OK);
            world.send(token, |session| async move { session.rotate() }).await.assert_silent(StatusCode::CONFLICT);
        }
        assert!(!world.saw(EventKind::Replayed));
        world.advance(MILLISECOND);
        assert_replays(&world, pending.iter().chain([&old])).await;
        assert!(world.is_live(&presented).await);
    }
}

/// Two responses with pending tokens arrive late, in either order: the cookie that is left works and is refreshed.
#[tokio::test]
async fn late_response_may_overwrite_a_newer_cookie() {
    for is_reversed in [false, true] {
        let world = world();
        let old = due_for_refresh(&world).await;
        let mut responses = vec![read(&world, &old).await.token()];
        world.advance(31 * SECOND);
        responses.push(read(&world, &old).await.token());
        world.advance(31 * SECOND);
        if is_reversed {
            responses.reverse();
        }
        let mut browser = responses.pop().unwrap();
        for _ in 0..10 {
            world.advance(45 * SECOND);
            browser = read(&world, &browser).await.assert_ok().new_token().unwrap_or(browser);
            assert!(world.is_live(&browser).await);
        }
        assert!(!world.saw(EventKind::Replayed));
        assert!(world.events.count(EventKind::Refreshed) > 3);
        assert_replays(&world, [&old, &responses[0]]).await;
    }
}

/// An owner and a thief hold a pending token each: the second one presented is a replay, as is the token before.
#[tokio::test]
async fn second_of_two_pending_tokens_is_a_replay() {
    for thief_is_first in [false, true] {
        let world = world();
        let (old, owners) = with_pending_token(&world).await;
        world.advance(31 * SECOND);
        let thiefs = read(&world, &old).await.token();
        let (first, second) = if thief_is_first { (&thiefs, &owners) } else { (&owners, &thiefs) };
        read(&world, first).await.assert_silent(StatusCode::OK);
        world.advance(31 * SECOND);
        assert_replays(&world, [second, &old]).await;
        assert!(world.is_live(first).await);
    }
}

/// A thief fills the bound with the owner's token: the owner's requests work, and a second party is a replay.
#[tokio::test]
async fn filling_the_bound_of_pending_tokens_hides_no_thief() {
    for owner_moves in [false, true] {
        let world = world();
        let shared = due_for_refresh(&world).await;
        let owners = read(&world, &shared).await.token();
        world.advance(31 * SECOND);
        let mut thiefs = fill_pending_tokens(&world, &shared).await;
        assert_eq!(thiefs.len(), 7);
        for _ in 0..3 {
            world.advance(HOUR / 2);
            world.insert(&shared, "n", 1).await.assert_silent(StatusCode::OK);
        }
        assert!(!world.saw(EventKind::Replayed));
        let first = if owner_moves { owners.clone() } else { thiefs.pop().unwrap() };
        read(&world, &first).await.assert_silent(StatusCode::OK);
        world.advance(31 * SECOND);
        assert_replays(&world, thiefs.iter().chain([&shared])).await;
        if !owner_moves {
            assert_replays(&world, [&owners]).await;
        }
        assert!(world.is_live(&first).await);
    }
}

/// Creates a signed-in session with two tokens: the current one, and the pending one of a sign-in that joined the first.
async fn with_sibling(world: &World) -> (String, String) {
    let start = world.begin().await;
    let sign_in = |session: sessile::Session| async move { session.sign_in("ada") };
    let (joined, first) = world.overtake(&start, sign_in, sign_in).await;
    world.advance(REFRESH_INTERVAL);
    (first.token(), joined.token())
}

/// A thief renews the token of one sign-in: that of the sign-in beside it works for 30 seconds and is then a replay.
#[tokio::test]
async fn renewal_retires_the_pending_token_of_a_sign_in() {
    let world = world();
    let (stolen, owners) = with_sibling(&world).await;
    let thiefs = read(&world, &stolen).await.token();
    read(&world, &thiefs).await.assert_silent(StatusCode::OK);
    world.advance(30 * SECOND - MILLISECOND);
    assert!(world.is_live(&owners).await, "a thief signed the owner out at once");
    world.advance(MILLISECOND);
    assert_replays(&world, [&owners, &stolen]).await;
}

/// A thief presents the pending token of a sign-in after the grace period: the current token is then a replay.
#[tokio::test]
async fn late_token_of_a_sign_in_retires_the_current_one_as_a_replay() {
    let world = world();
    let (owners, thiefs) = with_sibling(&world).await;
    read(&world, &thiefs).await.assert_silent(StatusCode::OK);
    assert!(world.is_live(&owners).await, "the grace period holds for the owner");
    world.advance(31 * SECOND);
    assert_replays(&world, [&owners]).await;
}

/// After a pending token was presented the bound is free again, and the next interval issues a token.
#[tokio::test]
async fn presented_token_frees_the_bound_of_pending_tokens() {
    let world = world();
    let old = due_for_refresh(&world).await;
    let pending = fill_pending_tokens(&world, &old).await;
    world.advance(HOUR / 2);
    read(&world, &old).await.assert_silent(StatusCode::OK);
    read(&world, &pending[3]).await.assert_silent(StatusCode::OK);
    world.advance(REFRESH_INTERVAL);
    assert_eq!(fill_pending_tokens(&world, &pending[3]).await.len(), 8);
}

/// Three retired tokens per renewal are all replays for eight renewals, and unknown after the ninth.
#[tokio::test]
async fn replays_are_bounded_by_renewals_and_not_by_tokens() {
    let world = world();
    let mut current = due_for_refresh(&world).await;
    let mut renewals = Vec::new();
    for _ in 0..9 {
        let mut retired = vec![current.clone()];
        for _ in 0..3 {
            retired.push(read(&world, &current).await.token());
            world.advance(31 * SECOND);
        }
        current = retired.pop().unwrap();
        read(&world, &current).await.assert_silent(StatusCode::OK);
        renewals.push(retired);
        world.advance(REFRESH_INTERVAL);
    }
    let forgotten = renewals.remove(0);
    assert_replays(&world, renewals.iter().flatten()).await;
    let replays = world.events.count(EventKind::Replayed);
    for token in &forgotten {
        assert!(!world.is_live(token).await);
    }
    assert_eq!(world.events.count(EventKind::Replayed), replays);
}

/// With the bound of pending tokens full, a cookie with a Max-Age is still renewed, with the current token.
#[tokio::test]
async fn persistent_cookie_is_renewed_while_the_bound_is_full() {
    let lifetime = Lifetime::new().with_refresh_interval(REFRESH_INTERVAL).with_max_age(10 * MINUTE);
    let world = World::with(|layer| layer.with_lifetime(lifetime));
    let old = due_for_refresh(&world).await;
    let pending = fill_pending_tokens(&world, &old).await;
    assert_eq!(pending.len(), 8);
    for writes in [false, true] {
        world.advance(MINUTE);
        let answer = if writes { world.insert(&old, "n", 1).await } else { read(&world, &old).await };
        assert_eq!(answer.assert_ok().token(), old);
        assert_eq!(answer.set[0].max_age(), Some(10 * 60));
    }
    read(&world, &pending[7]).await.assert_ok();
    world.advance(29 * SECOND);
    read(&world, &old).await.assert_silent(StatusCode::OK);
}

/// A form from before eight pending tokens is accepted under each of them, as is a form from each after the next.
#[tokio::test]
async fn csrf_forms_survive_pending_tokens() {
    async fn accepts(world: &World, token: &str, form: &str) -> bool {
        let form = form.to_owned();
        world.send(token, move |session| async move { Ok(session.verify_csrf(&form).to_string()) }).await.body == "true"
    }
    async fn form(world: &World, token: &str) -> String {
        world.send(token, |session| async move { Ok(session.csrf_token().await?.to_string()) }).await.body
    }

    let world = world();
    let mut current = due_for_refresh(&world).await;
    let mut forms = vec![form(&world, &current).await];
    for place in [0, 7, 3] {
        world.advance(31 * SECOND);
        let mut pending = fill_pending_tokens(&world, &current).await;
        forms.push(form(&world, &current).await);
        let retired = std::mem::replace(&mut current, pending.swap_remove(place.min(pending.len() - 1)));
        forms.push(form(&world, &current).await);
        for token in pending.iter().chain([&retired, &current]) {
            for form in &forms {
                assert!(accepts(&world, token, form).await, "a refresh broke an open page");
            }
        }
        world.advance(REFRESH_INTERVAL);
    }
}
