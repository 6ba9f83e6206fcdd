//! Committing the session in a transaction with the application's own tables.

use std::error::Error as StdError;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use sqlx::error::DatabaseError;
use sqlx::{Database, Pool, Transaction};

use super::Session;
use crate::commit::roll_back;
use crate::error::{Error, ErrorKind};
use crate::request::PreparedWrite;
use crate::store::{SqlParameter, TransactionFailure, Transactional};

/// Maximum number of runs of one [`transact`](Session::transact).
const MAX_RUNS: u32 = 8;

/// # Transactions with the application's own tables
///
/// These need a store in the same SQL database. [The guide][guide] explains them.
///
#[cfg_attr(doc, doc = "[guide]: crate::guide::transactions")]
#[expect(private_bounds, reason = "the bound limits the methods to the databases of this crate")]
impl<M> Session<M> {
    /// Commits a transaction of the application together with changes of the session: both, or neither.
    ///
    /// The session is written by the last statement of the transaction, together with the changes that this request has made
    /// before. The changes of the closure exist nowhere else: after any error the session is as if it had not run. Earlier
    /// changes then stay pending, except after `Unavailable`, `Superseded` and `Ended`, as after a failed
    /// [`commit`](Session::commit).
    ///
    /// The transaction must come from a pool of the store's database: `pool.begin()`, or `pool.begin_with("BEGIN IMMEDIATE")` with
    /// SQLite. If the future is dropped, the transaction is rolled back or committed as a whole.
    ///
    /// # Errors
    ///
    /// After any error but [`Unavailable`](ErrorKind::Unavailable) the transaction was rolled back.
    ///
    /// - [`Conflict`](ErrorKind::Conflict): another request committed the session, or the database failed or resolved a conflict.
    ///   [Reload](Session::reload) the session and run the whole transaction again, which [`transact`](Session::transact) does.
    /// - [`Unavailable`](ErrorKind::Unavailable): the answer to `COMMIT` was lost, and the session's record does not show whether it
    ///   took effect. The response fails with 503.
    /// - [`Ended`](ErrorKind::Ended), [`Superseded`](ErrorKind::Superseded): the session has ended or changed hands.
    /// - [`InvalidTransaction`](ErrorKind::InvalidTransaction): the transaction is on another database, the store is in none, the
    ///   changes end a session (as a sign-in over another owner does), the outcome of an earlier commit of this request is unknown,
    ///   or the database refused the statement or, for a deferred constraint, the `COMMIT`.
    /// - [`Detached`](ErrorKind::Detached): the session is [detached](Session::detach) and was not stored yet.
    /// - Those of the closure, and of [`insert`](Session::insert).
    pub async fn commit_with<D, T, F>(&self, transaction: Transaction<'static, D>, changes: F) -> Result<T, Error>
    where
        D: Transactional,
        F: FnOnce(&Self) -> Result<T, Error>,
    {
        let fork = || {
            let fork = self.request.fork()?;
            let value = changes(&Self::new(Arc::clone(fork.session())))?;
            Ok((fork, value))
        };
        match fork() {
            Ok((fork, value)) => self.request.commit_in(fork, transaction).await.map(|()| value),
            Err(error) => roll_back(transaction, error).await,
        }
    }

    /// Runs a closure in a transaction, commits that together with the closure's changes of the session, and runs it again after
    /// a conflict.
    ///
    /// The closure gets the open transaction and the session. Changes of this session exist nowhere else, as those of
    /// [`commit_with`](Session::commit_with), and it cannot commit them by itself. If the closure returns an error, the
    /// transaction is rolled back. Changes that this request has made before are committed first.
    ///
    /// A conflict is a commit of another request, a deadlock or serialization failure of the database, or a lost connection
    /// before the `COMMIT`. The session is then reloaded, and the closure runs up to eight times. To recognize a failure of the
    /// database in a statement of the closure, its `sqlx::Error` must be the closure's error or among its
    /// [sources](std::error::Error::source).
    ///
    /// # Errors
    ///
    /// That of the closure, those of [`commit_with`](Session::commit_with) and of [`reload`](Session::reload), and
    /// `sqlx::Error` if the transaction cannot begin.
    pub async fn transact<D, T, E, F, R>(&self, pool: &Pool<D>, mut work: F) -> Result<T, E>
    where
        D: Transactional,
        F: FnMut(OpenTransaction<D>, Self) -> R,
        R: Future<Output = Result<T, E>>,
        E: StdError + From<Error> + From<sqlx::Error> + 'static,
    {
        let config = self.request.config();
        let began = Instant::now();
        let is_late = || began.elapsed() >= config.commit_deadline;
        let mut place = None;
        self.request.commit().await?;
        let mut run = 0;
        loop {
            run += 1;
            match self.transact_once(pool, &mut work).await {
                Ok(value) => return Ok(value),
                Err(failure) if run == MAX_RUNS || !failure.is_conflict => return Err(failure.error),
                Err(_) => {}
            }
            // Of the commits of this process that have lost a race for the session, one runs at a time.
            if let (None, Some(id)) = (&place, self.id()) {
                place = Some(config.queue.enter(id));
            }
            let has_waited = match &mut place {
                Some(place) => place.wait(|| config.idle(), is_late).await,
                None => false,
            };
            if !has_waited {
                config.store.back_off(run).await;
            }
            self.reload().await?;
        }
    }

    async fn transact_once<D, T, E, F, R>(&self, pool: &Pool<D>, work: &mut F) -> Result<T, Failure<E>>
    where
        D: Transactional,
        F: FnMut(OpenTransaction<D>, Self) -> R,
        R: Future<Output = Result<T, E>>,
        E: StdError + From<Error> + From<sqlx::Error> + 'static,
    {
        let transaction = D::begin(pool).await.map_err(|error| {
            let is_conflict = D::transaction_failure(&error) == TransactionFailure::RolledBack;
            Failure { error: error.into(), is_conflict }
        })?;
        let fork = self.request.fork().map_err(Failure::of_session)?;
        let (open, lent) = OpenTransaction::lend(transaction);
        let result = work(open, Self::new(Arc::clone(fork.session()))).await;
        let Some(transaction) = lent.take() else {
            let context = "the closure kept the transaction";
            return Err(Failure::of_session(Error::new(ErrorKind::InvalidTransaction).with_context(context)));
        };
        match result {
            Ok(value) => self.request.commit_in(fork, transaction).await.map(|()| value).map_err(Failure::of_session),
            Err(error) => {
                let _ = transaction.rollback().await;
                Err(Failure::of_closure::<D>(error))
            }
        }
    }

    /// Prepares changes of the session as a statement that the application runs last in its own transaction.
    ///
    /// For applications whose transactions are not those of sqlx. Call it before the transaction begins: it first commits the
    /// changes that this request has made before. The changes of the closure exist nowhere else until
    /// [`outcome`](SessionWrite::outcome) confirms them. If another owner acts as this one, the actor's own session is checked
    /// here, and not when the transaction is committed.
    ///
    /// # Errors
    ///
    /// Those of [`commit`](Session::commit), of the closure, and [`InvalidTransaction`](ErrorKind::InvalidTransaction) and
    /// [`Detached`](ErrorKind::Detached) as for [`commit_with`](Session::commit_with).
    pub async fn prepare_write<F>(&self, changes: F) -> Result<SessionWrite, Error>
    where
        F: FnOnce(&Self) -> Result<(), Error>,
    {
        self.request.commit().await?;
        self.request.check_actor_is_live().await?;
        let fork = self.request.fork()?;
        changes(&Self::new(Arc::clone(fork.session())))?;
        self.request.prepare_write(fork).map(SessionWrite)
    }
}

/// A transaction that [`transact`](Session::transact) has begun and will commit.
///
/// It dereferences to the transaction of sqlx: a statement runs on `&mut **transaction`.
pub struct OpenTransaction<D: Database> {
    transaction: Option<Transaction<'static, D>>,
    lent: Arc<Lent<D>>,
}

/// The place to which an [`OpenTransaction`] returns its transaction.
struct Lent<D: Database>(Mutex<Option<Transaction<'static, D>>>);

impl<D: Database> Lent<D> {
    fn take(&self) -> Option<Transaction<'static, D>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<D: Database> OpenTransaction<D> {
    fn lend(transaction: Transaction<'static, D>) -> (Self, Arc<Lent<D>>) {
        let lent = Arc::new(Lent(Mutex::new(None)));
        (Self { transaction: Some(transaction), lent: Arc::clone(&lent) }, lent)
    }
}

impl<D: Database> Deref for OpenTransaction<D> {
    type Target = Transaction<'static, D>;

    fn deref(&self) -> &Self::Target {
        self.transaction.as_ref().expect("it has its transaction until it is dropped")
    }
}

impl<D: Database> DerefMut for OpenTransaction<D> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.transaction.as_mut().expect("it has its transaction until it is dropped")
    }
}

