//! HTML forms without scripts: sign-in, CSRF tokens, flash messages.
//!
//! ```sh
//! cargo run --example forms
//! ```
//!
//! Listens on 127.0.0.1:3000. `PORT` sets another port; port 0 takes any free one.

use axum::response::{Html, Redirect};
use axum::routing::{get, post};
use axum::{Form, Router};
use serde::Deserialize;
use sessile::csrf::{CsrfLayer, CsrfToken};
use sessile::flash::FlashLevel;
use sessile::{Error, MemoryStore, Session, SessionLayer, SignedIn};

fn app(layer: SessionLayer) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/sign-in", post(sign_in))
        .route("/sign-out", post(sign_out))
        .route("/note", post(note))
        // Refuses a form without the CSRF token of its session.
        .layer(CsrfLayer::new())
        .layer(layer)
}

async fn home(session: Session) -> Result<Html<String>, Error> {
    let mut page = String::from("<!doctype html><title>Forms</title>");
    for flash in session.take_flashes().await? {
        page += &format!("<p class=\"{}\">{}</p>", flash.level.as_str(), escape(&flash.message));
    }
    let token = session.csrf_token().await?;
    match session.owner() {
        None => page += &form("/sign-in", &token, "<input name=\"name\" required><button>Sign in</button>"),
        Some(owner) => {
            let notes: Vec<String> = session.get("notes")?.unwrap_or_default();
            let notes: String = notes.iter().map(|note| format!("<li>{}</li>", escape(note))).collect();
            page += &format!("<h1>{}</h1><ul>{notes}</ul>", escape(&owner));
            page += &form("/note", &token, "<input name=\"text\" required><button>Note</button>");
            page += &form("/sign-out", &token, "<button>Sign out</button>");
        }
    }
    Ok(Html(page))
}

#[derive(Deserialize)]
struct Name {
    name: String,
}

/// Signs in under any name. A real application asks for a password.
async fn sign_in(session: Session, Form(form): Form<Name>) -> Result<Redirect, Error> {
    session.sign_in(&form.name)?;
    session.flash(FlashLevel::Info, format!("Welcome, {}.", form.name))?;
    Ok(Redirect::to("/"))
}

async fn sign_out(session: Session) -> Result<Redirect, Error> {
    session.sign_out()?;
    session.flash(FlashLevel::Info, "You are signed out.")?;
    Ok(Redirect::to("/"))
}

#[derive(Deserialize)]
struct Note {
    text: String,
}

async fn note(user: SignedIn, Form(note): Form<Note>) -> Result<Redirect, Error> {
    user.update("notes", move |notes: &mut Vec<String>| notes.push(note.text))?;
    user.flash(FlashLevel::Success, "Noted.")?;
    Ok(Redirect::to("/"))
}

fn form(action: &str, token: &CsrfToken, fields: &str) -> String {
    format!(
        "<form method=\"post\" action=\"{action}\"><input type=\"hidden\" name=\"csrf_token\" value=\"{token}\">{fields}</form>"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3000_u16);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app(SessionLayer::new(MemoryStore::new()))).await
}
