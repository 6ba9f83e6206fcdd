//! A session of another crate.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use time::OffsetDateTime;

use crate::error::{Error, ErrorKind};
use crate::record::Frame;
use crate::record::{decode, encode};

/// A session as another crate kept it: values under string keys, and when it expires.
///
/// Its values are JSON, whatever they were written in: a map for a struct, text for what has a textual form.
#[derive(Clone)]
pub struct LegacySession {
    expires_at: OffsetDateTime,
    values: BTreeMap<String, Kept>,
    owner: Option<(String, OffsetDateTime)>,
}

/// A value, as it was or in the form in which ours are kept.
#[derive(Clone)]
enum Kept {
    Old(Value),
    New(Frame),
}

impl LegacySession {
    /// An empty session, which expires at this time.
    #[must_use]
    pub const fn new(expires_at: OffsetDateTime) -> Self {
        Self { expires_at, values: BTreeMap::new(), owner: None }
    }

    /// When it expires.
    #[must_use]
    pub const fn expires_at(&self) -> OffsetDateTime {
        self.expires_at
    }

    /// The keys that have a value.
    #[must_use]
    pub fn keys(&self) -> Vec<&str> {
        self.values.keys().map(String::as_str).collect()
    }

    /// The value of a key; `None` where there is none.
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`](ErrorKind::TypeMismatch) where it is of another type.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        let value = match self.values.get(key) {
            None => return Ok(None),
            Some(Kept::New(frame)) => decode(key, frame.value().as_bytes()),
            Some(Kept::Old(value)) => T::deserialize(value).map_err(|error| {
                let expected = std::any::type_name::<T>();
                Error::with_source(ErrorKind::TypeMismatch, error).with_context(format!("{key:?} is not a {expected}"))
            }),
        };
        value.map(Some)
    }

    /// Puts a value under a key, in the place of what was there.
    ///
    /// # Errors
    ///
    /// [`Serialize`](ErrorKind::Serialize) where it cannot be serialised.
    pub fn insert<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), Error> {
        let frame = encode(key, value)?;
        self.values.insert(key.to_owned(), Kept::New(frame));
        Ok(())
    }

    /// Puts the JSON of a value under a key, as another crate kept it.
    pub fn insert_json(&mut self, key: &str, value: Value) {
        self.values.insert(key.to_owned(), Kept::Old(value));
    }

    /// Removes the value of a key; says whether there was one.
    pub fn remove(&mut self, key: &str) -> bool {
        self.values.remove(key).is_some()
    }

    /// Gives the value of a key the form in which [`Session`](crate::Session) keeps a `T`; does nothing where there is none.
    ///
    /// For types whose binary form is not their textual one: UUIDs, times, maps with keys that are no strings. Kept as JSON,
    /// they would be text that a `session.get::<Uuid>(…)` does not read.
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`](ErrorKind::TypeMismatch) where the value is of another type.
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

    pub(super) fn owner(&self) -> Option<(&str, OffsetDateTime)> {
        self.owner.as_ref().map(|(owner, at)| (owner.as_str(), *at))
    }

    /// Its values, in the form in which ours are kept.
    pub(super) fn frames(&self) -> Result<Vec<Frame>, Error> {
        let frame = |(key, kept): (&String, &Kept)| match kept {
            Kept::Old(value) => encode(key, value),
            Kept::New(frame) => Ok(frame.clone()),
        };
        self.values.iter().map(frame).collect()
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
