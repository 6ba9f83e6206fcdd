//! Properties of the encoding: every record is read as it was written, and no bytes make the reader panic.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::actor::Actor;
use super::secrets::{PendingSecret, RetiredBy, RetiredSecret, Secrets};
use super::version::CommitIds;
use super::wire::{Reader, Writer};
use super::{Data, Frame, Header, Record, RecordParts, Version};
use crate::clock::Timestamp;
use crate::error::{StoreError, StoreErrorKind};
use crate::event::EndReason;
use crate::lifetime::Lifetime;
use crate::token::Verifier;

fn timestamp() -> impl Strategy<Value = Timestamp> {
    let any = -377_705_116_800_000i64..=253_402_300_799_999;
    prop_oneof![0..4_102_444_800_000i64, any].prop_map(Timestamp::from_milliseconds)
}

fn verifier() -> impl Strategy<Value = Verifier> {
    any::<[u8; 32]>().prop_map(Verifier::from_bytes)
}

fn lifetime() -> impl Strategy<Value = Lifetime> {
    let duration = || prop_oneof![1..100_000_000u64, 1..u64::MAX - 1].prop_map(Duration::from_millis);
    (option::of(duration()), duration(), option::of(duration()), option::of(duration()), duration())
        .prop_map(|(idle, absolute, refresh, max_age, margin)| Lifetime { idle, absolute, refresh, max_age, margin })
}

fn secrets() -> impl Strategy<Value = Secrets> {
    let pending = (verifier(), timestamp(), any::<bool>())
        .prop_map(|(verifier, issued_at, by_sign_in)| PendingSecret { verifier, issued_at, by_sign_in })
        .boxed();
    const CAUSES: &[RetiredBy] = &[RetiredBy::Rotation, RetiredBy::Refresh, RetiredBy::Sibling, RetiredBy::SignIn];
    let by = select(CAUSES);
    let retired =
        (verifier(), timestamp(), by).prop_map(|(verifier, at, by)| RetiredSecret { verifier, at, by }).boxed();
    // Mostly a few, and rarely as many as a record holds.
    let pending = prop_oneof![20 => vec(pending.clone(), 0..4), 1 => vec(pending, 64)];
    let retired = prop_oneof![20 => vec(retired.clone(), 0..4), 1 => vec(retired, 80)];
    (verifier(), timestamp(), option::of(verifier()), pending, retired)
        .prop_map(|(current, since, csrf, pending, retired)| Secrets { current, since, csrf, pending, retired })
}

fn commits() -> impl Strategy<Value = CommitIds> {
    vec(any::<[u8; 8]>(), 0..12).prop_map(|ids| {
        let mut commits = CommitIds::default();
        ids.into_iter().for_each(|id| commits.push(id));
        commits
    })
}

fn actor() -> impl Strategy<Value = Arc<Actor>> {
    (any::<String>(), any::<u128>(), any::<u64>()).prop_map(|(owner, session, epoch)| {
        Arc::new(Actor { owner: owner.into(), session: uuid::Uuid::from_u128(session).into(), epoch })
    })
}

prop_compose! {
    fn header()(
        ended in option::of((1..=9u8).prop_map(|code| EndReason::from_code(code).expect("a code"))),
        epoch in 0..=i64::MAX.unsigned_abs(),
        started_at in timestamp(),
        margin in (0..u64::MAX).prop_map(Duration::from_millis),
        (authenticated_at, unconfirmed_until) in (option::of(timestamp()), option::of(timestamp())),
        lifetime in option::of(lifetime()),
        rotated in any::<u64>().prop_map(Version::new),
        signed_in in any::<u64>().prop_map(Version::new),
        secrets in secrets(),
        commits in commits(),
        actor in option::of(actor()),
    ) -> Header {
        Header {
            ended, actor, epoch, started_at, margin, authenticated_at, unconfirmed_until, lifetime, rotated, signed_in, secrets, commits,
        }
    }
}

fn values() -> impl Strategy<Value = BTreeMap<String, Vec<u8>>> {
    btree_map("\\PC{0,20}", vec(any::<u8>(), 0..150), 0..6)
}

