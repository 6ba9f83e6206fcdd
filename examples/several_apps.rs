//! When one server holds several applications, or visitors and staff: a layer, a cookie and a store for each.
//!
//! ```sh
//! cargo run --example several_apps
//! ```
//!
//! listens on 127.0.0.1:3000; `PORT` in the environment changes it, and port 0 takes any that is free.

use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use sessile::config::SameSite;
use sessile::{Error, Lifetime, MemoryStore, Session, SessionLayer, SignedIn};

/// The marker of the staff's layer: `Session<Staff>` in handlers. `Session` alone is the shop's.
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

/// Both at once: staff who look at the shop.
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
    // Stricter: a quarter of an hour, and not sent with anything that comes from elsewhere.
    let staff_layer = SessionLayer::builder(MemoryStore::new())
        .with_name("staff")
        .with_same_site(SameSite::Strict)
        .with_lifetime(Lifetime::aal3().with_idle_timeout(Duration::from_secs(15 * 60)))
        .build()?
        .with_marker::<Staff>();

    // The staff's layer is around the back office alone; the shop's is around everything.
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
