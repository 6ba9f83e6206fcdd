//! Settings of a layer, and the configuration that its services and [`Sessions`](crate::Sessions) share.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, StatusCode};

pub use tower_cookies::cookie::SameSite;

pub use crate::error::{ConfigError, ConfigErrorKind};
#[cfg(feature = "_keys")]
#[cfg_attr(docsrs, doc(cfg(any(feature = "private", feature = "sealed", feature = "signed"))))]
pub use crate::keys::KeyRing;
pub use crate::transport::TokenHeader;

use crate::backoff::pause;
use crate::clock::Clock;
use crate::event::Events;
use crate::session::{Lifetime, Turns};
use crate::store::{AnyStore, Store};
use crate::transport::Transport;

#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) store: AnyStore,
    pub(crate) clock: Clock,
    pub(crate) lifetime: Lifetime,
    /// In bytes of encoded keys and values.
    pub(crate) size_limit: usize,
    pub(crate) strict_writes: bool,
    /// The most sessions that one owner may have at once.
    pub(crate) owner_limit: Option<usize>,
    pub(crate) replay_policy: ReplayPolicy,
    /// How long a new anonymous session lives until its token comes back.
    pub(crate) unconfirmed: Option<Duration>,
    /// What to say in `Clear-Site-Data` where a session was ended.
    pub(crate) clear_site_data: Vec<SiteData>,
    /// How long a commit may go on trying.
    pub(crate) commit_deadline: Duration,
    /// Longest pause between two attempts of a commit.
    pub(crate) commit_backoff: Duration,
    /// In which order commits go on that have lost a race.
    pub(crate) turns: Arc<Turns>,
    pub(crate) commit_on: CommitOn,
    pub(crate) events: Events,
    pub(crate) transport: Transport,
    /// Looks out for a cookie that the browser will drop.
    #[cfg(feature = "tracing")]
    pub(crate) watch: Arc<crate::plain_http::Watch>,
}

impl Config {
    pub(crate) const SIZE_LIMIT: usize = 1024 * 1024;
    pub(crate) const COMMIT_DEADLINE: Duration = Duration::from_secs(5);
    pub(crate) const COMMIT_BACKOFF: Duration = Duration::from_millis(250);

    /// The defaults, over a store.
    pub(crate) fn new(store: impl Store) -> Self {
        Self {
            store: AnyStore::new(store),
            clock: Clock::system(),
            lifetime: Lifetime::new(),
            size_limit: Self::SIZE_LIMIT,
            strict_writes: false,
            owner_limit: None,
            replay_policy: ReplayPolicy::Report,
            unconfirmed: None,
            clear_site_data: Vec::new(),
            commit_deadline: Self::COMMIT_DEADLINE,
            commit_backoff: Self::COMMIT_BACKOFF,
            turns: Arc::default(),
            commit_on: CommitOn::default(),
            events: Events::default(),
            transport: Transport::default(),
            #[cfg(feature = "tracing")]
            watch: Arc::default(),
        }
    }

    /// Waits before the next attempt of a commit; `attempt` counts from 1.
    pub(crate) async fn pause(&self, attempt: u32) {
        pause(attempt, self.store.max_pause(self.commit_backoff)).await;
    }

    /// Says why these settings cannot work.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.owner_limit == Some(0) {
            return Err(ConfigError::new(
                ConfigErrorKind::Setting,
                "an owner limit of zero, so that every sign-in ends its own session",
            ));
        }
        if self.unconfirmed.is_some_and(|lifetime| lifetime < Duration::from_millis(1)) {
            return Err(ConfigError::new(
                ConfigErrorKind::Setting,
                "the unconfirmed lifetime is zero, so that every new session has expired",
            ));
        }
        if self.transport.without_cookie && self.transport.header.is_none() {
            return Err(ConfigError::new(ConfigErrorKind::Setting, "neither a cookie nor a header carries tokens"));
        }
        self.lifetime.check()
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("lifetime", &self.lifetime)
            .field("size_limit", &self.size_limit)
            .field("strict_writes", &self.strict_writes)
            .field("owner_limit", &self.owner_limit)
            .field("replay_policy", &self.replay_policy)
            .field("unconfirmed", &self.unconfirmed)
            .field("clear_site_data", &self.clear_site_data)
            .field("commit_deadline", &self.commit_deadline)
            .field("transport", &self.transport)
            .finish_non_exhaustive()
    }
}

/// Which answers commit what their handlers did.
#[derive(Clone)]
pub(crate) struct CommitOn(Option<Arc<dyn Fn(StatusCode) -> bool + Send + Sync>>);

impl CommitOn {
    pub(crate) fn when(predicate: impl Fn(StatusCode) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(predicate)))
    }

    pub(crate) fn allows(&self, status: StatusCode) -> bool {
        match &self.0 {
            Some(predicate) => predicate(status),
            None => !status.is_server_error(),
        }
    }
}

impl Default for CommitOn {
    /// All but those of the class 5xx.
    fn default() -> Self {
        Self(None)
    }
}

/// What to do where a secret is presented that a periodic rotation had retired longer ago than the grace of 30 seconds, in
/// the same epoch: somebody has a copy of it, the client or a thief, and there is no telling which.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayPolicy {
    /// Raises [`Replayed`](crate::event::EventKind::Replayed), and leaves the session alone.
    #[default]
    Report,
    /// Ends the session, beside that, so that both must sign in again.
    ///
    /// No other token does it: not one that `rotate` or `sign_in` retired, nor one of before the session changed hands, nor an
    /// invented one. So nobody can end a session by knowing its id or by having planted it.
    End,
}

/// What a user agent is asked to remove with `Clear-Site-Data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SiteData {
    /// What the browser has cached of the origin, pages that "back" would show among them.
    Cache,
    /// The cookies of the origin's whole registrable domain: of its sibling hosts, too.
    Cookies,
    /// Local storage, databases and service workers.
    Storage,
    /// Reloads the origin's open pages, where the browser does that.
    ExecutionContexts,
}

impl SiteData {
    const fn directive(self) -> &'static str {
        match self {
            Self::Cache => "\"cache\"",
            Self::Cookies => "\"cookies\"",
            Self::Storage => "\"storage\"",
            Self::ExecutionContexts => "\"executionContexts\"",
        }
    }

    /// The value of the header; `None` where it would say nothing.
    pub(crate) fn header<'a>(data: impl IntoIterator<Item = &'a Self>) -> Option<HeaderValue> {
        let directives: Vec<_> = data.into_iter().map(|data| data.directive()).collect();
        let text = directives.join(", ");
        (!text.is_empty()).then(|| HeaderValue::try_from(text).expect("the directives are plain text"))
    }
}
