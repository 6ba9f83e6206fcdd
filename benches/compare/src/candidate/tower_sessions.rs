//! tower-sessions with its `MemoryStore`.

use std::hint::black_box;
use std::time::Duration;

use axum::{Router, http::StatusCode, routing::get};
use tower_sessions::{Expiry, MemoryStore, SessionManagerLayer};

use crate::candidate::tower_sessions_session::Session;
use crate::workload::{THEME, User, padding};

pub(crate) fn app(lifetime: Option<Duration>) -> Router {
    let mut layer = SessionManagerLayer::new(MemoryStore::default());
    if let Some(lifetime) = lifetime {
        let lifetime = time::Duration::try_from(lifetime).expect("a lifetime of seconds");
        layer = layer.with_expiry(Expiry::OnInactivity(lifetime));
    }
    routes::<tower_sessions::Session>().layer(layer)
}

pub(crate) fn routes<S: Session>() -> Router {
    Router::new()
        .route("/untouched", get(untouched))
        .route("/counter", get(counter::<S>))
        .route("/user", get(user::<S>))
        .route("/increment", get(increment::<S>))
        .route("/create", get(create::<S>))
        .route("/seed", get(seed::<S>))
        .route("/seed-large", get(seed_large::<S>))
}

async fn untouched() {}

async fn counter<S: Session>(session: S) -> Result<String, StatusCode> {
    let n = session.get::<u64>("counter").await?;
    Ok(n.unwrap_or(0).to_string())
}

async fn user<S: Session>(session: S) -> Result<String, StatusCode> {
    let user = session.get::<User>("user").await?;
    Ok(black_box(user).map_or(0, |user| user.id).to_string())
}

async fn increment<S: Session>(session: S) -> Result<(), StatusCode> {
    let n = session.get::<u64>("counter").await?;
    session.insert("counter", n.unwrap_or(0) + 1).await
}

async fn create<S: Session>(session: S) -> Result<(), StatusCode> {
    session.insert("counter", 0_u64).await
}

async fn seed<S: Session>(session: S) -> Result<(), StatusCode> {
    session.insert("counter", 0_u64).await?;
    session.insert("user", User::sample()).await?;
    session.insert("theme", THEME).await
}

async fn seed_large<S: Session>(session: S) -> Result<(), StatusCode> {
    for (key, value) in padding() {
        session.insert(&key, value).await?;
    }
    seed(session).await
}
