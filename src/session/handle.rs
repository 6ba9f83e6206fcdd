//! The session that the layer puts into a request's extensions.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::Session;
use super::request::RequestSession;
use crate::error::Error;

/// A session that is not loaded yet: what the layer puts into the request's extensions.
///
/// A request that does not [load](SessionHandle::load) it costs no store operation. With axum, the extractor
/// [`Session`] does it; middleware and services without axum take the handle.
///
/// ```
/// use http::Request;
/// use sessile::{Error, SessionHandle};
///
/// async fn is_signed_in<B>(request: &Request<B>) -> Result<bool, Error> {
///     let Some(handle) = request.extensions().get::<SessionHandle>().cloned() else { return Ok(false) };
///     Ok(handle.load().await?.owner().is_some())
/// }
/// ```
pub struct SessionHandle<M = ()> {
    request: Arc<RequestSession>,
    marker: PhantomData<fn() -> M>,
}

impl<M> SessionHandle<M> {
    /// Loads the session: at most one `get` for each session cookie of the request, however often it is called.
    ///
    /// A client without a live session is given a new, empty one, which is stored once something is written to it.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::ErrorKind::Unavailable) where the store fails.
    pub async fn load(&self) -> Result<Session<M>, Error> {
        self.request.load().await?;
        Ok(Session::of(Arc::clone(&self.request)))
    }

    pub(crate) const fn of(request: Arc<RequestSession>) -> Self {
        Self { request, marker: PhantomData }
    }

    pub(crate) const fn request(&self) -> &Arc<RequestSession> {
        &self.request
    }
}

impl<M> Clone for SessionHandle<M> {
    fn clone(&self) -> Self {
        Self::of(Arc::clone(&self.request))
    }
}

impl<M> fmt::Debug for SessionHandle<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionHandle").field("loaded", &self.request.is_loaded()).finish_non_exhaustive()
    }
}
