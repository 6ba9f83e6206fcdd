//! Ending a session so that nothing revives it, and so that no other session is ended instead.

use std::sync::Arc;

use super::{ChangeSet, PendingCommit, PromisedSession, SessionSource, find};
use crate::config::Config;
use crate::error::{Error, ErrorKind, StoreError};
use crate::event::{EndReason, EventKind};
use crate::record::{CommitId, LoadedRecord, TokenStatus};
use crate::token::SessionId;

/// Most attempts of a deletion. Repeating it does no harm.
const MAX_ATTEMPTS: u32 = 3;

/// A session to be ended.
#[derive(Debug)]
pub(crate) struct SessionEnd {
    pub(crate) id: SessionId,
    pub(crate) reason: EndReason,
    /// The client's own cookie names this session.
    pub(crate) clears_cookie: bool,
    /// The commit by which the same request may have signed the session in before.
    sign_in_commit: Option<CommitId>,
    owner: Option<Arc<str>>,
    /// The conditional write that marks the session as ended, if it may change hands before it is deleted.
    mark: Option<Box<PendingCommit>>,
    is_marked: bool,
    /// The deletion may have reached the store.
    in_doubt: bool,
}

impl SessionEnd {
    /// Ends a session that was read.
    ///
    /// A session with an owner never changes hands again, so it can be deleted. An anonymous one may have been signed in
    /// since, and work that began before the sign-in must not take effect after it: it is marked first.
    pub(crate) fn new(loaded: LoadedRecord, reason: EndReason) -> Self {
        let (id, clears_cookie) = (*loaded.record.id(), loaded.is_from_client);
        let owner = loaded.record.owner_shared().cloned();
        let mark =
            owner.is_none().then(|| Box::new(PendingCommit::new(SessionSource::Loaded(loaded), ChangeSet::end())));
        Self { clears_cookie, owner, mark, ..Self::without_mark(id, reason) }
    }

    /// Sets the commit by which the same request may have signed the session in before.
    pub(crate) fn with_sign_in_commit(self, sign_in_commit: Option<CommitId>) -> Self {
        Self { sign_in_commit, ..self }
    }

    /// Ends a session that another request has yet to store. It must still be the promised one when it is found.
    pub(crate) fn from_promised(promised: PromisedSession, reason: EndReason) -> Self {
        let (id, owner) = (promised.id, promised.owner.clone());
        let mark = Some(Box::new(PendingCommit::new(SessionSource::Promised(promised), ChangeSet::end())));
        Self { owner, mark, ..Self::without_mark(id, reason) }
    }

    /// Ends a session that may have been stored, and that no client knows.
    pub(crate) fn from_unknown(id: SessionId, owner: Option<Arc<str>>) -> Self {
        Self { owner, in_doubt: true, ..Self::without_mark(id, EndReason::SignedOut) }
    }

    const fn without_mark(id: SessionId, reason: EndReason) -> Self {
        Self {
            id,
            reason,
            clears_cookie: false,
            sign_in_commit: None,
            owner: None,
            mark: None,
            is_marked: false,
            in_doubt: false,
        }
    }

    /// Ends the session; returns whether this call ended it. If it is dropped, it can run again.
    pub(crate) async fn run(&mut self, config: &Config) -> Result<bool, Error> {
        if let Some(mark) = &mut self.mark {
            match (mark.run(config).await, self.sign_in_commit) {
                (Ok(_), _) => self.is_marked = true,
                (Err(error), _) if error.kind() == ErrorKind::Ended => return Ok(false),
                (Err(error), Some(commit)) if error.kind() == ErrorKind::Superseded => {
                    let Some(found) = find(config, &self.id).await? else { return Ok(false) };
                    if !found.header.commits.contains(&commit) {
                        return Err(error);
                    }
                    // This request's own sign-in took effect, so the session has an owner and can be deleted.
                    self.owner = found.record.owner_shared().cloned();
                }
                (Err(error), _) => return Err(error),
            }
            self.mark = None;
        }
        let owner = self.owner.as_deref();
        if !self.is_marked {
            return Ok(delete(config, &self.id, owner, &mut self.in_doubt).await?);
        }
        // A marked record holds no data and opens for no client, so the client need not know of a failed deletion.
        if let Err(error) = config.store.delete(&self.id, owner).await {
            config.events.raise_failure(EventKind::UpkeepFailed, self.id, &error);
        }
        Ok(true)
    }
}

/// Deletes a record; returns whether this call deleted it, or may have.
pub(crate) async fn delete(
    config: &Config,
    id: &SessionId,
    owner: Option<&str>,
    in_doubt: &mut bool,
) -> Result<bool, StoreError> {
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
/// It ends the record that was read and no later one that has changed hands. The request has no session either way, so a
/// failure is an event; the next replay tries again.
pub(crate) async fn end_replayed(config: &Config, loaded: LoadedRecord) {
    let id = *loaded.record.id();
    let mut end = SessionEnd::new(loaded.with_token(TokenStatus::Replayed, None), EndReason::Replayed);
    match end.run(config).await {
        Ok(true) => config.events.raise_end(id, EndReason::Replayed),
        Ok(false) => {}
        Err(_) => config.events.raise(EventKind::UpkeepFailed, id),
    }
}
