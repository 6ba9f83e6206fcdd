//! Session ids, and the tokens that open sessions.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::clock::Timestamp;

/// Public identifier of a session: a UUIDv7.
///
/// An id may be logged, listed and used as a primary key. Ids sort by creation time. An id alone does not open its
/// session: that takes the [`Token`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(Uuid);

impl SessionId {
    /// Creates an id: the time, then 74 random bits.
    pub(crate) fn generate(now: Timestamp) -> Self {
        Self::from_random(now, &random())
    }

    fn from_random(now: Timestamp, random: &[u8; 10]) -> Self {
        let millis = u64::try_from(now.milliseconds()).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, random).into_uuid())
    }

    /// Returns the id of a value under a string key, a UUIDv8: no session has it.
    pub(crate) fn from_string_key(key: &str) -> Self {
        let digest: [u8; 32] = Sha256::new().chain_update(b"sessile string key\0").chain_update(key).finalize().into();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// Returns the id as a UUID, for a store's primary key.
    #[must_use]
    pub const fn as_uuid(&self) -> &Uuid {
        &self.0
    }

    /// Returns the creation time, to the millisecond.
    ///
    /// Returns `None` if the id belongs to a value of [`Transient`](crate::Transient).
    #[must_use]
    pub fn created_at(&self) -> Option<OffsetDateTime> {
        let (seconds, nanos) = self.0.get_timestamp()?.to_unix();
        let at = OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).ok()?).ok()?;
        at.replace_nanosecond(nanos).ok()
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

/// Credential of a client: a [`SessionId`] and a secret of 128 bits.
///
/// The secret comes from the operating system's random generator (OWASP ASVS 5.0 V7.2.3). A store keeps only the
/// SHA-256 of the secret. `Debug` shows the id alone, and there is no `Display`.
#[derive(Clone)]
pub struct Token {
    id: SessionId,
    secret: Secret,
}

impl Token {
    /// Length of an encoded token, in characters.
    pub const LENGTH: usize = 43;

    /// Creates a token for a new session.
    pub(crate) fn generate(now: Timestamp) -> Self {
        // One call for both: a system call is the most expensive step of creating a session.
        let bytes = random::<26>();
        let (id, secret) = bytes.split_first_chunk().expect("26 bytes are more than 10");
        let secret = secret.try_into().expect("16 bytes remain");
        Self::new(SessionId::from_random(now, id), Secret(secret))
    }

    pub(crate) const fn new(id: SessionId, secret: Secret) -> Self {
        Self { id, secret }
    }

