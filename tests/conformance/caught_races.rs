//! Stores that are right for one caller, on one connection, and not for several.

use crate::saboteurs::{AsksTwice, Caches, InTwoHalves, ReadsThenWrites, RemembersVersions};

caught! {
    a_store_that_reads_and_compares_and_then_writes:
        ReadsThenWrites => [
            each_version_is_written_by_one,
            one_of_many_creators_writes,
            one_of_many_deletes_says_true,
            a_set_that_meets_a_delete_revives_nothing,
            a_touch_that_meets_a_delete_revives_nothing,
            touches_that_meet_sets_lose_none,
        ];

    a_store_that_takes_two_steps:
        InTwoHalves => [
            reads_see_whole_records,
            a_dropped_set_has_happened_or_not,
            a_dropped_touch_has_happened_or_not,
            a_dropped_delete_has_happened_or_not,
        ];

    a_store_that_keeps_what_it_has_read:
        Caches::default() => [
            another_connection_sees_a_set,
            another_connection_sees_a_touch,
            another_connection_sees_a_delete,
            another_connection_lists_the_owners_sessions,
        ];

    a_store_that_compares_with_what_it_remembers:
        RemembersVersions::default() => [another_connections_set_counts];

    a_store_that_asks_before_it_does:
        AsksTwice => [
            get_costs_one_round_trip,
            set_costs_one_round_trip,
            touch_costs_one_round_trip,
            delete_costs_one_round_trip,
        ];
}
