//! Running one commit or end of a request, and applying the outcome to its state.

use std::sync::Arc;

use super::{CookieUpdate, RequestSession};
use crate::commit::{ChangeSet, Committed, PendingCommit, Refresh, SessionEnd, SessionSource, end_surplus};
use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::event::{EndReason, EventKind};
use crate::token::SessionId;

/// A task of a request at the store.
///
/// If it is dropped before its outcome is known, it goes back into the request's state, so that a handler that stops waiting
/// (`select!`, a timeout) loses nothing.
pub(super) struct CommitGuard<'a> {
    session: &'a RequestSession,
    task: Option<Task>,
    /// The [generation](super::RequestState) of the request's session that it belongs to.
    generation: u32,
}

enum Task {
    /// Boxed, since it is moved often.
    Commit(Box<PendingCommit>),
    End(SessionEnd),
}

impl<'a> CommitGuard<'a> {
    /// Takes the next task of a request; `refresh` is written with its changes.
    pub(super) fn next(session: &'a RequestSession, state: &mut super::RequestState, refresh: Refresh) -> Option<Self> {
        let generation = state.generation;
        let guard = |task| Some(Self { session, task: Some(task), generation });
        if let Some(end) = state.ends.pop() {
            return guard(Task::End(end));
        }
        if let Some(interrupted) = state.interrupted.take() {
            return guard(Task::Commit(interrupted));
        }
        let is_passive = session.is_passive();
        let changes = ChangeSet { refresh, is_passive, ..std::mem::take(&mut state.changes) };
        if changes.has_nothing_to_write() {
            return None;
        }
        let mut commit = Box::new(PendingCommit::new(state.source.clone(), changes));
        commit.result = state.view_is_exact.then(|| state.view.clone());
        commit.new_session = state.new_id;
        if commit.changes.sign_in.is_some() {
            state.sign_in_commit = Some(commit.id);
        }
        guard(Task::Commit(commit))
    }

    /// Creates the task of a commit that was written in a transaction.
    #[cfg(feature = "_sql")]
    pub(super) const fn of_transaction(
        session: &'a RequestSession,
        commit: Box<PendingCommit>,
        generation: u32,
    ) -> Self {
        Self { session, task: Some(Task::Commit(commit)), generation }
    }

    /// Runs the task to its end.
    pub(super) async fn run(mut self) -> Result<(), Error> {
        let config = self.session.config();
        match &mut self.task {
            Some(Task::Commit(commit)) if self.session.is_detached() && matches!(commit.source, SessionSource::New) => {
                self.fail(Error::new(ErrorKind::Detached))
            }
            Some(Task::Commit(commit)) => match commit.run(config).await {
                Ok(committed) => {
                    self.succeed(committed).await;
                    Ok(())
                }
                Err(error) => self.fail(error),
            },
            Some(Task::End(end)) => match end.run(config).await {
                Ok(is_ended) => {
                    self.apply_end(is_ended);
                    Ok(())
                }
                // The request has its new session either way, and the next request settles the rest.
                Err(_) if end.reason == EndReason::Ambiguous => {
                    config.events.raise(EventKind::UpkeepFailed, end.id);
                    self.task = None;
                    Ok(())
                }
                Err(error) => self.fail(error),
            },
            None => Ok(()),
        }
    }

    /// Continues the request from a commit that took effect, and applies the owner limit.
    pub(super) async fn succeed(self, committed: Committed) {
        let config = self.session.config();
        let Some(Task::Commit(commit)) = &self.task else { return };
        let signed_in = commit.changes.sign_in.as_ref().map(|sign_in| Arc::clone(&sign_in.owner));
        let id = *committed.loaded.record.id();
        let rivals: Vec<_> = self.session.state().rivals.iter().map(|rival| *rival.record.id()).collect();
        self.apply(committed);
        if let (Some(owner), Some(limit)) = (signed_in, config.owner_limit) {
            // Boxed, since few commits sign in and all would carry this future.
            Box::pin(end_surplus(config, &owner, &id, limit, &rivals)).await;
        }
    }