    /// Parses a token as [`expose_secret`](Token::expose_secret) writes it.
    ///
    /// Returns `None` unless the text is 43 characters of base64url without padding, in canonical form (RFC 4648 §3.5),
    /// and the id in it is a UUIDv7.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() != Self::LENGTH {
            return None;
        }
        // The decoder asks for the space of a whole last group.
        let mut bytes = [0; 33];
        URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        let id = Uuid::from_bytes(*bytes.first_chunk()?);
        let secret = *bytes[16..].first_chunk()?;
        let is_v7 = id.get_version_num() == 7 && id.get_variant() == uuid::Variant::RFC4122;
        is_v7.then_some(Self { id: SessionId(id), secret: Secret(secret) })
    }

    /// Returns the id of the session that the token opens.
    #[must_use]
    pub const fn id(&self) -> SessionId {
        self.id
    }

    /// Returns the token in the encoding of the session cookie.
    ///
    /// The text opens the session: keep it out of logs and pages.
    #[must_use]
    pub fn expose_secret(&self) -> String {
        let mut text = String::with_capacity(Self::LENGTH);
        self.write_to(&mut text);
        text
    }

    /// Appends the token to `text` in the encoding of the session cookie.
    pub(crate) fn write_to(&self, text: &mut String) {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(self.id.0.as_bytes());
        bytes[16..].copy_from_slice(&self.secret.0);
        let mut encoded = [0; Self::LENGTH];
        URL_SAFE_NO_PAD.encode_slice(bytes, &mut encoded).expect("32 bytes encode to 43 characters");
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

/// Secret half of a token.
#[derive(Clone)]
pub(crate) struct Secret([u8; 16]);

impl Secret {
    pub(crate) fn generate() -> Self {
        Self(random())
    }

    /// Returns the SHA-256 of the secret.
    pub(crate) fn verifier(&self) -> Verifier {
        Verifier(Sha256::digest(self.0).into())
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

/// SHA-256 of a secret, the only part of a token that records hold.
#[derive(Clone, Copy)]
pub(crate) struct Verifier([u8; 32]);

impl Verifier {
    pub(crate) const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the bytes in words, which compare in a fraction of the time of bytes.
    fn words(&self) -> [u64; 4] {
        let (words, _) = self.0.as_chunks();
        std::array::from_fn(|place| u64::from_ne_bytes(words[place]))
    }

    /// Compares two verifiers in constant time.
    pub(crate) fn matches(&self, other: &Self) -> bool {
        self.words().ct_eq(&other.words()).into()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(…)")
    }
}

/// Returns bytes from the operating system's random generator.
///
/// Never from a generator of this process: a fork or a restored machine snapshot would repeat its output, and with it the
/// secrets of other clients.
///
/// # Panics
///
/// Panics if the generator fails, since no secret can be created without it.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system's random generator works");
    bytes
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// A token of these bytes, with the version and the variant of a UUIDv7.
    fn token(mut bytes: [u8; 32]) -> Token {
        bytes[6] = bytes[6] & 0x0f | 0x70;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let (id, secret) = bytes.split_first_chunk().expect("32 bytes are more than 16");
        Token::new(Uuid::from_bytes(*id).into(), Secret(secret.try_into().expect("16 bytes remain")))
    }

    pub(crate) fn any_token() -> impl Strategy<Value = Token> {
        any::<[u8; 32]>().prop_map(token)
    }

    /// Tokens with a wrong character or a wrong length, and texts that have the length or the characters of a token.
    pub(crate) fn near_token() -> impl Strategy<Value = Vec<u8>> {
        let damaged = (any_token(), 0..Token::LENGTH, any::<u8>()).prop_map(|(token, place, byte)| {
            let mut text = token.expose_secret().into_bytes();
            text[place] = byte;
            text
        });
        let cut = (any_token(), 0..60usize)
            .prop_map(|(token, length)| token.expose_secret().repeat(2).into_bytes()[..length].to_vec());
        let encoded = any::<[u8; 32]>().prop_map(|bytes| URL_SAFE_NO_PAD.encode(bytes).into_bytes());
        let characters = "[A-Za-z0-9_-]{40,45}".prop_map(String::into_bytes);
        prop_oneof![damaged, cut, encoded, characters, vec(any::<u8>(), 0..100)]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 512, ..ProptestConfig::default() })]

        /// The encoding is base64url of the id and the secret.
        #[test]
        fn a_token_parses_as_it_was_written(token in any_token()) {
            let bytes = [token.id.0.as_bytes(), &token.secret.0[..]].concat();
            let text = token.expose_secret();
            prop_assert_eq!(&text, &URL_SAFE_NO_PAD.encode(bytes));
            prop_assert_eq!(text.len(), Token::LENGTH);
            let parsed = Token::parse(text.as_bytes()).expect("a written token is well-formed");
            prop_assert_eq!(parsed.id(), token.id());
            prop_assert_eq!(parsed.secret().0, token.secret().0);
        }

        /// A parsed text is exactly the encoding of the token, so that no token has two encodings.
        #[test]
        fn a_token_has_one_encoding(text in near_token()) {
            if let Some(token) = Token::parse(&text) {
                prop_assert_eq!(token.expose_secret().into_bytes(), text);
            }
        }

        /// An id of another version or variant is refused.
        #[test]
        fn a_token_holds_a_uuid_of_version_7(bytes: [u8; 32]) {
            let is_v7 = bytes[6] >> 4 == 7 && bytes[8] >> 6 == 0b10;
            prop_assert_eq!(Token::parse(URL_SAFE_NO_PAD.encode(bytes).as_bytes()).is_some(), is_v7);
        }

        /// Neither the token nor its secret half appears in `Debug` output.
        #[test]
        fn debug_output_does_not_contain_the_secret(token in any_token()) {
            let (text, shown) = (token.expose_secret(), format!("{token:?} {token:#?}"));
            prop_assert!(!shown.contains(&text) && !shown.contains(&text[22..]), "{}", shown);
        }
    }

    /// Replaces each character by every other byte: the text is refused, or it is another token.
    #[test]
    fn one_changed_character_makes_another_token_or_none() {
        let original = token([0x5a; 32]);
        let text = original.expose_secret().into_bytes();
        for place in 0..Token::LENGTH {
            let mut parsed = 0;
            for byte in (0..=u8::MAX).filter(|byte| *byte != text[place]) {
                let mut changed = text.clone();
                changed[place] = byte;
                let Some(other) = Token::parse(&changed) else { continue };
                parsed += 1;
                assert_eq!(other.expose_secret().into_bytes(), changed);
                assert!(other.id() != original.id() || !other.verifier().matches(&original.verifier()));
            }
            // Of the six bits of a character, the version takes four, the variant two, and the last two are zero.
            let expected = match place {
                8 => 3,
                10 | 42 => 15,
                _ => 63,
            };
            assert_eq!(parsed, expected, "character {place}");
        }
    }

    /// The verifier is a plain SHA-256, as records of earlier processes hold it.
    #[test]
    fn a_verifier_is_the_sha_256_of_its_secret() {
        let digest = Secret([0; 16]).verifier().0.map(|byte| format!("{byte:02x}")).concat();
        assert_eq!(digest, "374708fff7719dd5979ec875d56cd2286f6d3cf7ec317a3b25632aab28ec37bb");
    }
}
