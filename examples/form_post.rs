//! Sign-in with a provider that sends the browser back by a form, as Sign in with Apple does (`response_mode=form_post`).
//!
//! ```sh
//! cargo run --example form_post
//! ```
//!
//! The form comes from the provider's site, so the browser does not add the `SameSite=Lax` cookie of the visitor's session. A second
//! layer keeps the sign-in that is in progress, for ten minutes, under a `SameSite=None` cookie. The form is answered with a redirect,
//! and that request has both cookies.
//!
//! Listens on 127.0.0.1:3000. `PORT` sets another port; port 0 takes any free one. The provider is a stub on the same port, under
//! `/provider`: it signs every client in as Ada. Another program would exchange the code for the subject, as the example `oauth` does.

use std::time::Duration;

use axum::Router;
use axum::extract::{Form, Query};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use sessile::config::SameSite;
use sessile::{Error, Field, Lifetime, MemoryStore, Session, SessionLayer, SignedIn};

/// Marker of the layer for sign-ins that are in progress.
struct Pending;

/// The state that the provider must return, so that a client that did not start the sign-in cannot finish it (RFC 6749 §10.12).
const STATE: Field<String> = Field::new("state");
/// The user that the provider has named.
const SUBJECT: Field<String> = Field::new("subject");

async fn begin(pending: Session<Pending>) -> Result<Redirect, Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system's random generator works");
    let state = URL_SAFE_NO_PAD.encode(bytes);
    pending.insert(STATE, &state)?;
    Ok(Redirect::to(&format!("/provider?state={state}")))
}

#[derive(Deserialize)]
struct Callback {
    state: String,
    code: String,
}

/// Takes the provider's form. It has the cookie of the second layer alone, so it must not use the visitor's session: a write would
/// start another one, and its cookie would replace the visitor's.
async fn callback(pending: Session<Pending>, Form(callback): Form<Callback>) -> Result<Response, Error> {
    // Of several forms with one state, only one continues.
    if pending.take_now(STATE).await? != Some(callback.state) {
        return Ok((StatusCode::BAD_REQUEST, "no sign-in with this state is in progress\n").into_response());
    }
    pending.insert(SUBJECT, &callback.code)?;
    Ok(Redirect::to("/finish").into_response())
}

/// Signs in on the visitor's session, whose values stay.
async fn finish(session: Session, pending: Session<Pending>) -> Result<Response, Error> {
    let Some(subject) = pending.take_now(SUBJECT).await? else {
        return Ok((StatusCode::BAD_REQUEST, "no sign-in is in progress\n").into_response());
    };
    session.sign_in(&format!("provider:{subject}"))?;
    pending.end()?;
    Ok(Redirect::to("/account").into_response())
}

async fn account(user: SignedIn) -> Result<String, Error> {
    let cart: Vec<String> = user.get("cart")?.unwrap_or_default();
    Ok(format!("{} has {} items\n", user.owner(), cart.len()))
}

#[derive(Deserialize)]
struct Request {
    state: String,
}

/// Stub of the provider's page, whose form a script submits at once.
async fn provider(Query(request): Query<Request>) -> Html<String> {
    let state: String =
        request.state.chars().filter(|char| char.is_ascii_alphanumeric() || "-_".contains(*char)).collect();
    Html(format!(
        "<form method=post action=/callback><input name=state value={state}><input name=code value=ada></form>\
         <script>document.forms[0].submit()</script>"
    ))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pending = SessionLayer::builder(MemoryStore::new())
        .with_name("pending")
        .with_same_site(SameSite::None)
        .with_lifetime(Lifetime::new().without_idle_timeout().with_absolute_timeout(Duration::from_secs(10 * 60)))
        .build()?
        .with_marker::<Pending>();
    let app = Router::new()
        .route("/sign-in", get(begin))
        .route("/callback", post(callback))
        .route("/finish", get(finish))
        .route("/account", get(account))
        .route(
            "/cart",
            post(async |session: Session, item: String| {
                session.update("cart", move |cart: &mut Vec<String>| cart.push(item))
            }),
        )
        .route("/provider", get(provider))
        .layer(pending)
        .layer(SessionLayer::new(MemoryStore::new()));

    let port: u16 = std::env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