    /// Continues the request from a commit that took effect.
    fn apply(mut self, committed: Committed) {
        let Some(Task::Commit(commit)) = self.task.take() else { return };
        let (session, config) = (self.session, self.session.config());
        let Committed { loaded, issued } = committed;
        raise_events(config, &commit, issued.is_some(), *loaded.record.id());

        let mut state = session.state();
        if state.generation != self.generation {
            // The same request ended the session meanwhile.
            return state.end_created(&commit);
        }
        let lifetime = loaded.lifetime(config.lifetime);
        let is_use = !commit.changes.keeps_times();
        let now = if is_use { loaded.record.last_seen_timestamp() } else { config.clock.now() };
        if is_use {
            state.used_at = Some(now);
        }
        state.end_rivals();
        let sets_lifetime = commit.changes.lifetime.is_some();
        let renews_cookie = sets_lifetime
            || is_use
                && commit.source.loaded().is_some_and(|before| {
                    before.is_use_unnoted(lifetime, None, now) || session.has_outdated_cookie(before)
                });
        let cookie_age = lifetime.cookie_max_age(loaded.header.started_at, now);
        if let Some(token) = issued {
            state.cookie = CookieUpdate::Set { token, max_age: cookie_age };
        } else if let CookieUpdate::Set { max_age, .. } = &mut state.cookie {
            // Of an earlier commit of this request, perhaps under another lifetime.
            *max_age = cookie_age;
        }
        state.rebase(loaded);
        if renews_cookie {
            session.renew_cookie(&mut state, lifetime, sets_lifetime);
        }
    }

    fn apply_end(mut self, is_ended: bool) {
        let Some(Task::End(end)) = self.task.take() else { return };
        if is_ended {
            self.session.config().events.raise_end(end.id, end.reason);
            let mut state = self.session.state();
            // The client keeps its cookie while it may open another session.
            if end.clears_cookie && !state.ends.iter().any(|other| other.clears_cookie) {
                state.ended_client_session = true;
                if matches!(state.cookie, CookieUpdate::Keep) {
                    state.cookie = CookieUpdate::Clear;
                }
            }
        }
    }

    /// Drops the changes of a commit that failed: this request does not try it again.
    pub(super) fn fail(mut self, error: Error) -> Result<(), Error> {
        let task = self.task.take();
        if let Some(Task::Commit(commit)) = &task
            && let Some(loaded) = commit.source.loaded()
            && commit.changes.is_empty()
            && !commit.is_in_transaction()
        {
            // A refresh alone: the handler did not ask for it.
            if error.kind() == ErrorKind::Unavailable {
                self.session.config().events.raise(EventKind::UpkeepFailed, *loaded.record.id());
            }
            return Ok(());
        }
        let mut state = self.session.state();
        if matches!(&task, Some(Task::End(end)) if end.clears_cookie) {
            // The client's cookie still opens a session, which the client must be able to end.
            state.ends.iter_mut().for_each(|other| other.clears_cookie = false);
        }
        if state.generation != self.generation {
            // The request has ended that session since.
            return Err(error);
        }
        state.discard();
        state.failures += 1;
        state.dropped = Some(error.kind());
        if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Superseded | ErrorKind::Ended) {
            state.failed = Some(error.kind());
        }
        if matches!(error.kind(), ErrorKind::Superseded | ErrorKind::Ended)
            && matches!(state.cookie, CookieUpdate::Set { .. })
        {
            // The token no longer opens the session, and the client may have a better one by now.
            state.cookie = CookieUpdate::Keep;
        }
        Err(error)
    }
}

impl Drop for CommitGuard<'_> {
    fn drop(&mut self) {
        let Some(task) = self.task.take() else { return };
        let mut state = self.session.state();
        match task {
            Task::Commit(commit) if state.generation != self.generation => state.end_created(&commit),
            Task::Commit(commit) => state.interrupted = Some(commit),
            Task::End(end) => state.ends.push(end),
        }
    }
}

fn raise_events(config: &Config, commit: &PendingCommit, is_issued: bool, id: SessionId) {
    let changes = &commit.changes;
    let actor = changes.sign_in.as_ref().and_then(|sign_in| sign_in.actor.as_ref()).map(|actor| &*actor.owner);
    if matches!(commit.source, SessionSource::New) {
        config.events.raise_by(EventKind::Created, id, actor);
    }
    if changes.sign_in.is_some() {
        config.events.raise_by(EventKind::SignedIn, id, actor);
    }
    if is_issued && (changes.rotate || changes.sign_in.is_some()) && commit.source.loaded().is_some() {
        config.events.raise(EventKind::Rotated, id);
    }
    if is_issued && changes.refresh.issue.is_some() {
        config.events.raise(EventKind::Refreshed, id);
    }
}
