//! sessile with its `MemoryStore`.

use axum::extract::Path;
use axum::{Extension, Router, routing::get};
use sessile::{Error, MemoryStore, Session, SessionLayer};

use crate::races::meeting::Meeting;
use crate::races::{PARALLEL, key};

pub(crate) fn app() -> Router {
    routes().layer(SessionLayer::new(MemoryStore::new())).with_state(())
}

pub(crate) fn routes() -> Router {
    Router::new()
        .route("/seed", get(seed))
        .route("/set/{key}", get(set))
        .route("/increment", get(increment))
        .route("/slow", get(slow))
        .route("/end", get(end))
        .route("/counter", get(counter))
        .route("/keys", get(keys))
}

async fn seed(session: Session) -> Result<(), Error> {
    session.insert("counter", &0_u64)
}

async fn set(Path(key): Path<String>, Extension(meeting): Extension<Meeting>, session: Session) -> Result<(), Error> {
    session.get::<u64>("counter")?;
    meeting.arrive().await;
    session.insert(key.as_str(), &1_u64)
}

async fn increment(Extension(meeting): Extension<Meeting>, session: Session) -> Result<(), Error> {
    session.get::<u64>("counter")?;
    meeting.arrive().await;
    session.update("counter", |n: &mut u64| *n += 1)
}

async fn slow(Extension(meeting): Extension<Meeting>, session: Session) -> Result<(), Error> {
    session.get::<u64>("counter")?;
    meeting.arrive().await;
    meeting.arrive().await;
    session.insert("counter", &1_u64)
}

async fn end(session: Session) -> Result<(), Error> {
    session.sign_out()
}

async fn counter(session: Session) -> Result<String, Error> {
    Ok(session.get::<u64>("counter")?.map_or_else(String::new, |n| n.to_string()))
}

async fn keys(session: Session) -> Result<String, Error> {
    let mut found = 0;
    for n in 0..PARALLEL {
        found += usize::from(session.get::<u64>(key(n).as_str())?.is_some());
    }
    Ok(found.to_string())
}
