//! A session's public name, and the secret that opens it.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::base64url;
use crate::clock::Timestamp;

/// The public name of a session: a UUIDv7.
///
/// It may be logged, listed and used as a primary key: it is ordered by time of creation, and knowing it opens
/// nothing. What opens a session is its [`Token`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
// Moved by whole words: bytes of no alignment are moved in pieces that overlap, and each waits for the one before.
#[repr(align(8))]
pub struct SessionId(Uuid);

impl SessionId {
    /// A new id, with 74 random bits after the time.
    pub(crate) fn generate(now: Timestamp) -> Self {
        Self::from_random(now, &random())
    }

    fn from_random(now: Timestamp, random: &[u8; 10]) -> Self {
        let millis = u64::try_from(now.milliseconds()).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, random).into_uuid())
    }

    /// The id of what is kept under a string key; never equal to a session's.
    pub(crate) fn of_key(key: &str) -> Self {
        let digest: [u8; 32] = Sha256::new().chain_update(b"sessile string key\0").chain_update(key).finalize().into();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// The id as a UUID, for a store's primary key.
    #[must_use]
    pub const fn as_uuid(&self) -> &Uuid {
        &self.0
    }

    /// When the session was created, to the millisecond; `None` for the id of a string key.
    #[must_use]
    pub fn created_at(&self) -> Option<OffsetDateTime> {
        let (seconds, nanos) = self.0.get_timestamp()?.to_unix();
        let at = OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).ok()?).ok()?;
        at.replace_nanosecond(nanos).ok()
    }
}

impl Hash for SessionId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The low half holds 62 random bits: enough, and half the work.
        state.write_u64(self.0.as_u64_pair().1);
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({})", self.0)
    }
}

impl FromStr for SessionId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl From<Uuid> for SessionId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl From<SessionId> for Uuid {
    fn from(id: SessionId) -> Self {
        id.0
    }
}

/// What a client presents to open a session: its [`SessionId`] and a 128-bit secret from the operating
/// system's generator (OWASP ASVS 5.0 V7.2.3).
///
/// It is never stored, its `Debug` shows the id alone, and it has no `Display`.
#[derive(Clone)]
pub struct Token {
    id: SessionId,
    secret: Secret,
}

impl Token {
    /// The length of a token in characters.
    pub const LENGTH: usize = 43;

    /// A new id and a new secret, of one call to the operating system's generator.
    pub(crate) fn generate(now: Timestamp) -> Self {
        let mut bytes = random::<26>();
        let mut secret = [0; 16];
        secret.copy_from_slice(&bytes[10..]);
        let id = bytes.first_chunk_mut().expect("there are more than ten");
        Self::new(SessionId::from_random(now, id), Secret(secret))
    }

    pub(crate) const fn new(id: SessionId, secret: Secret) -> Self {
        Self { id, secret }
    }

    /// Reads a token, strictly: 43 characters of base64url without padding, in canonical form, around a
    /// UUIDv7. Anything else is `None`.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let bytes = base64url::decode(text.try_into().ok()?)?;
        let id = Uuid::from_bytes(*bytes.first_chunk()?);
        let secret = *bytes[16..].first_chunk()?;
        let well_formed = id.get_version_num() == 7 && id.get_variant() == uuid::Variant::RFC4122;
        well_formed.then_some(Self { id: SessionId(id), secret: Secret(secret) })
    }

    /// The session that this token names.
    #[must_use]
    pub const fn id(&self) -> SessionId {
        self.id
    }

    /// The token as the cookie carries it. Whoever holds it holds the session.
    #[must_use]
    pub fn expose_secret(&self) -> String {
        let mut text = String::with_capacity(Self::LENGTH);
        self.write_to(&mut text);
        text
    }

    pub(crate) fn write_to(&self, text: &mut String) {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(self.id.0.as_bytes());
        bytes[16..].copy_from_slice(&self.secret.0);
        let encoded = base64url::encode(&bytes);
        text.push_str(std::str::from_utf8(&encoded).expect("base64 is ASCII"));
    }

    pub(crate) const fn secret(&self) -> &Secret {
        &self.secret
    }

    pub(crate) fn verifier(&self) -> Verifier {
        self.secret.verifier()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The half of a token that is worth stealing.
#[derive(Clone)]
#[repr(align(8))]
pub(crate) struct Secret([u8; 16]);

impl Secret {
    pub(crate) fn generate() -> Self {
        Self(random())
    }

    /// The SHA-256 of the secret: a single block, which is compressed here without the buffer that a hash of any length needs. Nearly
    /// every request does it.
    pub(crate) fn verifier(&self) -> Verifier {
        // FIPS 180-4 §5.3.3, and §5.1.1: a one after the message, and its length in bits at the end.
        let mut state: [u32; 8] =
            [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
        let mut block = [0; 64];
        block[..16].copy_from_slice(&self.0);
        block[16] = 0x80;
        block[63] = 128;
        sha2::block_api::compress256(&mut state, &[block]);
        let mut digest = [0; 32];
        let (words, _) = digest.as_chunks_mut();
        for (bytes, word) in words.iter_mut().zip(state) {
            *bytes = word.to_be_bytes();
        }
        Verifier(digest)
    }
}

#[cfg(feature = "migrate")]
impl Secret {
    pub(crate) const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The SHA-256 of a secret: all that a record keeps of it.
#[derive(Clone, Copy)]
#[repr(align(8))]
pub(crate) struct Verifier([u8; 32]);

impl Verifier {
    pub(crate) const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Compares in constant time.
    pub(crate) fn matches(&self, other: &Self) -> bool {
        self.words().ct_eq(&other.words()).into()
    }

    /// By words, a comparison takes an eighth of what it takes by bytes.
    fn words(&self) -> [u64; 4] {
        let (words, _) = self.0.as_chunks();
        std::array::from_fn(|at| u64::from_ne_bytes(words[at]))
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(…)")
    }
}

/// Bytes of the operating system's generator.
///
/// # Panics
///
/// Where the system has no randomness to give there can be no session worth the name.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system's random generator works");
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_verifier_is_the_sha_256_of_its_secret(secret: [u8; 16]) {
            let digest: [u8; 32] = Sha256::digest(secret).into();
            prop_assert_eq!(*Secret(secret).verifier().as_bytes(), digest);
        }
    }
}
