//! Settings of a layer, and the configuration that its services and [`Sessions`](crate::Sessions) share.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use http::request::Parts as RequestParts;
use http::response::Parts;

pub use tower_cookies::cookie::SameSite;

pub use crate::error::{ConfigError, ConfigErrorKind};
#[cfg(feature = "_keys")]
#[cfg_attr(docsrs, doc(cfg(any(feature = "private", feature = "sealed", feature = "signed"))))]
pub use crate::keys::KeyRing;
pub use crate::transport::TokenHeader;

use crate::backoff::{longest_pause, yield_now};
use crate::clock::Clock;
use crate::cookie_path::CookiePathDetector;
use crate::event::Events;
use crate::failure::commits_by_default;
use crate::lifetime::Lifetime;
use crate::plain_http::PlainHttpDetector;
use crate::queue::CommitQueue;
use crate::store::{AnyStore, Store};
use crate::transport::Transport;

/// Number of yields before a waiting commit continues without its turn.
const MAX_IDLE_YIELDS: u32 = 16;

/// The settings of a layer, and what its services share.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) store: AnyStore,
    pub(crate) clock: Clock,
    /// The realm of the sessions: a record of another realm opens none.
    pub(crate) realm: Arc<str>,
    pub(crate) lifetime: Lifetime,
    pub(crate) limits: Limits,
    pub(crate) strict_writes: bool,
    /// Most sessions of one owner.
    pub(crate) owner_limit: Option<usize>,
    pub(crate) replay_policy: ReplayPolicy,
    /// Lifetime of a new anonymous session until the client presents its token.
    pub(crate) unconfirmed: Option<Duration>,
    /// Directives of `Clear-Site-Data` when a session has ended.
    pub(crate) clear_site_data: Vec<SiteData>,
    /// Longest time that a commit may retry.
    pub(crate) commit_deadline: Duration,
    /// The order in which commits that have lost a race retry.
    pub(crate) queue: Arc<CommitQueue>,
    pub(crate) commit_on: CommitOn,
    /// Decides which requests are no use of their session; none if it is missing.
    pub(crate) passive_on: Option<PassiveOn>,
    /// Responses that did not load the session get the caching headers, too.
    pub(crate) vary_always: bool,
    pub(crate) events: Events,
    pub(crate) transport: Transport,
    pub(crate) plain_http: Arc<PlainHttpDetector>,
    pub(crate) cookie_path: Arc<CookiePathDetector>,
    /// The layer whose owners act as another in the sessions of this one.
    pub(crate) actors: Option<Arc<Self>>,
}

impl Config {
    /// Realm of a layer that has no cookie and sets none, and of sessions outside a layer.
    pub(crate) const REALM: &str = "id";
    /// Most bytes of a realm.
    pub(crate) const MAX_REALM_LENGTH: usize = 255;
    pub(crate) const COMMIT_DEADLINE: Duration = Duration::from_secs(5);

    /// Creates the default configuration for a store.
    pub(crate) fn new(store: impl Store) -> Self {
        Self {
            store: AnyStore::new(store),
            clock: Clock::system(),
            realm: Self::REALM.into(),
            lifetime: Lifetime::new(),
            limits: Limits::DEFAULT,
            strict_writes: false,
            owner_limit: None,
            replay_policy: ReplayPolicy::Report,
            unconfirmed: None,
            clear_site_data: Vec::new(),
            commit_deadline: Self::COMMIT_DEADLINE,
            queue: Arc::default(),
            commit_on: Arc::new(commits_by_default),
            passive_on: None,
            vary_always: false,
            events: Events::new(Self::REALM.into()),
            transport: Transport::default(),
            plain_http: Arc::default(),
            cookie_path: Arc::default(),
            actors: None,
        }
    }

    /// Sets the realm of the sessions and of their events.
    pub(crate) fn set_realm(&mut self, realm: Arc<str>) {
        self.events.set_realm(Arc::clone(&realm));
        self.realm = realm;
    }

    /// Waits as long as another commit may keep its turn without progress.
    pub(crate) async fn idle(&self) {
        if self.store.is_remote() {
            return longest_pause().await;
        }
        for _ in 0..MAX_IDLE_YIELDS {
            yield_now().await;
        }
    }

