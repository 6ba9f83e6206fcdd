//! Stores that do not give back what was written.

use std::time::Duration;

use sessile::store::{Expected, Record, RecordParts, Touch, Version};
use time::{OffsetDateTime, UtcOffset};

use crate::saboteurs::{Get, Keys, Set, Touches, Writes, changed};

caught! {
    a_store_that_forgets_when_a_session_was_seen:
        Writes(|parts| parts.last_seen = parts.expires_at - Duration::from_secs(3600)) => [every_part_comes_back];

    a_store_that_makes_up_records:
        Get(|plain, id| plain.live(id).or_else(|| plain.all_live().pop())
            .or_else(|| Some(changed(&blank(), |parts| parts.id = *id)))) => [an_unknown_id_is_absent];

    a_store_that_takes_every_id_for_a_time_ordered_one:
        Keys(|id| id[6] = 0x70 | id[6] & 0x0f) => [ids_of_every_kind_of_uuid_are_kept];

    a_store_with_versions_of_32_bits:
        Writes(|parts| parts.version = Version::new(parts.version.get() & 0xffff_ffff)) =>
        [versions_go_up_to_the_largest_signed_number, large_versions_that_differ_by_one_are_told_apart];

    a_store_that_compares_versions_as_floats:
        Set(|plain, record, expected| match (plain.live(record.id()), expected) {
            (Some(found), Expected::Version(version)) if float(found.version()) == float(version) => plain.put(record),
            _ => plain.set_now(record, expected),
        }) => [large_versions_that_differ_by_one_are_told_apart];

    a_store_that_takes_an_empty_state_for_none:
        Get(|plain, id| plain.live(id).filter(|record| !record.state().is_empty())) => [an_empty_state_comes_back];

    a_store_that_keeps_a_state_as_text:
        Writes(|parts| parts.state = String::from_utf8_lossy(&parts.state).as_bytes().into()) =>
        [every_byte_value_comes_back, every_part_comes_back];

    a_store_that_trims_zero_bytes:
        Writes(|parts| {
            let end = parts.state.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            parts.state = parts.state[..end].into();
        }) => [bytes_at_the_ends_of_a_state_come_back];

    a_store_that_cuts_states_at_64_kib:
        Writes(|parts| parts.state = parts.state[..parts.state.len().min(0xffff)].into()) =>
        [a_state_of_one_mebibyte_comes_back, a_state_of_sixteen_mebibytes_comes_back];

    a_store_that_cuts_states_a_byte_before_16_mib:
        Writes(|parts| parts.state = parts.state[..parts.state.len().min(0xff_ffff)].into()) =>
        [a_state_of_sixteen_mebibytes_comes_back];

    a_store_that_takes_an_empty_owner_for_none:
        Writes(|parts| parts.owner = parts.owner.take().filter(|owner| !owner.is_empty())) =>
        [no_owner_and_an_empty_owner_are_told_apart];

    a_store_that_knows_only_the_basic_plane:
        Writes(|parts| rename(parts, |owner| owner.chars().map(|c| if c > '\u{ffff}' { '?' } else { c }).collect())) =>
        [owners_of_every_script_come_back];

    a_store_that_doubles_quotes:
        Writes(|parts| rename(parts, |owner| owner.replace('\'', "''"))) => [owners_with_quotes_come_back];

    a_store_that_cuts_owners_at_255_characters:
        Writes(|parts| rename(parts, |owner| owner.chars().take(255).collect())) =>
        [long_owners_come_back, long_owners_differ_by_their_last_character];

    a_store_that_ends_owners_at_a_zero_character:
        Writes(|parts| rename(parts, |owner| owner.split('\0').next().unwrap_or_default().into())) =>
        [an_owner_with_a_zero_character_is_kept_or_refused];

    a_store_of_seconds:
        Writes(|parts| parts.expires_at = parts.expires_at.replace_nanosecond(0).unwrap()) =>
        [milliseconds_are_kept];

    a_store_that_drops_the_offset:
        Touches(|plain, id, version, touch| {
            let utc = |at: OffsetDateTime| at.replace_offset(UtcOffset::UTC);
            plain.touch_now(id, version, Touch::new(utc(touch.last_seen), utc(touch.expires_at)))
        }) => [an_instant_is_the_same_at_every_offset];

    a_store_that_knows_no_time_before_1970:
        Writes(|parts| parts.last_seen = parts.last_seen.max(OffsetDateTime::UNIX_EPOCH)) =>
        [instants_before_1970_are_kept];

    a_store_whose_time_ends_in_2038:
        Writes(|parts| parts.expires_at = parts.expires_at.min(seconds(i64::from(i32::MAX)))) =>
        [instants_after_2038_are_kept, the_end_of_the_year_9999_is_kept];

    a_store_whose_time_ends_in_2106:
        Touches(|plain, id, version, touch| {
            let end = touch.expires_at.min(seconds(i64::from(u32::MAX)));
            plain.touch_now(id, version, Touch::new(touch.last_seen, end))
        }) => [instants_after_2038_are_kept, the_end_of_the_year_9999_is_kept];
}

fn rename(parts: &mut RecordParts, change: impl FnOnce(&str) -> String) {
    parts.owner = parts.owner.as_deref().map(|owner| change(owner).into());
}

/// As a number without a fraction is kept where all numbers have one.
#[expect(clippy::cast_precision_loss, reason = "that is what is wrong with it")]
fn float(version: Version) -> f64 {
    version.get() as f64
}

fn seconds(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).unwrap()
}

/// A record of no one.
pub(super) fn blank() -> Record {
    Record::from_parts(RecordParts {
        id: uuid::Uuid::nil().into(),
        version: Version::new(1),
        owner: None,
        last_seen: OffsetDateTime::now_utc(),
        expires_at: OffsetDateTime::now_utc() + Duration::from_secs(3600),
        state: [].into(),
    })
}
