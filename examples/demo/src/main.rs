//! A small tea shop: accounts, a cart, and a page of the devices that are signed in.
//!
//! ```sh
//! cargo run -p sessile-demo
//! ```
//!
//! It prints its address. What it keeps is in `demo.db`, a SQLite file in the current directory, so that users and
//! sessions survive a restart. [`settings`] says what the environment can change.
//!
//! Read it in this order:
//!
//! 1. [`database`]: the store of the sessions, and the layer over it.
//! 2. [`site`]: every route, and the layers around them.
//! 3. [`shop`]: a cart in the session of a visitor who has not signed in.
//! 4. [`sign_in`] and [`sign_up`]: the session changes hands, and keeps the cart.
//! 5. [`visitor`]: who sends a request, as an extractor; pages for members alone.
//! 6. [`devices`]: the sessions of one user, each with a button to end it.
//! 7. [`confirm`] and [`change_password`]: the password once more, before what matters.

mod assets;
mod authenticate;
mod cart;
mod catalogue;
mod change_password;
mod confirm;
mod database;
mod destination;
mod devices;
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
mod users;
mod visitor;

use std::error::Error;
use std::iter::successors;
use std::process::ExitCode;
use std::time::Duration;

use tokio::net::TcpListener;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

use crate::passwords::Passwords;
use crate::settings::Settings;
use crate::site::App;
use crate::throttle::Throttle;

#[tokio::main]
async fn main() -> ExitCode {
    log_what_happens_to_sessions();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", in_words(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let settings = Settings::from_env()?;

    let (users, layer) = database::open(&settings).await?;
    // Deletes the sessions that have expired, once a minute.
    tokio::spawn(layer.sessions().sweep_every(Duration::from_secs(60)));

    let app = App {
        users,
        passwords: Passwords::new()?,
        throttle: Throttle::default(),
        sessions: layer.sessions(),
        confirm_within: settings.confirm_within,
    };
    let port = settings.port;
    let taken = |error| format!("port {port} cannot be had ({error}); PORT in the environment names another");
    let listener = TcpListener::bind(("127.0.0.1", port)).await.map_err(taken)?;
    // By this name: browsers take the cookie, which is for https alone, from localhost as well.
    println!("listening on http://localhost:{}", listener.local_addr()?.port());
    axum::serve(listener, site::router(app, layer)).await?;
    Ok(())
}

/// An error and its causes, but for those that it names itself.
fn in_words(error: &(dyn Error + 'static)) -> String {
    let mut words = error.to_string();
    for cause in successors(error.source(), |cause| (**cause).source()).map(ToString::to_string) {
        if !words.contains(&cause) {
            words.push_str(": ");
            words.push_str(&cause);
        }
    }
    words
}

/// Sessions begin, change hands and end: sessile says so at `debug`, with ids and without secrets.
fn log_what_happens_to_sessions() {
    let targets = Targets::new().with_default(LevelFilter::WARN).with_target("sessile", LevelFilter::DEBUG);
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(log).with(targets).init();
}
