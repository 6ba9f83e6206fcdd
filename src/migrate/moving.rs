//! The move of an old session to a new one.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{COOKIE, HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tower_cookies::cookie::Cookie;

use super::{LegacySession, LegacySessions};
use crate::clock::Timestamp;
use crate::error::{Error, StoreError, StoreErrorKind};
use crate::event::EventKind;
use crate::request::RequestSession;
use crate::sessions::Sessions;
use crate::token::{Secret, SessionId, Token};
use crate::transient::Transient;
use crate::transport::{CookieCipher, has_prefix};

/// Minimum lifetime of the note that a session was moved.
const MIN_NOTE_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

type Convert = dyn Fn(&mut LegacySession) -> Result<(), Error> + Send + Sync;
type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) legacy: Arc<dyn ErasedLegacy>,
    /// The old cookie, with the scope that its removal needs.
    pub(super) cookie: Cookie<'static>,
    /// Verifies or decrypts the old cookie.
    pub(super) cipher: Option<CookieCipher>,
    pub(super) convert: Arc<Convert>,
}

/// Object-safe twin of [`LegacySessions`].
pub(super) trait ErasedLegacy: Send + Sync {
    fn load<'a>(&'a self, cookie: &'a str) -> Answer<'a, Option<LegacySession>>;
    fn delete<'a>(&'a self, cookie: &'a str) -> Answer<'a, ()>;
}

impl<L: LegacySessions> ErasedLegacy for L {
    fn load<'a>(&'a self, cookie: &'a str) -> Answer<'a, Option<LegacySession>> {
        Box::pin(LegacySessions::load(self, cookie))
    }

    fn delete<'a>(&'a self, cookie: &'a str) -> Answer<'a, ()> {
        Box::pin(LegacySessions::delete(self, cookie))
    }
}

impl Settings {
    /// Returns the value of the old cookie, decoded. If two differ, neither is used: one may have been planted.
    pub(super) fn old_cookie(&self, headers: &HeaderMap) -> Option<String> {
        let headers = headers.get_all(COOKIE).iter().filter_map(|header| header.to_str().ok());
        let cookies = headers.flat_map(Cookie::split_parse).filter_map(Result::ok);
        let mut values = cookies.filter(|cookie| cookie.name() == self.cookie.name());
        let first = values.next()?;
        let only = values.all(|other| other.value() == first.value());
        match &self.cipher {
            _ if !only => None,
            None => Some(first.value().to_owned()),
            Some(cipher) => Some(cipher.decode(self.cookie.name(), first.value().as_bytes())?.value),
        }
    }

    /// Returns the `Set-Cookie` header that removes the old cookie.
    pub(super) fn removal(&self) -> HeaderValue {
        let mut cookie = self.cookie.clone();
        cookie.make_removal();
        // User agents ignore a cookie whose name has a prefix and that lacks its attributes.
        if has_prefix(cookie.name()) {
            cookie.set_secure(true);
            cookie.set_http_only(true);
        }
        HeaderValue::try_from(cookie.to_string()).expect("the setters have refused invalid characters")
    }

    /// Gives the request the new session of its old cookie; returns whether it has one.
    pub(super) async fn take_over(&self, request: &RequestSession, old: &str) -> Result<bool, Error> {
        let config = request.shared_config();
        let notes = Transient::from_config(config);
        if let Some(note) = notes.get::<Note>(&Note::key(old)).await? {
            // The request that wrote the note may have been dropped before it deleted the old record.
            self.legacy.delete(old).await?;
            return request.adopt(note.token(old)).await;
        }
        let legacy = match self.legacy.load(old).await {
            Ok(legacy) => legacy,
            Err(error) if error.kind() == StoreErrorKind::Corrupt => {
                config.events.raise_failure(EventKind::Corrupt, None, &error);
                return Ok(false);
            }
            Err(error) => {
                config.events.raise_failure(EventKind::StoreFailed, None, &error);
                return Err(error.into());
            }
        };
        let Some(mut legacy) = legacy else {
            // Another request has moved the session since the first look, or the cookie is unknown.
            return match notes.get::<Note>(&Note::key(old)).await? {
                Some(note) => request.adopt(note.token(old)).await,
                None => Ok(false),
            };
        };
        (self.convert)(&mut legacy).map_err(log_conversion)?;
        let token = self.move_once(request, legacy, old, &notes).await?;
        self.legacy.delete(old).await?;
        request.adopt(token).await
    }

    /// Ends the session of an old cookie, for a request that signs out of the session of its new cookie.
    pub(super) async fn end(&self, request: &RequestSession, old: &str) -> Result<(), Error> {
        let config = request.shared_config();
        if let Some(note) = Transient::from_config(config).get::<Note>(&Note::key(old)).await?
            && !request.is_ending(&note.id)
        {
            Sessions::from_config(Arc::clone(config)).end(&note.id).await?;
        }
        Ok(self.legacy.delete(old).await?)
    }

    /// Creates the new session and its note. If another request was faster, returns the token of that request's session.
    ///
    /// The caller deletes the old record only after this, so that the record or the note can be found at any time.
    async fn move_once(
        &self,
        request: &RequestSession,
        legacy: LegacySession,
        old: &str,
        notes: &Transient,
    ) -> Result<Token, Error> {
        let config = request.shared_config();
        let sessions = Sessions::from_config(Arc::clone(config));
        let left = Timestamp::from(legacy.expires_at()).since(config.clock.now());
        let owner = legacy.owner().map(|(owner, at)| (owner, at.into()));
        let (id, token) = sessions.create_with_frames(owner, legacy.frames()?).await?;
        if notes.set_new(&Note::key(old), &Note::of(&token, old), left.max(MIN_NOTE_LIFETIME)).await? {
            return Ok(token);
        }
        sessions.end(&id).await?;
        let note = notes.get::<Note>(&Note::key(old)).await?;
        let lost = || StoreError::unavailable("the note of a moved session has expired; retry the request");
        Ok(note.ok_or_else(lost)?.token(old))
    }
}

/// Note of a moved session: its new id and its masked secret, under a hash of the old cookie.
///
/// The mask is another hash of the old cookie, which has at least 64 random bits, masks one secret, and is stored nowhere
/// after the move. Read access to the note reveals no token.
#[derive(Serialize, Deserialize)]
struct Note {
    id: SessionId,
    masked: [u8; 16],
}

impl Note {
    fn key(old: &str) -> String {
        format!("moved:{old}")
    }

    fn of(token: &Token, old: &str) -> Self {
        Self { id: token.id(), masked: Self::mask(*token.secret().as_bytes(), old) }
    }

    fn token(&self, old: &str) -> Token {
        Token::new(self.id, Secret::from_bytes(Self::mask(self.masked, old)))
    }

    fn mask(mut bytes: [u8; 16], old: &str) -> [u8; 16] {
        let mask = Sha256::new().chain_update(b"sessile migration mask\0").chain_update(old).finalize();
        for (byte, mask) in bytes.iter_mut().zip(mask) {
            *byte ^= mask;
        }
        bytes
    }
}

#[cfg(feature = "tracing")]
fn log_conversion(error: Error) -> Error {
    tracing::error!(
        error = &error as &dyn std::error::Error,
        "the conversion of an old session failed: the session stays in the old store and the client gets a 500"
    );
    error.into_logged()
}

#[cfg(not(feature = "tracing"))]
fn log_conversion(error: Error) -> Error {
    error.into_logged()
}
