//! One struct for everything in the session, in one [`Field`].
//!
//! ```sh
//! cargo run --example typed
//! ```
//!
//! The value is typed, and concurrent updates of it run one after another. If different requests often change different
//! parts, give each part a key: writes to different keys merge without a retry.

use axum::extract::Path;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use sessile::{Error, Field, MemoryStore, Session, SessionLayer};

const PROFILE: Field<Profile> = Field::new("profile");

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Profile {
    theme: Theme,
    cart: Vec<Item>,
    /// Added in a later release: older sessions have no such field, and `default` fills it in.
    #[serde(default)]
    newsletter: bool,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Theme {
    #[default]
    Light,
    Dark,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Item {
    article: String,
    count: u32,
}

async fn show(session: Session) -> Result<Json<Profile>, Error> {
    Ok(Json(session.get(PROFILE)?.unwrap_or_default()))
}

async fn set_theme(session: Session, Path(theme): Path<Theme>) -> Result<(), Error> {
    session.update(PROFILE, move |profile| profile.theme = theme)
}

async fn add(session: Session, Json(item): Json<Item>) -> Result<(), Error> {
    session.update(PROFILE, move |profile| profile.cart.push(item))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = Router::new()
        .route("/", get(show))
        .route("/theme/{theme}", post(set_theme))
        .route("/cart", post(add))
        .layer(SessionLayer::new(MemoryStore::new()));

    let port: u16 = std::env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
