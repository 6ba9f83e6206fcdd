//! Background work that writes its result to the session.
//!
//! ```sh
//! cargo run --example background_job
//! ```
//!
//! Listens on 127.0.0.1:3000. `PORT` sets another port; port 0 takes any free one.
//!
//! Two ways: a task in this process keeps a detached session. A job in a queue, which another process may take, holds
//! the session's id, and the worker opens the session with `Sessions`.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use sessile::{Error, ErrorKind, Field, MemoryStore, Session, SessionId, SessionLayer, Sessions};
use tokio::sync::mpsc;

const REPORT: Field<Report> = Field::new("report");

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Report {
    #[default]
    None,
    Working,
    Ready {
        lines: u32,
    },
}

/// Starts a task in this process, with the detached session.
async fn start(session: Session) -> Result<StatusCode, Error> {
    session.insert(REPORT, &Report::Working)?;
    // Committed before the task starts, so that the task's result is written later than this.
    session.commit().await?;
    let session = session.detach();
    tokio::spawn(async move {
        if let Err(error) = work(session).await {
            // The user signed out in the meantime, so the report is not needed.
            if error.kind() != ErrorKind::Ended {
                eprintln!("the report was not stored: {error}");
            }
        }
    });
    Ok(StatusCode::ACCEPTED)
}

async fn work(session: Session) -> Result<(), Error> {
    tokio::time::sleep(Duration::from_millis(100)).await;
    session.insert(REPORT, &Report::Ready { lines: 42 })?;
    session.commit().await
}

/// Sends a job to a queue. The job holds the id, which does not open the session for a client.
async fn enqueue(session: Session, State(queue): State<mpsc::Sender<SessionId>>) -> Result<StatusCode, Error> {
    session.insert(REPORT, &Report::Working)?;
    session.commit().await?;
    let id = session.id().expect("a committed session has an id");
    Ok(if queue.send(id).await.is_ok() { StatusCode::ACCEPTED } else { StatusCode::SERVICE_UNAVAILABLE })
}

/// Works through the queue. A worker in another process needs access to the store alone.
async fn worker(sessions: Sessions, mut queue: mpsc::Receiver<SessionId>) {
    while let Some(id) = queue.recv().await {
        let done = async {
            let Some(session) = sessions.open_for_write(&id).await? else { return Ok(()) };
            work(session).await
        };
        if let Err(error) = done.await {
            eprintln!("the report of {id} was not stored: {error}");
        }
    }
}

async fn show(session: Session) -> Result<Json<Report>, Error> {
    Ok(Json(session.get(REPORT)?.unwrap_or_default()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let layer = SessionLayer::new(MemoryStore::new());
    let (queue, jobs) = mpsc::channel(100);
    tokio::spawn(worker(layer.sessions(), jobs));
    let app = Router::new()
        .route("/report", get(show).post(start))
        .route("/report/queued", post(enqueue))
        .route("/sign-out", post(async |session: Session| session.sign_out()))
        .with_state(queue)
        .layer(layer);

    let port: u16 = std::env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
