//! The layer and its configuration.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use http::response::Parts;
use tower_layer::Layer;

#[cfg(feature = "testing")]
use crate::clock::Clock;
use crate::config::SameSite;
use crate::config::{Config, ReplayPolicy, SiteData};
use crate::error::ConfigError;
use crate::event::Event;
#[cfg(any(feature = "signed", feature = "private"))]
use crate::keys::KeyRing;
use crate::lifetime::Lifetime;
use crate::service::SessionService;
use crate::sessions::Sessions;
use crate::store::Store;
#[cfg(any(feature = "signed", feature = "private"))]
use crate::transport::CookieKeys;
use crate::transport::{CookieOptions, TokenHeader};

/// A layer that gives every request a session.
///
/// It reads the session cookie, adds a [`SessionHandle`](crate::SessionHandle) to the request's extensions, and with the response
/// commits the changes and writes or clears the cookie. A request that does not use its session costs no store operation.
///
/// A layer added later runs earlier: add this one after the layers that use sessions.
///
/// # Examples
///
/// The defaults: timeouts of one hour idle and 24 hours absolute, a cookie `__Host-id` with `Secure`, `HttpOnly`, `SameSite=Lax`.
///
/// ```
/// use axum::{Router, routing::get};
/// use sessile::{Error, MemoryStore, Session, SessionLayer};
///
/// async fn visits(session: Session) -> Result<String, Error> {
///     let n = session.update_now("visits", |n: &mut u32| { *n += 1; *n }).await?;
///     Ok(format!("visit {n}"))
/// }
///
/// let app: Router = Router::new().route("/", get(visits)).layer(SessionLayer::new(MemoryStore::new()));
/// ```
///
/// Other settings:
///
/// ```
/// use std::time::Duration;
/// use sessile::{Lifetime, MemoryStore, SessionLayer};
/// use sessile::config::SameSite;
///
/// let layer = SessionLayer::builder(MemoryStore::new())
///     .with_name("shop")
///     .with_same_site(SameSite::Strict)
///     .with_lifetime(Lifetime::new().with_idle_timeout(Duration::from_secs(15 * 60)))
///     .build()?;
/// # Ok::<(), sessile::config::ConfigError>(())
/// ```
///
/// # Response bodies
///
/// For an error, such as a failed commit, the layer replaces the response by one with an empty body. So the body of the service must
/// implement [`Default`], as axum's `Body` does. For `hyper::body::Incoming`, as a proxy has it, add tower-http's
/// `MapResponseBodyLayer` (feature `map-response-body`) inside this layer:
///
/// ```
/// use std::convert::Infallible;
/// use axum::body::Body;
/// use http::{Request, Response};
/// use hyper::body::Incoming;
/// use sessile::{MemoryStore, SessionLayer};
/// use tower::ServiceBuilder;
/// use tower_http::map_response_body::MapResponseBodyLayer;
///
/// async fn forward(request: Request<Incoming>) -> Result<Response<Incoming>, Infallible> {
///     // Send the request to another server.
/// #   let _ = request;
/// #   unreachable!()
/// }
///
/// let service = ServiceBuilder::new()
///     .layer(SessionLayer::new(MemoryStore::new()))
///     .layer(MapResponseBodyLayer::new(Body::new))
///     .service_fn(forward);
/// # fn is_service<S: tower::Service<Request<Incoming>, Response = Response<Body>>>(_: S) {}
/// # is_service(service);
/// ```
#[must_use]
pub struct SessionLayer<M = ()> {
    config: Arc<Config>,
    marker: PhantomData<fn() -> M>,
}

impl SessionLayer {
    /// Creates a layer with the default settings.
    pub fn new(store: impl Store) -> Self {
        Self { config: Arc::new(Config::new(store)), marker: PhantomData }
    }

    /// Creates a builder, for other settings than the defaults.
    pub fn builder(store: impl Store) -> SessionLayerBuilder {
        SessionLayerBuilder { config: Config::new(store), cookie: CookieOptions::default(), realm: None }
    }
}

impl<M> SessionLayer<M> {
    /// Sets the marker: the sessions of this layer are `Session<N>` in handlers.
    ///
    /// Two layers in one application need two markers and two cookie names.
    ///
    /// ```
    /// use sessile::{MemoryStore, Session, SessionLayer};
    ///
    /// struct Admin;
    ///
    /// async fn dashboard(visitor: Session, admin: Session<Admin>) {}
    ///
    /// let visitors = SessionLayer::new(MemoryStore::new());
    /// let admins = SessionLayer::builder(MemoryStore::new()).with_name("admin").build()?.with_marker::<Admin>();
    /// # let app: axum::Router = axum::Router::new().route("/", axum::routing::get(dashboard)).layer(admins).layer(visitors);
    /// # Ok::<(), sessile::config::ConfigError>(())
    /// ```
    pub fn with_marker<N>(self) -> SessionLayer<N> {
        SessionLayer { config: self.config, marker: PhantomData }
    }

