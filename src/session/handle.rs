//! The session in the request's extensions, which is loaded on demand.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::Session;
use crate::error::Error;
use crate::request::RequestSession;

/// A session that is not loaded yet; the layer puts it into the request's extensions.
///
/// A request that does not [load](SessionHandle::load) it costs no store operation. With axum, the extractor [`Session`] loads
/// it; middleware, and services without axum, use the handle.
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
    /// Loads the session. It costs at most one `get` for each session cookie of the request, however often it is called.
    ///
    /// A client without a live session gets a new, empty one, which is stored when something is written to it.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::ErrorKind::Unavailable) if the store fails, and [`Ended`](crate::ErrorKind::Ended) for an unsafe request
    /// in an [acting](crate::acting) session that has ended.
    pub async fn load(&self) -> Result<Session<M>, Error> {
        self.request.load().await?;
        Ok(Session::new(Arc::clone(self.request.in_use()?)))
    }

    /// Sets whether this request is passive: no use of its session, so that it does not delay the idle timeout. Default: `false`.
    ///
    /// [`PassiveLayer`](crate::passive::PassiveLayer) says which operations count as use all the same. Call it before the head of the
    /// response is sent.
    pub fn set_passive(&self, is_passive: bool) {
        self.request.set_passive(is_passive);
    }

    pub(crate) const fn new(request: Arc<RequestSession>) -> Self {
        Self { request, marker: PhantomData }
    }

    pub(crate) const fn request(&self) -> &Arc<RequestSession> {
        &self.request
    }
}

impl<M> Clone for SessionHandle<M> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.request))
    }
}

impl<M> fmt::Debug for SessionHandle<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionHandle").field("loaded", &self.request.is_loaded()).finish_non_exhaustive()
    }
}
