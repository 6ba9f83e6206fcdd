//! Sessions in PostgreSQL.
//!
//! ```sh
//! DATABASE_URL=postgres://postgres@localhost/postgres cargo run --example postgres --features postgres
//! ```
//!
//! Listens on 127.0.0.1:3000. `PORT` sets another port; port 0 takes any free one.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use sessile::{Error, PostgresStore, Session, SessionLayer};

async fn visit(session: Session) -> Result<String, Error> {
    let visits = session.update_now("visits", |visits: &mut u64| {
        *visits += 1;
        *visits
    });
    Ok(format!("visit {}\n", visits.await?))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("DATABASE_URL").unwrap_or_else(|_| "postgres://postgres@localhost/postgres".to_owned());

    // Instead of `MemoryStore::new()`:
    let store = PostgresStore::connect(&url).await?;
    // Creates the table if it is missing. Several nodes may call this at the same time.
    store.migrate().await?;

    let layer = SessionLayer::new(store);
    // Deletes expired sessions once a minute.
    tokio::spawn(layer.sessions().sweep_every(Duration::from_secs(60)));

    let app = Router::new().route("/", get(visit)).layer(layer);
    let port: u16 = std::env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
