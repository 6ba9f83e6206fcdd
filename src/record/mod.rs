//! The record that a store keeps of a session, and its encoding.

mod actor;
mod data;
mod entries;
mod header;
mod json;
mod loaded;
mod message_pack;
mod secrets;
mod touch;
mod value;
mod version;
mod wire;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use time::OffsetDateTime;

pub(crate) use self::actor::Actor;
#[cfg(test)]
pub(crate) use self::data::SCANNED;
pub(crate) use self::data::{Data, Frame, Gap, Value, filled};
pub(crate) use self::entries::{decode_entries, encode_entries};
pub(crate) use self::header::Header;
pub(crate) use self::loaded::{Draft, LoadedRecord};
#[cfg(feature = "migrate")]
pub(crate) use self::message_pack::MAX_DEPTH;
pub(crate) use self::secrets::{RetiredBy, TokenStatus};
pub use self::touch::Touch;
pub(crate) use self::value::{decode, encode};
pub use self::version::Version;
pub(crate) use self::version::{CommitId, new_commit_id};
pub(crate) use self::wire::Sink;

use self::wire::{Reader, Writer};
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::token::SessionId;

/// Key of the notes, which stand beside the values of a session.
pub(crate) const NOTES_KEY: &str = "sessile.notes";
/// Key of the credential stamps, which stand beside the values of a session.
pub(crate) const STAMPS_KEY: &str = "sessile.stamps";

/// Checks whether a key stands beside the values: neither listed nor cleared with them.
pub(crate) fn is_beside_values(key: &str) -> bool {
    key == NOTES_KEY || key == STAMPS_KEY
}

/// A stored session: fields that a store may index, and an opaque encoded state.
///
/// A store with columns keeps each of the [`RecordParts`] in its own column, so that a touch does not rewrite the state. A
/// store of bytes uses [`encode`](Record::encode) and [`decode`](Record::decode). Cloning shares the state.
///
/// The state holds the SHA-256 of the session's secrets, never a secret. Its first byte is the version of its format.
#[derive(Clone)]
pub struct Record {
    fields: RecordFields,
    state: Arc<[u8]>,
}

/// The fields of a record beside its state.
#[derive(Clone)]
pub(crate) struct RecordFields {
    pub(crate) id: SessionId,
    pub(crate) version: Version,
    pub(crate) realm: Arc<str>,
    pub(crate) owner: Option<Arc<str>>,
    pub(crate) last_seen: Timestamp,
    pub(crate) expires_at: Timestamp,
    /// This process encoded the state and has kept it since, so that its frames need no check.
    is_valid: bool,
}

/// The parts of a [`Record`], as a store writes and reads them.
#[derive(Clone)]
#[expect(clippy::exhaustive_structs, reason = "a store must keep every part; a new one would be lost")]
pub struct RecordParts {
    /// The id.
    pub id: SessionId,
    /// The version.
    pub version: Version,
    /// The realm: the layer that the session belongs to, by the name of its cookie or as configured.
    pub realm: Arc<str>,
    /// The owner of the session, if it was signed in.
    pub owner: Option<Arc<str>>,
    /// When the session was last used.
    pub last_seen: OffsetDateTime,
    /// When the record expires.
    pub expires_at: OffsetDateTime,
    /// The encoded state.
    pub state: Arc<[u8]>,
}

impl Record {
    /// Creates a record from the parts that a store has read. Times are kept to the millisecond.
    #[must_use]
    pub fn from_parts(parts: RecordParts) -> Self {
        let times = (parts.last_seen.into(), parts.expires_at.into());
        Self::new(parts.id, parts.version, parts.realm, parts.owner, times, parts.state)
    }

    /// Returns the parts of the record.
    #[must_use]
    pub fn into_parts(self) -> RecordParts {
        let RecordFields { id, version, realm, owner, last_seen, expires_at, .. } = self.fields;
        let (last_seen, expires_at) = (last_seen.into(), expires_at.into());
        RecordParts { id, version, realm, owner, last_seen, expires_at, state: self.state }
    }

    /// Returns the session id: the primary key.
    #[must_use]
    pub const fn id(&self) -> &SessionId {
        &self.fields.id
    }

