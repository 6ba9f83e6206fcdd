//! Routes for signed-in users, or for those with a permission.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum_core::extract::Request;
use axum_core::response::{IntoResponse, Response};
use http::header::{ACCEPT, HeaderName, HeaderValue, LOCATION, UPGRADE};
use http::request::Parts;
use http::{Method, StatusCode};
use tower_layer::Layer;
use tower_service::Service;

use super::current::current;
use super::local_path::RequestPath;
use super::{CurrentUser, LocalPath, Users};
use crate::caching::vary_by;
use crate::error::{Error, ErrorKind};
use crate::errors::{Answered, prefers_json, with_headers_of};

/// The kind of a browser's request (Fetch Metadata). Other clients, and old browsers, do not send it.
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A layer that lets only signed-in users pass, or those with a permission.
///
/// Add it by `route_layer` to a route or a router, inside the [`UserLayer`](super::UserLayer). Others get:
///
/// | | a page | any other request |
/// |---|---|---|
/// | a visitor | 303 to the [sign-in page](Self::with_sign_in_page), or 401 | 401 |
/// | authenticated [too long ago](Self::with_recent) | 303 to the [confirmation page](Self::with_confirm_page), or 401 | 401 |
/// | without the [permission](Self::with_permission) | 403 | 403 |
/// | an [actor](crate::acting), under [`with_recent`](Self::with_recent) or [`without_actor`](Self::without_actor) | 403 | 403 |
///
/// A page is requested by `GET` or `HEAD`, without preference for JSON, and by the navigation of a browser or by a client that does not
/// tell (`Sec-Fetch-Mode`): not by a script or a socket, nor with the token in a header.
///
/// Both pages get the path as `next` ([`NextPath`](super::NextPath) reads it). Leave them outside the guard: inside it, they are a
/// 401. A request with another method is not repeated after the sign-in. If the store or [`Users::find`] fails, all get 503. A
/// permission has no error: one that cannot be read is a `false`, and so a 403.
///
/// To close a whole router, call `route_layer` with the guard after its routes; those added later are open. `layer` also covers the
/// fallback, so that a visitor does not learn which paths exist. A CORS preflight has no cookie: add a CORS layer outside of the guard.
#[must_use]
pub struct UserGuard<U: Users, M = ()> {
    rules: Arc<Rules<U>>,
    marker: PhantomData<fn() -> M>,
}

struct Rules<U: Users> {
    sign_in: Option<LocalPath>,
    recent: Option<Duration>,
    confirm: Option<LocalPath>,
    permissions: Vec<Permission<U>>,
    refuses_actors: bool,
}

type Permission<U> = Arc<dyn Fn(<U as Users>::User) -> Boxed<bool> + Send + Sync>;

impl<U: Users> UserGuard<U> {
    /// Creates a guard that lets every signed-in user pass.
    pub fn new() -> Self {
        let rules =
            Rules { sign_in: None, recent: None, confirm: None, permissions: Vec::new(), refuses_actors: false };
        Self { rules: Arc::new(rules), marker: PhantomData }
    }
}

impl<U: Users, M> UserGuard<U, M> {
    /// Sets the page to which visitors are redirected. Default: none, and they get 401.
    pub fn with_sign_in_page(self, page: LocalPath) -> Self {
        self.with(|rules| rules.sign_in = Some(page))
    }

    /// Demands that the user has authenticated at most `age` ago (OWASP ASVS 5.0 V7.5.3).
    pub fn with_recent(self, age: Duration) -> Self {
        self.with(|rules| rules.recent = Some(age))
    }

    /// Sets the page on which users authenticate again. Default: none, and they get 401.
    ///
    /// It also serves the routes inside the guard whose handlers demand it: by
    /// [`RecentlySignedIn`](crate::RecentlySignedIn), or by [`require_recent`](crate::Session::require_recent).
    pub fn with_confirm_page(self, page: LocalPath) -> Self {
        self.with(|rules| rules.confirm = Some(page))
    }

    /// Demands a permission: an async predicate on the user. Of several, each must hold.
    ///
    /// A predicate that uses a database clones its handle for each request:
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use sessile::user::{UserGuard, Users};
    /// # struct Database;
    /// # impl Database { async fn may_publish(&self, _: &str) -> bool { true } }
    /// fn editors<U: Users<User = String>>(database: Arc<Database>) -> UserGuard<U> {
    ///     UserGuard::new().with_permission(move |user: String| {
    ///         let database = Arc::clone(&database);
    ///         async move { database.may_publish(&user).await }
    ///     })
    /// }
    /// ```
    pub fn with_permission<F, Fut>(self, predicate: F) -> Self
    where
        F: Fn(U::User) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = bool> + Send + 'static,
    {
        let permission: Permission<U> = Arc::new(move |user| Box::pin(predicate(user)));
        self.with(|rules| rules.permissions.push(permission))
    }

    /// Refuses requests in which another user [acts](crate::acting) as the signed-in one. Default: they pass.
    pub fn without_actor(self) -> Self {
        self.with(|rules| rules.refuses_actors = true)
    }

    /// Sets the marker of the session layer.
    pub fn with_marker<N>(self) -> UserGuard<U, N> {
        UserGuard { rules: self.rules, marker: PhantomData }
    }

    fn with(self, set: impl FnOnce(&mut Rules<U>)) -> Self {
        let mut rules = Rules::clone(&self.rules);
        set(&mut rules);
        Self { rules: Arc::new(rules), ..self }
    }
}