prop_compose! {
    fn any_record()(
        id: u128,
        version in any::<u64>().prop_map(Version::new),
        realm: String,
        owner in option::of(any::<String>().prop_map(Arc::from)),
        times in (timestamp(), timestamp()),
        state in vec(any::<u8>(), 0..400),
    ) -> Record {
        Record::new(uuid::Uuid::from_u128(id).into(), version, realm.into(), owner, times, state.into())
    }
}

fn written(header: &Header) -> Vec<u8> {
    let mut bytes = Vec::new();
    header.write_to(&mut bytes);
    assert_eq!(header.length(), bytes.len());
    bytes
}

fn state_of(header: &Header, values: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let frames = values.iter().flat_map(|(key, value)| Frame::new(key, value).as_bytes().to_vec());
    written(header).into_iter().chain(frames).collect()
}

/// Returns all fields of a header in a form that compares; `Debug` leaves out the verifiers.
fn fields_of(header: &Header) -> (String, Vec<[u8; 8]>, Vec<[u8; 32]>) {
    let Secrets { current, csrf, pending, retired, .. } = &header.secrets;
    let others = pending.iter().map(|pending| &pending.verifier).chain(retired.iter().map(|retired| &retired.verifier));
    let verifiers = [current].into_iter().chain(csrf).chain(others).map(|verifier| *verifier.as_bytes()).collect();
    let rest = Header { commits: CommitIds::default(), ..header.clone() };
    (format!("{rest:?}"), header.commits.as_slice().to_vec(), verifiers)
}

fn values_of(data: &Data) -> BTreeMap<String, Vec<u8>> {
    let keys = data.frames().map(|frame| frame.key());
    keys.map(|key| (key.clone(), data.get(&key).expect("a listed key").as_bytes().to_vec())).collect()
}

fn record(state: &[u8]) -> Record {
    let at = Timestamp::from_milliseconds(0);
    Record::new(uuid::Uuid::nil().into(), Version::FIRST, "id".into(), None, (at, at), state.into())
}

/// Opens a record. The header held another session before, of which nothing may remain.
fn open(record: &Record) -> Result<(Header, Data), StoreError> {
    let at = Timestamp::from_milliseconds(12_345);
    let verifier = |byte| Verifier::from_bytes([byte; 32]);
    let mut header = Header::new(verifier(9), at);
    header.secrets.rotate(verifier(8), at, RetiredBy::Rotation, false);
    header.secrets.issue_refresh(verifier(7), at);
    header.secrets.csrf = Some(verifier(6));
    header.commits.push([5; 8]);
    header.ended = Some(EndReason::SignedOut);
    (header.authenticated_at, header.unconfirmed_until) = (Some(at), Some(at));
    (header.margin, header.lifetime) = (Duration::from_secs(1), Some(Lifetime::new()));
    let start = record.open(&mut header)?;
    Ok((header, record.data(start)))
}

/// Returns the kind of the error, or `None` after a success.
fn kind_of<T>(result: Result<T, StoreError>) -> Option<StoreErrorKind> {
    result.err().map(|error| error.kind())
}

fn parse(state: Arc<[u8]>) -> Result<Data, StoreError> {
    Data::check(&state, 0).map(|()| Data::new(state, 0))
}

