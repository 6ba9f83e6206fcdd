//! A store in memory answers at once, and requests over it take a shorter way: it must lead to the same place. These tests have the
//! store itself under the layer; most others wrap it.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::post;
use futures_util::FutureExt;
use http::{Method, StatusCode};
use sessile::config::ReplayPolicy;
use sessile::event::{EndReason, EventKind};
use sessile::testing::ManualClock;
use sessile::{Error, Lifetime, MemoryStore, Session, SessionId, SessionLayer, SessionLayerBuilder, Sessions};
use support::client::{Client, EventLog, Visitor, request, session_of, set_cookies};
use support::race::{MINUTE, SECOND};
use tower::ServiceExt;

#[tokio::test]
async fn a_commit_that_loses_a_race_goes_on_and_its_events_are_raised_once() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&events);
    let store = MemoryStore::new();
    let layer = SessionLayer::builder(store)
        .with_event_hook(move |event| heard.lock().unwrap().push(event.kind))
        .build()
        .unwrap();
    let sessions = layer.sessions();
    let runs = Arc::new(AtomicUsize::new(0));
    let mut visitor = Visitor::with_session(&layer).await;

    let (beside, counted) = (sessions.clone(), Arc::clone(&runs));
    let reply = visitor
        .visit(async move |session: Session| {
            let seen = session.get::<u32>("n")?;
            assert_eq!(seen, Some(1));
            session.update("n", move |n: &mut u32| {
                counted.fetch_add(1, Ordering::SeqCst);
                *n += 1;
            })?;
            beside.update(&session.id().unwrap(), &BTreeMap::from([("beside", 1)])).await?;
            Ok::<_, Error>("done")
        })
        .await;
    assert_eq!((reply.status, reply.text()), (StatusCode::OK, "done"));
    assert_eq!(runs.load(Ordering::SeqCst), 2, "once for the handler, and once on what the other had written");
    let values = visitor
        .visit(async |session: Session| {
            Ok::<_, Error>(format!("{:?} {:?}", session.get::<u32>("n")?, session.get::<u32>("beside")?))
        })
        .await;
    assert_eq!(values.text(), "Some(2) Some(1)");
    assert_eq!(*events.lock().unwrap(), [EventKind::Created], "the race is nothing to tell of");
}

