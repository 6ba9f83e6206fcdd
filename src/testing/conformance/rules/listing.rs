//! `list` returns every live record, page by page, and `count` their number.

use std::collections::BTreeSet;

use crate::error::StoreErrorKind;
use crate::record::Record;
use crate::store::{Cursor, Touch};
use crate::testing::conformance::connection::{Connection, differences};
use crate::testing::conformance::probe::{LONG, Probe, touched};
use crate::testing::conformance::verdict::{Checked, broken, ensure};
use crate::token::SessionId;

/// Most listings until one has no record twice: a store may move its records during one, as Redis does when its table shrinks.
const MAX_LISTINGS: usize = 3;

/// Most pages in a row without a new record. A store may share its server with other data.
const MAX_IDLE_PAGES: usize = 10_000;

/// A listing of all records, page by page.
struct Listing {
    limit: usize,
    after: Option<Cursor>,
    records: Vec<Record>,
    ids: BTreeSet<SessionId>,
    idle_pages: usize,
}

impl Listing {
    const fn new(limit: usize) -> Self {
        Self { limit, after: None, records: Vec::new(), ids: BTreeSet::new(), idle_pages: 0 }
    }

    /// Reads the next page; returns whether there is another.
    async fn next(&mut self, store: &Connection) -> Checked<bool> {
        let page = store.list(self.after.as_ref(), self.limit).await?;
        let known = self.ids.len();
        self.ids.extend(page.records.iter().map(|record| *record.id()));
        self.records.extend(page.records);
        self.idle_pages = if self.ids.len() > known { 0 } else { self.idle_pages + 1 };
        ensure(self.idle_pages < MAX_IDLE_PAGES, || {
            format!("list returned {MAX_IDLE_PAGES} pages without a new record")
        })?;
        self.after = page.next;
        Ok(self.after.is_some())
    }

    /// Reads all pages that are left.
    async fn finish(mut self, store: &Connection) -> Checked<Self> {
        while self.next(store).await? {}
        Ok(self)
    }

    fn has(&self, record: &Record) -> bool {
        self.ids.contains(record.id())
    }

    /// Checks that each of these records is listed, as it is stored.
    fn has_all(&self, due: &[Record]) -> Checked {
        for due in due {
            let Some(seen) = self.records.iter().find(|record| record.id() == due.id()) else {
                return broken("list omitted a live record");
            };
            ensure(seen == due, || format!("list returned a different record: {}", differences(seen, due)))?;
        }
        Ok(())
    }

    fn has_ids_of(&self, records: &[Record]) -> Checked {
        let missing = records.iter().filter(|record| !self.has(record)).count();
        ensure(missing == 0, || {
            format!("list omitted {missing} of {} records that were live throughout", records.len())
        })
    }

    fn lacks(&self, records: &[&Record]) -> Checked {
        let absent = records.iter().find(|record| self.has(record));
        ensure(absent.is_none(), || format!("list returned {absent:?}, which is absent"))
    }
}

pub(super) async fn list_without_a_listing_is_unsupported(probe: &Probe<'_>) -> Checked {
    match probe.store.list(None, 10).await {
        Err(error) if error.kind() == StoreErrorKind::Unsupported => Ok(()),
        answer => broken(format!("list returned {answer:?}")),
    }
}

/// Checks that pages of this limit have each live record once.
pub(super) async fn each_record_is_listed_once(probe: &Probe<'_>, limit: usize) -> Checked {
    let mut records = probe.unordered(20).await?;
    for realm in ["id", "admin"] {
        records.push(probe.stored_in(&probe.other_owner, realm).await?);
        records.push(probe.stored(|parts| parts.realm = realm.into()).await?);
    }
    let replaced = probe.given_to(&records[0], None).await?;
    records[0] = probe.touched(&replaced, probe.touch_after(7200)).await?;
    for _ in 0..MAX_LISTINGS {
        let listing = Listing::new(limit).finish(&probe.store).await?;
        listing.has_all(&records)?;
        if listing.records.iter().filter(|seen| records.contains(seen)).count() == records.len() {
            return Ok(());
        }
    }
    broken("list returned a record twice, though none was written")
}

pub(super) async fn list_and_count_omit_deleted_and_expired_records(probe: &Probe<'_>) -> Checked {
    let before = probe.store.count().await?;
    let (live, deleted, ended) = (probe.owned().await?, probe.owned().await?, probe.owned().await?);
    probe.store.deletes(&deleted).await?;
    probe.replaced(&ended, |parts| parts.expires_at = probe.now - LONG).await?;
    let expired = probe.expired(Some(&probe.owner)).await?;
    let listing = Listing::new(2).finish(&probe.store).await?;
    listing.lacks(&[&deleted, &ended, &expired])?;
    listing.has_all(&[live])?;
    let seen = probe.store.count().await?;
    ensure(seen == before + 1, || format!("count returned {seen} instead of {before} + 1, with two expired records"))
}