    /// Returns the sessions of this layer, for use outside a request.
    #[must_use]
    pub fn sessions(&self) -> Sessions {
        Sessions::from_config(Arc::clone(&self.config))
    }

    pub(crate) const fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Returns the name of the cookie, with its prefix.
    #[must_use]
    pub fn cookie_name(&self) -> &str {
        self.config.transport.cookie.name()
    }
}

#[cfg(feature = "testing")]
impl<M> SessionLayer<M> {
    /// Returns the value of the cookie for a token.
    pub(crate) fn cookie_value(&self, token: &crate::token::Token) -> String {
        self.config.transport.cookie.value(token)
    }
}

impl<S, M> Layer<S> for SessionLayer<M> {
    type Service = SessionService<S, M>;

    fn layer(&self, inner: S) -> Self::Service {
        SessionService::new(inner, Arc::clone(&self.config))
    }
}

impl<M> Clone for SessionLayer<M> {
    fn clone(&self) -> Self {
        Self { config: Arc::clone(&self.config), marker: PhantomData }
    }
}

impl<M> fmt::Debug for SessionLayer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionLayer").field("config", &self.config).finish()
    }
}

/// Settings of a [`SessionLayer`]. [`build`](SessionLayerBuilder::build) refuses invalid ones.
#[derive(Clone)]
#[must_use]
pub struct SessionLayerBuilder {
    config: Config,
    cookie: CookieOptions,
    realm: Option<Arc<str>>,
}

/// # The cookie
///
/// The cookie's name gets the strongest prefix that its attributes allow, which makes browsers enforce them: `__Host-` with
/// `Secure`, `Path=/` and no `Domain`, else `__Secure-` with `Secure` (RFC 6265bis §4.1.3).
impl SessionLayerBuilder {
    /// Sets the name of the cookie, without a prefix. Default: `id`.
    ///
    /// The default does not reveal a framework (OWASP Session Management Cheat Sheet).
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.cookie.name = name.into().into();
        self
    }

    /// Sets `Path`. Default: `/`. With another path the cookie has no prefix `__Host-`.
    ///
    /// The browser sends the cookie only to this path and those below it. A handler elsewhere sees no session, and each of its
    /// writes starts a new one; the log warns once.
    pub fn with_path(mut self, path: impl Into<String>) -> Self {
        self.cookie.path = path.into().into();
        self
    }

    /// Sets `Domain`, so that all hosts under it get the cookie. Default: none, only the host that set it.
    pub fn with_domain(mut self, domain: impl Into<String>) -> Self {
        self.cookie.domain = Some(domain.into());
        self
    }

    /// Sets `Secure`: the cookie is sent only over https and to localhost. Default: `true` (OWASP ASVS 5.0 V3.3.1).
    ///
    /// Without it, an attacker who can read the network can take over sessions.
    pub fn with_secure(mut self, secure: bool) -> Self {
        self.cookie.secure = secure;
        self
    }

    /// Sets `HttpOnly`: scripts cannot read the cookie. Default: `true` (OWASP ASVS 5.0 V3.3.4).
    pub fn with_http_only(mut self, http_only: bool) -> Self {
        self.cookie.http_only = http_only;
        self
    }

    /// Sets `SameSite`. Default: [`SameSite::Lax`] (OWASP ASVS 5.0 V3.3.2).
    ///
    /// With `Strict`, a user who follows a link from another site is not signed in, and neither is one who returns from an
    /// identity provider.
    pub fn with_same_site(mut self, same_site: SameSite) -> Self {
        self.cookie.same_site = same_site;
        self
    }

    /// Sets `Partitioned`: a separate cookie for each top-level site (CHIPS). Default: `false`.
    pub fn with_partitioned(mut self, partitioned: bool) -> Self {
        self.cookie.partitioned = partitioned;
        self
    }

    /// Uses the prefix `__Host-Http-` or `__Http-` instead of `__Host-` or `__Secure-`. Default: `false`.
    ///
    /// User agents that support it accept such a cookie only from the server, with `HttpOnly` (layered cookies draft).
    pub fn with_http_prefix(mut self, http_prefix: bool) -> Self {
        self.cookie.http_prefix = http_prefix;
        self
    }

    /// Sets `Max-Age`, so that the cookie survives a restart of the browser. Default: none.
    ///
    /// The same as [`Lifetime::with_max_age`] of the layer's lifetime: for more than 24 hours, set an absolute timeout, too.
    pub fn with_max_age(mut self, max_age: Duration) -> Self {
        self.config.lifetime = self.config.lifetime.with_max_age(max_age);
        self
    }
}

