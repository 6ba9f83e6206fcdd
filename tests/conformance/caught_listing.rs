//! Stores that list or count the wrong records.

use std::time::Duration;

use sessile::store::{Cursor, Page, Record};

use crate::defects::{Counts, Pages, PagesInOrderOf, RemembersPositions, changed};
use crate::plain::{Plain, page_of};

caught! {
    /// List returns an empty page.
    list_returns_no_record:
        Pages(|_, _, _| Page { records: Vec::new(), next: None }) => [
            list_returns_each_live_record_once,
            list_in_pages_of_1_returns_each_record_once,
            list_with_the_largest_limit_returns_each_record_once,
        ];

    /// List returns the first page only.
    list_ends_after_the_first_page:
        Pages(|plain, after, limit| Page { next: None, ..plain.page(after, limit) }) =>
        [list_returns_each_live_record_once, list_in_pages_of_1_returns_each_record_once];

    /// List returns the first page again and again.
    list_ignores_the_cursor:
        Pages(|plain, _, limit| plain.page(None, limit)) => [list_returns_each_live_record_once];

    /// Each page begins with the last record of the page before.
    list_returns_the_record_of_the_cursor_again:
        Pages(|plain, after, limit| {
            let live = plain.all_live();
            let is_left = |record: &&Record| after.is_none_or(|after| record.id().to_string().as_str() >= after.as_str());
            page_of(&live.iter().filter(is_left).collect::<Vec<_>>(), limit.max(2))
        }) => [list_returns_each_live_record_once];

    /// Each page leaves out the first record that it could have.
    list_skips_a_record_between_pages:
        Pages(|plain, after, limit| {
            let mut page = plain.page(after, limit.saturating_add(usize::from(after.is_some())));
            if after.is_some() {
                page.records.remove(0);
            }
            page
        }) => [list_returns_each_live_record_once];

    /// List returns records of the default realm only.
    list_returns_one_realm:
        Pages(|plain, after, limit| {
            let mut page = plain.page(after, limit);
            page.records.retain(|record| record.realm() == "id");
            page
        }) => [list_returns_each_live_record_once];

    /// List returns records with an owner only.
    list_returns_signed_in_sessions:
        Pages(|plain, after, limit| {
            let mut page = plain.page(after, limit);
            page.records.retain(|record| record.owner().is_some());
            page
        }) => [list_returns_each_live_record_once];

    /// List returns records without their state.
    list_returns_empty_states:
        Pages(|plain, after, limit| {
            let page = plain.page(after, limit);
            let empty = |record: &Record| changed(record, |parts| parts.state = [].into());
            Page { records: page.records.iter().map(empty).collect(), ..page }
        }) => [list_returns_each_live_record_once, list_returns_pages_of_about_the_limit];

    /// A limit of 0 selects no record, as in SQL.
    list_takes_a_limit_of_0_literally:
        Pages(|plain, after, limit| match limit {
            0 => Page { records: Vec::new(), next: None },
            _ => plain.page(after, limit),
        }) => [list_with_a_limit_of_0_returns_each_record_once];

    /// A limit of 0 selects no record, and the listing never ends.
    list_with_a_limit_of_0_never_ends:
        Pages(|plain, after, limit| match limit {
            0 => Page { records: Vec::new(), next: Some(Cursor::new("0")) },
            _ => plain.page(after, limit),
        }) => [list_with_a_limit_of_0_returns_each_record_once];

    /// The limit becomes a signed number.
    list_reads_a_large_limit_as_a_negative_one:
        Pages(|plain, after, limit| match i64::try_from(limit) {
            Ok(_) => plain.page(after, limit),
            Err(_) => Page { records: Vec::new(), next: None },
        }) => [list_with_the_largest_limit_returns_each_record_once];

    /// List ignores the limit.
    list_returns_all_records_at_once:
        Pages(|plain, after, _| plain.page(after, usize::MAX)) => [list_returns_pages_of_about_the_limit];

    /// List returns expired records.
    list_returns_expired_records:
        Pages(|plain, _, _| {
            let all = plain.map(|records| records.values().cloned().collect());
            Page { records: all, next: None }
        }) => [list_and_count_omit_deleted_and_expired_records, list_refuses_or_ends_after_a_foreign_cursor];

    /// The cursor counts the records before it.
    list_continues_at_an_offset:
        Pages(at_offset) => [list_misses_no_record_while_others_change, list_continues_after_a_deleted_record];

    /// The listing ends if the record of the cursor was deleted.
    list_ends_at_a_deleted_record:
        Pages(|plain, after, limit| {
            let is_deleted = after.is_some_and(|after| plain.live(&after.as_str().parse().unwrap()).is_none());
            if is_deleted { Page { records: Vec::new(), next: None } } else { plain.page(after, limit) }
        }) => [list_continues_after_a_deleted_record];

    /// List returns the last used records first: a touch moves a record to a page that was read.
    list_returns_the_last_used_first:
        PagesInOrderOf(|record| format!("{:020}", i64::MAX - record.last_seen().unix_timestamp())) =>
        [list_misses_no_record_that_changes];

    /// List returns the first records to expire first: a set may move a record to a page that was read.
    list_returns_the_first_to_expire_first:
        PagesInOrderOf(|record| format!("{:020}", record.expires_at().unix_timestamp())) =>
        [list_misses_no_record_that_changes];

    /// The cursor is kept in the connection.
    list_keeps_the_cursor_in_the_connection:
        RemembersPositions::default() => [list_continues_on_another_connection];

    /// A cursor that cannot be read is returned as the next one.
    list_never_ends_after_a_foreign_cursor:
        Pages(|plain, after, limit| match after {
            Some(after) if after.as_str().parse::<sessile::SessionId>().is_err() => {
                Page { records: Vec::new(), next: Some(after.clone()) }
            }
            _ => plain.page(after, limit),
        }) => [list_refuses_or_ends_after_a_foreign_cursor];

    /// List counts as a use of each session.
    list_touches_the_records:
        Pages(|plain, after, limit| {
            let page = plain.page(after, limit);
            for record in &page.records {
                plain.change(record.id(), |parts| parts.last_seen += Duration::from_secs(1));
            }
            page
        }) => [list_and_count_change_nothing];

    /// Count returns the number of all records, expired ones included.
    count_includes_expired_records:
        Counts(|plain| plain.map(|records| records.len() as u64)) => [list_and_count_omit_deleted_and_expired_records];

    /// Count returns the number of the first page.
    count_counts_one_page:
        Counts(|plain| (plain.all_live().len() as u64).min(100)) => [count_follows_creates_and_deletes];

    /// Count counts sessions of the default realm.
    count_counts_one_realm:
        Counts(|plain| plain.all_live().iter().filter(|record| record.realm() == "id").count() as u64) =>
        [count_follows_creates_and_deletes];

    /// Count counts sessions with an owner.
    count_counts_signed_in_sessions:
        Counts(|plain| plain.all_live().iter().filter(|record| record.owner().is_some()).count() as u64) =>
        [count_follows_creates_and_deletes];

    /// Count counts every version that was written.
    count_counts_versions:
        Counts(|plain| plain.all_live().iter().map(|record| record.version().get()).sum()) =>
        [count_follows_creates_and_deletes];
}

fn at_offset(plain: &Plain, after: Option<&Cursor>, limit: usize) -> Page {
    let offset = after.map_or(0, |after| after.as_str().parse().unwrap());
    let live = plain.all_live();
    let records: Vec<_> = live.iter().skip(offset).take(limit.max(1)).cloned().collect();
    let end = offset + records.len();
    Page { records, next: (end < live.len()).then(|| Cursor::new(end.to_string())) }
}
