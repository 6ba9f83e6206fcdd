//! Tests of `SealedStore` over a store in memory.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::collections::BTreeMap;
use std::time::Duration;

use sessile::config::KeyRing;
use sessile::event::EventKind;
use sessile::store::{Expected, Outcome, Record, RecordParts, Store, StoreErrorKind, Version};
use sessile::testing::ManualClock;
use sessile::testing::conformance::{Fixture, Task, check};
use sessile::{MemoryStore, SealedStore, SessionId, SessionLayer, Sessions, StoredSession, Transient};
use support::client::EventLog;
use time::OffsetDateTime;

const NEW: [u8; 32] = [1; 32];
const OLD: [u8; 32] = [2; 32];

/// A sealed store in memory, for the conformance suite.
struct SealedFixture {
    store: SealedStore<MemoryStore>,
    clock: ManualClock,
}

impl SealedFixture {
    fn new() -> Self {
        let clock = ManualClock::new();
        let store = SealedStore::new(MemoryStore::new().with_clock(&clock), &KeyRing::new(NEW).unwrap()).unwrap();
        Self { store, clock }
    }
}

impl Fixture for SealedFixture {
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

/// The store passes the conformance suite.
#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_store_keeps_every_rule_of_a_store() {
    check(&SealedFixture::new()).await.assert();
}

type Values = BTreeMap<&'static str, String>;

fn values(name: &'static str, value: &str) -> Values {
    BTreeMap::from([(name, value.to_owned())])
}

/// Returns a sealed store, the store inside it, and a signed-in session with a value.
async fn sealed(keys: &KeyRing) -> (SealedStore<MemoryStore>, MemoryStore, SessionId) {
    let memory = MemoryStore::new();
    let store = SealedStore::new(memory.clone(), keys).unwrap();
    let (id, _) = Sessions::new(store.clone()).create_owned_by("ada", &values("note", "a secret plan")).await.unwrap();
    (store, memory, id)
}

fn contains(whole: &[u8], part: &[u8]) -> bool {
    whole.windows(part.len()).any(|window| window == part)
}

/// Replaces a record in the inner store.
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
/// The inner store's record contains no key or value, and the sealed store reads it back.
#[tokio::test]
async fn a_stored_record_reveals_no_value_and_reads_back() {
    let (store, memory, id) = sealed(&KeyRing::new(NEW).unwrap()).await;
    let inner = memory.get(&id).await.unwrap().unwrap();
    for part in [&b"secret"[..], b"plan", b"note"] {
        assert!(!contains(inner.state(), part));
        assert!(contains(store.get(&id).await.unwrap().unwrap().state(), part));
    }
    assert_eq!(inner.owner(), Some("ada"), "the owner's index needs the owner");
    // HKDF-SHA-256 of the key for a use of its own: the id is no part of the cipher's key.
    assert_eq!(inner.state()[1..5], [0x0f, 0xf4, 0x90, 0x88], "the key's id");
    let stored = Sessions::new(store).find_by_id(&id).await.unwrap().unwrap();
    assert_eq!(stored.get::<String>("note").unwrap().as_deref(), Some("a secret plan"));
}

