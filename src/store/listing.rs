//! Listing of all records, page by page.

use std::fmt;

use time::OffsetDateTime;

use crate::record::{Record, Version};

/// A page of a store's records, as [`Store::list`](super::Store::list) returns it.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a store of the application creates it")]
pub struct Page {
    /// The live records. A page may have fewer than were asked for, or none, and yet be followed by another.
    pub records: Vec<Record>,
    /// Position of the next page; `None` after the last one.
    pub next: Option<Cursor>,
}

/// A position in the listing of a store, as text that only this kind of store can read.
///
/// A cursor that a client sends is untrusted input: the store refuses it, or lists from some position.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Cursor(Box<str>);

impl Cursor {
    /// Creates a cursor from text that a store has chosen.
    #[must_use]
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// Returns the text, for instance for the link to the next page.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cursor").field(&self.0).finish()
    }
}

/// Version and times of a record, without its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a store of the application creates it")]
pub struct RecordSummary {
    /// The version.
    pub version: Version,
    /// When the session was last used.
    pub last_seen: OffsetDateTime,
    /// When the record expires.
    pub expires_at: OffsetDateTime,
}

impl From<&Record> for RecordSummary {
    fn from(record: &Record) -> Self {
        Self { version: record.version(), last_seen: record.last_seen(), expires_at: record.expires_at() }
    }
}
