//! When a page is told of what happens to its session: a stream of server-sent events over a detached session.
//!
//! ```sh
//! cargo run --example server_sent_events
//! ```
//!
//! listens on 127.0.0.1:3000; `PORT` in the environment changes it, and port 0 takes any that is free. `/events` says how
//! many things are in the cart, whenever that changes, and ends with the session.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::{get, post};
use futures_util::{Stream, stream};
use sessile::{Error, Field, MemoryStore, Session, SessionLayer};

const CART: Field<Vec<String>> = Field::new("cart");

/// How often the session is looked at. An application with many streams would be told by a channel instead.
const PERIOD: Duration = Duration::from_millis(200);

/// What a stream knows: the session, and what it said last.
struct Watch {
    session: Session,
    said: Option<usize>,
}

impl Watch {
    /// The next thing to say; `None` when the session has ended.
    async fn next(&mut self) -> Option<usize> {
        loop {
            // Other requests change the session: reload shows what they wrote, and fails when it is over.
            self.session.reload().await.ok()?;
            let count = self.session.get(CART).ok()?.unwrap_or_default().len();
            if self.said.replace(count) != Some(count) {
                return Some(count);
            }
            tokio::time::sleep(PERIOD).await;
        }
    }
}

async fn events(session: Option<Session>) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Error> {
    // A visitor without a session has nothing to watch: the stream is empty.
    let watch = session.map(|session| Watch { session: session.detach(), said: None });
    let stream = stream::unfold(watch, async |watch| {
        let mut watch = watch?;
        let count = watch.next().await?;
        Some((Ok(Event::default().event("cart").data(count.to_string())), Some(watch)))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()))
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
