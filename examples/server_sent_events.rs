//! Server-sent events over a detached session.
//!
//! ```sh
//! cargo run --example server_sent_events
//! ```
//!
//! Listens on 127.0.0.1:3000. `PORT` sets another port; port 0 takes any free one. `/events` sends the number of items
//! in the cart whenever it changes, and ends with the session.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::stream;
use sessile::{Error, Field, MemoryStore, Session, SessionLayer};

const CART: Field<Vec<String>> = Field::new("cart");

/// Time between two reloads. An application with many streams would notify them through a channel instead.
const INTERVAL: Duration = Duration::from_millis(200);

/// State of one stream: the session and the last count that was sent.
struct Watch {
    session: Session,
    sent: Option<usize>,
}

impl Watch {
    /// Returns the next count to send, or `None` if the session has ended.
    async fn next(&mut self) -> Option<usize> {
        loop {
            // Sees the writes of other requests; fails if the session has ended.
            self.session.reload().await.ok()?;
            let count = self.session.get(CART).ok()?.unwrap_or_default().len();
            if self.sent.replace(count) != Some(count) {
                return Some(count);
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }
}

async fn events(session: Option<Session>) -> Response {
    // Browsers connect again when a stream ends. This answer stops them: there is no session, or it has ended.
    let Some(session) = session else { return StatusCode::NO_CONTENT.into_response() };
    let watch = Watch { session: session.detach(), sent: None };
    let stream = stream::unfold(watch, async |mut watch| {
        let count = watch.next().await?;
        Some((Ok::<_, Infallible>(Event::default().event("cart").data(count.to_string())), watch))
    });
    Sse::new(stream).keep_alive(KeepAlive::default()).into_response()
}

async fn add(session: Session, item: String) -> Result<(), Error> {
    session.update(CART, move |cart| cart.push(item))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = Router::new()
        .route("/events", get(events))
        .route("/cart", post(add))
        .route("/sign-out", post(async |session: Session| session.sign_out()))
        .layer(SessionLayer::new(MemoryStore::new()));

    let port: u16 = std::env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
