//! Stores that return the wrong ids of an owner.

use sessile::SessionId;
use sessile::store::Record;

use crate::defects::{AsksOneByOne, Ids};
use crate::plain::Plain;

caught! {
    /// Ids_of returns no id.
    ids_of_returns_an_empty_list:
        Ids(|_, _, _| Vec::new()) => [ids_of_returns_the_owners_sessions, ids_of_returns_300_sessions];

    /// Ids_of ignores the owner.
    ids_of_returns_all_sessions:
        Ids(|plain, _, realm| ids(plain, |record| realm.is_none_or(|realm| realm == record.realm()))) => [
            ids_of_returns_the_owners_sessions,
            ids_of_an_unknown_owner_is_empty,
            ids_of_follows_a_change_of_owner,
        ];

    /// Ids_of ignores the realm.
    ids_of_ignores_the_realm:
        Ids(|plain, owner, _| plain.ids_of_now(owner, None)) => [ids_of_a_realm_omits_the_others];

    /// Ids_of without a realm means the default one.
    ids_of_without_a_realm_means_one:
        Ids(|plain, owner, realm| plain.ids_of_now(owner, realm.or(Some("id")))) => [ids_of_returns_the_owners_sessions];

    /// Realms are compared without case.
    ids_of_compares_realms_without_case:
        Ids(|plain, owner, realm| ids(plain, |record| {
            let is_of_realm = realm.is_none_or(|realm| realm.eq_ignore_ascii_case(record.realm()));
            record.owner() == Some(owner) && is_of_realm
        })) => [ids_of_a_realm_omits_the_others];

    /// Ids_of returns the newest first.
    ids_of_returns_descending_ids:
        Ids(|plain, owner, realm| plain.ids_of_now(owner, realm).into_iter().rev().collect()) =>
        [ids_of_returns_the_smallest_first];

    /// Ids_of with a realm returns ids in the order of their states.
    ids_of_a_realm_is_unordered:
        Ids(|plain, owner, realm| {
            let mut owned = plain.owned_by_now(owner);
            owned.retain(|record| realm.is_none_or(|realm| realm == record.realm()));
            if realm.is_some() {
                owned.sort_by_key(|record| record.state().to_vec());
            }
            owned.iter().map(|record| *record.id()).collect()
        }) => [ids_of_returns_the_smallest_first];

    /// Ids_of returns expired sessions.
    ids_of_returns_expired_ids:
        Ids(|plain, owner, _| plain.map(|records| {
            records.values().filter(|record| record.owner() == Some(owner)).map(|record| *record.id()).collect()
        })) => [ids_of_omits_deleted_and_expired_sessions];

    /// Owners are compared by prefix.
    ids_of_compares_owners_by_prefix:
        Ids(|plain, owner, _| ids(plain, |record| record.owner().is_some_and(|stored| stored.starts_with(owner)))) =>
        [ids_of_compares_owners_by_bytes];

    /// Ids_of cuts its list off.
    ids_of_returns_at_most_256_ids:
        Ids(|plain, owner, realm| plain.ids_of_now(owner, realm).into_iter().take(256).collect()) =>
        [ids_of_returns_300_sessions];

    /// Ids_of counts as a use of the session.
    ids_of_touches_the_sessions:
        Ids(|plain, owner, realm| {
            let ids = plain.ids_of_now(owner, realm);
            ids.iter().for_each(|id| plain.change(id, |parts| parts.expires_at += std::time::Duration::from_secs(1)));
            ids
        }) => [ids_of_changes_nothing];

    /// Each id costs a round trip.
    ids_of_asks_for_one_record_after_another:
        AsksOneByOne => [ids_of_costs_two_round_trips_at_most];
}

/// Returns the ids of the live records of which this is true.
fn ids(plain: &Plain, is_meant: impl Fn(&Record) -> bool) -> Vec<SessionId> {
    plain.all_live().iter().filter(|record| is_meant(record)).map(|record| *record.id()).collect()
}
