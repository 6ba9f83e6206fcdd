//! The settled configuration that a layer, its services and [`Sessions`](crate::Sessions) share.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::clock::Clock;
use crate::event::Events;
use crate::session::{Lifetime, Turns};
use crate::store::{ErasedStore, Store};
use crate::transport::CookieTemplate;

#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) store: Arc<dyn ErasedStore>,
    pub(crate) clock: Clock,
    pub(crate) lifetime: Lifetime,
    /// In bytes of encoded keys and values.
    pub(crate) size_limit: usize,
    pub(crate) strict_writes: bool,
    /// How long a commit may go on trying.
    pub(crate) commit_deadline: Duration,
    /// In which order commits go on that have lost a race.
    pub(crate) turns: Arc<Turns>,
    pub(crate) commit_on: CommitOn,
    pub(crate) events: Events,
    pub(crate) cookie: CookieTemplate,
}

impl Config {
    pub(crate) const SIZE_LIMIT: usize = 1024 * 1024;
    pub(crate) const COMMIT_DEADLINE: Duration = Duration::from_secs(5);

    /// The defaults, over a store.
    pub(crate) fn new(store: impl Store) -> Self {
        Self {
            store: Arc::new(store),
            clock: Clock::system(),
            lifetime: Lifetime::new(),
            size_limit: Self::SIZE_LIMIT,
            strict_writes: false,
            commit_deadline: Self::COMMIT_DEADLINE,
            turns: Arc::default(),
            commit_on: CommitOn::default(),
            events: Events::default(),
            cookie: CookieTemplate::default(),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("lifetime", &self.lifetime)
            .field("size_limit", &self.size_limit)
            .field("strict_writes", &self.strict_writes)
            .field("commit_deadline", &self.commit_deadline)
            .field("cookie", &self.cookie)
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

/// A configuration that cannot work, and why.
#[derive(Debug)]
pub struct ConfigError {
    reason: String,
}

impl ConfigError {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl StdError for ConfigError {}
