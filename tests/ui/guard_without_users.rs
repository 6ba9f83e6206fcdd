//! A guard that does not name its users.

use axum::Router;
use axum::routing::get;
use sessile::user::UserGuard;

fn main() {
    let _: Router = Router::new().route("/", get(async || "page")).route_layer(UserGuard::new());
}