/// Sealing the same record twice gives different states.
#[tokio::test]
async fn a_record_is_sealed_differently_each_time() {
    let (store, memory, id) = sealed(&KeyRing::new(NEW).unwrap()).await;
    let (record, before) = (store.get(&id).await.unwrap().unwrap(), memory.get(&id).await.unwrap().unwrap());
    store.delete(&id, None).await.unwrap();
    assert_eq!(store.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
    let after = memory.get(&id).await.unwrap().unwrap();
    assert_ne!(before.state(), after.state());
    assert_eq!(store.get(&id).await.unwrap().unwrap(), record);
}

// checklist: 36
/// A state that was copied to another session is corrupt.
#[tokio::test]
async fn a_state_that_was_moved_to_another_session_is_refused() {
    let (store, memory, one) = sealed(&KeyRing::new(NEW).unwrap()).await;
    let (other, _) = Sessions::new(store.clone()).create_owned_by("ada", &()).await.unwrap();
    let (from, to) = (memory.get(&one).await.unwrap().unwrap(), memory.get(&other).await.unwrap().unwrap());
    put(&memory, with_state(&to, from.state())).await;
    assert_eq!(refusal(&store, &other).await, StoreErrorKind::Corrupt);
    assert!(store.get(&one).await.is_ok());
}

/// A record whose realm was changed, or that was copied to a store of another context, is corrupt.
#[tokio::test]
async fn a_record_of_another_realm_or_context_is_refused() {
    let keys = KeyRing::new(NEW).unwrap();
    let (store, memory, id) = sealed(&keys).await;
    for context in ["other_table", "a"] {
        let other = SealedStore::new(memory.clone(), &keys).unwrap().with_context(context);
        assert_eq!(refusal(&other, &id).await, StoreErrorKind::Corrupt);
        let (there, _) = Sessions::new(other.clone()).create(&values("note", "n")).await.unwrap();
        assert!(other.get(&there).await.unwrap().is_some());
        assert_eq!(refusal(&store, &there).await, StoreErrorKind::Corrupt);
    }
    let parts = memory.get(&id).await.unwrap().unwrap().into_parts();
    for realm in ["admin", "", "i"] {
        put(&memory, Record::from_parts(RecordParts { realm: realm.into(), ..parts.clone() })).await;
        assert_eq!(refusal(&store, &id).await, StoreErrorKind::Corrupt);
    }
}

/// A record of which one field was changed, other than a time, is corrupt.
#[tokio::test]
async fn a_changed_owner_version_or_id_is_refused() {
    type Change = fn(&mut RecordParts);
    let changes: [(&str, Change); 7] = [
        ("another owner", |parts| parts.owner = Some("eve".into())),
        ("a longer owner", |parts| parts.owner = Some("adam".into())),
        ("an empty owner", |parts| parts.owner = Some("".into())),
        ("no owner", |parts| parts.owner = None),
        ("a later version", |parts| parts.version = Version::new(parts.version.get() + 1)),
        ("a version with another mark", |parts| parts.version = Version::new(parts.version.get() ^ 1)),
        ("another id", |parts| parts.id = SessionId::from(uuid::Uuid::from_u128(7))),
    ];
    for (name, change) in changes {
        let (store, memory, id) = sealed(&KeyRing::new(NEW).unwrap()).await;
        let mut parts = memory.get(&id).await.unwrap().unwrap().into_parts();
        change(&mut parts);
        let changed = Record::from_parts(parts);
        put(&memory, changed.clone()).await;
        assert_eq!(refusal(&store, changed.id()).await, StoreErrorKind::Corrupt, "{name}");
    }
}

/// An owner that was added to an anonymous session's record, even an empty one, is corrupt.
#[tokio::test]
async fn an_owner_added_to_a_record_is_refused() {
    for owner in ["", "ada"] {
        let memory = MemoryStore::new();
        let store = SealedStore::new(memory.clone(), &KeyRing::new(NEW).unwrap()).unwrap();
        let (id, _) = Sessions::new(store.clone()).create(&()).await.unwrap();
        let parts = memory.get(&id).await.unwrap().unwrap().into_parts();
        put(&memory, Record::from_parts(RecordParts { owner: Some(owner.into()), ..parts })).await;
        assert_eq!(refusal(&store, &id).await, StoreErrorKind::Corrupt, "{owner:?}");
    }
}

/// A state that is truncated, changed in one byte, or not sealed is refused.
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
        // A changed key id is that of an unknown key.
        let kind = if (1..5).contains(&place) { StoreErrorKind::Unsupported } else { StoreErrorKind::Corrupt };
        assert_eq!(refusal(&store, &id).await, kind, "byte {place}");
    }
    put(&memory, plain).await;
    assert_eq!(refusal(&store, &id).await, StoreErrorKind::Corrupt);
}

