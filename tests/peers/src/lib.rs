//! The code of other crates in the migration guides compiles against the releases that the guides name.

#![allow(dead_code, non_local_definitions, unused_variables, reason = "the code is compiled, not run")]
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

mod from_axum_session_auth {
    use async_trait::async_trait;
    use axum::Router;
    use axum::http::{Method, StatusCode};
    use axum::routing::{get, post};
    use axum_session::{SessionLayer, SessionStore};
    use axum_session_auth::{Auth, AuthConfig, AuthSessionLayer, Authentication, HasPermission, Rights};
    use axum_session_sqlx::SessionPgPool;
    use sqlx_09::PgPool;

    #[derive(Clone, Debug, Default)]
    struct Account {
        name: String,
        is_guest: bool,
        permissions: Vec<String>,
    }

    async fn by_id(id: i64, pool: Option<&PgPool>) -> Result<Account, anyhow::Error> {
        Ok(Account::default())
    }

    async fn shown(pool: PgPool, sessions: SessionStore<SessionPgPool>) -> super::Shown {
        include!(concat!(env!("OUT_DIR"), "/from-axum-session-auth.rs"))
    }
}

mod from_axum_login {
    use axum::http::StatusCode;
    use axum::response::Redirect;
    use axum::routing::{get, post};
    use axum::{Form, Router};
    use axum_login::{AuthManagerLayerBuilder, AuthUser, AuthnBackend, login_required};
    use axum_messages::{Messages, MessagesManagerLayer};
    use std::convert::Infallible as DbError;
    use tower_sessions::cookie::time::Duration;
    use tower_sessions::{Expiry, MemoryStore, SessionManagerLayer};

    #[derive(Clone, Debug)]
    struct Account {
        id: i64,
        name: String,
        password_hash: String,
    }

    #[derive(Clone, serde::Deserialize)]
    struct Credentials {
        username: String,
        password: String,
        next: Option<String>,
    }

    #[derive(Clone)]
    struct Accounts;

    impl Accounts {
        async fn verify(&self, form: &Credentials) -> Result<Option<Account>, DbError> {
            Ok(None)
        }

        async fn by_id(&self, id: i64) -> Result<Option<Account>, DbError> {
            Ok(None)
        }
    }

    fn shown() -> super::Shown {
        include!(concat!(env!("OUT_DIR"), "/from-axum-login.rs"))
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

mod from_async_session {
    use std::time::Duration;

    use async_session::{MemoryStore, Session, SessionStore};

    fn shown() -> super::Shown {
        include!(concat!(env!("OUT_DIR"), "/from-async-session.rs"))
    }
}

mod from_cookies {
    use axum::http::StatusCode;
    use axum::response::Redirect;
    use axum_extra::extract::PrivateCookieJar;
    use axum_extra::extract::cookie::Cookie;
    use time::Duration;

    fn shown() -> super::Shown {
        include!(concat!(env!("OUT_DIR"), "/from-cookies.rs"))
    }
}
