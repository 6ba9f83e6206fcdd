//! The keys of what is signed or encrypted.

use std::fmt;
use std::sync::Arc;

use hkdf::Hkdf;
use sha2::Sha256;

use crate::config::ConfigError;

/// The keys that sign or encrypt: the first one writes, and all of them read.
///
/// To replace a key, put the new one first and keep the old one as long as anything that it wrote is still about: cookies for as
/// long as sessions live, sealed records until each was written again.
///
/// A key is at least 32 bytes of a cryptographic generator; a passphrase is none. From each, a key of its own is derived for
/// every use (HKDF-SHA-256, RFC 5869), so that one ring may serve several.
///
/// ```
/// use sessile::KeyRing;
///
/// # let (new, old) = ([7; 32], [8; 32]);
/// let keys = KeyRing::new(new).with_old(old);
/// ```
#[derive(Clone)]
pub struct KeyRing {
    keys: Vec<Arc<[u8]>>,
}

impl KeyRing {
    /// The shortest key, in bytes.
    pub const SHORTEST: usize = 32;

    /// A ring of one key. One that is too short is refused by what the ring is given to.
    #[must_use]
    pub fn new(key: impl AsRef<[u8]>) -> Self {
        Self { keys: vec![key.as_ref().into()] }
    }

    /// Adds a key that reads what it once wrote.
    #[must_use]
    pub fn with_old(mut self, key: impl AsRef<[u8]>) -> Self {
        self.keys.push(key.as_ref().into());
        self
    }

    /// A key for one use from each of the ring's.
    pub(crate) fn derive<const N: usize>(&self, usage: &str, context: &[u8]) -> Result<Vec<[u8; N]>, ConfigError> {
        if self.keys.iter().any(|key| key.len() < Self::SHORTEST) {
            return Err(ConfigError::new("a key of the ring is shorter than 32 bytes"));
        }
        let derive = |key: &Arc<[u8]>| {
            let mut derived = [0; N];
            let info = [b"sessile ", usage.as_bytes(), b"\0", context];
            Hkdf::<Sha256>::new(None, key)
                .expand_multi_info(&info, &mut derived)
                .map_err(|_| ConfigError::new("a derived key is too long"))?;
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
