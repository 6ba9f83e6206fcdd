//! The list of the rules. Each is a function of its name, in the module before it.

mod concurrency;
mod connections;
mod delete;
mod dropped;
mod expiry;
mod index;
mod instants;
mod owners;
mod parts;
mod round_trips;
mod set;
mod sweeping;
mod touch;

use std::future::Future;
use std::pin::Pin;

use super::fixture::Fixture;
use super::probe::Checked;
use super::rule::Rule;
use super::trial::Trial;

/// Hands the list to a macro, after whatever else that one is to know.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_rules {
    ([$($then:tt)+] $context:tt) => {
        $($then)+! {
            $context

            parts::every_part_comes_back:
                "A record comes back with every part as it was written: id, version, owner, instants, state.";
            parts::an_unknown_id_is_absent:
                "Get finds nothing under an id that was never written.";
            parts::ids_of_every_kind_of_uuid_are_kept:
                "An id is any UUID, not a time-ordered one only.";
            parts::versions_go_up_to_the_largest_signed_number:
                "A version is kept up to 2^63 - 1.";
            parts::large_versions_that_differ_by_one_are_told_apart:
                "Versions are compared as whole numbers, also beyond 2^53.";
            parts::an_empty_state_comes_back:
                "A state of no bytes is a state.";
            parts::every_byte_value_comes_back:
                "A state is bytes, all 256 of them, and no text.";
            parts::bytes_at_the_ends_of_a_state_come_back:
                "No zero byte, space or line end at either end of a state is trimmed or padded.";
            parts::a_state_of_one_mebibyte_comes_back:
                "A state of 1 MiB comes back whole.";
            parts::a_state_of_sixteen_mebibytes_comes_back:
                "A state of 16 MiB comes back whole.";
            parts::no_owner_and_an_empty_owner_are_told_apart:
                "A record without an owner comes back without one, and one whose owner is the empty string with that.";
            parts::owners_of_every_script_come_back:
                "An owner is any text: every script, combining characters and those beyond the basic plane.";
            parts::owners_with_quotes_come_back:
                "Quotes, backslashes and statements in an owner are text like any other.";
            parts::long_owners_come_back:
                "An owner of 300 characters, of four bytes each, comes back whole.";
            parts::an_owner_with_a_zero_character_is_kept_or_refused:
                "An owner that holds a zero character is kept as it is or refused with an error, never cut short.";

            instants::milliseconds_are_kept:
                "Last seen and expiry are kept to the millisecond.";
            instants::an_instant_is_the_same_at_every_offset:
                "An instant that is given with another offset than UTC comes back as the same instant.";
            instants::instants_before_1970_are_kept:
                "A record last seen before 1970 comes back so.";
            instants::instants_after_2038_are_kept:
                "An expiry that no signed 32-bit count of seconds can hold, nor an unsigned one, comes back as it was.";
            instants::the_end_of_the_year_9999_is_kept:
                "The last instant that a record can hold is kept, as an expiry by set and by touch.";

            set::set_absent_writes_where_nothing_is:
                "Set, expecting nothing, writes where nothing is.";
            set::set_absent_is_refused_where_a_record_is:
                "Set, expecting nothing, is refused where a live record is, and changes nothing.";
            set::set_writes_over_the_version_it_expects:
                "Set writes over a record of the version that it expects.";
            set::set_expecting_an_older_version_is_refused:
                "Set is refused where the stored version is newer than expected, and changes nothing.";
            set::set_expecting_a_newer_version_is_refused:
                "Set is refused where the stored version is older than expected, and changes nothing.";
            set::set_of_a_version_creates_nothing:
                "Set, expecting a version, is refused where nothing was ever written, and creates nothing.";
            set::set_of_a_version_revives_nothing:
                "Set, expecting the version that a record had when it was deleted, is refused and revives nothing.";
            set::set_replaces_every_part:
                "Set writes the record whole: nothing of the one before it stays.";
            set::set_can_shorten_a_life:
                "Set can move the expiry to an earlier instant, and the record is gone when that has passed.";
            set::set_can_lengthen_a_life:
                "Set can move the expiry to a later instant, and the record is there past its first expiry.";
            set::ids_are_independent:
                "What is done to one record is done to no other.";

            expiry::a_record_is_absent_once_it_has_expired:
                "Get finds nothing once the expiry has passed by the store's clock.";
            expiry::set_of_a_version_is_refused_once_it_has_expired:
                "Set, expecting the version of a record that has expired, is refused and revives nothing.";
            expiry::set_absent_writes_once_it_has_expired:
                "Set, expecting nothing, writes over a record that has expired.";
            expiry::touch_revives_nothing_that_has_expired:
                "Touch of a record that has expired says false and revives nothing.";
            expiry::delete_of_an_expired_record_says_false:
                "Delete of a record that has expired says false.";
            expiry::a_record_written_into_the_past_is_absent_at_once:
                "A record whose expiry is past when it is written is written, and absent at once.";
            expiry::a_set_into_the_past_ends_a_live_record:
                "Set with an expiry in the past over a live record writes, and the record is absent at once.";
            expiry::delete_expired_leaves_what_lives:
                "Delete_expired leaves live records as they are, with an owner or without.";
            expiry::delete_expired_leaves_what_was_touched:
                "Delete_expired leaves a record that a touch has kept alive past its first expiry.";
            sweeping::delete_expired_says_how_many:
                "Delete_expired says how many records it has deleted: those that have expired, and no other.";
            sweeping::delete_expired_counts_nothing_twice:
                "Delete_expired, called again at once, has nothing more to delete.";

            touch::touch_moves_last_seen_and_expiry_alone:
                "Touch moves last seen and expiry, and leaves version, owner and state.";
            touch::touch_of_another_version_does_nothing:
                "Touch of an older or newer version than is stored says false and does nothing.";
            touch::touch_of_an_absent_record_creates_nothing:
                "Touch of an id that is not there, or was deleted, says false and creates nothing.";
            touch::touch_never_moves_the_expiry_back:
                "Touch with an earlier expiry than is stored says true and leaves the expiry.";
            touch::touch_never_moves_last_seen_back:
                "Touch with an earlier last seen than is stored says true and leaves last seen.";
            touch::set_after_a_touch_writes_over_the_same_version:
                "Touch leaves the version, so that a set prepared before it still writes.";
            touch::touch_keeps_a_record_past_its_first_expiry:
                "A record that was touched in time is there past the expiry it was written with.";

            delete::delete_says_true_once:
                "Delete of a live record says true and deletes it, and says false from then on.";
            delete::delete_takes_every_version:
                "Delete deletes the record whatever its version.";
            delete::delete_of_an_unknown_id_says_false:
                "Delete of an id that was never written says false.";
            delete::an_id_can_be_written_anew_after_a_delete:
                "Set, expecting nothing, writes where a record was deleted, and nothing of that one comes back.";

            index::a_store_without_an_index_says_so:
                "Owned_by of a store that keeps no index of owners is an error of the kind Unsupported.";
            index::owned_by_lists_the_owners_sessions:
                "Owned_by lists the live sessions of the owner and no other's.";
            index::owned_by_lists_the_oldest_first:
                "Owned_by lists by id, in whatever order the sessions were written.";
            index::owned_by_lists_whole_records:
                "Owned_by gives each record as get does, after sets and touches too.";
            index::owned_by_of_an_unknown_owner_is_empty:
                "Owned_by of an owner without sessions is an empty list.";
            index::owned_by_lists_a_session_that_is_signed_in:
                "A session written without an owner is listed once a set gives it one.";
            index::owned_by_follows_a_change_of_owner:
                "A session that a set gives to another owner, or to none, is listed under the former no more.";
            index::owned_by_lists_once_what_was_written_often:
                "A session written again and again by the same owner is listed once, as last written.";
            index::owned_by_forgets_what_was_deleted:
                "A deleted session is listed no more.";
            index::owned_by_forgets_what_has_expired:
                "A session that has expired is listed no more, and the owner's others are.";
            index::owned_by_forgets_what_was_replaced_after_its_expiry:
                "An id that has expired and was written anew by another owner is listed under that one alone.";
            index::owned_by_lists_what_was_touched:
                "A session that was touched in time is listed past the expiry it was written with.";
            index::a_refused_set_moves_no_owner:
                "A set that was refused leaves the lists of owners as they were.";
            index::anonymous_sessions_are_listed_under_nobody:
                "A session without an owner is not listed under the empty string.";
            index::three_hundred_sessions_of_one_owner_are_listed:
                "Owned_by lists all of 300 sessions, each once, in order.";
            index::owned_by_is_exact_after_writers_at_once:
                "After many changes of owner at once, each session is listed under its own owner alone.";

            owners::owners_differ_by_case:
                "`User:1` and `user:1` are two owners.";
            owners::owners_differ_by_spaces:
                "Spaces at either end of an owner count.";
            owners::owners_differ_by_accents_and_composition:
                "Owners are compared by their bytes: no accent is folded, no character composed.";
            owners::wildcards_in_an_owner_match_nothing_else:
                "`%`, `_`, `*`, `?` and `[a-z]` in an owner stand for themselves.";
            owners::long_owners_differ_by_their_last_character:
                "Owners of 300 characters are compared up to the last one.";
            owners::an_owner_that_begins_another_is_not_that_one:
                "`user:1` has no session of `user:12`, nor of `user:1:admin`.";

            concurrency::each_version_is_written_by_one:
                "Of 200 writers at once that each add one to the version, each writes one version and none is lost.";
            concurrency::one_of_many_creators_writes:
                "Of 50 sets at once that expect nothing under one id, one writes.";
            concurrency::one_of_many_deletes_says_true:
                "Of 20 deletes at once of one record, one says true.";
            concurrency::a_set_that_meets_a_delete_revives_nothing:
                "A record is absent after a delete, whatever a set at the same time did.";
            concurrency::a_touch_that_meets_a_delete_revives_nothing:
                "A record is absent after a delete, whatever a touch at the same time did.";
            concurrency::touches_that_meet_sets_lose_none:
                "Touches at the same time as sets undo none of them.";
            concurrency::reads_see_whole_records:
                "A get during sets sees a record that was written as a whole, never parts of two.";

            dropped::a_dropped_set_has_happened_or_not:
                "After a set was dropped half-way, the record is the one before or the one after, and can be written.";
            dropped::a_dropped_touch_has_happened_or_not:
                "After a touch was dropped half-way, the record is the one before or the one after, and can be written.";
            dropped::a_dropped_delete_has_happened_or_not:
                "After a delete was dropped half-way, the record is whole or absent, and can be deleted.";

            connections::another_connection_sees_a_set:
                "What a set has acknowledged is there for the next get of another connection.";
            connections::another_connection_sees_a_touch:
                "What a touch has acknowledged is there for the next get of another connection.";
            connections::another_connection_sees_a_delete:
                "What a delete has acknowledged is absent to every operation of another connection.";
            connections::another_connections_set_counts:
                "A set is refused where another connection has written since.";
            connections::another_connection_lists_the_owners_sessions:
                "Owned_by follows what another connection does.";

            round_trips::get_costs_one_round_trip:
                "A get costs one round trip, whether or not it finds a record.";
            round_trips::set_costs_one_round_trip:
                "A set costs one round trip, whether it creates, replaces or is refused.";
            round_trips::touch_costs_one_round_trip:
                "A touch costs one round trip, whether or not it does anything.";
            round_trips::delete_costs_one_round_trip:
                "A delete costs one round trip, whether or not it finds a record.";
        }
    };
}

macro_rules! table {
    ([] $($module:ident::$name:ident: $sentence:literal;)+) => {
        pub(super) const RULES: &[Rule] =
            &[$(Rule { name: stringify!($name), sentence: $sentence, module: stringify!($module) }),+];

        /// Begins the rule of this name.
        pub(super) fn start<'a, F: Fixture>(
            name: &str,
            trial: &'a Trial<'_, F>,
        ) -> Pin<Box<dyn Future<Output = Checked> + Send + 'a>> {
            match name {
                $(stringify!($name) => Box::pin($module::$name(trial)),)+
                _ => unreachable!("rules come from the list"),
            }
        }
    };
}

__conformance_rules! { [table] [] }
