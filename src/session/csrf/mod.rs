//! Tokens against cross-site request forgery (CSRF): a page contains one, and its forms and scripts send it back.
//!
//! A token is derived from the verifier of the session's secret. So it is bound to the session (NIST SP 800-63B-4, OWASP ASVS
//! 5.0 V3.5.1), needs no storage, and changes with `sign_in` and `rotate`. A refresh keeps it, since the forms of open pages
//! would fail otherwise.

#[cfg(feature = "axum")]
mod extract;
#[cfg(feature = "axum")]
mod form;
#[cfg(feature = "axum")]
mod layer;
#[cfg(feature = "axum")]
mod origin;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

#[cfg(feature = "axum")]
pub use self::extract::Csrf;
#[cfg(feature = "axum")]
pub use self::form::{CsrfForm, CsrfFormFor};
#[cfg(feature = "axum")]
pub use self::layer::{CsrfFuture, CsrfLayer, CsrfService};
#[cfg(feature = "axum")]
pub use self::origin::SameOrigin;

use super::Session;
use crate::commit::SessionSource;
use crate::error::{Error, ErrorKind};
#[cfg(feature = "axum")]
use crate::event::EventKind;
use crate::token::{Verifier, random};
#[cfg(feature = "axum")]
use crate::transport::TokenLocation;

/// A CSRF token for the forms and scripts of one page.
///
/// [`Display`](fmt::Display) and [`Serialize`] write the token into the page; `Debug` hides it. Each token has its own mask,
/// so that the lengths of compressed pages reveal nothing about it (BREACH).
#[derive(Clone)]
pub struct CsrfToken([u8; Self::LENGTH]);

impl CsrfToken {
    /// Length of a token in characters of base64url without padding.
    pub const LENGTH: usize = 86;

    /// Returns the token as a page contains it.
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
    /// Returns a token for this page, whose forms and scripts send it back.
    ///
    /// A session that is not stored yet is stored now. A [`rotate`](Session::rotate) or [`sign_in`](Session::sign_in) of this
    /// request is committed first, with all changes, so that the token matches the cookie that the client will have. Otherwise
    /// the call costs nothing. The token is valid until the next `rotate` or `sign_in`, or the end of the session; a refresh
    /// keeps it.
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
    /// Those of [`commit`](Session::commit), [`Superseded`](ErrorKind::Superseded) if the client's session token was retired
    /// within the last 30 seconds, and [`Detached`](ErrorKind::Detached) if a detached session is not stored yet.
    pub async fn csrf_token(&self) -> Result<CsrfToken, Error> {
        if self.prepare_csrf()? {
            self.commit().await?;
        }
        self.csrf_secret().map(|secret| secret.token()).ok_or_else(|| Error::new(ErrorKind::Superseded))
    }

    /// Checks whether `token` is a [`csrf_token`](Session::csrf_token) of this session, in constant time.
    ///
    /// `CsrfLayer` and the extractors `Csrf` and `CsrfForm` call it. Call it yourself in a service without axum, and for tokens
    /// that arrive in another way, such as in a multipart form. A session that is not stored has no token.
    #[must_use]
    pub fn verify_csrf(&self, token: &str) -> bool {
        self.csrf_secret().is_some_and(|secret| secret.matches(token))
    }

    /// Checks whether a commit must come first; makes it store a new session.
    fn prepare_csrf(&self) -> Result<bool, Error> {
        let state = self.request().state();
        if !matches!(state.source, SessionSource::Ended(_)) {
            state.check_writable()?;
        }
        match &state.source {
            SessionSource::Loaded(_) => {
                Ok(state.changes.rotate || state.changes.sign_in.is_some() || state.interrupted.is_some())
            }
            SessionSource::Promised(_) => Err(Error::new(ErrorKind::Detached)),
            // The form is for a sign-in, or for a sign-out that was sent twice: no other write can follow.
            SessionSource::Ended(_) => Ok(false),
            SessionSource::New | SessionSource::Retired(_) => {
                drop(state);
                self.request().state_for_write()?.create();
                Ok(true)
            }
        }
    }

    fn csrf_secret(&self) -> Option<CsrfSecret> {
        let state = self.request().state();
        let loaded = match &state.source {
            SessionSource::Ended(mark) => Some(mark),
            source => source.loaded(),
        };
        loaded.map(|loaded| CsrfSecret::new(loaded.header.secrets.csrf()))
    }

    /// Returns an error, and raises an event, unless `token` is a token of this session.
    #[cfg(feature = "axum")]
    fn check_csrf(&self, token: Option<&str>) -> Result<(), Error> {
        // A browser does not add a header with a session token by itself.
        if self.request().token_location() == TokenLocation::Header
            || token.is_some_and(|token| self.verify_csrf(token))
        {
            return Ok(());
        }
        if matches!(self.request().state().source, SessionSource::Retired(_)) {
            // The client has a newer cookie, or will have it.
            return Err(Error::new(ErrorKind::Superseded));
        }
        self.request().config().events.raise(EventKind::CsrfRefused, self.id());
        Err(Error::new(ErrorKind::CsrfRefused))
    }
}

/// The secret that all CSRF tokens of a session contain, under their masks.
struct CsrfSecret([u8; 32]);

impl CsrfSecret {
    fn new(verifier: &Verifier) -> Self {
        let digest = Sha256::new().chain_update(b"sessile csrf token\0").chain_update(verifier.as_bytes());
        Self(digest.finalize().into())
    }

    /// Creates a token: a new mask, and the masked secret.
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

    /// Checks whether a token contains this secret, in constant time.
    fn matches(&self, token: &str) -> bool {
        if token.len() != CsrfToken::LENGTH {
            return false;
        }
        // The decoder needs room for a complete last group.
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
