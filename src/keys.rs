//! Keys that sign or encrypt.

use std::fmt;
use std::sync::Arc;

use hkdf::Hkdf;
use sha2::Sha256;

use crate::error::{ConfigError, ConfigErrorKind};
use crate::token::random;

/// Keys that sign or encrypt: the first key writes, and all keys read.
///
/// To replace a key, put the new one first and keep the old one until nothing that it wrote is in use: cookies as long as
/// sessions live, sealed records until each was written again.
///
/// A key is at least 32 bytes from a cryptographic generator, not a passphrase. Each use gets a key that is derived from it
/// (HKDF-SHA-256, RFC 5869), so that one ring can serve several uses.
///
/// ```
/// use sessile::config::KeyRing;
///
/// # let (new, old) = ([7; 32], [8; 32]);
/// let keys = KeyRing::new(new)?.add_old_key(old)?;
/// # Ok::<(), sessile::config::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct KeyRing {
    keys: Vec<Arc<[u8]>>,
}

impl KeyRing {
    /// Shortest key, in bytes.
    pub const MIN_KEY_LENGTH: usize = 32;

    /// Creates a ring of one key.
    ///
    /// # Errors
    ///
    /// A key that is shorter than [`MIN_KEY_LENGTH`](KeyRing::MIN_KEY_LENGTH).
    pub fn new(key: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        Self { keys: Vec::new() }.with_key(key.as_ref())
    }

    /// Creates a ring of one random key, for development and tests: its cookies and records are unreadable after a restart.
    #[must_use]
    pub fn generate() -> Self {
        Self { keys: vec![Arc::new(random::<{ Self::MIN_KEY_LENGTH }>())] }
    }

    /// Adds an earlier key, which still reads what it once wrote.
    ///
    /// # Errors
    ///
    /// Those of [`new`](KeyRing::new).
    pub fn add_old_key(self, key: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        self.with_key(key.as_ref())
    }

    fn with_key(mut self, key: &[u8]) -> Result<Self, ConfigError> {
        if key.len() < Self::MIN_KEY_LENGTH {
            return Err(ConfigError::new(
                ConfigErrorKind::Key,
                "a key of the ring is shorter than 32 bytes: take one from a cryptographic generator",
            ));
        }
        self.keys.push(key.into());
        Ok(self)
    }

    /// Derives a key for one use from each key.
    pub(crate) fn derive<const N: usize>(&self, usage: &str, context: &[u8]) -> Result<Vec<[u8; N]>, ConfigError> {
        let derive = |key: &Arc<[u8]>| {
            let mut derived = [0; N];
            let info = [b"sessile ", usage.as_bytes(), b"\0", context];
            Hkdf::<Sha256>::new(None, key)
                .expand_multi_info(&info, &mut derived)
                .map_err(|_| ConfigError::new(ConfigErrorKind::Key, "derived key is too long"))?;
            Ok(derived)
        };
        self.keys.iter().map(derive).collect()
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing({} keys)", self.keys.len())
    }
}
