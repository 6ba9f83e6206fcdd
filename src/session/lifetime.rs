//! How long a session lives.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::error::{ConfigError, ConfigErrorKind};

/// How long a retired secret is remembered, and how long one that a periodic rotation replaced still works.
pub(crate) const GRACE: Duration = Duration::from_secs(30);

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a session lives, and how often its secret is renewed.
///
/// Both limits are enforced on the server, whatever the cookie says (NIST SP 800-63B-4 §5.2, OWASP ASVS 5.0
/// V7.3.1 and V7.3.2). The default is [`Lifetime::aal2`]: one hour idle, 24 hours in all, no periodic rotation,
/// and a cookie that the browser forgets when it is closed.
///
/// ```
/// use std::time::Duration;
/// use sessile::Lifetime;
///
/// const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// // "Remember me": two weeks without a visit, ninety days in all, kept across restarts of the browser.
/// let remember_me = Lifetime::new()
///     .with_idle_timeout(14 * DAY)
///     .with_absolute_timeout(90 * DAY)
///     .with_refresh_interval(DAY)
///     .with_max_age(90 * DAY);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    pub(crate) idle: Option<Duration>,
    pub(crate) absolute: Duration,
    pub(crate) rotation: Option<Duration>,
    pub(crate) max_age: Option<Duration>,
}

impl Lifetime {
    /// The longest `Max-Age` that user agents honour: 400 days (RFC 6265bis §5.5).
    pub const MAX_COOKIE_AGE: Duration = Duration::from_secs(400 * 24 * 60 * 60);

    /// The default: the same as [`Lifetime::aal2`].
    #[must_use]
    pub const fn new() -> Self {
        Self::aal2()
    }

    /// NIST SP 800-63B-4, assurance level 1: 30 days in all, no idle limit.
    #[must_use]
    pub const fn aal1() -> Self {
        Self { idle: None, absolute: Duration::from_secs(30 * DAY.as_secs()), rotation: None, max_age: None }
    }

    /// NIST SP 800-63B-4, assurance level 2: one hour idle, 24 hours in all.
    #[must_use]
    pub const fn aal2() -> Self {
        Self { idle: Some(HOUR), absolute: DAY, rotation: None, max_age: None }
    }

    /// NIST SP 800-63B-4, assurance level 3: 15 minutes idle, 12 hours in all.
    #[must_use]
    pub const fn aal3() -> Self {
        Self {
            idle: Some(Duration::from_secs(15 * MINUTE.as_secs())),
            absolute: Duration::from_secs(12 * HOUR.as_secs()),
            rotation: None,
            max_age: None,
        }
    }

    /// Ends a session that was not used for this long. Default: one hour.
    ///
    /// The use of a session is noted at most once in a tenth of this time (or of `Max-Age`, where that is shorter).
    #[must_use]
    pub const fn with_idle_timeout(mut self, idle: Duration) -> Self {
        self.idle = Some(idle);
        self
    }

    /// Does not end a session for not being used.
    #[must_use]
    pub const fn without_idle_timeout(mut self) -> Self {
        self.idle = None;
        self
    }

    /// Ends a session this long after it was begun or last signed in, however busy it is. Default: 24 hours.
    #[must_use]
    pub const fn with_absolute_timeout(mut self, absolute: Duration) -> Self {
        self.absolute = absolute;
        self
    }

    /// Gives the client a new secret when the present one is this old (OWASP Session Management Cheat Sheet,
    /// "renewal timeout"). At least 30 seconds. Default: never.
    #[must_use]
    pub const fn with_refresh_interval(mut self, period: Duration) -> Self {
        self.rotation = Some(period);
        self
    }

    /// Has the browser keep the cookie for this long, across restarts. At most 400 days; cut to what is left of
    /// the absolute lifetime. Default: until the browser is closed (NIST SP 800-63B-4 §5.1.1).
    #[must_use]
    pub const fn with_max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// Says why this lifetime cannot work.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.idle.is_some_and(|idle| idle < Duration::from_millis(1)) {
            return Err(ConfigError::new(
                ConfigErrorKind::Lifetime,
                "the idle lifetime is zero, so that every session has expired",
            ));
        }
        if self.absolute < Duration::from_millis(1) {
            return Err(ConfigError::new(
                ConfigErrorKind::Lifetime,
                "the absolute lifetime is zero, so that every session has expired",
            ));
        }
        if self.rotation.is_some_and(|period| period < GRACE) {
            return Err(ConfigError::new(
                ConfigErrorKind::Lifetime,
                "a rotation period under 30 seconds outruns its own grace",
            ));
        }
        if self.max_age.is_some_and(|age| age > Self::MAX_COOKIE_AGE) {
            return Err(ConfigError::new(
                ConfigErrorKind::Lifetime,
                "Max-Age is over 400 days, which user agents cut (RFC 6265bis §5.5)",
            ));
        }
        if self.max_age.is_some_and(|age| age < Duration::from_secs(1)) {
            return Err(ConfigError::new(
                ConfigErrorKind::Lifetime,
                "Max-Age is under a second, so that the cookie is deleted at once",
            ));
        }
        Ok(())
    }

    /// When a session ends that was begun at `started_at` and last used at `last_seen`.
    pub(crate) fn expires_at(&self, started_at: Timestamp, last_seen: Timestamp) -> Timestamp {
        let end = started_at.plus(self.absolute);
        match self.idle {
            Some(idle) => end.min(last_seen.plus(idle)),
            None => end,
        }
    }

    /// How long a use may go unnoted: a tenth of the idle time, or of the whole where there is none. Less where the cookie
    /// must be sent again sooner than that, lest the browser forgets it.
    pub(crate) fn touch_interval(&self) -> Duration {
        let shortest = self.idle.unwrap_or(self.absolute);
        self.max_age.map_or(shortest, |max_age| shortest.min(max_age)) / 10
    }

    /// What to say as `Max-Age` of a cookie that is sent now, in seconds.
    pub(crate) fn cookie_max_age(&self, started_at: Timestamp, now: Timestamp) -> Option<u64> {
        let left = started_at.plus(self.absolute).since(now);
        self.max_age.map(|age| age.min(left).as_secs().max(1))
    }
}

impl Default for Lifetime {
    fn default() -> Self {
        Self::new()
    }
}
