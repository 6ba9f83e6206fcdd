//! The layer that requires a CSRF token of unsafe requests.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum_core::body::Body;
use axum_core::extract::Request;
use axum_core::response::{IntoResponse, Response};
use http::Method;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::extract::token_in_header;
use super::form::{is_form, read_text, token_in_form};
use crate::error::Error;
use crate::session::Session;
use crate::session::extract::handle;
use crate::transport::TokenLocation;

/// A layer that requires a CSRF token for requests with unsafe methods (OWASP ASVS 5.0 V3.5.1).
///
/// The token comes from [`Session::csrf_token`]. The request carries it in the header `X-CSRF-Token`, or in the field
/// `csrf_token` of an `application/x-www-form-urlencoded` body, which the layer reads up to axum's `DefaultBodyLimit` (2 MB
/// unless set) and passes on whole. A request without it is answered 403 with a text that says so, and 409 if the client's session
/// token was retired in the last 30 seconds; [`ErrorLayer`](crate::errors::ErrorLayer) shows a page of the application instead. The safe methods `GET`, `HEAD`, `OPTIONS` and `TRACE` (RFC 9110 §9.2.1)
/// pass and cost nothing, so their handlers must change nothing.
///
/// Add it inside the [`SessionLayer`](crate::SessionLayer), around the routes that it protects. Leave out routes that other
/// servers call, such as webhooks, and multipart forms without a script, whose handlers call [`Session::verify_csrf`]. Clients
/// that send their session token in a [header](crate::config::TokenHeader) pass, since no browser adds such a header by
/// itself. Protect the sign-in form, too: its page gets a token, which starts a session.
///
/// `tower_http::csrf::CsrfLayer` instead refuses requests that a browser marks as cross-site, by `Sec-Fetch-Site` and `Origin`.
/// It needs neither session nor token; use it alone, or around this layer for both.
///
/// ```
/// use axum::{Router, routing::{get, post}};
/// use sessile::{Error, MemoryStore, Session, SessionLayer};
/// use sessile::csrf::CsrfLayer;
///
/// async fn page(session: Session) -> Result<String, Error> {
///     Ok(format!(r#"<input type="hidden" name="csrf_token" value="{}">"#, session.csrf_token().await?))
/// }
///
/// async fn rename(session: Session, name: String) -> Result<(), Error> {
///     session.insert("name", &name)
/// }
///
/// let app: Router = Router::new()
///     .route("/", get(page).post(rename))
///     .layer(CsrfLayer::new())
///     .layer(SessionLayer::new(MemoryStore::new()));
/// ```
#[must_use]
pub struct CsrfLayer<M = ()>(PhantomData<fn() -> M>);

impl CsrfLayer {
    /// Creates a layer for the sessions of the layer without a marker.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<M> CsrfLayer<M> {
    /// Sets the marker of the session layer.
    pub fn with_marker<N>(self) -> CsrfLayer<N> {
        CsrfLayer(PhantomData)
    }
}

impl Default for CsrfLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S, M> Layer<S> for CsrfLayer<M> {
    type Service = CsrfService<S, M>;

    fn layer(&self, inner: S) -> Self::Service {
        CsrfService { inner, marker: PhantomData }
    }
}

impl<M> Clone for CsrfLayer<M> {
    fn clone(&self) -> Self {
        Self(PhantomData)
    }
}

impl<M> fmt::Debug for CsrfLayer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CsrfLayer")
    }
}

/// The service of a [`CsrfLayer`].
pub struct CsrfService<S, M = ()> {
    inner: S,
    marker: PhantomData<fn() -> M>,
}

impl<S, M> Service<Request> for CsrfService<S, M>
where
    S: Service<Request> + Clone + Send + 'static,
    S::Future: Send,
    S::Response: IntoResponse,
    M: 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = CsrfFuture<S::Future, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if is_safe(request.method()) {
            return CsrfFuture { state: CsrfState::Safe { inner: self.inner.call(request) } };
        }
        // The clone that is ready must serve the request.
        let spare = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, spare);
        let checked = async move {
            match check::<M>(request).await {
                Ok(request) => inner.call(request).await.map(IntoResponse::into_response),
                Err(error) => Ok(error.into_response()),
            }
        };
        CsrfFuture { state: CsrfState::Checked { checked: Box::pin(checked) } }
    }
}

impl<S: Clone, M> Clone for CsrfService<S, M> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), marker: PhantomData }
    }
}

impl<S: fmt::Debug, M> fmt::Debug for CsrfService<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CsrfService").field("inner", &self.inner).finish()
    }
}

pin_project! {
    /// The response future of a [`CsrfService`].
    pub struct CsrfFuture<F, E> {
        #[pin]
        state: CsrfState<F, E>,
    }
}

pin_project! {
    #[project = CsrfStateProjection]
    enum CsrfState<F, E> {
        Safe { #[pin] inner: F },
        Checked { checked: Pin<Box<dyn Future<Output = Result<Response, E>> + Send>> },
    }
}

impl<F, R, E> Future for CsrfFuture<F, E>
where
    F: Future<Output = Result<R, E>>,
    R: IntoResponse,
{
    type Output = Result<Response, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            CsrfStateProjection::Safe { inner } => inner.poll(context).map_ok(IntoResponse::into_response),
            CsrfStateProjection::Checked { checked } => checked.as_mut().poll(context),
        }
    }
}

impl<F, E> fmt::Debug for CsrfFuture<F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CsrfFuture")
    }
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

/// Returns the request if it has a token of its session.
async fn check<M: 'static>(request: Request) -> Result<Request, Error> {
    let (parts, body) = request.into_parts();
    let session: Session<M> = handle(&parts)?.load().await?;
    if session.request().token_location() == TokenLocation::Header {
        return Ok(Request::from_parts(parts, body));
    }
    if token_in_header(&parts).is_some() || !is_form(&parts) || session.csrf_secret().is_none() {
        session.check_csrf(token_in_header(&parts))?;
        return Ok(Request::from_parts(parts, body));
    }
    let body = read_text(Request::from_parts(parts.clone(), body), &()).await?;
    session.check_csrf(token_in_form(&body).as_deref())?;
    Ok(Request::from_parts(parts, Body::from(body)))
}
