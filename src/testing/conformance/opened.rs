//! A fixture together with the store that it opened.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use time::OffsetDateTime;

use super::connection::Connection;
use super::fixture::{Fixture, Task};

/// A fixture with the store that it opened for one rule.
pub(super) struct Opened<'a, F: Fixture> {
    pub(super) fixture: &'a F,
    pub(super) store: Arc<F::Store>,
}

/// Object-safe twin of [`Fixture`], so that the rules are compiled once for all stores.
pub(super) trait ErasedFixture: Send + Sync {
    fn another(&self) -> BoxFuture<'_, Connection>;
    fn spawn(&self, task: Task);
    fn advance(&self, by: Duration) -> BoxFuture<'_, ()>;
    fn now(&self) -> BoxFuture<'_, OffsetDateTime>;
    fn round_trips(&self) -> Option<u64>;
}

impl<F: Fixture> ErasedFixture for Opened<'_, F> {
    fn another(&self) -> BoxFuture<'_, Connection> {
        let store = self.fixture.another(&self.store);
        store.map(|store| Connection::new(store, self.fixture.has_owners())).boxed()
    }

    fn spawn(&self, task: Task) {
        self.fixture.spawn(task);
    }

    fn advance(&self, by: Duration) -> BoxFuture<'_, ()> {
        self.fixture.advance(by).boxed()
    }

    fn now(&self) -> BoxFuture<'_, OffsetDateTime> {
        self.fixture.now().boxed()
    }

    fn round_trips(&self) -> Option<u64> {
        self.fixture.round_trips(&self.store)
    }
}
