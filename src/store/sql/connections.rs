//! Connections that a store reuses without the pool's test.
//!
//! A pool tests each returned connection with a ping, which would double the round trips of a store whose every operation
//! is one. A busy store therefore keeps a share of the pool's connections. It returns a connection that was idle for a few
//! seconds, and all of them when the application closes the pool.
//!
//! The store tests a connection that it takes from the pool, and one that was idle before a write, since a write must not run
//! twice. After a failure it uses no connection that is older than the failure: the others go to the same server.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{ConnectOptions, Connection, Database, Pool};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::dialect::Driver;
use super::error::{AddressedError, store_error};
use crate::error::StoreError;
use crate::store::deadline::Deadline;

/// Idle time after which a connection returns to the pool.
const MAX_IDLE: Duration = Duration::from_secs(5);
/// Idle time after which a connection is tested before a write. A server needs longer than this for a restart.
const MAX_UNTESTED: Duration = Duration::from_millis(200);
/// Time after which a connection returns to the pool, so that the pool can apply its `max_lifetime`.
const MAX_LEASE: Duration = Duration::from_secs(300);

pub(super) struct Connections<D: Database> {
    pool: Pool<D>,
    /// True if the pool is the store's own, which may keep all of its connections.
    is_own: bool,
    /// One permit for each connection that the store may keep.
    permits: Arc<Semaphore>,
    idle: Mutex<IdleConnections<D>>,
    /// Why the last attempt to connect failed; the pool repeats an attempt that is refused, and hides the reason.
    connect_error: Mutex<Option<AddressedError>>,
    /// The permit of the one operation that looks for the reason.
    probe: Semaphore,
}

struct IdleConnections<D: Database> {
    /// In the order of last use; the next operation takes the last.
    connections: VecDeque<IdleConnection<D>>,
    /// True while a task runs that returns idle connections to the pool.
    has_task: bool,
    /// Time of the last failure; a connection that was acquired earlier is not used again.
    failed_at: Option<Instant>,
}

impl<D: Database> IdleConnections<D> {
    /// Checks whether an operation has failed since this connection was acquired.
    fn is_outdated(&self, acquired_at: Instant) -> bool {
        self.failed_at.is_some_and(|failed_at| acquired_at < failed_at)
    }
}

struct IdleConnection<D: Database> {
    connection: PoolConnection<D>,
    acquired_at: Instant,
    used_at: Instant,
}

impl<D: Database> Connections<D> {
    /// Creates a set that keeps all connections of the store's own pool.
    pub(super) fn of_own_pool(pool: Pool<D>) -> Self {
        let share = pool.options().get_max_connections();
        Self::new(pool, share, true)
    }

    /// Creates a set that keeps at most half of the connections of the application's pool.
    pub(super) fn of_shared_pool(pool: Pool<D>) -> Self {
        let share = pool.options().get_max_connections() / 2;
        Self::new(pool, share, false)
    }

    fn new(pool: Pool<D>, share: u32, is_own: bool) -> Self {
        let permits = usize::try_from(share).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let permits = Arc::new(Semaphore::new(permits));
        let idle = IdleConnections { connections: VecDeque::new(), has_task: false, failed_at: None };
        let (idle, connect_error) = (Mutex::new(idle), Mutex::default());
        Self { pool, is_own, permits, idle, connect_error, probe: Semaphore::new(1) }
    }

    pub(super) fn pool(&self) -> &Pool<D> {
        &self.pool
    }

