//! Arbitrary records and states, as a hostile store might return them.
//!
//! The result is an error, or a session that can be read and written; never a panic. An even first byte means that an
//! encoded record follows, an odd one that the state of an otherwise valid record follows.
#![no_main]

#[path = "../now.rs"]
mod now;

use libfuzzer_sys::fuzz_target;
use now::now;
use sessile::store::{Expected, Record, RecordParts, Store, Version};
use sessile::testing::ManualClock;
use sessile::{MemoryStore, SessionLayer};
use time::OffsetDateTime;
use uuid::Uuid;

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else { return };
    // Creation time of the seeds.
    let start = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
    let record = if kind % 2 == 0 {
        let Ok(record) = Record::decode(bytes) else { return };
        assert_eq!(Record::decode(&record.encode()).unwrap(), record);
        assert_eq!(Record::from_parts(record.clone().into_parts()), record);
        record
    } else {
        let id = Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0001).into();
        let expires_at = start + time::Duration::HOUR;
        let version = Version::new(3);
        let realm = "id".into();
        Record::from_parts(RecordParts { id, version, realm, owner: None, last_seen: start, expires_at, state: bytes.into() })
    };
    let clock = ManualClock::at(start);
    let store = MemoryStore::new().with_clock(&clock);
    let _ = now(store.set(&record, Expected::Absent)).unwrap();
    let sessions = SessionLayer::builder(store.clone()).with_clock(&clock).build().unwrap().sessions();
    let id = *record.id();
    let Ok(Some(found)) = now(sessions.find_by_id(&id)) else { return };
    let _ = serde_json::to_string(&found);
    for key in found.keys() {
        let _ = found.get::<serde_json::Value>(&key);
    }
    // A write is stored or refused.
    if now(sessions.merge(&id, &serde_json::json!({ "written": 7 }))).is_ok_and(|done| done) {
        let found = now(sessions.find_by_id(&id)).unwrap().expect("the record was just written");
        assert_eq!(found.get::<u32>("written").unwrap(), Some(7));
    }
    let _ = now(sessions.end(&id));
});
