//! The request's way in.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Extensions, Request, Response};
use tower_service::Service;

use crate::config::Config;
pub use crate::future::ResponseFuture;
use crate::session::{RequestSession, SessionHandle};

/// A service whose requests have a session. Made by [`SessionLayer`](crate::SessionLayer).
pub struct SessionService<S, M = ()> {
    inner: S,
    config: Arc<Config>,
    marker: PhantomData<fn() -> M>,
}

impl<S, M> SessionService<S, M> {
    pub(crate) const fn new(inner: S, config: Arc<Config>) -> Self {
        Self { inner, config, marker: PhantomData }
    }
}

impl<S, M, ReqBody, ResBody> Service<Request<ReqBody>> for SessionService<S, M>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Default,
    M: 'static,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, ResBody>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let candidates = self.config.transport.candidates(request.headers());
        let outer = innermost(request.extensions());
        if let Some(name) = outer.as_ref().and_then(|outer| outer.conflict(&self.config.transport)) {
            return ResponseFuture::misconfigured(name);
        }
        let session = RequestSession::new(Arc::clone(&self.config), candidates, outer);
        #[cfg(feature = "tracing")]
        let session = session.came(self.config.watch.look(request.uri(), request.headers()));
        let session = Arc::new(session);
        announce::<M>(request.extensions_mut(), &session);
        ResponseFuture::new(self.inner.call(request), session)
    }
}

/// The session of the innermost layer so far, where its marker is another than `()`.
///
/// A second extension beside the handle, since a handle of an unknown marker cannot be looked for; and only where it is
/// needed, since each costs an allocation.
#[derive(Clone)]
struct Innermost(Arc<RequestSession>);

fn innermost(extensions: &Extensions) -> Option<Arc<RequestSession>> {
    let main = extensions.get::<SessionHandle<()>>().map(|handle| Arc::clone(handle.request()));
    let other = extensions.get::<Innermost>().map(|innermost| Arc::clone(&innermost.0));
    match (main, other) {
        // Whichever has the other around it.
        (Some(main), Some(other)) => Some(if main.is_within(&other) { main } else { other }),
        (main, other) => main.or(other),
    }
}

fn announce<M: 'static>(extensions: &mut Extensions, session: &Arc<RequestSession>) {
    let handle = SessionHandle::<M>::of(Arc::clone(session));
    if std::any::TypeId::of::<M>() != std::any::TypeId::of::<()>() {
        extensions.insert(Innermost(Arc::clone(session)));
    }
    extensions.insert(handle);
}

impl<S: Clone, M> Clone for SessionService<S, M> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), Arc::clone(&self.config))
    }
}

impl<S: fmt::Debug, M> fmt::Debug for SessionService<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionService").field("inner", &self.inner).field("config", &self.config).finish()
    }
}
