//! The state of a request's session: the loaded record, and the changes of the handlers.

use std::sync::Arc;

use super::ResponseUpdate;
use super::reads::ReadSet;
use crate::clock::Timestamp;
use crate::commit::{Change, ChangeSet, PendingCommit, Precondition, SessionEnd, SessionSource, SignIn, View};
use crate::config::Limits;
use crate::error::{Error, ErrorKind};
use crate::event::EndReason;
use crate::lifetime::Lifetime;
use crate::record::{Actor, CommitId, Frame, LoadedRecord, TokenStatus};
use crate::token::{SessionId, Token};

/// Per-request session state, shared between the request's tasks.
#[derive(Debug)]
pub(crate) struct RequestState {
    pub(crate) source: SessionSource,
    pub(crate) view: View,
    pub(crate) owner: Option<Arc<str>>,
    pub(crate) authenticated_at: Option<Timestamp>,
    /// Changes that were not committed yet.
    pub(crate) changes: ChangeSet,
    /// The lifetime that the request has set for its session. A later sign-in keeps it, also if it is committed by then.
    pub(super) own_lifetime: Option<Box<Lifetime>>,
    /// A commit that was interrupted; whether it took effect is unknown.
    pub(crate) interrupted: Option<Box<PendingCommit>>,
    /// The error of every later write.
    pub(crate) failed: Option<ErrorKind>,
    /// The id that `detach` has reserved for the new session.
    pub(crate) new_id: Option<SessionId>,
    /// Grows with every change of the view, so that a closure runs again if the view has changed meanwhile.
    pub(crate) revision: u64,
    /// The view is the source with exactly `changes` applied, so that the first attempt of a commit need not apply them.
    pub(super) view_is_exact: bool,
    /// The latest commit that signs the session in. It may take effect even if this request abandons it.
    pub(super) sign_in_commit: Option<CommitId>,
    /// Sessions that this request has ended and the store still has.
    pub(super) ends: Vec<SessionEnd>,
    /// The handler has asked to end the session, whether or not there was one.
    pub(super) signs_out: bool,
    /// Number of times that the request has ended its session and gone on with another.
    pub(super) generation: u32,
    pub(super) cookie: CookieUpdate,
    /// The request has ended the session of the client's own cookie.
    pub(super) ended_client_session: bool,
    /// Number of failed commits. Each dropped the changes before it.
    pub(super) failures: u32,
    /// The error of the last failed commit.
    pub(super) dropped: Option<ErrorKind>,
    /// When this request loaded its session.
    pub(super) loaded_at: Option<Timestamp>,
    /// When this request last noted the use of the session, by a commit or a touch.
    pub(crate) used_at: Option<Timestamp>,
    /// Live sessions that the client's tokens open beside each other. The first commit that creates a session ends them.
    pub(super) rivals: Vec<LoadedRecord>,
    /// Sessions of the client's tokens past their idle timeout. Only a sign-out ends them.
    pub(super) idle: Vec<LoadedRecord>,
    /// The client sent more tokens than were tried, so that a sign-out may miss a session.
    pub(super) may_have_more: bool,
    /// The client's session, in which its actor acted as another, was not live any more.
    pub(super) is_lapsed: bool,
    /// Why this request has ended the session.
    pub(crate) end_reason: Option<EndReason>,
    /// The request demands a more recent authentication.
    pub(crate) needs_reauthentication: bool,
    reads: ReadSet,
}

/// The effect of a response on the session cookie.
#[derive(Clone, Debug, Default)]
pub(crate) enum CookieUpdate {
    #[default]
    Keep,
    Set {
        token: Token,
        /// In seconds; `None` until the browser is closed.
        max_age: Option<u64>,
    },
    Clear,
}

