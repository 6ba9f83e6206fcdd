//! Stores with a defect in delete_owned_by.

use std::time::Duration;

use sessile::store::Record;

use crate::defects::{DeletesFirstOwners, DeletesListedVersions, DeletesOneByOne, DeletesOwned, ListsThenDeletes};
use crate::plain::Plain;

caught! {
    /// Delete_owned_by returns the ids and deletes nothing.
    delete_owned_by_deletes_nothing:
        DeletesOwned(|plain, owner, _, _| plain.owned_by_now(owner).iter().map(|record| *record.id()).collect()) =>
        [delete_owned_by_deletes_the_owners_sessions, delete_owned_by_deletes_300_sessions];

    /// Delete_owned_by returns no id.
    delete_owned_by_returns_an_empty_list:
        DeletesOwned(|plain, owner, realm, keep| {
            plain.delete_owned_by_now(owner, realm, keep);
            Vec::new()
        }) => [delete_owned_by_deletes_the_owners_sessions];

    /// Delete_owned_by ignores the owner.
    delete_owned_by_deletes_all_sessions:
        DeletesOwned(|plain, _, realm, keep| delete(plain, |record| {
            realm.is_none_or(|realm| realm == record.realm()) && keep != Some(record.id())
        })) => [
            delete_owned_by_deletes_the_owners_sessions,
            delete_owned_by_of_an_unknown_owner_is_empty,
            delete_owned_by_follows_a_change_of_owner,
        ];

    /// Delete_owned_by deletes in every realm.
    delete_owned_by_ignores_the_realm:
        DeletesOwned(|plain, owner, _, keep| plain.delete_owned_by_now(owner, None, keep)) =>
        [delete_owned_by_of_a_realm_leaves_the_others];

    /// Delete_owned_by without a realm means the default one.
    delete_owned_by_without_a_realm_means_one:
        DeletesOwned(|plain, owner, realm, keep| plain.delete_owned_by_now(owner, realm.or(Some("id")), keep)) =>
        [delete_owned_by_deletes_the_owners_sessions];

    /// Realms are compared without case.
    delete_owned_by_compares_realms_without_case:
        DeletesOwned(|plain, owner, realm, keep| delete(plain, |record| {
            let is_of_realm = realm.is_none_or(|realm| realm.eq_ignore_ascii_case(record.realm()));
            record.owner() == Some(owner) && is_of_realm && keep != Some(record.id())
        })) => [delete_owned_by_of_a_realm_leaves_the_others];

    /// Delete_owned_by deletes the session to keep.
    delete_owned_by_keeps_no_session:
        DeletesOwned(|plain, owner, realm, _| plain.delete_owned_by_now(owner, realm, None)) =>
        [delete_owned_by_keeps_the_given_session];

    /// Delete_owned_by goes by the owner that a session was created with.
    delete_owned_by_ignores_changes_of_owner:
        DeletesFirstOwners::default() => [delete_owned_by_follows_a_change_of_owner];

    /// Delete_owned_by returns expired sessions.
    delete_owned_by_returns_expired_ids:
        DeletesOwned(|plain, owner, _, _| plain.map(|records| {
            let ids: Vec<_> =
                records.values().filter(|record| record.owner() == Some(owner)).map(|record| *record.id()).collect();
            records.retain(|id, _| !ids.contains(id));
            ids
        })) => [delete_owned_by_omits_expired_sessions];

    /// Owners are compared by prefix.
    delete_owned_by_compares_owners_by_prefix:
        DeletesOwned(|plain, owner, _, _| {
            delete(plain, |record| record.owner().is_some_and(|stored| stored.starts_with(owner)))
        }) => [delete_owned_by_compares_owners_by_bytes];

    /// Owners are compared in lower case.
    delete_owned_by_compares_owners_without_case:
        DeletesOwned(|plain, owner, _, _| {
            delete(plain, |record| record.owner().map(str::to_lowercase) == Some(owner.to_lowercase()))
        }) => [delete_owned_by_compares_owners_by_bytes];

    /// Delete_owned_by stops after 256 sessions.
    delete_owned_by_deletes_at_most_256_sessions:
        DeletesOwned(|plain, owner, _, _| {
            let ids: Vec<_> = plain.owned_by_now(owner).iter().take(256).map(|record| *record.id()).collect();
            ids.iter().for_each(|id| drop(plain.remove(id)));
            ids
        }) => [delete_owned_by_deletes_300_sessions];

    /// Delete_owned_by lets the sessions expire a millisecond later.
    delete_owned_by_moves_the_expiry:
        DeletesOwned(|plain, owner, _, _| {
            let soon = plain.now() + Duration::from_millis(1);
            let owned = plain.owned_by_now(owner);
            owned.iter().for_each(|record| plain.change(record.id(), |parts| parts.expires_at = soon));
            owned.iter().map(|record| *record.id()).collect()
        }) => [delete_owned_by_deletes_the_owners_sessions, delete_owned_by_frees_the_ids];

    /// Concurrent calls return the same ids.
    delete_owned_by_lists_before_it_deletes:
        ListsThenDeletes => [delete_owned_by_returns_each_id_once];

    /// A session that is written meanwhile stays.
    delete_owned_by_deletes_the_versions_that_it_read:
        DeletesListedVersions => [a_set_during_delete_owned_by_revives_nothing];

    /// Each session costs a round trip.
    delete_owned_by_deletes_one_by_one:
        DeletesOneByOne => [delete_owned_by_costs_two_round_trips_at_most];
}

/// Deletes the live records of which this is true.
fn delete(plain: &Plain, is_meant: impl Fn(&Record) -> bool) -> Vec<sessile::SessionId> {
    let live = plain.all_live().into_iter().filter(is_meant);
    live.filter_map(|record| plain.remove(record.id()).map(|removed| *removed.id())).collect()
}
