//! Store wrappers for tests: one counts calls, the other injects faults and delays.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use sessile::SessionId;

use sessile::store::{Cursor, Expected, Outcome, Page, Record, RecordSummary, Store, StoreError, Touch};
use tokio::sync::Semaphore;

/// A store that counts the calls to another store. Clones share the counts.
#[derive(Clone, Debug)]
pub struct CountingStore<S> {
    inner: S,
    calls: Arc<[AtomicUsize; 8]>,
    /// The sessions of all `set` calls.
    ids: Arc<Mutex<BTreeSet<SessionId>>>,
}

/// The number of calls per operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub gets: usize,
    pub sets: usize,
    pub touches: usize,
    pub deletes: usize,
    pub owned_by: usize,
    pub bulk_deletes: usize,
    pub index_removals: usize,
    /// `ids_of`, `summaries_of`, `list`, `count` and `ping`.
    pub listings: usize,
}

impl Counts {
    pub const NONE: Self =
        Self { gets: 0, sets: 0, touches: 0, deletes: 0, owned_by: 0, bulk_deletes: 0, index_removals: 0, listings: 0 };

    pub const fn gets(gets: usize) -> Self {
        Self { gets, ..Self::NONE }
    }

    pub const fn and_sets(self, sets: usize) -> Self {
        Self { sets, ..self }
    }

    pub const fn and_touches(self, touches: usize) -> Self {
        Self { touches, ..self }
    }

    pub const fn and_deletes(self, deletes: usize) -> Self {
        Self { deletes, ..self }
    }

    pub const fn and_index_removals(self, index_removals: usize) -> Self {
        Self { index_removals, ..self }
    }
}

impl<S> CountingStore<S> {
    pub fn new(inner: S) -> Self {
        Self { inner, calls: Arc::default(), ids: Arc::default() }
    }

    pub fn counts(&self) -> Counts {
        let [gets, sets, touches, deletes, owned_by, bulk_deletes, index_removals, listings] =
            [0, 1, 2, 3, 4, 5, 6, 7].map(|place: usize| self.calls[place].load(Ordering::SeqCst));
        Counts { gets, sets, touches, deletes, owned_by, bulk_deletes, index_removals, listings }
    }

    /// Returns the ids of all sessions that were ever written.
    pub fn ids(&self) -> BTreeSet<SessionId> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn reset(&self) {
        self.calls.iter().for_each(|calls| calls.store(0, Ordering::SeqCst));
    }

    fn note(&self, place: usize) {
        self.calls[place].fetch_add(1, Ordering::SeqCst);
    }
}

impl<S: Store> Store for CountingStore<S> {
    fn get(&self, id: &SessionId) -> impl Future<Output = Result<Option<Record>, StoreError>> + Send {
        self.note(0);
        self.inner.get(id)
    }

    fn set(&self, record: &Record, expected: Expected) -> impl Future<Output = Result<Outcome, StoreError>> + Send {
        self.note(1);
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).insert(*record.id());
        self.inner.set(record, expected)
    }

    fn touch(&self, record: &Record, touch: Touch) -> impl Future<Output = Result<bool, StoreError>> + Send {
        self.note(2);
        self.inner.touch(record, touch)
    }

    fn delete(&self, id: &SessionId, owner: Option<&str>) -> impl Future<Output = Result<bool, StoreError>> + Send {
        self.note(3);
        self.inner.delete(id, owner)
    }

    fn owned_by(&self, owner: &str) -> impl Future<Output = Result<Vec<Record>, StoreError>> + Send {
        self.note(4);
        self.inner.owned_by(owner)
    }

    fn remove_from_index(&self, id: &SessionId, owner: &str) -> impl Future<Output = Result<(), StoreError>> + Send {
        self.note(6);
        self.inner.remove_from_index(id, owner)
    }

    fn delete_owned_by(
        &self,
        owner: &str,
        realm: Option<&str>,
        keep: Option<&SessionId>,
    ) -> impl Future<Output = Result<Vec<SessionId>, StoreError>> + Send {
        self.note(5);
        self.inner.delete_owned_by(owner, realm, keep)
    }

    fn delete_expired(&self) -> impl Future<Output = Result<u64, StoreError>> + Send {
        self.inner.delete_expired()
    }

    fn ids_of(
        &self,
        owner: &str,
        realm: Option<&str>,
    ) -> impl Future<Output = Result<Vec<SessionId>, StoreError>> + Send {
        self.note(7);
        self.inner.ids_of(owner, realm)
    }

    fn summaries_of(
        &self,
        ids: &[SessionId],
    ) -> impl Future<Output = Result<Vec<Option<RecordSummary>>, StoreError>> + Send {
        self.note(7);
        self.inner.summaries_of(ids)
    }

    fn list(&self, after: Option<&Cursor>, limit: usize) -> impl Future<Output = Result<Page, StoreError>> + Send {
        self.note(7);
        self.inner.list(after, limit)
    }

    fn count(&self) -> impl Future<Output = Result<u64, StoreError>> + Send {
        self.note(7);
        self.inner.count()
    }

    fn ping(&self) -> impl Future<Output = Result<(), StoreError>> + Send {
        self.note(7);
        self.inner.ping()
    }

    fn is_remote(&self) -> bool {
        self.inner.is_remote()
    }
}

