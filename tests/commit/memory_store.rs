//! Requests over an unwrapped `MemoryStore`, whose operations complete without waiting. Most other tests wrap the store.

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

/// A second writer commits during the request; the update runs twice, both writes stay, and only `Created` is raised.
#[tokio::test]
async fn conflicting_commit_is_retried_and_raises_events_once() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&events);
    let store = MemoryStore::new();
    let layer = SessionLayer::builder(store)
        .with_event_hook(move |event| log.lock().unwrap().push(event.kind))
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
            beside.merge(&session.id().unwrap(), &BTreeMap::from([("beside", 1)])).await?;
            Ok::<_, Error>("done")
        })
        .await;
    assert_eq!((reply.status, reply.text()), (StatusCode::OK, "done"));
    assert_eq!(runs.load(Ordering::SeqCst), 2, "once in the handler, and once on the newer record");
    let values = visitor
        .visit(async |session: Session| {
            Ok::<_, Error>(format!("{:?} {:?}", session.get::<u32>("n")?, session.get::<u32>("beside")?))
        })
        .await;
    assert_eq!(values.text(), "Some(2) Some(1)");
    assert_eq!(*events.lock().unwrap(), [EventKind::Created], "the conflict raises no event");
}

/// The session ends while a request has an uncommitted write; the commit does not restore it.
#[tokio::test]
async fn session_ended_during_request_stays_ended() {
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
    assert!(sessions.find_by_id(&id).await.unwrap().is_none(), "the request must not restore the session");
}

/// 400 concurrent requests each increment one counter; the counter reaches 401.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_increments_on_two_threads_are_all_kept() {
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

/// Returns a layer that ends replayed sessions and refreshes tokens each minute.
fn ending_replays(store: &MemoryStore, clock: &ManualClock) -> SessionLayerBuilder {
    let layer = SessionLayer::builder(store.clone()).with_clock(clock);
    layer.with_lifetime(Lifetime::new().with_refresh_interval(MINUTE)).with_replay_policy(ReplayPolicy::End)
}

async fn increment(visitor: &mut Visitor) -> Option<String> {
    let reply = visitor.visit(async |session: Session| session.update("n", |n: &mut u32| *n += 1)).await;
    assert_eq!(reply.status, StatusCode::OK);
    reply.set_cookies().pop().map(|cookie| cookie.value)
}

async fn read(visitor: &mut Visitor) -> String {
    let reply = visitor.visit(async |session: Session| session.get::<u32>("n").map(|n| format!("{n:?}"))).await;
    assert_eq!(reply.status, StatusCode::OK);
    reply.text().to_owned()
}

/// Returns a client with a refreshed token, and a clone that still has the replaced token.
async fn refreshed(layer: &SessionLayer, clock: &ManualClock) -> (Visitor, Visitor) {
    let mut visitor = Visitor::new(layer);
    increment(&mut visitor).await.expect("a new session has a token");
    let copied = visitor.clone();
    assert_eq!(increment(&mut visitor).await, None);
    clock.advance(MINUTE);
    increment(&mut visitor).await.expect("the refresh is due");
    assert_eq!(increment(&mut visitor).await, None);
    assert_ne!(visitor.token(), copied.token());
    (visitor, copied)
}

/// Under `End` a token within the grace period works, a later one ends the session, and a sign-out works as usual.
#[tokio::test]
async fn replay_policy_end_affects_only_replays() {
    let (clock, store, events) = (ManualClock::new(), MemoryStore::new(), EventLog::default());
    let store = store.with_clock(&clock);
    let layer = ending_replays(&store, &clock).with_event_hook(events.hook()).build().unwrap();
    for signed_in in [false, true] {
        let (mut visitor, mut copied) = refreshed(&layer, &clock).await;
        if signed_in {
            visitor.visit(async |session: Session| session.sign_in("ada")).await.set_cookie();
            copied = visitor.clone();
            clock.advance(MINUTE);
            increment(&mut visitor).await.expect("the refresh is due");
            increment(&mut visitor).await;
        }
        let id = session_of(&visitor.token().unwrap());
        let number = if signed_in { "Some(6)" } else { "Some(4)" };
        assert_eq!(read(&mut visitor).await, number);
        assert_eq!(read(&mut copied.clone()).await, number, "within the grace period this is no replay");
        clock.advance(31 * SECOND);
        assert_eq!(read(&mut visitor).await, number);
        events.take();
        assert_eq!(read(&mut copied).await, "None");
        assert_eq!(events.take(), [(EventKind::Replayed, Some(id)), (EventKind::Ended, Some(id))]);
        assert_eq!(read(&mut visitor).await, "None", "the session ended for both clients");
        assert!(layer.sessions().find_by_id(&id).await.unwrap().is_none());
    }
    // A sign-out by the client works as usual.
    let mut visitor = Visitor::new(&layer);
    increment(&mut visitor).await.expect("a new session has a token");
    let id = session_of(&visitor.token().unwrap());
    assert!(visitor.visit(async |session: Session| session.sign_out()).await.set_cookie().is_removal());
    assert!(layer.sessions().find_by_id(&id).await.unwrap().is_none());
}

/// A write commits between the replay's load and the session's end; the end is retried, and each event is raised once.
#[tokio::test]
async fn replay_in_a_race_with_a_write_is_reported_once() {
    let clock = ManualClock::new();
    let store = MemoryStore::new().with_clock(&clock);
    let beside = ending_replays(&store, &clock).build().unwrap().sessions();
    let events = EventLog::default();
    let log = events.hook();
    let layer = ending_replays(&store, &clock)
        .with_event_hook(move |event| {
            if event.kind == EventKind::Replayed {
                write(&beside, &event.session.expect("the session was loaded"));
            }
            log(event);
        })
        .build()
        .unwrap();
    let (mut visitor, mut copied) = refreshed(&layer, &clock).await;
    let id = session_of(&visitor.token().unwrap());
    clock.advance(31 * SECOND);
    events.take();
    assert_eq!(read(&mut copied).await, "None");
    assert_eq!(events.kinds(), [EventKind::Replayed, EventKind::Ended]);
    assert_eq!(events.ends(), [(id, EndReason::Replayed)]);
    assert_eq!(read(&mut visitor).await, "None");
    assert!(layer.sessions().find_by_id(&id).await.unwrap().is_none());
}

/// Writes to a session synchronously, which works because a memory store never waits.
fn write(sessions: &Sessions, id: &SessionId) {
    let written = sessions.merge(id, &BTreeMap::from([("beside", 1)])).now_or_never();
    written.expect("a memory store never waits").expect("the session exists");
}
