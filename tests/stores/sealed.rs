//! Records that are encrypted where they are stored.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::collections::BTreeMap;
use std::time::Duration;

use sessile::config::KeyRing;
use sessile::event::EventKind;
use sessile::store::{Expected, Outcome, Record, RecordParts, Store, StoreErrorKind, Version};
use sessile::testing::ManualClock;
use sessile::testing::conformance::{Fixture, Task, check};
use sessile::{MemoryStore, SealedStore, SessionId, SessionLayer, Sessions, Transient};
use support::client::EventLog;
use time::OffsetDateTime;

const NEW: [u8; 32] = [1; 32];
const OLD: [u8; 32] = [2; 32];

/// The conformance suite, over a store in memory.
struct Sealed {
    store: SealedStore<MemoryStore>,
    clock: ManualClock,
}

impl Sealed {
    fn new() -> Self {
        let clock = ManualClock::new();
        let store = SealedStore::new(MemoryStore::new().with_clock(&clock), &KeyRing::new(NEW).unwrap()).unwrap();
        Self { store, clock }
    }
}

impl Fixture for Sealed {
    type Store = SealedStore<MemoryStore>;

    async fn open(&self) -> Self::Store {
        self.store.clone()
    }

    async fn another(&self, store: &Self::Store) -> Self::Store {
        store.clone()
    }

    fn spawn(&self, task: Task) {
        tokio::spawn(task);
    }

