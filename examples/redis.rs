//! Sessions in Redis or Valkey.
//!
//! ```sh
//! DATABASE_URL=redis://localhost/ cargo run --example redis --features redis
//! ```
//!
//! Listens on 127.0.0.1:3000. `PORT` sets another port; port 0 takes any free one.

use axum::Router;
use axum::routing::get;
use sessile::{Error, RedisStore, Session, SessionLayer};

async fn visit(session: Session) -> Result<String, Error> {
    let visits = session.update_now("visits", |visits: &mut u64| {
        *visits += 1;
        *visits
    });
    Ok(format!("visit {}\n", visits.await?))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("DATABASE_URL").unwrap_or_else(|_| "redis://localhost/".to_owned());

    // Instead of `MemoryStore::new()`. The server deletes expired sessions itself.
    let store = RedisStore::connect(&url).await?;

    let app = Router::new().route("/", get(visit)).layer(SessionLayer::new(store));
    let port: u16 = std::env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
