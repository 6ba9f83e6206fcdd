//! Properties of the encoding: what is written is read again, and nothing that is read makes it panic.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::secrets::{PendingSecret, RetiredBy, RetiredSecret, Secrets};
use super::version::CommitIds;
use super::wire::{Reader, Writer};
use super::{Data, Frame, Header, Record, RecordParts, Version};
use crate::clock::Timestamp;
use crate::error::{StoreError, StoreErrorKind};
use crate::lifetime::Lifetime;
use crate::token::Verifier;

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

fn timestamp() -> impl Strategy<Value = Timestamp> {
    let any = -377_705_116_800_000i64..=253_402_300_799_999;
    prop_oneof![0..4_102_444_800_000i64, any].prop_map(Timestamp::from_milliseconds)
}

fn verifier() -> impl Strategy<Value = Verifier> {
    any::<[u8; 32]>().prop_map(Verifier::from_bytes)
}

fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![1..100_000_000u64, 1..u64::MAX - 1].prop_map(Duration::from_millis)
}

fn lifetime() -> impl Strategy<Value = Lifetime> {
    (option::of(duration()), duration(), option::of(duration()), option::of(duration()))
        .prop_map(|(idle, absolute, refresh, max_age)| Lifetime { idle, absolute, refresh, max_age })
}

fn secrets() -> impl Strategy<Value = Secrets> {
    let pending = (verifier(), timestamp(), any::<bool>());
    let pending =
        pending.prop_map(|(verifier, issued_at, by_sign_in)| PendingSecret { verifier, issued_at, by_sign_in });
    let by = prop_oneof![Just(RetiredBy::Rotation), Just(RetiredBy::Refresh), Just(RetiredBy::SignIn)];
    let retired = (verifier(), timestamp(), by).prop_map(|(verifier, at, by)| RetiredSecret { verifier, at, by });
    (verifier(), timestamp(), option::of(verifier()), few_or(pending.boxed(), 64), few_or(retired.boxed(), 80))
        .prop_map(|(current, since, csrf, pending, retired)| Secrets { current, since, csrf, pending, retired })
}

/// A few, or now and then as many as a record holds.
fn few_or<T: std::fmt::Debug + 'static>(one: BoxedStrategy<T>, most: usize) -> impl Strategy<Value = Vec<T>> {
    prop_oneof![20 => vec(one.clone(), 0..4), 1 => vec(one, most)]
}

fn header() -> impl Strategy<Value = Header> {
    let versions = (any::<u64>().prop_map(Version::new), any::<u64>().prop_map(Version::new));
    let times = (timestamp(), option::of(timestamp()));
    // An epoch fits a signed 64-bit number, as a version does.
    (
        any::<bool>(),
        any::<u64>().prop_map(|epoch| epoch >> 1),
        times,
        option::of(lifetime()),
        versions,
        secrets(),
        vec(any::<[u8; 8]>(), 0..12),
    )
        .prop_map(
            |(ended, epoch, (started_at, authenticated_at), lifetime, (rotated, signed_in), secrets, names)| {
                let mut commits = CommitIds::default();
                names.into_iter().for_each(|name| commits.push(name));
                Header { ended, epoch, started_at, authenticated_at, lifetime, rotated, signed_in, secrets, commits }
            },
        )
}

fn values() -> impl Strategy<Value = BTreeMap<String, Vec<u8>>> {
    btree_map("\\PC{0,20}", vec(any::<u8>(), 0..150), 0..6)
}

fn written(header: &Header) -> Vec<u8> {
    let mut bytes = Vec::new();
    header.write_to(&mut bytes);
    assert_eq!(header.length(), bytes.len());
    bytes
}

fn state_of(header: &Header, values: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let mut state = written(header);
    for (key, value) in values {
        state.extend_from_slice(Frame::new(key, value).as_bytes());
    }
    state
}

fn values_of(data: &Data) -> BTreeMap<String, Vec<u8>> {
    let keys = data.frames().map(|frame| frame.key());
    keys.map(|key| (key.clone(), data.get(&key).expect("it is listed").as_bytes().to_vec())).collect()
}

fn record(state: &[u8]) -> Record {
    let at = Timestamp::from_milliseconds(0);
    Record::new(uuid::Uuid::nil().into(), Version::FIRST, None, (at, at), state.into())
}

