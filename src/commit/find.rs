//! Reading a live session from the store.

use crate::clock::Timestamp;
use crate::config::Config;
use crate::error::{Error, StoreErrorKind};
use crate::event::EventKind;
use crate::record::LoadedRecord;
use crate::token::SessionId;

/// The result of a look-up by id.
pub(crate) enum Found {
    /// A live session, and when it was read.
    Live(LoadedRecord, Timestamp),
    /// No record.
    Absent,
    /// A session that has ended or expired, or a record that cannot be read.
    NotLive,
}

/// Returns the session of an id, if it is live.
pub(crate) async fn find(config: &Config, id: &SessionId) -> Result<Option<LoadedRecord>, Error> {
    match find_timed(config, id).await? {
        Found::Live(loaded, _) => Ok(Some(loaded)),
        Found::Absent | Found::NotLive => Ok(None),
    }
}

/// Looks up an id in the store.
pub(crate) async fn find_timed(config: &Config, id: &SessionId) -> Result<Found, Error> {
    let (got, now) = config.store.get_timed(id, &config.clock).await;
    let loaded = match got.and_then(|record| record.map(LoadedRecord::read).transpose()) {
        Ok(Some(loaded)) => loaded,
        Ok(None) => return Ok(Found::Absent),
        Err(error) if error.kind() == StoreErrorKind::Corrupt => {
            config.events.raise_failure(EventKind::Corrupt, *id, &error);
            return Ok(Found::NotLive);
        }
        Err(error) => {
            config.events.raise_failure(EventKind::StoreFailed, *id, &error);
            return Err(error.into());
        }
    };
    if !is_of_realm(config, &loaded) || loaded.record.id() != id || loaded.header.ended {
        return Ok(Found::NotLive);
    }
    if !loaded.is_live(config.lifetime, now) {
        config.events.raise(EventKind::Expired, *id);
        return Ok(Found::NotLive);
    }
    Ok(Found::Live(loaded, now))
}

/// Checks that a record belongs to this layer; raises an event if it is another's.
pub(crate) fn is_of_realm(config: &Config, loaded: &LoadedRecord) -> bool {
    let realm = loaded.record.realm();
    if realm != &*config.realm {
        config.events.raise_other_realm(*loaded.record.id(), realm);
    }
    realm == &*config.realm
}
