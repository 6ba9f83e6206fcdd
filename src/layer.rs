//! The layer and its configuration.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tower_layer::Layer;

use crate::clock::Clock;
use crate::config::SameSite;
use crate::config::{CommitOn, Config, ReplayPolicy, SiteData};
use crate::error::ConfigError;
use crate::event::{Event, Events};
#[cfg(any(feature = "signed", feature = "private"))]
use crate::keys::KeyRing;
use crate::service::SessionService;
use crate::session::Lifetime;
use crate::sessions::Sessions;
use crate::store::Store;
#[cfg(any(feature = "signed", feature = "private"))]
use crate::transport::Sealing;
use crate::transport::{CookieOptions, TokenHeader};

/// Gives every request a session.
///
/// It reads the session cookie, puts a [`SessionHandle`](crate::SessionHandle) into the request's extensions, and on the
/// way out commits what changed and writes or clears the cookie. A request that does not use the session costs no store
/// operation.
///
/// Layers added later run earlier: add this one after those that use sessions.
///
/// # Examples
///
/// The defaults: an hour idle and a day in all, a cookie `__Host-id` that is `Secure`, `HttpOnly` and `SameSite=Lax`.
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
#[must_use]
pub struct SessionLayer<M = ()> {
    config: Arc<Config>,
    marker: PhantomData<fn() -> M>,
}

impl SessionLayer {
    /// A layer with the defaults, over this store.
    pub fn new(store: impl Store) -> Self {
        Self { config: Arc::new(Config::new(store)), marker: PhantomData }
    }

    /// Other settings than the defaults, over this store.
    pub fn builder(store: impl Store) -> SessionLayerBuilder {
        SessionLayerBuilder { config: Config::new(store), cookie: CookieOptions::default() }
    }
}

impl<M> SessionLayer<M> {
    /// The same layer under another marker: its sessions are `Session<N>` in handlers.
    ///
    /// Two layers in one application need two markers, and two cookie names.
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

    /// The layer's sessions, for use outside of a request.
    #[must_use]
    pub fn sessions(&self) -> Sessions {
        Sessions::of(Arc::clone(&self.config))
    }

    /// The name of the cookie, with its prefix.
    #[must_use]
    pub fn cookie_name(&self) -> &str {
        self.config.transport.cookie.name()
    }
}

#[cfg(feature = "testing")]
impl<M> SessionLayer<M> {
    /// The value of the cookie for a token.
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

/// The settings of a [`SessionLayer`]. What cannot work is refused by [`build`](SessionLayerBuilder::build).
#[must_use]
pub struct SessionLayerBuilder {
    config: Config,
    cookie: CookieOptions,
}

/// # The cookie
///
/// The cookie's name is given a prefix that binds it to its attributes, the strongest that they allow: `__Host-` with
/// `Secure`, `Path=/` and no `Domain`, else `__Secure-` with `Secure` (RFC 6265bis §4.1.3).
impl SessionLayerBuilder {
    /// The name of the cookie, without a prefix. Default: `id`, which names no framework (OWASP Session Management Cheat
    /// Sheet).
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.cookie.name = name.into().into();
        self
    }

    /// `Path`. Default: `/`. Any other does without the prefix `__Host-`.
    pub fn with_path(mut self, path: impl Into<String>) -> Self {
        self.cookie.path = path.into().into();
        self
    }

    /// `Domain`: sends the cookie to all hosts under it. Default: none, to the host that set it alone.
    pub fn with_domain(mut self, domain: impl Into<String>) -> Self {
        self.cookie.domain = Some(domain.into());
        self
    }

    /// `Secure`: over https and to localhost alone. Default: `true` (OWASP ASVS 5.0 V3.3.1).
    ///
    /// Where it is switched off, whoever can read the network can take over a session.
    pub fn with_secure(mut self, secure: bool) -> Self {
        self.cookie.secure = secure;
        self
    }

    /// `HttpOnly`: out of reach of scripts. Default: `true` (OWASP ASVS 5.0 V3.3.4).
    pub fn with_http_only(mut self, http_only: bool) -> Self {
        self.cookie.http_only = http_only;
        self
    }

    /// `SameSite`. Default: [`SameSite::Lax`] (OWASP ASVS 5.0 V3.3.2). `Strict` signs people out on every link from
    /// elsewhere, the way back from an identity provider among them.
    pub fn with_same_site(mut self, same_site: SameSite) -> Self {
        self.cookie.same_site = same_site;
        self
    }

    /// `Partitioned`: a jar of its own for each top-level site (CHIPS). Default: `false`.
    pub fn with_partitioned(mut self, partitioned: bool) -> Self {
        self.cookie.partitioned = partitioned;
        self
    }

    /// The prefix `__Host-Http-` or `__Http-` in place of `__Host-` or `__Secure-`, which user agents that know it
    /// accept from the server alone, and with `HttpOnly` alone (layered cookies draft). Default: `false`.
    pub fn with_http_prefix(mut self, http_prefix: bool) -> Self {
        self.cookie.http_prefix = http_prefix;
        self
    }

    /// `Max-Age`: keeps the cookie across restarts of the browser, for at most 400 days. Default: none. The same as
    /// [`Lifetime::with_max_age`] of the layer's lifetime.
    pub fn with_max_age(mut self, max_age: Duration) -> Self {
        self.config.lifetime = self.config.lifetime.with_max_age(max_age);
        self
    }
}

