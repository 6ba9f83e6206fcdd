//! Commits in a transaction of the application: one attempt, and a look at the record if the answer is lost.

use std::error::Error as StdError;

use sqlx::Transaction;

use super::find::may_commit;
use super::update::CompareAndSwap;
use super::{Committed, PendingCommit, create};
use crate::config::Config;
use crate::error::{Error, ErrorKind, StoreError};
use crate::event::EventKind;
use crate::record::{LoadedRecord, Version};
use crate::store::{Expected, SqlWrite, TransactionFailure, Transactional};
use crate::token::SessionId;

/// Number of reads that look for a commit whose answer was lost.
const MAX_LOOKS: u32 = 3;

/// The record's answer to whether a commit took effect.
enum Look {
    Done(Committed),
    /// It did not, and can no longer.
    NotDone(Error),
    Unknown,
}

impl PendingCommit {
    /// Encodes the record after the change set, and its write as a statement for a transaction.
    pub(crate) fn prepare(&mut self, config: &Config) -> Result<(LoadedRecord, SqlWrite), Error> {
        self.in_transaction = true;
        let (draft, expected) = match self.source.loaded().cloned() {
            Some(loaded) => {
                let expected = self.changes.expected(loaded.record.version());
                let draft = CompareAndSwap::new(config, loaded.clone(), self).draft(&loaded)?;
                (draft.ok_or_else(ends_a_session)?, expected)
            }
            None => {
                let now = config.clock.now();
                let token = self.choose_new_token(now);
                (create::draft(self, &token, now, config)?, Expected::Absent)
            }
        };
        let write = config.store.sql_write(&draft.record, expected);
        Ok((draft, write.map_err(|error| Error::with_source(ErrorKind::InvalidTransaction, error))?))
    }

    /// Writes the session as the last statement of a transaction, and commits that.
    ///
    /// After any error but [`Unavailable`](ErrorKind::Unavailable) the transaction was rolled back. If it is dropped during the
    /// `COMMIT`, the commit is [in doubt](Self::is_in_doubt).
    pub(crate) async fn write_in<D: Transactional>(
        &mut self,
        config: &Config,
        mut transaction: Transaction<'_, D>,
    ) -> Result<Committed, Error> {
        let (draft, write) = match self.prepare(config) {
            Ok((_, write)) if write.database() != D::NAME => {
                let (store, other) = (write.database(), D::NAME);
                let context = format!("the store is in {store} and the transaction in {other}");
                return roll_back(transaction, Error::new(ErrorKind::InvalidTransaction).with_context(context)).await;
            }
            Ok(prepared) => prepared,
            Err(error) => return roll_back(transaction, error).await,
        };
        if let Err(error) = self.check_actor(config).await {
            return roll_back(transaction, error).await;
        }
        match D::write(&mut transaction, &write).await {
            Ok(true) => {}
            Ok(false) => {
                // The read would wait for a connection that this transaction holds, or for its lock.
                let _ = transaction.rollback().await;
                return Err(self.explain_refusal(config).await);
            }
            Err(error) if D::transaction_failure(&error) == TransactionFailure::Failed => {
                let error = StoreError::unavailable(error);
                config.events.raise_failure(EventKind::StoreFailed, self.session_id(), &error);
                return roll_back(transaction, rolled_back(error)).await;
            }
            Err(error) => return roll_back(transaction, not_done::<D>(error)).await,
        }
        self.doubt();
        let Err(error) = transaction.commit().await else { return Ok(self.written(draft, config)) };
        if D::leaves_commit_in_doubt(&error) {
            config.events.raise_failure(EventKind::StoreFailed, self.session_id(), &StoreError::unavailable(error));
            return self.find_outcome(config).await;
        }
        self.in_doubt = None;
        Err(not_done::<D>(error))
    }

    /// Checks that the actor's own session has not ended, if one owner acts as another.
    ///
    /// It reads outside the transaction, whose snapshot may be older than the end.
    async fn check_actor(&mut self, config: &Config) -> Result<(), Error> {
        let Some(loaded) = self.source.loaded().cloned() else { return Ok(()) };
        if may_commit(config, &loaded).await.map_err(rolled_back)? {
            return Ok(());
        }
        config.events.raise(EventKind::Dropped, *loaded.record.id());
        Err(Error::new(ErrorKind::Ended))
    }

    /// Notes that the transaction may take effect from now on.
    pub(crate) fn doubt(&mut self) {
        self.in_doubt = Some(self.expected_version());
    }

    /// Checks whether the outcome of an attempt is unknown.
    pub(crate) const fn is_in_doubt(&self) -> bool {
        self.in_doubt.is_some()
    }

    /// Reads the record to find out whether the transaction was committed.
    pub(crate) async fn find_outcome(&mut self, config: &Config) -> Result<Committed, Error> {
        for look in 1..=MAX_LOOKS {
            match self.look(config).await {
                Look::Done(committed) => return Ok(committed),
                Look::NotDone(error) => {
                    self.in_doubt = None;
                    return Err(error);
                }
                Look::Unknown if look == MAX_LOOKS => {}
                Look::Unknown => config.store.back_off(look).await,
            }
        }
        let lost = "the outcome of the transaction is unknown: the session's record does not show it";
        Err(StoreError::unavailable(lost).into())
    }

