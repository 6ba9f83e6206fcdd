//! Stores with a defect in set with `VersionKeepingTimes`.

use sessile::store::{Expected, Outcome};

use crate::defects::{ListsByGivenExpiry, Set, SetsKeepingTimes, changed};

caught! {
    /// Set with `VersionKeepingTimes` is a set with `Version`.
    keeping_times_writes_the_given_times:
        SetsKeepingTimes(|plain, record, version| plain.set_now(record, Expected::Version(version))) => [
            set_keeping_times_leaves_the_times_of_a_touch,
            set_keeping_times_ignores_the_times_it_is_given,
            set_keeping_times_does_not_prolong_a_life,
            set_keeping_times_does_not_shorten_a_life,
        ];

    /// Set with `VersionKeepingTimes` writes the later expiry.
    keeping_times_never_moves_the_expiry_back:
        SetsKeepingTimes(|plain, record, version| {
            let stored = plain.live(record.id()).map(|stored| stored.expires_at());
            let later = changed(record, |parts| parts.expires_at = stored.max(Some(parts.expires_at)).unwrap());
            plain.set_now(&later, Expected::Version(version))
        }) => [set_keeping_times_ignores_the_times_it_is_given, set_keeping_times_does_not_prolong_a_life];

    /// Set with `VersionKeepingTimes` is always refused.
    keeping_times_is_refused:
        SetsKeepingTimes(|_, _, _| Outcome::Refused) =>
        [set_keeping_times_leaves_the_times_of_a_touch, set_keeping_times_replaces_all_other_fields];

    /// Set with `VersionKeepingTimes` writes version and state alone.
    keeping_times_keeps_the_owner_and_the_realm:
        Set(|plain, record, expected| match (expected, plain.live(record.id())) {
            (Expected::VersionKeepingTimes(_), Some(stored)) => {
                let stored = stored.into_parts();
                let change = |parts: &mut sessile::store::RecordParts| {
                    (parts.owner, parts.realm) = (stored.owner.clone(), stored.realm.clone());
                };
                plain.set_now(&changed(record, change), expected)
            }
            _ => plain.set_now(record, expected),
        }) => [set_keeping_times_replaces_all_other_fields];

    /// Set with `VersionKeepingTimes` of any version writes over a live record.
    keeping_times_ignores_the_version:
        SetsKeepingTimes(|plain, record, _| match plain.live(record.id()) {
            Some(stored) => plain.set_now(record, Expected::VersionKeepingTimes(stored.version())),
            None => Outcome::Refused,
        }) => [set_keeping_times_of_another_version_is_refused];

    /// Set with `VersionKeepingTimes` creates an absent record.
    keeping_times_creates_a_record:
        SetsKeepingTimes(|plain, record, version| match plain.live(record.id()) {
            Some(_) => plain.set_now(record, Expected::VersionKeepingTimes(version)),
            None => plain.put(record),
        }) => [
            set_keeping_times_of_an_absent_record_is_refused,
            set_keeping_times_revives_no_expired_record,
            delete_owned_by_frees_the_ids,
        ];

    /// Set with `VersionKeepingTimes` ignores the expiry.
    keeping_times_revives_an_expired_record:
        SetsKeepingTimes(|plain, record, version| match plain.held(record.id()) {
            Some(held) if held.version() == version => plain.put(record),
            _ => Outcome::Refused,
        }) => [set_keeping_times_revives_no_expired_record];

    /// An owner's list forgets a session at the expiry that the last set was given.
    the_owners_list_expires_by_the_given_expiry:
        ListsByGivenExpiry::default() => [set_keeping_times_does_not_shorten_a_life];
}
