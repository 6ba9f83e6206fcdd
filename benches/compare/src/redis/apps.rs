//! The applications on a Redis server.

use axum::Router;
use axum_session::{SessionConfig, SessionStore};
use axum_session_redispool::SessionRedisPool;
use redis::Client;
use redis_pool::SingleRedisPool;
use sessile::{RedisStore, SessionLayer};
use tower_sessions_14::{Session, SessionManagerLayer};
use tower_sessions_redis_store::fred::prelude::{ClientLike, Config, Pool};

use crate::candidate::{self, Candidate};
use crate::races;

/// Creates an application with the routes of [`crate::candidate`].
pub(crate) async fn requested(candidate: Candidate, url: &str) -> Router {
    let app = match candidate {
        Candidate::Noop => candidate::noop::app(),
        Candidate::TowerSessions => {
            candidate::tower_sessions::routes::<Session>().layer(tower_sessions_layer(url).await)
        }
        Candidate::AxumSession => candidate::axum_session::with_layer(axum_session_store(url).await).await,
        Candidate::Sessile => candidate::sessile::routes().layer(sessile_layer(url).await),
        Candidate::Minimal => unreachable!("the minimal layer has no store"),
    };
    app.with_state(())
}

/// Creates an application with the routes of [`crate::races`].
pub(crate) async fn racing(candidate: Candidate, url: &str) -> Router {
    let app = match candidate {
        Candidate::TowerSessions => races::tower_sessions::routes::<Session>().layer(tower_sessions_layer(url).await),
        Candidate::AxumSession => races::axum_session::with_layer(axum_session_store(url).await),
        Candidate::Sessile => races::sessile::routes().layer(sessile_layer(url).await),
        Candidate::Noop | Candidate::Minimal => unreachable!("{} is nothing to deploy", candidate.name()),
    };
    app.with_state(())
}

/// Creates a store over fred's pool, with six connections.
async fn tower_sessions_layer(url: &str) -> SessionManagerLayer<tower_sessions_redis_store::RedisStore<Pool>> {
    let config = Config::from_url(url).expect("the URL is valid");
    let pool = Pool::new(config, None, None, None, 6).expect("six connections are a pool");
    pool.connect();
    pool.wait_for_connect().await.expect("the server is there");
    SessionManagerLayer::new(tower_sessions_redis_store::RedisStore::new(pool))
}

/// Creates a store over redis_pool's pool, with 16 connections. It also keeps sessions in memory.
async fn axum_session_store(url: &str) -> SessionStore<SessionRedisPool> {
    let pool = SingleRedisPool::from(Client::open(url).expect("the URL is valid"));
    let store = SessionStore::new(Some(pool.into()), SessionConfig::default()).await;
    store.expect("there is nothing to set up on the server")
}

/// Creates a layer over one connection, which all requests share.
async fn sessile_layer(url: &str) -> SessionLayer {
    SessionLayer::new(RedisStore::connect(url).await.expect("the server is there"))
}
