//! The service of the layer: it adds a session to each request.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Extensions, Request, Response};
use tower_service::Service;

use crate::config::Config;
pub use crate::future::ResponseFuture;
use crate::request::RequestSession;
use crate::session::SessionHandle;
use crate::session::passive::is_passive;

/// The service of a [`SessionLayer`](crate::SessionLayer).
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
        if let Some(name) = outer.as_ref().and_then(|outer| outer.shared_name(&self.config.transport)) {
            return ResponseFuture::misconfigured(format!(
                "two session layers, one inside the other, use the same cookie or header, {name}: give one of them another name \
                 (with_name)"
            ));
        }
        let scheme = self.config.plain_http.check(request.uri(), request.headers());
        let is_outside = self.config.cookie_path.is_outside(self.config.transport.cookie.path(), request.uri().path());
        let session = RequestSession::new(Arc::clone(&self.config), candidates, scheme, outer);
        let session = Arc::new(session.with_is_outside_path(is_outside));
        if let Some(is_passive_on) = &self.config.passive_on {
            let (head, body) = request.into_parts();
            session.set_passive(is_passive_on(&head));
            request = Request::from_parts(head, body);
        }
        if is_passive::<M>(request.extensions()) {
            session.set_passive(true);
        }
        insert::<M>(request.extensions_mut(), &session);
        ResponseFuture::new(self.inner.call(request), session)
    }
}

/// The session of the innermost layer so far, if its marker is not `()`.
///
/// It is an extension beside the handle, since the handle of an unknown marker cannot be looked up. It is added only when
/// needed, since each extension costs an allocation.
#[derive(Clone)]
struct Innermost(Arc<RequestSession>);

/// Returns the session of the innermost layer around this one.
fn innermost(extensions: &Extensions) -> Option<Arc<RequestSession>> {
    let default = extensions.get::<SessionHandle<()>>().map(|handle| Arc::clone(handle.request()));
    let other = extensions.get::<Innermost>().map(|innermost| Arc::clone(&innermost.0));
    match (default, other) {
        (Some(default), Some(other)) => Some(if default.is_within(&other) { default } else { other }),
        (default, other) => default.or(other),
    }
}

/// Makes `session` the session of a request.
pub(crate) fn insert<M: 'static>(extensions: &mut Extensions, session: &Arc<RequestSession>) {
    let handle = SessionHandle::<M>::new(Arc::clone(session));
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