/// # Keys, and other carriers than the cookie
impl SessionLayerBuilder {
    /// Signs the cookie (HMAC-SHA-256): one that was made up or changed costs no store operation. A cookie that an old key
    /// of the ring had signed is sent again under the first, once its session was used. Default: neither signed nor encrypted;
    /// a token cannot be guessed either way.
    #[cfg(feature = "signed")]
    pub fn with_signed_cookie(mut self, keys: KeyRing) -> Self {
        self.cookie.sealing = Some(Sealing::Signed(keys));
        self
    }

    /// Encrypts the cookie (AES-256-GCM), so that it does not show the session's id, nor when it was created. Otherwise as
    /// [`with_signed_cookie`](SessionLayerBuilder::with_signed_cookie), in whose place it is.
    #[cfg(feature = "private")]
    pub fn with_private_cookie(mut self, keys: KeyRing) -> Self {
        self.cookie.sealing = Some(Sealing::Private(keys));
        self
    }

    /// Also takes tokens in a header, from clients that keep no cookies. Default: the cookie alone (OWASP Session Management
    /// Cheat Sheet).
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

    /// Takes no tokens in cookies, and sends none: every client is answered in the
    /// [header](SessionLayerBuilder::with_token_header), which must be given. Default: cookies are taken.
    pub fn without_cookie(mut self) -> Self {
        self.config.transport.without_cookie = true;
        self
    }
}

/// # Sessions
impl SessionLayerBuilder {
    /// How long sessions live. Default: [`Lifetime::new`], one hour idle and 24 hours in all.
    pub fn with_lifetime(mut self, lifetime: Lifetime) -> Self {
        self.config.lifetime = lifetime;
        self
    }

    /// The most bytes that the keys and values of one session may take, encoded. Default: 1 MiB.
    pub fn with_size_limit(mut self, bytes: usize) -> Self {
        self.config.size_limit = bytes;
        self
    }

    /// Refuses, with 409, an `insert` of a value that the request has read and that another has changed since. Default:
    /// `false`: it is an event, and the later write stays.
    pub fn with_strict_writes(mut self, strict: bool) -> Self {
        self.config.strict_writes = strict;
        self
    }

    /// The most sessions that one owner may have at once, at least one (OWASP ASVS 5.0 V7.1.2). Default: any number.
    ///
    /// When a sign-in is stored, the owner's sessions beyond the newest are ended, by the time of their sign-in; a failure to
    /// do so is an event, and made up for by the next sign-in. It needs a store that keeps an index of owners, and costs each
    /// sign-in one look-up in it.
    pub fn with_owner_limit(mut self, sessions: usize) -> Self {
        self.config.owner_limit = Some(sessions);
        self
    }

    /// What to do where a secret comes back that a periodic rotation had retired. Default: [`ReplayPolicy::Report`].
    pub fn with_replay_policy(mut self, policy: ReplayPolicy) -> Self {
        self.config.replay_policy = policy;
        self
    }

    /// How long a new session lives until its token comes back, where nobody has signed in: clients that drop cookies, robots
    /// most of all, leave no more behind than that. The first request that brings the token and uses the session gives it its
    /// whole lifetime. Default: the whole lifetime from the beginning. Ten minutes are a good choice.
    pub fn with_unconfirmed_lifetime(mut self, lifetime: Duration) -> Self {
        self.config.unconfirmed = Some(lifetime);
        self
    }

    /// Has the browser remove more than the session cookie, in the response that ends the session (OWASP ASVS 5.0 V14.3.1;
    /// W3C Clear Site Data). Where that response begins another session, its cookie stays. Default: nothing more.
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

    /// Which statuses commit what the handler did. Default: all but the class 5xx, as a failed transaction would not.
    ///
    /// A session that was ended is ended all the same, and what `commit` and the `_now` calls wrote stays.
    pub fn with_commit_on(mut self, predicate: impl Fn(StatusCode) -> bool + Send + Sync + 'static) -> Self {
        self.config.commit_on = CommitOn::when(predicate);
        self
    }

    /// How long a commit that keeps losing races may go on trying, before it is a 503. Default: 5 seconds.
    pub fn with_commit_deadline(mut self, deadline: Duration) -> Self {
        self.config.commit_deadline = deadline;
        self
    }

    /// Sets the longest pause between two attempts of a commit that lost a race or an answer. Pauses are random and grow with
    /// the attempts. Default: 250 milliseconds; zero only lets other tasks run. A [`MemoryStore`](crate::MemoryStore) never
    /// pauses for longer than that.
    pub fn with_commit_backoff(mut self, longest: Duration) -> Self {
        self.config.commit_backoff = longest;
        self
    }

    /// Is told what happens to sessions. It runs within requests: keep it short. Default: none; with the feature
    /// `tracing`, events are in the log in any case.
    pub fn with_event_hook(mut self, hook: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.config.events = Events::to(hook);
        self
    }

    /// Goes by this clock. Default: the system's.
    #[cfg(feature = "testing")]
    pub fn with_clock(mut self, clock: impl Into<Clock>) -> Self {
        self.config.clock = clock.into();
        self
    }

    /// The layer of these settings.
    ///
    /// # Errors
    ///
    /// What user agents would reject or ignore, and lifetimes under which no session can live, with the reason.
    pub fn build(mut self) -> Result<SessionLayer, ConfigError> {
        self.config.check()?;
        self.config.transport.cookie = self.cookie.build()?;
        Ok(SessionLayer { config: Arc::new(self.config), marker: PhantomData })
    }
}

impl fmt::Debug for SessionLayerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionLayerBuilder").field("config", &self.config).field("cookie", &self.cookie).finish()
    }
}
