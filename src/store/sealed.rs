//! Encrypted records in any store.

use std::fmt;
use std::sync::Arc;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};

use super::{Cursor, Expected, Outcome, Page, RecordSummary, Store, Touch};
use crate::error::ConfigError;
use crate::error::StoreError;
use crate::keys::KeyRing;
use crate::record::{Record, RecordParts};
use crate::token::{SessionId, random};

/// A store that encrypts the state of its records.
///
/// Read access to the database, a backup or the disk does not reveal session values, and write access does not allow an
/// attacker to forge them. Each state is sealed with XChaCha20-Poly1305 under the first key of the ring, and bound to the
/// session's id, version, realm and owner. A state that was copied to another session, truncated, or written without a key is
/// [`Corrupt`](crate::store::StoreErrorKind::Corrupt) and opens no session.
///
/// Id, version, realm, owner and times stay readable, because the database needs them. An attacker with write access can change
/// the times, and can replace a record with an older one of the same session.
///
/// A state that was sealed under a key missing from the ring is
/// [`Unsupported`](crate::store::StoreErrorKind::Unsupported), which the client sees as a 503. A node with outdated keys
/// therefore ends no session.
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
    context: Arc<str>,
    reads_plain: bool,
}

impl<S> SealedStore<S> {
    /// Wraps a store.
    ///
    /// # Errors
    ///
    /// If the cipher's key cannot be derived from a key of the ring.
    pub fn new(store: S, keys: &KeyRing) -> Result<Self, ConfigError> {
        let ids = keys.derive::<KEY_ID_LENGTH>("sealed record, name of the key", b"")?;
        let keys = keys.derive::<32>("sealed record", b"")?;
        let keys =
            ids.into_iter().zip(keys).map(|(id, key)| Sealer { id, cipher: XChaCha20Poly1305::new(&key.into()) });
        Ok(Self { inner: store, keys: keys.collect(), context: Arc::default(), reads_plain: false })
    }

    /// Binds the records to a context, such as the name of the table. Default: empty.
    ///
    /// A state that was copied from a table under the same keys and another context is corrupt.
    #[must_use]
    pub fn with_context(mut self, context: &str) -> Self {
        self.context = context.into();
        self
    }

    /// Also reads unsealed records, and seals each when it is next written. Default: `false`.
    ///
    /// Use it to introduce encryption without ending sessions. While it is on, an attacker with write access to the
    /// database can plant an unsealed record.
    #[must_use]
    pub fn with_dangerous_plain_records(mut self, reads_plain: bool) -> Self {
        self.reads_plain = reads_plain;
        self
    }

    fn seal(&self, record: &Record) -> Result<Record, StoreError> {
        let sealer = self.keys.first().expect("a ring has a key");
        let state = sealer.seal(record, &self.context)?;
        let parts = record.clone().into_parts();
        Ok(Record::from_parts(RecordParts { state: state.into(), ..parts }))
    }

    fn open(&self, record: Record) -> Result<Record, StoreError> {
        let Some((&FORMAT, sealed)) = record.state().split_first() else {
            return if self.reads_plain { Ok(record) } else { Err(StoreError::corrupt("the record is not sealed")) };
        };
        let (id, sealed) = sealed.split_first_chunk().ok_or_else(truncated)?;
        let Some(sealer) = self.keys.iter().find(|sealer| sealer.id == *id) else {
            return Err(StoreError::unsupported("the record is sealed under an unknown key; add the key to the ring"));
        };
        let state = sealer.open(&record, &self.context, sealed)?;
        Ok(Record::from_parts(RecordParts { state: state.into(), ..record.into_parts() }))
    }

    /// Opens listed records. One that does not open loses its state, so that the caller can still end the session.
    fn open_all(&self, records: Vec<Record>) -> Vec<Record> {
        records.into_iter().map(|record| self.open(record.clone()).unwrap_or_else(|_| unreadable(record))).collect()
    }
}

/// First byte of a sealed state; no plain format starts with it.
const FORMAT: u8 = 0xff;
/// Length of a key's id, which is derived from the key and does not reveal it.
const KEY_ID_LENGTH: usize = 4;
const NONCE_LENGTH: usize = 24;

/// A key with its id.
#[derive(Clone)]
struct Sealer {
    id: [u8; KEY_ID_LENGTH],
    cipher: XChaCha20Poly1305,
}

impl Sealer {
    fn seal(&self, record: &Record, context: &str) -> Result<Vec<u8>, StoreError> {
        let nonce: [u8; NONCE_LENGTH] = random();
        let payload = Payload { msg: record.state(), aad: &associated_data(record, context) };
        let sealed = self.cipher.encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.map_err(|_| StoreError::other("the record cannot be sealed"))?;
        Ok([&[FORMAT], &self.id[..], &nonce[..], &sealed[..]].concat())
    }

    fn open(&self, record: &Record, context: &str, sealed: &[u8]) -> Result<Vec<u8>, StoreError> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LENGTH>().ok_or_else(truncated)?;
        let payload = Payload { msg: sealed, aad: &associated_data(record, context) };
        let opened = self.cipher.decrypt(&XNonce::from(*nonce), payload);
        opened.map_err(|_| StoreError::corrupt("the sealed record was changed"))
    }
}

/// Returns the fields that a state is bound to, and the context: all except the times, which a touch moves.
fn associated_data(record: &Record, context: &str) -> Vec<u8> {
    let owner = record.owner();
    let mut data = record.id().as_uuid().as_bytes().to_vec();
    data.extend(record.version().get().to_be_bytes());
    for text in [record.realm(), context] {
        // The lengths keep two texts from being read as others with the same characters.
        data.extend((text.len() as u64).to_be_bytes());
        data.extend(text.as_bytes());
    }
    data.push(u8::from(owner.is_some()));
    data.extend(owner.unwrap_or_default().as_bytes());
    data
}

/// Replaces the state with one that does not decode.
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

    async fn owned_by(&self, owner: &str) -> Result<Vec<Record>, StoreError> {
        Ok(self.open_all(self.inner.owned_by(owner).await?))
    }

    async fn remove_from_index(&self, id: &SessionId, owner: &str) -> Result<(), StoreError> {
        self.inner.remove_from_index(id, owner).await
    }

    async fn delete_owned_by(
        &self,
        owner: &str,
        realm: Option<&str>,
        keep: Option<&SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.inner.delete_owned_by(owner, realm, keep).await
    }

    async fn delete_expired(&self) -> Result<u64, StoreError> {
        self.inner.delete_expired().await
    }

    async fn ids_of(&self, owner: &str, realm: Option<&str>) -> Result<Vec<SessionId>, StoreError> {
        self.inner.ids_of(owner, realm).await
    }

    async fn summaries_of(&self, ids: &[SessionId]) -> Result<Vec<Option<RecordSummary>>, StoreError> {
        self.inner.summaries_of(ids).await
    }

    async fn list(&self, after: Option<&Cursor>, limit: usize) -> Result<Page, StoreError> {
        let page = self.inner.list(after, limit).await?;
        Ok(Page { records: self.open_all(page.records), next: page.next })
    }

    async fn count(&self) -> Result<u64, StoreError> {
        self.inner.count().await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.inner.ping().await
    }

    #[cfg(feature = "_sql")]
    fn sql_write(&self, record: &Record, expected: Expected) -> Result<super::SqlWrite, StoreError> {
        self.inner.sql_write(&self.seal(record)?, expected)
    }

    fn is_remote(&self) -> bool {
        self.inner.is_remote()
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
