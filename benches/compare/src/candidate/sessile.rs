//! sessile with its `MemoryStore`.

use std::hint::black_box;
use std::time::Duration;

use axum::{Router, routing::get};
use sessile::{Error, Lifetime, MemoryStore, Session, SessionLayer};

use crate::workload::{THEME, User, padding};

pub(crate) fn app(lifetime: Option<Duration>) -> Router {
    let mut layer = SessionLayer::builder(MemoryStore::new());
    if let Some(idle) = lifetime {
        layer = layer.with_lifetime(Lifetime::new().with_idle_timeout(idle));
    }
    routes().layer(layer.build().expect("an idle time below the absolute one"))
}

pub(crate) fn routes() -> Router {
    Router::new()
        .route("/untouched", get(untouched))
        .route("/counter", get(counter))
        .route("/user", get(user))
        .route("/increment", get(increment))
        .route("/create", get(create))
        .route("/seed", get(seed))
        .route("/seed-large", get(seed_large))
}

async fn untouched() {}

async fn counter(session: Session) -> Result<String, Error> {
    Ok(session.get::<u64>("counter")?.unwrap_or(0).to_string())
}

async fn user(session: Session) -> Result<String, Error> {
    let user = session.get::<User>("user")?;
    Ok(black_box(user).map_or(0, |user| user.id).to_string())
}

async fn increment(session: Session) -> Result<(), Error> {
    session.update("counter", |n: &mut u64| *n += 1)
}

async fn create(session: Session) -> Result<(), Error> {
    session.insert("counter", &0_u64)
}

async fn seed(session: Session) -> Result<(), Error> {
    session.insert("counter", &0_u64)?;
    session.insert("user", &User::sample())?;
    session.insert("theme", THEME)
}

async fn seed_large(session: Session) -> Result<(), Error> {
    for (key, value) in padding() {
        session.insert(key.as_str(), &value)?;
    }
    seed(session).await
}
