//! Finding the session that a client's tokens open.

use super::rotation::Presented;
use super::work::{Base, Live};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::error::{Error, StoreErrorKind};
use crate::event::EventKind;
use crate::record::{Data, Header, Record};
use crate::token::{SessionId, Token, Verifier};
use crate::transport::Candidates;

/// What the tokens of one request open: at most one `get` for each of their ids.
///
/// One live session is taken. Two are none: somebody has planted a cookie, and there is no telling which is whose.
pub(super) async fn load(config: &Config, candidates: &Candidates) -> Result<Base, Error> {
    let mut live: Option<Live> = None;
    let mut ambiguous = false;
    let mut retired = false;
    for (place, token) in candidates.iter().enumerate() {
        let id = token.id();
        if candidates.iter().take(place).any(|earlier| earlier.id() == id) {
            continue;
        }
        let now = config.clock.now();
        let Some(found) = find(config, &id, now).await? else { continue };
        let same_id = candidates.iter().filter(|other| other.id() == id);
        let presented = same_id.map(|token| (found.header.secrets.presented(&token.verifier(), now), token));
        let Some((presented, token)) = presented.min_by_key(|(presented, _)| *presented) else { continue };
        match presented {
            Presented::Retired => retired = true,
            Presented::Replayed => config.events.raise(EventKind::Replayed, id),
            Presented::Unknown => {}
            Presented::Current | Presented::Pending | Presented::Replaced => {
                ambiguous |= live.is_some();
                live = Some(found.live(presented, Some(token.clone())));
            }
        }
    }
    match live {
        Some(_) if ambiguous => {
            config.events.raise(EventKind::Ambiguous, None);
            Ok(Base::Fresh)
        }
        Some(live) => Ok(Base::Live(live)),
        None if retired => Ok(Base::Retired),
        None => Ok(Base::Fresh),
    }
}

/// A record that was read and has not ended.
pub(crate) struct Found {
    pub(crate) record: Record,
    pub(crate) header: Header,
    pub(crate) data: Data,
}

impl Found {
    pub(crate) fn live(self, presented: Presented, token: Option<Token>) -> Live {
        Live { record: self.record, header: self.header, data: self.data, presented, token }
    }
}

/// The session of this id, if it has not ended, by the lifetimes as they are set today.
pub(crate) async fn find(config: &Config, id: &SessionId, now: Timestamp) -> Result<Option<Found>, Error> {
    let record = match config.store.get(id).await {
        Ok(Some(record)) => record,
        Ok(None) => return Ok(None),
        Err(error) if error.kind() == StoreErrorKind::Corrupt => {
            config.events.raise_failure(EventKind::Corrupt, *id, &error);
            return Ok(None);
        }
        Err(error) => {
            config.events.raise_failure(EventKind::StoreFailed, *id, &error);
            return Err(error.into());
        }
    };
    let (header, data) = match record.open() {
        Ok(opened) => opened,
        Err(error) if error.kind() == StoreErrorKind::Corrupt => {
            config.events.raise_failure(EventKind::Corrupt, *id, &error);
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    if record.id() != id || header.ended {
        return Ok(None);
    }
    let lifetime = header.lifetime.unwrap_or(config.lifetime);
    let end = lifetime.expires_at(header.started_at, record.last_seen_timestamp());
    if now >= end.min(record.expiry()) {
        config.events.raise(EventKind::Expired, *id);
        return Ok(None);
    }
    Ok(Some(Found { record, header, data }))
}

impl Live {
    /// Whether the secret that the client presented is still the current one.
    pub(super) fn is_current(&self, verifier: &Verifier) -> bool {
        self.header.secrets.current.matches(verifier)
    }
}
