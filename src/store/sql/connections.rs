//! The connections of a store: those of a pool, kept at hand between two operations.
//!
//! A connection that goes back to its pool is tested there with a ping, which would double the round trips of a store
//! whose every operation is one. So a share of the pool's connections stays here while the store is busy. They go back
//! when they have not been used for a little while, and when the pool is closed.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{Database, Pool};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a connection is kept unused.
const IDLE: Duration = Duration::from_secs(5);
/// How long a connection is kept in use, before the pool may see whether it has lived too long.
const SPELL: Duration = Duration::from_secs(300);

pub(super) struct Connections<D: Database> {
    pool: Pool<D>,
    /// One for each connection that may be kept.
    permits: Arc<Semaphore>,
    /// Whether nobody else uses the pool.
    is_alone: bool,
    kept: Mutex<Kept<D>>,
}

struct Kept<D: Database> {
    /// The one that was used last is at the back, and is used first.
    idle: VecDeque<Idle<D>>,
    /// Whether a task is waiting to give them back.
    watched: bool,
}

struct Idle<D: Database> {
    connection: PoolConnection<D>,
    taken: Instant,
    used: Instant,
}

impl<D: Database> Connections<D> {
    /// Keeps at most `share` of the pool's connections.
    pub(super) fn new(pool: Pool<D>, share: usize) -> Self {
        let all = usize::try_from(pool.options().get_max_connections()).unwrap_or(usize::MAX);
        let kept = Mutex::new(Kept { idle: VecDeque::new(), watched: false });
        Self { pool, permits: Arc::new(Semaphore::new(share)), is_alone: share >= all, kept }
    }

    pub(super) fn pool(&self) -> &Pool<D> {
        &self.pool
    }

    /// A connection for one operation: one that is kept, or one of the pool's.
    pub(super) async fn lease(self: &Arc<Self>) -> Result<Lease<D>, sqlx::Error> {
        if self.is_alone {
            // There are as many permits as connections, so the pool has one for each holder.
            let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?;
            return self.kept_or_new(permit).await;
        }
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return self.kept_or_new(permit).await;
        }
        let connection = self.pool.acquire().await?;
        Ok(Lease { connections: Arc::clone(self), held: Some((connection, None, Instant::now())) })
    }

    async fn kept_or_new(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Result<Lease<D>, sqlx::Error> {
        let kept = self.kept().idle.pop_back();
        let (connection, taken) = match kept {
            Some(idle) => (idle.connection, idle.taken),
            None => (self.pool.acquire().await?, Instant::now()),
        };
        Ok(Lease { connections: Arc::clone(self), held: Some((connection, Some(permit), taken)) })
    }

    fn keep(self: &Arc<Self>, connection: PoolConnection<D>, taken: Instant) {
        if self.pool.is_closed() || taken.elapsed() > SPELL {
            return;
        }
        let mut kept = self.kept();
        kept.idle.push_back(Idle { connection, taken, used: Instant::now() });
        if !std::mem::replace(&mut kept.watched, true) {
            tokio::spawn(give_back(Watch(Arc::downgrade(self)), Box::pin(self.pool.close_event())));
        }
    }

    /// Closes what is kept. After one connection has failed, the others are hardly better.
    fn forget(&self) {
        let idle = std::mem::take(&mut self.kept().idle);
        for idle in idle {
            drop(idle.connection.detach());
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept<D>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D: Database> Drop for Connections<D> {
    fn drop(&mut self) {
        // A pool takes connections back by a task, for which there must be a runtime.
        if tokio::runtime::Handle::try_current().is_err() {
            self.forget();
        }
    }
}

/// A connection in use. Dropped half-way through an operation, it goes back to the pool, which tests it.
pub(super) struct Lease<D: Database> {
    connections: Arc<Connections<D>>,
    held: Option<(PoolConnection<D>, Option<OwnedSemaphorePermit>, Instant)>,
}

impl<D: Database> Lease<D> {
    pub(super) fn connection(&mut self) -> &mut D::Connection {
        &mut self.held.as_mut().expect("a lease holds its connection until it ends").0
    }

    /// The operation is over, and the connection as good as before.
    pub(super) fn keep(mut self) {
        if let Some((connection, Some(permit), taken)) = self.held.take() {
            self.connections.keep(connection, taken);
            drop(permit);
        }
    }

    /// The connection failed or hangs: it is closed, without a word to the other side, and others with it.
    pub(super) fn discard(mut self) {
        if let Some((connection, ..)) = self.held.take() {
            drop(connection.detach());
            self.connections.forget();
        }
    }
}

/// The task that gives connections back; it ends when there are none.
struct Watch<D: Database>(Weak<Connections<D>>);

async fn give_back<D: Database>(watch: Watch<D>, mut closed: Pin<Box<dyn Future<Output = ()> + Send>>) {
    let mut is_closed = false;
    loop {
        is_closed = is_closed || tokio::time::timeout(IDLE, &mut closed).await.is_ok();
        let Some(connections) = watch.0.upgrade() else { return };
        let mut kept = connections.kept();
        while kept.idle.front().is_some_and(|idle| is_closed || idle.used.elapsed() >= IDLE) {
            kept.idle.pop_front();
        }
        if kept.idle.is_empty() {
            kept.watched = false;
            return;
        }
    }
}

impl<D: Database> Drop for Watch<D> {
    /// The runtime may end before the store does.
    fn drop(&mut self) {
        if let Some(connections) = self.0.upgrade() {
            let mut kept = connections.kept();
            kept.watched = false;
        }
    }
}
