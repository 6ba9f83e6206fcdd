//! A session that another crate has written.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use time::OffsetDateTime;

use crate::error::Error;
use crate::record::{Frame, decode, encode};
use crate::session::flash::{FLASHES, Flash, FlashLevel};
#[cfg(feature = "axum")]
use crate::user::{Stamp, signed_in_with};

/// A session of another crate: values under string keys, with an expiry.
///
/// The values are JSON, whatever format they were stored in: a struct is a map, and a value with a textual form is text.
#[derive(Clone)]
pub struct LegacySession {
    expires_at: OffsetDateTime,
    values: BTreeMap<String, LegacyValue>,
    owner: Option<(String, OffsetDateTime)>,
}

/// A value in its old format, or encoded as sessions of this crate are.
#[derive(Clone)]
enum LegacyValue {
    Old(Value),
    New(Frame),
}

impl LegacySession {
    /// Creates an empty session that expires at this time.
    #[must_use]
    pub const fn new(expires_at: OffsetDateTime) -> Self {
        Self { expires_at, values: BTreeMap::new(), owner: None }
    }

    /// Returns when the session expires.
    #[must_use]
    pub const fn expires_at(&self) -> OffsetDateTime {
        self.expires_at
    }

    /// Returns the keys of all values.
    #[must_use]
    pub fn keys(&self) -> Vec<&str> {
        self.values.keys().map(String::as_str).collect()
    }

    /// Returns the value of a key; `None` if it has no value.
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`](crate::ErrorKind::TypeMismatch) if the value has another type.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        let value = match self.values.get(key) {
            None => return Ok(None),
            Some(LegacyValue::New(frame)) => decode(key, frame.value().as_bytes()),
            Some(LegacyValue::Old(value)) => {
                T::deserialize(value).map_err(|_| Error::mismatch::<T>(&format!("{key:?}"), kind_of(value)))
            }
        };
        value.map(Some)
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    ///
    /// [`Serialize`](crate::ErrorKind::Serialize) if the value cannot be serialized.
    pub fn insert<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), Error> {
        let frame = encode(key, value)?;
        self.values.insert(key.to_owned(), LegacyValue::New(frame));
        Ok(())
    }

    /// Sets the value of a key to the JSON that another crate has written.
    pub fn insert_json(&mut self, key: &str, value: Value) {
        self.values.insert(key.to_owned(), LegacyValue::Old(value));
    }

    /// Removes the value of a key; returns whether it had a value.
    pub fn remove(&mut self, key: &str) -> bool {
        self.values.remove(key).is_some()
    }

    /// Encodes the value of a key as [`Session`](crate::Session) encodes a `T`, if the key has a value.
    ///
    /// Use it for types whose binary form differs from their textual form: UUIDs, times, maps with keys other than strings.
    /// Without it the value stays text, which `session.get::<Uuid>(…)` cannot read.
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`](crate::ErrorKind::TypeMismatch) if the value has another type.
    pub fn retype<T: Serialize + DeserializeOwned>(&mut self, key: &str) -> Result<(), Error> {
        match self.get::<T>(key)? {
            Some(value) => self.insert(key, &value),
            None => Ok(()),
        }
    }

    /// Sets the owner of the new session and the time of the sign-in.
    ///
    /// Handlers that require a recent sign-in compare with that time. If it is unknown, pass
    /// [`OffsetDateTime::UNIX_EPOCH`]: the user must then authenticate again.
    pub fn sign_in(&mut self, owner: &str, authenticated_at: OffsetDateTime) {
        self.owner = Some((owner.to_owned(), authenticated_at));
    }

    /// Sets the credentials with which the owner had signed in, for a [`UserLayer`](crate::user::UserLayer).
    ///
    /// Once the user's own stamp is another, the session is signed out. Without this call the session has
    /// [no stamp](Stamp::none): if [`Users::stamp`](crate::user::Users::stamp) returns another, the first look-up of the user signs
    /// the session out, since the credentials may have changed. If it returns none, as it does by default, the call is not needed.
    ///
    /// # Errors
    ///
    /// [`Serialize`](crate::ErrorKind::Serialize) if the stamp cannot be serialized.
    #[cfg(feature = "axum")]
    pub fn set_stamp(&mut self, stamp: Stamp) -> Result<(), Error> {
        let (key, value) = signed_in_with(stamp);
        self.insert(key, &value)
    }

    /// Adds a message for the next page that [takes](crate::Session::take_flashes) it.
    ///
    /// # Errors
    ///
    /// Those of [`insert`](Self::insert).
    pub fn flash(&mut self, level: FlashLevel, message: impl Into<String>) -> Result<(), Error> {
        let mut flashes = self.get::<Vec<Flash>>(FLASHES.name())?.unwrap_or_default();
        flashes.push(Flash { level, message: message.into() });
        self.insert(FLASHES.name(), &flashes)
    }

    pub(super) fn owner(&self) -> Option<(&str, OffsetDateTime)> {
        self.owner.as_ref().map(|(owner, at)| (owner.as_str(), *at))
    }

    /// Returns the values, encoded as sessions of this crate are.
    pub(super) fn frames(&self) -> Result<Vec<Frame>, Error> {
        let frame = |(key, value): (&String, &LegacyValue)| match value {
            LegacyValue::Old(json) => encode(key, json),
            LegacyValue::New(frame) => Ok(frame.clone()),
        };
        self.values.iter().map(frame).collect()
    }
}

/// Returns the kind of a JSON value, for an error.
const fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "a map",
    }
}

impl fmt::Debug for LegacySession {
    /// Shows the keys but no value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LegacySession")
            .field("expires_at", &self.expires_at)
            .field("keys", &self.keys())
            .finish_non_exhaustive()
    }
}
