//! Acting as another owner: support staff see the application as a user does, often called impersonation.
//!
//! An administrator begins an acting session, whose owner is the user and whose actor is the administrator (RFC 8693 §4.1). It is a
//! separate session, with a separate cookie and [realm](crate::SessionLayerBuilder::with_realm). The administrator's session and
//! cookie stay as they are, so that the end of the acting session is a return to them.
//!
//! [`ActingLayer`] goes inside the session layer. While the client has the cookie of an acting session, that is the session of the
//! request in the routes inside.
//!
//! ```
//! use axum::extract::Path;
//! use axum::response::Redirect;
//! use axum::routing::{get, post};
//! use axum::Router;
//! use sessile::acting::{Acting, ActingLayer};
//! use sessile::{Error, MemoryStore, SessionLayer, SignedIn};
//!
//! async fn act_as(admin: SignedIn, acting: Acting, Path(user): Path<String>) -> Result<Redirect, Error> {
//!     // First check that this administrator may act as this user.
//! #   assert_eq!(admin.owner(), "admin:1");
//!     acting.begin(&user).await?;
//!     Ok(Redirect::to("/"))
//! }
//!
//! async fn home(user: SignedIn) -> String {
//!     match user.actor() {
//!         Some(actor) => format!("{actor} acts as {}", user.owner()),
//!         None => format!("hello, {}", user.owner()),
//!     }
//! }
//!
//! /// Ends the acting session; without one, that of the user.
//! async fn sign_out(user: SignedIn) -> Result<Redirect, Error> {
//!     user.sign_out()?;
//!     Ok(Redirect::to("/"))
//! }
//!
//! let sessions = SessionLayer::new(MemoryStore::new());
//! let app: Router = Router::new()
//!     .route("/", get(home))
//!     .route("/act-as/{user}", post(act_as))
//!     .route("/sign-out", post(sign_out))
//!     .layer(ActingLayer::new(&sessions)?)
//!     .layer(sessions);
//! # Ok::<(), sessile::config::ConfigError>(())
//! ```
//!
//! # What holds
//!
//! - An acting session is live only while the actor's own session is, in the same browser. A request that uses it reads both: one
//!   `get` more. It counts as a use of both.
//! - Each attempt to commit reads the actor's own session again, so that a slow request writes nothing after its end, in a
//!   [transaction](crate::guide::transactions) neither: one `get` more for a write. A statement of `prepare_write` is checked when it is
//!   made.
//! - It ends with the absolute timeout of the actor's own session at the latest, and its cookie has no `Max-Age`.
//! - The actor cannot do what the user alone may: [`sign_in`](crate::Session::sign_in),
//!   [`reauthenticate`](crate::Session::reauthenticate), [`require_recent`](crate::Session::require_recent) and
//!   [`set_lifetime`](crate::Session::set_lifetime) fail with [`ActingAsAnother`](crate::ErrorKind::ActingAsAnother), which is a 403.
//!   So guard a change of the password with `require_recent`.
//! - After its end, an unsafe request (RFC 9110 §9.2.1) that has its cookie and uses the session is refused with 409, since it was meant
//!   for the user; so is a handshake of a WebSocket. A safe request goes on with the actor's own session. If it loads a page, and is
//!   neither [passive](crate::passive) nor by a script (`Sec-Fetch-Dest`), its response removes the cookie. From then on a form of the
//!   user's page in another tab would be sent as the actor: only a [CSRF token](crate::csrf), which belongs to one session, tells them
//!   apart. So use tokens wherever there is acting.
//! - Nothing can be written in the same request after [`sign_out`](crate::Session::sign_out): leave a message in the
//!   [actor's own](crate::Session::actor_session) session.
//! - [`Session::actor`](crate::Session::actor), [`StoredSession::actor`](crate::StoredSession::actor) and
//!   [`Event::actor`](crate::event::Event::actor) name the actor. The user's devices include the acting sessions that
//!   [`ActingLayer::sessions`] lists; [`end_all_of_in_every_realm`](crate::Sessions::end_all_of_in_every_realm) ends them, too.
#![cfg_attr(
    feature = "axum",
    doc = "
With [`Users`](crate::user::Users), call [`CurrentUser::act_as`](crate::user::CurrentUser::act_as) instead: it asks
[`may_act_as`](crate::user::Users::may_act_as), at the beginning and whenever a request looks the user up."
)]

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};