impl RequestState {
    pub(crate) fn new(source: SessionSource) -> Self {
        let (view, owner, authenticated_at) = values_of(&source);
        let loaded_at = source.loaded().and_then(|loaded| loaded.loaded_at);
        Self {
            source,
            view,
            owner,
            authenticated_at,
            changes: ChangeSet::default(),
            own_lifetime: None,
            interrupted: None,
            failed: None,
            new_id: None,
            revision: 0,
            view_is_exact: true,
            sign_in_commit: None,
            ends: Vec::new(),
            signs_out: false,
            generation: 0,
            cookie: CookieUpdate::Keep,
            ended_client_session: false,
            failures: 0,
            dropped: None,
            loaded_at,
            used_at: None,
            rivals: Vec::new(),
            idle: Vec::new(),
            may_have_more: false,
            is_lapsed: false,
            end_reason: None,
            needs_reauthentication: false,
            reads: ReadSet::default(),
        }
    }

    /// Returns a copy over `source` that shows the same values and owner, and has no changes.
    pub(crate) fn copy_over(&self, source: SessionSource) -> Self {
        let mut copy = Self::new(source);
        copy.view = self.view.clone();
        copy.owner = self.owner.clone();
        copy.authenticated_at = self.authenticated_at;
        copy
    }

    /// Returns a copy that has the same values and no changes, for a transaction.
    #[cfg(feature = "_sql")]
    pub(super) fn fork(&self) -> Self {
        let mut fork = self.copy_over(self.source.clone());
        fork.own_lifetime = self.own_lifetime.clone();
        fork.reads = self.reads.clone();
        fork
    }

    /// Returns an error if nothing can be written.
    pub(crate) fn check_writable(&self) -> Result<(), Error> {
        match (self.failed, &self.source) {
            (Some(kind), _) => Err(Error::new(kind)),
            (None, SessionSource::Retired(_)) => Err(Error::new(ErrorKind::Superseded)),
            (None, SessionSource::Ended(_)) => Err(Error::new(ErrorKind::Ended)),
            (None, _) => Ok(()),
        }
    }

    /// Returns an error if the client presented a replaced token, which may not change the token.
    pub(crate) fn check_may_rotate(&self) -> Result<(), Error> {
        match self.source.loaded() {
            Some(loaded) if loaded.status == TokenStatus::Replaced => Err(Error::new(ErrorKind::Superseded)),
            _ => Ok(()),
        }
    }

    /// Returns the error of an operation that needs an owner, for a session without one.
    ///
    /// Under a retired token the client may well be signed in: it has a newer token by now.
    pub(crate) fn not_signed_in(&self) -> Error {
        Error::new(match self.source {
            SessionSource::Retired(_) => ErrorKind::Superseded,
            _ => ErrorKind::NotSignedIn,
        })
    }

    /// Adds a key to the read set, unless its value is this request's own.
    pub(crate) fn note_read(&mut self, key: &str) {
        if self.view.is_as_loaded(key) {
            self.reads.add(key);
        }
    }

    /// Writes a value.
    pub(crate) fn put(&mut self, frame: Frame, limits: Limits) -> Result<(), Error> {
        self.view.put(frame.clone(), limits)?;
        let read = self.reads.remove(frame.key());
        self.record(Change::Put { frame, read });
        Ok(())
    }

    /// Stores a new session although nothing is written to it.
    pub(crate) fn create(&mut self) {
        if self.changes.is_empty() {
            self.record(Change::Create);
        }
    }

    /// Adds a change that the view already shows.
    pub(crate) fn record(&mut self, change: Change) {
        self.revision += 1;
        match &change {
            Change::Put { .. } | Change::Create => {}
            Change::Remove(key) | Change::Update { key, .. } => {
                self.reads.remove(key);
            }
            Change::Clear => self.reads = ReadSet::default(),
        }
        self.changes.values.push(change);
    }

    pub(crate) fn sign_in(&mut self, owner: &str, now: Timestamp) {
        self.sign_in_if(owner, now, None);
    }

