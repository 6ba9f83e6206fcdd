//! Extractors for axum.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::request::Parts;

use crate::error::{Error, ErrorKind};
use crate::session::{Session, SessionHandle};

/// Loads the session. A client that has none is given a new one, which is stored once something is written to it.
///
/// Rejects with 503 where the store fails, and with 500 where no layer of this marker is around the handler.
impl<S: Sync, M: 'static> FromRequestParts<S> for Session<M> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        handle(parts)?.load().await
    }
}

/// Loads the session, and is `None` where the client has no live one.
///
/// Rejects as [`Session`] does.
impl<S: Sync, M: 'static> OptionalFromRequestParts<S> for Session<M> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Error> {
        let session: Self = handle(parts)?.load().await?;
        Ok((!session.is_new()).then_some(session))
    }
}

/// The handle, not loaded: for a handler that uses the session on some of its ways only.
///
/// Rejects with 500 where no layer of this marker is around the handler.
impl<S: Sync, M: 'static> FromRequestParts<S> for SessionHandle<M> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        handle(parts).cloned()
    }
}

/// A session that somebody has signed in to; it derefs to [`Session`].
///
/// Rejects with 401 where nobody has, and otherwise as [`Session`] does.
///
/// ```
/// use sessile::SignedIn;
///
/// async fn hello(user: SignedIn) -> String {
///     format!("hello, {}", user.owner())
/// }
/// ```
pub struct SignedIn<M = ()> {
    session: Session<M>,
    owner: Arc<str>,
}

impl<M> SignedIn<M> {
    /// Who is signed in.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The session.
    #[must_use]
    pub const fn session(&self) -> &Session<M> {
        &self.session
    }
}

impl<M> Deref for SignedIn<M> {
    type Target = Session<M>;

    fn deref(&self) -> &Session<M> {
        &self.session
    }
}

impl<M> Clone for SignedIn<M> {
    fn clone(&self) -> Self {
        Self { session: self.session.clone(), owner: Arc::clone(&self.owner) }
    }
}

impl<M> fmt::Debug for SignedIn<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SignedIn").field(&self.session).finish()
    }
}

impl<S: Sync, M: 'static> FromRequestParts<S> for SignedIn<M> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let session: Session<M> = handle(parts)?.load().await?;
        match session.owner() {
            Some(owner) => Ok(Self { session, owner }),
            None => Err(Error::new(ErrorKind::NotSignedIn)),
        }
    }
}

/// A session whose owner has proved who it is within the last `SECONDS`; it derefs to [`SignedIn`].
///
/// Rejects with 401 where it was longer ago (OWASP ASVS 5.0 V7.5.3), and otherwise as [`SignedIn`] does. Ask for the password
/// again then, and call [`reauthenticate`](Session::reauthenticate).
///
/// ```
/// use sessile::{Error, RecentlySignedIn, Session};
///
/// /// Within five minutes.
/// async fn change_password(user: RecentlySignedIn<300>) -> String {
///     format!("a new password for {}", user.owner())
/// }
///
/// async fn password_is_right(session: Session) -> Result<(), Error> {
///     session.reauthenticate()
/// }
/// ```
pub struct RecentlySignedIn<const SECONDS: u64, M = ()>(SignedIn<M>);

impl<const SECONDS: u64, M> Deref for RecentlySignedIn<SECONDS, M> {
    type Target = SignedIn<M>;

    fn deref(&self) -> &SignedIn<M> {
        &self.0
    }
}

impl<const SECONDS: u64, M> Clone for RecentlySignedIn<SECONDS, M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<const SECONDS: u64, M> fmt::Debug for RecentlySignedIn<SECONDS, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RecentlySignedIn").field(self.session()).finish()
    }
}

impl<S: Sync, const SECONDS: u64, M: 'static> FromRequestParts<S> for RecentlySignedIn<SECONDS, M> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let user = SignedIn::from_request_parts(parts, state).await?;
        user.require_recent(Duration::from_secs(SECONDS))?;
        Ok(Self(user))
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = self.status();
        (status, status.canonical_reason().unwrap_or_default()).into_response()
    }
}

pub(crate) fn handle<M: 'static>(parts: &Parts) -> Result<&SessionHandle<M>, Error> {
    parts.extensions.get().ok_or_else(|| {
        let marker = std::any::type_name::<M>();
        let is_main = std::any::TypeId::of::<M>() == std::any::TypeId::of::<()>();
        let with_marker = if is_main { String::new() } else { format!(".with_marker::<{marker}>()") };
        let advice = format!(
            "add .layer(SessionLayer::new(store){with_marker}) after the routes, and after every layer that uses the \
             session: a layer added later runs earlier"
        );
        log_missing_layer(marker, &advice);
        Error::new(ErrorKind::MissingLayer).at(advice)
    })
}

#[cfg(feature = "tracing")]
fn log_missing_layer(marker: &str, advice: &str) {
    tracing::error!("a session is asked for, but no SessionLayer<{marker}> is around whoever asks: {advice}");
}

#[cfg(not(feature = "tracing"))]
fn log_missing_layer(_: &str, _: &str) {}
