//! What a store keeps of a session.

mod data;
mod header;
mod wire;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use time::OffsetDateTime;

pub(crate) use self::data::{Data, Frame, FrameRef, Gap, Value, filled};
pub(crate) use self::header::{CommitName, Header, Pending, Retired, RetiredBy, Secrets, new_commit_name};

pub(crate) use self::wire::Sink;
use self::wire::{Reader, Writer};
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::token::SessionId;

/// The version of a record: grows with each [`Store::set`](crate::store::Store::set), and no two writes make the same one.
///
/// It counts the writes, and carries a mark of the write that made it. So a request that has seen a write which the server
/// then lost in a crash cannot take another for it. It fits a signed 64-bit column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

impl Version {
    /// The version of what is not there.
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const FIRST: Self = Self(1 << Self::MARK);

    /// How many bits the mark has; the count has the rest.
    const MARK: u32 = 20;

    /// The version of this number, as a store has read it.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The version that a commit of this name makes of a record of this one.
    pub(crate) const fn next(self, name: CommitName) -> Self {
        let mark = u64::from_be_bytes(name) & ((1 << Self::MARK) - 1);
        Self(((self.count() + 1) << Self::MARK) | mark)
    }

    /// How many writes made it.
    pub(crate) const fn count(self) -> u64 {
        self.0 >> Self::MARK
    }

    /// Whether it was made by a write that one who knows `other` has not seen.
    pub(crate) const fn is_news_to(self, other: Self) -> bool {
        self.count() > other.count() || (self.count() == other.count() && self.0 != other.0)
    }
}

/// What a store keeps of a session: what it may index, and an encoded state that it need not understand.
///
/// A store with columns keeps the parts ([`RecordParts`]) in columns of their own, so that a touch rewrites no
/// state; one that keeps only bytes uses [`encode`](Record::encode) and [`decode`](Record::decode). Cloning shares
/// the state.
///
/// The state holds the SHA-256 of the session's secrets, never a secret, and begins with the version of its format.
#[derive(Clone)]
pub struct Record {
    columns: Columns,
    state: Arc<[u8]>,
}

/// What there is of a record beside its state.
#[derive(Clone)]
pub(crate) struct Columns {
    pub(crate) id: SessionId,
    pub(crate) version: Version,
    pub(crate) owner: Option<Arc<str>>,
    pub(crate) last_seen: Timestamp,
    pub(crate) expires_at: Timestamp,
    /// The state was put together by this process and has not left it, so that its frames need not be looked at again.
    is_whole: bool,
}

/// The parts of a [`Record`], as a store reads them back.
#[derive(Clone)]
#[expect(clippy::exhaustive_structs, reason = "a store must keep every part; a new one would be lost")]
pub struct RecordParts {
    /// The id.
    pub id: SessionId,
    /// The version.
    pub version: Version,
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
    /// Puts together what a store has read. Instants are kept to the millisecond.
    #[must_use]
    pub fn from_parts(parts: RecordParts) -> Self {
        let times = (parts.last_seen.into(), parts.expires_at.into());
        Self::new(parts.id, parts.version, parts.owner, times, parts.state)
    }

    /// Takes the record apart.
    #[must_use]
    pub fn into_parts(self) -> RecordParts {
        let Columns { id, version, owner, last_seen, expires_at, .. } = self.columns;
        let (last_seen, expires_at) = (last_seen.into(), expires_at.into());
        RecordParts { id, version, owner, last_seen, expires_at, state: self.state }
    }

    /// The id: the primary key.
    #[must_use]
    pub const fn id(&self) -> &SessionId {
        &self.columns.id
    }