#[tokio::test]
async fn a_session_that_ends_beside_a_commit_stays_ended() {
    let layer = SessionLayer::new(MemoryStore::new());
    let sessions = layer.sessions();
    let mut visitor = Visitor::with_session(&layer).await;
    let beside = sessions.clone();
    let reply = visitor
        .visit(async move |session: Session| {
            session.insert("n", &2)?;
            beside.end(&session.id().unwrap()).await?;
            Ok::<_, Error>(session.id().unwrap().to_string())
        })
        .await;
    assert_eq!(reply.status, StatusCode::OK);
    let id = reply.text().parse().unwrap();
    assert!(sessions.find_by_id(&id).await.unwrap().is_none(), "what the request wrote went with the session");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_at_once_in_several_threads_lose_nothing() {
    const REQUESTS: usize = 400;
    let count = async |session: Session| session.update("n", |n: &mut usize| *n += 1);
    let number = async |session: Session| Ok::<_, Error>(session.get::<usize>("n")?.unwrap_or(0).to_string());
    let app = Router::new().route("/", post(count).get(number)).layer(SessionLayer::new(MemoryStore::new()));
    let created = app.clone().oneshot(request(Method::POST, "/")).await.unwrap();
    let cookie = set_cookies(created.headers()).remove(0);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..REQUESTS {
        let mut client = Client::with_cookie(&app, &cookie.name, &cookie.value);
        tasks.spawn(async move { client.post("/").await.status });
    }
    for status in tasks.join_all().await {
        assert_eq!(status, StatusCode::OK);
    }
    let mut client = Client::with_cookie(&app, &cookie.name, &cookie.value);
    assert_eq!(client.get("/").await.text(), (REQUESTS + 1).to_string());
}

/// A layer that ends the sessions of which an old token is presented, and renews tokens each minute.
fn ends_replays(store: &MemoryStore, clock: &ManualClock) -> SessionLayerBuilder {
    let layer = SessionLayer::builder(store.clone()).with_clock(clock);
    layer.with_lifetime(Lifetime::new().with_refresh_interval(MINUTE)).with_replay_policy(ReplayPolicy::End)
}

async fn count(visitor: &mut Visitor) -> Option<String> {
    let reply = visitor.visit(async |session: Session| session.update("n", |n: &mut u32| *n += 1)).await;
    assert_eq!(reply.status, StatusCode::OK);
    reply.set_cookies().pop().map(|cookie| cookie.value)
}

async fn counted(visitor: &mut Visitor) -> String {
    let reply = visitor.visit(async |session: Session| session.get::<u32>("n").map(|n| format!("{n:?}"))).await;
    assert_eq!(reply.status, StatusCode::OK);
    reply.text().to_owned()
}

/// A visitor whose token was renewed, and a clone from before, whose token a replay will be of.
async fn renewed(layer: &SessionLayer, clock: &ManualClock) -> (Visitor, Visitor) {
    let mut visitor = Visitor::new(layer);
    count(&mut visitor).await.expect("a new session has a token");
    let copied = visitor.clone();
    assert_eq!(count(&mut visitor).await, None);
    clock.advance(MINUTE);
    count(&mut visitor).await.expect("its token is old enough to be renewed");
    assert_eq!(count(&mut visitor).await, None);
    assert_ne!(visitor.token(), copied.token());
    (visitor, copied)
}

#[tokio::test]
async fn where_replays_end_sessions_all_else_works_as_it_does_without() {
    let (clock, store, events) = (ManualClock::new(), MemoryStore::new(), EventLog::default());
    let store = store.with_clock(&clock);
    let layer = ends_replays(&store, &clock).with_event_hook(events.hook()).build().unwrap();
    for signed_in in [false, true] {
        let (mut visitor, mut copied) = renewed(&layer, &clock).await;
        if signed_in {
            visitor.visit(async |session: Session| session.sign_in("ada")).await.set_cookie();
            copied = visitor.clone();
            clock.advance(MINUTE);
            count(&mut visitor).await.expect("its token is old enough to be renewed");
            count(&mut visitor).await;
        }
        let id = session_of(&visitor.token().unwrap());
        let number = if signed_in { "Some(6)" } else { "Some(4)" };
        assert_eq!(counted(&mut visitor).await, number);
        assert_eq!(counted(&mut copied.clone()).await, number, "within the grace it is no replay");
        clock.advance(31 * SECOND);
        assert_eq!(counted(&mut visitor).await, number);
        events.take();
        assert_eq!(counted(&mut copied).await, "None");
        assert_eq!(events.take(), [(EventKind::Replayed, Some(id)), (EventKind::Ended, Some(id))]);
        assert_eq!(counted(&mut visitor).await, "None", "it has ended for both");
        assert!(store.is_empty());
    }
    // And a session that its own client ends.
    let mut visitor = Visitor::new(&layer);
    count(&mut visitor).await.expect("a new session has a token");
    assert!(visitor.visit(async |session: Session| session.sign_out()).await.set_cookie().is_removal());
    assert!(store.is_empty());
}

/// Another request writes just after the replay has read the session, so that its end must be tried again, and has to wait.
#[tokio::test]
async fn a_replay_that_loses_a_race_for_the_end_of_the_session_is_told_once() {
    let clock = ManualClock::new();
    let store = MemoryStore::new().with_clock(&clock);
    let beside = ends_replays(&store, &clock).build().unwrap().sessions();
    let events = EventLog::default();
    let hear = events.hook();
    let layer = ends_replays(&store, &clock)
        .with_event_hook(move |event| {
            if event.kind == EventKind::Replayed {
                write(&beside, &event.session.expect("of a session that was read"));
            }
            hear(event);
        })
        .build()
        .unwrap();
    let (mut visitor, mut copied) = renewed(&layer, &clock).await;
    let id = session_of(&visitor.token().unwrap());
    clock.advance(31 * SECOND);
    events.take();
    assert_eq!(counted(&mut copied).await, "None");
    assert_eq!(events.kinds(), [EventKind::Replayed, EventKind::Ended]);
    assert_eq!(events.ends(), [(id, EndReason::Replayed)]);
    assert_eq!(counted(&mut visitor).await, "None");
    assert!(store.is_empty());
}

/// Writes to a session in the middle of something else; a store in memory does not wait.
fn write(sessions: &Sessions, id: &SessionId) {
    let written = sessions.update(id, &BTreeMap::from([("beside", 1)])).now_or_never();
    written.expect("it does not wait").expect("the session is there");
}
