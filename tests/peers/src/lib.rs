//! The code of other crates in the migration guides compiles against the releases that the guides name.

#![allow(dead_code, unused_variables, reason = "the code is compiled, not run")]
#![cfg(test)]

type Shown = Result<(), Box<dyn std::error::Error>>;

mod from_tower_sessions {
    use sqlx_08::PgPool;
    use tower_sessions::cookie::time::Duration;
    use tower_sessions::{Expiry, Session, SessionManagerLayer};
    use tower_sessions_sqlx_store::PostgresStore;

    async fn shown(pool: PgPool) -> super::Shown {
        include!(concat!(env!("OUT_DIR"), "/from-tower-sessions.rs"))
    }
}

mod from_axum_session {
    use axum::Router;
    use axum::routing::get;
    use axum_session::{Session, SessionConfig, SessionLayer, SessionStore};
    use axum_session_sqlx::SessionPgPool;
    use sqlx_09::PgPool;
    use time::Duration;

    async fn shown(pool: PgPool) -> super::Shown {
        include!(concat!(env!("OUT_DIR"), "/from-axum-session.rs"))
    }
}

mod from_actix_session {
    use actix_session::config::PersistentSession;
    use actix_session::storage::RedisSessionStore;
    use actix_session::{Session, SessionMiddleware};
    use actix_web::cookie::Key;
    use actix_web::cookie::time::Duration;
    use actix_web::{App, HttpResponse, web};

    async fn shown(key: Key) -> super::Shown {
        include!(concat!(env!("OUT_DIR"), "/from-actix-session.rs"))
    }
}