    /// Signs in on the session only if it fits; otherwise on another one.
    pub(crate) fn sign_in_if(&mut self, owner: &str, now: Timestamp, precondition: Option<Precondition>) {
        let own_lifetime = self.own_lifetime.take();
        let is_another = self.owner.as_deref().is_some_and(|present| present != owner);
        match &self.source {
            SessionSource::Retired(loaded)
                if loaded.may_join(owner, now) && Precondition::holds(precondition.as_ref(), &loaded.data) =>
            {
                // The form was sent twice: this request joins the session of the first.
                self.source = SessionSource::Loaded(loaded.clone());
                (self.view, self.owner, self.authenticated_at) = values_of(&self.source);
            }
            SessionSource::Retired(_) | SessionSource::Ended(_) => self.start_another(EndReason::Replaced),
            _ if is_another => self.start_another(EndReason::Replaced),
            _ => {}
        }
        let owner: Arc<str> = owner.into();
        self.owner = Some(Arc::clone(&owner));
        self.authenticated_at = Some(now);
        self.changes.rotate = false;
        let after = self.changes.values.len();
        self.changes.sign_in = Some(SignIn { owner, at: now, after, again: false, actor: None, precondition });
        self.revision += 1;
        if let Some(lifetime) = own_lifetime {
            self.set_lifetime(*lifetime);
        }
    }

    /// Signs in an owner as whom another one acts.
    pub(super) fn sign_in_as(&mut self, owner: &str, actor: Actor, lifetime: Lifetime, now: Timestamp) {
        self.sign_in(owner, now);
        self.authenticated_at = None;
        if let Some(sign_in) = &mut self.changes.sign_in {
            sign_in.actor = Some(Arc::new(actor));
        }
        self.set_lifetime(lifetime);
    }

    /// Returns the owner who acts as the session's owner.
    pub(crate) fn actor(&self) -> Option<&Arc<Actor>> {
        self.changes.sign_in.as_ref().and_then(|sign_in| sign_in.actor.as_ref()).or(self.source.actor())
    }

    /// Sets the lifetime of the session.
    pub(crate) fn set_lifetime(&mut self, lifetime: Lifetime) {
        self.changes.lifetime = Some(Box::new(lifetime));
        self.own_lifetime.clone_from(&self.changes.lifetime);
        self.revision += 1;
    }

    /// Signs in again as the present owner.
    pub(crate) fn reauthenticate(&mut self, now: Timestamp) -> Result<(), Error> {
        let owner = self.owner.clone().ok_or_else(|| self.not_signed_in())?;
        // If this request also signed in, a new session may still start.
        let again = self.changes.sign_in.is_none();
        self.sign_in(&owner, now);
        if let Some(sign_in) = &mut self.changes.sign_in {
            sign_in.again = again;
        }
        Ok(())
    }

    /// Ends the session and every other live one of the client's tokens. Later writes start another one.
    ///
    /// A session that ended up to a minute ago stays as it is: later writes are refused. If the client `sent_token`, one that
    /// opens nothing, its cookie is removed.
    ///
    /// # Errors
    ///
    /// [`Superseded`](ErrorKind::Superseded) under a retired token, which ends nothing: an attacker may have planted it.
    pub(crate) fn end(&mut self, reason: EndReason, sent_token: bool) -> Result<(), Error> {
        match self.source {
            SessionSource::Retired(_) => return Err(Error::new(ErrorKind::Superseded)),
            SessionSource::Ended(_) => self.signs_out = true,
            _ => {
                let opens_nothing =
                    matches!(self.source, SessionSource::New) && self.rivals.is_empty() && self.generation == 0;
                let (idle, may_have_more) = (std::mem::take(&mut self.idle), self.may_have_more);
                let is_live = matches!(self.source, SessionSource::Loaded(_) | SessionSource::Promised(_));
                self.start_another(reason);
                self.end_reason = is_live.then_some(reason).or(self.end_reason);
                self.ends.extend(idle.into_iter().map(|idle| SessionEnd::new(idle, reason)));
                self.signs_out = true;
                if may_have_more {
                    self.failed = Some(ErrorKind::Unavailable);
                }
                if sent_token && opens_nothing {
                    self.cookie = CookieUpdate::Clear;
                }
            }
        }
        Ok(())
    }