/// # Signed cookies, and tokens in headers
impl SessionLayerBuilder {
    /// Signs the cookie (HMAC-SHA-256), so that an invented one costs no store operation. Default: not signed.
    ///
    /// A token cannot be guessed either way. A cookie that an old key has signed is sent again under the first key when its
    /// session is used.
    #[cfg(feature = "signed")]
    pub fn with_signed_cookie(mut self, keys: KeyRing) -> Self {
        self.cookie.keys = Some(CookieKeys::Signed(keys));
        self
    }

    /// Encrypts the cookie (AES-256-GCM), so that it hides the session id and its time. Default: not encrypted.
    ///
    /// It replaces [`with_signed_cookie`](SessionLayerBuilder::with_signed_cookie), and treats old keys alike.
    #[cfg(feature = "private")]
    pub fn with_private_cookie(mut self, keys: KeyRing) -> Self {
        self.cookie.keys = Some(CookieKeys::Private(keys));
        self
    }

    /// Also accepts tokens in a header, from clients without cookies. Default: only the cookie.
    ///
    /// The default follows the OWASP Session Management Cheat Sheet.
    ///
    /// ```
    /// use sessile::{MemoryStore, SessionLayer};
    /// use sessile::config::TokenHeader;
    ///
    /// let layer = SessionLayer::builder(MemoryStore::new()).with_token_header(TokenHeader::bearer()).build()?;
    /// # Ok::<(), sessile::config::ConfigError>(())
    /// ```
    pub fn with_token_header(mut self, header: TokenHeader) -> Self {
        self.config.transport.header = Some(header);
        self
    }

    /// Neither accepts nor sends cookies. Default: cookies are used.
    ///
    /// It requires a [header](SessionLayerBuilder::with_token_header).
    pub fn without_cookie(mut self) -> Self {
        self.config.transport.without_cookie = true;
        self
    }
}

/// # Sessions
impl SessionLayerBuilder {
    /// Sets the realm: the sessions of this layer open under no other realm, also in the same store. Default: the cookie's name
    /// without its prefix, or `id` without a cookie.
    ///
    /// It has 1 to 255 visible ASCII characters; a layer with a longer cookie name needs one. Two services that share a store and a
    /// cookie name need a realm each. A layer whose cookie is renamed keeps its sessions if the realm is set to the old name.
    pub fn with_realm(mut self, realm: &str) -> Self {
        self.realm = Some(realm.into());
        self
    }

    /// Sets the lifetime of sessions. Default: [`Lifetime::new`], one hour idle and 24 hours absolute.
    pub fn with_lifetime(mut self, lifetime: Lifetime) -> Self {
        self.config.lifetime = lifetime;
        self
    }

    /// Sets the most bytes of one session, keys and values encoded. Default: 1 MiB.
    pub fn with_size_limit(mut self, bytes: usize) -> Self {
        self.config.limits.bytes = bytes;
        self
    }

    /// Sets the most keys of one session. Default: 1,024.
    ///
    /// A look-up scans the keys, so that a session of very many takes long to fill and to read. Flash messages count as one
    /// key, and so do notes. A session that exceeds the limit, because it was lower or not checked before, can be read, and
    /// its values can be replaced and removed.
    pub fn with_key_limit(mut self, keys: usize) -> Self {
        self.config.limits.keys = keys;
        self
    }

    /// Refuses an `insert` that depends on an outdated read, with 409. Default: `false`.
    ///
    /// That is an `insert` of a value that the request has read, and that another request has changed since. By default it
    /// raises an event, and the later write stays.
    pub fn with_strict_writes(mut self, strict: bool) -> Self {
        self.config.strict_writes = strict;
        self
    }

    /// Sets the most sessions of one owner, at least 1 (OWASP ASVS 5.0 V7.1.2). Default: no limit.
    ///
    /// After a sign-in is stored, the owner's oldest sessions beyond the limit are ended, by the time of their sign-in. A failure
    /// raises an event, and the next sign-in ends the rest. The session that has just signed in never ends, so concurrent sign-ins
    /// may leave more than the limit until the next one. The store must have an index of owners, and each sign-in costs one
    /// more look-up.
    pub fn with_owner_limit(mut self, sessions: usize) -> Self {
        self.config.owner_limit = Some(sessions);
        self
    }

    /// Sets what happens when a client presents a token that a refresh has replaced. Default: [`ReplayPolicy::Report`].
    pub fn with_replay_policy(mut self, policy: ReplayPolicy) -> Self {
        self.config.replay_policy = policy;
        self
    }