/// A point where a task waits until the test releases it. Clones are the same gate.
///
/// A released gate stays open.
#[derive(Clone, Debug)]
pub struct Gate(Arc<(Semaphore, Semaphore)>);

impl Gate {
    pub fn new() -> Self {
        Self(Arc::new((Semaphore::new(0), Semaphore::new(0))))
    }

    /// Reports that the task has reached the gate, and waits for the release.
    pub async fn wait(&self) {
        self.0.0.add_permits(1);
        drop(self.0.1.acquire().await.expect("a gate is never closed"));
    }

    /// Waits until a task is at the gate; each call waits for one more task.
    pub async fn reached(&self) {
        self.0.0.acquire().await.expect("a gate is never closed").forget();
    }

    pub fn release(&self) {
        self.0.1.add_permits(1);
    }
}

/// A store operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Get = 0,
    Set = 1,
    Touch = 2,
    Delete = 3,
    RemoveFromIndex = 4,
    /// A read of many records, or a ping.
    List = 5,
}

/// The way in which an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The operation is not applied.
    Before,
    /// The operation is applied, and its result is lost.
    After,
    /// A `set` that reports an error and is applied just before the next `set`.
    Late,
}

/// A bound against endless retries; no test needs that many calls.
const MAX_CALLS: usize = 50_000;

/// A store that injects scripted faults into the calls to another store. Clones share the script.
#[derive(Clone, Debug)]
pub struct FaultyStore<S> {
    inner: S,
    script: Arc<Mutex<Script>>,
}

#[derive(Debug, Default)]
struct Script {
    calls: [usize; 6],
    planned: Vec<(Op, usize, Act)>,
    always: [Option<Fault>; 6],
    /// The number of polls for which each call is pending before it is applied.
    pending_before: usize,
    /// The number of polls for which each call is pending after it is applied.
    pending_after: usize,
    /// The failures per 1,000 calls of `set` and `get`, and the state of the random generator.
    chance: Option<(u64, u64)>,
    late: Vec<(Record, Expected)>,
}

#[derive(Clone, Debug)]
enum Act {
    Fail(Fault),
    HoldBefore(Gate),
    HoldAfter(Gate),
}

/// The script for one call.
struct Plan {
    acts: Vec<Act>,
    pending_before: usize,
    pending_after: usize,
}

impl<S> FaultyStore<S> {
    pub fn new(inner: S) -> Self {
        Self { inner, script: Arc::default() }
    }

    /// Makes the `nth` call of this operation from now on fail; 1 is the next.
    pub fn fail(&self, op: Op, nth: usize, fault: Fault) {
        self.plan(op, nth, Act::Fail(fault));
    }

    /// Makes every call of this operation fail from now on.
    pub fn fail_always(&self, op: Op, fault: Fault) {
        self.script().always[op as usize] = Some(fault);
    }

    /// Removes all planned faults.
    pub fn heal(&self) {
        let mut script = self.script();
        script.planned.clear();
        script.always = [None; 6];
        script.chance = None;
        (script.pending_before, script.pending_after) = (0, 0);
    }

    /// Makes the `nth` call of this operation from now on wait at the gate before it is applied.
    pub fn hold_before(&self, op: Op, nth: usize) -> Gate {
        let gate = Gate::new();
        self.plan(op, nth, Act::HoldBefore(gate.clone()));
        gate
    }

    /// Makes the `nth` call of this operation from now on wait at the gate after it is applied.
    pub fn hold_after(&self, op: Op, nth: usize) -> Gate {
        let gate = Gate::new();
        self.plan(op, nth, Act::HoldAfter(gate.clone()));
        gate
    }

    /// Makes each call pending for that many polls before it is applied, and again after.
    pub fn pend(&self, times: usize) {
        let mut script = self.script();
        (script.pending_before, script.pending_after) = (times, times);
    }

    /// Makes each call pending once before it is applied, so that tests can run another task there.
    pub fn pend_before(&self) {
        self.script().pending_before = 1;
    }

    /// Makes this many of 1,000 `get` and `set` calls fail; half of the failed `set` calls are applied.
    pub fn fail_at_random(&self, seed: u64, of_thousand: u64) {
        self.script().chance = Some((of_thousand, seed));
    }

    fn plan(&self, op: Op, nth: usize, act: Act) {
        let mut script = self.script();
        let nth = script.calls[op as usize] + nth;
        script.planned.push((op, nth, act));
    }

