//! The settings of a layer where the layer is expected: `build` was forgotten.

use axum::Router;
use sessile::{MemoryStore, SessionLayer};

fn main() {
    let _: Router = Router::new().layer(SessionLayer::builder(MemoryStore::new()).with_name("shop"));
}
