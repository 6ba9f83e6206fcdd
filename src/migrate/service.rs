//! The migration service and its future.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::SET_COOKIE;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::moving::Settings;
use crate::acting::Acting;
use crate::error::{Error, error_response};
use crate::session::SessionHandle;
use crate::transport::TokenLocation;

/// A service that takes over old sessions, created by [`MigrationLayer`](super::MigrationLayer).
pub struct MigrationService<S, M = ()> {
    inner: S,
    settings: Arc<Settings>,
    marker: PhantomData<fn() -> M>,
}

impl<S, M> MigrationService<S, M> {
    pub(super) const fn new(inner: S, settings: Arc<Settings>) -> Self {
        Self { inner, settings, marker: PhantomData }
    }
}

impl<S, M, ReqBody, ResBody> Service<Request<ReqBody>> for MigrationService<S, M>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone + Send + 'static,
    S::Future: Send,
    ReqBody: Send + 'static,
    ResBody: Default + Send + 'static,
    M: 'static,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = MigrationFuture<S::Future, S::Response, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let Some(handle) = request.extensions().get::<SessionHandle<M>>() else {
            let marker = std::any::type_name::<M>();
            return MigrationFuture::misconfigured(&format!(
                "a MigrationLayer of the marker {marker} is not inside a SessionLayer of this marker: add the SessionLayer after it (a \
                 layer added later runs earlier), and set the marker of both (with_marker)"
            ));
        };
        // The old session would become an acting session.
        if Acting::<M>::of(request.extensions()).is_some() {
            return MigrationFuture::misconfigured(
                "a MigrationLayer is inside an ActingLayer: add the MigrationLayer after it, and the SessionLayer after both; a layer \
                 added later runs earlier",
            );
        }
        // A cookie that a browser sends by itself must not produce a token in a header that a script can read.
        let old = (handle.request().token_location() == TokenLocation::Cookie)
            .then(|| self.settings.old_cookie(request.headers()))
            .flatten();
        let Some(old) = old else {
            return MigrationFuture { kind: FutureKind::Inner { inner: self.inner.call(request) } };
        };
        let (handle, settings) = (handle.clone(), Arc::clone(&self.settings));
        // Only the service that was polled for readiness may be called.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        MigrationFuture::boxed(async move {
            let session = handle.request();
            // A session of the new cookie takes precedence over the old one.
            let taken_over = match session.has_candidates() {
                true => Ok(false),
                false => settings.take_over(session, &old).await,
            };
            let mut moved = match taken_over {
                Ok(moved) => moved,
                Err(error) => return Ok(error_response(&error)),
            };
            let mut response = inner.call(request).await?;
            if session.signs_out() && !moved {
                if let Err(error) = settings.end(session, &old).await {
                    return Ok(error_response(&error));
                }
                moved = true;
            }
            // A new cookie of the same name replaces the old one.
            let replaced = session.config().transport.cookie.name() == settings.cookie.name();
            if moved && !replaced {
                response.headers_mut().append(SET_COOKIE, settings.removal());
            }
            Ok(response)
        })
    }
}

impl<S: Clone, M> Clone for MigrationService<S, M> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), Arc::clone(&self.settings))
    }
}

impl<S: fmt::Debug, M> fmt::Debug for MigrationService<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MigrationService").field("inner", &self.inner).finish_non_exhaustive()
    }
}

pin_project! {
    /// Response future of a [`MigrationService`].
    pub struct MigrationFuture<F, R, E> {
        #[pin]
        kind: FutureKind<F, R, E>,
    }
}

pin_project! {
    #[project = FutureKindProjection]
    enum FutureKind<F, R, E> {
        Inner { #[pin] inner: F },
        // The request has an old cookie.
        Boxed { boxed: Boxed<R, E> },
    }
}

type Boxed<R, E> = Pin<Box<dyn Future<Output = Result<R, E>> + Send>>;

impl<F, R, E> MigrationFuture<F, R, E> {
    fn boxed(future: impl Future<Output = Result<R, E>> + Send + 'static) -> Self {
        Self { kind: FutureKind::Boxed { boxed: Box::pin(future) } }
    }
}

impl<F, B: Default + Send + 'static, E> MigrationFuture<F, Response<B>, E> {
    /// Answers with [`MissingLayer`](crate::ErrorKind::MissingLayer), a 500, and logs the advice.
    fn misconfigured(advice: &str) -> Self {
        let response = error_response(&Error::misconfigured(advice));
        Self::boxed(async { Ok(response) })
    }
}

impl<F: Future<Output = Result<R, E>>, R, E> Future for MigrationFuture<F, R, E> {
    type Output = Result<R, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            FutureKindProjection::Inner { inner } => inner.poll(context),
            FutureKindProjection::Boxed { boxed } => boxed.as_mut().poll(context),
        }
    }
}

impl<F, R, E> fmt::Debug for MigrationFuture<F, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MigrationFuture")
    }
}