    async fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_store_keeps_every_rule_of_a_store() {
    check(&Sealed::new()).await.assert();
}

type Values = BTreeMap<&'static str, String>;

fn values(name: &'static str, value: &str) -> Values {
    BTreeMap::from([(name, value.to_owned())])
}

/// A store under keys, what is beneath it, and a signed-in session with a value in it.
async fn sealed(keys: &KeyRing) -> (SealedStore<MemoryStore>, MemoryStore, SessionId) {
    let memory = MemoryStore::new();
    let store = SealedStore::new(memory.clone(), keys).unwrap();
    let (id, _) = Sessions::new(store.clone()).create_owned_by("ada", &values("note", "a secret plan")).await.unwrap();
    (store, memory, id)
}

fn contains(whole: &[u8], part: &[u8]) -> bool {
    whole.windows(part.len()).any(|window| window == part)
}

/// Puts a record in the place of another, past everything.
async fn put(memory: &MemoryStore, record: Record) {
    memory.delete(record.id(), None).await.unwrap();
    assert_eq!(memory.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
}

fn with_state(record: &Record, state: &[u8]) -> Record {
    Record::from_parts(RecordParts { state: state.into(), ..record.clone().into_parts() })
}

async fn refusal(store: &SealedStore<MemoryStore>, id: &SessionId) -> StoreErrorKind {
    store.get(id).await.unwrap_err().kind()
}

// checklist: 36
#[tokio::test]
async fn what_is_stored_shows_no_value_and_reads_back_whole() {
    let (store, memory, id) = sealed(&KeyRing::new(NEW).unwrap()).await;
    let beneath = memory.get(&id).await.unwrap().unwrap();
    for part in [&b"secret"[..], b"plan", b"note"] {
        assert!(!contains(beneath.state(), part));
        assert!(contains(store.get(&id).await.unwrap().unwrap().state(), part));
    }
    assert_eq!(beneath.owner(), Some("ada"), "the index needs it");
    let stored = Sessions::new(store).find_by_id(&id).await.unwrap().unwrap();
    assert_eq!(stored.get::<String>("note").unwrap().as_deref(), Some("a secret plan"));
}

#[tokio::test]
async fn the_same_record_is_never_sealed_alike() {
    let (store, memory, id) = sealed(&KeyRing::new(NEW).unwrap()).await;
    let (record, before) = (store.get(&id).await.unwrap().unwrap(), memory.get(&id).await.unwrap().unwrap());
    store.delete(&id, None).await.unwrap();
    assert_eq!(store.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
    let after = memory.get(&id).await.unwrap().unwrap();
    assert_ne!(before.state(), after.state());
    assert_eq!(store.get(&id).await.unwrap().unwrap(), record);
}

// checklist: 36
#[tokio::test]
async fn a_state_that_was_moved_to_another_session_is_refused() {
    let (store, memory, one) = sealed(&KeyRing::new(NEW).unwrap()).await;
    let (other, _) = Sessions::new(store.clone()).create_owned_by("ada", &()).await.unwrap();
    let (from, to) = (memory.get(&one).await.unwrap().unwrap(), memory.get(&other).await.unwrap().unwrap());
    put(&memory, with_state(&to, from.state())).await;
    assert_eq!(refusal(&store, &other).await, StoreErrorKind::Corrupt);
    assert!(store.get(&one).await.is_ok());
}

#[tokio::test]
async fn an_owner_or_a_version_that_was_changed_beside_the_state_is_refused() {
    for (owner, version) in [(Some("eve"), 1), (None, 1), (Some("ada"), 2)] {
        let (store, memory, id) = sealed(&KeyRing::new(NEW).unwrap()).await;
        let parts = memory.get(&id).await.unwrap().unwrap().into_parts();
        let owner = owner.map(Into::into);
        put(&memory, Record::from_parts(RecordParts { owner, version: Version::new(version), ..parts })).await;
        assert_eq!(refusal(&store, &id).await, StoreErrorKind::Corrupt);
    }
}

#[tokio::test]
async fn a_damaged_truncated_or_plain_state_is_refused() {
    let (store, memory, id) = sealed(&KeyRing::new(NEW).unwrap()).await;
    let (whole, plain) = (memory.get(&id).await.unwrap().unwrap(), store.get(&id).await.unwrap().unwrap());
    let state = whole.state().to_vec();
    for length in 0..state.len() {
        put(&memory, with_state(&whole, &state[..length])).await;
        assert_eq!(refusal(&store, &id).await, StoreErrorKind::Corrupt, "{length} bytes of {}", state.len());
    }
    for place in 0..state.len() {
        let mut damaged = state.clone();
        damaged[place] ^= 1;
        put(&memory, with_state(&whole, &damaged)).await;
        // A name of no key is that of a key that is not there.
        let kind = if (1..5).contains(&place) { StoreErrorKind::Unsupported } else { StoreErrorKind::Corrupt };
        assert_eq!(refusal(&store, &id).await, kind, "byte {place}");
    }
    put(&memory, plain).await;
    assert_eq!(refusal(&store, &id).await, StoreErrorKind::Corrupt);
}

#[tokio::test]
async fn the_first_key_writes_and_every_key_reads() {
    let (old, memory, id) = sealed(&KeyRing::new(OLD).unwrap()).await;
    let both = SealedStore::new(memory.clone(), &KeyRing::new(NEW).unwrap().add_old_key(OLD).unwrap()).unwrap();
    let new = SealedStore::new(memory.clone(), &KeyRing::new(NEW).unwrap()).unwrap();
    assert_eq!(refusal(&new, &id).await, StoreErrorKind::Unsupported, "an unknown key signs nobody out");
    let sessions = Sessions::new(both.clone());
    assert!(sessions.update(&id, &values("n", "1")).await.unwrap());
    assert!(new.get(&id).await.unwrap().is_some());
    assert_eq!(refusal(&old, &id).await, StoreErrorKind::Unsupported);
}

#[tokio::test]
async fn plain_records_are_read_where_that_is_switched_on_and_sealed_when_they_are_written() {
    let memory = MemoryStore::new();
    let (id, _) = Sessions::new(memory.clone()).create(&()).await.unwrap();
    let store = SealedStore::new(memory.clone(), &KeyRing::new(NEW).unwrap()).unwrap();
    assert_eq!(refusal(&store, &id).await, StoreErrorKind::Corrupt);
    let moving = store.clone().with_dangerous_plain_records(true);
    assert!(moving.get(&id).await.unwrap().is_some());
    let sessions = Sessions::new(moving);
    assert!(sessions.update(&id, &values("n", "1")).await.unwrap());
    assert!(store.get(&id).await.unwrap().is_some());
}

#[tokio::test]
async fn a_record_that_cannot_be_opened_is_an_event_in_the_list_of_its_owner_and_can_be_ended() {
    let (store, memory, id) = sealed(&KeyRing::new(NEW).unwrap()).await;
    let whole = memory.get(&id).await.unwrap().unwrap();
    put(&memory, with_state(&whole, &whole.state()[..40])).await;
    let events = EventLog::default();
    let layer = SessionLayer::builder(store).with_event_hook(events.hook()).build().unwrap();
    assert!(layer.sessions().owned_by("ada").await.unwrap().is_empty());
    assert_eq!(events.count(EventKind::Corrupt), 1);
    assert_eq!(layer.sessions().end_all_of("ada").await.unwrap(), 1);
    assert!(memory.is_empty());
}

#[tokio::test]
async fn a_plain_record_that_somebody_wrote_beneath_is_not_read_in_the_list_of_an_owner() {
    let (store, memory, id) = sealed(&KeyRing::new(NEW).unwrap()).await;
    let plain = store.get(&id).await.unwrap().unwrap();
    put(&memory, plain).await;
    let sessions = Sessions::new(store);
    assert!(sessions.owned_by("ada").await.unwrap().is_empty());
    assert_eq!(sessions.end_all_of("ada").await.unwrap(), 1);
}

#[tokio::test]
async fn string_keys_are_sealed_too() {
    let memory = MemoryStore::new();
    let transient = Transient::new(SealedStore::new(memory.clone(), &KeyRing::new(NEW).unwrap()).unwrap());
    transient.set("code:ada", &"4711 4711 4711", Duration::from_secs(60)).await.unwrap();
    assert_eq!(transient.get::<String>("code:ada").await.unwrap().as_deref(), Some("4711 4711 4711"));
    assert_eq!(memory.len(), 1);
}

#[test]
fn a_short_key_is_refused() {
    assert!(SealedStore::new(MemoryStore::new(), &KeyRing::new([0; 31]).unwrap()).is_err());
    let shown = format!("{:?}", SealedStore::new(MemoryStore::new(), &KeyRing::new(NEW).unwrap()).unwrap());
    assert!(!shown.contains("[1, 1"), "{shown}");
}
