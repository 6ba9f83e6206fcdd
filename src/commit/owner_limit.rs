//! The sessions of an owner, and the limit on their number.

use super::end::end_or_report;
use crate::config::Config;
use crate::error::StoreError;
use crate::event::{EndReason, EventKind};
use crate::record::{LoadedRecord, Record};
use crate::token::SessionId;

/// Ends the sessions of an owner beyond the newest, by the time of their sign-in. `signed_in` is the session just signed in.
///
/// It runs after the sign-in is stored. All nodes order the sessions alike, by the stored times and ids, and so agree on which
/// are surplus. The clock of this node may be behind: if the session just signed in is surplus by that order, it stays, and no
/// other session ends in its place. The `rivals` of the session do not count: the request ends them too. A failure does not undo the sign-in: the next sign-in ends the rest.
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
    let mut sessions = owned_by(config, owner).await?;
    sessions.retain(|found| !rivals.contains(found.record.id()));
    sessions.sort_by_key(|found| std::cmp::Reverse((found.header.authenticated_at, *found.record.id())));
    Ok(sessions.split_off(limit.min(sessions.len())))
}

/// Returns the live sessions of an owner in this realm. An unreadable record raises an event, and is neither listed nor ended.
pub(crate) async fn owned_by(config: &Config, owner: &str) -> Result<Vec<LoadedRecord>, StoreError> {
    Ok(live_sessions(config, config.store.owned_by(owner).await?))
}

/// Returns the live sessions of this realm among listed records. An unreadable record raises an event.
pub(crate) fn live_sessions(config: &Config, records: Vec<Record>) -> Vec<LoadedRecord> {
    let now = config.clock.now();
    let mut sessions = Vec::new();
    for record in records.into_iter().filter(|record| record.realm() == &*config.realm) {
        let id = *record.id();
        match LoadedRecord::read(record) {
            Ok(found) if found.is_live(config.lifetime, now) => sessions.push(found),
            Ok(_) => {}
            Err(error) => config.events.raise_failure(EventKind::Corrupt, id, &error),
        }
    }
    sessions
}
