//! A store in the place of the conformance suite's fixture.

use sessile::MemoryStore;
use sessile::testing::conformance::check;

fn main() {
    drop(check(&MemoryStore::new()));
}
