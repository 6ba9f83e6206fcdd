//! Every field of a record is kept as it was written.

use std::sync::Arc;
use std::time::Duration;

use time::{OffsetDateTime, UtcOffset};
use uuid::Uuid;

use crate::record::{RecordParts, Version};
use crate::store::{Expected, Touch};
use crate::testing::conformance::probe::{Probe, at_version, noise, touched};
use crate::testing::conformance::verdict::{Checked, Verdict, broken};
use crate::token::{SessionId, random};

/// Writes a record with this change and reads it back.
async fn kept(probe: &Probe<'_>, change: impl FnOnce(&mut RecordParts)) -> Checked {
    let record = probe.stored(change).await?;
    probe.store.holds(&record).await
}

async fn state_kept(probe: &Probe<'_>, state: impl Into<Arc<[u8]>>) -> Checked {
    let state = state.into();
    kept(probe, |parts| parts.state = state).await
}

async fn owner_kept(probe: &Probe<'_>, owner: &str) -> Checked {
    kept(probe, |parts| parts.owner = Some(owner.into())).await
}

pub(super) async fn every_field_is_kept(probe: &Probe<'_>) -> Checked {
    let owner = probe.owner("user:42");
    let change = |parts: &mut RecordParts| {
        parts.version = Version::new(7);
        parts.owner = Some(owner.into());
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
        let what = format!("version {other} of a record at version {}", even + 1);
        probe.store.ignores_touch(&at_version(&record, other), probe.touch_after(60), &what).await?;
    }
    probe.store.holds(&record).await
}

pub(super) async fn an_empty_state_is_kept(probe: &Probe<'_>) -> Checked {
    state_kept(probe, []).await
}

pub(super) async fn every_byte_value_is_kept(probe: &Probe<'_>) -> Checked {
    state_kept(probe, (0..=255).collect::<Vec<u8>>()).await
}

pub(super) async fn bytes_at_both_ends_of_a_state_are_kept(probe: &Probe<'_>) -> Checked {
    for state in [&[0][..], &[0; 64], b"\0\0state\0\0", b"  state  ", b"\r\nstate\r\n\n", b"\xef\xbb\xbfstate\x1a"] {
        state_kept(probe, state).await?;
    }
    Ok(())
}

pub(super) async fn a_state_of_1_mib_is_kept(probe: &Probe<'_>) -> Checked {
    large_state_kept(probe, 1 << 20).await
}

pub(super) async fn a_state_of_16_mib_is_kept(probe: &Probe<'_>) -> Checked {
    large_state_kept(probe, 16 << 20).await
}

async fn large_state_kept(probe: &Probe<'_>, size: usize) -> Checked {
    let largest = probe.largest_state;
    if largest < size {
        return Err(Verdict::NotApplicable(format!("the store supports states of up to {largest} bytes")));
    }
    let record = probe.stored(|parts| parts.state = noise(size)).await?;
    probe.store.holds(&record).await?;
    probe.store.deletes(&record).await
}

pub(super) async fn a_missing_and_an_empty_owner_are_distinct(probe: &Probe<'_>) -> Checked {
    kept(probe, |parts| parts.owner = None).await?;
    owner_kept(probe, "").await
}

pub(super) async fn owners_in_every_script_are_kept(probe: &Probe<'_>) -> Checked {
    for owner in ["Ἀθηνᾶ", "محمد‏", "東京 さん", "é e\u{301}", "👩‍👩‍👧‍👦 𝔘𝔰𝔢𝔯", "\u{feff}user\u{200b}", "ﬁ ß İ ı"]
    {
        owner_kept(probe, &probe.owner(owner)).await?;
    }
    Ok(())
}

pub(super) async fn owners_with_quotes_are_kept(probe: &Probe<'_>) -> Checked {
    for owner in
        ["' or ''='", "\"user\"", "`user`", "\\' \\n \\", "'; drop table sessions; --", "{$1} %s ?1 :a\r\n*1\t"]
    {
        owner_kept(probe, &probe.owner(owner)).await?;
    }
    Ok(())
}

pub(super) async fn owners_of_300_characters_are_kept(probe: &Probe<'_>) -> Checked {
    for letter in ["u", "𝔲"] {
        owner_kept(probe, &probe.owner(&letter.repeat(300))).await?;
    }
    Ok(())
}

pub(super) async fn an_owner_with_a_nul_is_kept_or_refused(probe: &Probe<'_>) -> Checked {
    let cut_off = probe.owner("user");
    let record = probe.record(|parts| parts.owner = Some(format!("{cut_off}\0:42").into()));
    match probe.store.store().set(&record, Expected::Absent).await {
        Ok(_) => probe.store.holds(&record).await?,
        Err(_) => probe.store.lacks(record.id()).await?,
    }
    probe.store.lists(&cut_off, []).await
}

/// Writes a record with these times, touches another to them, and reads both back.
async fn times_kept(probe: &Probe<'_>, last_seen: OffsetDateTime, expires_at: OffsetDateTime) -> Checked {
    let change = |parts: &mut RecordParts| {
        parts.last_seen = last_seen;
        parts.expires_at = expires_at;
    };
    kept(probe, change).await?;
    let record = probe.stored(|parts| parts.last_seen = last_seen - Duration::from_secs(1)).await?;
    let touch = Touch::new(last_seen, expires_at);
    probe.store.touches(&record, touch).await?;
    probe.store.holds(&touched(record, touch)).await
}

/// Returns the instant at this many milliseconds since 1970.
fn instant(milliseconds: i128) -> Checked<OffsetDateTime> {
    let instant = OffsetDateTime::from_unix_timestamp_nanos(milliseconds * 1_000_000);
    instant.or_else(|error| broken(error.to_string()))
}

pub(super) async fn milliseconds_are_kept(probe: &Probe<'_>) -> Checked {
    let second = instant(i128::from(probe.now.unix_timestamp()) * 1_000)?;
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

pub(super) async fn times_before_1970_are_kept(probe: &Probe<'_>) -> Checked {
    // One millisecond before 1970, one and a half seconds before, and a day in 1901.
    for milliseconds in [-1, -1_500, -2_160_000_000_123] {
        times_kept(probe, instant(milliseconds)?, probe.now + Duration::from_secs(7200)).await?;
    }
    Ok(())
}

pub(super) async fn times_after_2038_are_kept(probe: &Probe<'_>) -> Checked {
    // The first second beyond 31 bits, the first beyond 32 bits, and a day in the year 2500.
    for seconds in [1_i128 << 31, 1 << 32, 16_730_000_000] {
        times_kept(probe, probe.now, instant(seconds * 1_000 + 789)?).await?;
    }
    Ok(())
}

pub(super) async fn the_end_of_the_year_9999_is_kept(probe: &Probe<'_>) -> Checked {
    times_kept(probe, probe.now, instant(253_402_300_799_999)?).await
}
