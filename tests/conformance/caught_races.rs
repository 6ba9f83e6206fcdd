//! Stores that fail only with concurrent callers or several connections.

use crate::defects::{Caches, InTwoHalves, ReadsFirst, ReadsThenWrites, RemembersVersions};

caught! {
    /// Each write is a read and a separate write.
    set_reads_compares_and_writes_in_steps:
        ReadsThenWrites => [
            each_version_is_written_by_one,
            one_of_many_creators_writes,
            one_of_many_deletes_returns_true,
            a_set_during_a_delete_revives_nothing,
            a_touch_during_a_delete_revives_nothing,
            touches_during_sets_undo_no_set,
            set_keeping_times_undoes_no_concurrent_touch,
        ];

    /// Each write is two writes of half a record.
    writes_take_two_steps:
        InTwoHalves => [
            a_get_during_sets_sees_a_whole_record,
            a_dropped_set_has_happened_or_not,
            a_dropped_set_keeping_times_has_happened_or_not,
            a_dropped_touch_has_happened_or_not,
            a_dropped_delete_has_happened_or_not,
            a_dropped_delete_owned_by_leaves_whole_records,
        ];

    /// Other connections do not invalidate the cache.
    each_connection_caches_what_it_reads:
        Caches::default() => [
            another_connection_sees_a_set,
            another_connection_sees_a_touch,
            another_connection_sees_a_delete,
            another_connection_lists_the_owners_sessions,
            another_connection_sees_delete_owned_by,
            another_connection_sees_ids_of,
            another_connection_sees_summaries_of,
        ];

    /// Set compares with the version that this connection wrote last.
    each_connection_remembers_versions:
        RemembersVersions::default() => [a_set_by_another_connection_counts];

    /// Each operation costs a second round trip.
    each_operation_reads_first:
        ReadsFirst => [
            get_costs_one_round_trip,
            set_costs_one_round_trip,
            touch_costs_one_round_trip,
            delete_costs_one_round_trip,
        ];
}
