//! Where "now" comes from.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;

/// Where a layer or a store reads the time.
///
/// The default is the system's clock. Tests that must see sessions expire take a
/// `ManualClock` (feature `testing`) and hand the same one to the layer and
/// to the store.
#[derive(Clone, Debug, Default)]
pub struct Clock(Source);

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    System,
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub const fn system() -> Self {
        Self(Source::System)
    }

    #[cfg_attr(not(any(test, feature = "testing")), allow(dead_code))]
    pub(crate) fn manual(milliseconds: Arc<AtomicI64>) -> Self {
        Self(Source::Manual(milliseconds))
    }

    /// The time that the clock shows, to the millisecond: for a store of your own that takes a clock.
    #[must_use]
    pub fn now_utc(&self) -> OffsetDateTime {
        self.now().into()
    }

    /// Whether both always show the same.
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Source::System, Source::System) => true,
            (Source::Manual(one), Source::Manual(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

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

/// An instant, in milliseconds since the Unix epoch.
///
/// Everything that is stored is kept at this precision, so that an instant reads the same from every store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Timestamp(i64);

impl Timestamp {
    /// The last instant that [`OffsetDateTime`] can show: the end of the year 9999.
    const MAX: i64 = 253_402_300_799_999;
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

    /// How long ago `earlier` was; zero if it is still to come.
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

    #[test]
    fn instants_survive_the_way_there_and_back_to_the_millisecond() {
        for at in [
            datetime!(2026-11-22 19:34:52.123 UTC),
            datetime!(1969-12-31 23:59:59.999 UTC),
            datetime!(2040-01-01 0:00 UTC),
        ] {
            assert_eq!(OffsetDateTime::from(Timestamp::from(at)), at);
        }
    }

    #[test]
    fn offsets_do_not_change_the_instant() {
        let east = datetime!(2026-11-22 19:34:52.5 +14);
        assert_eq!(Timestamp::from(east), Timestamp::from(east.to_offset(time::UtcOffset::UTC)));
    }

    #[test]
    fn additions_saturate() {
        let end = Timestamp::from_milliseconds(i64::MAX);
        assert_eq!(end.plus(Duration::MAX), end);
        assert_eq!(OffsetDateTime::from(end).year(), 9999);
        assert_eq!(Timestamp::from_milliseconds(5).since(end), Duration::ZERO);
    }
}
