//! How an old session becomes a new one, once.

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

/// How long it is remembered at least that a session was moved.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

type Convert = dyn Fn(&mut LegacySession) -> Result<(), Error> + Send + Sync;
type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) legacy: Arc<dyn ErasedLegacy>,
    /// The old cookie, with the scope by which it is removed.
    pub(super) cookie: Cookie<'static>,
    pub(super) convert: Arc<Convert>,
}

/// The object-safe twin of [`LegacySessions`].
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
    /// The value of the old cookie. Two different ones are none: there is no telling which is whose.
    pub(super) fn old_cookie(&self, headers: &HeaderMap) -> Option<String> {
        let headers = headers.get_all(COOKIE).iter().filter_map(|header| header.to_str().ok());
        let cookies = headers.flat_map(Cookie::split_parse).filter_map(Result::ok);
        let mut values = cookies.filter(|cookie| cookie.name() == self.cookie.name());
        let first = values.next()?;
        let only = values.all(|other| other.value() == first.value());
        only.then(|| first.value().to_owned())
    }

    /// `Set-Cookie` that removes the old cookie.
    pub(super) fn removal(&self) -> Option<HeaderValue> {
        let mut cookie = self.cookie.clone();
        cookie.make_removal();
        HeaderValue::try_from(cookie.to_string()).ok()
    }

    /// Gives a request the session that its old cookie's has become; says whether there is one.
    pub(super) async fn take_over(&self, request: &RequestSession, old: &str) -> Result<bool, Error> {
        let config = request.shared_config();
        let notes = Transient::from_config(config);
        if let Some(note) = notes.get::<Note>(&Note::key(old)).await? {
            // Whoever wrote the note may not have got to the deletion.
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
            // It was moved since the note was looked for, or there never was one.
            return match notes.get::<Note>(&Note::key(old)).await? {
                Some(note) => request.adopt(note.token(old)).await,
                None => Ok(false),
            };
        };
        (self.convert)(&mut legacy).inspect_err(log_conversion)?;
        let token = self.move_once(request, legacy, old, &notes).await?;
        self.legacy.delete(old).await?;
        request.adopt(token).await
    }

    /// Makes the new session and notes that it is the one, unless another request was quicker: then it is that one's.
    ///
    /// The old record is deleted after the note is there, so that at every moment one of the two can be found.
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
        if notes.set_new(&Note::key(old), &Note::of(&token, old), left.max(DAY)).await? {
            return Ok(token);
        }
        sessions.end(&id).await?;
        let note = notes.get::<Note>(&Note::key(old)).await?;
        let lost = || StoreError::unavailable("the note that a session was moved is gone");
        Ok(note.ok_or_else(lost)?.token(old))
    }
}

/// What an old session has become: kept under a hash of the old cookie, the secret masked by another.
///
/// The old cookie has at least as many random bits as are asked of it, masks one secret, and is stored nowhere after the move:
/// who reads the note learns no token.
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
fn log_conversion(error: &Error) {
    let error: &dyn std::error::Error = error;
    tracing::error!(error, "the conversion of an old session failed: it stays where it is, and the client is told 500");
}

#[cfg(not(feature = "tracing"))]
fn log_conversion(_: &Error) {}
