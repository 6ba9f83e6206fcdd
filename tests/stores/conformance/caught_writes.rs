//! Stores whose set, touch or delete does something else than it should.

use std::time::Duration;

use sessile::store::{Expected, Outcome, Touch};
use time::OffsetDateTime;

use crate::defects::{Deletes, FirstOwners, Keys, ListsGivenOwners, Set, Tombstones, Touches, changed};

caught! {
    a_set_that_never_creates:
        Set(|plain, record, expected| match expected {
            Expected::Absent => Outcome::Refused,
            Expected::Version(_) => plain.set_now(record, expected),
        }) => [set_absent_creates_a_record];

    a_set_that_overwrites_where_it_expects_nothing:
        Set(|plain, record, expected| match expected {
            Expected::Absent => plain.put(record),
            Expected::Version(_) => plain.set_now(record, expected),
        }) => [set_absent_is_refused_if_a_record_exists];

    a_set_that_is_refused_and_writes:
        Set(|plain, record, expected| {
            let outcome = plain.set_now(record, expected);
            let _ = plain.put(record);
            outcome
        }) => [
            set_absent_is_refused_if_a_record_exists,
            set_expecting_an_older_version_is_refused,
            set_expecting_a_newer_version_is_refused,
            set_of_a_version_creates_nothing,
            set_of_a_version_revives_nothing,
        ];

    a_set_that_replaces_nothing:
        Set(|plain, record, expected| match expected {
            Expected::Absent => plain.set_now(record, expected),
            Expected::Version(_) => Outcome::Refused,
        }) => [set_replaces_the_expected_version];

    a_set_that_is_acknowledged_and_dropped:
        Set(|plain, record, expected| match plain.live(record.id()) {
            Some(found) if Expected::Version(found.version()) == expected => Outcome::Written,
            _ => plain.set_now(record, expected),
        }) => [set_replaces_the_expected_version];

    a_set_that_ignores_what_was_expected:
        Set(|plain, record, _| plain.put(record)) => [
            set_absent_is_refused_if_a_record_exists,
            set_expecting_an_older_version_is_refused,
            set_expecting_a_newer_version_is_refused,
            set_of_a_version_creates_nothing,
            set_of_a_version_revives_nothing,
            set_of_a_version_is_refused_after_expiry,
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
            a_set_during_a_delete_revives_nothing,
            another_connection_sees_a_delete,
        ];

    a_set_that_keeps_the_owner_where_none_is_given:
        Set(|plain, record, expected| {
            let old = plain.live(record.id()).and_then(|old| old.into_parts().owner);
            plain.set_now(&changed(record, |parts| parts.owner = parts.owner.take().or(old)), expected)
        }) => [set_replaces_every_field];

    a_set_that_keeps_the_later_expiry:
        Set(|plain, record, expected| {
            let old = plain.live(record.id()).map(|old| old.expires_at());
            plain.set_now(&changed(record, |parts| parts.expires_at = old.max(Some(parts.expires_at)).unwrap()), expected)
        }) => [set_can_move_the_expiry_earlier, set_replaces_every_field];

    a_set_that_leaves_the_expiry:
        Set(|plain, record, expected| {
            let old = plain.live(record.id()).map(|old| old.expires_at());
            plain.set_now(&changed(record, |parts| parts.expires_at = old.unwrap_or(parts.expires_at)), expected)
        }) => [set_can_move_the_expiry_later];

    a_store_whose_keys_are_a_bit_short:
        Keys(|id| id[15] &= 0xfe) => [records_are_independent];

    a_touch_that_grows_the_version:
        Touches(|plain, record, touch| {
            let touched = plain.touch_now(record, touch);
            if touched {
                plain.change(record.id(), |parts| parts.version = next(parts.version));
            }
            touched
        }) => [touch_moves_only_last_seen_and_expiry, touch_leaves_the_version_for_the_next_set];

    a_touch_that_rewrites_the_state:
        Touches(|plain, record, touch| {
            let touched = plain.touch_now(record, touch);
            plain.change(record.id(), |parts| parts.state = [].into());
            touched
        }) => [touch_moves_only_last_seen_and_expiry];

    a_touch_that_forgets_the_owner:
        Touches(|plain, record, touch| {
            let touched = plain.touch_now(record, touch);
            plain.change(record.id(), |parts| parts.owner = None);
            touched
        }) => [touch_moves_only_last_seen_and_expiry, owned_by_lists_touched_sessions];

    a_touch_that_leaves_last_seen:
        Touches(|plain, record, touch| {
            plain.touch_now(record, Touch::new(OffsetDateTime::UNIX_EPOCH, touch.expires_at))
        }) => [touch_moves_only_last_seen_and_expiry, another_connection_sees_a_touch];

    a_touch_that_ignores_the_version:
        Touches(|plain, record, touch| plain.live(record.id()).is_some_and(|live| plain.touch_now(&live, touch))) =>
        [touch_of_another_version_does_nothing];

    a_touch_that_always_says_true:
        Touches(|plain, record, touch| {
            plain.touch_now(record, touch);
            true
        }) => [
            touch_of_another_version_does_nothing,
            touch_of_an_absent_record_creates_nothing,
            touch_does_not_revive_an_expired_record,
        ];

    a_touch_that_creates_what_is_not_there:
        Touches(|plain, record, touch| {
            let touched = plain.touch_now(record, touch);
            if plain.live(record.id()).is_none() {
                let _ = plain.put(record);
            }
            touched
        }) => [touch_of_an_absent_record_creates_nothing, a_touch_during_a_delete_revives_nothing];

    a_touch_that_moves_the_expiry_back:
        Touches(|plain, record, touch| {
            let touched = plain.touch_now(record, touch);
            if touched {
                plain.change(record.id(), |parts| parts.expires_at = touch.expires_at);
            }
            touched
        }) => [touch_never_moves_the_expiry_back];

    a_touch_that_moves_last_seen_back:
        Touches(|plain, record, touch| {
            let touched = plain.touch_now(record, touch);
            if touched {
                plain.change(record.id(), |parts| parts.last_seen = touch.last_seen);
            }
            touched
        }) => [touch_never_moves_last_seen_back];

    a_touch_that_is_acknowledged_and_dropped:
        Touches(|plain, record, _| plain.live(record.id()).is_some_and(|live| live.version() == record.version())) => [
            touch_moves_only_last_seen_and_expiry,
            touch_keeps_a_record_past_its_first_expiry,
            owned_by_lists_touched_sessions,
            delete_expired_keeps_touched_records,
        ];

    a_touch_that_ignores_version_and_owner:
        Touches(|plain, record, touch| plain.live(record.id()).is_some_and(|live| plain.touch_now(&live, touch))) =>
        [touch_after_a_change_of_owner_does_nothing];

    a_touch_that_writes_back_the_owner_it_is_given:
        Touches(|plain, record, touch| {
            plain.change(record.id(), |parts| parts.owner = record.owner().map(Into::into));
            plain.touch_now(record, touch)
        }) => [touch_after_a_change_of_owner_does_nothing];

    a_touch_of_first_owners_only:
        FirstOwners::default() => [touch_of_the_record_as_read_moves_its_times];

    a_delete_that_refuses_to_be_given_an_owner:
        Deletes(|plain, id, owner| owner.is_none() && plain.delete_now(id)) =>
        [delete_with_the_owner_removes_the_record, delete_with_an_outdated_owner_removes_the_record];

    a_delete_that_requires_an_owner:
        Deletes(|plain, id, owner| owner.is_some() && plain.delete_now(id)) =>
        [delete_without_an_owner_removes_the_record, a_touch_during_a_delete_revives_nothing];

    a_delete_that_compares_the_owner:
        Deletes(|plain, id, owner| {
            plain.live(id).is_some_and(|live| owner.is_none() || live.owner() == owner) && plain.delete_now(id)
        }) => [delete_with_an_outdated_owner_removes_the_record, delete_with_a_wrong_owner_removes_the_record];

    a_delete_of_all_sessions_of_the_given_owner:
        Deletes(|plain, id, owner| {
            plain.map(|records| records.retain(|_, record| owner.is_none() || record.owner() != owner));
            plain.delete_now(id) || owner.is_some()
        }) => [delete_with_the_owner_removes_the_record, delete_with_a_wrong_owner_removes_the_record];

    a_delete_that_leaves_the_lists_of_other_owners:
        ListsGivenOwners::default() => [
            delete_without_an_owner_removes_the_record,
            delete_with_an_outdated_owner_removes_the_record,
            delete_with_a_wrong_owner_removes_the_record,
        ];

    a_delete_that_always_says_true:
        Deletes(|plain, id, _| {
            plain.delete_now(id);
            true
        }) => [
            delete_returns_true_once,
            delete_of_an_unknown_id_returns_false,
            delete_of_an_expired_record_returns_false,
            one_of_many_deletes_returns_true,
        ];

    a_delete_that_deletes_nothing:
        Deletes(|plain, id, _| plain.live(id).is_some()) => [delete_returns_true_once, owned_by_omits_deleted_sessions];

    a_delete_of_first_versions_only:
        Deletes(|plain, id, _| plain.live(id).is_some_and(|live| live.version().get() == 1) && plain.delete_now(id)) =>
        [delete_ignores_the_version];

    a_delete_after_which_the_id_is_taken:
        Tombstones::default() => [a_deleted_id_can_be_created_again];

    a_delete_that_leaves_the_record_to_expire:
        Deletes(|plain, id, _| {
            let live = plain.live(id);
            let soon = plain.now() + Duration::from_millis(1);
            live.is_some_and(|live| plain.put(&changed(&live, |parts| parts.expires_at = soon)) == Outcome::Written)
        }) => [delete_returns_true_once, a_deleted_id_can_be_created_again];
}

fn next(version: sessile::store::Version) -> sessile::store::Version {
    sessile::store::Version::new(version.get() + 1)
}
