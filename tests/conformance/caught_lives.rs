//! Stores where what has expired is not gone, or what has not is.

use std::time::Duration;

use sessile::store::{Expected, Outcome};

use crate::saboteurs::{Deletes, Get, Set, Sweeps, SweepsByFirstExpiry, Touches, changed};

caught! {
    a_get_that_shows_what_has_expired:
        Get(|plain, id| plain.held(id)) => [
            a_record_is_absent_once_it_has_expired,
            a_record_written_into_the_past_is_absent_at_once,
            a_set_into_the_past_ends_a_live_record,
            set_can_shorten_a_life,
        ];

    a_set_that_replaces_what_has_expired:
        Set(|plain, record, expected| match plain.held(record.id()) {
            Some(held) if Expected::Version(held.version()) == expected => plain.put(record),
            _ => plain.set_now(record, expected),
        }) => [set_of_a_version_is_refused_once_it_has_expired];

    a_set_in_whose_way_the_expired_is:
        Set(|plain, record, expected| match plain.held(record.id()) {
            Some(_) if expected == Expected::Absent => Outcome::Refused,
            _ => plain.set_now(record, expected),
        }) => [set_absent_writes_once_it_has_expired, a_record_written_into_the_past_is_absent_at_once];

    a_touch_that_revives_what_has_expired:
        Touches(|plain, id, version, touch| plain.map(|records| {
            let held = records.get_mut(id).filter(|held| held.version() == version);
            held.map(|held| held.touch(touch)).is_some()
        })) => [touch_revives_nothing_that_has_expired];

    a_delete_that_counts_what_has_expired:
        Deletes(|plain, id| plain.remove(id).is_some()) =>
        [delete_of_an_expired_record_says_false, a_record_written_into_the_past_is_absent_at_once];

    a_store_that_takes_a_time_to_live_of_nothing_for_ever:
        Set(|plain, record, expected| {
            let past = record.expires_at() <= plain.now();
            let for_ever = Duration::from_secs(86_400 * 365 * 100);
            plain.set_now(&changed(record, |parts| if past { parts.expires_at += for_ever }), expected)
        }) => [a_record_written_into_the_past_is_absent_at_once, a_set_into_the_past_ends_a_live_record];

    a_store_that_leaves_out_writes_into_the_past:
        Set(|plain, record, expected| {
            if record.expires_at() <= plain.now() { Outcome::Written } else { plain.set_now(record, expected) }
        }) => [a_set_into_the_past_ends_a_live_record];

    a_sweep_that_deletes_everything:
        Sweeps(|plain| plain.map(std::mem::take).len() as u64) =>
        [delete_expired_leaves_what_lives, delete_expired_leaves_what_was_touched, delete_expired_says_how_many];

    a_sweep_of_sessions_that_were_long_not_used:
        Sweeps(|plain| {
            let long_ago = plain.now() - Duration::from_secs(86_400);
            plain.map(|records| records.retain(|_, record| record.last_seen() > long_ago));
            plain.delete_expired_now()
        }) => [delete_expired_leaves_what_lives];

    a_sweep_by_the_first_expiry:
        SweepsByFirstExpiry::default() => [delete_expired_leaves_what_was_touched];

    a_sweep_that_says_nothing:
        Sweeps(|plain| {
            plain.delete_expired_now();
            0
        }) => [delete_expired_says_how_many];

    a_sweep_that_counts_the_living:
        Sweeps(|plain| {
            plain.delete_expired_now();
            plain.map(|records| records.len()) as u64
        }) =>
        [delete_expired_says_how_many, delete_expired_counts_nothing_twice];

    a_sweep_that_deletes_nothing:
        Sweeps(|plain| {
            let now = plain.now();
            plain.map(|records| records.values().filter(|record| record.expires_at() <= now).count()) as u64
        }) => [delete_expired_counts_nothing_twice];

    a_store_that_is_late_by_ten_seconds:
        Get(|plain, id| plain.held(id).filter(|it| plain.now() < it.expires_at() + Duration::from_secs(10))) =>
        [a_record_is_absent_once_it_has_expired];
}
