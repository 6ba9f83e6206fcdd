//! When a WebSocket reads and changes the session: it is detached, since the response's head is out by then.
//!
//! ```sh
//! cargo run --example websocket
//! ```
//!
//! listens on 127.0.0.1:3000; `PORT` in the environment changes it, and port 0 takes any that is free. Every message that
//! comes over `/ws` is kept in the session and answered with how many there are.

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use sessile::{Error, Field, MemoryStore, Session, SessionLayer, SignedIn};

const MESSAGES: Field<Vec<String>> = Field::new("messages");

/// Browsers send cookies with WebSockets that any site opens: the origin says whether it was ours.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match (text(header::ORIGIN), text(header::HOST)) {
        (Some(origin), Some(host)) => origin.split_once("://").is_some_and(|(_, origin)| origin == host),
        // Not a browser.
        (None, _) => true,
        _ => false,
    }
}

async fn connect(user: SignedIn, headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    if !is_same_origin(&headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let session = user.session().detach();
    upgrade.on_upgrade(move |socket| talk(socket, session))
}

async fn talk(mut socket: WebSocket, session: Session) {
    while let Some(Ok(message)) = socket.recv().await {
        let Message::Text(text) = message else { continue };
        let answer = match keep(&session, text.to_string()).await {
            Ok(count) => Message::Text(format!("{count}").into()),
            // Signed out meanwhile, elsewhere perhaps: the conversation is over.
            Err(error) => {
                Message::Close(Some(CloseFrame { code: close_code::POLICY, reason: error.kind().to_string().into() }))
            }
        };
        let over = matches!(answer, Message::Close(_));
        if socket.send(answer).await.is_err() || over {
            return;
        }
    }
}

/// Sees what other requests have written since, and that the session is still there; then writes.
async fn keep(session: &Session, text: String) -> Result<usize, Error> {
    session.reload().await?;
    let count = session.update_now(MESSAGES, move |messages| {
        messages.push(text);
        messages.len()
    });
    count.await
}

async fn messages(session: Session) -> Result<Json<Vec<String>>, Error> {
    Ok(Json(session.get(MESSAGES)?.unwrap_or_default()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = Router::new()
        .route("/ws", get(connect))
        .route("/messages", get(messages))
        .route("/sign-in", post(async |session: Session| session.sign_in("user:ada")))
        .route("/sign-out", post(async |session: Session| session.sign_out()))
        .layer(SessionLayer::new(MemoryStore::new()));

    let port: u16 = std::env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
