//! A store behind a network that the test holds in its hands: each operation waits until it is told to be applied, to be
//! answered, to fail, or to be lost, in any order.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use sessile::store::{Expected, Outcome, Record, Store, StoreError, Touch};
use sessile::testing::ManualClock;
use sessile::{MemoryStore, SessionId};

/// The store. Clones are the same network, and the same memory behind it.
#[derive(Clone, Debug)]
pub struct Network {
    memory: MemoryStore,
    links: Arc<Mutex<Links>>,
}

#[derive(Debug, Default)]
struct Links {
    calls: Vec<Call>,
    next: usize,
    /// The request that is being polled.
    polled: usize,
    /// How many calls of each request failed.
    faults: Vec<usize>,
}

/// An operation that is under way.
#[derive(Debug)]
struct Call {
    number: usize,
    request: usize,
    asked: Asked,
    applied: Option<Told>,
    reply: Option<Result<Told, ()>>,
    waker: Option<Waker>,
    /// Nobody waits for the answer any more.
    orphaned: bool,
}

#[derive(Clone, Debug)]
enum Asked {
    Get(SessionId),
    Set(Record, Expected),
    Touch(Record, Touch),
    Delete(SessionId),
}

#[derive(Clone, Debug)]
enum Told {
    Got(Option<Record>),
    Set(Outcome),
    Done(bool),
}

/// A call that something can happen to.
#[derive(Clone, Copy, Debug)]
pub struct OpenCall {
    pub number: usize,
    pub request: usize,
    pub applied: bool,
    /// Whether somebody waits for the answer.
    pub awaited: bool,
}

/// What may happen to a call next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Apply,
    ApplyAndAnswer,
    Answer,
    /// The caller is told that it failed, and it is not applied any more.
    Fail,
    /// The caller is told that it failed; it may still be applied.
    FailAndLinger,
    /// Not applied, and nobody waits for it.
    Lose,
}

impl Network {
    pub fn new(clock: &ManualClock) -> Self {
        Self { memory: MemoryStore::new().with_clock(clock), links: Arc::default() }
    }

    /// What is asked from now on is asked by this request.
    pub fn polling(&self, request: usize) {
        let mut links = self.links();
        links.polled = request;
        if links.faults.len() <= request {
            links.faults.resize(request + 1, 0);
        }
    }

    pub fn faults(&self, request: usize) -> usize {
        self.links().faults.get(request).copied().unwrap_or(0)
    }

    pub fn note_fault(&self, request: usize) {
        self.links().faults[request] += 1;
    }

    /// The calls that something can happen to.
    pub fn open_calls(&self) -> Vec<OpenCall> {
        let links = self.links();
        let open = links.calls.iter().filter(|call| call.reply.is_none() || call.orphaned);
        open.map(|Call { number, request, applied, orphaned, .. }| OpenCall {
            number: *number,
            request: *request,
            applied: applied.is_some(),
            awaited: !orphaned,
        })
        .collect()
    }

    pub fn happen(&self, number: usize, event: Event) {
        let mut links = self.links();
        let at = links.calls.iter().position(|call| call.number == number).unwrap();
        let request = links.calls[at].request;
        let call = &mut links.calls[at];
        match event {
            Event::Apply | Event::ApplyAndAnswer => {
                let told = call.asked.apply(&self.memory);
                if event == Event::ApplyAndAnswer {
                    call.answer(Ok(told.clone()));
                }
                call.applied = Some(told);
            }
            Event::Answer => {
                let told = call.applied.clone().unwrap();
                call.answer(Ok(told));
            }
            Event::Fail | Event::FailAndLinger => {
                call.answer(Err(()));
                links.faults[request] += 1;
                if event == Event::FailAndLinger {
                    let asked = links.calls[at].asked.clone();
                    links.send(asked, true);
                }
            }
            Event::Lose => {}
        }
        let call = &links.calls[at];
        if call.orphaned && (event == Event::Lose || call.applied.is_some()) {
            links.calls.remove(at);
        }
    }

    /// Sends a call, and waits for what comes of it.
    async fn ask(&self, asked: Asked) -> Result<Told, StoreError> {
        let number = self.links().send(asked, false);
        Answer { network: self, number }.await.map_err(|()| StoreError::unavailable("as the schedule has it"))
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Links {
    fn send(&mut self, asked: Asked, orphaned: bool) -> usize {
        self.next += 1;
        let (number, request) = (self.next, self.polled);
        self.calls.push(Call { number, request, asked, applied: None, reply: None, waker: None, orphaned });
        number
    }
}

impl Call {
    fn answer(&mut self, reply: Result<Told, ()>) {
        self.reply = Some(reply);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Asked {
    fn apply(&self, memory: &MemoryStore) -> Told {
        match self {
            Self::Get(id) => Told::Got(now(memory.get(id)).unwrap()),
            Self::Set(record, expected) => Told::Set(now(memory.set(record, *expected)).unwrap()),
            Self::Touch(record, touch) => Told::Done(now(memory.touch(record, *touch)).unwrap()),
            Self::Delete(id) => Told::Done(now(memory.delete(id, None)).unwrap()),
        }
    }
}

/// The answer of a call; dropped, the call goes its way without it.
struct Answer<'a> {
    network: &'a Network,
    number: usize,
}

impl Future for Answer<'_> {
    type Output = Result<Told, ()>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut links = self.network.links();
        let call = links.calls.iter_mut().find(|call| call.number == self.number).unwrap();
        match call.reply.clone() {
            Some(reply) => Poll::Ready(reply),
            None => {
                call.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Answer<'_> {
    fn drop(&mut self) {
        let mut links = self.network.links();
        let Some(at) = links.calls.iter().position(|call| call.number == self.number) else { return };
        let call = &mut links.calls[at];
        if call.reply.is_none() && call.applied.is_none() {
            call.orphaned = true;
        } else {
            links.calls.remove(at);
        }
    }
}

impl Store for Network {
    async fn get(&self, id: &SessionId) -> Result<Option<Record>, StoreError> {
        match self.ask(Asked::Get(*id)).await? {
            Told::Got(record) => Ok(record),
            other => panic!("{other:?}"),
        }
    }

    async fn set(&self, record: &Record, expected: Expected) -> Result<Outcome, StoreError> {
        match self.ask(Asked::Set(record.clone(), expected)).await? {
            Told::Set(outcome) => Ok(outcome),
            other => panic!("{other:?}"),
        }
    }

    async fn touch(&self, record: &Record, touch: Touch) -> Result<bool, StoreError> {
        match self.ask(Asked::Touch(record.clone(), touch)).await? {
            Told::Done(done) => Ok(done),
            other => panic!("{other:?}"),
        }
    }

    async fn delete(&self, id: &SessionId, _: Option<&str>) -> Result<bool, StoreError> {
        match self.ask(Asked::Delete(*id)).await? {
            Told::Done(done) => Ok(done),
            other => panic!("{other:?}"),
        }
    }
}

/// What a future that never waits has to say.
pub fn now<F: Future>(future: F) -> F::Output {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("a store in memory never waits"),
    }
}
