//! When people sign in with an identity provider: the state of the sign-in is kept in the session, and used once.
//!
//! ```sh
//! cargo run --example oauth
//! ```
//!
//! listens on 127.0.0.1:3000; `PORT` in the environment changes it, and port 0 takes any that is free. The provider is a
//! stand-in, on the same port under `/provider`: it signs everybody in as Ada.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{Form, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sessile::{Error, Field, MemoryStore, Session, SessionLayer, SignedIn};
use sha2::{Digest, Sha256};

/// One sign-in that is under way. A second one, in another tab, takes its place.
const PENDING: Field<Pending> = Field::new("oauth");

#[derive(Serialize, Deserialize)]
struct Pending {
    /// Comes back with the browser: who did not begin the sign-in here cannot end it here (RFC 6749 §10.12).
    state: String,
    /// Goes to the provider directly: a code that was stolen on the way is worth nothing (RFC 7636).
    verifier: String,
    /// Where to go when it is done: a path of ours, never what a client says.
    next: String,
}

#[derive(Clone)]
struct App {
    address: Arc<str>,
    http: reqwest::Client,
    /// The provider's: its codes, and the challenge that each was asked for with.
    codes: Arc<Mutex<HashMap<String, String>>>,
}

async fn begin(session: Session, State(app): State<App>) -> Result<Redirect, Error> {
    let pending = Pending { state: random(), verifier: random(), next: "/account".to_owned() };
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&pending.verifier));
    session.insert(PENDING, &pending)?;
    let to = format!("{}/provider/authorize?state={}&code_challenge={challenge}", app.address, pending.state);
    Ok(Redirect::to(&to))
}

#[derive(Deserialize)]
struct Callback {
    state: String,
    code: String,
}

/// The way back. The cookie comes with it because it is `SameSite=Lax`, which lets links and redirects through.
async fn callback(
    session: Session,
    State(app): State<App>,
    Query(callback): Query<Callback>,
) -> Result<Response, Error> {
    // Taken out: of several requests with one state, one goes on.
    let Some(pending) = session.take_now(PENDING).await? else {
        return Ok((StatusCode::BAD_REQUEST, "no sign-in was begun here\n").into_response());
    };
    if pending.state != callback.state {
        return Ok((StatusCode::BAD_REQUEST, "this is another sign-in's state\n").into_response());
    }
    let form = [("code", callback.code.as_str()), ("code_verifier", pending.verifier.as_str())];
    let answer = app.http.post(format!("{}/provider/token", app.address)).form(&form).send().await;
    let Ok(answer) = answer.and_then(reqwest::Response::error_for_status) else {
        return Ok((StatusCode::BAD_GATEWAY, "the provider refused\n").into_response());
    };
    let Ok(subject) = answer.text().await else {
        return Ok(StatusCode::BAD_GATEWAY.into_response());
    };
    // A new token; what the visitor had in the session stays.
    session.sign_in(&format!("provider:{subject}"))?;
    Ok(Redirect::to(&pending.next).into_response())
}

async fn account(user: SignedIn) -> String {
    format!("signed in as {}\n", user.owner())
}

/// 128 bits that nobody can guess.
fn random() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system's random generator works");
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The stand-in for a provider. Its codes are used once, and only with the verifier that they were asked for with.
mod provider {
    use super::*;

    #[derive(Deserialize)]
    pub(super) struct Request {
        state: String,
        code_challenge: String,
    }

    #[derive(Deserialize)]
    pub(super) struct Exchange {
        code: String,
        code_verifier: String,
    }

    pub(super) async fn authorize(State(app): State<App>, Query(request): Query<Request>) -> Redirect {
        let code = random();
        app.codes().insert(code.clone(), request.code_challenge);
        Redirect::to(&format!("{}/callback?state={}&code={code}", app.address, request.state))
    }

    pub(super) async fn token(
        State(app): State<App>,
        Form(exchange): Form<Exchange>,
    ) -> Result<&'static str, StatusCode> {
        let challenge = app.codes().remove(&exchange.code).ok_or(StatusCode::BAD_REQUEST)?;
        let proof = URL_SAFE_NO_PAD.encode(Sha256::digest(&exchange.code_verifier));
        if proof == challenge { Ok("ada") } else { Err(StatusCode::BAD_REQUEST) }
    }
}

impl App {
    fn codes(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.codes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = std::env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    let address = format!("http://{}", listener.local_addr()?);
    println!("listening on {address}");

    let state = App { address: address.into(), http: reqwest::Client::new(), codes: Arc::default() };
    let app = Router::new()
        .route("/sign-in", get(begin))
        .route("/callback", get(callback))
        .route("/account", get(account))
        .route("/provider/authorize", get(provider::authorize))
        .route("/provider/token", post(provider::token))
        .with_state(state)
        .layer(SessionLayer::new(MemoryStore::new()));
    axum::serve(listener, app).await?;
    Ok(())
}