pub(super) async fn list_returns_pages_of_about_the_limit(probe: &Probe<'_>) -> Checked {
    let records = probe.many_owned(60).await?;
    let mut listing = Listing::new(3);
    loop {
        let before = listing.records.len();
        let has_more = listing.next(&probe.store).await?;
        let length = listing.records.len() - before;
        ensure(length <= records.len() / 2, || format!("a page had {length} records, with a limit of 3"))?;
        if !has_more {
            return listing.has_all(&records);
        }
    }
}

pub(super) async fn list_continues_after_a_deleted_record(probe: &Probe<'_>) -> Checked {
    let records = probe.many_owned(20).await?;
    let mut listing = Listing::new(3);
    while listing.next(&probe.store).await? {
        for record in records.iter().filter(|record| listing.has(record)) {
            probe.store.delete(record.id(), record.owner()).await?;
        }
    }
    listing.has_all(&records)
}

pub(super) async fn list_continues_on_another_connection(probe: &Probe<'_>) -> Checked {
    let records = probe.many_owned(20).await?;
    let connections = [probe.store.clone(), probe.fixture.another().await];
    let mut listing = Listing::new(3);
    let mut turns = connections.iter().cycle();
    while let Some(store) = turns.next()
        && listing.next(store).await?
    {}
    listing.has_all(&records)
}

pub(super) async fn list_misses_no_record_while_others_change(probe: &Probe<'_>) -> Checked {
    let records = probe.many_owned(20).await?;
    let mut others = probe.many_owned(20).await?;
    let mut listing = Listing::new(3);
    while listing.next(&probe.store).await? {
        // Bounded, since a store may list what was created meanwhile.
        if let Some(listed) = others.iter().position(|other| listing.has(other)) {
            probe.store.deletes(&others.swap_remove(listed)).await?;
            probe.owned().await?;
        }
    }
    listing.has_ids_of(&records)
}

pub(super) async fn list_misses_no_record_that_changes(probe: &Probe<'_>) -> Checked {
    let mut records = probe.many_owned(20).await?;
    let mut listing = Listing::new(3);
    let mut places = 0..records.len();
    while listing.next(&probe.store).await? {
        // One that is not listed yet is touched, and another one is written with an earlier expiry and another owner.
        for change in [Change::Touch, Change::Set] {
            let Some(place) = places.find(|place| !listing.has(&records[*place])) else { break };
            let record = &records[place];
            records[place] = match change {
                Change::Touch => {
                    let touch = Touch::new(record.last_seen() + LONG, record.expires_at() + LONG);
                    probe.store.touches(record, touch).await?;
                    touched(record, touch)
                }
                Change::Set => {
                    let owner = Some(probe.other_owner.as_str().into());
                    let earlier = record.expires_at() - LONG / 2;
                    probe.replaced(record, |parts| (parts.owner, parts.expires_at) = (owner, earlier)).await?
                }
            };
        }
    }
    listing.has_ids_of(&records)
}

/// A change of a record between two pages.
enum Change {
    Touch,
    Set,
}

pub(super) async fn list_refuses_or_ends_after_a_foreign_cursor(probe: &Probe<'_>) -> Checked {
    let records = probe.many_owned(5).await?;
    let ended = probe.owned().await?;
    probe.replaced(&ended, |parts| parts.expires_at = probe.now - LONG).await?;
    let digits = "9".repeat(1_000);
    for text in ["", "0", "-1", "x", "\0", "' or ''='", "%", "{\"id\":1}", "ﬀ", &digits] {
        let mut listing = Listing::new(3);
        listing.after = Some(Cursor::new(text));
        if probe.store.list(listing.after.as_ref(), 3).await.is_ok() {
            let listing = listing.finish(&probe.store).await?;
            listing.lacks(&[&ended])?;
        }
    }
    Listing::new(3).finish(&probe.store).await?.has_all(&records)
}

pub(super) async fn list_and_count_change_nothing(probe: &Probe<'_>) -> Checked {
    let records = probe.many_owned(5).await?;
    for limit in [2, 1_000] {
        Listing::new(limit).finish(&probe.store).await?;
        probe.store.count().await?;
        for record in &records {
            probe.store.holds(record).await?;
        }
        probe.lists(&records).await?;
    }
    Ok(())
}

pub(super) async fn count_follows_creates_and_deletes(probe: &Probe<'_>) -> Checked {
    let before = probe.store.count().await?;
    let mut counted = 0;
    let counts = async |due: usize, done: &str| {
        let seen = probe.store.count().await?;
        ensure(seen == before + due as u64, || format!("count returned {seen} instead of {before} + {due} {done}"))
    };
    for realm in ["id", "admin"] {
        probe.stored_in(&probe.owner, realm).await?;
        probe.stored(|parts| parts.realm = realm.into()).await?;
        counted += 2;
        counts(counted, "after two records of a realm were created").await?;
    }
    // More than one page of the provided method.
    let records = probe.many_owned(120).await?;
    counted += records.len();
    counts(counted, "after 120 records were created").await?;
    let replaced = probe.given_to(&records[0], None).await?;
    probe.touched(&replaced, probe.touch_after(60)).await?;
    counts(counted, "after a set and a touch").await?;
    probe.store.deletes(&records[1]).await?;
    counts(counted - 1, "after a delete").await
}
