//! A store in memory answers at once, and requests over it take a shorter way: it must lead to the same place. These tests have the
//! store itself under the layer; most others wrap it.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::post;
use http::{Method, StatusCode};
use sessile::{Error, EventKind, MemoryStore, Session, SessionLayer};
use support::client::{Client, Visitor, request, set_cookies};
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
    let mut visitor = Visitor::new(&layer);
    visitor.visit(async |session: Session| session.insert("n", &1)).await.set_cookie();

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
    let mut visitor = Visitor::new(&layer);
    visitor.visit(async |session: Session| session.insert("n", &1)).await.set_cookie();
    let beside = sessions.clone();
    let reply = visitor
        .visit(async move |session: Session| {
            session.insert("n", &2)?;
            beside.delete(&session.id().unwrap()).await?;
            Ok::<_, Error>(session.id().unwrap().to_string())
        })
        .await;
    assert_eq!(reply.status, StatusCode::OK);
    let id = reply.text().parse().unwrap();
    assert!(sessions.get(&id).await.unwrap().is_none(), "what the request wrote went with the session");
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
