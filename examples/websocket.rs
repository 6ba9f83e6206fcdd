//! A WebSocket that reads and changes the session.
//!
//! ```sh
//! cargo run --example websocket
//! ```
//!
//! Listens on 127.0.0.1:3000. `PORT` sets another port; port 0 takes any free one. The handler stores each message from
//! `/ws` in the session and answers with the number of messages. The session is detached, since the response has been
//! sent by then.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use sessile::csrf::SameOrigin;
use sessile::{Error, Field, MemoryStore, Session, SessionLayer, SignedIn};

const MESSAGES: Field<Vec<String>> = Field::new("messages");

/// Time after which a session that ended elsewhere is noticed.
const CHECK: Duration = Duration::from_secs(5);

/// Browsers send cookies with a WebSocket that another site opens, so the handler demands the same origin.
async fn connect(_: SameOrigin, user: SignedIn, upgrade: WebSocketUpgrade) -> Response {
    let session = user.session().detach();
    upgrade.on_upgrade(move |socket| talk(socket, session))
}

async fn talk(mut socket: WebSocket, session: Session) {
    let mut check = tokio::time::interval(CHECK);
    loop {
        let answer = tokio::select! {
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => keep(&session, text.to_string()).await.map(Some),
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => return,
            },
            // A client that only listens notices the end, too. This is no use of the session.
            _ = check.tick() => session.reload().await.map(|()| None),
        };
        let answer = match answer {
            Ok(None) => continue,
            Ok(Some(count)) => Message::Text(format!("{count}").into()),
            // The session has ended, for example by a sign-out in another tab.
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

/// Reloads the session, so that writes of other requests and an end are seen, then stores the message.
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
