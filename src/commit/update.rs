//! The compare-and-swap loop: committing a change set to a stored session.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::find::may_commit;
use super::{Change, Committed, PendingCommit, Precondition, ReadState, View, apply};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::error::{Error, ErrorKind, StoreError};
use crate::event::EventKind;
use crate::queue::Place;
use crate::record::{Draft, Header, LoadedRecord, RetiredBy, TokenStatus, Version};
use crate::store::Outcome;

/// Most failures of the store that one commit survives.
const MAX_STORE_FAILURES: u32 = 3;
/// Time for which the mark of an ended session stays.
const MARK_LIFETIME: Duration = Duration::from_secs(60);

/// Commits a change set to the session that was loaded; `None` if the sign-in must create another session.
pub(super) async fn update(
    config: &Config,
    loaded: LoadedRecord,
    commit: &mut PendingCommit,
) -> Result<Option<Committed>, Error> {
    CompareAndSwap::new(config, loaded, commit).run().await
}

pub(super) struct CompareAndSwap<'a> {
    config: &'a Config,
    loaded: LoadedRecord,
    // Mutable although only `in_doubt` changes: a shared reference would require application closures that are `Sync`.
    commit: &'a mut PendingCommit,
    /// When the first attempt failed.
    began: Option<Instant>,
    attempts: u32,
    failures: u32,
    /// The place among the commits of this process that have lost a race for the session, once this one has.
    place: Option<Place<'a>>,
}

/// The next step after an attempt that was refused or whose answer was lost.
enum RetryDecision {
    /// The attempt was written after all.
    Done(LoadedRecord),
    /// Another attempt, on this record.
    Again(LoadedRecord),
    /// The session has ended.
    Ended,
}

impl<'a> CompareAndSwap<'a> {
    pub(super) const fn new(config: &'a Config, loaded: LoadedRecord, commit: &'a mut PendingCommit) -> Self {
        Self { config, loaded, commit, began: None, attempts: 0, failures: 0, place: None }
    }

    async fn run(mut self) -> Result<Option<Committed>, Error> {
        // The record to start from, if it is newer than the loaded one.
        let mut newer: Option<LoadedRecord> = None;
        let mut tried: Option<LoadedRecord> = None;
        loop {
            if tried.is_some() || self.commit.in_doubt.is_some() {
                newer = match self.decide().await? {
                    RetryDecision::Done(found) => return Ok(Some(self.found(found, tried))),
                    RetryDecision::Again(found) => Some(found),
                    RetryDecision::Ended if !self.commit.changes.begins_anew() => return Err(self.ended()),
                    RetryDecision::Ended if self.commit.in_doubt.is_none() => return Ok(None),
                    RetryDecision::Ended => {
                        let lost = "the answer was lost and the session has ended; the sign-in may have taken effect";
                        return Err(StoreError::unavailable(lost).into());
                    }
                };
            }
            let base = newer.as_ref().unwrap_or(&self.loaded);
            if self.commit.changes.end.is_none() && !may_commit(self.config, base).await? {
                return Err(self.ended());
            }
            let version = base.record.version();
            // If the version is unchanged, the same record is written again: the first write may still arrive.
            let draft = match tried.take() {
                Some(draft) if self.commit.in_doubt == Some(version) => draft,
                _ => match self.draft(base)? {
                    Some(draft) => draft,
                    None => return Ok(None),
                },
            };
            let in_doubt = self.commit.in_doubt.replace(version);
            let expected = self.commit.changes.expected(version);
            match self.config.store.set(&draft.record, expected).await {
                Ok(Outcome::Written) => {
                    let drafted_at = draft.record.last_seen_timestamp();
                    let keeps_times = self.commit.changes.keeps_times();
                    let now = if keeps_times { self.config.clock.now() } else { drafted_at };
                    return Ok(Some(self.committed(draft, now)));
                }
                Ok(Outcome::Refused) => {
                    self.commit.in_doubt = in_doubt;
                    let id = *self.loaded.record.id();
                    self.place.get_or_insert_with(|| self.config.queue.enter(id));
                }
                Err(error) => self.count_failure(error)?,
            }
            tried = Some(draft);
            self.wait().await?;
        }
    }

