//! Stores with a defect in set, touch or delete.

use std::time::Duration;

use sessile::store::{Expected, Outcome, Touch};
use time::OffsetDateTime;

use crate::defects::{ChangesIds, Deletes, FirstOwners, ListsGivenOwners, Set, Tombstones, Touches, changed};

caught! {
    /// Set with `Expected::Absent` is always refused.
    set_never_creates:
        Set(|plain, record, expected| match expected {
            Expected::Absent => Outcome::Refused,
            _ => plain.set_now(record, expected),
        }) => [set_absent_creates_a_record];

    /// Set with `Expected::Absent` always writes.
    set_absent_overwrites:
        Set(|plain, record, expected| match expected {
            Expected::Absent => plain.put(record),
            _ => plain.set_now(record, expected),
        }) => [set_absent_is_refused_if_a_record_exists];

    /// Set returns `Refused` and writes.
    a_refused_set_writes:
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

    /// Set with an expected version is always refused.
    set_never_replaces:
        Set(|plain, record, expected| match expected {
            Expected::Absent => plain.set_now(record, expected),
            _ => Outcome::Refused,
        }) => [set_replaces_the_expected_version];

    /// Set with the stored version writes nothing.
    set_acknowledges_without_writing:
        Set(|plain, record, expected| match plain.live(record.id()) {
            Some(found) if Expected::Version(found.version()) == expected => Outcome::Written,
            _ => plain.set_now(record, expected),
        }) => [set_replaces_the_expected_version];

    /// Set always writes.
    set_ignores_what_it_expects:
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

    /// Set writes if an older version was expected.
    set_accepts_older_versions:
        Set(|plain, record, expected| match (plain.live(record.id()), expected) {
            (Some(found), Expected::Version(version)) if version <= found.version() => plain.put(record),
            _ => plain.set_now(record, expected),
        }) => [set_expecting_an_older_version_is_refused];

    /// Set writes if a newer version was expected.
    set_accepts_newer_versions:
        Set(|plain, record, expected| match (plain.live(record.id()), expected) {
            (Some(found), Expected::Version(version)) if version >= found.version() => plain.put(record),
            _ => plain.set_now(record, expected),
        }) => [set_expecting_a_newer_version_is_refused];

    /// Set with an expected version creates an absent record.
    set_of_a_version_creates:
        Set(|plain, record, expected| match plain.live(record.id()) {
            None => plain.put(record),
            Some(_) => plain.set_now(record, expected),
        }) => [
            set_of_a_version_creates_nothing,
            set_of_a_version_revives_nothing,
            a_set_during_a_delete_revives_nothing,
            another_connection_sees_a_delete,
        ];

    /// Set of a record without an owner keeps the stored one.
    set_keeps_the_owner:
        Set(|plain, record, expected| {
            let old = plain.live(record.id()).and_then(|old| old.into_parts().owner);
            plain.set_now(&changed(record, |parts| parts.owner = parts.owner.take().or(old)), expected)
        }) => [set_replaces_every_field];

    /// Set of a live record keeps the stored realm.
    set_keeps_the_realm:
        Set(|plain, record, expected| {
            let old = plain.live(record.id()).map(|old| old.into_parts().realm);
            plain.set_now(&changed(record, |parts| parts.realm = old.unwrap_or(parts.realm.clone())), expected)
        }) => [set_replaces_every_field, set_keeping_times_replaces_all_other_fields];

    /// Set never moves the expiry to an earlier time.
    set_keeps_a_later_expiry:
        Set(|plain, record, expected| {
            let old = plain.live(record.id()).map(|old| old.expires_at());
            plain.set_now(&changed(record, |parts| parts.expires_at = old.max(Some(parts.expires_at)).unwrap()), expected)
        }) => [set_can_move_the_expiry_earlier, set_replaces_every_field];

    /// Set never moves the expiry.
    set_keeps_the_expiry:
        Set(|plain, record, expected| {
            let old = plain.live(record.id()).map(|old| old.expires_at());
            plain.set_now(&changed(record, |parts| parts.expires_at = old.unwrap_or(parts.expires_at)), expected)
        }) => [set_can_move_the_expiry_later];

    /// Ids that differ in the last bit share a record.
    ids_lose_a_bit:
        ChangesIds(|id| id[15] &= 0xfe) => [records_are_independent];

    /// Touch writes another version.
    touch_increments_the_version:
        Touches(|plain, record, touch| {
            let touched = plain.touch_now(record, touch);
            if touched {
                plain.change(record.id(), |parts| parts.version = next(parts.version));
            }
            touched
        }) => [touch_moves_only_last_seen_and_expiry, touch_leaves_the_version_for_the_next_set];

    /// Touch writes an empty state.
    touch_clears_the_state:
        Touches(|plain, record, touch| {
            let touched = plain.touch_now(record, touch);
            plain.change(record.id(), |parts| parts.state = [].into());
            touched
        }) => [touch_moves_only_last_seen_and_expiry];

    /// Touch writes no owner.
    touch_clears_the_owner:
        Touches(|plain, record, touch| {
            let touched = plain.touch_now(record, touch);
            plain.change(record.id(), |parts| parts.owner = None);
            touched
        }) => [touch_moves_only_last_seen_and_expiry, owned_by_lists_touched_sessions];

    /// Touch writes the default realm.
    touch_clears_the_realm:
        Touches(|plain, record, touch| {
            let touched = plain.touch_now(record, touch);
            plain.change(record.id(), |parts| parts.realm = "id".into());
            touched
        }) => [touch_moves_only_last_seen_and_expiry];

    /// Touch moves only the expiry.
    touch_leaves_last_seen:
        Touches(|plain, record, touch| {
            plain.touch_now(record, Touch::new(OffsetDateTime::UNIX_EPOCH, touch.expires_at))
        }) => [touch_moves_only_last_seen_and_expiry, another_connection_sees_a_touch];

    /// Touch moves the times of any version.
    touch_ignores_the_version:
        Touches(|plain, record, touch| plain.live(record.id()).is_some_and(|live| plain.touch_now(&live, touch))) =>
        [touch_of_another_version_does_nothing];

    /// Touch returns true if it does nothing.
    touch_always_returns_true:
        Touches(|plain, record, touch| {
            plain.touch_now(record, touch);
            true
        }) => [
            touch_of_another_version_does_nothing,
            touch_of_an_absent_record_creates_nothing,
            touch_does_not_revive_an_expired_record,
        ];

    /// Touch writes the record if it is absent.
    touch_creates_a_record:
        Touches(|plain, record, touch| {
            let touched = plain.touch_now(record, touch);
            if plain.live(record.id()).is_none() {
                let _ = plain.put(record);
            }
            touched
        }) => [touch_of_an_absent_record_creates_nothing, a_touch_during_a_delete_revives_nothing];

    /// Touch writes an earlier expiry.
    touch_moves_the_expiry_back:
        Touches(|plain, record, touch| {
            let touched = plain.touch_now(record, touch);
            if touched {
                plain.change(record.id(), |parts| parts.expires_at = touch.expires_at);
            }
            touched
        }) => [touch_never_moves_the_expiry_back];

    /// Touch writes an earlier last-seen time.
    touch_moves_last_seen_back:
        Touches(|plain, record, touch| {
            let touched = plain.touch_now(record, touch);
            if touched {
                plain.change(record.id(), |parts| parts.last_seen = touch.last_seen);
            }
            touched
        }) => [touch_never_moves_last_seen_back];

    /// Touch of the stored version moves nothing.
    touch_acknowledges_without_moving:
        Touches(|plain, record, _| plain.live(record.id()).is_some_and(|live| live.version() == record.version())) => [
            touch_moves_only_last_seen_and_expiry,
            touch_keeps_a_record_past_its_first_expiry,
            owned_by_lists_touched_sessions,
            delete_expired_keeps_touched_records,
        ];

    /// Touch moves the times although the owner has changed.
    touch_ignores_a_change_of_owner:
        Touches(|plain, record, touch| plain.live(record.id()).is_some_and(|live| plain.touch_now(&live, touch))) =>
        [touch_after_a_change_of_owner_does_nothing];

    /// Touch of an older version restores its owner.
    touch_writes_the_owner_it_is_given:
        Touches(|plain, record, touch| {
            plain.change(record.id(), |parts| parts.owner = record.owner().map(Into::into));
            plain.touch_now(record, touch)
        }) => [touch_after_a_change_of_owner_does_nothing];

    /// Touch does nothing after a change of owner.
    touch_requires_the_first_owner:
        FirstOwners::default() => [touch_of_the_record_as_read_moves_its_times];

    /// Delete with an owner does nothing.
    delete_refuses_an_owner:
        Deletes(|plain, id, owner| owner.is_none() && plain.delete_now(id)) =>
        [delete_with_the_owner_removes_the_record, delete_with_an_outdated_owner_removes_the_record];

    /// Delete without an owner does nothing.
    delete_requires_an_owner:
        Deletes(|plain, id, owner| owner.is_some() && plain.delete_now(id)) =>
        [delete_without_an_owner_removes_the_record, a_touch_during_a_delete_revives_nothing];

    /// Delete with an owner other than the stored one does nothing.
    delete_compares_the_owner:
        Deletes(|plain, id, owner| {
            plain.live(id).is_some_and(|live| owner.is_none() || live.owner() == owner) && plain.delete_now(id)
        }) => [delete_with_an_outdated_owner_removes_the_record, delete_with_a_wrong_owner_removes_the_record];

    /// Delete removes other records of the given owner.
    delete_removes_all_sessions_of_the_owner:
        Deletes(|plain, id, owner| {
            plain.map(|records| records.retain(|_, record| owner.is_none() || record.owner() != owner));
            plain.delete_now(id) || owner.is_some()
        }) => [delete_with_the_owner_removes_the_record, delete_with_a_wrong_owner_removes_the_record];

    /// The true owner still lists the deleted record.
    delete_cleans_only_the_given_owners_list:
        ListsGivenOwners::default() => [
            delete_without_an_owner_removes_the_record,
            delete_with_an_outdated_owner_removes_the_record,
            delete_with_a_wrong_owner_removes_the_record,
        ];

    /// Delete returns true for an absent record.
    delete_always_returns_true:
        Deletes(|plain, id, _| {
            plain.delete_now(id);
            true
        }) => [
            delete_returns_true_once,
            delete_of_an_unknown_id_returns_false,
            delete_of_an_expired_record_returns_false,
            one_of_many_deletes_returns_true,
        ];

    /// Delete returns true and keeps the record.
    delete_deletes_nothing:
        Deletes(|plain, id, _| plain.live(id).is_some()) => [delete_returns_true_once, owned_by_omits_deleted_sessions];

    /// Delete does nothing to a later version.
    delete_requires_the_first_version:
        Deletes(|plain, id, _| plain.live(id).is_some_and(|live| live.version().get() == 1) && plain.delete_now(id)) =>
        [delete_ignores_the_version];

    /// Set is refused for the id of a deleted record.
    a_deleted_id_stays_taken:
        Tombstones::default() => [a_deleted_id_can_be_created_again];

    /// Delete lets the record expire a millisecond later.
    delete_moves_the_expiry:
        Deletes(|plain, id, _| {
            let live = plain.live(id);
            let soon = plain.now() + Duration::from_millis(1);
            live.is_some_and(|live| plain.put(&changed(&live, |parts| parts.expires_at = soon)) == Outcome::Written)
        }) => [delete_returns_true_once, a_deleted_id_can_be_created_again];
}

fn next(version: sessile::store::Version) -> sessile::store::Version {
    sessile::store::Version::new(version.get() + 1)
}