#[cfg(feature = "axum")]
use axum_core::extract::FromRequestParts;
#[cfg(feature = "axum")]
use http::request::Parts;
use http::{Extensions, Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use crate::config::{Config, ConfigError, ConfigErrorKind, SiteData};
use crate::error::Error;
use crate::future::ResponseFuture;
use crate::layer::SessionLayer;
use crate::lifetime::Lifetime;
use crate::request::{RequestKind, RequestSession};
use crate::service::insert;
#[cfg(feature = "axum")]
use crate::session::missing_layer;
use crate::session::{Session, SessionHandle};
use crate::sessions::Sessions;
use crate::transport::{Candidates, TokenLocation};

/// Ends the cookie's name and the realm of acting sessions.
const SUFFIX: &str = "-acting";

/// A layer for acting as another owner. The [module](self) says what holds.
///
/// Add it inside the [`SessionLayer`] from which it was made, inside a layer that migrates sessions, and around the layers and routes
/// that use sessions. Keep the prefix `__Host-` of the cookie: without it, a sibling host can plant one, and so block unsafe requests.
#[must_use]
pub struct ActingLayer<M = ()> {
    config: Arc<Config>,
    marker: PhantomData<fn() -> M>,
}

impl<M> ActingLayer<M> {
    /// Creates a layer whose actors are the owners of `layer`'s sessions.
    ///
    /// It has the settings of `layer`, except that its cookie's name and its realm end in `-acting`, that its cookie has no
    /// `Max-Age`, that it takes no token from a header, that no [owner limit](crate::SessionLayerBuilder::with_owner_limit) counts its
    /// sessions, and that [`Clear-Site-Data`](crate::SessionLayerBuilder::with_clear_site_data) leaves the cookies.
    ///
    /// # Errors
    ///
    /// A layer without a cookie, and a cookie or a realm whose name becomes too long.
    pub fn new(layer: &SessionLayer<M>) -> Result<Self, ConfigError> {
        let actors = layer.config();
        if actors.transport.without_cookie {
            let reason = "acting as another needs a cookie, and the layer has none";
            return Err(ConfigError::new(ConfigErrorKind::Setting, reason));
        }
        let mut config = Config::clone(actors);
        config.set_realm(format!("{}{SUFFIX}", actors.realm).into());
        config.transport.cookie = actors.transport.cookie.with_suffix(SUFFIX)?;
        config.transport.header = None;
        config.lifetime.max_age = None;
        config.owner_limit = None;
        config.clear_site_data.retain(|data| *data != SiteData::Cookies);
        config.actors = Some(Arc::clone(actors));
        config.check()?;
        Ok(Self { config: Arc::new(config), marker: PhantomData })
    }

    /// Sets the lifetime of acting sessions. Default: that of the session layer.
    ///
    /// A `Max-Age` has no effect. An acting session ends with the absolute timeout of its actor's own session at the latest.
    ///
    /// # Errors
    ///
    /// A lifetime under which no session can live.
    pub fn with_lifetime(self, lifetime: Lifetime) -> Result<Self, ConfigError> {
        lifetime.check()?;
        let lifetime = Lifetime { max_age: None, ..lifetime };
        Ok(Self { config: Arc::new(Config { lifetime, ..Config::clone(&self.config) }), ..self })
    }

    /// Returns the acting sessions, for use outside a request.
    ///
    /// It lists and finds those that are live, at the cost of one `get` more for each. To a [`Sessions`] of this realm that was made
    /// otherwise they are not live; it can only end them.
    #[must_use]
    pub fn sessions(&self) -> Sessions {
        Sessions::from_config(Arc::clone(&self.config))
    }
}

impl<S, M> Layer<S> for ActingLayer<M> {
    type Service = ActingService<S, M>;

    fn layer(&self, inner: S) -> Self::Service {
        ActingService { inner, config: Arc::clone(&self.config), marker: PhantomData }
    }
}

impl<M> Clone for ActingLayer<M> {
    fn clone(&self) -> Self {
        Self { config: Arc::clone(&self.config), marker: PhantomData }
    }
}

impl<M> fmt::Debug for ActingLayer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActingLayer").field("config", &self.config).finish()
    }
}

/// The service of an [`ActingLayer`].
pub struct ActingService<S, M = ()> {
    inner: S,
    config: Arc<Config>,
    marker: PhantomData<fn() -> M>,
}

