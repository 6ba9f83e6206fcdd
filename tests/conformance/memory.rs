//! The store in memory keeps every rule, each a test of its own.

use std::time::Duration;

use sessile::MemoryStore;
use sessile::testing::ManualClock;
use sessile::testing::conformance::{Fixture, Task, check};
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

    fn spawn(&self, task: Task) {
        tokio::spawn(task);
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

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_store_keeps_all_rules_at_once() {
    check(&Memory::new()).await.assert();
}

#[tokio::test]
async fn the_memory_store_keeps_all_rules_on_a_runtime_of_one_thread() {
    check(&Memory::new()).await.assert();
}

/// The same by the system's clock, where time has to be waited for.
struct RealTime;

impl Fixture for RealTime {
    type Store = MemoryStore;

    async fn open(&self) -> MemoryStore {
        MemoryStore::new()
    }

    async fn another(&self, store: &MemoryStore) -> MemoryStore {
        store.clone()
    }

    fn spawn(&self, task: Task) {
        tokio::spawn(task);
    }

    async fn advance(&self, by: Duration) {
        tokio::time::sleep(by).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_store_keeps_all_rules_by_the_systems_clock() {
    check(&RealTime).await.assert();
}
