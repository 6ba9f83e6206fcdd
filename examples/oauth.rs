//! Sign-in with an OAuth 2.0 identity provider.
//!
//! ```sh
//! cargo run --example oauth
//! ```
//!
//! A second, short-lived session holds the state of the sign-in until the callback, which uses it once. In the user's own session
//! nothing can be stored for a minute after it was ended, from another device for example, and the user may sign in again at once.
//!
//! Listens on 127.0.0.1:3000. `PORT` sets another port; port 0 takes any free one. The provider is a stub on the same
//! port, under `/provider`: it signs every client in as Ada.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Form, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sessile::{Error, Lifetime, MemoryStore, Session, SessionLayer, SignedIn};
use sha2::{Digest, Sha256};

/// Marker of the layer for the sign-ins that are in progress.
struct SigningIn;

/// Most sign-ins that one browser has in progress.
const MAX_PENDING: usize = 8;
/// Time within which the user must come back from the provider.
const MAX_SIGN_IN: Duration = Duration::from_secs(10 * 60);

/// A sign-in that is in progress. Its key is the `state`.
///
/// The provider returns the `state` through the browser, so a client that did not start the sign-in cannot finish it (RFC 6749
/// §10.12). With a key for each, neither another tab nor a link on another site stops a sign-in.
#[derive(Serialize, Deserialize)]
struct Pending {
    /// Sent to the provider directly, so a stolen code is useless without it (RFC 7636).
    verifier: String,
    /// Path to redirect to after the sign-in. It is set here, never taken from the request.
    next: String,
}

#[derive(Clone)]
struct App {
    address: Arc<str>,
    http: reqwest::Client,
    /// State of the stub provider: the challenge of each code that it issued.
    codes: Arc<Mutex<HashMap<String, String>>>,
}

async fn begin(signing_in: Session<SigningIn>, State(app): State<App>) -> Result<Redirect, Error> {
    let state = random();
    let pending = Pending { verifier: random(), next: "/account".to_owned() };
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&pending.verifier));
    if signing_in.keys().len() >= MAX_PENDING {
        signing_in.clear()?;
    }
    signing_in.insert(&state, &pending)?;
    let to = format!("{}/provider/authorize?state={state}&code_challenge={challenge}", app.address);
    Ok(Redirect::to(&to))
}

#[derive(Deserialize)]
struct Callback {
    state: String,
    code: String,
}

/// Finishes the sign-in. The browser sends a `SameSite=Lax` cookie with the redirect from the provider.
async fn callback(
    signing_in: Session<SigningIn>,
    session: Session,
    State(app): State<App>,
    Query(callback): Query<Callback>,
) -> Result<Response, Error> {
    // Removed in one step: of several requests with one state, only one continues.
    let Some(pending) = signing_in.take_now::<Pending>(&callback.state).await? else {
        return Ok((StatusCode::BAD_REQUEST, "no sign-in with this state is in progress\n").into_response());
    };
    let form = [("code", callback.code.as_str()), ("code_verifier", pending.verifier.as_str())];
    let answer = app.http.post(format!("{}/provider/token", app.address)).form(&form).send().await;
    let Ok(answer) = answer.and_then(reqwest::Response::error_for_status) else {
        return Ok((StatusCode::BAD_GATEWAY, "the provider refused the code\n").into_response());
    };
    let Ok(subject) = answer.text().await else {
        return Ok(StatusCode::BAD_GATEWAY.into_response());
    };
    // Issues a new token. The visitor's data stays in the session.
    session.sign_in(&format!("provider:{subject}"))?;
    Ok(Redirect::to(&pending.next).into_response())
}

async fn account(user: SignedIn) -> String {
    format!("signed in as {}\n", user.owner())
}

/// Returns 128 random bits as text.
fn random() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system's random generator works");
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Stub of a provider. A code is valid once, and only with the verifier of its challenge.
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

    let store = MemoryStore::new();
    let lifetime = Lifetime::new().with_idle_timeout(MAX_SIGN_IN);
    let signing_in = SessionLayer::builder(store.clone()).with_name("sign-in").with_lifetime(lifetime).build()?;
    let state = App { address: address.into(), http: reqwest::Client::new(), codes: Arc::default() };
    let app = Router::new()
        .route("/sign-in", get(begin))
        .route("/callback", get(callback))
        .route("/account", get(account))
        .route("/sign-out", post(async |session: Session| session.sign_out()))
        .route("/provider/authorize", get(provider::authorize))
        .route("/provider/token", post(provider::token))
        .with_state(state)
        .layer(signing_in.with_marker::<SigningIn>())
        .layer(SessionLayer::new(store));
    axum::serve(listener, app).await?;
    Ok(())
}