impl<D: Database> Drop for OpenTransaction<D> {
    fn drop(&mut self) {
        *self.lent.0.lock().unwrap_or_else(PoisonError::into_inner) = self.transaction.take();
    }
}

impl<D: Database> fmt::Debug for OpenTransaction<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenTransaction")
    }
}

/// Changes of a session, as a statement that the application runs last in its own transaction.
///
/// Run it as the last statement, roll back if it changed no row, and call [`outcome`](Self::outcome) when the transaction is over,
/// which is what decides: MySQL also counts a row if a new session's id was taken. Commit nothing else of the session before. If this is dropped instead, the request goes on as if the changes had not been made: drop it only after a rollback.
#[must_use = "the outcome of the transaction decides on the response"]
pub struct SessionWrite(PreparedWrite);

impl SessionWrite {
    /// Returns the name of the database: `"PostgreSQL"`, `"MySQL"` or `"SQLite"`.
    #[must_use]
    pub const fn database(&self) -> &'static str {
        self.0.write.database()
    }

    /// Returns the statement. Its parameters are `$1`, `$2`, … in PostgreSQL and SQLite, and `?` in MySQL and MariaDB.
    #[must_use]
    pub fn sql(&self) -> &str {
        self.0.write.sql()
    }

    /// Returns the values to bind, in the order of the parameters.
    #[must_use]
    pub fn parameters(&self) -> &[SqlParameter] {
        self.0.write.parameters()
    }

    /// Reads the session's record to find out whether the transaction was committed, and sends a new token with the response.
    ///
    /// Call it when the transaction is over, also if the answer to `COMMIT` was lost, and not within it.
    ///
    /// # Errors
    ///
    /// - [`Conflict`](ErrorKind::Conflict): another request committed the session, and this transaction had no effect.
    ///   [Reload](Session::reload) the session and run the whole again.
    /// - [`Ended`](ErrorKind::Ended), [`Superseded`](ErrorKind::Superseded): the session has ended or changed hands instead.
    /// - [`Unavailable`](ErrorKind::Unavailable): the record does not show the write. The transaction was rolled back, or is on
    ///   another database, or its `COMMIT` is still under way. The response fails with 503.
    pub async fn outcome(self) -> Result<(), Error> {
        self.0.outcome().await
    }
}

impl fmt::Debug for SessionWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionWrite").field(&self.0.write).finish()
    }
}

/// The failure of one run.
struct Failure<E> {
    error: E,
    /// Another run may succeed.
    is_conflict: bool,
}

impl<E> Failure<E> {
    fn of_session(error: Error) -> Self
    where
        E: From<Error>,
    {
        Self { is_conflict: error.kind() == ErrorKind::Conflict, error: error.into() }
    }

    /// Looks for an error of the database or of a session in an error of the closure.
    fn of_closure<D: Transactional>(error: E) -> Self
    where
        E: StdError + 'static,
    {
        let mut is_conflict = false;
        let mut next: Option<&(dyn StdError + 'static)> = Some(&error);
        while let Some(error) = next {
            // A transparent error shows the database's error instead of that of sqlx.
            let of_database = match error.downcast_ref::<sqlx::Error>() {
                Some(error) => error.as_database_error(),
                None => error.downcast_ref::<Box<dyn DatabaseError>>().map(|error| &**error),
            };
            is_conflict |= of_database.is_some_and(D::is_conflict)
                || error.downcast_ref::<Error>().is_some_and(|error| error.kind() == ErrorKind::Conflict);
            next = error.source();
        }
        Self { error, is_conflict }
    }
}
