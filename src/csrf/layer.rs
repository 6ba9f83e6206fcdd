//! A layer that refuses what would change something and brings no token.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum_core::body::Body;
use axum_core::extract::{FromRequest, Request};
use http::{Method, Response, StatusCode};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::extract::in_header;
use super::form::{in_form, is_form};
use crate::error::Error;
use crate::extract::handle;
use crate::future::refusal;
use crate::session::Session;
use crate::transport::Carrier;

/// Refuses requests of unsafe methods that bring no CSRF token of their session, with 403 (OWASP ASVS 5.0 V3.5.1).
///
/// The token is one of [`Session::csrf_token`], in the header `X-CSRF-Token`, or in the field `csrf_token` of an
/// `application/x-www-form-urlencoded` body, which is read for it up to axum's `DefaultBodyLimit` (2 MB where nothing else is
/// set) and handed on whole. Requests of the safe methods, `GET`, `HEAD`, `OPTIONS` and `TRACE` (RFC 9110 §9.2.1), pass
/// and cost nothing: they must change nothing.
///
/// Put it inside the [`SessionLayer`](crate::SessionLayer), and around the routes that it is to protect; leave those
/// outside that other servers call, such as webhooks, and those that take multipart forms without a script, which ask
/// [`Session::verify_csrf`] themselves. Clients that present their token in a [header](crate::config::TokenHeader) pass, since no
/// browser sends that by itself. A sign-in form is to be protected, too: the page that shows it asks for a token
/// and so begins a session.
///
/// Beside the tokens, `tower_http::csrf::CsrfLayer` refuses what a browser says comes from elsewhere, by `Sec-Fetch-Site`
/// and `Origin`. It needs no session and no token; use it alone, or around this one for both.
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
    /// The layer of the sessions without a marker.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<M> CsrfLayer<M> {
    /// The same for the sessions of this marker.
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

/// A service that is asked for nothing unsafe without a CSRF token. Made by [`CsrfLayer`].
pub struct CsrfService<S, M = ()> {
    inner: S,
    marker: PhantomData<fn() -> M>,
}

impl<S, M, ResBody> Service<Request> for CsrfService<S, M>
where
    S: Service<Request, Response = Response<ResBody>> + Clone + Send + 'static,
    S::Future: Send,
    ResBody: Default,
    M: 'static,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = CsrfFuture<S::Future, ResBody, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if is_safe(request.method()) {
            return CsrfFuture { state: State::Safe { inner: self.inner.call(request) } };
        }
        // The one that is ready goes with the request.
        let spare = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, spare);
        let checked = async move {
            match check::<M>(request).await {
                Ok(request) => inner.call(request).await,
                Err(status) => Ok(refusal(status)),
            }
        };
        CsrfFuture { state: State::Checked { checked: Box::pin(checked) } }
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
    /// The response of a [`CsrfService`].
    pub struct CsrfFuture<F, B, E> {
        #[pin]
        state: State<F, B, E>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, B, E> {
        Safe { #[pin] inner: F },
        Checked { checked: Pin<Box<dyn Future<Output = Result<Response<B>, E>> + Send>> },
    }
}

impl<F, B, E> Future for CsrfFuture<F, B, E>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<B>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Safe { inner } => inner.poll(context),
            StateProjection::Checked { checked } => checked.as_mut().poll(context),
        }
    }
}

impl<F, B, E> fmt::Debug for CsrfFuture<F, B, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CsrfFuture")
    }
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

/// The request, if it brings a token of its session; else the status that it is refused with.
async fn check<M: 'static>(request: Request) -> Result<Request, StatusCode> {
    let (parts, body) = request.into_parts();
    let loaded = async { handle::<M>(&parts)?.load().await }.await;
    let session: Session<M> = loaded.map_err(|error| error.status())?;
    if session.request().carrier() == Carrier::Header {
        // No browser sends this header by itself.
        return Ok(Request::from_parts(parts, body));
    }
    let refuse = |error: Error| error.status();
    if in_header(&parts).is_some() || !is_form(&parts) || session.is_new() {
        session.check_csrf(in_header(&parts)).map_err(refuse)?;
        return Ok(Request::from_parts(parts, body));
    }
    let body = String::from_request(Request::from_parts(parts.clone(), body), &()).await;
    let body = body.map_err(|rejection| rejection.status())?;
    session.check_csrf(in_form(&body).as_deref()).map_err(refuse)?;
    Ok(Request::from_parts(parts, Body::from(body)))
}
