//! Counters of session events, in the Prometheus text format.
//!
//! ```sh
//! cargo run --example metrics
//! ```
//!
//! Listens on 127.0.0.1:3000; `PORT` sets another port. `/` counts visits, `/sign-in` and `/sign-out` change the
//! session, and `/metrics` shows the counters.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use sessile::event::Event;
use sessile::{Error, MemoryStore, Session, SessionLayer};

/// Number of events of each kind. Clones share the counters.
#[derive(Clone, Debug, Default)]
struct Metrics(Arc<Mutex<BTreeMap<String, u64>>>);

impl Metrics {
    /// Counts one event. The hook runs within requests, so it must be fast. An event never holds a token; ids have too
    /// many values for labels.
    fn count(&self, event: &Event<'_>) {
        let label = match event.reason {
            Some(reason) => format!("kind=\"{:?}\",reason=\"{reason:?}\"", event.kind),
            None => format!("kind=\"{:?}\"", event.kind),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(label).or_default() += 1;
    }

    fn text(&self) -> String {
        let mut text = String::from("# TYPE session_events_total counter\n");
        for (label, count) in &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            writeln!(text, "session_events_total{{{label}}} {count}").expect("writing to a string does not fail");
        }
        text
    }
}

async fn visit(session: Session) -> Result<String, Error> {
    let visits = session
        .update_now("visits", |visits: &mut u64| {
            *visits += 1;
            *visits
        })
        .await?;
    Ok(format!("visit {visits}\n"))
}

fn app(metrics: Metrics) -> Result<Router, sessile::config::ConfigError> {
    let counter = metrics.clone();
    let layer = SessionLayer::builder(MemoryStore::new()).with_event_hook(move |event| counter.count(event)).build()?;
    Ok(Router::new()
        .route("/", get(visit))
        .route("/sign-in", post(async |session: Session| session.sign_in("ada")))
        .route("/sign-out", post(async |session: Session| session.sign_out()))
        .layer(layer)
        .route("/metrics", get(async |State(metrics): State<Metrics>| metrics.text()))
        .with_state(metrics))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app(Metrics::default())?).await?;
    Ok(())
}