    async fn look(&mut self, config: &Config) -> Look {
        let found = match read(self.session_id(), config).await {
            Ok(Some(found)) => found,
            Ok(None) | Err(_) => return Look::Unknown,
        };
        let (expected, version) = (self.expected_version(), found.record.version());
        if found.header.commits.contains(&self.id) {
            return Look::Done(self.found(found, config));
        }
        if version == expected || !found.header.commits.reach_back_to(expected, version) {
            return Look::Unknown;
        }
        Look::NotDone(self.reason(&found, config))
    }

    /// Returns the error of a write that matched no row, in a transaction that was rolled back.
    async fn explain_refusal(&mut self, config: &Config) -> Error {
        match read(self.session_id(), config).await {
            Ok(found) if found.as_ref().map(|found| found.record.version()) == self.loaded_version() => {
                let context = "the store has the expected version of the session, and the transaction has not: it is on another \
                               database, or its snapshot is older than the session";
                Error::new(ErrorKind::InvalidTransaction).with_context(context)
            }
            Ok(Some(found)) => self.reason(&found, config),
            Ok(None) => {
                config.events.raise(EventKind::Dropped, self.session_id());
                Error::new(ErrorKind::Ended)
            }
            Err(error) => rolled_back(error),
        }
    }

    /// Returns the error of a commit that a newer record excludes.
    fn reason(&self, found: &LoadedRecord, config: &Config) -> Error {
        let Some(loaded) = self.source.loaded() else { return Error::new(ErrorKind::Conflict) };
        let id = *found.record.id();
        if found.header.ended.is_some() || found.record.realm() != &*config.realm {
            config.events.raise(EventKind::Dropped, id);
            Error::new(ErrorKind::Ended)
        } else if found.header.epoch != loaded.header.epoch {
            config.events.raise(EventKind::Superseded, id);
            Error::new(ErrorKind::Superseded)
        } else {
            Error::new(ErrorKind::Conflict).with_context("another request has committed the session")
        }
    }

    /// Returns the outcome of a commit that was written.
    fn written(&mut self, draft: LoadedRecord, config: &Config) -> Committed {
        match (self.source.loaded().cloned(), self.new_token()) {
            (Some(loaded), _) => {
                let now = config.clock.now();
                CompareAndSwap::new(config, loaded, self).committed(draft, now)
            }
            (None, Some(token)) => create::created(draft, token),
            (None, None) => Committed { loaded: draft, issued: None },
        }
    }

    /// Returns the outcome of a commit that was found in the record.
    fn found(&mut self, found: LoadedRecord, config: &Config) -> Committed {
        match self.source.loaded().cloned() {
            Some(loaded) => CompareAndSwap::new(config, loaded, self).found(found, None),
            None => self.written(found, config),
        }
    }

    fn session_id(&self) -> Option<SessionId> {
        self.source.loaded().map(|loaded| *loaded.record.id()).or(self.new_session)
    }

    fn loaded_version(&self) -> Option<Version> {
        self.source.loaded().map(|loaded| loaded.record.version())
    }

    fn expected_version(&self) -> Version {
        self.loaded_version().unwrap_or(Version::NONE)
    }
}

async fn read(id: Option<SessionId>, config: &Config) -> Result<Option<LoadedRecord>, StoreError> {
    let Some(id) = id else { return Ok(None) };
    let got = config.store.get(&id).await.and_then(|found| found.map(LoadedRecord::read).transpose());
    got.inspect_err(|error| config.events.raise_failure(EventKind::StoreFailed, id, error))
}

/// Rolls a transaction back and returns the error.
pub(crate) async fn roll_back<D: Transactional, T>(transaction: Transaction<'_, D>, error: Error) -> Result<T, Error> {
    // If it fails, the connection has: the database rolls back by itself.
    let _ = transaction.rollback().await;
    Err(error)
}

/// Commits a transaction in which the session has nothing to write.
pub(crate) async fn commit_alone<D: Transactional>(mut transaction: Transaction<'_, D>) -> Result<(), Error> {
    // An aborted transaction refuses a statement, and answers `COMMIT` with a silent rollback.
    if let Err(error) = D::check(&mut transaction).await {
        return roll_back(transaction, not_done::<D>(error)).await;
    }
    let Err(error) = transaction.commit().await else { return Ok(()) };
    Err(match D::transaction_failure(&error) {
        TransactionFailure::Failed => StoreError::unavailable(error).into(),
        TransactionFailure::RolledBack | TransactionFailure::Refused => not_done::<D>(error),
    })
}

/// Returns the error of a change that would end a session.
pub(crate) fn ends_a_session() -> Error {
    Error::new(ErrorKind::InvalidTransaction)
        .with_context("a transaction cannot end a session; do that before or after it")
}

/// Returns the error of a transaction that certainly had no effect.
fn not_done<D: Transactional>(error: sqlx::Error) -> Error {
    match D::transaction_failure(&error) {
        TransactionFailure::RolledBack | TransactionFailure::Failed => rolled_back(error),
        TransactionFailure::Refused => Error::with_source(ErrorKind::InvalidTransaction, error),
    }
}

/// Returns the error of a transaction that was rolled back and can run again.
fn rolled_back(source: impl StdError + Send + Sync + 'static) -> Error {
    Error::with_source(ErrorKind::Conflict, source).with_context("the transaction was rolled back")
}
