//! A store whose calls a test can stop and fail, one by one.

use std::future::Future;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use sessile::SessionId;
use sessile::store::{Expected, Outcome, Record, Store, StoreError, Touch};
use tokio::sync::Semaphore;

/// A store that counts its calls. Clones share the count.
#[derive(Clone)]
pub struct Steps<S> {
    inner: S,
    plan: Arc<Mutex<Plan>>,
}

#[derive(Default)]
struct Plan {
    calls: usize,
    stop: Option<(usize, Stop)>,
    failing: Range<usize>,
}

/// A call that waits for the test. Clones are the same call.
#[derive(Clone)]
pub struct Stop {
    reached: Arc<Semaphore>,
    released: Arc<Semaphore>,
}

impl Stop {
    pub async fn reached(&self) {
        self.reached.acquire().await.unwrap().forget();
    }

    pub fn release(&self) {
        self.released.add_permits(1);
    }
}

impl<S: Store> Steps<S> {
    pub fn new(inner: S) -> Self {
        Self { inner, plan: Arc::default() }
    }

    /// Stops the `nth` call from now on before it takes effect; 1 is the next.
    pub fn stop(&self, nth: usize) -> Stop {
        let stop = Stop { reached: Arc::new(Semaphore::new(0)), released: Arc::new(Semaphore::new(0)) };
        let mut plan = self.plan.lock().unwrap();
        plan.stop = Some((plan.calls.saturating_add(nth), stop.clone()));
        stop
    }

    /// Stops no further call.
    pub fn pass(&self) {
        self.plan.lock().unwrap().stop = None;
    }

    /// Makes calls from now on fail, numbered from 1.
    pub fn fail(&self, calls: Range<usize>) {
        let mut plan = self.plan.lock().unwrap();
        plan.failing = plan.calls.saturating_add(calls.start)..plan.calls.saturating_add(calls.end);
    }

    /// Returns the number of calls so far.
    pub fn calls(&self) -> usize {
        self.plan.lock().unwrap().calls
    }

    async fn step(&self) -> Result<(), StoreError> {
        let (stop, fails) = {
            let mut plan = self.plan.lock().unwrap();
            plan.calls += 1;
            let call = plan.calls;
            (plan.stop.take_if(|(at, _)| *at == call), plan.failing.contains(&call))
        };
        if let Some((_, stop)) = stop {
            stop.reached.add_permits(1);
            stop.released.acquire().await.unwrap().forget();
        }
        if fails { Err(StoreError::unavailable("the test makes this call fail")) } else { Ok(()) }
    }
}

impl<S: Store> Store for Steps<S> {
    async fn get(&self, id: &SessionId) -> Result<Option<Record>, StoreError> {
        self.step().await?;
        self.inner.get(id).await
    }

    async fn set(&self, record: &Record, expected: Expected) -> Result<Outcome, StoreError> {
        self.step().await?;
        self.inner.set(record, expected).await
    }

    async fn touch(&self, record: &Record, touch: Touch) -> Result<bool, StoreError> {
        self.step().await?;
        self.inner.touch(record, touch).await
    }

    async fn delete(&self, id: &SessionId, owner: Option<&str>) -> Result<bool, StoreError> {
        self.step().await?;
        self.inner.delete(id, owner).await
    }

    async fn owned_by(&self, owner: &str) -> Result<Vec<Record>, StoreError> {
        self.step().await?;
        self.inner.owned_by(owner).await
    }

    fn remove_from_index(&self, id: &SessionId, owner: &str) -> impl Future<Output = Result<(), StoreError>> + Send {
        self.inner.remove_from_index(id, owner)
    }

    fn delete_expired(&self) -> impl Future<Output = Result<u64, StoreError>> + Send {
        self.inner.delete_expired()
    }

    fn is_remote(&self) -> bool {
        self.inner.is_remote()
    }
}
