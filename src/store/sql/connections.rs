//! Connections that a store reuses without the pool's test.
//!
//! A pool tests each returned connection with a ping, which would double the round trips of a store whose every operation
//! is one. A busy store therefore keeps a share of the pool's connections. It returns a connection that was idle for a few
//! seconds, and all of them when the application closes the pool.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{Database, Pool};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Idle time after which a connection returns to the pool.
const MAX_IDLE: Duration = Duration::from_secs(5);
/// Time after which a connection returns to the pool, so that the pool can apply its `max_lifetime`.
const MAX_LEASE: Duration = Duration::from_secs(300);

pub(super) struct Connections<D: Database> {
    pool: Pool<D>,
    /// One permit for each connection that the store may keep.
    permits: Arc<Semaphore>,
    /// True if the store may keep all connections of the pool.
    is_exclusive: bool,
    idle: Mutex<IdleConnections<D>>,
}

struct IdleConnections<D: Database> {
    /// In the order of last use; the next operation takes the last.
    connections: VecDeque<IdleConnection<D>>,
    /// True while a task runs that returns idle connections to the pool.
    has_task: bool,
}

struct IdleConnection<D: Database> {
    connection: PoolConnection<D>,
    acquired_at: Instant,
    used_at: Instant,
}

impl<D: Database> Connections<D> {
    /// Creates a set that keeps at most `share` of the pool's connections.
    pub(super) fn new(pool: Pool<D>, share: u32) -> Self {
        let is_exclusive = share >= pool.options().get_max_connections();
        let permits = usize::try_from(share).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let permits = Arc::new(Semaphore::new(permits));
        let idle = Mutex::new(IdleConnections { connections: VecDeque::new(), has_task: false });
        Self { pool, permits, is_exclusive, idle }
    }

    pub(super) fn pool(&self) -> &Pool<D> {
        &self.pool
    }

    /// Returns a connection for one operation: an idle one, or one from the pool.
    pub(super) async fn lease(self: &Arc<Self>) -> Result<Lease<D>, sqlx::Error> {
        let permit = if self.is_exclusive {
            // There are as many permits as connections, so the pool has a connection for each holder.
            Some(Arc::clone(&self.permits).acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?)
        } else {
            Arc::clone(&self.permits).try_acquire_owned().ok()
        };
        let idle = permit.as_ref().and_then(|_| self.idle().connections.pop_back());
        let (connection, acquired_at) = match idle {
            Some(idle) => (idle.connection, idle.acquired_at),
            None => (self.pool.acquire().await?, Instant::now()),
        };
        Ok(Lease { connections: Arc::clone(self), held: Some((connection, permit, acquired_at)) })
    }

    fn keep(self: &Arc<Self>, connection: PoolConnection<D>, acquired_at: Instant) {
        if self.pool.is_closed() || acquired_at.elapsed() > MAX_LEASE {
            return;
        }
        let mut idle = self.idle();
        idle.connections.push_back(IdleConnection { connection, acquired_at, used_at: Instant::now() });
        if !std::mem::replace(&mut idle.has_task, true) {
            tokio::spawn(return_idle(ReturnTask(Arc::downgrade(self)), Box::pin(self.pool.close_event())));
        }
    }

    fn close_idle(&self) {
        let idle = std::mem::take(&mut self.idle().connections);
        for idle in idle {
            drop(idle.connection.detach());
        }
    }

    fn idle(&self) -> MutexGuard<'_, IdleConnections<D>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D: Database> Drop for Connections<D> {
    fn drop(&mut self) {
        // A connection returns to its pool in a task, which needs a runtime.
        if tokio::runtime::Handle::try_current().is_err() {
            self.close_idle();
        }
    }
}

/// A connection in use. If dropped during an operation, it returns to the pool, which tests it.
pub(super) struct Lease<D: Database> {
    connections: Arc<Connections<D>>,
    held: Option<(PoolConnection<D>, Option<OwnedSemaphorePermit>, Instant)>,
}

impl<D: Database> Lease<D> {
    pub(super) fn connection(&mut self) -> &mut D::Connection {
        &mut self.held.as_mut().expect("a lease holds its connection until it ends").0
    }

    /// Makes the connection available to the next operation.
    pub(super) fn keep(mut self) {
        if let Some((connection, Some(permit), acquired_at)) = self.held.take() {
            self.connections.keep(connection, acquired_at);
            drop(permit);
        }
    }

    /// Closes this connection and all idle ones, without notice to the server.
    ///
    /// The idle connections go to the same server, so they have probably failed too.
    pub(super) fn discard(mut self) {
        if let Some((connection, ..)) = self.held.take() {
            drop(connection.detach());
            self.connections.close_idle();
        }
    }
}

/// State of the task that returns idle connections; the task ends when none is left.
struct ReturnTask<D: Database>(Weak<Connections<D>>);

async fn return_idle<D: Database>(task: ReturnTask<D>, mut closed: Pin<Box<dyn Future<Output = ()> + Send>>) {
    let mut is_closed = false;
    loop {
        is_closed = is_closed || tokio::time::timeout(MAX_IDLE, &mut closed).await.is_ok();
        let Some(connections) = task.0.upgrade() else { return };
        let mut idle = connections.idle();
        while idle.connections.front().is_some_and(|first| is_closed || first.used_at.elapsed() >= MAX_IDLE) {
            idle.connections.pop_front();
        }
        if idle.connections.is_empty() {
            idle.has_task = false;
            return;
        }
    }
}

impl<D: Database> Drop for ReturnTask<D> {
    /// A runtime that shuts down drops the task; the store may outlive it and start another.
    fn drop(&mut self) {
        if let Some(connections) = self.0.upgrade() {
            connections.idle().has_task = false;
        }
    }
}
