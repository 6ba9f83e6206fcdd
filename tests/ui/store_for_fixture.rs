//! A store where the suite that tries stores wants to know how to open one.

use sessile::MemoryStore;
use sessile::testing::conformance::check;

fn main() {
    drop(check(&MemoryStore::new()));
}
