//! Reading a session from the store.

use std::pin::Pin;

use crate::clock::Timestamp;
use crate::config::Config;
use crate::error::{Error, StoreErrorKind};
use crate::event::EventKind;
use crate::record::{Actor, LoadedRecord};
use crate::token::SessionId;

/// The result of a look-up by id.
pub(crate) enum Found {
    /// A live session, and when it was read.
    Live(LoadedRecord, Timestamp),
    /// The mark of a session that ended within the last minute, and when it was read.
    Ended(LoadedRecord, Timestamp),
    /// A session past its idle timeout, whose record is kept for a request that began before; and when it was read.
    Idle(LoadedRecord, Timestamp),
    /// No record.
    Absent,
    /// A session in which an owner acts as another, for a layer that has no actors: it opens nothing, and can be ended.
    Acting(LoadedRecord),
    /// A session that has expired, or one of another realm.
    NotLive,
    /// A record that cannot be read.
    Unreadable,
}

/// Returns the session of an id, if it is live.
pub(crate) async fn find(config: &Config, id: &SessionId) -> Result<Option<LoadedRecord>, Error> {
    match find_timed(config, id).await? {
        Found::Live(loaded, _) => Ok(has_live_actor(config, &loaded).await?.then_some(loaded)),
        _ => Ok(None),
    }
}

/// Checks that the session of a record's actor is live, for a layer in whose sessions owners act as another.
pub(crate) async fn has_live_actor(config: &Config, loaded: &LoadedRecord) -> Result<bool, Error> {
    let Some(actors) = &config.actors else { return Ok(true) };
    let Some(actor) = &loaded.header.actor else { return Ok(false) };
    Ok(matches!(find_own(actors, actor).await?, Found::Live(own, _) if actor.owns(&own)))
}

/// Checks that a request may commit the session: that its actor's own session, if it has an actor, has not ended.
///
/// Past the idle timeout of that session, a request that began before may still commit, as in an ordinary session.
pub(super) async fn may_commit(config: &Config, loaded: &LoadedRecord) -> Result<bool, Error> {
    let (Some(actors), Some(actor)) = (&config.actors, &loaded.header.actor) else { return Ok(true) };
    Ok(matches!(find_own(actors, actor).await?, Found::Live(own, _) | Found::Idle(own, _) if actor.owns(&own)))
}

/// Looks up the actor's own session. Boxed, since it is rare, and every look-up and commit would carry this future.
fn find_own<'a>(actors: &'a Config, actor: &'a Actor) -> Pin<Box<impl Future<Output = Result<Found, Error>> + 'a>> {
    Box::pin(find_timed(actors, &actor.session))
}

/// Checks that a layer can use a session: one in which an owner acts as another needs the layer of its actor.
pub(super) fn is_usable(config: &Config, loaded: &LoadedRecord) -> bool {
    loaded.header.actor.is_none() || config.actors.is_some()
}

/// Looks up an id in the store.
pub(crate) async fn find_timed(config: &Config, id: &SessionId) -> Result<Found, Error> {
    let (got, now) = config.store.get_timed(id, &config.clock).await;
    let loaded = match got {
        Ok(Some(record)) if record.realm() != &*config.realm => {
            config.events.raise_other_realm(*id, record.realm());
            return Ok(Found::NotLive);
        }
        Ok(Some(record)) => LoadedRecord::read(record),
        Ok(None) => return Ok(Found::Absent),
        Err(error) => Err(error),
    };
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(error) if error.kind() == StoreErrorKind::Corrupt => {
            config.events.raise_failure(EventKind::Corrupt, *id, &error);
            return Ok(Found::Unreadable);
        }
        Err(error) => {
            config.events.raise_failure(EventKind::StoreFailed, *id, &error);
            return Err(error.into());
        }
    };
    if loaded.record.id() != id {
        return Ok(Found::NotLive);
    }
    if loaded.header.ended.is_some() {
        // The store's clock may be behind this one.
        return Ok(if now < loaded.record.expiry() { Found::Ended(loaded, now) } else { Found::Absent });
    }
    if !is_usable(config, &loaded) {
        return Ok(Found::Acting(loaded));
    }
    if !loaded.is_live(config.lifetime, now) {
        config.events.raise(EventKind::Expired, *id);
        return Ok(if now < loaded.record.expiry() { Found::Idle(loaded, now) } else { Found::NotLive });
    }
    Ok(Found::Live(loaded, now))
}