    /// Returns the version, which [`Expected`](crate::store::Expected) compares.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.fields.version
    }

    /// Returns the realm: a record of another layer's realm opens no session.
    #[must_use]
    pub fn realm(&self) -> &str {
        &self.fields.realm
    }

    /// Returns the owner, if the session was signed in.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        self.fields.owner.as_deref()
    }

    /// Returns when the session was last used.
    #[must_use]
    pub fn last_seen(&self) -> OffsetDateTime {
        self.fields.last_seen.into()
    }

    /// Returns when the record expires. It may be in the past.
    #[must_use]
    pub fn expires_at(&self) -> OffsetDateTime {
        self.fields.expires_at.into()
    }

    /// Returns the encoded state.
    #[must_use]
    pub fn state(&self) -> &[u8] {
        &self.state
    }

    /// Takes both times from the stored record, as [`Expected::VersionKeepingTimes`](crate::store::Expected) demands.
    pub fn keep_times_of(&mut self, stored: &Self) {
        self.fields.last_seen = stored.fields.last_seen;
        self.fields.expires_at = stored.fields.expires_at;
    }

    /// Moves both times as [`Store::touch`](crate::store::Store::touch) must: never to an earlier instant.
    pub fn touch(&mut self, touch: Touch) {
        self.fields.touch(touch);
    }

    /// Encodes the whole record, for a store of bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let owner = self.fields.owner.as_deref().unwrap_or_default();
        let realm = self.realm();
        let mut bytes = Vec::with_capacity(self.state.len() + owner.len() + realm.len() + 64);
        let mut out = Writer(&mut bytes);
        out.byte(Self::FORMAT);
        out.bytes(self.fields.id.as_uuid().as_bytes());
        out.varint(self.fields.version.get());
        out.timestamp(self.fields.last_seen);
        out.timestamp(self.fields.expires_at);
        out.varint(realm.len() as u64);
        out.bytes(realm.as_bytes());
        out.byte(u8::from(self.fields.owner.is_some()));
        if self.fields.owner.is_some() {
            out.varint(owner.len() as u64);
            out.bytes(owner.as_bytes());
        }
        out.bytes(&self.state);
        bytes
    }

    /// Decodes a record that [`encode`](Record::encode) has encoded.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](crate::store::StoreErrorKind::Corrupt) if the bytes are not a record,
    /// [`Unsupported`](crate::store::StoreErrorKind::Unsupported) if they are a record of a newer format.
    pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let mut input = Reader::new(bytes);
        match input.byte()? {
            Self::FORMAT => {}
            0 => return Err(StoreError::corrupt("record has the invalid format 0")),
            newer => return Err(newer_format(newer)),
        }
        let id = uuid::Uuid::from_bytes(input.array()?).into();
        let version = Version::new(input.varint()?);
        let last_seen = input.timestamp()?;
        let expires_at = input.timestamp()?;
        let realm = input.text()?.into();
        let owner = match input.byte()? {
            0 => None,
            1 => Some(input.text()?.into()),
            _ => return Err(StoreError::corrupt("invalid owner flag")),
        };
        Ok(Self::new(id, version, realm, owner, (last_seen, expires_at), input.rest().into()))
    }

    const FORMAT: u8 = 1;
}

impl Record {
    pub(crate) fn new(
        id: SessionId,
        version: Version,
        realm: Arc<str>,
        owner: Option<Arc<str>>,
        (last_seen, expires_at): (Timestamp, Timestamp),
        state: Arc<[u8]>,
    ) -> Self {
        let fields = RecordFields { id, version, realm, owner, last_seen, expires_at, is_valid: false };
        Self::from_fields(fields, state)
    }

    pub(crate) const fn from_fields(fields: RecordFields, state: Arc<[u8]>) -> Self {
        Self { fields, state }
    }

    /// Marks the state as just encoded by this process: its frames need no check.
    pub(crate) fn assume_valid(mut self) -> Self {
        self.fields.is_valid = true;
        self
    }

    pub(crate) const fn fields(&self) -> &RecordFields {
        &self.fields
    }

    pub(crate) fn owner_shared(&self) -> Option<&Arc<str>> {
        self.fields.owner.as_ref()
    }

    pub(crate) const fn last_seen_timestamp(&self) -> Timestamp {
        self.fields.last_seen
    }

    pub(crate) const fn expiry(&self) -> Timestamp {
        self.fields.expires_at
    }

    /// Reads the state's header into `header` and returns where the data starts. Checks the frames, but decodes no value.
    pub(crate) fn open(&self, header: &mut Header) -> Result<usize, StoreError> {
        let start = header.read(&self.state)?;
        if i64::try_from(self.fields.version.get()).is_err() || i64::try_from(header.epoch).is_err() {
            return Err(StoreError::corrupt("version or epoch exceeds 63 bits"));
        }
        if !self.fields.is_valid {
            Data::check(&self.state, start)?;
        }
        Ok(start)
    }

    /// Returns the data after a header that ends at `start`.
    pub(crate) fn data(&self, start: usize) -> Data {
        Data::new(Arc::clone(&self.state), start)
    }
}

impl RecordFields {
    /// Moves both times as [`Record::touch`] does.
    pub(crate) fn touch(&mut self, touch: Touch) {
        self.last_seen = self.last_seen.max(touch.last_seen.into());
        self.expires_at = self.expires_at.max(touch.expires_at.into());
    }
}

// `is_valid` is left out: it says nothing about the stored record.
impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        self.fields.id == other.fields.id
            && self.fields.version == other.fields.version
            && self.fields.realm == other.fields.realm
            && self.fields.owner == other.fields.owner
            && self.fields.last_seen == other.fields.last_seen
            && self.fields.expires_at == other.fields.expires_at
            && self.state == other.state
    }
}

impl Eq for Record {}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("id", &self.fields.id)
            .field("version", &self.fields.version)
            .field("realm", &self.fields.realm)
            .field("owner", &self.fields.owner)
            .field("last_seen", &self.last_seen())
            .field("expires_at", &self.expires_at())
            .field("state", &format_args!("{} bytes", self.state.len()))
            .finish()
    }
}

impl fmt::Debug for RecordParts {
    /// Shows what [`Record`] shows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Record::from_parts(self.clone()).fmt(f)
    }
}

fn newer_format(format: u8) -> StoreError {
    StoreError::unsupported(format!("record format {format} is newer than this version of sessile reads"))
}
