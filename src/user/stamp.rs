//! The stamp of a user's credentials.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The state of a user's credentials, kept in each session from the sign-in on.
///
/// Another stamp, compared in constant time, means that the password or another credential has changed since.
#[derive(Clone, Eq, Serialize, Deserialize)]
pub struct Stamp(String);

impl Stamp {
    /// Returns the stamp of an application that keeps none. It is also that of a session that
    /// [`Session::sign_in`](crate::Session::sign_in) has signed in.
    #[must_use]
    pub const fn none() -> Self {
        Self(String::new())
    }

    /// Creates a stamp from a number that is another after each change of the credentials, such as the time of the change.
    ///
    /// A number that can be told in advance, such as a count, is the same for two changes of which one failed: prefer
    /// [`from_password_hash`](Self::from_password_hash), whose salt makes each change another.
    #[must_use]
    pub fn from_version(version: u64) -> Self {
        Self(version.to_string())
    }

    /// Creates a stamp from the user's password hash, with its salt, so that the application needs no number.
    ///
    /// The session gets a SHA-256 that is keyed with `key`, never the hash itself. The key is a secret of at least 16 bytes that all
    /// nodes share; another key signs every user out.
    #[must_use]
    pub fn from_password_hash(key: &[u8], hash: &[u8]) -> Self {
        // The inner digest has a fixed length, so the key cannot be taken for a part of the hash (as in HMAC, RFC 2104).
        let keyed = |part: &[u8], rest: &[u8]| Sha256::new().chain_update(part).chain_update(rest).finalize();
        let inner = keyed(b"sessile stamp\0", hash);
        let key = keyed(b"sessile stamp key\0", key);
        let mut text = [0; 43];
        URL_SAFE_NO_PAD.encode_slice(keyed(&key, &inner), &mut text).expect("32 bytes are 43 characters");
        Self(String::from_utf8_lossy(&text).into_owned())
    }
}

/// Takes constant time, apart from the length.
impl PartialEq for Stamp {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stamp(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stamp depends on key and hash, and contains neither.
    #[test]
    fn a_stamp_depends_on_key_and_hash() {
        let hash = b"$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA";
        let stamp = Stamp::from_password_hash(b"a key of 16 byte", hash);
        assert!(stamp == Stamp::from_password_hash(b"a key of 16 byte", hash));
        for other in [
            Stamp::from_password_hash(b"another key, too", hash),
            Stamp::from_password_hash(b"a key of 16 byte", b"$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$b3RoZXI"),
            Stamp::from_version(0),
            Stamp::none(),
        ] {
            assert!(stamp != other);
        }
        assert_eq!(stamp.0.len(), 43);
        assert_eq!(format!("{stamp:?}"), "Stamp(…)");
    }
}