impl<S, M, ReqBody, ResBody> Service<Request<ReqBody>> for ActingService<S, M>
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
        let handle = request.extensions().get::<SessionHandle<M>>();
        let own = handle.map(|handle| Arc::clone(handle.request()));
        let is_from = |own: &Arc<RequestSession>| {
            self.config.actors.as_ref().is_some_and(|actors| Arc::ptr_eq(actors, own.shared_config()))
        };
        // A second layer of this kind would find the session of the first.
        let is_second = Acting::<M>::of(request.extensions()).is_some();
        let Some(own) = own.filter(|own| !is_second && is_from(own)) else {
            return ResponseFuture::misconfigured(
                "an ActingLayer is not inside the SessionLayer from which it was made, or there are two: add the SessionLayer after it; \
                 a layer added later runs earlier",
            );
        };
        // The cookies of a request with the token header do not count.
        let candidates = match own.token_location() {
            TokenLocation::Cookie => self.config.transport.candidates(request.headers()),
            TokenLocation::Header => Candidates::default(),
        };
        let kind = RequestKind::of(&request);
        let session = RequestSession::new(Arc::clone(&self.config), candidates, own.scheme(), Some(Arc::clone(&own)));
        let session = session.with_is_outside_path(own.is_outside_path()).with_kind(kind);
        session.set_passive(own.is_passive());
        let session = Arc::new(session);
        if session.is_acting() {
            insert::<M>(request.extensions_mut(), &session);
        }
        request.extensions_mut().insert(Acting::<M> { session: Arc::clone(&session), marker: PhantomData });
        ResponseFuture::new(self.inner.call(request), session)
    }
}

impl<S: Clone, M> Clone for ActingService<S, M> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), config: Arc::clone(&self.config), marker: PhantomData }
    }
}

impl<S: fmt::Debug, M> fmt::Debug for ActingService<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActingService").field("inner", &self.inner).field("config", &self.config).finish()
    }
}

/// Begins acting sessions. [`ActingLayer`] puts it into the request's extensions.
pub struct Acting<M = ()> {
    session: Arc<RequestSession>,
    marker: PhantomData<fn() -> M>,
}

impl<M: 'static> Acting<M> {
    /// Returns that of the session of a request. One around an inner session layer does not count: its actor is another.
    pub(crate) fn of(extensions: &Extensions) -> Option<&Self> {
        let session = extensions.get::<SessionHandle<M>>()?.request();
        let is_session = |of_acting: &Arc<RequestSession>| Arc::ptr_eq(of_acting, session);
        let is_of_session =
            |acting: &&Self| is_session(&acting.session) || acting.session.actors_own().is_some_and(is_session);
        extensions.get().filter(is_of_session)
    }
}

impl<M> Acting<M> {
    /// Begins to act as `owner`, from the client's next request on, and returns the acting session.
    ///
    /// It checks no permission: the caller does. The response stores the session and sends its cookie.
    ///
    /// # Errors
    ///
    /// [`NotSignedIn`](crate::ErrorKind::NotSignedIn) if the actor's own session has no owner, or its sign-in is not committed yet;
    /// [`PermissionDenied`](crate::ErrorKind::PermissionDenied) if its token came in a header, since acting needs a cookie;
    /// [`ActingAsAnother`](crate::ErrorKind::ActingAsAnother) if the client acts as another already, and those of
    /// [`Session::insert`].
    pub async fn begin(&self, owner: &str) -> Result<Session<M>, Error> {
        self.session.act_as(owner).await?;
        Ok(Session::new(Arc::clone(&self.session)))
    }
}

impl<M> Clone for Acting<M> {
    fn clone(&self) -> Self {
        Self { session: Arc::clone(&self.session), marker: PhantomData }
    }
}

impl<M> fmt::Debug for Acting<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acting").finish_non_exhaustive()
    }
}

/// Rejects with 500 if no [`ActingLayer`] of this marker is around the handler.
#[cfg(feature = "axum")]
impl<S: Sync, M: 'static> FromRequestParts<S> for Acting<M> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        Self::of(&parts.extensions).cloned().ok_or_else(no_acting_layer::<M>)
    }
}

/// Returns the error of a handler without an [`ActingLayer`] around it, and logs the advice.
#[cfg(feature = "axum")]
pub(crate) fn no_acting_layer<M>() -> Error {
    let advice = "add .layer(ActingLayer::new(&sessions)?) after the routes and the UserLayer, and the session layer of this marker after \
                  it; a layer added later runs earlier";
    let marker = std::any::type_name::<M>();
    missing_layer(&format!("acting as another, but no ActingLayer<{marker}>"), advice.to_owned())
}
