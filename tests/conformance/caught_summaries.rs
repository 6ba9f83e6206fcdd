//! Stores that summarize the wrong records, and stores whose ping does more than answer.

use std::time::Duration;

use sessile::store::RecordSummary;

use crate::defects::{AsksOneByOne, DeletesOnPing, Summarizes};

caught! {
    /// Summaries_of omits absent records.
    summaries_of_omits_absent_records:
        Summarizes(|plain, ids| ids.iter().filter_map(|id| plain.summary(id)).map(Some).collect()) =>
        [summaries_of_an_absent_record_is_none, summaries_of_answers_1000_ids];

    /// Summaries_of answers in the order of the table.
    summaries_of_answers_in_the_order_of_the_table:
        Summarizes(|plain, ids| {
            let mut ids = ids.to_vec();
            ids.sort_unstable();
            ids.iter().map(|id| plain.summary(id)).collect()
        }) => [summaries_of_answers_in_the_order_of_the_ids];

    /// Summaries_of answers each id once.
    summaries_of_answers_no_id_twice:
        Summarizes(|plain, ids| {
            let is_first = |place: usize| !ids[..place].contains(&ids[place]);
            (0..ids.len()).filter(|place| is_first(*place)).map(|place| plain.summary(&ids[place])).collect()
        }) => [summaries_of_answers_each_id];

    /// Summaries_of no ids returns one answer.
    summaries_of_no_ids_is_not_empty:
        Summarizes(|plain, ids| if ids.is_empty() { vec![None] } else { ids.iter().map(|id| plain.summary(id)).collect() }) =>
        [summaries_of_answers_each_id];

    /// Summaries_of finds expired records.
    summaries_of_finds_expired_records:
        Summarizes(|plain, ids| ids.iter().map(|id| plain.held(id).as_ref().map(RecordSummary::from)).collect()) =>
        [summaries_of_an_absent_record_is_none];

    /// Summaries_of swaps the two times.
    summaries_of_swaps_the_times:
        Summarizes(|plain, ids| {
            let swapped = |summary: RecordSummary| RecordSummary {
                last_seen: summary.expires_at,
                expires_at: summary.last_seen,
                ..summary
            };
            ids.iter().map(|id| plain.summary(id).map(swapped)).collect()
        }) => [summaries_of_returns_versions_and_times];

    /// Summaries_of returns times in whole seconds.
    summaries_of_returns_whole_seconds:
        Summarizes(|plain, ids| {
            let rounded = |summary: RecordSummary| RecordSummary {
                expires_at: summary.expires_at - Duration::from_millis(1),
                ..summary
            };
            ids.iter().map(|id| plain.summary(id).map(rounded)).collect()
        }) => [summaries_of_returns_versions_and_times];

    /// Summaries_of ignores the ids after the first 500.
    summaries_of_answers_at_most_500_ids:
        Summarizes(|plain, ids| ids.iter().take(500).map(|id| plain.summary(id)).collect()) =>
        [summaries_of_answers_1000_ids];

    /// Summaries_of counts as a use of the session.
    summaries_of_touches_the_sessions:
        Summarizes(|plain, ids| {
            ids.iter().for_each(|id| plain.change(id, |parts| parts.last_seen += Duration::from_secs(1)));
            ids.iter().map(|id| plain.summary(id)).collect()
        }) => [summaries_of_changes_nothing];

    /// Ping deletes all records.
    ping_deletes_records:
        DeletesOnPing => [ping_succeeds_and_changes_nothing];

    /// Each id, and each half of a ping, costs a round trip.
    summaries_of_asks_for_one_record_after_another:
        AsksOneByOne => [summaries_of_costs_two_round_trips_at_most, ping_costs_one_round_trip];
}
