//! tower-sessions with its `MemoryStore`.

use std::hint::black_box;
use std::time::Duration;

use axum::{Router, http::StatusCode, routing::get};
use tower_sessions::session::Error;
use tower_sessions::{Expiry, MemoryStore, Session, SessionManagerLayer};

use crate::workload::{THEME, User, padding};

pub(crate) fn app(lifetime: Option<Duration>) -> Router {
    let mut layer = SessionManagerLayer::new(MemoryStore::default());
    if let Some(lifetime) = lifetime {
        let lifetime = time::Duration::try_from(lifetime).expect("a lifetime of seconds");
        layer = layer.with_expiry(Expiry::OnInactivity(lifetime));
    }
    Router::new()
        .route("/untouched", get(untouched))
        .route("/counter", get(counter))
        .route("/user", get(user))
        .route("/increment", get(increment))
        .route("/create", get(create))
        .route("/seed", get(seed))
        .route("/seed-large", get(seed_large))
        .layer(layer)
}

async fn untouched() {}

async fn counter(session: Session) -> Result<String, StatusCode> {
    let n = session.get::<u64>("counter").await.map_err(failed)?;
    Ok(n.unwrap_or(0).to_string())
}

async fn user(session: Session) -> Result<String, StatusCode> {
    let user = session.get::<User>("user").await.map_err(failed)?;
    Ok(black_box(user).map_or(0, |user| user.id).to_string())
}

async fn increment(session: Session) -> Result<(), StatusCode> {
    let n = session.get::<u64>("counter").await.map_err(failed)?;
    session.insert("counter", n.unwrap_or(0) + 1).await.map_err(failed)
}

async fn create(session: Session) -> Result<(), StatusCode> {
    session.insert("counter", 0_u64).await.map_err(failed)
}

async fn seed(session: Session) -> Result<(), StatusCode> {
    session.insert("counter", 0_u64).await.map_err(failed)?;
    session.insert("user", User::sample()).await.map_err(failed)?;
    session.insert("theme", THEME).await.map_err(failed)
}

async fn seed_large(session: Session) -> Result<(), StatusCode> {
    for (key, value) in padding() {
        session.insert(&key, value).await.map_err(failed)?;
    }
    seed(session).await
}

/// Its errors are no responses: an application maps them.
fn failed(_: Error) -> StatusCode {
    StatusCode::INTERNAL_SERVER_ERROR
}
