//! When work goes on after the response and its result belongs into the session.
//!
//! ```sh
//! cargo run --example background_job
//! ```
//!
//! listens on 127.0.0.1:3000; `PORT` in the environment changes it, and port 0 takes any that is free.
//!
//! Two ways: a task of this process keeps the detached session; a job that another process takes from a queue is given
//! the session's id, and opens it with `Sessions`.

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

/// In this process: the task has the session, detached.
async fn start(session: Session) -> Result<StatusCode, Error> {
    session.insert(REPORT, &Report::Working)?;
    // Stored before the task begins, so that what it writes comes after.
    session.commit().await?;
    let session = session.detach();
    tokio::spawn(async move {
        if let Err(error) = work(session).await {
            // Signed out meanwhile: there is nobody to tell.
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

/// Through a queue: what travels is the id, which opens nothing in the wrong hands.
async fn enqueue(session: Session, State(queue): State<mpsc::Sender<SessionId>>) -> Result<StatusCode, Error> {
    session.insert(REPORT, &Report::Working)?;
    session.commit().await?;
    let id = session.id().expect("it was just stored");
    Ok(if queue.send(id).await.is_ok() { StatusCode::ACCEPTED } else { StatusCode::SERVICE_UNAVAILABLE })
}

/// The worker, in another process perhaps: it needs the store alone.
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
