//! The layer that gives the signed-in user to the routes inside it.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Request;
use tower_layer::Layer;
use tower_service::Service;

use super::local_path::RequestPath;
use super::{CurrentUser, LocalPath, Users};
use crate::acting::Acting;
use crate::session::SessionHandle;

/// A layer that gives the signed-in user to the routes inside it.
///
/// Add it inside the [`SessionLayer`](crate::SessionLayer), and inside the [`ActingLayer`](crate::acting::ActingLayer) if there is one. A
/// request whose user is not asked for costs no look-up.
///
/// A session layer has one kind of users: an owner `1` would be the user 1 of each kind. For a second kind, such as staff beside
/// customers, add a second session layer with another name and marker.
#[must_use]
pub struct UserLayer<U, M = ()> {
    users: Arc<U>,
    prefix: Option<Arc<str>>,
    marker: PhantomData<fn() -> M>,
}

impl<U: Users> UserLayer<U> {
    /// Creates a layer for these users, over the sessions of the layer without a marker.
    pub fn new(users: U) -> Self {
        Self { users: Arc::new(users), prefix: None, marker: PhantomData }
    }
}

impl<U: Users, M> UserLayer<U, M> {
    /// Sets the start of each path that this layer does not see: removed by a proxy, or by `Router::nest` around it. Default: none.
    ///
    /// A [`UserGuard`](super::UserGuard) needs it to name the page that the browser has asked for.
    pub fn with_path_prefix(self, prefix: &LocalPath) -> Self {
        Self { prefix: Some(prefix.as_str().trim_end_matches('/').into()), ..self }
    }

    /// Sets the marker of the session layer.
    pub fn with_marker<N>(self) -> UserLayer<U, N> {
        UserLayer { users: self.users, prefix: self.prefix, marker: PhantomData }
    }
}

impl<S, U, M> Layer<S> for UserLayer<U, M> {
    type Service = UserService<S, U, M>;

    fn layer(&self, inner: S) -> Self::Service {
        UserService { inner, layer: self.clone() }
    }
}

impl<U, M> Clone for UserLayer<U, M> {
    fn clone(&self) -> Self {
        Self { users: Arc::clone(&self.users), prefix: self.prefix.clone(), marker: PhantomData }
    }
}

impl<U, M> fmt::Debug for UserLayer<U, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserLayer").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// The service of a [`UserLayer`].
pub struct UserService<S, U, M = ()> {
    inner: S,
    layer: UserLayer<U, M>,
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
            let acting = Acting::of(request.extensions()).cloned();
            let around = request.extensions().get::<CurrentUser<U, M>>();
            // A router between the two layers may have removed a prefix.
            let path = around.map(|around| around.path().clone());
            let path = path.unwrap_or_else(|| RequestPath::new(self.layer.prefix.clone(), request.uri().clone()));
            let users = Arc::clone(&self.layer.users);
            let current = CurrentUser::<U, M>::new(users, handle.clone(), acting, path);
            request.extensions_mut().insert(current);
        }
        self.inner.call(request)
    }
}

impl<S: Clone, U, M> Clone for UserService<S, U, M> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: self.layer.clone() }
    }
}

impl<S: fmt::Debug, U, M> fmt::Debug for UserService<S, U, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserService").field("inner", &self.inner).finish_non_exhaustive()
    }
}
