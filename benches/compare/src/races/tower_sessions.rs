//! tower-sessions with its `MemoryStore`.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::{Extension, Router, routing::get};
use tower_sessions::{MemoryStore, SessionManagerLayer};

use crate::candidate::tower_sessions_session::Session;
use crate::races::meeting::Meeting;
use crate::races::{PARALLEL, key};

pub(crate) fn app() -> Router {
    let layer = SessionManagerLayer::new(MemoryStore::default());
    routes::<tower_sessions::Session>().layer(layer).with_state(())
}

pub(crate) fn routes<S: Session>() -> Router {
    Router::new()
        .route("/seed", get(seed::<S>))
        .route("/set/{key}", get(set::<S>))
        .route("/increment", get(increment::<S>))
        .route("/slow", get(slow::<S>))
        .route("/end", get(end::<S>))
        .route("/counter", get(counter::<S>))
        .route("/keys", get(keys::<S>))
}

async fn seed<S: Session>(session: S) -> Result<(), StatusCode> {
    session.insert("counter", 0_u64).await
}

async fn set<S: Session>(
    Path(key): Path<String>,
    Extension(meeting): Extension<Meeting>,
    session: S,
) -> Result<(), StatusCode> {
    session.get::<u64>("counter").await?;
    meeting.arrive().await;
    session.insert(&key, 1_u64).await
}

async fn increment<S: Session>(Extension(meeting): Extension<Meeting>, session: S) -> Result<(), StatusCode> {
    let n = session.get::<u64>("counter").await?;
    meeting.arrive().await;
    session.insert("counter", n.unwrap_or(0) + 1).await
}

async fn slow<S: Session>(Extension(meeting): Extension<Meeting>, session: S) -> Result<(), StatusCode> {
    session.get::<u64>("counter").await?;
    meeting.arrive().await;
    meeting.arrive().await;
    session.insert("counter", 1_u64).await
}

async fn end<S: Session>(session: S) -> Result<(), StatusCode> {
    session.flush().await
}

async fn counter<S: Session>(session: S) -> Result<String, StatusCode> {
    let n = session.get::<u64>("counter").await?;
    Ok(n.map_or_else(String::new, |n| n.to_string()))
}

async fn keys<S: Session>(session: S) -> Result<String, StatusCode> {
    let mut found = 0;
    for n in 0..PARALLEL {
        found += usize::from(session.get::<u64>(&key(n)).await?.is_some());
    }
    Ok(found.to_string())
}
