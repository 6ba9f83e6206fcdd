//! The layer that gives the signed-in user to the routes inside it.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Request;
use tower_layer::Layer;
use tower_service::Service;

use super::{CurrentUser, Users};
use crate::session::SessionHandle;

/// A layer that gives the signed-in user to the routes inside it.
///
/// Add it inside the [`SessionLayer`](crate::SessionLayer), and inside the [`ActingLayer`](crate::acting::ActingLayer) if there is one. A request whose user is not asked for costs nothing.
#[must_use]
pub struct UserLayer<U, M = ()> {
    users: Arc<U>,
    marker: PhantomData<fn() -> M>,
}

impl<U: Users> UserLayer<U> {
    /// Creates a layer for these users, over the sessions of the layer without a marker.
    pub fn new(users: U) -> Self {
        Self { users: Arc::new(users), marker: PhantomData }
    }
}

impl<U: Users, M> UserLayer<U, M> {
    /// Sets the marker of the session layer.
    pub fn with_marker<N>(self) -> UserLayer<U, N> {
        UserLayer { users: self.users, marker: PhantomData }
    }
}

impl<S, U, M> Layer<S> for UserLayer<U, M> {
    type Service = UserService<S, U, M>;

    fn layer(&self, inner: S) -> Self::Service {
        UserService { inner, users: Arc::clone(&self.users), marker: PhantomData }
    }
}

impl<U, M> Clone for UserLayer<U, M> {
    fn clone(&self) -> Self {
        Self { users: Arc::clone(&self.users), marker: PhantomData }
    }
}

impl<U, M> fmt::Debug for UserLayer<U, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserLayer")
    }
}

/// The service of a [`UserLayer`].
pub struct UserService<S, U, M = ()> {
    inner: S,
    users: Arc<U>,
    marker: PhantomData<fn() -> M>,
}

impl<S, U, M, B> Service<Request<B>> for UserService<S, U, M>
where
    S: Service<Request<B>>,
    U: Users,
    M: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        // Without a session layer, the extractors report it.
        if let Some(handle) = request.extensions().get::<SessionHandle<M>>() {
            let acting = request.extensions().get().cloned();
            let (users, uri) = (Arc::clone(&self.users), request.uri().clone());
            let current = CurrentUser::<U, M>::new(users, handle.clone(), acting, uri);
            request.extensions_mut().insert(current);
        }
        self.inner.call(request)
    }
}

impl<S: Clone, U, M> Clone for UserService<S, U, M> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), users: Arc::clone(&self.users), marker: PhantomData }
    }
}

impl<S: fmt::Debug, U, M> fmt::Debug for UserService<S, U, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserService").field("inner", &self.inner).finish_non_exhaustive()
    }
}
