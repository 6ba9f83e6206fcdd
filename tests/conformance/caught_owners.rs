//! Stores that list other sessions than the owner's.

use sessile::store::Outcome;

use crate::saboteurs::{Compares, Indexes, KnowsEveryOwner, Lists, ListsCopies, changed};

caught! {
    a_list_of_everybodys:
        Compares(|_, _| true) => [owned_by_lists_the_owners_sessions, owned_by_of_an_unknown_owner_is_empty];

    a_list_of_nobodys:
        Lists(|_, _| Vec::new()) => [owned_by_lists_the_owners_sessions, owned_by_lists_a_session_that_is_signed_in];

    a_list_with_the_newest_first:
        Lists(|plain, owner| plain.owned_by_now(owner).into_iter().rev().collect()) => [owned_by_lists_the_oldest_first];

    a_list_in_any_order:
        Lists(|plain, owner| {
            let mut listed = plain.owned_by_now(owner);
            listed.sort_by_key(|record| std::cmp::Reverse(record.state().to_vec()));
            listed
        }) => [owned_by_lists_the_oldest_first];

    a_list_without_states:
        Lists(|plain, owner| {
            let listed = plain.owned_by_now(owner);
            listed.iter().map(|record| changed(record, |parts| parts.state = [].into())).collect()
        }) => [owned_by_lists_whole_records];

    a_list_of_copies:
        ListsCopies::default() => [
            owned_by_lists_whole_records,
            owned_by_forgets_what_was_deleted,
            owned_by_lists_what_was_touched,
        ];

    a_list_that_fails_for_unknown_owners:
        KnowsEveryOwner => [owned_by_of_an_unknown_owner_is_empty];

    an_index_that_is_made_at_creation:
        Indexes::new(|index, new, old, outcome| {
            if let (Some(owner), None, Outcome::Written) = (new.owner(), old, outcome) {
                index.entry(owner.into()).or_default().push(*new.id());
            }
        }) => [owned_by_lists_a_session_that_is_signed_in, owned_by_follows_a_change_of_owner];

    an_index_of_every_write:
        Indexes::new(|index, new, _, outcome| {
            if let (Some(owner), Outcome::Written) = (new.owner(), outcome) {
                index.entry(owner.into()).or_default().push(*new.id());
            }
        }) => [
            owned_by_lists_once_what_was_written_often,
            owned_by_follows_a_change_of_owner,
            owned_by_forgets_what_was_deleted,
            owned_by_forgets_what_was_replaced_after_its_expiry,
        ];

    an_index_that_follows_refused_sets:
        Indexes::new(|index, new, old, _| {
            forget(index, old);
            if let Some(owner) = new.owner() {
                index.entry(owner.into()).or_default().push(*new.id());
            }
        }) => [a_refused_set_moves_no_owner];

    an_index_that_is_changed_some_time_after_the_record:
        Indexes::new(|index, new, old, outcome| {
            if outcome == Outcome::Written {
                forget(index, old);
                if let Some(owner) = new.owner() {
                    index.entry(owner.into()).or_default().push(*new.id());
                }
            }
        }) => [owned_by_is_exact_after_writers_at_once];

    a_list_of_what_has_expired:
        Lists(|plain, owner| {
            plain.map(|records| records.values().filter(|record| record.owner() == Some(owner)).cloned().collect())
        }) => [owned_by_forgets_what_has_expired, a_set_into_the_past_ends_a_live_record];

    a_list_of_the_anonymous:
        Lists(|plain, owner| {
            let mut listed = plain.all_live();
            listed.retain(|record| record.owner().unwrap_or_default() == owner);
            listed
        }) => [anonymous_sessions_are_listed_under_nobody];

    a_list_of_256_at_most:
        Lists(|plain, owner| plain.owned_by_now(owner).into_iter().take(256).collect()) =>
        [three_hundred_sessions_of_one_owner_are_listed];

    owners_without_case:
        Compares(|stored, asked| stored.to_lowercase() == asked.to_lowercase()) => [owners_differ_by_case];

    owners_without_ascii_case:
        Compares(|stored, asked| stored.eq_ignore_ascii_case(asked)) => [owners_differ_by_case];

    owners_without_trailing_spaces:
        Compares(|stored, asked| stored.trim_end_matches(' ') == asked.trim_end_matches(' ')) =>
        [owners_differ_by_spaces];

    owners_without_accents:
        Compares(|stored, asked| folded(stored) == folded(asked)) => [owners_differ_by_accents_and_composition];

    owners_whose_percent_signs_match_anything:
        Compares(|stored, asked| match asked.split_once('%') {
            Some((before, after)) => stored.starts_with(before) && stored.ends_with(after),
            None => stored == asked,
        }) => [wildcards_in_an_owner_match_nothing_else];

    owners_whose_underscores_match_anything:
        Compares(|stored, asked| {
            let same = stored.chars().zip(asked.chars()).all(|(stored, asked)| stored == asked || asked == '_');
            same && stored.chars().count() == asked.chars().count()
        }) => [wildcards_in_an_owner_match_nothing_else];

    owners_compared_up_to_255_characters:
        Compares(|stored, asked| stored.chars().take(255).eq(asked.chars().take(255))) =>
        [long_owners_differ_by_their_last_character];

    owners_that_begin_with_what_is_asked_for:
        Compares(|stored, asked| stored.starts_with(asked)) => [an_owner_that_begins_another_is_not_that_one];

    owners_compared_up_to_a_zero_character:
        Compares(|stored, asked| stored.split('\0').next() == asked.split('\0').next()) =>
        [an_owner_with_a_zero_character_is_kept_or_refused];
}

/// Takes a record out of an index, where it was in it.
fn forget(index: &mut crate::saboteurs::Index, old: Option<&sessile::store::Record>) {
    if let Some(ids) = old.and_then(|old| index.get_mut(old.owner()?)) {
        ids.retain(|id| Some(id) != old.map(sessile::store::Record::id));
    }
}

/// As a collation folds it.
fn folded(owner: &str) -> String {
    owner.replace('é', "e").chars().filter(|letter| *letter != '\u{301}').collect()
}