    /// Ends the session, if there is one, so that later writes start another.
    fn start_another(&mut self, reason: EndReason) {
        let ended = std::mem::replace(self, Self::new(SessionSource::New));
        self.revision = ended.revision + 1;
        self.generation = ended.generation + 1;
        self.signs_out = ended.signs_out;
        // The session in which an owner acts as another has no successor: the next request has the actor's own.
        self.failed = ended.failed.or(ended.actor().map(|_| ErrorKind::Ended));
        self.failures = ended.failures;
        self.dropped = ended.dropped;
        self.ends = ended.ends;
        self.end_reason = ended.end_reason;
        self.ended_client_session = ended.ended_client_session;
        if self.ended_client_session || matches!(ended.cookie, CookieUpdate::Clear) {
            self.cookie = CookieUpdate::Clear;
        }
        match ended.source {
            SessionSource::Loaded(loaded) => {
                self.ends.push(SessionEnd::new(loaded, reason).with_sign_in_commit(ended.sign_in_commit));
            }
            SessionSource::Promised(promised) => self.ends.push(SessionEnd::from_promised(promised, reason)),
            SessionSource::New | SessionSource::Retired(_) | SessionSource::Ended(_) => {}
        }
        if reason == EndReason::Replaced {
            // The rivals of a session that another sign-in replaces end with the commit of that.
            self.rivals = ended.rivals;
        } else {
            self.ends.extend(ended.rivals.into_iter().map(|rival| SessionEnd::new(rival, reason)));
        }
        // Pushed last and so run first: it must not depend on the other end, which may fail.
        if let Some(interrupted) = ended.interrupted {
            self.end_created(&interrupted);
        }
    }

    /// Ends a session that a commit may have created, whose token no client will receive.
    pub(super) fn end_created(&mut self, commit: &PendingCommit) {
        if let Some(id) = commit.may_have_created() {
            let owner = commit.changes.sign_in.as_ref().map(|sign_in| Arc::clone(&sign_in.owner));
            self.ends.push(SessionEnd::from_unknown(id, owner));
        }
    }

    /// Ends the rivals of the session that the request has just created.
    pub(super) fn end_rivals(&mut self) {
        for mut rival in std::mem::take(&mut self.rivals) {
            // The response sets the cookie of the new session.
            rival.is_from_client = false;
            self.ends.push(SessionEnd::new(rival, EndReason::Ambiguous));
        }
    }

    /// Drops what was not committed.
    pub(crate) fn discard(&mut self) {
        self.changes = ChangeSet::default();
        self.interrupted = None;
        if let SessionSource::Loaded(loaded) = &self.source
            && loaded.status == TokenStatus::Retired
        {
            // The sign-in that was to join the session is dropped.
            self.source = SessionSource::Retired(loaded.clone());
        }
        (self.view, self.owner, self.authenticated_at) = values_of(&self.source);
        self.view_is_exact = true;
        self.revision += 1;
    }

    /// Continues from a newer record of the session.
    pub(super) fn rebase(&mut self, mut loaded: LoadedRecord) {
        if let Some(before) = self.source.loaded() {
            self.reads.mark_outdated(&before.data, &loaded.data);
            loaded.is_from_client = before.is_from_client && before.record.id() == loaded.record.id();
        }
        self.source = SessionSource::Loaded(loaded);
        // The id belongs to this session and to none that follows it.
        self.new_id = None;
        self.revision += 1;
        if self.changes.is_empty() {
            (self.view, self.owner, self.authenticated_at) = values_of(&self.source);
            self.view_is_exact = true;
        } else {
            self.view_is_exact = false;
        }
    }

    pub(super) fn response_update(&self) -> ResponseUpdate {
        ResponseUpdate { cookie: self.cookie.clone(), ended_client_session: self.ended_client_session }
    }

    /// Returns the lifetime of the session: set by this request, stored before a sign-in, or the default.
    pub(crate) fn lifetime(&self, default: Lifetime) -> Lifetime {
        let stored = self.source.loaded().filter(|_| !self.changes.begins_anew());
        let stored = stored.and_then(|loaded| loaded.header.lifetime);
        self.changes.lifetime.as_deref().copied().or(stored).unwrap_or(default)
    }
}

fn values_of(source: &SessionSource) -> (View, Option<Arc<str>>, Option<Timestamp>) {
    match source.loaded() {
        Some(loaded) => {
            let owner = loaded.record.owner_shared().cloned();
            (View::new(loaded.data.clone()), owner, loaded.header.authenticated_at)
        }
        None => (View::empty(), None, None),
    }
}