/// Opens a record, into a header that held another.
fn open(record: &Record) -> Result<(Header, Data), StoreError> {
    let at = Timestamp::from_milliseconds(12_345);
    let mut header = Header::new(Verifier::from_bytes([9; 32]), at);
    header.ended = true;
    header.authenticated_at = Some(at);
    header.lifetime = Some(Lifetime::new());
    header.secrets.csrf = Some(Verifier::from_bytes([8; 32]));
    header.secrets.issue_refresh(Verifier::from_bytes([7; 32]), at);
    header.secrets.rotate(Verifier::from_bytes([6; 32]), at, false);
    header.secrets.issue_refresh(Verifier::from_bytes([5; 32]), at);
    header.commits.push([4; 8]);
    let start = record.open(&mut header)?;
    Ok((header, record.data(start)))
}

fn parse(state: Arc<[u8]>, start: usize) -> Result<Data, StoreError> {
    Data::check(&state, start).map(|()| Data::new(state, start))
}

fn any_record() -> impl Strategy<Value = Record> {
    let owner = option::of(any::<String>().prop_map(Arc::from));
    (any::<u128>(), any::<u64>(), owner, timestamp(), timestamp(), vec(any::<u8>(), 0..400)).prop_map(
        |(id, version, owner, seen, expires, state)| {
            let id = uuid::Uuid::from_u128(id).into();
            Record::new(id, Version::new(version), owner, (seen, expires), state.into())
        },
    )
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_record_is_read_as_it_was_written(record in any_record()) {
        let read = Record::decode(&record.encode()).expect("it was just written");
        prop_assert!(read == record, "{:?} became {:?}", record, read);
    }

    #[test]
    fn a_record_is_the_same_taken_apart_and_put_together(record in any_record()) {
        let parts: RecordParts = record.clone().into_parts();
        prop_assert_eq!(parts.owner.as_deref(), record.owner());
        prop_assert!(Record::from_parts(parts) == record);
    }

    #[test]
    fn a_record_that_was_cut_is_refused_unless_only_its_state_is_shorter(
        record in any_record(),
        length in any::<prop::sample::Index>(),
    ) {
        let whole = record.encode();
        let cut = &whole[..length.index(whole.len())];
        let before_state = whole.len() - record.state().len();
        match Record::decode(cut) {
            Ok(read) => {
                prop_assert!(cut.len() >= before_state);
                prop_assert_eq!(read.state(), &cut[before_state..]);
                prop_assert!(open(&read).is_err() || read.state().len() >= 2);
            }
            Err(error) => {
                prop_assert!(cut.len() < before_state);
                prop_assert_eq!(error.kind(), StoreErrorKind::Corrupt);
            }
        }
    }

    #[test]
    fn bytes_are_a_record_or_an_error(mut bytes in vec(any::<u8>(), 0..400), format in 0u8..4) {
        if let Some(first) = bytes.first_mut() {
            *first = format;
        }
        match Record::decode(&bytes) {
            Ok(read) => {
                let again = Record::decode(&read.encode()).expect("it was just written");
                prop_assert!(again == read);
                let _ = (open(&read), format!("{read:?}"), read.into_parts());
            }
            Err(error) => {
                let newer = bytes.first().is_some_and(|format| *format > 1);
                let kind = if newer { StoreErrorKind::Unsupported } else { StoreErrorKind::Corrupt };
                prop_assert_eq!(error.kind(), kind);
            }
        }
    }

    #[test]
    fn a_state_is_read_as_it_was_written(header in header(), values in values()) {
        let state = state_of(&header, &values);
        let (read, data) = open(&record(&state)).expect("it was just written");
        prop_assert_eq!(written(&read), written(&header));
        prop_assert_eq!(
            (read.ended, read.epoch, read.started_at, read.authenticated_at, read.lifetime, read.rotated, read.signed_in),
            (header.ended, header.epoch, header.started_at, header.authenticated_at, header.lifetime, header.rotated, header.signed_in)
        );
        prop_assert!(read.secrets.current.matches(&header.secrets.current));
        prop_assert_eq!(read.secrets.since, header.secrets.since);
        prop_assert_eq!(read.secrets.pending.len(), header.secrets.pending.len());
        for (read, written) in read.secrets.pending.iter().zip(&header.secrets.pending) {
            prop_assert!(read.verifier.matches(&written.verifier));
            prop_assert_eq!((read.issued_at, read.by_sign_in), (written.issued_at, written.by_sign_in));
        }
        prop_assert_eq!(read.secrets.retired.len(), header.secrets.retired.len());
        for (read, written) in read.secrets.retired.iter().zip(&header.secrets.retired) {
            prop_assert!(read.verifier.matches(&written.verifier));
            prop_assert_eq!((read.at, read.by), (written.at, written.by));
        }
        prop_assert_eq!(values_of(&data), values);
        prop_assert_eq!(data.len(), state.len() - written(&header).len());
    }

    #[test]
    fn a_state_that_was_cut_is_refused_unless_whole_values_are_missing(
        header in header(),
        values in values(),
        length in any::<prop::sample::Index>(),
    ) {
        let state = state_of(&header, &values);
        let start = written(&header).len();
        let cut = &state[..length.index(state.len())];
        match open(&record(cut)) {
            Ok((_, data)) => {
                prop_assert!(cut.len() >= start);
                let left = values_of(&data);
                prop_assert!(left.len() < values.len());
                prop_assert!(left.iter().all(|(key, value)| values.get(key) == Some(value)));
            }
            Err(error) => prop_assert_eq!(error.kind(), StoreErrorKind::Corrupt),
        }
    }

    #[test]
    fn a_damaged_state_is_an_error_or_a_state(
        header in header(),
        values in values(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut state = state_of(&header, &values);
        for (place, byte) in damage {
            let place = place.index(state.len());
            state[place] = byte;
        }
        if let Ok((header, data)) = open(&record(&state)) {
            let (again, _) = open(&record(&written(&header))).expect("it was just written");
            prop_assert_eq!(written(&again), written(&header));
            let frames: usize = data.frames().map(|frame| frame.whole.len()).sum();
            prop_assert_eq!(frames, data.len());
            let values: Vec<_> = data.frames().map(|frame| data.get(&frame.key())).collect();
            let _ = format!("{header:?} {data:?} {values:?}");
        }
    }

    #[test]
    fn any_bytes_are_a_state_or_an_error(mut state in vec(any::<u8>(), 0..400), format in 0u8..4, flags in any::<u8>()) {
        for (place, byte) in state.iter_mut().zip([format, flags & 7]) {
            *place = byte;
        }
        match open(&record(&state)) {
            Ok((_, data)) => data.frames().for_each(|frame| drop(data.get(&frame.key()))),
            Err(error) => {
                let newer = state.first().is_some_and(|format| *format > 1);
                let kind = if newer { StoreErrorKind::Unsupported } else { StoreErrorKind::Corrupt };
                prop_assert_eq!(error.kind(), kind);
            }
        }
    }

    #[test]
    fn a_frame_is_its_key_and_its_value(key in any::<String>(), value in vec(any::<u8>(), 0..400)) {
        let frame = Frame::new(&key, &value);
        prop_assert_eq!(frame.key(), key.as_str());
        let alone = frame.value();
        prop_assert_eq!(alone.as_bytes(), value.as_slice());
        let data = parse(frame.as_bytes().into(), 0).expect("it is whole");
        let found = data.get(&key).expect("it is the only one");
        prop_assert_eq!(found.as_bytes(), value.as_slice());
        let longer = format!("{key}x");
        prop_assert!(data.get(&longer).is_none());
    }

    #[test]
    fn a_number_has_one_form(number in prop_oneof![any::<u64>(), (0u32..64).prop_map(|bit| 1 << bit), 0..70_000u64]) {
        let mut bytes = Vec::new();
        Writer(&mut bytes).varint(number);
        let bits = (64 - number.leading_zeros()).max(1) as usize;
        prop_assert_eq!(bytes.len(), bits.div_ceil(7));
        let mut input = Reader::new(&bytes);
        prop_assert_eq!(input.varint().expect("it was just written"), number);
        prop_assert!(input.is_at_end());
        // The same number with a group of zeros behind it is refused.
        let mut padded = bytes;
        *padded.last_mut().expect("there is one") |= 0x80;
        padded.push(0);
        prop_assert!(Reader::new(&padded).varint().is_err());
    }

    #[test]
    fn bytes_are_a_number_in_its_one_form_or_none(bytes in vec(any::<u8>(), 0..12)) {
        let mut input = Reader::new(&bytes);
        if let Ok(number) = input.varint() {
            let mut again = Vec::new();
            Writer(&mut again).varint(number);
            prop_assert_eq!(again.as_slice(), &bytes[..input.position()]);
        }
    }

    #[test]
    fn commit_names_reach_back_as_far_as_they_are_kept(count in 0u64..20, version in 0u64..40, now in 0u64..40) {
        let mut names = CommitIds::default();
        for n in 0..count {
            names.push(n.to_be_bytes());
        }
        for n in 0..count {
            prop_assert_eq!(names.contains(&n.to_be_bytes()), n + 8 >= count);
        }
        prop_assert!(!names.contains(&count.to_be_bytes()));
        let since = now.saturating_sub(version);
        let after = |writes| (0..writes).fold(Version::NONE, |version: Version, n: u64| version.next(n.to_be_bytes()));
        prop_assert_eq!(names.reach_back_to(after(version), after(now)), since <= count.min(8));
    }
}

#[test]
fn a_key_that_is_no_text_is_corrupt() {
    for (key, is_good) in [(&b"\xc3\xa9"[..], true), (b"\xc3\x28", false), (b"ascii", true), (b"as\xff", false)] {
        let mut frame = vec![u8::try_from(key.len()).expect("it is short")];
        frame.extend_from_slice(key);
        frame.extend_from_slice(&[1, 0xc0]);
        let parsed = parse(frame.into(), 0);
        assert_eq!(
            parsed.map(|_| ()).map_err(|error| error.kind()),
            if is_good { Ok(()) } else { Err(StoreErrorKind::Corrupt) }
        );
    }
}

#[test]
fn a_record_that_has_left_the_process_is_looked_at_again_and_refused_where_its_frames_are_broken() {
    let header = Header::new(Verifier::from_bytes([7; 32]), Timestamp::from_milliseconds(0));
    let header = written(&header);
    let frame = Frame::new("key", b"value");
    for length in 0..=frame.as_bytes().len() {
        let state = [&*header, &frame.as_bytes()[..length]].concat();
        let own = record(&state).assume_valid();
        assert!(open(&own).is_ok(), "of what this process put together it is known already");
        let read = Record::from_parts(own.clone().into_parts());
        let decoded = Record::decode(&own.encode()).expect("what surrounds the state is whole");
        let is_whole = length == 0 || length == frame.as_bytes().len();
        for back in [read, decoded] {
            let opened = open(&back).map(|_| ()).map_err(|error| error.kind());
            assert_eq!(opened, if is_whole { Ok(()) } else { Err(StoreErrorKind::Corrupt) }, "{length} bytes");
        }
    }
}

#[test]
fn a_version_or_an_epoch_that_no_signed_number_holds_is_corrupt() {
    let most = i64::MAX.unsigned_abs();
    let opens = |version: u64, epoch: u64| {
        let mut header = Header::new(Verifier::from_bytes([7; 32]), Timestamp::from_milliseconds(0));
        header.epoch = epoch;
        let record = record(&written(&header));
        let parts = RecordParts { version: Version::new(version), ..record.into_parts() };
        open(&Record::from_parts(parts)).is_ok()
    };
    assert!(opens(most, most));
    assert!(!opens(most + 1, most));
    assert!(!opens(most, most + 1));
}

#[test]
fn a_lifetime_of_no_time_at_all_is_refused() {
    let none = Duration::ZERO;
    for lifetime in
        [Lifetime::new().with_idle_timeout(none), Lifetime::new().with_absolute_timeout(none), Lifetime::new()]
    {
        let mut header = Header::new(Verifier::from_bytes([7; 32]), Timestamp::from_milliseconds(0));
        header.lifetime = Some(lifetime);
        let read = open(&record(&written(&header)));
        assert_eq!(read.is_ok(), lifetime == Lifetime::new(), "{lifetime:?}");
    }
}

#[test]
fn a_version_counts_the_writes_and_bears_the_mark_of_the_last() {
    assert_eq!((Version::NONE.count(), Version::FIRST.count()), (0, 1));
    let mut version = Version::FIRST;
    for (before, name) in (1..).zip([0, 1, 0xf_ffff, 0x10_0000, u64::MAX, 0x1234_5678_9abc_def0]) {
        let next = version.next(name.to_be_bytes());
        assert_eq!(next.count(), before + 1);
        for bit in 0..20 {
            assert_ne!(next, version.next((name ^ 1 << bit).to_be_bytes()), "bit {bit} of {name:x}");
        }
        version = next;
    }
}