    /// Checks that the settings fit together.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.owner_limit == Some(0) {
            return Err(ConfigError::new(
                ConfigErrorKind::Setting,
                "owner limit must be at least 1; otherwise every sign-in would end its own session",
            ));
        }
        if self.unconfirmed.is_some_and(|lifetime| lifetime < Duration::from_millis(1)) {
            return Err(ConfigError::new(
                ConfigErrorKind::Setting,
                "unconfirmed lifetime is zero; every new session would expire at once",
            ));
        }
        if self.transport.without_cookie && self.transport.header.is_none() {
            return Err(ConfigError::new(
                ConfigErrorKind::Setting,
                "no carrier of tokens is left; give a header with with_token_header, or leave out without_cookie",
            ));
        }
        check_realm(&self.realm)?;
        self.lifetime.check()
    }
}

/// Checks that a realm is a short text without spaces and control characters, as a store's column or field takes it.
pub(crate) fn check_realm(realm: &str) -> Result<(), ConfigError> {
    if (1..=Config::MAX_REALM_LENGTH).contains(&realm.len()) && realm.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    let max = Config::MAX_REALM_LENGTH;
    let reason = format!("realm {realm:?} is invalid; use 1 to {max} visible ASCII characters");
    Err(ConfigError::new(ConfigErrorKind::Setting, reason))
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("realm", &self.realm)
            .field("lifetime", &self.lifetime)
            .field("limits", &self.limits)
            .field("strict_writes", &self.strict_writes)
            .field("owner_limit", &self.owner_limit)
            .field("replay_policy", &self.replay_policy)
            .field("unconfirmed", &self.unconfirmed)
            .field("clear_site_data", &self.clear_site_data)
            .field("commit_deadline", &self.commit_deadline)
            .field("vary_always", &self.vary_always)
            .field("transport", &self.transport)
            .finish_non_exhaustive()
    }
}

/// The most that one session may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of encoded keys and values.
    pub(crate) bytes: usize,
    /// Number of keys.
    pub(crate) keys: usize,
}

impl Limits {
    pub(crate) const DEFAULT: Self = Self { bytes: 1024 * 1024, keys: 1024 };
}

/// Decides by the head of a response whether its changes are committed.
pub(crate) type CommitOn = Arc<dyn Fn(&Parts) -> bool + Send + Sync>;

/// Decides by the head of a request whether it is no use of its session.
pub(crate) type PassiveOn = Arc<dyn Fn(&RequestParts) -> bool + Send + Sync>;

/// The reaction to a replayed token: one that a refresh replaced more than 30 seconds ago.
///
/// Two parties hold tokens of the session then, the client and perhaps a thief, and the server cannot tell which is which.
///
/// A token that was pending counts, too, if another pending one was presented first. The record remembers the tokens that the last
/// eight renewals replaced; earlier ones are [unknown](crate::event::EventKind::Unknown).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayPolicy {
    /// Raises [`Replayed`](crate::event::EventKind::Replayed) and leaves the session as it is.
    #[default]
    Report,
    /// Also ends the session, so that both parties must sign in again.
    ///
    /// Other tokens do not end it: not one that `rotate` or `sign_in` retired, nor one from before the session changed hands,
    /// nor an invented one. So an attacker cannot end a session whose id is known, or that the attacker planted.
    End,
}

/// Data that `Clear-Site-Data` asks a user agent to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SiteData {
    /// Cached resources of the origin, including pages that "back" would show.
    Cache,
    /// Cookies of the whole registrable domain, sibling hosts included.
    Cookies,
    /// Local storage, databases and service workers.
    Storage,
    /// Open pages of the origin, which a browser may reload.
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

    /// Returns the value of the header; `None` if it would be empty.
    pub(crate) fn header<'a>(data: impl IntoIterator<Item = &'a Self>) -> Option<HeaderValue> {
        let directives: Vec<_> = data.into_iter().map(|data| data.directive()).collect();
        let text = directives.join(", ");
        (!text.is_empty()).then(|| HeaderValue::try_from(text).expect("the directives are ASCII"))
    }
}
