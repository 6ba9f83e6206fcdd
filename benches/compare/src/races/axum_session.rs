//! axum_session with its null pool, which keeps sessions in memory alone.

use axum::extract::Path;
use axum::{Extension, Router, routing::get};
use axum_session::{Session, SessionConfig, SessionLayer, SessionNullPool, SessionStore};

use crate::candidate::axum_session::Pool;
use crate::races::meeting::Meeting;
use crate::races::{PARALLEL, key};

pub(crate) async fn app() -> Router {
    let store = SessionStore::<SessionNullPool>::new(None, SessionConfig::default())
        .await
        .expect("a store without a database cannot fail");
    with_layer(store)
}

pub(crate) fn with_layer<P: Pool>(store: SessionStore<P>) -> Router {
    Router::new()
        .route("/seed", get(seed::<P>))
        .route("/set/{key}", get(set::<P>))
        .route("/increment", get(increment::<P>))
        .route("/slow", get(slow::<P>))
        .route("/end", get(end::<P>))
        .route("/counter", get(counter::<P>))
        .route("/keys", get(keys::<P>))
        .layer(SessionLayer::new(store))
        .with_state(())
}

async fn seed<P: Pool>(session: Session<P>) {
    session.set("counter", 0_u64);
}

async fn set<P: Pool>(Path(key): Path<String>, Extension(meeting): Extension<Meeting>, session: Session<P>) {
    session.get::<u64>("counter");
    meeting.arrive().await;
    session.set(&key, 1_u64);
}

async fn increment<P: Pool>(Extension(meeting): Extension<Meeting>, session: Session<P>) {
    let n = session.get::<u64>("counter").unwrap_or(0);
    meeting.arrive().await;
    session.set("counter", n + 1);
}

async fn slow<P: Pool>(Extension(meeting): Extension<Meeting>, session: Session<P>) {
    session.get::<u64>("counter");
    meeting.arrive().await;
    meeting.arrive().await;
    session.set("counter", 1_u64);
}

async fn end<P: Pool>(session: Session<P>) {
    session.destroy();
}

async fn counter<P: Pool>(session: Session<P>) -> String {
    session.get::<u64>("counter").map_or_else(String::new, |n| n.to_string())
}

async fn keys<P: Pool>(session: Session<P>) -> String {
    (0..PARALLEL).filter(|&n| session.get::<u64>(&key(n)).is_some()).count().to_string()
}
