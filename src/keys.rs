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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

    use std::collections::BTreeSet;

    use super::*;

    /// Every use, context and key of the ring gets other bytes.
    #[test]
    fn each_use_and_context_has_its_own_key() {
        let ring = KeyRing::new([1; 32]).unwrap().add_old_key([2; 32]).unwrap();
        let uses: [(&str, &[u8]); 8] = [
            ("signed cookie", b"__Host-id"),
            ("signed cookie", b"__Host-admin"),
            ("private cookie", b"__Host-id"),
            ("private cookie", b"__Host-admin"),
            ("sealed record", b""),
            ("sealed record", b"__Host-id"),
            ("sealed record, name of the key", b""),
            // The end of a use is not the start of its context.
            ("sealed", b" record"),
        ];
        // A short key is the start of a long one of the same use, so even the starts differ.
        let keys = uses.iter().flat_map(|(usage, context)| ring.derive::<4>(usage, context).unwrap());
        assert_eq!(keys.collect::<BTreeSet<_>>().len(), 16);
    }

    /// The derived keys stay those under which records and cookies were written.
    #[test]
    fn a_derived_key_has_known_bytes() {
        let ring = KeyRing::new([1; 32]).unwrap();
        let keys = [
            ring.derive::<8>("signed cookie", b"__Host-id"),
            ring.derive::<8>("private cookie", b"__Host-id"),
            ring.derive::<8>("sealed record", b""),
            ring.derive::<8>("sealed record, name of the key", b""),
        ];
        let keys = keys.map(|keys| u64::from_be_bytes(keys.unwrap()[0]));
        assert_eq!(keys, [0x0ef1_e933_b752_25ad, 0x46c3_6ea0_f6b4_c423, 0x51c7_ac0e_8f95_b969, 0x0ff4_9088_1ed9_c60e,]);
    }
}
