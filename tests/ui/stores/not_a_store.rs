//! A database pool, or a layer, in the place of a store.

use sessile::{MemoryStore, SessionLayer};

struct Pool;

fn main() {
    let _ = SessionLayer::new(Pool);
    let _ = SessionLayer::new(SessionLayer::new(MemoryStore::new()));
}
