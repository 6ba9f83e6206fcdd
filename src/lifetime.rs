//! The timeouts of a session.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::error::{ConfigError, ConfigErrorKind};

/// Time for which a retired secret is remembered, and a secret that a refresh replaced still works.
pub(crate) const GRACE: Duration = Duration::from_secs(30);

/// Default time after the idle timeout during which a request under way can still commit.
const MARGIN: Duration = Duration::from_secs(5 * 60);

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Timeouts of a session, the interval of its refresh, and the age of its cookie.
///
/// The server enforces both timeouts, whatever the cookie says (NIST SP 800-63B-4 §5.2, OWASP ASVS 5.0 V7.3.1 and V7.3.2).
/// The default is [`Lifetime::aal2`]: an idle timeout of one hour, an absolute timeout of 24 hours, no refresh, and a cookie
/// that the browser drops when it is closed.
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
    pub(crate) refresh: Option<Duration>,
    pub(crate) max_age: Option<Duration>,
    /// Time after the idle timeout during which a request under way can still commit.
    pub(crate) margin: Duration,
}

impl Lifetime {
    /// Largest `Max-Age` that user agents accept: 400 days (RFC 6265bis §5.5).
    pub const MAX_COOKIE_AGE: Duration = Duration::from_secs(400 * 24 * 60 * 60);

    /// Creates the default lifetime, which is [`Lifetime::aal2`].
    #[must_use]
    pub const fn new() -> Self {
        Self::aal2()
    }

    /// Creates the lifetime of NIST SP 800-63B-4 AAL1: 30 days absolute, no idle timeout.
    #[must_use]
    pub const fn aal1() -> Self {
        Self {
            idle: None,
            absolute: Duration::from_secs(30 * DAY.as_secs()),
            refresh: None,
            max_age: None,
            margin: MARGIN,
        }
    }

    /// Creates the lifetime of NIST SP 800-63B-4 AAL2: one hour idle, 24 hours absolute.
    #[must_use]
    pub const fn aal2() -> Self {
        Self { idle: Some(HOUR), absolute: DAY, refresh: None, max_age: None, margin: MARGIN }
    }

    /// Creates the lifetime of NIST SP 800-63B-4 AAL3: 15 minutes idle, 12 hours absolute.
    #[must_use]
    pub const fn aal3() -> Self {
        Self {
            idle: Some(Duration::from_secs(15 * MINUTE.as_secs())),
            absolute: Duration::from_secs(12 * HOUR.as_secs()),
            refresh: None,
            max_age: None,
            margin: MARGIN,
        }
    }

    /// Sets the idle timeout: a session that is unused for this long ends. Default: one hour.
    ///
    /// At most the absolute timeout, which is 24 hours unless it is set: a longer one is refused where the lifetime is used. The
    /// store notes a use at most once per tenth of this time (or of `Max-Age`, if that is shorter).
    #[must_use]
    pub const fn with_idle_timeout(mut self, idle: Duration) -> Self {
        self.idle = Some(idle);
        self
    }

    /// Removes the idle timeout.
    #[must_use]
    pub const fn without_idle_timeout(mut self) -> Self {
        self.idle = None;
        self
    }

    /// Sets the absolute timeout, counted from the start or the last sign-in. Default: 24 hours.
    ///
    /// For less than an hour, set an idle timeout, too: a longer one is refused where the lifetime is used.
    #[must_use]
    pub const fn with_absolute_timeout(mut self, absolute: Duration) -> Self {
        self.absolute = absolute;
        self
    }

    /// Sets the interval after which a refresh gives the client a new token. Default: none.
    ///
    /// This is the "renewal timeout" of the OWASP Session Management Cheat Sheet. At least 30 seconds.
    ///
    /// The new token is pending until the client presents it. A client that presents the old one instead may have lost the
    /// response, and gets another pending token, at most once in 30 seconds and until eight are pending. Once one of them is
    /// presented, the old token and all others work for another 30 seconds; after that they are
    /// [replays](crate::config::ReplayPolicy).
    #[must_use]
    pub const fn with_refresh_interval(mut self, interval: Duration) -> Self {
        self.refresh = Some(interval);
        self
    }

    /// Sets how long after the idle timeout a request that began before it can still commit. Default: five minutes.
    ///
    /// So a slow upload neither loses its changes nor ends the session: its commit is a use. A request that begins after the idle
    /// timeout finds no session. The store keeps the record for this long, but never beyond the absolute timeout.
    #[must_use]
    pub const fn with_commit_margin(mut self, margin: Duration) -> Self {
        self.margin = margin;
        self
    }