    /// The version, which [`Expected`](crate::store::Expected) is about.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.columns.version
    }

    /// Who the session belongs to, where somebody has signed in.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        self.columns.owner.as_deref()
    }

    /// When the session was last used.
    #[must_use]
    pub fn last_seen(&self) -> OffsetDateTime {
        self.columns.last_seen.into()
    }

    /// When the record expires. It may be in the past.
    #[must_use]
    pub fn expires_at(&self) -> OffsetDateTime {
        self.columns.expires_at.into()
    }

    /// The encoded state.
    #[must_use]
    pub fn state(&self) -> &[u8] {
        &self.state
    }

    /// Moves last seen and expiry as a [`Store::touch`](crate::store::Store::touch) must: never to an earlier instant.
    pub fn touch(&mut self, touch: crate::store::Touch) {
        self.columns.touch(touch);
    }

    /// The whole record as bytes, for a store that keeps nothing else.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let owner = self.columns.owner.as_deref().unwrap_or_default();
        let mut bytes = Vec::with_capacity(self.state.len() + owner.len() + 64);
        let mut out = Writer(&mut bytes);
        out.byte(Self::FORMAT);
        out.bytes(self.columns.id.as_uuid().as_bytes());
        out.varint(self.columns.version.get());
        out.timestamp(self.columns.last_seen);
        out.timestamp(self.columns.expires_at);
        out.byte(u8::from(self.columns.owner.is_some()));
        if self.columns.owner.is_some() {
            out.varint(owner.len() as u64);
            out.bytes(owner.as_bytes());
        }
        out.bytes(&self.state);
        bytes
    }

    /// Reads what [`encode`](Record::encode) has written.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](crate::store::StoreErrorKind::Corrupt) where the bytes are no record,
    /// [`Unsupported`](crate::store::StoreErrorKind::Unsupported) where they are one of a newer format.
    pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let mut input = Reader::new(bytes);
        match input.byte()? {
            Self::FORMAT => {}
            0 => return Err(StoreError::corrupt("no record has format 0")),
            newer => return Err(newer_format(newer)),
        }
        let id = uuid::Uuid::from_bytes(input.array()?).into();
        let version = Version::new(input.varint()?);
        let last_seen = input.timestamp()?;
        let expires_at = input.timestamp()?;
        let owner = match input.byte()? {
            0 => None,
            1 => Some(input.text()?.into()),
            _ => return Err(StoreError::corrupt("an owner is there or not")),
        };
        Ok(Self::new(id, version, owner, (last_seen, expires_at), input.rest().into()))
    }

    const FORMAT: u8 = 1;
}

impl Record {
    pub(crate) fn new(
        id: SessionId,
        version: Version,
        owner: Option<Arc<str>>,
        (last_seen, expires_at): (Timestamp, Timestamp),
        state: Arc<[u8]>,
    ) -> Self {
        Self::of(Columns { id, version, owner, last_seen, expires_at, is_whole: false }, state)
    }

    pub(crate) const fn of(columns: Columns, state: Arc<[u8]>) -> Self {
        Self { columns, state }
    }

    /// The same, of a state that was just put together.
    pub(crate) fn known_to_be_whole(mut self) -> Self {
        self.columns.is_whole = true;
        self
    }

    pub(crate) const fn columns(&self) -> &Columns {
        &self.columns
    }

    pub(crate) const fn state_shared(&self) -> &Arc<[u8]> {
        &self.state
    }

    pub(crate) fn owner_shared(&self) -> Option<&Arc<str>> {
        self.columns.owner.as_ref()
    }

    pub(crate) const fn last_seen_timestamp(&self) -> Timestamp {
        self.columns.last_seen
    }

    pub(crate) const fn expiry(&self) -> Timestamp {
        self.columns.expires_at
    }

    /// Reads the state's header into `header`; says where the data begins. Checks the data's frames, decodes no value.
    pub(crate) fn open(&self, header: &mut Header) -> Result<usize, StoreError> {
        let start = header.read(&self.state)?;
        if i64::try_from(self.columns.version.get()).is_err() || i64::try_from(header.epoch).is_err() {
            return Err(StoreError::corrupt("a version or an epoch beyond 63 bits"));
        }
        if !self.columns.is_whole {
            Data::check(&self.state, start)?;
        }
        Ok(start)
    }

    /// What is stored after a header that ends there.
    pub(crate) fn data(&self, start: usize) -> Data {
        Data::of(Arc::clone(&self.state), start)
    }
}

impl Columns {
    /// As [`Record::touch`].
    pub(crate) fn touch(&mut self, touch: crate::store::Touch) {
        self.last_seen = self.last_seen.max(touch.last_seen.into());
        self.expires_at = self.expires_at.max(touch.expires_at.into());
    }
}

/// Whether the same is stored: what only this process knows of a record does not count.
impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        self.columns.id == other.columns.id
            && self.columns.version == other.columns.version
            && self.columns.owner == other.columns.owner
            && self.columns.last_seen == other.columns.last_seen
            && self.columns.expires_at == other.columns.expires_at
            && self.state == other.state
    }
}

impl Eq for Record {}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("id", &self.columns.id)
            .field("version", &self.columns.version)
            .field("owner", &self.columns.owner)
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
    StoreError::unsupported(format!("the record is of format {format}, which is newer than this build"))
}
