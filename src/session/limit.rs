//! How many sessions one owner may have at once.

use super::ending::delete;
use super::load::Found;
use crate::config::Config;
use crate::error::StoreError;
use crate::event::{EndReason, EventKind};
use crate::token::SessionId;

/// Ends the sessions of an owner beyond the newest, by the time of their sign-in.
///
/// It runs after the sign-in is stored. So of several sign-ins at once the last to look sees all of them, and since all order
/// them alike, those that look earlier end none that it would keep. What fails is made up for by the next sign-in: the one
/// that has just taken place is not undone by it.
pub(super) async fn end_surplus(config: &Config, owner: &str, limit: usize) {
    let surplus = match surplus(config, owner, limit).await {
        Ok(surplus) => surplus,
        Err(error) => return config.events.raise_failure(EventKind::UpkeepFailed, None, &error),
    };
    for id in surplus {
        match delete(config, &id, &mut false).await {
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

/// The live sessions of an owner. What cannot be read is an event: it is neither listed nor ended.
pub(crate) async fn owned_by(config: &Config, owner: &str) -> Result<Vec<Found>, StoreError> {
    let now = config.clock.now();
    let mut sessions = Vec::new();
    for record in config.store.owned_by(owner).await? {
        let id = *record.id();
        match Found::read(record) {
            Ok(found) if found.is_live(config, now) => sessions.push(found),
            Ok(_) => {}
            Err(error) => config.events.raise_failure(EventKind::Corrupt, id, &error),
        }
    }
    Ok(sessions)
}