    /// Returns the outcome of a commit that is in the record `found`.
    ///
    /// If the session has changed hands or ended since, the request goes on with its own draft, if it has that.
    pub(super) fn found(&self, found: LoadedRecord, draft: Option<LoadedRecord>) -> Committed {
        if self.is_still_ours(&found) {
            return self.committed(found, self.config.clock.now());
        }
        let own = draft.unwrap_or_else(|| self.loaded.clone());
        let loaded = own.with_token(TokenStatus::Replaced, self.loaded.token.clone());
        Committed { loaded, issued: None }
    }

    /// Checks whether a record that holds this commit has neither ended nor changed hands since.
    fn is_still_ours(&self, found: &LoadedRecord) -> bool {
        if found.header.ended.is_some() && self.commit.changes.end.is_none() {
            return false;
        }
        match &self.commit.changes.sign_in {
            Some(sign_in) => found.record.owner() == Some(&sign_in.owner),
            None => found.header.epoch == self.loaded.header.epoch,
        }
    }

    /// Reads the record again after an attempt was refused or its answer lost.
    async fn decide(&mut self) -> Result<RetryDecision, Error> {
        let found = loop {
            match self.config.store.get(self.loaded.record.id()).await {
                Ok(None) => return Ok(RetryDecision::Ended),
                Ok(Some(record)) => break LoadedRecord::read(record)?,
                Err(error) => {
                    self.count_failure(error)?;
                    self.wait().await?;
                }
            }
        };
        let (commits, version) = (&found.header.commits, found.record.version());
        if commits.contains(&self.commit.id) {
            return Ok(RetryDecision::Done(found));
        }
        if found.header.ended.is_some() || found.record.realm() != &*self.config.realm {
            return Ok(RetryDecision::Ended);
        }
        if let Some(tried) = self.commit.in_doubt.filter(|tried| *tried != version) {
            if !commits.reach_back_to(tried, version) {
                // This commit may be among those whose ids the record no longer holds.
                let lost = "the answer was lost and too many commits followed; the write may have taken effect";
                return Err(StoreError::unavailable(lost).into());
            }
            // The version has changed, so an attempt on the old one can no longer take effect.
            self.commit.in_doubt = None;
        }
        Ok(RetryDecision::Again(found))
    }