impl<U: Users> Rules<U> {
    /// Checks whether a request may pass.
    async fn check<M: 'static>(&self, current: &CurrentUser<U, M>) -> Result<(), Error> {
        let Some(user) = current.load().await? else { return Err(current.not_signed_in().await?) };
        if self.refuses_actors && current.load_actor().await?.is_some() {
            return Err(Error::new(ErrorKind::ActingAsAnother));
        }
        if let Some(age) = self.recent {
            current.session().await?.require_recent(age)?;
        }
        for permission in &self.permissions {
            if !permission(user.clone()).await {
                return Err(Error::new(ErrorKind::PermissionDenied));
            }
        }
        Ok(())
    }

    /// Returns the redirect of the request of a page to the page that can help; `None` if none can.
    fn redirect(&self, kind: ErrorKind, path: &RequestPath) -> Option<Response> {
        let page = match kind {
            ErrorKind::NotSignedIn => self.sign_in.as_ref(),
            ErrorKind::ReauthenticationRequired => self.confirm.as_ref(),
            _ => None,
        };
        // A page that is itself behind the guard would redirect to itself without end.
        let page = page.filter(|page| !path.is_of(page))?;
        let mut response = Response::default();
        *response.status_mut() = StatusCode::SEE_OTHER;
        let address = HeaderValue::try_from(page.with_next(path.local().as_ref()));
        response.headers_mut().insert(LOCATION, address.expect("the path and its encoded query are visible ASCII"));
        for name in [ACCEPT, SEC_FETCH_MODE] {
            vary_by(response.headers_mut(), &name);
        }
        Some(response)
    }
}

/// Checks whether a browser is about to show the answer to its user, rather than to give it to a script.
fn is_for_page(head: &Parts) -> bool {
    let headers = &head.headers;
    matches!(head.method, Method::GET | Method::HEAD)
        && headers.get(SEC_FETCH_MODE).is_none_or(|mode| mode == "navigate")
        && !headers.contains_key(UPGRADE)
        && !prefers_json(headers)
}

impl<U: Users> Clone for Rules<U> {
    fn clone(&self) -> Self {
        Self {
            sign_in: self.sign_in.clone(),
            recent: self.recent,
            confirm: self.confirm.clone(),
            permissions: self.permissions.clone(),
            refuses_actors: self.refuses_actors,
        }
    }
}

impl<U: Users> Default for UserGuard<U> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S, U: Users, M> Layer<S> for UserGuard<U, M> {
    type Service = GuardService<S, U, M>;

    fn layer(&self, inner: S) -> Self::Service {
        GuardService { inner, guard: self.clone() }
    }
}

impl<U: Users, M> Clone for UserGuard<U, M> {
    fn clone(&self) -> Self {
        Self { rules: Arc::clone(&self.rules), marker: PhantomData }
    }
}

impl<U: Users, M> fmt::Debug for UserGuard<U, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserGuard")
            .field("sign_in", &self.rules.sign_in)
            .field("recent", &self.rules.recent)
            .field("confirm", &self.rules.confirm)
            .field("permissions", &self.rules.permissions.len())
            .field("refuses_actors", &self.rules.refuses_actors)
            .finish()
    }
}

/// The service of a [`UserGuard`].
pub struct GuardService<S, U: Users, M = ()> {
    inner: S,
    guard: UserGuard<U, M>,
}

impl<S, U, M> Service<Request> for GuardService<S, U, M>
where
    S: Service<Request> + Clone + Send + 'static,
    S::Future: Send,
    S::Response: IntoResponse,
    U: Users,
    M: 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = GuardFuture<S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let rules = Arc::clone(&self.guard.rules);
        // The clone that is ready must serve the request.
        let spare = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, spare);
        GuardFuture(Box::pin(async move {
            let (head, body) = request.into_parts();
            let current = match current::<U, M>(&head) {
                Ok(current) => current,
                Err(error) => return Ok(error.into_response()),
            };
            let is_for_page = is_for_page(&head) && !current.is_by_header();
            let redirect = |kind| is_for_page.then(|| rules.redirect(kind, current.path())).flatten();
            if let Err(error) = rules.check(&current).await {
                return Ok(redirect(error.kind()).unwrap_or_else(|| error.into_response()));
            }
            let mut response = inner.call(Request::from_parts(head, body)).await?.into_response();
            let kind = ErrorKind::ReauthenticationRequired;
            let is_answered = response.extensions().get::<Answered>().is_some();
            let is_refusal = response.extensions().get() == Some(&kind) && !is_answered;
            // The refusal may be that of an inner layer's session.
            let is_own = is_refusal && current.session().await.is_ok_and(|session| session.needs_reauthentication());
            let Some(redirect) = is_own.then(|| redirect(kind)).flatten() else { return Ok(response) };
            response.extensions_mut().remove::<ErrorKind>();
            Ok(with_headers_of(response, redirect))
        }))
    }
}

impl<S: Clone, U: Users, M> Clone for GuardService<S, U, M> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), guard: self.guard.clone() }
    }
}

impl<S: fmt::Debug, U: Users, M> fmt::Debug for GuardService<S, U, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardService").field("inner", &self.inner).field("guard", &self.guard).finish()
    }
}

/// The response future of a [`GuardService`].
pub struct GuardFuture<E>(Boxed<Result<Response, E>>);

impl<E> Future for GuardFuture<E> {
    type Output = Result<Response, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

impl<E> fmt::Debug for GuardFuture<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GuardFuture")
    }
}
