//! A database's pool, or a layer, where a store is expected.

use sessile::{MemoryStore, SessionLayer};

struct Pool;

fn main() {
    let _ = SessionLayer::new(Pool);
    let _ = SessionLayer::new(SessionLayer::new(MemoryStore::new()));
}