    /// Encodes the record after the change set; `None` if the sign-in must create another session.
    pub(super) fn draft(&self, base: &LoadedRecord) -> Result<Option<LoadedRecord>, Error> {
        let (changes, loaded) = (&self.commit.changes, &self.loaded);
        let now = self.config.clock.now();
        let version = base.record.version().next(self.commit.id);
        let owner = base.record.owner_shared();
        let is_newer = base.record.version() != loaded.record.version();
        match &changes.sign_in {
            Some(sign_in) if owner.is_some_and(|present| *present != sign_in.owner) => return Ok(None),
            Some(sign_in) if is_newer && !Precondition::holds(sign_in.precondition.as_ref(), &base.data) => {
                return Ok(None);
            }
            // The session was signed in again meanwhile: the end is about the sign-in before.
            None if changes.ends_a_sign_in() && base.header.signed_in.is_newer_than(loaded.record.version()) => {
                return Err(Error::new(ErrorKind::Superseded));
            }
            None if base.header.epoch != loaded.header.epoch => {
                self.raise_for_handler(EventKind::Superseded);
                return Err(Error::new(ErrorKind::Superseded));
            }
            _ => {}
        }
        let owner = changes.sign_in.as_ref().map(|sign_in| &sign_in.owner).or(owner).cloned();
        let mut header = self.header(base, version, now);
        let (mut last_seen, mut expires_at) = (base.record.last_seen_timestamp(), base.record.expiry());
        if !changes.keeps_times() {
            let lifetime = header.lifetime.unwrap_or(self.config.lifetime);
            header.margin = lifetime.margin;
            last_seen = now;
            expires_at = lifetime.expires_at(header.started_at, now);
            if owner.is_none() && !loaded.is_from_client && base.is_unconfirmed() {
                // The request that created the session writes again; the client has yet to present its token.
                if base.record.expiry() < expires_at {
                    expires_at = base.record.expiry();
                    // An expiry belongs to the margin with which it was written.
                    header.margin = base.header.margin;
                }
            } else {
                header.unconfirmed_until = None;
            }
        } else if !base.is_live(self.config.lifetime, now) {
            // The margin is for uses of the session.
            return Err(self.ended());
        }
        if changes.end.is_some() {
            return Ok(Some(self.mark(base, header, version, now)));
        }
        self.check_reads(base)?;
        let applied;
        let view = match &self.commit.result {
            Some(view) if !is_newer => view,
            _ => {
                applied = apply(&changes.values, View::new(base.data.clone()), self.config)?;
                &applied
            }
        };
        let realm = Arc::clone(&self.config.realm);
        let draft = Draft { id: *base.record.id(), version, realm, owner, last_seen, expires_at };
        Ok(Some(LoadedRecord::draft(draft, header, view.len(), |out| view.write_to(out))))
    }

    /// Encodes the mark of an ended session, without values and without an owner.
    fn mark(&self, base: &LoadedRecord, header: Header, version: Version, now: Timestamp) -> LoadedRecord {
        let (id, realm, expires_at) = (*base.record.id(), Arc::clone(&self.config.realm), now.plus(MARK_LIFETIME));
        let draft = Draft { id, version, realm, owner: None, last_seen: now, expires_at };
        LoadedRecord::draft(draft, header, 0, |_| {})
    }

    /// Returns the header after the change set, with the secrets as the sign-in, the rotation or the refresh leaves them.
    fn header(&self, base: &LoadedRecord, version: Version, now: Timestamp) -> Header {
        let (changes, loaded) = (&self.commit.changes, &self.loaded);
        let mut header = base.header.clone();
        let new = self.commit.secret.as_ref().map(|(_, verifier)| *verifier);
        let presented = loaded.token.as_ref().map(|(_, verifier)| verifier);
        if let Some(presented) = presented.filter(|_| changes.refresh.confirm) {
            header.secrets.confirm_refresh(presented, now);
        }
        match (&changes.sign_in, new) {
            // Another sign-in of this owner came first: this one joins its session.
            (Some(sign_in), Some(new))
                if loaded.status == TokenStatus::Retired || header.signed_in.is_newer_than(loaded.record.version()) =>
            {
                header.secrets.add_sibling(new, now);
                header.started_at = header.started_at.max(now);
                header.authenticated_at = header.authenticated_at.max(Some(sign_in.at));
            }
            (Some(sign_in), Some(new)) => {
                let is_new_epoch = base.record.owner().is_none();
                header.epoch += u64::from(is_new_epoch);
                header.secrets.rotate(new, now, RetiredBy::SignIn, is_new_epoch);
                header.started_at = now;
                header.authenticated_at = Some(sign_in.at);
                header.rotated = version;
                header.signed_in = version;
            }
            // Of concurrent rotations one takes place. A request whose token another rotation has retired drops its own.
            (None, Some(new))
                if changes.rotate
                    && !header.rotated.is_newer_than(loaded.record.version())
                    && loaded.status != TokenStatus::Replaced =>
            {
                header.secrets.rotate(new, now, RetiredBy::Rotation, false);
                header.rotated = version;
            }
            (None, Some(new)) => {
                let is_current = presented.is_some_and(|presented| header.secrets.current.matches(presented));
                if is_current && changes.refresh.issue.is_some_and(|loaded_at| header.secrets.can_refresh(loaded_at)) {
                    header.secrets.issue_refresh(new, now);
                }
            }
            _ => {}
        }
        if changes.lifetime.is_some() || changes.begins_anew() {
            header.lifetime = changes.lifetime.as_deref().copied();
        }
        header.ended = changes.end;
        header.commits.push(self.commit.id);
        header
    }

