//! axum_session with its null pool, which keeps sessions in memory alone.

use std::fmt::Debug;
use std::hint::black_box;
use std::time::Duration;

use axum::{Router, routing::get};
use axum_session::{DatabasePool, Session, SessionConfig, SessionLayer, SessionNullPool, SessionStore};
use tokio::task::yield_now;

use crate::workload::{THEME, User, padding};

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
    with_layer(store).await
}

/// Database pool, with the bounds that the layer and the handlers need.
pub(crate) trait Pool: DatabasePool + Clone + Debug + Send + Sync + 'static {}

impl<P: DatabasePool + Clone + Debug + Send + Sync + 'static> Pool for P {}

pub(crate) async fn with_layer<P: Pool>(store: SessionStore<P>) -> Router {
    let app = Router::new()
        .route("/untouched", get(untouched))
        .route("/counter", get(counter::<P>))
        .route("/user", get(user::<P>))
        .route("/increment", get(increment::<P>))
        .route("/create", get(create::<P>))
        .route("/seed", get(seed::<P>))
        .route("/seed-large", get(seed_large::<P>))
        .layer(SessionLayer::new(store));
    // The layer has spawned a task per route, each of which keeps the store alive. All but the first task of the
    // process end at their first poll: here, before the measurement.
    yield_now().await;
    app
}

async fn untouched() {}

async fn counter<P: Pool>(session: Session<P>) -> String {
    session.get::<u64>("counter").unwrap_or(0).to_string()
}

async fn user<P: Pool>(session: Session<P>) -> String {
    let user = session.get::<User>("user");
    black_box(user).map_or(0, |user| user.id).to_string()
}

async fn increment<P: Pool>(session: Session<P>) {
    let n = session.get::<u64>("counter").unwrap_or(0);
    session.set("counter", n + 1);
}

async fn create<P: Pool>(session: Session<P>) {
    session.set("counter", 0_u64);
}

async fn seed<P: Pool>(session: Session<P>) {
    session.set("counter", 0_u64);
    session.set("user", User::sample());
    session.set("theme", THEME);
}

async fn seed_large<P: Pool>(session: Session<P>) {
    for (key, value) in padding() {
        session.set(&key, value);
    }
    seed(session).await;
}
