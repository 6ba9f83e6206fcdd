//! Runs the application. These variables of the environment are its settings:
//!
//! | variable | value |
//! |---|---|
//! | `ISSUER` | URL of the provider, without `/.well-known/openid-configuration` |
//! | `CLIENT_ID`, `CLIENT_SECRET` | as the provider issued them |
//! | `ORIGIN` | address of the application; by default `http://localhost:3000` |
//! | `PORT` | port on 127.0.0.1; by default 3000 |
//! | `DATABASE_URL` | SQLite file, which several processes may share; by default `sqlite:oidc.db` |

use std::env;
use std::error::Error;
use std::time::Duration;

use sessile::{Sessions, SqliteStore};
use sessile_oidc::provider::{Provider, Settings};
use sessile_oidc::router;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let needed = |name: &str| env::var(name).map_err(|_| format!("{name} is not set"));
    let or = |name: &str, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let settings = Settings {
        issuer: needed("ISSUER")?,
        client_id: needed("CLIENT_ID")?,
        client_secret: needed("CLIENT_SECRET")?,
        origin: or("ORIGIN", "http://localhost:3000"),
    };
    let store = SqliteStore::connect(&or("DATABASE_URL", "sqlite:oidc.db")).await?;
    store.migrate().await?;
    // Deletes expired records once a minute: sessions, and records of logouts.
    tokio::spawn(Sessions::new(store.clone()).sweep_every(Duration::from_secs(60)));

    let app = router(Provider::discover(settings).await?, store)?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", or("PORT", "3000").parse::<u16>()?)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
