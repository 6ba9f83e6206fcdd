//! The application under test, on a real socket.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use sessile::store::Store;
use sessile::{Error, Field, Lifetime, Session, SessionLayer};
use tokio::net::TcpListener;

const ITEMS: Field<Vec<u64>> = Field::new("items");

pub struct Application {
    pub address: SocketAddr,
}

impl Application {
    pub async fn start(store: impl Store) -> Self {
        // Abandoned sessions expire during the run.
        let lifetime = Lifetime::new().with_idle_timeout(Duration::from_secs(60));
        let layer = SessionLayer::builder(store).with_lifetime(lifetime).with_secure(false).build().unwrap();
        let app = Router::new()
            .route("/items", get(items))
            .route("/push/{item}", post(push))
            .route("/push-now/{item}", post(push_now))
            .route("/rotate", post(async |session: Session| session.rotate()))
            .route("/sign-in/{owner}", post(sign_in))
            .route("/sign-out", post(async |session: Session| session.sign_out()))
            .layer(layer);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address }
    }
}

/// Lists the items of a session; `none` if there is no session.
async fn items(session: Option<Session>) -> Result<String, Error> {
    let Some(session) = session else { return Ok("none".to_owned()) };
    let items: Vec<String> = session.get(ITEMS)?.unwrap_or_default().iter().map(u64::to_string).collect();
    Ok(items.join(" "))
}

async fn push(session: Session, Path(item): Path<u64>) -> Result<(), Error> {
    session.update(ITEMS, move |items| items.push(item))?;
    // A delay in which clients disconnect and other requests commit.
    tokio::time::sleep(Duration::from_micros(item % 7 * 300)).await;
    Ok(())
}

async fn push_now(session: Session, Path(item): Path<u64>) -> Result<String, Error> {
    let count = session.update_now(ITEMS, move |items| {
        items.push(item);
        items.len()
    });
    Ok(count.await?.to_string())
}

async fn sign_in(session: Session, Path(owner): Path<String>) -> Result<(), Error> {
    session.sign_in(&owner)
}