/// A header without optional parts.
fn plain_header() -> Header {
    Header::new(Verifier::from_bytes([7; 32]), Timestamp::from_milliseconds(0))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Encoding a record loses nothing.
    #[test]
    fn a_record_decodes_as_it_was_encoded(record in any_record()) {
        prop_assert_eq!(Record::decode(&record.encode()).expect("an encoded record"), record);
    }

    /// The parts hold the whole record.
    #[test]
    fn a_record_equals_what_its_parts_make(record in any_record()) {
        let parts: RecordParts = record.clone().into_parts();
        prop_assert_eq!(parts.owner.as_deref(), record.owner());
        prop_assert_eq!(Record::from_parts(parts), record);
    }

    /// A record cut before its state is corrupt; one cut within it has a shorter state.
    #[test]
    fn a_truncated_record_is_corrupt(record in any_record(), length: Index) {
        let whole = record.encode();
        let cut = &whole[..length.index(whole.len())];
        let fields = whole.len() - record.state().len();
        match Record::decode(cut) {
            Ok(read) => {
                prop_assert!(cut.len() >= fields);
                prop_assert_eq!(read.state(), &cut[fields..]);
                prop_assert!(open(&read).is_err() || read.state().len() >= 2);
            }
            Err(error) => {
                prop_assert!(cut.len() < fields);
                prop_assert_eq!(error.kind(), StoreErrorKind::Corrupt);
            }
        }
    }

    /// Decoding never panics, and the error tells a newer format from damage.
    #[test]
    fn any_bytes_decode_to_a_record_or_an_error(mut bytes in vec(any::<u8>(), 0..400), format in 0u8..4) {
        bytes.iter_mut().take(1).for_each(|first| *first = format);
        match Record::decode(&bytes) {
            Ok(read) => {
                prop_assert_eq!(&Record::decode(&read.encode()).expect("an encoded record"), &read);
                let _ = (open(&read), format!("{read:?}"), read.into_parts());
            }
            Err(error) => prop_assert_eq!(error.kind(), expected_kind(&bytes)),
        }
    }

    /// The header and all values survive.
    #[test]
    fn a_state_is_read_as_it_was_written(header in header(), values in values()) {
        let state = state_of(&header, &values);
        let (read, data) = open(&record(&state)).expect("a valid state");
        prop_assert_eq!(written(&read), written(&header));
        prop_assert_eq!(fields_of(&read), fields_of(&header));
        prop_assert_eq!(values_of(&data), values);
        prop_assert_eq!(data.len(), state.len() - written(&header).len());
    }

    /// A cut state is accepted only between two values, and holds the values before the cut.
    #[test]
    fn a_truncated_state_is_corrupt(header in header(), values in values(), length: Index) {
        let state = state_of(&header, &values);
        let cut = &state[..length.index(state.len())];
        match open(&record(cut)) {
            Ok((_, data)) => {
                prop_assert!(cut.len() >= written(&header).len());
                let left = values_of(&data);
                prop_assert!(left.len() < values.len());
                prop_assert!(left.iter().all(|(key, value)| values.get(key) == Some(value)));
            }
            Err(error) => prop_assert_eq!(error.kind(), StoreErrorKind::Corrupt),
        }
    }

    /// A damaged state that is accepted can be read, shown and written again.
    #[test]
    fn a_damaged_state_is_usable_or_an_error(
        header in header(),
        values in values(),
        damage in vec((any::<Index>(), any::<u8>()), 1..6),
    ) {
        let mut state = state_of(&header, &values);
        for (place, byte) in damage {
            *place.get_mut(&mut state) = byte;
        }
        if let Ok((header, data)) = open(&record(&state)) {
            let (again, _) = open(&record(&written(&header))).expect("a valid header");
            prop_assert_eq!(written(&again), written(&header));
            prop_assert_eq!(data.frames().map(|frame| frame.whole.len()).sum::<usize>(), data.len());
            let values: Vec<_> = data.frames().map(|frame| data.get(&frame.key())).collect();
            let _ = format!("{header:?} {data:?} {values:?}");
        }
    }

    /// Opening never panics, and the error tells a newer format from damage.
    #[test]
    fn any_bytes_open_as_a_state_or_an_error(mut state in vec(any::<u8>(), 0..400), format in 0u8..4, flags in 0u8..8) {
        state.iter_mut().zip([format, flags]).for_each(|(place, byte)| *place = byte);
        match open(&record(&state)) {
            Ok((_, data)) => data.frames().for_each(|frame| drop(data.get(&frame.key()))),
            Err(error) => prop_assert_eq!(error.kind(), expected_kind(&state)),
        }
    }

    /// A frame holds its key and its value, and no other key finds it.
    #[test]
    fn a_frame_holds_its_key_and_its_value(key: String, value in vec(any::<u8>(), 0..400)) {
        let frame = Frame::new(&key, &value);
        prop_assert_eq!(frame.key(), key.as_str());
        let data = parse(frame.as_bytes().into()).expect("a whole frame");
        for read in [frame.value(), data.get(&key).expect("the only key")] {
            prop_assert_eq!(read.as_bytes(), value.as_slice());
        }
        let longer = key + "x";
        prop_assert!(data.get(&longer).is_none());
    }

    /// A number takes as few bytes as possible, and is refused with a group of zeros behind it.
    #[test]
    fn a_number_has_one_encoding(number in prop_oneof![any::<u64>(), (0..64u8).prop_map(|bit| 1 << bit), ..70_000u64]) {
        let mut bytes = Vec::new();
        Writer(&mut bytes).varint(number);
        let bits = (64 - number.leading_zeros()).max(1) as usize;
        prop_assert_eq!(bytes.len(), bits.div_ceil(7));
        let mut input = Reader::new(&bytes);
        prop_assert_eq!(input.varint().expect("an encoded number"), number);
        prop_assert!(input.is_at_end());
        *bytes.last_mut().expect("at least one byte") |= 0x80;
        bytes.push(0);
        prop_assert!(Reader::new(&bytes).varint().is_err());
    }

    /// Bytes that are read as a number are its encoding.
    #[test]
    fn any_bytes_are_an_encoded_number_or_an_error(bytes in vec(any::<u8>(), 0..12)) {
        let mut input = Reader::new(&bytes);
        if let Ok(number) = input.varint() {
            let mut again = Vec::new();
            Writer(&mut again).varint(number);
            prop_assert_eq!(again.as_slice(), &bytes[..input.position()]);
        }
    }
}

