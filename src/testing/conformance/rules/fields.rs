//! Every field of a record is kept as it was written.

use std::time::Duration;

use time::{OffsetDateTime, UtcOffset};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::record::{RecordParts, Version};
use crate::store::{Expected, Touch};
use crate::testing::conformance::probe::{LONG, Probe, at_version, noise, unique};
use crate::testing::conformance::verdict::{Checked, Failed, Verdict, broken};
use crate::token::{SessionId, random};

/// Writes a record with this change and reads it back.
async fn kept(probe: &Probe<'_>, change: impl FnOnce(&mut RecordParts)) -> Checked {
    let record = probe.stored(change).await?;
    probe.store.holds(&record).await
}

pub(super) async fn every_field_is_kept(probe: &Probe<'_>) -> Checked {
    let change = |parts: &mut RecordParts| {
        parts.version = Version::new(7);
        parts.realm = "admin".into();
        parts.owner = Some(probe.owner.as_str().into());
        parts.last_seen -= Duration::from_millis(86_400_123);
        parts.expires_at += Duration::from_millis(86_400_456);
    };
    kept(probe, change).await
}

pub(super) async fn an_unknown_id_is_absent(probe: &Probe<'_>) -> Checked {
    probe.store.lacks(probe.record(|_| {}).id()).await
}

pub(super) async fn any_uuid_can_be_an_id(probe: &Probe<'_>) -> Checked {
    let (mut top, mut low) = (random::<16>(), random::<16>());
    top[0] = 0xff;
    low[..4].fill(0);
    let ids = [
        uuid::Builder::from_random_bytes(random()).into_uuid(),
        uuid::Builder::from_custom_bytes(random()).into_uuid(),
        Uuid::from_bytes(random()),
        Uuid::from_bytes(top),
        Uuid::from_bytes(low),
    ];
    for id in ids {
        kept(probe, |parts| parts.id = SessionId::from(id)).await?;
    }
    Ok(())
}

pub(super) async fn versions_up_to_the_largest_i64_are_kept(probe: &Probe<'_>) -> Checked {
    let largest = i64::MAX.unsigned_abs();
    let record = probe.stored(|parts| parts.version = Version::new(largest - 1)).await?;
    let last = probe.replaced(&record, |_| {}).await?;
    probe.store.holds(&last).await?;
    probe.store.touches(&last, probe.touch_after(0)).await
}

pub(super) async fn large_versions_that_differ_by_one_are_distinct(probe: &Probe<'_>) -> Checked {
    // A 64-bit float can represent 2^53 and 2^53 + 2, but not the number between.
    let even = 1 << 53;
    let record = probe.stored(|parts| parts.version = Version::new(even + 1)).await?;
    for other in [even, even + 2] {
        probe.store.refuses(&at_version(&record, even + 3), Expected::Version(Version::new(other))).await?;
        probe.store.ignores_touch(&at_version(&record, other), probe.touch_after(60)).await?;
    }
    probe.store.holds(&record).await
}

pub(super) async fn states_are_kept(probe: &Probe<'_>, states: &[&[u8]]) -> Checked {
    for state in states {
        kept(probe, |parts| parts.state = (*state).into()).await?;
    }
    Ok(())
}

pub(super) async fn every_byte_value_is_kept(probe: &Probe<'_>) -> Checked {
    kept(probe, |parts| parts.state = (0..=255).collect()).await
}

pub(super) async fn a_large_state_is_kept(probe: &Probe<'_>, size: usize) -> Checked {
    let largest = probe.largest_state;
    if largest < size {
        return Err(Failed(Verdict::NotApplicable(format!("the store supports states of up to {largest} bytes"))));
    }
    let record = probe.stored(|parts| parts.state = noise(size)).await?;
    probe.store.holds(&record).await?;
    probe.store.deletes(&record).await
}

pub(super) async fn a_missing_and_an_empty_owner_are_distinct(probe: &Probe<'_>) -> Checked {
    kept(probe, |parts| parts.owner = None).await?;
    kept(probe, |parts| parts.owner = Some("".into())).await
}

pub(super) async fn realms_are_kept(probe: &Probe<'_>) -> Checked {
    // All visible ASCII characters, and the longest realm.
    let visible: String = ('!'..='~').collect();
    for realm in [visible.as_str(), "__Host-id", &"r".repeat(255)] {
        kept(probe, |parts| parts.realm = realm.into()).await?;
    }
    Ok(())
}

/// Writes and reads a record for each owner, after a unique prefix.
pub(super) async fn owners_are_kept(probe: &Probe<'_>, owners: &[&str]) -> Checked {
    for owner in owners {
        kept(probe, |parts| parts.owner = Some(unique(owner).into())).await?;
    }
    Ok(())
}

pub(super) async fn an_owner_with_a_nul_is_kept_or_refused(probe: &Probe<'_>) -> Checked {
    let cut_off = &probe.owner;
    let record = probe.record(|parts| parts.owner = Some(format!("{cut_off}\0:42").into()));
    match probe.store.set(&record, Expected::Absent).await {
        Ok(_) => probe.store.holds(&record).await?,
        Err(_) => probe.store.lacks(record.id()).await?,
    }
    probe.store.lists(cut_off, []).await
}

/// Checks that set and touch keep these times.
async fn times_kept(probe: &Probe<'_>, last_seen: OffsetDateTime, expires_at: OffsetDateTime) -> Checked {
    let change = |parts: &mut RecordParts| {
        parts.last_seen = last_seen;
        parts.expires_at = expires_at;
    };
    kept(probe, change).await?;
    let record = probe.stored(|parts| parts.last_seen = last_seen - Duration::from_secs(1)).await?;
    probe.touched(&record, Touch::new(last_seen, expires_at)).await?;
    Ok(())
}

pub(super) async fn milliseconds_are_kept(probe: &Probe<'_>) -> Checked {
    let second = probe.now - Duration::from_millis(probe.now.millisecond().into());
    for milliseconds in [1, 10, 123, 500, 999] {
        let last_seen = second - Duration::from_secs(1) + Duration::from_millis(milliseconds);
        let expires_at = second + Duration::from_secs(7200) + Duration::from_millis(1000 - milliseconds);
        times_kept(probe, last_seen, expires_at).await?;
    }
    Ok(())
}

pub(super) async fn times_of_every_utc_offset_are_kept(probe: &Probe<'_>) -> Checked {
    for (hours, minutes) in [(14, 0), (5, 45), (-12, 0), (-9, -30)] {
        let offset = UtcOffset::from_hms(hours, minutes, 0).or_else(|error| broken(error.to_string()))?;
        let expires_at = probe.now + Duration::from_secs(86_400);
        times_kept(probe, probe.now.to_offset(offset), expires_at.to_offset(offset)).await?;
    }
    Ok(())
}

/// Checks these last-seen times, in milliseconds since 1970.
pub(super) async fn last_seen_times_are_kept(probe: &Probe<'_>, times: &[i64]) -> Checked {
    for time in times {
        times_kept(probe, Timestamp::from_milliseconds(*time).into(), probe.now + LONG).await?;
    }
    Ok(())
}

/// Checks these expiries, in milliseconds since 1970.
pub(super) async fn expiries_are_kept(probe: &Probe<'_>, expiries: &[i64]) -> Checked {
    for expiry in expiries {
        times_kept(probe, probe.now, Timestamp::from_milliseconds(*expiry).into()).await?;
    }
    Ok(())
}
