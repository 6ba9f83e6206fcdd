//! Changes that a request commits in a transaction of the application.

use std::sync::{Arc, Mutex, OnceLock};

use sqlx::Transaction;

use super::guard::CommitGuard;
use super::{RequestSession, RequestState};
use crate::commit::{ChangeSet, Committed, PendingCommit, SessionSource, commit_alone, ends_a_session, roll_back};
use crate::error::{Error, ErrorKind};
use crate::store::{SqlWrite, Transactional};

/// A copy of a request's session. Its changes are committed in a transaction, or dropped.
pub(crate) struct Fork {
    session: Arc<RequestSession>,
    /// The revision of the request's session of which it is the copy.
    revision: u64,
}

/// A commit whose statement the application runs in its own transaction.
pub(crate) struct PreparedWrite {
    request: Arc<RequestSession>,
    commit: Box<PendingCommit>,
    generation: u32,
    pub(crate) write: SqlWrite,
}

impl RequestSession {
    /// Copies the session for changes in a transaction.
    pub(crate) fn fork(&self) -> Result<Fork, Error> {
        let state = self.state_for_write()?;
        self.check_may_fork(&state)?;
        let fork = OnceLock::from(Mutex::new(Box::new(state.fork())));
        let without_request = Self::without_request(Arc::clone(&self.config));
        let fork = Self { is_detached: self.is_detached, is_fork: true, state: fork, ..without_request };
        Ok(Fork { session: Arc::new(fork), revision: state.revision })
    }

    /// Returns an error if changes of this session cannot be committed in a transaction.
    fn check_may_fork(&self, state: &RequestState) -> Result<(), Error> {
        self.check_is_no_fork()?;
        if !state.ends.is_empty() {
            return Err(ends_a_session());
        }
        if state.interrupted.is_some() {
            let context = "the outcome of an earlier commit is unknown; call `commit` first";
            return Err(Error::new(ErrorKind::InvalidTransaction).with_context(context));
        }
        match state.source {
            SessionSource::Promised(_) => Err(Error::new(ErrorKind::Detached)),
            SessionSource::New if self.is_detached => Err(Error::new(ErrorKind::Detached)),
            _ => Ok(()),
        }
    }

    /// Commits the changes of the request and those of `fork` in a transaction, and commits that.
    pub(crate) async fn commit_in<D: Transactional>(
        &self,
        fork: Fork,
        transaction: Transaction<'_, D>,
    ) -> Result<(), Error> {
        // To wait for another task would be to wait for a commit that may wait for this transaction.
        let Some(_turn) = self.turn.try_take() else {
            let context = "another task of the request is at the store";
            return roll_back(transaction, Error::new(ErrorKind::Conflict).with_context(context)).await;
        };
        match Attempt::new(self, fork) {
            Ok(attempt) => attempt.run(transaction).await,
            Err(error) => roll_back(transaction, error).await,
        }
    }

    /// Prepares a commit of the changes of `fork` that the application writes.
    pub(crate) fn prepare_write(self: &Arc<Self>, fork: Fork) -> Result<PreparedWrite, Error> {
        let mut attempt = Attempt::new(self, fork)?;
        if !attempt.before.is_empty() || attempt.values != 0 {
            let context = "another task of the request is writing";
            return Err(Error::new(ErrorKind::Conflict).with_context(context));
        }
        let Some(mut commit) = attempt.commit.take() else { return Err(ends_a_session()) };
        let (_, write) = commit.prepare(&self.config)?;
        Ok(PreparedWrite { request: Arc::clone(self), commit, generation: attempt.generation, write })
    }
}

impl Fork {
    pub(crate) const fn session(&self) -> &Arc<RequestSession> {
        &self.session
    }
}

impl PreparedWrite {
    /// Reads the record to find out whether the transaction was committed, and continues the request from that.
    pub(crate) async fn outcome(mut self) -> Result<(), Error> {
        self.commit.doubt();
        let session = &*self.request;
        let _turn = session.turn.take().await;
        drop(session.state_if_open()?);
        let (before, generation) = (ChangeSet::default(), self.generation);
        let mut attempt = Attempt { session, commit: Some(self.commit), before, values: 0, generation };
        let found = match &mut attempt.commit {
            Some(commit) => commit.find_outcome(session.config()).await,
            None => return Ok(()),
        };
        attempt.finish(found).await
    }
}

