//! A session as it is read outside a request.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::DeserializeOwned;
use serde::ser::{Error as _, SerializeMap};
use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::clock::Timestamp;
use crate::error::Error;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::lifetime::Lifetime;
use crate::record::{LoadedRecord, decode, decode_entries, is_beside_values};
use crate::session::NOTES;
#[cfg(doc)]
use crate::session::Session;
use crate::session::key::Key;
use crate::token::SessionId;

/// A stored session, read outside a request. It holds no token.
///
/// It serializes as a map of its times, owner, actor if there is one, notes and values, so that an operator can print it as JSON.
#[derive(Clone)]
pub struct StoredSession {
    found: LoadedRecord,
    ends_at: Timestamp,
}

impl StoredSession {
    /// Creates the session of a record, in a layer with this lifetime.
    pub(crate) fn new(found: LoadedRecord, default: Lifetime) -> Self {
        let ends_at = found.ends_at(default);
        Self { found, ends_at }
    }

    /// Returns the id.
    #[must_use]
    pub fn id(&self) -> SessionId {
        *self.found.record.id()
    }

    /// Returns the owner; `None` if the session is not signed in.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        self.found.record.owner()
    }

    /// Returns the owner who [acts](crate::acting) as the owner.
    #[must_use]
    pub fn actor(&self) -> Option<&str> {
        self.found.header.actor.as_ref().map(|actor| &*actor.owner)
    }

    /// Returns when the session was created.
    #[must_use]
    pub fn created_at(&self) -> OffsetDateTime {
        self.id().created_at().unwrap_or_else(|| self.found.header.started_at.into())
    }

    /// Returns when the session was last used, to a tenth of its idle timeout.
    #[must_use]
    pub fn last_seen(&self) -> OffsetDateTime {
        self.found.record.last_seen()
    }

    /// Returns when the session expires unless it is used: at its idle or its absolute timeout.
    #[must_use]
    pub fn expires_at(&self) -> OffsetDateTime {
        self.ends_at.into()
    }

    /// Returns when the owner signed in.
    #[must_use]
    pub fn authenticated_at(&self) -> Option<OffsetDateTime> {
        self.found.header.authenticated_at.map(Into::into)
    }

    /// Returns the value of a key, if it has one.
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`](ErrorKind::TypeMismatch) if the value is of another type.
    pub fn get<T: DeserializeOwned>(&self, key: impl Key<T>) -> Result<Option<T>, Error> {
        let key = key.name();
        self.found.data.get(key).map(|value| decode(key, value.as_bytes())).transpose()
    }

    /// Returns the [notes](Session::note) by name, such as the user agent.
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`](ErrorKind::TypeMismatch) if the key `sessile.notes` has another value.
    pub fn notes(&self) -> Result<BTreeMap<String, String>, Error> {
        Ok(self.get(NOTES)?.unwrap_or_default())
    }

    /// Returns all values as one struct or map.
    ///
    /// Each value is read as [`get`](StoredSession::get) reads it.
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`](ErrorKind::TypeMismatch) if the values are not of that type.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T, Error> {
        decode_entries(self.values())
    }

    /// Returns the keys that have a value.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.values().map(|(key, _)| key.to_owned()).collect()
    }

    /// Returns the keys and the encoded values, without those of the crate itself.
    fn values(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let data = &self.found.data;
        let values = data.frames().map(|frame| (frame.text(), data.bytes(frame.value)));
        values.filter(|(key, _)| !is_beside_values(key))
    }
}

impl Serialize for StoredSession {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = |at: OffsetDateTime| at.format(&Rfc3339).map_err(S::Error::custom);
        let mut map = serializer.serialize_map(Some(8 + usize::from(self.actor().is_some())))?;
        map.serialize_entry("id", &self.id())?;
        map.serialize_entry("owner", &self.owner())?;
        if let Some(actor) = self.actor() {
            map.serialize_entry("actor", actor)?;
        }
        map.serialize_entry("created_at", &text(self.created_at())?)?;
        map.serialize_entry("last_seen", &text(self.last_seen())?)?;
        map.serialize_entry("expires_at", &text(self.expires_at())?)?;
        map.serialize_entry("authenticated_at", &self.authenticated_at().map(text).transpose()?)?;
        map.serialize_entry("notes", &self.notes().unwrap_or_default())?;
        map.serialize_entry("values", &Values(self))?;
        map.end()
    }
}

struct Values<'a>(&'a StoredSession);

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // An unreadable value is shown as null, so that an operator sees the others.
        let value = |(key, bytes)| (key, decode::<rmpv::Value>(key, bytes).ok());
        serializer.collect_map(self.0.values().map(value))
    }
}

impl fmt::Debug for StoredSession {
    /// Names the session and its keys; no value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredSession")
            .field("record", &self.found.record)
            .field("keys", &self.keys())
            .finish_non_exhaustive()
    }
}
