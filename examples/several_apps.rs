//! Several session layers in one server, each with its own cookie and store.
//!
//! ```sh
//! cargo run --example several_apps
//! ```
//!
//! Listens on 127.0.0.1:3000. `PORT` sets another port; port 0 takes any free one.

use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use sessile::config::SameSite;
use sessile::{Error, Lifetime, MemoryStore, Session, SessionLayer, SignedIn};

/// Marker of the staff layer: handlers take `Session<Staff>`. `Session` is the session of the shop.
struct Staff;

async fn shop(session: Session) -> Result<String, Error> {
    let visits = session
        .update_now("visits", |visits: &mut u32| {
            *visits += 1;
            *visits
        })
        .await?;
    Ok(format!("visit {visits}\n"))
}

/// Reads both sessions of a staff member who also visits the shop.
async fn desk(staff: SignedIn<Staff>, visitor: Session) -> Result<String, Error> {
    let visits: Option<u32> = visitor.get("visits")?;
    Ok(format!("{} has visited the shop {} times\n", staff.owner(), visits.unwrap_or_default()))
}

async fn sign_in(staff: Session<Staff>) -> Result<(), Error> {
    staff.sign_in("staff:grace")
}

async fn sign_out(staff: Session<Staff>) -> Result<(), Error> {
    staff.sign_out()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let shop_layer = SessionLayer::builder(MemoryStore::new()).with_name("shop").build()?;
    // Stricter than the shop: expires after 15 minutes without a request, and cross-site requests do not carry the
    // cookie.
    let staff_layer = SessionLayer::builder(MemoryStore::new())
        .with_name("staff")
        .with_same_site(SameSite::Strict)
        .with_lifetime(Lifetime::aal3().with_idle_timeout(Duration::from_secs(15 * 60)))
        .build()?
        .with_marker::<Staff>();

    // The staff layer wraps the office alone, the shop layer wraps every route.
    let office = Router::new()
        .route("/", get(desk))
        .route("/sign-in", post(sign_in))
        .route("/sign-out", post(sign_out))
        .layer(staff_layer);
    let app = Router::new().route("/", get(shop)).nest("/office", office).layer(shop_layer);

    let port: u16 = std::env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