    /// Sets the lifetime of a new anonymous session until the client presents its token. Default: the whole lifetime.
    ///
    /// Clients that drop cookies, such as robots, leave sessions behind only for this long. The first request that presents the
    /// token and uses the session extends it to the whole lifetime. Ten minutes are a good choice.
    pub fn with_unconfirmed_lifetime(mut self, lifetime: Duration) -> Self {
        self.config.unconfirmed = Some(lifetime);
        self
    }

    /// Sends `Clear-Site-Data` when a session ends (OWASP ASVS 5.0 V14.3.1; W3C Clear Site Data). Default: not sent.
    ///
    /// If the same response starts another session, its cookie stays.
    ///
    /// ```
    /// use sessile::{MemoryStore, SessionLayer};
    /// use sessile::config::SiteData;
    ///
    /// let layer = SessionLayer::builder(MemoryStore::new()).with_clear_site_data([SiteData::Cache, SiteData::Storage]).build()?;
    /// # Ok::<(), sessile::config::ConfigError>(())
    /// ```
    pub fn with_clear_site_data(mut self, data: impl IntoIterator<Item = SiteData>) -> Self {
        self.config.clear_site_data = data.into_iter().collect();
        self
    }

    /// Sets which responses commit the changes, by their head. Default: all but failures.
    ///
    /// Failures are the statuses 5xx and 408, which timeout layers send for a handler that they stopped halfway, and gRPC
    /// responses (content type `application/grpc` and its variants) with another `grpc-status` than 0 in the head. A gRPC status
    /// in the trailers follows the head, and so the commit: such a response commits.
    ///
    /// A session that the handler ended ends with every response, and what `commit` and the `_now` calls wrote stays.
    ///
    /// ```
    /// use sessile::{MemoryStore, SessionLayer};
    ///
    /// let layer = SessionLayer::builder(MemoryStore::new()).with_commit_on(|head| head.status.is_success()).build()?;
    /// # Ok::<(), sessile::config::ConfigError>(())
    /// ```
    pub fn with_commit_on(mut self, predicate: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.config.commit_on = Arc::new(predicate);
        self
    }

    /// Sets which requests are [passive](crate::passive::PassiveLayer), no use of their session, by their head. Default: none.
    ///
    /// ```
    /// use sessile::{MemoryStore, SessionLayer};
    ///
    /// let layer = SessionLayer::builder(MemoryStore::new())
    ///     .with_passive_on(|head| head.headers.contains_key("x-polling"))
    ///     .build()?;
    /// # Ok::<(), sessile::config::ConfigError>(())
    /// ```
    pub fn with_passive_on(
        mut self,
        predicate: impl Fn(&http::request::Parts) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.config.passive_on = Some(Arc::new(predicate));
        self
    }

    /// Marks every response as dependent on the session, also without a load before its head is sent. Default: `false`.
    ///
    /// For bodies that load the session while they are streamed, as those of Leptos and Dioxus do: the head is sent by then, and a
    /// cache could show the page of one client to another. Each response gets the `Vary` and the `Cache-Control: private` of one
    /// that has loaded the session, so serve files for all clients outside the layer.
    pub fn with_vary_always(mut self, vary_always: bool) -> Self {
        self.config.vary_always = vary_always;
        self
    }

    /// Sets how long a commit that loses races may retry; after that it fails with 503. Default: 5 seconds.
    pub fn with_commit_deadline(mut self, deadline: Duration) -> Self {
        self.config.commit_deadline = deadline;
        self
    }

    /// Sets a callback for session events. It runs within requests, so keep it short. Default: none.
    ///
    /// With the feature `tracing` events are also logged.
    pub fn with_event_hook(mut self, hook: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.config.events.set_hook(hook);
        self
    }

    /// Sets the clock. Default: the system clock.
    #[cfg(feature = "testing")]
    pub fn with_clock(mut self, clock: impl Into<Clock>) -> Self {
        self.config.clock = clock.into();
        self
    }

    /// Builds the layer.
    ///
    /// # Errors
    ///
    /// A cookie that user agents would reject, a lifetime under which no session can live, and settings that exclude each other.
    pub fn build(mut self) -> Result<SessionLayer, ConfigError> {
        let realm = self.realm.or_else(|| (!self.config.transport.without_cookie).then(|| (&*self.cookie.name).into()));
        self.config.set_realm(realm.unwrap_or_else(|| Config::REALM.into()));
        self.config.transport.cookie = self.cookie.build()?;
        self.config.check()?;
        Ok(SessionLayer { config: Arc::new(self.config), marker: PhantomData })
    }
}

impl fmt::Debug for SessionLayerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionLayerBuilder").field("config", &self.config).field("cookie", &self.cookie).finish()
    }
}