/// Returns the kind of the error that these bytes, which start with their format, cause.
fn expected_kind(bytes: &[u8]) -> StoreErrorKind {
    match bytes.first() {
        Some(2..) => StoreErrorKind::Unsupported,
        _ => StoreErrorKind::Corrupt,
    }
}

/// ASCII and other UTF-8 is accepted; any other key is corrupt.
#[test]
fn a_key_that_is_not_utf_8_is_corrupt() {
    for (key, is_valid) in [(&b"\xc3\xa9"[..], true), (b"\xc3\x28", false), (b"ascii", true), (b"as\xff", false)] {
        let length = u8::try_from(key.len()).expect("a short key");
        let frame = [&[length], key, &[1, 0xc0]].concat();
        assert_eq!(kind_of(parse(frame.into())), (!is_valid).then_some(StoreErrorKind::Corrupt));
    }
}

/// The frames of a record that this process encoded are trusted; those of a record that a store returned are checked.
#[test]
fn frames_are_checked_once_they_left_the_process() {
    let frame = Frame::new("key", b"value");
    for length in 0..=frame.as_bytes().len() {
        let state = [&written(&plain_header()), &frame.as_bytes()[..length]].concat();
        let own = record(&state).assume_valid();
        assert!(open(&own).is_ok());
        let is_whole = length == 0 || length == frame.as_bytes().len();
        let decoded = Record::decode(&own.encode()).expect("the fields are whole");
        for read in [Record::from_parts(own.into_parts()), decoded] {
            let expected = (!is_whole).then_some(StoreErrorKind::Corrupt);
            assert_eq!(kind_of(open(&read)), expected, "{length} bytes");
        }
    }
}

/// SQL databases have no unsigned numbers of 64 bits.
#[test]
fn a_version_or_an_epoch_beyond_63_bits_is_corrupt() {
    let opens = |version: u64, epoch: u64| {
        let state = written(&Header { epoch, ..plain_header() });
        let parts = RecordParts { version: Version::new(version), ..record(&state).into_parts() };
        open(&Record::from_parts(parts)).is_ok()
    };
    let max = i64::MAX.unsigned_abs();
    assert!(opens(max, max));
    assert!(!opens(max + 1, max));
    assert!(!opens(max, max + 1));
}

/// A session with such a lifetime would have expired when it starts.
#[test]
fn a_timeout_of_zero_is_corrupt() {
    let (valid, zero) = (Lifetime::new(), Duration::ZERO);
    for lifetime in [valid.with_idle_timeout(zero), valid.with_absolute_timeout(zero), valid] {
        let state = written(&Header { lifetime: Some(lifetime), ..plain_header() });
        assert_eq!(open(&record(&state)).is_ok(), lifetime == valid, "{lifetime:?}");
    }
}
