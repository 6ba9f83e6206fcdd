//! The memory store keeps every rule of the contract.

use std::time::Duration;

use sessile::MemoryStore;
use sessile::testing::ManualClock;
use sessile::testing::conformance::{Fixture, check};
use time::OffsetDateTime;

pub(crate) struct Memory {
    store: MemoryStore,
    clock: ManualClock,
}

impl Memory {
    pub(crate) fn new() -> Self {
        let clock = ManualClock::new();
        Self { store: MemoryStore::new().with_clock(&clock), clock }
    }
}

impl Fixture for Memory {
    type Store = MemoryStore;

    async fn open(&self) -> MemoryStore {
        self.store.clone()
    }

    async fn another(&self, store: &MemoryStore) -> MemoryStore {
        store.clone()
    }

    async fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }
}

sessile::conformance_tests! {
    #[tokio::test(flavor = "multi_thread")]
    Memory::new()
}

/// All rules pass when they run at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn the_memory_store_keeps_every_rule() {
    check(&Memory::new()).await.assert();
}

/// All rules pass on a runtime with one thread.
#[tokio::test]
async fn the_memory_store_keeps_every_rule_on_one_thread() {
    check(&Memory::new()).await.assert();
}

/// The memory store with the system clock, so that the rules sleep.
struct RealTime;

impl Fixture for RealTime {
    type Store = MemoryStore;

    async fn open(&self) -> MemoryStore {
        MemoryStore::new()
    }

    async fn another(&self, store: &MemoryStore) -> MemoryStore {
        store.clone()
    }
}

/// All rules pass with the system clock.
#[tokio::test(flavor = "multi_thread")]
async fn the_memory_store_keeps_every_rule_in_real_time() {
    check(&RealTime).await.assert();
}