    fn keep(self: &Arc<Self>, connection: PoolConnection<D>, acquired_at: Instant) {
        if self.pool.is_closed() || acquired_at.elapsed() > MAX_LEASE {
            return;
        }
        let mut idle = self.idle();
        if idle.is_outdated(acquired_at) {
            drop(connection.detach());
            return;
        }
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

    /// Closes every idle connection, and those in use once they are returned.
    fn close_all(&self) {
        self.idle().failed_at = Some(Instant::now());
        self.close_idle();
        while let Some(connection) = self.pool.try_acquire() {
            drop(connection.detach());
        }
    }

    fn idle(&self) -> MutexGuard<'_, IdleConnections<D>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connect_error(&self) -> MutexGuard<'_, Option<AddressedError>> {
        self.connect_error.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D: Driver> Connections<D> {
    /// Returns a connection for one operation: an idle one, or one from the pool.
    pub(super) async fn lease(self: &Arc<Self>, is_write: bool, deadline: Deadline) -> Result<Lease<D>, StoreError> {
        let mut failed_tests = 0;
        loop {
            let permit = if self.is_own {
                // There are as many permits as connections, so the pool has a connection for each holder.
                let permit = deadline.limit(Arc::clone(&self.permits).acquire_owned()).await?;
                Some(permit.map_err(StoreError::unavailable)?)
            } else {
                Arc::clone(&self.permits).try_acquire_owned().ok()
            };
            let idle = permit.as_ref().and_then(|_| self.idle().connections.pop_back());
            let lease = |connection, acquired_at| Lease {
                connections: Arc::clone(self),
                held: Some((connection, permit, acquired_at)),
            };
            if let Some(idle) = idle {
                let mut lease = lease(idle.connection, idle.acquired_at);
                if !is_write || idle.used_at.elapsed() < MAX_UNTESTED {
                    return Ok(lease);
                }
                match deadline.half().limit(lease.connection().ping()).await {
                    Ok(Ok(())) => return Ok(lease),
                    Err(exceeded) if deadline.has_passed() => return Err(exceeded),
                    _ => lease.fail(),
                }
                continue;
            }
            let now = Instant::now();
            let pooled = if self.is_own { self.pool.try_acquire() } else { None };
            // The store's own pool connected a moment ago, or tested a connection that was just returned.
            let is_tested = self.is_own && pooled.is_none();
            let connection = match pooled {
                Some(connection) => connection,
                None => self.acquire(deadline).await?,
            };
            let mut lease = lease(connection, now);
            if is_tested {
                return Ok(lease);
            }
            match deadline.half().limit(D::test(lease.connection())).await {
                Ok(Ok(None)) => return Ok(lease),
                Ok(Ok(Some(problem))) => return Err(StoreError::unsupported(problem)),
                // Each connection of the pool may have failed, but not a new one.
                Ok(Err(error)) if failed_tests > self.pool.options().get_max_connections() => {
                    return Err(store_error::<D>(error));
                }
                Ok(Err(_)) => {
                    failed_tests += 1;
                    lease.close();
                }
                Err(exceeded) if deadline.has_passed() => return Err(exceeded),
                Err(_) => lease.fail(),
            }
        }
    }

    /// Acquires a connection from the pool; an error says why that failed.
    async fn acquire(&self, deadline: Deadline) -> Result<PoolConnection<D>, StoreError> {
        let mut acquire = pin!(self.pool.acquire());
        let acquired = match deadline.half().limit(&mut acquire).await {
            Ok(acquired) => Ok(acquired),
            Err(_) => {
                // One operation probes at a time, until it ends, so that a busy server gets few more connections.
                let permit = self.probe.try_acquire();
                let mut is_probing = permit.is_ok();
                let mut probe = pin!(self.probe());
                let both = poll_fn(|context| {
                    is_probing = is_probing && probe.as_mut().poll(context).is_pending();
                    acquire.as_mut().poll(context)
                });
                deadline.limit(both).await
            }
        };
        let error = match acquired {
            Ok(Ok(connection)) => {
                *self.connect_error() = None;
                return Ok(connection);
            }
            Ok(Err(error @ sqlx::Error::PoolTimedOut)) => store_error::<D>(error),
            Ok(Err(error @ sqlx::Error::PoolClosed)) => return Err(store_error::<D>(error)),
            Ok(Err(error)) => return Err(self.addressed(error).into_store_error::<D>()),
            Err(exceeded) => exceeded,
        };
        let cause = self.connect_error().clone();
        Err(cause.map_or(error, AddressedError::into_store_error::<D>))
    }

    /// Connects apart from the pool to learn why the pool does not.
    async fn probe(&self) {
        let connected = self.pool.connect_options().connect().await;
        *self.connect_error() = match connected {
            Ok(connection) => {
                drop(connection);
                None
            }
            Err(error) => Some(self.addressed(error)),
        };
    }

    fn addressed(&self, error: sqlx::Error) -> AddressedError {
        AddressedError::connect(self.address(), error)
    }

    /// Returns host and port of the server, or the path of the socket or file.
    pub(super) fn address(&self) -> String {
        D::address(&self.pool.connect_options())
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
        match self.held.take() {
            Some((connection, Some(permit), acquired_at)) => {
                self.connections.keep(connection, acquired_at);
                drop(permit);
            }
            held => self.held = held,
        }
    }

    /// Closes this connection, without notice to the server.
    pub(super) fn close(mut self) {
        if let Some((connection, ..)) = self.held.take() {
            drop(connection.detach());
        }
    }

    /// Closes this connection and the idle ones of the store, which may go to a server that does not answer.
    pub(super) fn discard(self) {
        let connections = Arc::clone(&self.connections);
        self.close();
        connections.close_idle();
    }

    /// Closes this connection after a failure, and all that are older than the failure.
    pub(super) fn fail(self) {
        let connections = Arc::clone(&self.connections);
        let is_first =
            self.held.as_ref().is_some_and(|(.., acquired_at)| !connections.idle().is_outdated(*acquired_at));
        self.close();
        // A failure of a connection from before the last failure says nothing about newer ones.
        if is_first {
            connections.close_all();
        }
    }
}

impl<D: Database> Drop for Lease<D> {
    fn drop(&mut self) {
        if let Some((connection, permit, acquired_at)) = self.held.take() {
            if self.connections.idle().is_outdated(acquired_at) {
                drop(connection.detach());
            }
            drop(permit);
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