    /// Looks for values that this request read before it wrote them, and that other requests have changed since.
    fn check_reads(&self, base: &LoadedRecord) -> Result<(), Error> {
        let is_newer = base.record.version() != self.loaded.record.version();
        for change in &self.commit.changes.values {
            let Change::Put { frame, read } = change else { continue };
            let key = frame.key();
            let is_conflict = match read {
                ReadState::Unread => false,
                ReadState::Outdated => true,
                ReadState::Read => is_newer && self.loaded.data.get(key) != base.data.get(key),
            };
            if is_conflict {
                self.config.events.raise(EventKind::Conflict, *base.record.id());
                if self.config.strict_writes {
                    return Err(Error::new(ErrorKind::Conflict).with_context(format!("{key:?}")));
                }
            }
        }
        Ok(())
    }

    /// Returns the outcome of a commit that is in `record`.
    pub(super) fn committed(&self, record: LoadedRecord, now: Timestamp) -> Committed {
        let secrets = &record.header.secrets;
        // The secret of a dropped rotation is not one of the session's.
        let issued = self.commit.token_for(*record.record.id()).filter(|(_, verifier)| {
            matches!(secrets.status(verifier, now), TokenStatus::Current | TokenStatus::Pending)
        });
        match issued {
            Some((token, verifier)) if self.commit.changes.refresh.issue.is_none() => {
                let loaded = record.with_token(TokenStatus::Current, Some((token.clone(), verifier)));
                Committed { loaded, issued: Some(token) }
            }
            // After a refresh the client keeps the token that it has until it presents the new one.
            issued => {
                let token = self.loaded.token.clone();
                let status = match self.loaded.status {
                    TokenStatus::Replaced => TokenStatus::Replaced,
                    _ => record.status_of_earlier(token.as_ref(), now),
                };
                Committed { loaded: record.with_token(status, token), issued: issued.map(|(token, _)| token) }
            }
        }
    }

    fn ended(&self) -> Error {
        self.raise_for_handler(EventKind::Dropped);
        Error::new(ErrorKind::Ended)
    }

    /// Raises an event about changes that a handler made. A refresh or an end that fails loses no change.
    fn raise_for_handler(&self, kind: EventKind) {
        if !self.commit.changes.is_empty() && self.commit.changes.end.is_none() {
            self.config.events.raise(kind, *self.loaded.record.id());
        }
    }

    /// Counts a failure of the store; after too many the commit fails.
    fn count_failure(&mut self, error: StoreError) -> Result<(), Error> {
        self.config.events.raise_failure(EventKind::StoreFailed, *self.loaded.record.id(), &error);
        self.failures += 1;
        if self.failures >= MAX_STORE_FAILURES { Err(error.into()) } else { Ok(()) }
    }

    /// Waits before the next attempt: for the turn, if other commits of this process wait too, else for a backoff.
    async fn wait(&mut self) -> Result<(), Error> {
        let began = *self.began.get_or_insert_with(Instant::now);
        let config = self.config;
        let is_late = || began.elapsed() >= config.commit_deadline;
        let has_waited = match &mut self.place {
            Some(place) => place.wait(|| config.idle(), is_late).await,
            None => false,
        };
        if is_late() {
            return Err(StoreError::unavailable("the commit lost too many races before its deadline").into());
        }
        self.attempts += 1;
        if !has_waited {
            config.store.back_off(self.attempts).await;
        }
        Ok(())
    }
}
