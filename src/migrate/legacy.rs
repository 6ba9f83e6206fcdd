//! A session of another crate.

use std::fmt;

use rmpv::Value;
use serde::Serialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;

use crate::error::{Error, ErrorKind};

/// A session as another crate kept it: values under string keys, and when it expires.
///
/// Its values are read as JSON is: a number for a number, a map for a struct, text for what has a textual form.
#[derive(Clone)]
pub struct LegacySession {
    expires_at: OffsetDateTime,
    values: Vec<(Value, Value)>,
    owner: Option<(String, OffsetDateTime)>,
}

impl LegacySession {
    /// An empty session, which expires at this time.
    #[must_use]
    pub const fn new(expires_at: OffsetDateTime) -> Self {
        Self { expires_at, values: Vec::new(), owner: None }
    }

    /// When it expires.
    #[must_use]
    pub const fn expires_at(&self) -> OffsetDateTime {
        self.expires_at
    }

    /// The keys that have a value.
    #[must_use]
    pub fn keys(&self) -> Vec<&str> {
        self.values.iter().filter_map(|(key, _)| key.as_str()).collect()
    }

    /// The value of a key; `None` where there is none.
    ///
    /// # Errors
    ///
    /// [`Type`](ErrorKind::Type) where it is of another type.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        let Some((_, value)) = self.values.iter().find(|(known, _)| known.as_str() == Some(key)) else {
            return Ok(None);
        };
        let read = rmpv::ext::from_value(value.clone());
        read.map(Some).map_err(|error| Error::with_source(ErrorKind::Type, error).at(format!("{key:?}")))
    }

    /// Puts a value under a key, in the place of what was there.
    ///
    /// # Errors
    ///
    /// [`Serialize`](ErrorKind::Serialize) where it cannot be serialised.
    pub fn insert<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), Error> {
        let refused = |error| Error::with_source(ErrorKind::Serialize, error).at(format!("{key:?}"));
        let bytes = rmp_serde::to_vec_named(value).map_err(refused)?;
        let value = rmpv::decode::read_value(&mut bytes.as_slice())
            .map_err(|error| Error::with_source(ErrorKind::Serialize, error).at(format!("{key:?}")))?;
        self.put(key, value);
        Ok(())
    }

    /// Removes the value of a key; says whether there was one.
    pub fn remove(&mut self, key: &str) -> bool {
        let before = self.values.len();
        self.values.retain(|(known, _)| known.as_str() != Some(key));
        self.values.len() < before
    }

    /// Gives the value of a key the form in which [`Session`](crate::Session) keeps a `T`; does nothing where there is none.
    ///
    /// For types whose binary form is not their textual one: UUIDs, times, maps with keys that are no strings. Kept as JSON,
    /// they would be text that a `session.get::<Uuid>(…)` does not read.
    ///
    /// # Errors
    ///
    /// [`Type`](ErrorKind::Type) where the value is of another type.
    pub fn retype<T: Serialize + DeserializeOwned>(&mut self, key: &str) -> Result<(), Error> {
        match self.get::<T>(key)? {
            Some(value) => self.insert(key, &value),
            None => Ok(()),
        }
    }

    /// Says who is signed in, and since when; the new session is theirs.
    ///
    /// What asks for a recent sign-in goes by that time: where it is not known, say
    /// [`OffsetDateTime::UNIX_EPOCH`], and who has come over is asked to prove themselves again.
    pub fn sign_in(&mut self, owner: &str, authenticated_at: OffsetDateTime) {
        self.owner = Some((owner.to_owned(), authenticated_at));
    }

    pub(super) fn put(&mut self, key: &str, value: Value) {
        self.remove(key);
        self.values.push((Value::from(key), value));
    }

    pub(super) fn into_parts(self) -> (Option<(String, OffsetDateTime)>, Value) {
        (self.owner, Value::Map(self.values))
    }
}

impl fmt::Debug for LegacySession {
    /// Names the keys; no value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LegacySession")
            .field("expires_at", &self.expires_at)
            .field("keys", &self.keys())
            .finish_non_exhaustive()
    }
}
