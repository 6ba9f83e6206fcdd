//! An extractor that refuses a request without a token in its header.

use std::fmt;
use std::ops::Deref;

use axum_core::extract::FromRequestParts;
use http::request::Parts;

use crate::error::{Error, ErrorKind};
use crate::event::EventKind;
use crate::extract::handle;
use crate::session::Session;
use crate::transport::Carrier;

/// The header that a script sends a token in.
const HEADER: &str = "x-csrf-token";

/// The session of a request that brings a CSRF token of it, in the header `X-CSRF-Token`; it derefs to [`Session`].
///
/// For handlers that scripts call. Rejects with 403 where the token is missing or another session's, and otherwise as
/// [`Session`] does. [`CsrfForm`](crate::csrf::CsrfForm) takes the token of a form, and [`CsrfLayer`](crate::csrf::CsrfLayer) checks
/// all handlers at once.
///
/// ```
/// use sessile::Error;
/// use sessile::csrf::Csrf;
///
/// async fn rename(session: Csrf, name: String) -> Result<(), Error> {
///     session.insert("name", &name)
/// }
/// # let _: axum::Router = axum::Router::new().route("/", axum::routing::post(rename));
/// ```
pub struct Csrf<M = ()>(Session<M>);

impl<M> Csrf<M> {
    /// The session.
    #[must_use]
    pub const fn session(&self) -> &Session<M> {
        &self.0
    }
}

impl<M> Deref for Csrf<M> {
    type Target = Session<M>;

    fn deref(&self) -> &Session<M> {
        &self.0
    }
}

impl<M> Clone for Csrf<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M> fmt::Debug for Csrf<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Csrf").field(&self.0).finish()
    }
}

impl<S: Sync, M: 'static> FromRequestParts<S> for Csrf<M> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let session: Session<M> = handle(parts)?.load().await?;
        session.check_csrf(in_header(parts))?;
        Ok(Self(session))
    }
}

impl<M> Session<M> {
    /// Refuses a request that does not bring a token of this session, and says so as an event.
    pub(super) fn check_csrf(&self, token: Option<&str>) -> Result<(), Error> {
        // No browser sends a token in a header by itself.
        if self.request().carrier() == Carrier::Header || token.is_some_and(|token| self.verify_csrf(token)) {
            return Ok(());
        }
        self.request().config().events.raise(EventKind::CsrfRefused, self.id());
        Err(Error::new(ErrorKind::Csrf))
    }
}

/// The token in the header, if there is one.
pub(super) fn in_header(parts: &Parts) -> Option<&str> {
    parts.headers.get(HEADER)?.to_str().ok()
}
