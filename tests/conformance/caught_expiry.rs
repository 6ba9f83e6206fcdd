//! Stores that keep expired records or lose live ones.

use std::time::Duration;

use sessile::store::{Expected, Outcome};

use crate::defects::{Deletes, Get, Set, Sweeps, SweepsByFirstExpiry, Touches, changed};

caught! {
    /// Get ignores the expiry.
    get_returns_expired_records:
        Get(|plain, id| plain.held(id)) => [
            a_record_is_absent_once_it_has_expired,
            a_record_written_as_expired_is_absent,
            set_with_a_past_expiry_ends_a_record,
            set_can_move_the_expiry_earlier,
        ];

    /// Set with the version of an expired record writes.
    set_replaces_an_expired_version:
        Set(|plain, record, expected| match plain.held(record.id()) {
            Some(held) if Expected::Version(held.version()) == expected => plain.put(record),
            _ => plain.set_now(record, expected),
        }) => [set_of_a_version_is_refused_after_expiry];

    /// Set with `Expected::Absent` is refused by an expired record.
    set_is_blocked_by_an_expired_record:
        Set(|plain, record, expected| match plain.held(record.id()) {
            Some(_) if expected == Expected::Absent => Outcome::Refused,
            _ => plain.set_now(record, expected),
        }) => [set_absent_replaces_an_expired_record, a_record_written_as_expired_is_absent];

    /// Touch ignores the expiry.
    touch_revives_an_expired_record:
        Touches(|plain, record, touch| plain.map(|records| {
            let held = records.get_mut(record.id()).filter(|held| held.version() == record.version());
            held.map(|held| held.touch(touch)).is_some()
        })) => [touch_does_not_revive_an_expired_record];

    /// Delete returns true for an expired record.
    delete_counts_an_expired_record:
        Deletes(|plain, id, _| plain.remove(id).is_some()) =>
        [delete_of_an_expired_record_returns_false, a_record_written_as_expired_is_absent];

    /// A record with a past expiry never expires.
    a_past_expiry_means_no_expiry:
        Set(|plain, record, expected| {
            let past = record.expires_at() <= plain.now();
            let for_ever = Duration::from_secs(86_400 * 365 * 100);
            plain.set_now(&changed(record, |parts| if past { parts.expires_at += for_ever }), expected)
        }) => [a_record_written_as_expired_is_absent, set_with_a_past_expiry_ends_a_record];

    /// Set of a record with a past expiry leaves the live one.
    a_write_with_a_past_expiry_is_skipped:
        Set(|plain, record, expected| {
            if record.expires_at() <= plain.now() { Outcome::Written } else { plain.set_now(record, expected) }
        }) => [set_with_a_past_expiry_ends_a_record];

    /// Delete_expired deletes live records too.
    delete_expired_deletes_everything:
        Sweeps(|plain| plain.map(std::mem::take).len() as u64) =>
        [delete_expired_keeps_live_records, delete_expired_keeps_touched_records, delete_expired_returns_the_number_deleted];

    /// Delete_expired deletes by last seen.
    delete_expired_deletes_unused_records:
        Sweeps(|plain| {
            let long_ago = plain.now() - Duration::from_secs(86_400);
            plain.map(|records| records.retain(|_, record| record.last_seen() > long_ago));
            plain.delete_expired_now()
        }) => [delete_expired_keeps_live_records];

    /// Delete_expired ignores touches.
    delete_expired_uses_the_first_expiry:
        SweepsByFirstExpiry::default() => [delete_expired_keeps_touched_records];

    /// Delete_expired deletes but returns zero.
    delete_expired_returns_zero:
        Sweeps(|plain| {
            plain.delete_expired_now();
            0
        }) => [delete_expired_returns_the_number_deleted];

    /// Delete_expired returns the number of live records.
    delete_expired_counts_live_records:
        Sweeps(|plain| {
            plain.delete_expired_now();
            plain.map(|records| records.len()) as u64
        }) =>
        [delete_expired_returns_the_number_deleted, delete_expired_counts_each_record_once];

    /// Delete_expired counts expired records and keeps them.
    delete_expired_deletes_nothing:
        Sweeps(|plain| {
            let now = plain.now();
            plain.map(|records| records.values().filter(|record| record.expires_at() <= now).count()) as u64
        }) => [delete_expired_counts_each_record_once];

    /// Get returns records for ten seconds after their expiry.
    records_expire_ten_seconds_late:
        Get(|plain, id| plain.held(id).filter(|it| plain.now() < it.expires_at() + Duration::from_secs(10))) =>
        [a_record_is_absent_once_it_has_expired];
}
