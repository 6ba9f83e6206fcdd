//! Stores that list the wrong sessions of an owner.

use sessile::store::Outcome;

use crate::defects::{Compares, Indexes, KnowsEveryOwner, Lists, ListsCopies, changed};

caught! {
    /// Owned_by ignores the owner.
    owned_by_lists_all_sessions:
        Compares(|_, _| true) => [owned_by_lists_the_owners_sessions, owned_by_of_an_unknown_owner_is_empty];

    /// Owned_by returns an empty list.
    owned_by_lists_no_session:
        Lists(|_, _| Vec::new()) => [owned_by_lists_the_owners_sessions, owned_by_lists_a_session_after_sign_in];

    /// Owned_by lists sessions of the default realm only.
    owned_by_lists_one_realm:
        Lists(|plain, owner| plain.owned_by_now(owner).into_iter().filter(|record| record.realm() == "id").collect()) =>
        [owned_by_lists_sessions_of_every_realm, owned_by_lists_whole_records];

    /// Owned_by lists in reverse order.
    owned_by_lists_the_newest_first:
        Lists(|plain, owner| plain.owned_by_now(owner).into_iter().rev().collect()) => [owned_by_lists_the_oldest_first];

    /// Owned_by lists by state.
    owned_by_lists_in_random_order:
        Lists(|plain, owner| {
            let mut listed = plain.owned_by_now(owner);
            listed.sort_by_key(|record| std::cmp::Reverse(record.state().to_vec()));
            listed
        }) => [owned_by_lists_the_oldest_first];

    /// Owned_by omits the state of each record.
    owned_by_lists_empty_states:
        Lists(|plain, owner| {
            let listed = plain.owned_by_now(owner);
            listed.iter().map(|record| changed(record, |parts| parts.state = [].into())).collect()
        }) => [owned_by_lists_whole_records];

    /// Owned_by misses touches and deletes.
    owned_by_lists_copies_of_the_last_set:
        ListsCopies::default() => [
            owned_by_lists_whole_records,
            owned_by_omits_deleted_sessions,
            owned_by_lists_touched_sessions,
        ];

    /// Owned_by of an owner without sessions is an error.
    owned_by_fails_for_an_unknown_owner:
        KnowsEveryOwner => [owned_by_of_an_unknown_owner_is_empty];

    /// The index misses later changes of owner.
    the_index_is_written_at_creation_only:
        Indexes::new(|index, new, old, outcome| {
            if let (Some(owner), None, Outcome::Written) = (new.owner(), old, outcome) {
                index.entry(owner.into()).or_default().push(*new.id());
            }
        }) => [owned_by_lists_a_session_after_sign_in, owned_by_follows_a_change_of_owner];

    /// The index keeps former owners and duplicates.
    the_index_grows_with_every_write:
        Indexes::new(|index, new, _, outcome| {
            if let (Some(owner), Outcome::Written) = (new.owner(), outcome) {
                index.entry(owner.into()).or_default().push(*new.id());
            }
        }) => [
            owned_by_lists_a_rewritten_session_once,
            owned_by_follows_a_change_of_owner,
            owned_by_omits_deleted_sessions,
            owned_by_omits_an_expired_id_that_was_replaced,
        ];

    /// A refused set changes the index.
    the_index_follows_refused_sets:
        Indexes::new(|index, new, old, _| {
            forget(index, old);
            if let Some(owner) = new.owner() {
                index.entry(owner.into()).or_default().push(*new.id());
            }
        }) => [a_refused_set_changes_no_list];

    /// The index and the record are two separate writes.
    the_index_is_written_after_the_record:
        Indexes::new(|index, new, old, outcome| {
            if outcome == Outcome::Written {
                forget(index, old);
                if let Some(owner) = new.owner() {
                    index.entry(owner.into()).or_default().push(*new.id());
                }
            }
        }) => [owned_by_is_exact_after_concurrent_sets];

    /// Owned_by ignores the expiry.
    owned_by_lists_expired_sessions:
        Lists(|plain, owner| {
            plain.map(|records| records.values().filter(|record| record.owner() == Some(owner)).cloned().collect())
        }) => [owned_by_omits_expired_sessions, set_with_a_past_expiry_ends_a_record];

    /// A missing owner counts as the empty owner.
    owned_by_lists_sessions_without_an_owner:
        Lists(|plain, owner| {
            let mut listed = plain.all_live();
            listed.retain(|record| record.owner().unwrap_or_default() == owner);
            listed
        }) => [owned_by_omits_sessions_without_an_owner];

    /// Owned_by cuts its list off.
    owned_by_lists_at_most_256_sessions:
        Lists(|plain, owner| plain.owned_by_now(owner).into_iter().take(256).collect()) =>
        [owned_by_lists_300_sessions];

    /// Owners are compared in lower case.
    owners_are_compared_without_case:
        Compares(|stored, asked| stored.to_lowercase() == asked.to_lowercase()) => [owners_differ_by_case];

    /// Only ASCII letters are compared without case.
    owners_are_compared_without_ascii_case:
        Compares(|stored, asked| stored.eq_ignore_ascii_case(asked)) => [owners_differ_by_case];

    /// Trailing spaces are ignored, as `CHAR` columns do.
    owners_are_compared_without_trailing_spaces:
        Compares(|stored, asked| stored.trim_end_matches(' ') == asked.trim_end_matches(' ')) =>
        [owners_differ_by_spaces];

    /// Accents are ignored, as many collations do.
    owners_are_compared_without_accents:
        Compares(|stored, asked| folded(stored) == folded(asked)) => [owners_differ_by_accents_and_composition];

    /// A percent sign matches any text, as in `LIKE`.
    a_percent_sign_in_an_owner_is_a_wildcard:
        Compares(|stored, asked| match asked.split_once('%') {
            Some((before, after)) => stored.starts_with(before) && stored.ends_with(after),
            None => stored == asked,
        }) => [wildcards_in_an_owner_match_only_themselves];

    /// An underscore matches any character, as in `LIKE`.
    an_underscore_in_an_owner_is_a_wildcard:
        Compares(|stored, asked| {
            let same = stored.chars().zip(asked.chars()).all(|(stored, asked)| stored == asked || asked == '_');
            same && stored.chars().count() == asked.chars().count()
        }) => [wildcards_in_an_owner_match_only_themselves];

    /// Only the first 255 characters are compared.
    owners_are_compared_up_to_255_characters:
        Compares(|stored, asked| stored.chars().take(255).eq(asked.chars().take(255))) =>
        [long_owners_differ_by_their_last_character];

    /// An owner matches every owner that starts with it.
    owners_are_compared_by_prefix:
        Compares(|stored, asked| stored.starts_with(asked)) => [a_prefix_of_an_owner_is_another_owner];

    /// A NUL ends an owner in comparisons.
    owners_are_compared_up_to_a_nul:
        Compares(|stored, asked| stored.split('\0').next() == asked.split('\0').next()) =>
        [an_owner_with_a_nul_is_kept_or_refused];
}

/// Removes a record from an index.
fn forget(index: &mut crate::defects::Index, old: Option<&sessile::store::Record>) {
    if let Some(ids) = old.and_then(|old| index.get_mut(old.owner()?)) {
        ids.retain(|id| Some(id) != old.map(sessile::store::Record::id));
    }
}

/// Returns an owner without accents, as a collation compares it.
fn folded(owner: &str) -> String {
    owner.replace('é', "e").chars().filter(|letter| *letter != '\u{301}').collect()
}
