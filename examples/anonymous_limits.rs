//! When anybody can make the application store sessions: bound how many there are, how long they live, and who begins them.
//!
//! ```sh
//! cargo run --example anonymous_limits
//! ```
//!
//! listens on 127.0.0.1:3000; `PORT` in the environment changes it, and port 0 takes any that is free. `LIMIT` is how many
//! sessions are kept.
//!
//! Four bounds: a session whose cookie never comes back lives for a minute; an anonymous one lives for ten, and one that
//! somebody signs in to for longer; the store keeps so many, and lets the anonymous ones go first; and only so many are
//! begun a second.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use sessile::{Error, Field, Lifetime, MemoryStore, Session, SessionLayer, SignedIn};

const CART: Field<Vec<String>> = Field::new("cart");

/// What anonymous sessions get: the layer's lifetime.
const VISITOR: Lifetime =
    Lifetime::new().with_idle_timeout(Duration::from_secs(10 * 60)).with_absolute_timeout(Duration::from_secs(60 * 60));

/// What a session gets that somebody has signed in to.
const MEMBER: Lifetime = Lifetime::new();

/// So many sessions may be begun a second, and so many at once. Behind a proxy, an application would have one for each
/// address or network.
#[derive(Clone)]
struct Beginnings(Arc<Mutex<(f64, Instant)>>);

impl Beginnings {
    const A_SECOND: f64 = 50.0;
    const AT_ONCE: f64 = 100.0;

    fn new() -> Self {
        Self(Arc::new(Mutex::new((Self::AT_ONCE, Instant::now()))))
    }

    fn allow(&self) -> bool {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let filled = bucket.0 + now.duration_since(bucket.1).as_secs_f64() * Self::A_SECOND;
        let (left, allowed) = (filled.min(Self::AT_ONCE) - 1.0, filled >= 1.0);
        *bucket = (if allowed { left } else { left + 1.0 }, now);
        allowed
    }
}

/// Writing to a session that is new begins one; reading does not.
async fn add(session: Session, State(beginnings): State<Beginnings>, item: String) -> Result<Response, Error> {
    if session.is_new() && !beginnings.allow() {
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
    session.set_lifetime(MEMBER)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limit: usize = std::env::var("LIMIT").map_or(Ok(100_000), |limit| limit.parse())?;
    let store = MemoryStore::new().with_capacity_limit(limit);
    let layer = SessionLayer::builder(store)
        .with_lifetime(VISITOR)
        .with_unconfirmed_lifetime(Duration::from_secs(60))
        .build()?;
    let app = Router::new()
        .route("/cart", get(show).post(add))
        .route("/sign-in", post(sign_in))
        .route("/account", get(async |user: SignedIn| user.owner().to_owned()))
        .with_state(Beginnings::new())
        .layer(layer);

    let port: u16 = std::env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
