//! tower-sessions with its `MemoryStore`.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::{Extension, Router, routing::get};
use tower_sessions::session::Error;
use tower_sessions::{MemoryStore, Session, SessionManagerLayer};

use crate::races::meeting::Meeting;
use crate::races::{PARALLEL, key};

pub(crate) fn app() -> Router {
    Router::new()
        .route("/seed", get(seed))
        .route("/set/{key}", get(set))
        .route("/increment", get(increment))
        .route("/slow", get(slow))
        .route("/end", get(end))
        .route("/counter", get(counter))
        .route("/keys", get(keys))
        .layer(SessionManagerLayer::new(MemoryStore::default()))
        .with_state(())
}

async fn seed(session: Session) -> Result<(), StatusCode> {
    session.insert("counter", 0_u64).await.map_err(failed)
}

async fn set(
    Path(key): Path<String>,
    Extension(meeting): Extension<Meeting>,
    session: Session,
) -> Result<(), StatusCode> {
    session.get::<u64>("counter").await.map_err(failed)?;
    meeting.arrive().await;
    session.insert(&key, 1_u64).await.map_err(failed)
}

async fn increment(Extension(meeting): Extension<Meeting>, session: Session) -> Result<(), StatusCode> {
    let n = session.get::<u64>("counter").await.map_err(failed)?;
    meeting.arrive().await;
    session.insert("counter", n.unwrap_or(0) + 1).await.map_err(failed)
}

async fn slow(Extension(meeting): Extension<Meeting>, session: Session) -> Result<(), StatusCode> {
    session.get::<u64>("counter").await.map_err(failed)?;
    meeting.arrive().await;
    meeting.arrive().await;
    session.insert("counter", 1_u64).await.map_err(failed)
}

async fn end(session: Session) -> Result<(), StatusCode> {
    session.flush().await.map_err(failed)
}

async fn counter(session: Session) -> Result<String, StatusCode> {
    let n = session.get::<u64>("counter").await.map_err(failed)?;
    Ok(n.map_or_else(String::new, |n| n.to_string()))
}

async fn keys(session: Session) -> Result<String, StatusCode> {
    let mut found = 0;
    for n in 0..PARALLEL {
        found += usize::from(session.get::<u64>(&key(n)).await.map_err(failed)?.is_some());
    }
    Ok(found.to_string())
}

/// Its errors are no responses: an application maps them.
fn failed(_: Error) -> StatusCode {
    StatusCode::INTERNAL_SERVER_ERROR
}
