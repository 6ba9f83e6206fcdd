//! A layer builder in the place of a layer: the call of `build` is missing.

use axum::Router;
use sessile::{MemoryStore, SessionLayer};

fn main() {
    let _: Router = Router::new().layer(SessionLayer::builder(MemoryStore::new()).with_name("shop"));
}
