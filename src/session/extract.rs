//! Extractors for axum.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;

use super::{Session, SessionHandle};
use crate::error::{Error, ErrorKind, log_advice};

/// Loads the session. A client without one gets a new one, which is stored when something is written to it.
///
/// Rejects with 503 if the store fails, and with 500 if no layer of this marker is around the handler.
impl<S: Sync, M: 'static> FromRequestParts<S> for Session<M> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        handle(parts)?.load().await
    }
}

/// # Extracting
impl Session {
    /// Loads the session of a request, as the extractor does.
    ///
    /// An extractor of your own can call it without naming a trait or a marker:
    ///
    /// ```
    /// use axum::extract::FromRequestParts;
    /// use http::request::Parts;
    /// use sessile::{Error, Session};
    ///
    /// struct Theme(String);
    ///
    /// impl<S: Send + Sync> FromRequestParts<S> for Theme {
    ///     type Rejection = Error;
    ///
    ///     async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
    ///         let session = Session::from_request_parts(parts, state).await?;
    ///         Ok(Self(session.get("theme")?.unwrap_or_default()))
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) if the store fails, [`MissingLayer`](ErrorKind::MissingLayer) if no
    /// [`SessionLayer`](crate::SessionLayer) is around the handler.
    pub async fn from_request_parts<S: Sync>(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        <Self as FromRequestParts<S>>::from_request_parts(parts, state).await
    }
}

/// Loads the session; `None` if the client has no live one.
///
/// Rejects as [`Session`] does.
impl<S: Sync, M: 'static> OptionalFromRequestParts<S> for Session<M> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Error> {
        let session: Self = handle(parts)?.load().await?;
        Ok((!session.is_new()).then_some(session))
    }
}

/// Extracts the handle without loading the session, for a handler that does not always use it.
///
/// Rejects with 500 if no layer of this marker is around the handler.
impl<S: Sync, M: 'static> FromRequestParts<S> for SessionHandle<M> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        handle(parts).cloned()
    }
}

/// A session with an owner. Derefs to [`Session`].
///
/// Rejects with 401 if the session has no owner, with 409 if the client's token was retired within the last 30 seconds, since
/// the client may hold a newer one, and otherwise as [`Session`] does. `Option<SignedIn>` is `None` if the session
/// has no owner, and rejects if the store fails.
///
/// ```
/// use axum::response::Redirect;
/// use sessile::SignedIn;
///
/// async fn hello(user: SignedIn) -> String {
///     format!("hello, {}", user.owner())
/// }
///
/// /// Sends visitors to the sign-in page. A `Result<SignedIn, _>` would send signed-in users there, too, while the store is down.
/// async fn account(user: Option<SignedIn>) -> Result<String, Redirect> {
///     let user = user.ok_or_else(|| Redirect::to("/sign-in"))?;
///     Ok(format!("the account of {}", user.owner()))
/// }
/// # let _: axum::Router = axum::Router::new().route("/", axum::routing::get(hello).post(account));
/// ```
pub struct SignedIn<M = ()> {
    session: Session<M>,
    owner: Arc<str>,
}

impl<M> SignedIn<M> {
    fn new(session: Session<M>) -> Result<Self, Error> {
        match session.owner() {
            Some(owner) => Ok(Self { session, owner }),
            None => Err(session.request().state().not_signed_in()),
        }
    }

    /// Returns the owner.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Returns the session.
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
        Self::new(handle(parts)?.load().await?)
    }
}

/// Loads the session; `None` if it has no owner.
///
/// Rejects as [`Session`] does.
impl<S: Sync, M: 'static> OptionalFromRequestParts<S> for SignedIn<M> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Error> {
        or_nobody(Self::new(handle(parts)?.load().await?))
    }
}

/// A session whose owner authenticated within the last `SECONDS`. Derefs to [`SignedIn`].
///
/// Rejects with 401 if it was longer ago (OWASP ASVS 5.0 V7.5.3), and otherwise as [`SignedIn`] does. Then ask for the password
/// again and call [`reauthenticate`](Session::reauthenticate).
///
/// `Option<RecentlySignedIn>` is `None` if the session has no owner, so that the client must sign in, and still rejects with 401
/// if the authentication was longer ago.
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

impl<const SECONDS: u64, M> RecentlySignedIn<SECONDS, M> {
    fn new(user: SignedIn<M>) -> Result<Self, Error> {
        user.require_recent(Duration::from_secs(SECONDS))?;
        Ok(Self(user))
    }
}

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

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        Self::new(SignedIn::new(handle(parts)?.load().await?)?)
    }
}

/// Loads the session; `None` if it has no owner.
///
/// Rejects with 401 if its owner authenticated too long ago, and otherwise as [`Session`] does.
impl<S: Sync, const SECONDS: u64, M: 'static> OptionalFromRequestParts<S> for RecentlySignedIn<SECONDS, M> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Error> {
        or_nobody(SignedIn::new(handle(parts)?.load().await?))?.map(Self::new).transpose()
    }
}

/// Returns `None` for a session without an owner, but an error if the client may hold a newer token.
pub(crate) fn or_nobody<T>(user: Result<T, Error>) -> Result<Option<T>, Error> {
    match user {
        Err(error) if error.kind() == ErrorKind::NotSignedIn => Ok(None),
        user => user.map(Some),
    }
}

pub(crate) fn handle<M: 'static>(parts: &Parts) -> Result<&SessionHandle<M>, Error> {
    parts.extensions.get().ok_or_else(|| {
        let marker = std::any::type_name::<M>();
        let is_default = std::any::TypeId::of::<M>() == std::any::TypeId::of::<()>();
        let with_marker = if is_default { String::new() } else { format!(".with_marker::<{marker}>()") };
        let advice = format!(
            "add .layer(SessionLayer::new(store){with_marker}) after the routes and after every layer that uses the \
             session; a layer added later runs earlier"
        );
        missing_layer(&format!("a session, but no SessionLayer<{marker}>"), advice)
    })
}

/// Logs that a handler uses `subject`, a thing whose layer is missing, and returns the error.
pub(crate) fn missing_layer(subject: &str, advice: String) -> Error {
    log_advice(&format!("a handler or layer uses {subject} is around it: {advice}"));
    Error::new(ErrorKind::MissingLayer).with_context(advice).into_logged()
}
