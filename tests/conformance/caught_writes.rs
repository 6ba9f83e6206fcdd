//! Stores whose set, touch or delete does something else than it should.

use std::time::Duration;

use sessile::store::{Expected, Outcome, Touch};
use time::OffsetDateTime;

use crate::saboteurs::{Deletes, Keys, Set, Tombstones, Touches, changed};

caught! {
    a_set_that_never_creates:
        Set(|plain, record, expected| match expected {
            Expected::Absent => Outcome::Refused,
            Expected::Version(_) => plain.set_now(record, expected),
        }) => [set_absent_writes_where_nothing_is];

    a_set_that_overwrites_where_it_expects_nothing:
        Set(|plain, record, expected| match expected {
            Expected::Absent => plain.put(record),
            Expected::Version(_) => plain.set_now(record, expected),
        }) => [set_absent_is_refused_where_a_record_is];

    a_set_that_is_refused_and_writes:
        Set(|plain, record, expected| {
            let outcome = plain.set_now(record, expected);
            let _ = plain.put(record);
            outcome
        }) => [
            set_absent_is_refused_where_a_record_is,
            set_expecting_an_older_version_is_refused,
            set_expecting_a_newer_version_is_refused,
            set_of_a_version_creates_nothing,
            set_of_a_version_revives_nothing,
        ];

    a_set_that_replaces_nothing:
        Set(|plain, record, expected| match expected {
            Expected::Absent => plain.set_now(record, expected),
            Expected::Version(_) => Outcome::Refused,
        }) => [set_writes_over_the_version_it_expects];

    a_set_that_is_acknowledged_and_dropped:
        Set(|plain, record, expected| match plain.live(record.id()) {
            Some(found) if Expected::Version(found.version()) == expected => Outcome::Written,
            _ => plain.set_now(record, expected),
        }) => [set_writes_over_the_version_it_expects];

    a_set_that_ignores_what_was_expected:
        Set(|plain, record, _| plain.put(record)) => [
            set_absent_is_refused_where_a_record_is,
            set_expecting_an_older_version_is_refused,
            set_expecting_a_newer_version_is_refused,
            set_of_a_version_creates_nothing,
            set_of_a_version_revives_nothing,
            set_of_a_version_is_refused_once_it_has_expired,
            one_of_many_creators_writes,
            each_version_is_written_by_one,
        ];

    a_set_that_takes_older_versions_too:
        Set(|plain, record, expected| match (plain.live(record.id()), expected) {
            (Some(found), Expected::Version(version)) if version <= found.version() => plain.put(record),
            _ => plain.set_now(record, expected),
        }) => [set_expecting_an_older_version_is_refused];

    a_set_that_takes_newer_versions_too:
        Set(|plain, record, expected| match (plain.live(record.id()), expected) {
            (Some(found), Expected::Version(version)) if version >= found.version() => plain.put(record),
            _ => plain.set_now(record, expected),
        }) => [set_expecting_a_newer_version_is_refused];

    a_set_of_a_version_that_creates_what_is_not_there:
        Set(|plain, record, expected| match plain.live(record.id()) {
            None => plain.put(record),
            Some(_) => plain.set_now(record, expected),
        }) => [
            set_of_a_version_creates_nothing,
            set_of_a_version_revives_nothing,
            a_set_that_meets_a_delete_revives_nothing,
            another_connection_sees_a_delete,
        ];

    a_set_that_keeps_the_owner_where_none_is_given:
        Set(|plain, record, expected| {
            let old = plain.live(record.id()).and_then(|old| old.into_parts().owner);
            plain.set_now(&changed(record, |parts| parts.owner = parts.owner.take().or(old)), expected)
        }) => [set_replaces_every_part];

    a_set_that_keeps_the_later_expiry:
        Set(|plain, record, expected| {
            let old = plain.live(record.id()).map(|old| old.expires_at());
            plain.set_now(&changed(record, |parts| parts.expires_at = old.max(Some(parts.expires_at)).unwrap()), expected)
        }) => [set_can_shorten_a_life, set_replaces_every_part];

    a_set_that_leaves_the_expiry:
        Set(|plain, record, expected| {
            let old = plain.live(record.id()).map(|old| old.expires_at());
            plain.set_now(&changed(record, |parts| parts.expires_at = old.unwrap_or(parts.expires_at)), expected)
        }) => [set_can_lengthen_a_life];

    a_store_whose_keys_are_a_bit_short:
        Keys(|id| id[15] &= 0xfe) => [ids_are_independent];

    a_touch_that_grows_the_version:
        Touches(|plain, id, version, touch| {
            let touched = plain.touch_now(id, version, touch);
            if touched {
                plain.change(id, |parts| parts.version = next(parts.version));
            }
            touched
        }) => [touch_moves_last_seen_and_expiry_alone, set_after_a_touch_writes_over_the_same_version];

    a_touch_that_rewrites_the_state:
        Touches(|plain, id, version, touch| {
            let touched = plain.touch_now(id, version, touch);
            plain.change(id, |parts| parts.state = [].into());
            touched
        }) => [touch_moves_last_seen_and_expiry_alone];

    a_touch_that_forgets_the_owner:
        Touches(|plain, id, version, touch| {
            let touched = plain.touch_now(id, version, touch);
            plain.change(id, |parts| parts.owner = None);
            touched
        }) => [touch_moves_last_seen_and_expiry_alone, owned_by_lists_what_was_touched];

    a_touch_that_leaves_last_seen:
        Touches(|plain, id, version, touch| {
            plain.touch_now(id, version, Touch::new(OffsetDateTime::UNIX_EPOCH, touch.expires_at))
        }) => [touch_moves_last_seen_and_expiry_alone, another_connection_sees_a_touch];

    a_touch_that_ignores_the_version:
        Touches(|plain, id, _, touch| plain.live(id).is_some_and(|it| plain.touch_now(id, it.version(), touch))) =>
        [touch_of_another_version_does_nothing];

    a_touch_that_always_says_true:
        Touches(|plain, id, version, touch| {
            plain.touch_now(id, version, touch);
            true
        }) => [
            touch_of_another_version_does_nothing,
            touch_of_an_absent_record_creates_nothing,
            touch_revives_nothing_that_has_expired,
        ];

    a_touch_that_creates_what_is_not_there:
        Touches(|plain, id, version, touch| {
            let touched = plain.touch_now(id, version, touch);
            if plain.live(id).is_none() {
                let _ = plain.put(&changed(&super::records::blank(), |parts| parts.id = *id));
            }
            touched
        }) => [touch_of_an_absent_record_creates_nothing, a_touch_that_meets_a_delete_revives_nothing];

    a_touch_that_moves_the_expiry_back:
        Touches(|plain, id, version, touch| {
            let touched = plain.touch_now(id, version, touch);
            if touched {
                plain.change(id, |parts| parts.expires_at = touch.expires_at);
            }
            touched
        }) => [touch_never_moves_the_expiry_back];

    a_touch_that_moves_last_seen_back:
        Touches(|plain, id, version, touch| {
            let touched = plain.touch_now(id, version, touch);
            if touched {
                plain.change(id, |parts| parts.last_seen = touch.last_seen);
            }
            touched
        }) => [touch_never_moves_last_seen_back];

    a_touch_that_is_acknowledged_and_dropped:
        Touches(|plain, id, version, _| plain.live(id).is_some_and(|it| it.version() == version)) => [
            touch_moves_last_seen_and_expiry_alone,
            touch_keeps_a_record_past_its_first_expiry,
            owned_by_lists_what_was_touched,
            delete_expired_leaves_what_was_touched,
        ];

    a_delete_that_always_says_true:
        Deletes(|plain, id| {
            plain.delete_now(id);
            true
        }) => [
            delete_says_true_once,
            delete_of_an_unknown_id_says_false,
            delete_of_an_expired_record_says_false,
            one_of_many_deletes_says_true,
        ];

    a_delete_that_deletes_nothing:
        Deletes(|plain, id| plain.live(id).is_some()) => [delete_says_true_once, owned_by_forgets_what_was_deleted];

    a_delete_of_first_versions_only:
        Deletes(|plain, id| plain.live(id).is_some_and(|it| it.version().get() == 1) && plain.delete_now(id)) =>
        [delete_takes_every_version];

    a_delete_after_which_the_id_is_taken:
        Tombstones::default() => [an_id_can_be_written_anew_after_a_delete];

    a_delete_that_leaves_the_record_to_expire:
        Deletes(|plain, id| {
            let live = plain.live(id);
            let soon = plain.now() + Duration::from_millis(1);
            live.is_some_and(|live| plain.put(&changed(&live, |parts| parts.expires_at = soon)) == Outcome::Written)
        }) => [delete_says_true_once, an_id_can_be_written_anew_after_a_delete];
}

fn next(version: sessile::store::Version) -> sessile::store::Version {
    sessile::store::Version::new(version.get() + 1)
}
