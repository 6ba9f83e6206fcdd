//! Ending a session so that nothing revives it, and so that no other session is ended instead.

use std::sync::Arc;

use super::{ChangeSet, Found, PendingCommit, PromisedSession, SessionSource, find, find_timed};
use crate::config::Config;
use crate::error::{Error, ErrorKind, StoreError};
use crate::event::{EndReason, EventKind};
use crate::record::{CommitId, LoadedRecord, TokenStatus};
use crate::token::SessionId;

/// Most attempts of a deletion, and of an end against sign-ins. Repeating either does no harm.
const MAX_ATTEMPTS: u32 = 3;

/// A session to be ended.
///
/// A conditional write replaces the record with a mark: the id and the reason, no values, no owner. Work that began before finds
/// the mark and stops, and so does a request that presents the token within the next minute.
#[derive(Debug)]
pub(crate) struct SessionEnd {
    pub(crate) id: SessionId,
    pub(crate) reason: EndReason,
    /// The client's own cookie names this session.
    pub(crate) clears_cookie: bool,
    /// The commit by which the same request may have signed the session in before.
    sign_in_commit: Option<CommitId>,
    owner: Option<Arc<str>>,
    /// The write of the mark; `None` for a session of which only the id is known, which is deleted.
    mark: Option<Box<PendingCommit>>,
    /// The deletion may have reached the store.
    in_doubt: bool,
}

impl SessionEnd {
    /// Ends a session that was read.
    pub(crate) fn new(loaded: LoadedRecord, reason: EndReason) -> Self {
        let (id, clears_cookie) = (*loaded.record.id(), loaded.is_from_client);
        let owner = loaded.record.owner_shared().cloned();
        Self { clears_cookie, ..Self::with_mark(id, owner, SessionSource::Loaded(loaded), reason) }
    }

    /// Sets the commit by which the same request may have signed the session in before.
    pub(crate) fn with_sign_in_commit(self, sign_in_commit: Option<CommitId>) -> Self {
        Self { sign_in_commit, ..self }
    }

    /// Ends a session that another request has yet to store. It must still be the promised one when it is found.
    pub(crate) fn from_promised(promised: PromisedSession, reason: EndReason) -> Self {
        Self::with_mark(promised.id, promised.owner.clone(), SessionSource::Promised(promised), reason)
    }

    /// Ends a session that may have been stored, and that no client knows.
    pub(crate) const fn from_unknown(id: SessionId, owner: Option<Arc<str>>) -> Self {
        Self {
            id,
            reason: EndReason::SignedOut,
            clears_cookie: false,
            sign_in_commit: None,
            owner,
            mark: None,
            in_doubt: true,
        }
    }

    fn with_mark(id: SessionId, owner: Option<Arc<str>>, source: SessionSource, reason: EndReason) -> Self {
        let mark = Some(Box::new(PendingCommit::new(source, ChangeSet::end(reason))));
        Self { reason, mark, in_doubt: false, ..Self::from_unknown(id, owner) }
    }

    /// Ends the session; returns whether this call ended it. If it is dropped, it can run again.
    pub(crate) async fn run(&mut self, config: &Config) -> Result<bool, Error> {
        while let Some(mark) = &mut self.mark {
            let error = match mark.run(config).await {
                Ok(_) => {
                    if let Some(owner) = self.owner.as_deref() {
                        remove_from_index(config, &self.id, owner).await;
                    }
                    return Ok(true);
                }
                // Signed in again meanwhile, by a user whose credentials have not been checked: the next request does that.
                Err(error) if error.kind() == ErrorKind::Superseded && mark.changes.ends_a_sign_in() => {
                    return Ok(false);
                }
                // A session that is promised may still be stored.
                Err(error) if error.kind() == ErrorKind::Ended && !mark.is_promised() => return Ok(false),
                Err(error) => error,
            };
            let Some(commit) = self.sign_in_commit.take().filter(|_| error.kind() == ErrorKind::Superseded) else {
                return Err(error);
            };
            let Some(found) = find(config, &self.id).await? else { return Ok(false) };
            if !found.header.commits.contains(&commit) {
                return Err(error);
            }
            // This request's own sign-in took effect.
            self.owner = found.record.owner_shared().cloned();
            **mark = PendingCommit::new(SessionSource::Loaded(found), ChangeSet::end(self.reason));
        }
        Ok(delete(config, &self.id, self.owner.as_deref(), &mut self.in_doubt).await?)
    }
}

/// Removes an ended session from the index of its owner. Readers skip an entry that stays behind.
async fn remove_from_index(config: &Config, id: &SessionId, owner: &str) {
    if let Err(error) = config.store.remove_from_index(id, owner).await {
        config.events.raise_failure(EventKind::UpkeepFailed, *id, &error);
    }
}

/// Ends the session of an id, also if it is signed in meanwhile; returns whether this call ended it.
///
/// With an `owner`, only a session of that owner. A session past its idle timeout is ended too, since a request that began before
/// may still commit. A record that cannot be read, and so has no owner, is deleted.
pub(crate) async fn end_by_id(
    config: &Config,
    id: &SessionId,
    owner: Option<&str>,
    reason: EndReason,
) -> Result<bool, Error> {
    let mut attempts = 0;
    loop {
        let found = match find_timed(config, id).await? {
            Found::Live(found, _) | Found::Idle(found, _) | Found::Acting(found) => found,
            Found::Unreadable if owner.is_none() => return Ok(delete(config, id, None, &mut false).await?),
            Found::Unreadable | Found::Ended(..) | Found::Absent | Found::NotLive => return Ok(false),
        };
        if owner.is_some() && found.record.owner() != owner {
            return Ok(false);
        }
        attempts += 1;
        match SessionEnd::new(found, reason).run(config).await {
            // It was signed in meanwhile.
            Err(error) if error.kind() == ErrorKind::Superseded && attempts < MAX_ATTEMPTS => {}
            ended => return ended,
        }
    }
}

/// Deletes a record; returns whether this call deleted it, or may have.
async fn delete(config: &Config, id: &SessionId, owner: Option<&str>, in_doubt: &mut bool) -> Result<bool, StoreError> {
    let mut attempts = 0;
    loop {
        let before = std::mem::replace(in_doubt, true);
        match config.store.delete(id, owner).await {
            Ok(deleted) => return Ok(deleted || before),
            Err(error) => {
                config.events.raise_failure(EventKind::StoreFailed, *id, &error);
                attempts += 1;
                if attempts >= MAX_ATTEMPTS {
                    return Err(error);
                }
                config.store.back_off(attempts).await;
            }
        }
    }
}

/// Ends a session whose replaced token was presented after the grace period.
///
/// It ends the record that was read and no later one that has changed hands. The request has no session either way; after a
/// failure, the next replay tries again.
pub(crate) async fn end_replayed(config: &Config, loaded: LoadedRecord) {
    end_or_report(config, loaded.with_token(TokenStatus::Replayed, None), EndReason::Replayed).await;
}

/// Ends a session that the request does not need to end: a failure is an event.
pub(super) async fn end_or_report(config: &Config, loaded: LoadedRecord, reason: EndReason) {
    let id = *loaded.record.id();
    match SessionEnd::new(loaded, reason).run(config).await {
        Ok(true) => config.events.raise_end(id, reason),
        Ok(false) => {}
        Err(_) => config.events.raise(EventKind::UpkeepFailed, id),
    }
}
