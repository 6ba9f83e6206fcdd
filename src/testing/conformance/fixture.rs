//! The suite's view of the store under test.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use time::OffsetDateTime;

use super::connection::Connection;
use crate::store::Store;

/// A future for [`Fixture::spawn`].
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Opens the store under test, connects to it again, and lets its time pass.
///
/// A fixture should panic if it cannot reach its database, so that the test fails.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say how to open a store",
    label = "no `Fixture`",
    note = "the suite opens stores itself, for each rule: implement `sessile::testing::conformance::Fixture` for a type of your \
            test, and have its `open` make the store"
)]
pub trait Fixture: Send + Sync {
    /// Type of the store.
    type Store: Store;

    /// Opens a store for one rule. It can be new and empty, or share its data with the stores opened before.
    fn open(&self) -> impl Future<Output = Self::Store> + Send;

    /// Opens a second connection to the data of `store`; a store without connections returns a clone of its handle.
    fn another(&self, store: &Self::Store) -> impl Future<Output = Self::Store> + Send;

    /// Runs a task concurrently, without waiting for it. Default: `tokio::spawn`.
    fn spawn(&self, task: Task) {
        tokio::spawn(task);
    }

    /// Lets at least this much time pass for the store: moves its clock, or sleeps. Default: `tokio::time::sleep`.
    fn advance(&self, by: Duration) -> impl Future<Output = ()> + Send {
        async move { tokio::time::sleep(by).await }
    }

    /// Returns the time by the store's clock. Default: the system time.
    fn now(&self) -> impl Future<Output = OffsetDateTime> + Send {
        std::future::ready(OffsetDateTime::now_utc())
    }

    /// Returns whether the store has an index of owners. Default: `true`.
    fn has_owners(&self) -> bool {
        true
    }

    /// Returns whether the store can [list](Store::list) its records. Default: `true`.
    fn has_listing(&self) -> bool {
        true
    }

    /// Returns whether expired records stay until [`delete_expired`](Store::delete_expired) removes and counts them.
    /// A store that expires its records itself returns `false`. Default: `true`.
    fn sweeps(&self) -> bool {
        true
    }

    /// Returns the largest state that the store supports, in bytes. Default: 16 MiB.
    ///
    /// A session has at most 1 MiB unless its layer allows more.
    fn largest_state(&self) -> usize {
        16 << 20
    }

    /// Returns how many round trips `store` has made so far; `None` if they are not counted. Default: `None`.
    ///
    /// A counter of the whole server is enough, since rules that count run alone. Give a pool one connection: each of
    /// several would count the statements that it prepares first.
    fn round_trips(&self, store: &Self::Store) -> Option<u64> {
        let _ = store;
        None
    }
}

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
