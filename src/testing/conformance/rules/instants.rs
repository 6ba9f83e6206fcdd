//! Instants are instants, to the millisecond, from long ago to far away.

use std::time::Duration;

use time::{OffsetDateTime, UtcOffset};

use crate::store::Touch;
use crate::testing::conformance::fixture::Fixture;
use crate::testing::conformance::probe::{Checked, Stop};
use crate::testing::conformance::trial::Trial;

/// Writes a record with these instants, another that a touch moves to them, and reads both back.
async fn come_back<F: Fixture>(trial: &Trial<'_, F>, last_seen: OffsetDateTime, expires_at: OffsetDateTime) -> Checked {
    let record = trial.record(|parts| {
        parts.last_seen = last_seen;
        parts.expires_at = expires_at;
    });
    trial.store.create(&record).await?;
    trial.store.holds(&record).await?;
    let mut touched = trial.record(|parts| parts.last_seen = last_seen - Duration::from_secs(1));
    trial.store.create(&touched).await?;
    let touch = Touch::new(last_seen, expires_at);
    trial.store.touches(&touched, touch).await?;
    touched.touch(touch);
    trial.store.holds(&touched).await
}

/// So many milliseconds since 1970.
fn instant(milliseconds: i128) -> Checked<OffsetDateTime> {
    let instant = OffsetDateTime::from_unix_timestamp_nanos(milliseconds * 1_000_000);
    instant.map_err(|error| Stop::Broken(error.to_string()))
}

pub(super) async fn milliseconds_are_kept<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let second = trial.now.replace_nanosecond(0).map_err(|error| Stop::Broken(error.to_string()))?;
    for milliseconds in [1, 10, 123, 500, 999] {
        let last_seen = second - Duration::from_secs(1) + Duration::from_millis(milliseconds);
        let expires_at = second + Duration::from_secs(7200) + Duration::from_millis(1000 - milliseconds);
        come_back(trial, last_seen, expires_at).await?;
    }
    Ok(())
}

pub(super) async fn an_instant_is_the_same_at_every_offset<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    for (hours, minutes) in [(14, 0), (5, 45), (-12, 0), (-9, -30)] {
        let offset = UtcOffset::from_hms(hours, minutes, 0).map_err(|error| Stop::Broken(error.to_string()))?;
        let expires_at = trial.now + Duration::from_secs(86_400);
        come_back(trial, trial.now.to_offset(offset), expires_at.to_offset(offset)).await?;
    }
    Ok(())
}

pub(super) async fn instants_before_1970_are_kept<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    // A millisecond before 1970, a second and a half before it, and a day in 1901.
    for milliseconds in [-1, -1_500, -2_160_000_000_123] {
        come_back(trial, instant(milliseconds)?, trial.now + Duration::from_secs(7200)).await?;
    }
    Ok(())
}

pub(super) async fn instants_after_2038_are_kept<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    // The first second that 31 bits do not hold, then the first that 32 do not, and a day in the year 2500.
    for seconds in [1_i128 << 31, 1 << 32, 16_730_000_000] {
        come_back(trial, trial.now, instant(seconds * 1_000 + 789)?).await?;
    }
    Ok(())
}

pub(super) async fn the_end_of_the_year_9999_is_kept<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    come_back(trial, trial.now, instant(253_402_300_799_999)?).await
}
