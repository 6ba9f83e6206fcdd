//! A small tea shop: accounts, a cart, and a list of signed-in devices.
//!
//! ```sh
//! cargo run -p sessile-demo
//! ```
//!
//! The program prints its address. Users and sessions are stored in `demo.db`, a SQLite file in the current directory,
//! and survive a restart. [`settings`] lists the environment variables.
//!
//! A suggested reading order:
//!
//! 1. [`database`]: the session store and the session layer.
//! 2. [`site`]: every route and layer.
//! 3. [`shop`]: a cart in the session of a visitor who has not signed in.
//! 4. [`sign_in`] and [`sign_up`]: the visitor becomes a member and keeps the cart.
//! 5. [`accounts`] and [`visitor`]: the signed-in user, and the client of a request.
//! 6. [`devices`]: a list of the user's sessions, each with a button to end it.
//! 7. [`confirm`] and [`change_password`]: asking for the password again before a sensitive action.
//! 8. [`admin`]: a page for users with a role, and acting as another user.
//! 9. [`ending`]: a warning before a session ends, and the reason afterwards.
//! 10. [`failure`]: pages for errors.

mod accounts;
mod admin;
mod assets;
mod authenticate;
mod cart;
mod catalog;
mod change_password;
mod confirm;
mod database;
mod devices;
mod ending;
mod failure;
mod form;
mod headers;
mod layout;
mod moment;
mod passwords;
mod settings;
mod shop;
mod sign_in;
mod sign_up;
mod site;
mod throttle;
mod user_agent;
mod visitor;

use std::error::Error;
use std::iter::successors;
use std::process::ExitCode;
use std::time::Duration;

use sessile::acting::ActingLayer;
use tokio::net::TcpListener;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

use crate::passwords::Passwords;
use crate::settings::Settings;
use crate::site::App;
use crate::throttle::Throttle;

#[tokio::main]
async fn main() -> ExitCode {
    log_session_events();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", with_causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let settings = Settings::from_env()?;

    let (accounts, layer) = database::open(&settings).await?;
    // Deletes expired sessions once a minute.
    tokio::spawn(layer.sessions().sweep_every(Duration::from_secs(60)));

    let acting = ActingLayer::new(&layer)?;
    let app = App {
        accounts,
        passwords: Passwords::new()?,
        throttle: Throttle::default(),
        sessions: layer.sessions(),
        acting_sessions: acting.sessions(),
        confirm_within: settings.confirm_within,
        warn_before: settings.warn_before,
    };
    let port = settings.port;
    let taken = |error| format!("port {port} cannot be had ({error}); PORT in the environment names another");
    let listener = TcpListener::bind(("127.0.0.1", port)).await.map_err(taken)?;
    // `localhost` rather than 127.0.0.1: browsers accept a `Secure` cookie from `http://localhost`.
    println!("listening on http://localhost:{}", listener.local_addr()?.port());
    axum::serve(listener, site::router(app, acting, layer)).await?;
    Ok(())
}

/// Joins an error and its causes, except causes that the error's text already holds.
fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    for cause in successors(error.source(), |cause| (**cause).source()).map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// Logs warnings, and the events of sessile at `debug`: they hold ids, never secrets.
fn log_session_events() {
    let targets = Targets::new().with_default(LevelFilter::WARN).with_target("sessile", LevelFilter::DEBUG);
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(log).with(targets).init();
}
