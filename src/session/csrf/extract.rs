//! The extractor that requires a CSRF token in a header.

use std::fmt;
use std::ops::Deref;

use axum_core::extract::FromRequestParts;
use http::request::Parts;

use crate::error::Error;
use crate::session::Session;
use crate::session::extract::handle;

/// The header in which a script sends a token.
const HEADER: &str = "x-csrf-token";

/// A session whose request has a valid `X-CSRF-Token` header. Derefs to [`Session`].
///
/// For handlers that scripts call. Rejects with 403 if the token is missing or belongs to another session, with 409 if the
/// client's session token was just retired, and otherwise as [`Session`] does. [`CsrfForm`](super::CsrfForm) takes the token of
/// a form, and [`CsrfLayer`](super::CsrfLayer) protects all routes.
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
    /// Returns the session.
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
        session.check_csrf(token_in_header(parts))?;
        Ok(Self(session))
    }
}

/// Returns the token in the header, if there is one.
pub(super) fn token_in_header(parts: &Parts) -> Option<&str> {
    parts.headers.get(HEADER)?.to_str().ok()
}
