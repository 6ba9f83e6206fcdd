//! Limits on anonymous sessions.
//!
//! ```sh
//! cargo run --example anonymous_limits
//! ```
//!
//! Listens on 127.0.0.1:3000. `PORT` sets another port; port 0 takes any free one. `LIMIT` sets the maximum number of
//! sessions.
//!
//! If any visitor can make the application store a session, a client can fill the store. Four limits:
//!
//! - A session whose cookie does not come back expires after a minute.
//! - An anonymous session expires after ten minutes without a request; signing in gives it a longer lifetime.
//! - The store holds a maximum number of sessions, and removes anonymous ones first.
//! - The handler limits how many sessions start per second.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use sessile::{Error, Field, Lifetime, MemoryStore, Session, SessionLayer, SignedIn};

const CART: Field<Vec<String>> = Field::new("cart");

/// Lifetime of anonymous sessions, set on the layer.
const ANONYMOUS: Lifetime =
    Lifetime::new().with_idle_timeout(Duration::from_secs(10 * 60)).with_absolute_timeout(Duration::from_secs(60 * 60));

/// Lifetime of a session after sign-in.
const SIGNED_IN: Lifetime = Lifetime::new();

/// Rate limit on new sessions. Behind a proxy, an application would keep one per address or network.
#[derive(Clone)]
struct RateLimit {
    per_second: f64,
    bucket: Arc<Mutex<(f64, Instant)>>,
}

impl RateLimit {
    const BURST: f64 = 100.0;

    fn new(per_second: f64) -> Self {
        Self { per_second, bucket: Arc::new(Mutex::new((Self::BURST, Instant::now()))) }
    }

    /// Takes one token from the bucket, if there is one.
    fn allow(&self) -> bool {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let (tokens, refilled_at) = *bucket;
        let now = Instant::now();
        let tokens = (tokens + now.duration_since(refilled_at).as_secs_f64() * self.per_second).min(Self::BURST);
        let allowed = tokens >= 1.0;
        *bucket = (if allowed { tokens - 1.0 } else { tokens }, now);
        allowed
    }
}

/// Adds an item. Only a write to a new session stores one, so only this handler checks the rate limit.
async fn add(session: Session, State(rate_limit): State<RateLimit>, item: String) -> Result<Response, Error> {
    if session.is_new() && !rate_limit.allow() {
        return Ok(StatusCode::TOO_MANY_REQUESTS.into_response());
    }
    session.update(CART, move |cart| cart.push(item))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn show(session: Session) -> Result<Json<Vec<String>>, Error> {
    Ok(Json(session.get(CART)?.unwrap_or_default()))
}

async fn sign_in(session: Session) -> Result<(), Error> {
    session.sign_in("user:ada")?;
    session.set_lifetime(SIGNED_IN)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limit: usize = std::env::var("LIMIT").map_or(Ok(100_000), |limit| limit.parse())?;
    let per_second: f64 = std::env::var("PER_SECOND").map_or(Ok(50.0), |rate| rate.parse())?;
    let store = MemoryStore::new().with_capacity_limit(limit);
    let layer = SessionLayer::builder(store)
        .with_lifetime(ANONYMOUS)
        .with_unconfirmed_lifetime(Duration::from_secs(60))
        .build()?;
    let app = Router::new()
        .route("/cart", get(show).post(add))
        .route("/sign-in", post(sign_in))
        .route("/account", get(async |user: SignedIn| user.owner().to_owned()))
        .with_state(RateLimit::new(per_second))
        .layer(layer);

    let port: u16 = std::env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
