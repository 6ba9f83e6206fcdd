//! A store behind a simulated network: the test decides when each call is applied, answered, failed or dropped.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use sessile::store::{Expected, Outcome, Record, Store, StoreError, Touch};
use sessile::testing::ManualClock;
use sessile::{MemoryStore, SessionId};

/// The store. Clones share the network and the memory store behind it.
#[derive(Clone, Debug)]
pub struct Network {
    memory: MemoryStore,
    state: Arc<Mutex<NetworkState>>,
}

#[derive(Debug, Default)]
struct NetworkState {
    calls: Vec<Call>,
    next: usize,
    /// Request that is being polled.
    polled: usize,
    /// Number of failed calls of each request.
    faults: Vec<usize>,
}

/// A store call in progress.
#[derive(Debug)]
struct Call {
    number: usize,
    request: usize,
    op: StoreOp,
    applied: Option<StoreReply>,
    reply: Option<Result<StoreReply, ()>>,
    waker: Option<Waker>,
    /// The caller no longer waits for the reply.
    abandoned: bool,
}

#[derive(Clone, Debug)]
enum StoreOp {
    Get(SessionId),
    Set(Record, Expected),
    Touch(Record, Touch),
    Delete(SessionId),
}

#[derive(Clone, Debug)]
enum StoreReply {
    Got(Option<Record>),
    Set(Outcome),
    Done(bool),
}

/// A call that an event may affect.
#[derive(Clone, Copy, Debug)]
pub struct OpenCall {
    pub number: usize,
    pub request: usize,
    pub applied: bool,
    /// The caller waits for the reply.
    pub awaited: bool,
}

/// An event of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkEvent {
    Apply,
    ApplyAndReply,
    Reply,
    /// The caller receives an error, and the call is never applied.
    Fail,
    /// The caller receives an error, and the call may still be applied.
    FailAndDelay,
    /// An abandoned call is never applied.
    Drop,
}

impl Network {
    pub fn new(clock: &ManualClock) -> Self {
        Self { memory: MemoryStore::new().with_clock(clock), state: Arc::default() }
    }

    /// Attributes the next calls to this request.
    pub fn set_polled(&self, request: usize) {
        let mut state = self.state();
        state.polled = request;
        if state.faults.len() <= request {
            state.faults.resize(request + 1, 0);
        }
    }

    pub fn faults(&self, request: usize) -> usize {
        self.state().faults.get(request).copied().unwrap_or(0)
    }

    pub fn record_fault(&self, request: usize) {
        self.state().faults[request] += 1;
    }

    /// Returns the calls that an event may affect.
    pub fn open_calls(&self) -> Vec<OpenCall> {
        let state = self.state();
        let open = state.calls.iter().filter(|call| call.reply.is_none() || call.abandoned);
        open.map(|Call { number, request, applied, abandoned, .. }| OpenCall {
            number: *number,
            request: *request,
            applied: applied.is_some(),
            awaited: !abandoned,
        })
        .collect()
    }

    pub fn apply_event(&self, number: usize, event: NetworkEvent) {
        let mut state = self.state();
        let at = state.calls.iter().position(|call| call.number == number).unwrap();
        let request = state.calls[at].request;
        let call = &mut state.calls[at];
        match event {
            NetworkEvent::Apply | NetworkEvent::ApplyAndReply => {
                let reply = call.op.apply(&self.memory);
                if event == NetworkEvent::ApplyAndReply {
                    call.reply(Ok(reply.clone()));
                }
                call.applied = Some(reply);
            }
            NetworkEvent::Reply => {
                let reply = call.applied.clone().unwrap();
                call.reply(Ok(reply));
            }
            NetworkEvent::Fail | NetworkEvent::FailAndDelay => {
                call.reply(Err(()));
                state.faults[request] += 1;
                if event == NetworkEvent::FailAndDelay {
                    let op = state.calls[at].op.clone();
                    state.send(op, true);
                }
            }
            NetworkEvent::Drop => {}
        }
        let call = &state.calls[at];
        if call.abandoned && (event == NetworkEvent::Drop || call.applied.is_some()) {
            state.calls.remove(at);
        }
    }

    /// Makes a call and waits for its reply.
    async fn call(&self, op: StoreOp) -> Result<StoreReply, StoreError> {
        let number = self.state().send(op, false);
        ReplyFuture { network: self, number }.await.map_err(|()| StoreError::unavailable("injected by the schedule"))
    }

    fn state(&self) -> MutexGuard<'_, NetworkState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NetworkState {
    fn send(&mut self, op: StoreOp, abandoned: bool) -> usize {
        self.next += 1;
        let (number, request) = (self.next, self.polled);
        self.calls.push(Call { number, request, op, applied: None, reply: None, waker: None, abandoned });
        number
    }
}

impl Call {
    fn reply(&mut self, reply: Result<StoreReply, ()>) {
        self.reply = Some(reply);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl StoreOp {
    fn apply(&self, memory: &MemoryStore) -> StoreReply {
        match self {
            Self::Get(id) => StoreReply::Got(poll_once(memory.get(id)).unwrap()),
            Self::Set(record, expected) => StoreReply::Set(poll_once(memory.set(record, *expected)).unwrap()),
            Self::Touch(record, touch) => StoreReply::Done(poll_once(memory.touch(record, *touch)).unwrap()),
            Self::Delete(id) => StoreReply::Done(poll_once(memory.delete(id, None)).unwrap()),
        }
    }
}

/// The reply to a call. Dropping it abandons the call.
struct ReplyFuture<'a> {
    network: &'a Network,
    number: usize,
}

impl Future for ReplyFuture<'_> {
    type Output = Result<StoreReply, ()>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.network.state();
        let call = state.calls.iter_mut().find(|call| call.number == self.number).unwrap();
        match call.reply.clone() {
            Some(reply) => Poll::Ready(reply),
            None => {
                call.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for ReplyFuture<'_> {
    fn drop(&mut self) {
        let mut state = self.network.state();
        let Some(at) = state.calls.iter().position(|call| call.number == self.number) else { return };
        let call = &mut state.calls[at];
        if call.reply.is_none() && call.applied.is_none() {
            call.abandoned = true;
        } else {
            state.calls.remove(at);
        }
    }
}

impl Store for Network {
    async fn get(&self, id: &SessionId) -> Result<Option<Record>, StoreError> {
        match self.call(StoreOp::Get(*id)).await? {
            StoreReply::Got(record) => Ok(record),
            other => panic!("{other:?}"),
        }
    }

    async fn set(&self, record: &Record, expected: Expected) -> Result<Outcome, StoreError> {
        match self.call(StoreOp::Set(record.clone(), expected)).await? {
            StoreReply::Set(outcome) => Ok(outcome),
            other => panic!("{other:?}"),
        }
    }

    async fn touch(&self, record: &Record, touch: Touch) -> Result<bool, StoreError> {
        match self.call(StoreOp::Touch(record.clone(), touch)).await? {
            StoreReply::Done(result) => Ok(result),
            other => panic!("{other:?}"),
        }
    }

    async fn delete(&self, id: &SessionId, _: Option<&str>) -> Result<bool, StoreError> {
        match self.call(StoreOp::Delete(*id)).await? {
            StoreReply::Done(result) => Ok(result),
            other => panic!("{other:?}"),
        }
    }
}

/// Returns the output of a future that is ready at once.
pub fn poll_once<F: Future>(future: F) -> F::Output {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("the memory store is never pending"),
    }
}