    fn next(&self, op: Op) -> Plan {
        let mut script = self.script();
        script.calls[op as usize] += 1;
        assert!(script.calls.iter().sum::<usize>() < MAX_CALLS, "more than {MAX_CALLS} store calls");
        let call = script.calls[op as usize];
        let mut acts: Vec<Act> = script
            .planned
            .iter()
            .filter(|(planned, nth, _)| (*planned, *nth) == (op, call))
            .map(|(_, _, act)| act.clone())
            .collect();
        acts.extend(script.always[op as usize].map(Act::Fail));
        if let Some((of_thousand, state)) = &mut script.chance
            && matches!(op, Op::Get | Op::Set)
            && random(state) % 1000 < *of_thousand
        {
            let after = op == Op::Set && random(state).is_multiple_of(2);
            acts.push(Act::Fail(if after { Fault::After } else { Fault::Before }));
        }
        Plan { acts, pending_before: script.pending_before, pending_after: script.pending_after }
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Plan {
    async fn before(&self) -> Result<(), StoreError> {
        pend(self.pending_before).await;
        for act in &self.acts {
            match act {
                Act::HoldBefore(gate) => gate.wait().await,
                Act::Fail(Fault::Before) => return Err(StoreError::unavailable("planned fault before the call")),
                Act::Fail(_) | Act::HoldAfter(_) => {}
            }
        }
        Ok(())
    }

    async fn after<T>(&self, done: Result<T, StoreError>) -> Result<T, StoreError> {
        pend(self.pending_after).await;
        for act in &self.acts {
            match act {
                Act::HoldAfter(gate) => gate.wait().await,
                Act::Fail(Fault::After) => return Err(StoreError::unavailable("planned fault after the call")),
                Act::Fail(_) | Act::HoldBefore(_) => {}
            }
        }
        done
    }

    fn is_late(&self) -> bool {
        self.acts.iter().any(|act| matches!(act, Act::Fail(Fault::Late)))
    }
}

impl<S: Store> Store for FaultyStore<S> {
    async fn get(&self, id: &SessionId) -> Result<Option<Record>, StoreError> {
        let plan = self.next(Op::Get);
        plan.before().await?;
        plan.after(self.inner.get(id).await).await
    }

    async fn set(&self, record: &Record, expected: Expected) -> Result<Outcome, StoreError> {
        let plan = self.next(Op::Set);
        plan.before().await?;
        if plan.is_late() {
            self.script().late.push((record.clone(), expected));
            return Err(StoreError::unavailable("planned fault; the call is applied later"));
        }
        let late = std::mem::take(&mut self.script().late);
        for (record, expected) in late {
            let _ = self.inner.set(&record, expected).await?;
        }
        plan.after(self.inner.set(record, expected).await).await
    }

    async fn touch(&self, record: &Record, touch: Touch) -> Result<bool, StoreError> {
        let plan = self.next(Op::Touch);
        plan.before().await?;
        plan.after(self.inner.touch(record, touch).await).await
    }

    async fn delete(&self, id: &SessionId, owner: Option<&str>) -> Result<bool, StoreError> {
        let plan = self.next(Op::Delete);
        plan.before().await?;
        plan.after(self.inner.delete(id, owner).await).await
    }

    fn owned_by(&self, owner: &str) -> impl Future<Output = Result<Vec<Record>, StoreError>> + Send {
        self.inner.owned_by(owner)
    }

    async fn remove_from_index(&self, id: &SessionId, owner: &str) -> Result<(), StoreError> {
        let plan = self.next(Op::RemoveFromIndex);
        plan.before().await?;
        plan.after(self.inner.remove_from_index(id, owner).await).await
    }

    /// Follows the script of [`Op::Delete`].
    async fn delete_owned_by(
        &self,
        owner: &str,
        realm: Option<&str>,
        keep: Option<&SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        let plan = self.next(Op::Delete);
        plan.before().await?;
        plan.after(self.inner.delete_owned_by(owner, realm, keep).await).await
    }

    fn delete_expired(&self) -> impl Future<Output = Result<u64, StoreError>> + Send {
        self.inner.delete_expired()
    }

    /// Follows the script of [`Op::List`], as do the other reads of many records.
    async fn ids_of(&self, owner: &str, realm: Option<&str>) -> Result<Vec<SessionId>, StoreError> {
        let plan = self.next(Op::List);
        plan.before().await?;
        plan.after(self.inner.ids_of(owner, realm).await).await
    }

    async fn summaries_of(&self, ids: &[SessionId]) -> Result<Vec<Option<RecordSummary>>, StoreError> {
        let plan = self.next(Op::List);
        plan.before().await?;
        plan.after(self.inner.summaries_of(ids).await).await
    }

    async fn list(&self, after: Option<&Cursor>, limit: usize) -> Result<Page, StoreError> {
        let plan = self.next(Op::List);
        plan.before().await?;
        plan.after(self.inner.list(after, limit).await).await
    }

    async fn count(&self) -> Result<u64, StoreError> {
        let plan = self.next(Op::List);
        plan.before().await?;
        plan.after(self.inner.count().await).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let plan = self.next(Op::List);
        plan.before().await?;
        plan.after(self.inner.ping().await).await
    }

    fn is_remote(&self) -> bool {
        self.inner.is_remote()
    }
}

/// Returns pending for that many polls.
pub async fn pend(times: usize) {
    let mut left = times;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Returns the next pseudorandom number (SplitMix64).
pub fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
