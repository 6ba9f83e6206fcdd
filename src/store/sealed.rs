//! Records that are encrypted where they are stored.

use std::fmt;
use std::sync::Arc;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};

use super::{Expected, Outcome, Store, Touch};
use crate::error::ConfigError;
use crate::error::StoreError;
use crate::keys::KeyRing;
use crate::record::{Record, RecordParts};
use crate::token::{SessionId, random};

/// A store whose records are encrypted: who reads the database, a backup or its disk learns no value of a session, and who
/// writes to it cannot forge one.
///
/// The state of each record is sealed with XChaCha20-Poly1305 under the first key of the ring, and bound to the session's id, its
/// version and its owner: a state that was moved to another session, truncated, or written without the key is
/// [`Corrupt`](crate::store::StoreErrorKind::Corrupt), and so opens for nobody. What a database needs to find and to expire
/// records stays readable, and the times can be moved: id, version, owner and times. That an older record of the same session was
/// put back whole, cannot be told.
///
/// A state that was sealed under a key that the ring does not have is [`Unsupported`](crate::store::StoreErrorKind::Unsupported): a 503
/// rather than a sign-out, as nodes whose keys are older must not take for absent what is there.
///
/// ```
/// use sessile::{MemoryStore, SealedStore, SessionLayer};
/// use sessile::config::KeyRing;
///
/// # let key = [7; 32];
/// let store = SealedStore::new(MemoryStore::new(), &KeyRing::new(key)?)?;
/// let layer = SessionLayer::new(store);
/// # Ok::<(), sessile::config::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct SealedStore<S> {
    inner: S,
    keys: Arc<[Sealer]>,
    reads_plain: bool,
}

impl<S> SealedStore<S> {
    /// Seals what `store` keeps.
    ///
    /// # Errors
    ///
    /// A key that is shorter than 32 bytes.
    pub fn new(store: S, keys: &KeyRing) -> Result<Self, ConfigError> {
        let names = keys.derive::<{ KEY_NAME }>("sealed record, name of the key", b"")?;
        let keys = keys.derive::<32>("sealed record", b"")?;
        let keys =
            names.into_iter().zip(keys).map(|(name, key)| Sealer { name, cipher: XChaCha20Poly1305::new(&key.into()) });
        Ok(Self { inner: store, keys: keys.collect(), reads_plain: false })
    }

    /// Also reads records that are not sealed, to move to sealed ones without signing anybody out; each is sealed when it
    /// is written again. Default: `false`.
    ///
    /// For as long as it is on, whoever can write to the database can put an unsealed record there.
    #[must_use]
    pub fn with_dangerous_plain_records(mut self, reads_plain: bool) -> Self {
        self.reads_plain = reads_plain;
        self
    }

    fn seal(&self, record: &Record) -> Result<Record, StoreError> {
        let sealer = self.keys.first().expect("a ring has a key");
        let state = sealer.seal(record)?;
        let parts = record.clone().into_parts();
        Ok(Record::from_parts(RecordParts { state: state.into(), ..parts }))
    }

    fn open(&self, record: Record) -> Result<Record, StoreError> {
        let Some((&FORMAT, sealed)) = record.state().split_first() else {
            return if self.reads_plain { Ok(record) } else { Err(StoreError::corrupt("the record is not sealed")) };
        };
        let (name, sealed) = sealed.split_first_chunk().ok_or_else(truncated)?;
        let Some(sealer) = self.keys.iter().find(|sealer| sealer.name == *name) else {
            return Err(StoreError::unsupported("the record is sealed under a key that is not in the ring"));
        };
        let state = sealer.open(&record, sealed)?;
        Ok(Record::from_parts(RecordParts { state: state.into(), ..record.into_parts() }))
    }
}

/// The first byte of a sealed state; no format of a plain one.
const FORMAT: u8 = 0xff;
/// How many bytes tell a key. They are derived from it, and give nothing of it away.
const KEY_NAME: usize = 4;
const NONCE: usize = 24;

/// One key.
#[derive(Clone)]
struct Sealer {
    name: [u8; KEY_NAME],
    cipher: XChaCha20Poly1305,
}

impl Sealer {
    fn seal(&self, record: &Record) -> Result<Vec<u8>, StoreError> {
        let nonce: [u8; NONCE] = random();
        let bound = bound(record);
        let payload = Payload { msg: record.state(), aad: &bound };
        let sealed = self.cipher.encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.map_err(|_| StoreError::other("the record cannot be sealed"))?;
        Ok([&[FORMAT], &self.name[..], &nonce[..], &sealed[..]].concat())
    }

    fn open(&self, record: &Record, sealed: &[u8]) -> Result<Vec<u8>, StoreError> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>().ok_or_else(truncated)?;
        let bound = bound(record);
        let payload = Payload { msg: sealed, aad: &bound };
        let opened = self.cipher.decrypt(&XNonce::from(*nonce), payload);
        opened.map_err(|_| StoreError::corrupt("the record is not what was sealed"))
    }
}

/// What a state is bound to: all that the store keeps beside it and that no touch moves.
fn bound(record: &Record) -> Vec<u8> {
    let owner = record.owner();
    let mut bound = record.id().as_uuid().as_bytes().to_vec();
    bound.extend(record.version().get().to_be_bytes());
    bound.push(u8::from(owner.is_some()));
    bound.extend(owner.unwrap_or_default().as_bytes());
    bound
}

/// The same record without a state that anybody could read: nobody with a key has written it.
fn unreadable(record: Record) -> Record {
    Record::from_parts(RecordParts { state: [FORMAT].into(), ..record.into_parts() })
}

fn truncated() -> StoreError {
    StoreError::corrupt("the sealed record is truncated")
}

impl<S: Store> Store for SealedStore<S> {
    async fn get(&self, id: &SessionId) -> Result<Option<Record>, StoreError> {
        self.inner.get(id).await?.map(|record| self.open(record)).transpose()
    }

    async fn set(&self, record: &Record, expected: Expected) -> Result<Outcome, StoreError> {
        self.inner.set(&self.seal(record)?, expected).await
    }

    async fn touch(&self, record: &Record, touch: Touch) -> Result<bool, StoreError> {
        self.inner.touch(record, touch).await
    }

    async fn delete(&self, id: &SessionId, owner: Option<&str>) -> Result<bool, StoreError> {
        self.inner.delete(id, owner).await
    }

    /// What cannot be opened is listed without what it holds, so that it is seen and can be ended.
    async fn owned_by(&self, owner: &str) -> Result<Vec<Record>, StoreError> {
        let records = self.inner.owned_by(owner).await?;
        Ok(records.into_iter().map(|record| self.open(record.clone()).unwrap_or_else(|_| unreadable(record))).collect())
    }

    async fn delete_expired(&self) -> Result<u64, StoreError> {
        self.inner.delete_expired().await
    }
}

impl<S: fmt::Debug> fmt::Debug for SealedStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedStore")
            .field("inner", &self.inner)
            .field("keys", &self.keys.len())
            .field("reads_plain", &self.reads_plain)
            .finish()
    }
}
