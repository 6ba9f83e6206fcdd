//! The sessions of an owner, and the limit on their number.

use super::end::end_or_report;
use super::find::is_usable;
use crate::config::Config;
use crate::error::StoreError;
use crate::event::{EndReason, EventKind};
use crate::record::{LoadedRecord, Record};
use crate::token::SessionId;

/// Ends the sessions of an owner beyond the newest, by the time of their sign-in. `signed_in` is the session just signed in.
///
/// Sessions within the commit margin count after the live ones, since a request that began before may still revive them. It runs
/// after the sign-in is stored. All nodes order the sessions alike, by the stored times and ids, and so agree on which are surplus.
/// The clock of this node may be behind: if the session just signed in is surplus by that order, it stays, and no other session
/// ends in its place. The `rivals` of the session do not count: the request ends them too. A failure does not undo the sign-in: the
/// next sign-in ends the rest.
pub(crate) async fn end_surplus(
    config: &Config,
    owner: &str,
    signed_in: &SessionId,
    limit: usize,
    rivals: &[SessionId],
) {
    let surplus = match surplus(config, owner, limit, rivals).await {
        Ok(surplus) => surplus,
        Err(error) => return config.events.raise_failure(EventKind::UpkeepFailed, None, &error),
    };
    for loaded in surplus.into_iter().filter(|loaded| loaded.record.id() != signed_in) {
        end_or_report(config, loaded, EndReason::OwnerLimit).await;
    }
}

async fn surplus(
    config: &Config,
    owner: &str,
    limit: usize,
    rivals: &[SessionId],
) -> Result<Vec<LoadedRecord>, StoreError> {
    let mut sessions = unexpired_of(config, owner).await?;
    sessions.retain(|found| !rivals.contains(found.record.id()));
    let now = config.clock.now();
    // A session past its idle timeout ends before any live one.
    sessions.sort_by_key(|found| {
        let is_live = found.is_live(config.lifetime, now);
        std::cmp::Reverse((is_live, found.header.authenticated_at, *found.record.id()))
    });
    Ok(sessions.split_off(limit.min(sessions.len())))
}

/// Returns the sessions of an owner in this realm that a request may still commit: the live ones, and those within the commit margin.
///
/// An unreadable record raises an event, and is left out.
pub(crate) async fn unexpired_of(config: &Config, owner: &str) -> Result<Vec<LoadedRecord>, StoreError> {
    let records = config.store.owned_by(owner).await?;
    Ok(sessions_among(config, records).filter(|found| found.header.ended.is_none()).collect())
}

/// Returns the live sessions of this realm among listed records. An unreadable record raises an event.
pub(crate) fn live_sessions(config: &Config, records: Vec<Record>) -> Vec<LoadedRecord> {
    let now = config.clock.now();
    let is_live = |found: &LoadedRecord| is_usable(config, found) && found.is_live(config.lifetime, now);
    sessions_among(config, records).filter(is_live).collect()
}

/// Decodes the records of this realm. An unreadable one raises an event.
fn sessions_among(config: &Config, records: Vec<Record>) -> impl Iterator<Item = LoadedRecord> {
    records.into_iter().filter(|record| record.realm() == &*config.realm).filter_map(|record| {
        let id = *record.id();
        let read = LoadedRecord::read(record);
        read.inspect_err(|error| config.events.raise_failure(EventKind::Corrupt, id, error)).ok()
    })
}
