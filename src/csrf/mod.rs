//! Tokens against cross-site request forgery: a page shows one, and a form or a script sends it back.
//!
//! A token is derived from the verifier of the session's secret, so it is bound to the session (NIST SP 800-63B-4,
//! OWASP ASVS 5.0 V3.5.1), costs no storage, and is renewed by whatever renews the secret: `sign_in` and `rotate`. A
//! periodic rotation alone does not renew it, or the forms on pages that are open would break every time.

#[cfg(feature = "axum")]
mod extract;
#[cfg(feature = "axum")]
mod form;
#[cfg(feature = "axum")]
mod layer;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

#[cfg(feature = "axum")]
pub use self::extract::Csrf;
#[cfg(feature = "axum")]
pub use self::form::{CsrfForm, CsrfFormRejection};
#[cfg(feature = "axum")]
pub use self::layer::{CsrfFuture, CsrfLayer, CsrfService};

use crate::error::{Error, ErrorKind};
use crate::session::{Base, Session};
use crate::token::{Verifier, random};

/// A token for the forms and scripts of one page: proof that a request comes from a page that this session was shown.
///
/// It is meant for the page: its [`Display`](fmt::Display) and its [`Serialize`] are the token. Its `Debug` is not.
///
/// Each is masked anew, so that no two pages hold the same one, and an attacker who watches the lengths of compressed
/// pages learns nothing from them (BREACH).
#[derive(Clone)]
pub struct CsrfToken([u8; Self::LENGTH]);

impl CsrfToken {
    /// The length of a token in characters: base64url without padding.
    pub const LENGTH: usize = 86;

    /// The token, as a page shows it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("base64 is ASCII")
    }
}

impl fmt::Display for CsrfToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for CsrfToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CsrfToken(…)")
    }
}

impl Serialize for CsrfToken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// # Cross-site request forgery
impl<M> Session<M> {
    /// A token for this page, to be sent back with what its forms and scripts change.
    ///
    /// A session that is not stored yet is stored now, and a [`rotate`](Session::rotate) or [`sign_in`](Session::sign_in)
    /// of this request is committed first, with all that was written: the token is one of what the client will hold.
    /// Otherwise it costs nothing. It is good until the next [`rotate`](Session::rotate), [`sign_in`](Session::sign_in) or
    /// end of the session; a periodic rotation leaves it as it is.
    ///
    /// ```
    /// # use sessile::{Error, Session};
    /// async fn page(session: Session) -> Result<String, Error> {
    ///     let token = session.csrf_token().await?;
    ///     Ok(format!(r#"<form method="post"><input type="hidden" name="csrf_token" value="{token}">…</form>"#))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`commit`](Session::commit), and [`Superseded`](ErrorKind::Superseded) where the client's token was retired
    /// a moment ago. [`Detached`](ErrorKind::Detached) where a detached session is not stored yet.
    pub async fn csrf_token(&self) -> Result<CsrfToken, Error> {
        if self.prepare_csrf()? {
            self.commit().await?;
        }
        self.csrf_secret().map(|secret| secret.token()).ok_or_else(|| Error::new(ErrorKind::Superseded))
    }

    /// Whether this is a token of this session, as [`csrf_token`](Session::csrf_token) makes them. A session that is not
    /// stored has none.
    ///
    /// `CsrfLayer` and the extractors `Csrf` and `CsrfForm` ask it; call it yourself in a service without axum, and where the
    /// token comes in another way, such as in a multipart form. The secrets are compared in constant time.
    #[must_use]
    pub fn verify_csrf(&self, token: &str) -> bool {
        self.csrf_secret().is_some_and(|secret| secret.made(token))
    }

    /// Whether something must be committed before a token can be shown. Has a new session stored.
    fn prepare_csrf(&self) -> Result<bool, Error> {
        let work = self.request().work();
        work.writable()?;
        match &work.base {
            Base::Live(_) => Ok(work.changes.rotate || work.changes.sign_in.is_some() || work.stalled.is_some()),
            Base::Promised(_) => Err(Error::new(ErrorKind::Detached)),
            Base::Fresh | Base::Retired => {
                drop(work);
                self.request().work_for_write()?.create();
                Ok(true)
            }
        }
    }

    fn csrf_secret(&self) -> Option<CsrfSecret> {
        match &self.request().work().base {
            Base::Live(live) => Some(CsrfSecret::of(live.found.header.secrets.csrf())),
            Base::Fresh | Base::Retired | Base::Promised(_) => None,
        }
    }
}

/// What all tokens of a session hold, under their masks.
struct CsrfSecret([u8; 32]);

impl CsrfSecret {
    fn of(verifier: &Verifier) -> Self {
        let digest = Sha256::new().chain_update(b"sessile csrf token\0").chain_update(verifier.as_bytes());
        Self(digest.finalize().into())
    }

    /// A token with a mask of its own: the mask, and the secret under it.
    fn token(&self) -> CsrfToken {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&random::<32>());
        let (mask, masked) = bytes.split_at_mut(32);
        for ((masked, mask), secret) in masked.iter_mut().zip(mask).zip(&self.0) {
            *masked = *mask ^ secret;
        }
        let mut text = [0; CsrfToken::LENGTH];
        URL_SAFE_NO_PAD.encode_slice(bytes, &mut text).expect("64 bytes are 86 characters");
        CsrfToken(text)
    }

    /// Whether the token is one of this secret's. Compares in constant time.
    fn made(&self, token: &str) -> bool {
        if token.len() != CsrfToken::LENGTH {
            return false;
        }
        // The decoder asks for room for a whole last group.
        let mut bytes = [0; 66];
        if URL_SAFE_NO_PAD.decode_slice(token, &mut bytes) != Ok(64) {
            return false;
        }
        let mut secret = [0; 32];
        for (at, byte) in secret.iter_mut().enumerate() {
            *byte = bytes[at] ^ bytes[32 + at];
        }
        secret.ct_eq(&self.0).into()
    }
}
