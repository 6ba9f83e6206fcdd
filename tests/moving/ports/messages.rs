//! The example `sqlite` of axum-login, ported: a page for signed-in users, and messages after redirects.
//!
//! ```sh
//! cargo run --manifest-path tests/moving/Cargo.toml --example messages
//! ```
//!
//! Listens on 127.0.0.1:3000. The user is `ada` with the password `correct horse`.

mod accounts;

use std::error::Error as StdError;

use askama::Template;
use axum::extract::Query;
use axum::response::{Html, Redirect, Result};
use axum::routing::get;
use axum::{Form, Router};
use sessile::flash::{Flash, FlashLevel};
use sessile::user::{CurrentUser, LocalPath, NextPath, User, UserGuard, UserLayer};
use sessile::{Error, Session};
use sqlx::SqlitePool;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use self::accounts::{Accounts, Credentials, in_memory, open, sign_in_page};

#[derive(Template)]
#[template(path = "messages_login.html")]
struct LoginPage {
    flashes: Vec<Flash>,
    next: Option<LocalPath>,
}

#[derive(Template)]
#[template(path = "messages_home.html")]
struct HomePage {
    flashes: Vec<Flash>,
    username: String,
}

async fn home(session: Session, User(account): User<Accounts>) -> Result<Html<String>> {
    let page = HomePage { flashes: session.take_flashes().await?, username: account.username };
    Ok(Html(page.render().expect("the template is complete")))
}

async fn login_page(session: Session, Query(query): Query<NextPath>) -> Result<Html<String>> {
    let page = LoginPage { flashes: session.take_flashes().await?, next: query.next };
    Ok(Html(page.render().expect("the template is complete")))
}

async fn sign_in(session: Session, user: CurrentUser<Accounts>, Form(form): Form<Credentials>) -> Result<Redirect> {
    let Some(account) = user.users().verify(&form).await? else {
        // A session that another device has just ended takes no message.
        if session.end_reason().is_none() {
            session.flash(FlashLevel::Error, "This name and password do not belong together.")?;
        }
        return Ok(Redirect::to(&sign_in_page().with_next(form.next.next.as_ref())));
    };
    user.sign_in(&account).await?;
    session.flash(FlashLevel::Success, format!("Welcome, {}!", account.username))?;
    Ok(Redirect::to(form.next.next_or("/").as_str()))
}

async fn sign_out(session: Session) -> Result<Redirect, Error> {
    session.sign_out()?;
    Ok(Redirect::to("/login"))
}

pub async fn app(db: SqlitePool) -> Result<Router, Box<dyn StdError>> {
    let (accounts, sessions) = open(db, include_str!("accounts.sql")).await?;
    Ok(Router::new()
        .route("/", get(home))
        .route_layer(UserGuard::<Accounts>::new().with_sign_in_page(sign_in_page()))
        .route("/login", get(login_page).post(sign_in))
        .route("/logout", get(sign_out))
        .layer(UserLayer::new(accounts))
        .layer(sessions))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    tracing_subscriber::fmt::init();
    let app = app(in_memory().await?).await?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = async move {
        tokio::select! { _ = terminate.recv() => {}, _ = tokio::signal::ctrl_c() => {} }
    };
    axum::serve(TcpListener::bind("127.0.0.1:3000").await?, app).with_graceful_shutdown(stop).await?;
    Ok(())
}
