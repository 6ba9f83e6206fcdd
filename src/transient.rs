//! Values under string keys, with a time to live.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::{Clock, Timestamp};
use crate::error::{Error, StoreError};
use crate::record::{Data, Frame, Header, Record, Sink, Version, decode, encode, filled, new_commit_id};
use crate::store::{AnyStore, Expected, Outcome, Store};
use crate::token::{SessionId, Verifier};

/// Most attempts of a write against concurrent ones of the same key.
const MAX_ATTEMPTS: u32 = 1_000;
/// Realm of the records. No cookie has this name, so no layer has this realm by default.
const REALM: &str = "sessile:transient";
/// Name of the value in its record and in errors. It is not the key, which neither the store nor the log must reveal.
const VALUE: &str = "value";

/// Serializable values under string keys, in the same store as the sessions, with a time to live.
///
/// For values without a session: the state of a sign-in with an identity provider, a code that was sent by mail, a cached result.
/// The keys are hashed: no key can reach a session, and read access to the store does not reveal keys.
///
/// ```
/// # async fn run() -> Result<(), sessile::Error> {
/// use std::time::Duration;
/// use sessile::{MemoryStore, Transient};
///
/// let transient = Transient::new(MemoryStore::new());
/// transient.set("code:ada@example.org", "493817", Duration::from_secs(600)).await?;
/// assert_eq!(transient.get::<String>("code:ada@example.org").await?.as_deref(), Some("493817"));
/// assert!(transient.delete("code:ada@example.org").await?);
/// # Ok(()) }
/// # tokio::runtime::Runtime::new().unwrap().block_on(run()).unwrap();
/// ```
#[derive(Clone)]
pub struct Transient {
    store: AnyStore,
    clock: Clock,
}

impl Transient {
    /// Creates the values of a store.
    #[must_use]
    pub fn new(store: impl Store) -> Self {
        Self { store: AnyStore::new(store), clock: Clock::system() }
    }

    #[cfg(feature = "migrate")]
    pub(crate) fn from_config(config: &crate::config::Config) -> Self {
        Self { store: config.store.clone(), clock: config.clock.clone() }
    }

    /// Sets the clock. Default: the system clock.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn with_clock(mut self, clock: impl Into<Clock>) -> Self {
        self.clock = clock.into();
        self
    }

    /// Writes a value with a time to live, replacing one that was there.
    ///
    /// # Errors
    ///
    /// [`Serialize`](crate::ErrorKind::Serialize) if it cannot be serialized, [`Unavailable`](crate::ErrorKind::Unavailable) if the
    /// store fails; then the outcome is unknown.
    pub async fn set<T: Serialize + ?Sized>(&self, key: &str, value: &T, time_to_live: Duration) -> Result<(), Error> {
        let id = SessionId::from_string_key(key);
        let frame = encode(VALUE, value)?;
        for attempt in 1..=MAX_ATTEMPTS {
            let stored = self.store.get(&id).await?;
            let (version, expected) = match &stored {
                Some(record) => (record.version().next(new_commit_id()), Expected::Version(record.version())),
                None => (Version::FIRST, Expected::Absent),
            };
            let record = self.record(id, version, &frame, time_to_live);
            if self.store.set(&record, expected).await? == Outcome::Written {
                return Ok(());
            }
            self.store.back_off(attempt).await;
        }
        Err(StoreError::unavailable("the write lost too many races").into())
    }

    /// Returns the value of a key, if it has one that has not expired.
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`](crate::ErrorKind::TypeMismatch) if it is of another type, [`Unavailable`](crate::ErrorKind::Unavailable) if
    /// the store fails.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        let Some(data) = self.find(key).await? else { return Ok(None) };
        data.get(VALUE).map(|value| decode(VALUE, value.as_bytes())).transpose()
    }

    /// Deletes the value of a key; returns whether there was one.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::ErrorKind::Unavailable) if the store fails; then the outcome is unknown.
    pub async fn delete(&self, key: &str) -> Result<bool, Error> {
        Ok(self.store.delete(&SessionId::from_string_key(key), None).await?)
    }

    /// Writes a value under a key that has none; returns whether it did. Of concurrent calls one does.
    #[cfg(feature = "migrate")]
    pub(crate) async fn set_new<T: Serialize + ?Sized>(
        &self,
        key: &str,
        value: &T,
        time_to_live: Duration,
    ) -> Result<bool, Error> {
        let record = self.record(SessionId::from_string_key(key), Version::FIRST, &encode(VALUE, value)?, time_to_live);
        Ok(self.store.set(&record, Expected::Absent).await? == Outcome::Written)
    }

    fn record(&self, id: SessionId, version: Version, frame: &Frame, time_to_live: Duration) -> Record {
        let now = self.clock.now();
        let header = Header::new(Verifier::from_bytes([0; 32]), now);
        let state = filled(header.length() + frame.as_bytes().len(), |out| {
            header.write_to(out);
            out.write(frame.as_bytes());
        });
        Record::new(id, version, REALM.into(), None, (now, now.plus(time_to_live)), state)
    }

    async fn find(&self, key: &str) -> Result<Option<Data>, Error> {
        let Some(record) = self.store.get(&SessionId::from_string_key(key)).await? else { return Ok(None) };
        let now: Timestamp = self.clock.now();
        if now >= record.expiry() || record.realm() != REALM {
            return Ok(None);
        }
        let start = record.open(&mut Header::blank())?;
        Ok(Some(record.data(start)))
    }
}

impl fmt::Debug for Transient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transient").finish_non_exhaustive()
    }
}