/// One attempt to commit in a transaction.
///
/// Unless it takes effect, the changes that the request made before stay pending, and those of the fork are dropped. If it is
/// dropped while its outcome is unknown, the next commit of the request finds that out.
struct Attempt<'a> {
    session: &'a RequestSession,
    commit: Option<Box<PendingCommit>>,
    /// The changes of the request before those of the fork, and the number of values among them.
    before: ChangeSet,
    values: usize,
    generation: u32,
}

impl<'a> Attempt<'a> {
    /// Takes the changes of the request and of a fork. Nothing can be written to the fork from then on.
    fn new(session: &'a RequestSession, fork: Fork) -> Result<Self, Error> {
        fork.session.close();
        let mut forked = fork.session.state();
        if forked.generation != 0 || !forked.ends.is_empty() {
            return Err(ends_a_session());
        }
        let mut state = session.state_for_write()?;
        session.check_may_fork(&state)?;
        if matches!(forked.source, SessionSource::New) && !matches!(state.source, SessionSource::New) {
            // A second session would replace the one that the request has stored meanwhile.
            return Err(Error::new(ErrorKind::Conflict).with_context("the request has stored the session meanwhile"));
        }
        let mut changes = std::mem::take(&mut state.changes);
        changes.is_passive = session.is_passive();
        let (before, values) = (changes.without_values(), changes.values.len());
        changes.append(std::mem::take(&mut forked.changes));
        let mut commit = Box::new(PendingCommit::new(forked.source.clone(), changes));
        let is_exact = state.view_is_exact && state.revision == fork.revision;
        commit.result = is_exact.then(|| forked.view.clone());
        commit.new_session = forked.new_id.or(state.new_id);
        if commit.changes.sign_in.is_some() {
            state.sign_in_commit = Some(commit.id);
        }
        Ok(Self { session, commit: Some(commit), before, values, generation: state.generation })
    }

    async fn run<D: Transactional>(mut self, transaction: Transaction<'_, D>) -> Result<(), Error> {
        let Some(commit) = &mut self.commit else { return Ok(()) };
        if matches!(commit.source, SessionSource::New) && commit.changes.is_empty() {
            let committed = commit_alone(transaction).await;
            if committed.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unavailable) {
                self.session.state().failed = Some(ErrorKind::Unavailable);
            }
            return committed;
        }
        let written = commit.write_in(self.session.config(), transaction).await;
        self.finish(written).await
    }

    async fn finish(mut self, outcome: Result<Committed, Error>) -> Result<(), Error> {
        let is_final =
            |error: &Error| matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Superseded | ErrorKind::Ended);
        match (outcome, self.commit.take()) {
            (Ok(committed), Some(commit)) => {
                if let Some(lifetime) = &commit.changes.lifetime {
                    // A later sign-in of this request keeps it.
                    self.session.state().own_lifetime = Some(lifetime.clone());
                }
                CommitGuard::of_transaction(self.session, commit, self.generation).succeed(committed).await;
                Ok(())
            }
            (Err(error), Some(commit)) if is_final(&error) => {
                CommitGuard::of_transaction(self.session, commit, self.generation).fail(error)
            }
            (Err(error), commit) => {
                self.commit = commit;
                Err(error)
            }
            (Ok(_), None) => Ok(()),
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let Some(mut commit) = self.commit.take() else { return };
        let mut state = self.session.state();
        if state.generation != self.generation {
            return state.end_created(&commit);
        }
        if commit.is_in_doubt() {
            state.interrupted = Some(commit);
            return;
        }
        let mut pending = std::mem::take(&mut self.before);
        pending.values = std::mem::take(&mut commit.changes.values);
        pending.values.truncate(self.values);
        pending.append(std::mem::take(&mut state.changes));
        state.changes = pending;
    }
}
