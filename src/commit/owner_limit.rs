//! The sessions of an owner, and the limit on their number.

use super::delete;
use crate::config::Config;
use crate::error::StoreError;
use crate::event::{EndReason, EventKind};
use crate::record::LoadedRecord;
use crate::token::SessionId;

/// Ends the sessions of an owner beyond the newest, by the time of their sign-in.
///
/// It runs after the sign-in is stored. Of concurrent sign-ins, the last one to list the sessions sees all of them; since all
/// order them alike, an earlier one ends no session that the last one keeps. A failure does not undo the sign-in: the next
/// sign-in ends the rest.
pub(crate) async fn end_surplus(config: &Config, owner: &str, limit: usize) {
    let surplus = match surplus(config, owner, limit).await {
        Ok(surplus) => surplus,
        Err(error) => return config.events.raise_failure(EventKind::UpkeepFailed, None, &error),
    };
    for id in surplus {
        match delete(config, &id, Some(owner), &mut false).await {
            Ok(true) => config.events.raise_end(id, EndReason::OwnerLimit),
            Ok(false) => {}
            Err(error) => config.events.raise_failure(EventKind::UpkeepFailed, id, &error),
        }
    }
}

async fn surplus(config: &Config, owner: &str, limit: usize) -> Result<Vec<SessionId>, StoreError> {
    let mut sessions: Vec<_> = owned_by(config, owner)
        .await?
        .iter()
        .map(|found| (found.header.authenticated_at, *found.record.id()))
        .collect();
    sessions.sort_unstable_by(|one, other| other.cmp(one));
    Ok(sessions.into_iter().skip(limit).map(|(_, id)| id).collect())
}

/// Returns the live sessions of an owner. An unreadable record raises an event, and is neither listed nor ended.
pub(crate) async fn owned_by(config: &Config, owner: &str) -> Result<Vec<LoadedRecord>, StoreError> {
    let now = config.clock.now();
    let mut sessions = Vec::new();
    for record in config.store.owned_by(owner).await? {
        let id = *record.id();
        match LoadedRecord::read(record) {
            // Another layer's sessions of the owner are not listed, and raise no event.
            Ok(found) if found.record.realm() != &*config.realm => {}
            Ok(found) if found.is_live(config.lifetime, now) => sessions.push(found),
            Ok(_) => {}
            Err(error) => config.events.raise_failure(EventKind::Corrupt, id, &error),
        }
    }
    Ok(sessions)
}
