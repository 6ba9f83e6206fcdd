//! The bytes of a record in Redis, which the scripts read and change in place.
//!
//! | bytes | content |
//! |---|---|
//! | 1 | the format in the upper four bits: 8, more in later formats, less in text; the version's length in the lower four |
//! | 1 to 8 | the version |
//! | 7 + 7 | last seen and expiry, in milliseconds since the year -9999 |
//! | 4 | the minute since the Unix epoch until which the owner's index lists the session, or 0 |
//! | 1 or more | the owner: its length plus one, then its text; or 0 for a missing owner |
//! | 1 or more | the realm, in the same form |
//! | the rest | the state |
//!
//! Numbers are big-endian. A length of more than 253 bytes is the byte 255 and four bytes. Version, owner and realm each show where
//! they end, so a script compares them as bytes.

use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::record::{Record, Version};
use crate::store::RecordSummary;
use crate::token::SessionId;

const FORMAT: u8 = 8;
/// Number of bytes with which every record begins, at most.
pub(super) const MAX_HEAD: usize = 27;
/// Number of bytes of the minute until which the owner's index lists a session.
const LISTED_UNTIL: usize = 4;

/// Returns the bytes of a version.
pub(super) fn version_bytes(version: Version) -> Vec<u8> {
    let length = (1..8_u8).find(|length| version.get() >> (8 * length) == 0).unwrap_or(8);
    let mut bytes = Vec::with_capacity(9);
    bytes.push(FORMAT << 4 | length);
    bytes.extend_from_slice(&version.get().to_be_bytes()[8 - usize::from(length)..]);
    bytes
}

/// Returns the bytes of a time.
pub(super) fn time_bytes(time: Timestamp) -> [u8; 7] {
    let first = Timestamp::from_milliseconds(i64::MIN);
    let [_, bytes @ ..] = time.milliseconds().abs_diff(first.milliseconds()).to_be_bytes();
    bytes
}

