//! axum_session with its null pool: sessions live in its in-memory map alone.

use axum::extract::Path;
use axum::{Extension, Router, routing::get};
use axum_session::{SessionConfig, SessionLayer, SessionNullPool, SessionStore};

use crate::races::meeting::Meeting;
use crate::races::{PARALLEL, key};

type Session = axum_session::Session<SessionNullPool>;

pub(crate) async fn app() -> Router {
    let store = SessionStore::<SessionNullPool>::new(None, SessionConfig::default())
        .await
        .expect("a store without a database cannot fail");
    Router::new()
        .route("/seed", get(seed))
        .route("/set/{key}", get(set))
        .route("/increment", get(increment))
        .route("/slow", get(slow))
        .route("/end", get(end))
        .route("/counter", get(counter))
        .route("/keys", get(keys))
        .layer(SessionLayer::new(store))
        .with_state(())
}

async fn seed(session: Session) {
    session.set("counter", 0_u64);
}

async fn set(Path(key): Path<String>, Extension(meeting): Extension<Meeting>, session: Session) {
    session.get::<u64>("counter");
    meeting.arrive().await;
    session.set(&key, 1_u64);
}

async fn increment(Extension(meeting): Extension<Meeting>, session: Session) {
    let n = session.get::<u64>("counter").unwrap_or(0);
    meeting.arrive().await;
    session.set("counter", n + 1);
}

async fn slow(Extension(meeting): Extension<Meeting>, session: Session) {
    session.get::<u64>("counter");
    meeting.arrive().await;
    meeting.arrive().await;
    session.set("counter", 1_u64);
}

async fn end(session: Session) {
    session.destroy();
}

async fn counter(session: Session) -> String {
    session.get::<u64>("counter").map_or_else(String::new, |n| n.to_string())
}

async fn keys(session: Session) -> String {
    (0..PARALLEL).filter(|&n| session.get::<u64>(&key(n)).is_some()).count().to_string()
}
