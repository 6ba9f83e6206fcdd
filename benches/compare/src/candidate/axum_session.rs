//! axum_session with its null pool: sessions live in its in-memory map alone.

use std::hint::black_box;
use std::time::Duration;

use axum::{Router, routing::get};
use axum_session::{SessionConfig, SessionLayer, SessionNullPool, SessionStore};
use tokio::task::yield_now;

use crate::workload::{THEME, User, padding};

type Session = axum_session::Session<SessionNullPool>;

pub(crate) async fn app(lifetime: Option<Duration>) -> Router {
    let mut config = SessionConfig::default();
    if let Some(lifetime) = lifetime {
        let lifetime = time::Duration::try_from(lifetime).expect("a lifetime of seconds");
        config = config
            .with_lifetime(lifetime)
            .with_memory_lifetime(lifetime)
            .with_purge_update(lifetime)
            .with_thread_sleep_duration(lifetime);
    }
    let store =
        SessionStore::<SessionNullPool>::new(None, config).await.expect("a store without a database cannot fail");
    let app = Router::new()
        .route("/untouched", get(untouched))
        .route("/counter", get(counter))
        .route("/user", get(user))
        .route("/increment", get(increment))
        .route("/create", get(create))
        .route("/seed", get(seed))
        .route("/seed-large", get(seed_large))
        .layer(SessionLayer::new(store));
    // Its layer has spawned a task for each route, and each keeps the store alive. All but the first of the
    // process end as soon as they are let run: before the measurement, not during it.
    yield_now().await;
    app
}

async fn untouched() {}

async fn counter(session: Session) -> String {
    session.get::<u64>("counter").unwrap_or(0).to_string()
}

async fn user(session: Session) -> String {
    let user = session.get::<User>("user");
    black_box(user).map_or(0, |user| user.id).to_string()
}

async fn increment(session: Session) {
    let n = session.get::<u64>("counter").unwrap_or(0);
    session.set("counter", n + 1);
}

async fn create(session: Session) {
    session.set("counter", 0_u64);
}

async fn seed(session: Session) {
    session.set("counter", 0_u64);
    session.set("user", User::sample());
    session.set("theme", THEME);
}

async fn seed_large(session: Session) {
    for (key, value) in padding() {
        session.set(&key, value);
    }
    seed(session).await;
}