/// Returns the bytes of an owner or of a realm.
pub(super) fn text_bytes(text: Option<&str>) -> Vec<u8> {
    let Some(text) = text else { return vec![0] };
    let mut bytes = Vec::with_capacity(text.len() + 5);
    match u8::try_from(text.len()) {
        Ok(length @ ..=253) => bytes.push(length + 1),
        _ => {
            bytes.push(255);
            bytes.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        }
    }
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// Reads a record.
pub(super) fn decode(id: &SessionId, bytes: &[u8]) -> Result<Record, StoreError> {
    let mut input = Input(bytes);
    let (version, last_seen, expires_at) = input.head()?;
    let owner = input.text()?.map(Into::into);
    let realm = input.text()?.ok_or_else(|| StoreError::corrupt("the realm is missing"))?.into();
    Ok(Record::new(*id, version, realm, owner, (last_seen, expires_at), input.0.into()))
}

/// Reads the beginning of a record, of at least [`MAX_HEAD`] bytes unless the record is shorter.
pub(super) fn decode_summary(bytes: &[u8]) -> Result<RecordSummary, StoreError> {
    let (version, last_seen, expires_at) = Input(bytes).head()?;
    Ok(RecordSummary { version, last_seen: last_seen.into(), expires_at: expires_at.into() })
}

/// Checks whether a record has this owner, or this owner and realm, as [`text_bytes`] returns them.
pub(super) fn has_owner(bytes: &[u8], owner: &[u8]) -> Result<bool, StoreError> {
    let mut input = Input(bytes);
    input.head()?;
    Ok(input.0.starts_with(owner))
}

/// The bytes that are still to be read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], StoreError> {
        let (taken, rest) =
            self.0.split_at_checked(length).ok_or_else(|| StoreError::corrupt("record is truncated"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self, length: usize) -> Result<u64, StoreError> {
        Ok(self.take(length)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn head(&mut self) -> Result<(Version, Timestamp, Timestamp), StoreError> {
        let first = self.take(1)?[0];
        match first >> 4 {
            FORMAT => {}
            older if older < FORMAT => return Err(StoreError::corrupt("not a record")),
            _ => return Err(StoreError::unsupported("record format is newer than this version of sessile reads")),
        }
        let version = Version::new(self.number(usize::from(first & 0xf))?);
        let (last_seen, expires_at) = (self.time()?, self.time()?);
        self.take(LISTED_UNTIL)?;
        Ok((version, last_seen, expires_at))
    }

    fn time(&mut self) -> Result<Timestamp, StoreError> {
        let since_first = std::time::Duration::from_millis(self.number(7)?);
        Ok(Timestamp::from_milliseconds(i64::MIN).plus(since_first))
    }

    fn text(&mut self) -> Result<Option<&'a str>, StoreError> {
        let length = match self.number(1)? {
            0 => return Ok(None),
            255 => self.number(4)?,
            length => length - 1,
        };
        let length = usize::try_from(length).map_err(StoreError::corrupt)?;
        std::str::from_utf8(self.take(length)?).map(Some).map_err(StoreError::corrupt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the bytes of a record, as the scripts join them.
    fn encode(record: &Record, listed_until: u32) -> Vec<u8> {
        let times = [time_bytes(record.last_seen_timestamp()), time_bytes(record.expiry())].concat();
        let texts = [text_bytes(record.owner()), text_bytes(Some(record.realm()))].concat();
        [&version_bytes(record.version()), &times, &listed_until.to_be_bytes()[..], &texts, record.state()].concat()
    }

    fn record(version: u64, owner: Option<&str>, times: (i64, i64), state: &[u8]) -> Record {
        let times = (Timestamp::from_milliseconds(times.0), Timestamp::from_milliseconds(times.1));
        let id = uuid::Uuid::from_u128(7).into();
        Record::new(id, Version::new(version), "id".into(), owner.map(Into::into), times, state.into())
    }

    /// Every version, time and length of owner is read as it was written, in a record and in its summary.
    #[test]
    fn records_are_read_as_they_were_written() {
        let owners = [0, 1, 252, 253, 254, 255, 256, 70_000].map(|length| "o".repeat(length));
        for owner in owners.iter().map(|owner| Some(owner.as_str())).chain([None]) {
            for version in [0, 1, 255, 256, 1 << 20, (1 << 53) + 1, u64::MAX >> 1, u64::MAX] {
                for times in [(i64::MIN, i64::MAX), (-1, 0), (1_800_000_000_123, 1_800_003_600_124)] {
                    let record = record(version, owner, times, b"\0state\xff");
                    let bytes = encode(&record, u32::MAX);
                    assert_eq!(decode(record.id(), &bytes).expect("the record is whole"), record);
                    let head = &bytes[..bytes.len().min(MAX_HEAD)];
                    assert_eq!(decode_summary(head).expect("the head is whole"), RecordSummary::from(&record));
                    let is_owned = has_owner(&bytes, &text_bytes(Some("o"))).expect("the head is whole");
                    assert_eq!(is_owned, owner == Some("o"));
                }
            }
        }
    }

    /// The bytes of a version tell where they end: none begins those of another.
    #[test]
    fn no_version_begins_another() {
        let versions = [0, 1, 0x80, 0xff, 0x1ff, 0x01_0000, 1 << 20, 1 << 28, u64::MAX].map(Version::new);
        for one in versions {
            for other in versions {
                assert_eq!(version_bytes(other).starts_with(&version_bytes(one)), one == other, "{one:?} {other:?}");
            }
        }
    }

    /// A truncated record and text are corrupt, and a later format is unsupported.
    #[test]
    fn bytes_that_are_no_record_are_errors() {
        use crate::error::StoreErrorKind::{Corrupt, Unsupported};
        let record = record(1 << 20, Some("owner"), (1, 2), b"");
        let bytes = encode(&record, 3);
        let kind = |bytes: &[u8]| decode(record.id(), bytes).map_err(|error| error.kind());
        for length in 0..bytes.len() {
            assert_eq!(kind(&bytes[..length]), Err(Corrupt), "{length} bytes");
        }
        assert_eq!(kind(b"foreign text"), Err(Corrupt));
        assert_eq!(kind(&[&[(FORMAT + 1) << 4 | 1], &bytes[1..]].concat()), Err(Unsupported));
    }
}
