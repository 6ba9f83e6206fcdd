//! Arbitrary sealed records, as a hostile store might return them.
//!
//! The result is an error or the state that was sealed; never a panic. An even first byte means that a state follows,
//! an odd one that changes of a sealed state follow: bytes to flip, cuts and insertions.
#![no_main]

#[path = "../now.rs"]
mod now;

use libfuzzer_sys::fuzz_target;
use now::now;
use sessile::config::KeyRing;
use sessile::store::{Expected, Record, RecordParts, Store, Version};
use sessile::testing::ManualClock;
use sessile::{MemoryStore, SealedStore};
use time::OffsetDateTime;
use uuid::Uuid;

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else { return };
    let start = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
    let memory = MemoryStore::new().with_clock(&ManualClock::at(start));
    let store = SealedStore::new(memory.clone(), &KeyRing::new([7; 32]).unwrap()).unwrap();
    let plain = RecordParts {
        id: Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0001).into(),
        version: Version::new(3),
        realm: "id".into(),
        owner: Some("ada".into()),
        last_seen: start,
        expires_at: start + time::Duration::HOUR,
        state: b"what was sealed"[..].into(),
    };
    let id = plain.id;
    let _ = now(store.set(&Record::from_parts(plain.clone()), Expected::Absent)).unwrap();
    let sealed = now(memory.get(&id)).unwrap().expect("the record was just written");
    let state = if kind % 2 == 0 { bytes.to_vec() } else { changed(sealed.state().to_vec(), bytes) };
    let untouched = state == sealed.state();
    now(memory.delete(&id, None)).unwrap();
    let _ =
        now(memory.set(&Record::from_parts(RecordParts { state: state.into(), ..plain }), Expected::Absent)).unwrap();
    match now(store.get(&id)) {
        // A state that an earlier run has sealed is accepted, too.
        Ok(Some(record)) => assert_eq!(record.state(), b"what was sealed"),
        Ok(None) => panic!("the record is missing"),
        Err(_) => assert!(!untouched),
    }
    assert_eq!(now(store.owned_by("ada")).unwrap().len(), 1);
});

/// Applies changes of three bytes each: the kind, the place and the byte.
fn changed(mut state: Vec<u8>, changes: &[u8]) -> Vec<u8> {
    for change in changes.chunks_exact(3) {
        let place = usize::from(change[1]) % (state.len() + 1);
        match change[0] % 3 {
            0 => state.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= change[2]),
            1 => state.truncate(place),
            _ => state.insert(place, change[2]),
        }
    }
    state
}
