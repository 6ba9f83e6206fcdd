//! Requests that do not count as use of their session, such as polling.

use std::fmt;
use std::marker::PhantomData;
use std::task::{Context, Poll};

use http::{Extensions, Request};
use tower_layer::Layer;
use tower_service::Service;

use super::SessionHandle;

/// A layer whose requests do not count as use of their session.
///
/// A page that polls would otherwise keep its user signed in for as long as it is open. Under this layer the session reaches its
/// idle timeout as if the requests had not been made: they read and write values, and a refresh takes place, but the stored times
/// stay. The same holds for a session that such a request detaches. A sign-in, a lifetime that the handler sets, and
/// [`Session::touch`](crate::Session::touch) count as use all the same.
///
/// Add it to routes, inside or outside the [`SessionLayer`](crate::SessionLayer).
/// [`with_passive_on`](crate::SessionLayerBuilder::with_passive_on) decides by the head of a request instead, and
/// [`SessionHandle::set_passive`] in the request.
///
/// ```
/// use axum::{Router, routing::get};
/// use sessile::passive::PassiveLayer;
/// use sessile::{MemoryStore, SessionLayer, SignedIn};
///
/// async fn unread(user: SignedIn) -> String {
///     format!("no messages for {}", user.owner())
/// }
///
/// let app: Router = Router::new()
///     .route("/unread", get(unread).layer(PassiveLayer::new()))
///     .layer(SessionLayer::new(MemoryStore::new()));
/// ```
#[must_use]
pub struct PassiveLayer<M = ()>(PhantomData<fn() -> M>);

impl PassiveLayer {
    /// Creates a layer for the sessions of the layer without a marker.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<M> PassiveLayer<M> {
    /// Sets the marker of the session layer.
    pub fn with_marker<N>(self) -> PassiveLayer<N> {
        PassiveLayer(PhantomData)
    }
}

impl Default for PassiveLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S, M> Layer<S> for PassiveLayer<M> {
    type Service = PassiveService<S, M>;

    fn layer(&self, inner: S) -> Self::Service {
        PassiveService { inner, marker: PhantomData }
    }
}

impl<M> Clone for PassiveLayer<M> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<M> fmt::Debug for PassiveLayer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PassiveLayer")
    }
}

/// The service of a [`PassiveLayer`].
pub struct PassiveService<S, M = ()> {
    inner: S,
    marker: PhantomData<fn() -> M>,
}

impl<S, M, B> Service<Request<B>> for PassiveService<S, M>
where
    S: Service<Request<B>>,
    M: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        let extensions = request.extensions_mut();
        match extensions.get::<SessionHandle<M>>() {
            Some(handle) => handle.set_passive(true),
            None => {
                extensions.insert(IsPassive::<M>(PhantomData));
            }
        }
        self.inner.call(request)
    }
}

impl<S: Clone, M> Clone for PassiveService<S, M> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), marker: PhantomData }
    }
}

impl<S: fmt::Debug, M> fmt::Debug for PassiveService<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PassiveService").field("inner", &self.inner).finish()
    }
}

/// Mark of a [`PassiveLayer`] around the session layer.
struct IsPassive<M>(PhantomData<fn() -> M>);

impl<M> Clone for IsPassive<M> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

/// Checks whether a [`PassiveLayer`] stands around the session layer.
pub(crate) fn is_passive<M: 'static>(extensions: &Extensions) -> bool {
    extensions.get::<IsPassive<M>>().is_some()
}
