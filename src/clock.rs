//! Clocks and timestamps.
#![cfg_attr(
    not(feature = "testing"),
    allow(unreachable_pub, dead_code, reason = "public in the module `testing` alone")
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;

/// Source of the current time for a layer or a store.
///
/// The default is the system clock. A test that needs sessions to expire creates a `ManualClock` (feature `testing`) and
/// passes the same one to the layer and to the store.
#[derive(Clone, Debug, Default)]
pub struct Clock(Source);

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    System,
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// Returns the system clock.
    #[must_use]
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// Returns a clock that shows the time in `milliseconds`.
    pub(crate) fn manual(milliseconds: Arc<AtomicI64>) -> Self {
        Self(Source::Manual(milliseconds))
    }

    /// Returns the current time, to the millisecond.
    ///
    /// A store of your own that takes a clock reads the time from it.
    #[must_use]
    pub fn now_utc(&self) -> OffsetDateTime {
        self.now().into()
    }

    /// Checks whether both clocks always show the same time.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Source::System, Source::System) => true,
            (Source::Manual(one), Source::Manual(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    /// Returns the current time.
    pub(crate) fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => {
                let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Timestamp::from_milliseconds(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
            }
            Source::Manual(at) => Timestamp(at.load(Ordering::SeqCst)),
        }
    }
}

/// Instant, in milliseconds since the Unix epoch.
///
/// Records hold instants at this precision, so every store returns the instant that it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Timestamp(i64);

impl Timestamp {
    /// Last instant of [`OffsetDateTime`]: the end of the year 9999.
    const MAX: i64 = 253_402_300_799_999;
    /// First instant of [`OffsetDateTime`]: the beginning of the year -9999.
    const MIN: i64 = -377_705_116_800_000;

    pub(crate) fn from_milliseconds(milliseconds: i64) -> Self {
        Self(milliseconds.clamp(Self::MIN, Self::MAX))
    }

    pub(crate) const fn milliseconds(self) -> i64 {
        self.0
    }

    pub(crate) fn plus(self, by: Duration) -> Self {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        Self::from_milliseconds(self.0.saturating_add(by))
    }

    pub(crate) fn minus(self, by: Duration) -> Self {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        Self::from_milliseconds(self.0.saturating_sub(by))
    }

    /// Returns the time passed since `earlier`, or zero if `earlier` lies in the future.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl From<OffsetDateTime> for Timestamp {
    fn from(at: OffsetDateTime) -> Self {
        let milliseconds = at.unix_timestamp() * 1_000 + i64::from(at.millisecond());
        Self::from_milliseconds(milliseconds)
    }
}

impl From<Timestamp> for OffsetDateTime {
    fn from(at: Timestamp) -> Self {
        let nanoseconds = i128::from(at.0) * 1_000_000;
        Self::from_unix_timestamp_nanos(nanoseconds).unwrap_or(Self::UNIX_EPOCH)
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    /// Milliseconds survive the conversion, before and after 1970.
    #[test]
    fn an_instant_converts_to_a_timestamp_and_back() {
        for at in [
            datetime!(2026-11-22 19:34:52.123 UTC),
            datetime!(1969-12-31 23:59:59.999 UTC),
            datetime!(2040-01-01 0:00 UTC),
        ] {
            assert_eq!(OffsetDateTime::from(Timestamp::from(at)), at);
        }
    }

    /// Two times of day that mean one instant are one timestamp.
    #[test]
    fn offsets_do_not_change_the_instant() {
        let east = datetime!(2026-11-22 19:34:52.5 +14);
        assert_eq!(Timestamp::from(east), Timestamp::from(east.to_offset(time::UtcOffset::UTC)));
    }

    /// Sums and differences stop at the bounds.
    #[test]
    fn additions_saturate() {
        let end = Timestamp::from_milliseconds(i64::MAX);
        assert_eq!(end.plus(Duration::MAX), end);
        assert_eq!(OffsetDateTime::from(end).year(), 9999);
        assert_eq!(Timestamp::from_milliseconds(5).since(end), Duration::ZERO);
    }
}