    /// Sets the `Max-Age` of the cookie, so that it survives a restart of the browser. Default: none.
    ///
    /// At most 400 days and the absolute timeout: a longer one is refused where the lifetime is used. A cookie that is sent later
    /// gets what is left of the absolute timeout. Without `Max-Age`, the browser drops the cookie when it is closed (NIST SP
    /// 800-63B-4 §5.1.1).
    #[must_use]
    pub const fn with_max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// Returns the idle timeout, if there is one.
    #[must_use]
    pub const fn idle_timeout(&self) -> Option<Duration> {
        self.idle
    }

    /// Returns the absolute timeout.
    #[must_use]
    pub const fn absolute_timeout(&self) -> Duration {
        self.absolute
    }

    /// Returns the interval of the refresh, if there is one.
    #[must_use]
    pub const fn refresh_interval(&self) -> Option<Duration> {
        self.refresh
    }

    /// Returns the `Max-Age` of the cookie, if it has one.
    #[must_use]
    pub const fn max_age(&self) -> Option<Duration> {
        self.max_age
    }

    /// Checks that a session can live under this lifetime.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let refused = |reason| Err(ConfigError::new(ConfigErrorKind::Lifetime, reason));
        if self.idle.is_some_and(|idle| idle < Duration::from_millis(1)) {
            return refused("idle timeout is zero; every session would expire at once");
        }
        if self.absolute < Duration::from_millis(1) {
            return refused("absolute timeout is zero; every session would expire at once");
        }
        if self.refresh.is_some_and(|interval| interval < GRACE) {
            return refused("refresh interval must be at least 30 seconds, the grace period of a replaced token");
        }
        if self.max_age.is_some_and(|age| age > Self::MAX_COOKIE_AGE) {
            return refused("Max-Age must be at most 400 days; user agents cut it (RFC 6265bis §5.5)");
        }
        if self.max_age.is_some_and(|age| age < Duration::from_secs(1)) {
            return refused("Max-Age must be at least a second; the browser would drop the cookie at once");
        }
        if self.idle.is_some_and(|idle| idle > self.absolute) {
            return refused(
                "idle timeout (one hour by default) is longer than the absolute timeout (24 hours by default), which would end \
                 every session first: set a longer with_absolute_timeout, or a shorter with_idle_timeout",
            );
        }
        if self.max_age.is_some_and(|age| age > self.absolute) {
            return refused(
                "Max-Age is longer than the absolute timeout (24 hours by default), which would end the session first: set a \
                 longer with_absolute_timeout, or a shorter with_max_age",
            );
        }
        Ok(())
    }

    /// Returns when a session ends that started and was last used at these times.
    pub(crate) fn ends_at(&self, started_at: Timestamp, last_seen: Timestamp) -> Timestamp {
        let end = started_at.plus(self.absolute);
        self.idle.map_or(end, |idle| end.min(last_seen.plus(idle)))
    }

    /// Returns when its record expires: a margin after the idle timeout, so that a request under way can still commit.
    pub(crate) fn expires_at(&self, started_at: Timestamp, last_seen: Timestamp) -> Timestamp {
        let end = started_at.plus(self.absolute);
        self.idle.map_or(end, |idle| end.min(last_seen.plus(idle).plus(self.margin)))
    }

    /// Returns when a session ends by the expiry of its record, which was kept for a `margin` beyond that.
    ///
    /// The lifetime may have been another one then; a session that had ended under it does not come back.
    pub(crate) fn end_of_record(&self, started_at: Timestamp, expiry: Timestamp, margin: Duration) -> Timestamp {
        if expiry < started_at.plus(self.absolute) { expiry.minus(margin) } else { expiry }
    }

    /// Returns how long uses may go unnoted: a tenth of the idle timeout, or of the absolute one without it.
    ///
    /// It is shorter if `Max-Age` is, so that the cookie is sent again before the browser drops it.
    pub(crate) fn touch_interval(&self) -> Duration {
        let shortest = self.idle.unwrap_or(self.absolute);
        self.max_age.map_or(shortest, |max_age| shortest.min(max_age)) / 10
    }

    /// Returns the `Max-Age` of a cookie that is sent now, in seconds.
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