/// The first key seals, all keys open, and an unknown key is unsupported.
#[tokio::test]
async fn the_first_key_writes_and_every_key_reads() {
    let (old, memory, id) = sealed(&KeyRing::new(OLD).unwrap()).await;
    let both = SealedStore::new(memory.clone(), &KeyRing::new(NEW).unwrap().add_old_key(OLD).unwrap()).unwrap();
    let new = SealedStore::new(memory.clone(), &KeyRing::new(NEW).unwrap()).unwrap();
    assert_eq!(refusal(&new, &id).await, StoreErrorKind::Unsupported, "an unknown key ends sessions");
    let sessions = Sessions::new(both.clone());
    assert!(sessions.merge(&id, &values("n", "1")).await.unwrap());
    assert!(new.get(&id).await.unwrap().is_some());
    assert_eq!(refusal(&old, &id).await, StoreErrorKind::Unsupported);
}

/// Unsealed records are read only with the setting, and the next write seals them.
#[tokio::test]
async fn plain_records_are_read_if_allowed_and_sealed_when_written() {
    let memory = MemoryStore::new();
    let (id, _) = Sessions::new(memory.clone()).create(&()).await.unwrap();
    let store = SealedStore::new(memory.clone(), &KeyRing::new(NEW).unwrap()).unwrap();
    assert_eq!(refusal(&store, &id).await, StoreErrorKind::Corrupt);
    let moving = store.clone().with_dangerous_plain_records(true);
    assert!(moving.get(&id).await.unwrap().is_some());
    let sessions = Sessions::new(moving);
    assert!(sessions.merge(&id, &values("n", "1")).await.unwrap());
    assert!(store.get(&id).await.unwrap().is_some());
}

/// A record that does not open raises an event in its owner's list and in that of all sessions, and can be ended.
#[tokio::test]
async fn a_record_that_does_not_open_is_reported_and_can_be_ended() {
    let (store, memory, id) = sealed(&KeyRing::new(NEW).unwrap()).await;
    let whole = memory.get(&id).await.unwrap().unwrap();
    put(&memory, with_state(&whole, &whole.state()[..40])).await;
    let events = EventLog::default();
    let layer = SessionLayer::builder(store).with_event_hook(events.hook()).build().unwrap();
    assert!(layer.sessions().owned_by("ada").await.unwrap().is_empty());
    assert_eq!(events.count(EventKind::Corrupt), 1);
    let (other, _) = layer.sessions().create_owned_by("bob", &values("note", "7")).await.unwrap();
    let page = layer.sessions().list(None, 10).await.unwrap();
    assert_eq!(page.sessions.iter().map(StoredSession::id).collect::<Vec<_>>(), [other]);
    assert_eq!(page.sessions[0].get::<String>("note").unwrap().as_deref(), Some("7"));
    assert_eq!(events.count(EventKind::Corrupt), 2);
    assert_eq!(layer.sessions().end_all_of("bob").await.unwrap(), [other]);
    assert_eq!(layer.sessions().end_all_of("ada").await.unwrap().len(), 1);
    assert!(memory.is_empty());
}

/// An unsealed record that an attacker wrote to the database is not listed.
#[tokio::test]
async fn a_planted_plain_record_is_not_listed() {
    let (store, memory, id) = sealed(&KeyRing::new(NEW).unwrap()).await;
    let plain = store.get(&id).await.unwrap().unwrap();
    put(&memory, plain).await;
    let sessions = Sessions::new(store);
    assert!(sessions.owned_by("ada").await.unwrap().is_empty());
    assert_eq!(sessions.end_all_of("ada").await.unwrap().len(), 1);
}

/// Values under string keys are sealed too.
#[tokio::test]
async fn string_keys_are_sealed_too() {
    let memory = MemoryStore::new();
    let transient = Transient::new(SealedStore::new(memory.clone(), &KeyRing::new(NEW).unwrap()).unwrap());
    transient.set("code:ada", &"4711 4711 4711", Duration::from_secs(60)).await.unwrap();
    assert_eq!(transient.get::<String>("code:ada").await.unwrap().as_deref(), Some("4711 4711 4711"));
    assert_eq!(memory.len(), 1);
}

/// A key under 32 bytes is refused, and `Debug` shows no key.
#[test]
fn a_short_key_is_refused() {
    assert!(KeyRing::new([0; 31]).is_err());
    let shown = format!("{:?}", SealedStore::new(MemoryStore::new(), &KeyRing::new(NEW).unwrap()).unwrap());
    assert!(!shown.contains("[1, 1"), "{shown}");
}
