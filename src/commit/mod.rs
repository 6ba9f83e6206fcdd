//! Commits: a change set takes effect in the store at most once, or not at all.

mod changes;
mod create;
mod end;
mod find;
#[cfg(feature = "_sql")]
mod in_transaction;
mod owner_limit;
mod source;
mod update;
mod view;

pub(crate) use self::changes::{Change, ChangeSet, Precondition, ReadState, Refresh, SignIn, Take, Update};
pub(crate) use self::end::{SessionEnd, end_by_id, end_replayed};
pub(crate) use self::find::{Found, find, find_timed, has_live_actor};
#[cfg(feature = "_sql")]
pub(crate) use self::in_transaction::{commit_alone, ends_a_session, roll_back};
pub(crate) use self::owner_limit::{end_surplus, live_sessions, unexpired_of};
pub(crate) use self::source::{PromisedSession, SessionSource};
pub(crate) use self::view::View;

use crate::clock::Timestamp;
use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::record::{CommitId, LoadedRecord, Version, new_commit_id};
use crate::token::{Secret, SessionId, Token, Verifier};

/// A change set, with the ids and the secret that every attempt reuses.
#[derive(Debug)]
pub(crate) struct PendingCommit {
    pub(crate) source: SessionSource,
    pub(crate) changes: ChangeSet,
    /// The values after the changes, if they are known without applying the changes again.
    pub(crate) result: Option<View>,
    pub(crate) id: CommitId,
    /// The id of the session that it creates, if it creates one.
    pub(crate) new_session: Option<SessionId>,
    /// The secret that it issues, if it issues one, and its verifier.
    secret: Option<(Secret, Verifier)>,
    /// Expected version of a write whose outcome is unknown.
    in_doubt: Option<Version>,
    /// It was written in a transaction of the application, so it must not be written again without that.
    #[cfg(feature = "_sql")]
    in_transaction: bool,
}

/// The outcome of a commit that took effect.
#[derive(Debug)]
pub(crate) struct Committed {
    pub(crate) loaded: LoadedRecord,
    /// The token to send to the client.
    pub(crate) issued: Option<Token>,
}

impl PendingCommit {
    pub(crate) fn new(source: SessionSource, changes: ChangeSet) -> Self {
        // A new session's secret is generated together with its id.
        let is_new = matches!(source, SessionSource::New);
        let secret = (changes.may_issue() && !is_new).then(|| with_verifier(Secret::generate()));
        Self {
            source,
            changes,
            result: None,
            id: new_commit_id(),
            new_session: None,
            secret,
            in_doubt: None,
            #[cfg(feature = "_sql")]
            in_transaction: false,
        }
    }

    /// Runs the commit to its end. If it is dropped, it can run again: it keeps the id by which its record is recognized.
    pub(crate) async fn run(&mut self, config: &Config) -> Result<Committed, Error> {
        #[cfg(feature = "_sql")]
        if self.in_transaction {
            // Boxed, since it is rare and every commit would carry this future.
            return Box::pin(self.find_outcome(config)).await;
        }
        if let SessionSource::Promised(promised) = &self.source {
            self.source = SessionSource::Loaded(find_promised(promised, config).await?);
            self.result = None;
        }
        if let SessionSource::Loaded(loaded) = &self.source {
            let loaded = loaded.clone();
            if let Some(committed) = update::update(config, loaded, self).await? {
                return Ok(committed);
            }
            // Another account owns the session by now: the sign-in and what came after it go into a new one.
            self.source = SessionSource::New;
            self.result = None;
            self.in_doubt = None;
        }
        create::create(config, self).await
    }

    /// Checks whether its session is yet to be stored by another request.
    pub(crate) const fn is_promised(&self) -> bool {
        matches!(self.source, SessionSource::Promised(_))
    }

    /// Checks whether it was written in a transaction of the application.
    pub(crate) const fn is_in_transaction(&self) -> bool {
        #[cfg(feature = "_sql")]
        return self.in_transaction;
        #[cfg(not(feature = "_sql"))]
        false
    }

    /// Checks whether it may have stored a new session without an answer.
    pub(crate) fn may_have_created(&self) -> Option<SessionId> {
        self.in_doubt.and(self.new_session)
    }

    /// Returns the token of the session that it creates, if its id and its secret are chosen.
    fn new_token(&self) -> Option<(Token, Verifier)> {
        self.token_for(self.new_session?)
    }

    /// Returns the token of the session that it creates, after choosing what is missing.
    fn choose_new_token(&mut self, now: Timestamp) -> (Token, Verifier) {
        self.new_token().unwrap_or_else(|| {
            let new = Token::generate(now);
            let id = *self.new_session.get_or_insert(new.id());
            let (secret, verifier) = self.secret.get_or_insert_with(|| with_verifier(new.secret().clone()));
            (Token::new(id, secret.clone()), *verifier)
        })
    }

    /// Returns the token that it issues for a session.
    fn token_for(&self, id: SessionId) -> Option<(Token, Verifier)> {
        self.secret.as_ref().map(|(secret, verifier)| (Token::new(id, secret.clone()), *verifier))
    }
}

/// Adds the verifier to a secret: each attempt needs it, and it is a hash.
fn with_verifier(secret: Secret) -> (Secret, Verifier) {
    let verifier = secret.verifier();
    (secret, verifier)
}

async fn find_promised(promised: &PromisedSession, config: &Config) -> Result<LoadedRecord, Error> {
    let found = find(config, &promised.id).await?.ok_or_else(|| Error::new(ErrorKind::Ended))?;
    if promised.matches(&found) { Ok(found) } else { Err(Error::new(ErrorKind::Superseded)) }
}

/// Applies changes to a view, in order.
fn apply(changes: &[Change], mut view: View, config: &Config) -> Result<View, Error> {
    for change in changes {
        change.apply(&mut view, config.limits)?;
    }
    Ok(view)
}
