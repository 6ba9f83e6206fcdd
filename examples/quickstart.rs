//! A small application with one session layer and a route for each session operation.
//!
//! ```sh
//! cargo run --example quickstart
//! ```
//!
//! Listens on 127.0.0.1:3000. `PORT` sets another port; port 0 takes any free one.
//!
//! Sessions are in memory unless `DATABASE_URL` names a database and the example is built with the matching feature:
//! `sqlite:sessions.db`, `postgres://…`, `mysql://…`, `redis://…`.

use std::time::Duration;

use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use sessile::{Error, Field, MemoryStore, Session, SessionId, SessionLayer};

/// Key of the session, with the type of its value.
const VISITS: Field<u64> = Field::new("visits");

fn app(layer: SessionLayer) -> Router {
    Router::new()
        .route("/", get(visit))
        .route("/me", get(me))
        .route("/sign-in", post(sign_in))
        .route("/sign-out", post(sign_out))
        .route("/rotate", post(rotate))
        .route("/set/{key}", post(set))
        .route("/get/{key}", get(read))
        .route("/remove/{key}", post(remove))
        .route("/clear", post(clear))
        .route("/slow/{key}", get(slow_write))
        .route("/slow-read/{key}", get(slow_read))
        .route("/fail/{key}", get(fail))
        .route("/static", get(async || "the same for everybody"))
        .layer(layer)
}

/// Counts visits. Each number is returned once, even if requests run in parallel.
async fn visit(session: Session) -> Result<String, Error> {
    let visits = session
        .update_now(VISITS, |visits| {
            *visits += 1;
            *visits
        })
        .await?;
    Ok(format!("visit {visits}\n"))
}

#[derive(Serialize)]
struct Me {
    id: Option<SessionId>,
    owner: Option<String>,
}

async fn me(session: Option<Session>) -> Result<Json<Me>, StatusCode> {
    let session = session.ok_or(StatusCode::NOT_FOUND)?;
    Ok(Json(Me { id: session.id(), owner: session.owner().map(|owner| owner.to_string()) }))
}

#[derive(Deserialize)]
struct SignIn {
    user: String,
}

/// Signs in. A real application checks a password first.
async fn sign_in(session: Session, Query(SignIn { user }): Query<SignIn>) -> Result<String, Error> {
    session.sign_in(&user)?;
    Ok(format!("signed in as {user}\n"))
}

async fn sign_out(session: Session) -> Result<&'static str, Error> {
    session.sign_out()?;
    Ok("signed out\n")
}

async fn rotate(session: Session) -> Result<&'static str, Error> {
    session.rotate()?;
    Ok("rotated\n")
}

async fn set(session: Session, Path(key): Path<String>, body: String) -> Result<&'static str, Error> {
    session.insert(&key, &body)?;
    Ok("set\n")
}

async fn read(session: Session, Path(key): Path<String>) -> Result<Response, Error> {
    Ok(found(session.get(&key)?))
}

async fn remove(session: Session, Path(key): Path<String>) -> Result<&'static str, Error> {
    Ok(if session.remove(&key)? { "removed\n" } else { "was not there\n" })
}

async fn clear(session: Session) -> Result<&'static str, Error> {
    session.clear()?;
    Ok("cleared\n")
}

#[derive(Deserialize)]
struct Delay {
    #[serde(default)]
    ms: u64,
}

impl Delay {
    async fn wait(&self) {
        tokio::time::sleep(Duration::from_millis(self.ms.min(60_000))).await;
    }
}

/// Loads the session, waits, and writes.
async fn slow_write(
    session: Session,
    Path(key): Path<String>,
    Query(delay): Query<Delay>,
) -> Result<&'static str, Error> {
    delay.wait().await;
    session.insert(&key, "slow")?;
    Ok("set, slowly\n")
}

/// Loads the session, waits, and returns a value as it was at the start of the request.
async fn slow_read(session: Session, Path(key): Path<String>, Query(delay): Query<Delay>) -> Result<Response, Error> {
    delay.wait().await;
    Ok(found(session.get(&key)?))
}

/// Fails after a write. The write is not committed, since the status is 5xx.
async fn fail(session: Session, Path(key): Path<String>) -> Result<(StatusCode, &'static str), Error> {
    session.insert(&key, "failed")?;
    Ok((StatusCode::INTERNAL_SERVER_ERROR, "failed\n"))
}

fn found(value: Option<String>) -> Response {
    match value {
        Some(value) => value.into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Builds the layer over the database with this URL.
async fn layer(url: String) -> Result<SessionLayer, Box<dyn std::error::Error>> {
    let layer = match url.split(':').next().unwrap_or_default() {
        "memory" => SessionLayer::new(MemoryStore::new()),
        #[cfg(feature = "sqlite")]
        "sqlite" => {
            let store = sessile::SqliteStore::connect(&url).await?;
            store.migrate().await?;
            SessionLayer::new(store)
        }
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => {
            let store = sessile::PostgresStore::connect(&url).await?;
            store.migrate().await?;
            SessionLayer::new(store)
        }
        #[cfg(feature = "mysql")]
        "mysql" | "mariadb" => {
            let store = sessile::MySqlStore::connect(&url).await?;
            store.migrate().await?;
            SessionLayer::new(store)
        }
        #[cfg(feature = "redis")]
        "redis" | "rediss" | "valkey" | "valkeys" => SessionLayer::new(sessile::RedisStore::connect(&url).await?),
        other => return Err(format!("no store for {other:?}: build the example with the feature of that name").into()),
    };
    tokio::spawn(layer.sessions().sweep_every(Duration::from_secs(60)));
    Ok(layer)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = std::env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let url = std::env::var("DATABASE_URL").unwrap_or_else(|_| "memory:".to_owned());
    let layer = layer(url).await?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app(layer)).await?;
    Ok(())
}
