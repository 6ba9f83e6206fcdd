//! Stores that return other records than were written.

use std::time::Duration;

use sessile::store::{Expected, Record, RecordParts, Touch, Version};
use time::{OffsetDateTime, UtcOffset};

use crate::defects::{ChangesIds, Get, Set, Touches, Writes, changed};

caught! {
    /// The last-seen time is not stored.
    last_seen_is_computed_from_the_expiry:
        Writes(|parts| parts.last_seen = parts.expires_at - Duration::from_secs(3600)) => [every_field_is_kept];

    /// The realm is not stored.
    every_realm_is_the_default_one:
        Writes(|parts| parts.realm = "id".into()) => [
            every_field_is_kept,
            realms_are_kept,
            set_replaces_every_field,
            touch_moves_only_last_seen_and_expiry,
            owned_by_lists_sessions_of_every_realm,
        ];

    /// Realms lose all characters after the 64th.
    realms_are_cut_off_at_64_characters:
        Writes(|parts| parts.realm = parts.realm[..parts.realm.len().min(64)].into()) => [realms_are_kept];

    /// Get returns a record for any id.
    an_unknown_id_returns_a_record:
        Get(|plain, id| plain.live(id).or_else(|| plain.all_live().pop())
            .or_else(|| Some(changed(&blank(), |parts| parts.id = *id)))) => [an_unknown_id_is_absent];

    /// The version bits of an id are overwritten.
    ids_are_stored_as_uuid_v7:
        ChangesIds(|id| id[6] = 0x70 | id[6] & 0x0f) => [any_uuid_can_be_an_id];

    /// Versions are stored in 32 bits.
    versions_have_32_bits:
        Writes(|parts| parts.version = Version::new(parts.version.get() & 0xffff_ffff)) =>
        [versions_up_to_the_largest_i64_are_kept, large_versions_that_differ_by_one_are_distinct];

    /// Versions are compared as 64-bit floats.
    versions_are_compared_as_floats:
        Set(|plain, record, expected| match (plain.live(record.id()), expected) {
            (Some(found), Expected::Version(version)) if float(found.version()) == float(version) => plain.put(record),
            _ => plain.set_now(record, expected),
        }) => [large_versions_that_differ_by_one_are_distinct];

    /// A record with an empty state is not found.
    an_empty_state_counts_as_absent:
        Get(|plain, id| plain.live(id).filter(|record| !record.state().is_empty())) => [an_empty_state_is_kept];

    /// Bytes that are not UTF-8 are replaced.
    states_are_stored_as_text:
        Writes(|parts| parts.state = String::from_utf8_lossy(&parts.state).as_bytes().into()) =>
        [every_byte_value_is_kept, every_field_is_kept];

    /// Zero bytes at the end of a state are lost.
    trailing_zero_bytes_are_trimmed:
        Writes(|parts| {
            let end = parts.state.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            parts.state = parts.state[..end].into();
        }) => [bytes_at_both_ends_of_a_state_are_kept];

    /// States lose all bytes after 64 KiB.
    states_are_cut_off_at_64_kib:
        Writes(|parts| parts.state = parts.state[..parts.state.len().min(0xffff)].into()) =>
        [a_state_of_1_mib_is_kept, a_state_of_16_mib_is_kept];

    /// States lose all bytes from 16 MiB - 1, as `MEDIUMBLOB` does.
    states_are_cut_off_before_16_mib:
        Writes(|parts| parts.state = parts.state[..parts.state.len().min(0xff_ffff)].into()) =>
        [a_state_of_16_mib_is_kept];

    /// An empty owner becomes a missing one.
    an_empty_owner_is_stored_as_missing:
        Writes(|parts| parts.owner = parts.owner.take().filter(|owner| !owner.is_empty())) =>
        [a_missing_and_an_empty_owner_are_distinct];

    /// Characters of four bytes are replaced.
    owners_are_stored_without_emoji:
        Writes(|parts| rename(parts, |owner| owner.chars().map(|c| if c > '\u{ffff}' { '?' } else { c }).collect())) =>
        [owners_in_every_script_are_kept];

    /// Quotes are escaped and not unescaped.
    quotes_in_owners_are_doubled:
        Writes(|parts| rename(parts, |owner| owner.replace('\'', "''"))) => [owners_with_quotes_are_kept];

    /// Owners lose all characters after the 255th.
    owners_are_cut_off_at_255_characters:
        Writes(|parts| rename(parts, |owner| owner.chars().take(255).collect())) =>
        [owners_of_300_characters_are_kept, long_owners_differ_by_their_last_character];

    /// Owners lose all characters from a NUL on.
    owners_are_cut_off_at_a_nul:
        Writes(|parts| rename(parts, |owner| owner.split('\0').next().unwrap_or_default().into())) =>
        [an_owner_with_a_nul_is_kept_or_refused];

    /// The milliseconds of an expiry are lost.
    times_are_stored_in_seconds:
        Writes(|parts| parts.expires_at = parts.expires_at.replace_nanosecond(0).unwrap()) =>
        [milliseconds_are_kept];

    /// The local time of a touch is stored as UTC.
    utc_offsets_are_dropped:
        Touches(|plain, record, touch| {
            let utc = |at: OffsetDateTime| at.replace_offset(UtcOffset::UTC);
            plain.touch_now(record, Touch::new(utc(touch.last_seen), utc(touch.expires_at)))
        }) => [times_of_every_utc_offset_are_kept];

    /// A last-seen time before 1970 becomes 1970.
    times_before_1970_are_clamped:
        Writes(|parts| parts.last_seen = parts.last_seen.max(OffsetDateTime::UNIX_EPOCH)) =>
        [times_before_1970_are_kept];

    /// Times are stored in signed 32 bits.
    times_end_in_2038:
        Writes(|parts| parts.expires_at = parts.expires_at.min(seconds(i64::from(i32::MAX)))) =>
        [times_after_2038_are_kept, the_end_of_the_year_9999_is_kept];

    /// Times of touches are stored in unsigned 32 bits.
    times_of_touches_end_in_2106:
        Touches(|plain, record, touch| {
            let end = touch.expires_at.min(seconds(i64::from(u32::MAX)));
            plain.touch_now(record, Touch::new(touch.last_seen, end))
        }) => [times_after_2038_are_kept, the_end_of_the_year_9999_is_kept];
}

fn rename(parts: &mut RecordParts, change: impl FnOnce(&str) -> String) {
    parts.owner = parts.owner.as_deref().map(|owner| change(owner).into());
}

/// Returns a version as a 64-bit float.
#[expect(clippy::cast_precision_loss, reason = "the loss is the defect")]
fn float(version: Version) -> f64 {
    version.get() as f64
}

fn seconds(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).unwrap()
}

/// Returns an empty record without an owner.
pub(super) fn blank() -> Record {
    Record::from_parts(RecordParts {
        id: uuid::Uuid::nil().into(),
        version: Version::new(1),
        realm: "id".into(),
        owner: None,
        last_seen: OffsetDateTime::now_utc(),
        expires_at: OffsetDateTime::now_utc() + Duration::from_secs(3600),
        state: [].into(),
    })
}
