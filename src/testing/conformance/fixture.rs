//! What the suite must know of the store that it tries.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use time::OffsetDateTime;

use crate::store::Store;

/// Work for [`Fixture::spawn`].
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How the suite opens a store, connects to it again, and lets its time pass.
///
/// A fixture panics where it cannot do what it is asked: a test without its database is no test.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say how to open a store",
    label = "no `Fixture`",
    note = "the suite opens stores itself, for each rule: implement `sessile::testing::conformance::Fixture` for a type of your \
            test, and have its `open` make the store"
)]
pub trait Fixture: Send + Sync {
    /// The store.
    type Store: Store;

    /// A store to try one rule on. It may be a new and empty one, or one over the same data each time.
    fn open(&self) -> impl Future<Output = Self::Store> + Send;

    /// A second way to the same data as `store`: another connection, where there are connections; a clone of the
    /// handle, where there are none.
    fn another(&self, store: &Self::Store) -> impl Future<Output = Self::Store> + Send;

    /// Runs a task beside what runs already, and does not wait for it: `tokio::spawn(task);`.
    fn spawn(&self, task: Task);

    /// Lets at least this much time pass for the store: moves the clock that it goes by, or sleeps.
    fn advance(&self, by: Duration) -> impl Future<Output = ()> + Send;

    /// What time it is for the store. Default: the system's time.
    fn now(&self) -> impl Future<Output = OffsetDateTime> + Send {
        std::future::ready(OffsetDateTime::now_utc())
    }

    /// Whether the store lists the sessions of an owner. Default: yes.
    fn has_owners(&self) -> bool {
        true
    }

    /// Whether expired records stay until [`delete_expired`](Store::delete_expired) deletes them, so that it can say
    /// how many there were. `false` for a store that expires them by itself. Default: yes.
    fn sweeps(&self) -> bool {
        true
    }

    /// How large a state the store is made for, in bytes. A session has at most 1 MiB unless its layer says otherwise.
    /// Default: 16 MiB.
    fn largest_state(&self) -> usize {
        16 << 20
    }

    /// How many round trips `store` has made so far, where that can be told. Default: it cannot.
    ///
    /// A counter of the whole server will do, since rules that count are alone. A pool of several connections, each of
    /// which prepares its statements first, counts too many: give it one connection.
    fn round_trips(&self, store: &Self::Store) -> Option<u64> {
        let _ = store;
        None
    }
}
