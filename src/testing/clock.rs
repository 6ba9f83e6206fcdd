//! A clock that tests can move.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use time::OffsetDateTime;

use crate::clock::{Clock, Timestamp};

/// A clock that stands still until a test moves it. Clones share their time.
///
/// ```
/// use std::time::Duration;
/// use sessile::testing::ManualClock;
/// use sessile::{MemoryStore, SessionLayer};
///
/// let clock = ManualClock::new();
/// let layer = SessionLayer::builder(MemoryStore::new().with_clock(&clock)).with_clock(&clock).build()?;
/// clock.advance(Duration::from_secs(3600));
/// # Ok::<(), sessile::config::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// Creates a clock at the system time.
    #[must_use]
    pub fn new() -> Self {
        Self::at(OffsetDateTime::now_utc())
    }

    /// Creates a clock at this time.
    #[must_use]
    pub fn at(now: OffsetDateTime) -> Self {
        Self(Arc::new(AtomicI64::new(Timestamp::from(now).milliseconds())))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.0.store(self.timestamp().plus(by).milliseconds(), Ordering::SeqCst);
    }

    /// Returns the time of the clock.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        self.timestamp().into()
    }

    fn timestamp(&self) -> Timestamp {
        Timestamp::from_milliseconds(self.0.load(Ordering::SeqCst))
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl From<&ManualClock> for Clock {
    fn from(clock: &ManualClock) -> Self {
        Self::manual(Arc::clone(&clock.0))
    }
}

impl From<ManualClock> for Clock {
    fn from(clock: ManualClock) -> Self {
        Self::manual(clock.0)
    }
}
