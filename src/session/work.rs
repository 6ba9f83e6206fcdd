//! A request's session while the request is under way.

use std::sync::Arc;

use super::changes::{Change, Changes, SignIn, put};
use super::lifetime::Lifetime;
use super::load::Found;
use super::reads::Reads;
use super::rotation::Presented;
use super::view::View;
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind};
use crate::event::EndReason;
use crate::record::{CommitName, Frame, Version, new_commit_name};
use crate::token::{Secret, SessionId, Token, Verifier};

/// What a request's handlers did, over what was loaded.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) base: Base,
    pub(crate) view: View,
    /// The view is the base with exactly `changes` applied, so that a first commit need not run them again.
    pub(crate) view_is_exact: bool,
    pub(crate) owner: Option<Arc<str>>,
    pub(crate) authenticated_at: Option<Timestamp>,
    pub(crate) changes: Changes,
    /// A commit that was interrupted: whether it took effect is still to be found out.
    pub(crate) stalled: Option<Box<Batch>>,
    /// The commit that was to sign the session in, from when it set out: it may take effect whatever becomes of it here.
    pub(crate) signing_in: Option<CommitName>,
    /// Sessions that this request has ended, and the store still has.
    pub(crate) endings: Vec<Ending>,
    pub(crate) outgoing: Outgoing,
    /// The request has ended the session of the client's own cookie: what it does not set anew is to be removed.
    pub(crate) ended_the_clients: bool,
    /// Why nothing more can be written.
    pub(crate) failed: Option<ErrorKind>,
    /// How often a commit has failed, and with what the last time: what was written until then was dropped.
    pub(crate) failures: u32,
    pub(crate) dropped: Option<ErrorKind>,
    /// The id that the session will be created under, where somebody knows it already.
    pub(crate) new_id: Option<SessionId>,
    /// A commit has noted the use of the session already.
    pub(crate) used: bool,
    /// Grows with each edit.
    pub(crate) edits: u64,
    /// Grows when the request ends its session and goes on with another.
    pub(crate) ends: u32,
    reads: Reads,
}

/// What a request's changes start from.
#[derive(Clone, Debug)]
pub(crate) enum Base {
    /// No session yet: a write creates one.
    Fresh,
    /// The client's secret was retired a moment ago: nothing can be read or written under it.
    Retired,
    /// A session that the store has.
    Live(Live),
    /// A session that the request which this work was detached from has yet to store.
    Promised(Promised),
}

/// A session as it was read.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    pub(crate) found: Found,
    pub(crate) presented: Presented,
    /// What the client presented, or was given since.
    pub(crate) token: Option<(Token, Verifier)>,
    /// The client came with a token of this session.
    pub(crate) is_the_clients: bool,
    /// It came in a cookie that an old key has signed or encrypted.
    pub(crate) outdated: bool,
    /// When the request has loaded it, where that is what it still goes from.
    pub(crate) loaded_at: Option<Timestamp>,
}

#[derive(Clone, Debug)]
pub(crate) struct Promised {
    pub(crate) id: SessionId,
    pub(crate) epoch: u64,
    pub(crate) owner: Option<Arc<str>>,
}

impl Promised {
    /// Whether what was found is what was promised, rather than what another made of it.
    pub(crate) fn is(&self, found: &Found) -> bool {
        found.header.epoch == self.epoch && found.record.owner() == self.owner.as_deref()
    }
}

/// One commit: changes, what they start from, and the name under which they are tried.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) base: Base,
    pub(crate) changes: Changes,
    /// The data after the changes, where that is known without running them again.
    pub(crate) result: Option<View>,
    pub(crate) attempt: Attempt,
}

/// What stays the same from one try of a commit to the next.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) name: CommitName,
    /// The secret that it issues, if it issues one, and what the record will keep of it.
    pub(crate) secret: Option<(Secret, Verifier)>,
    /// The id that it creates a session under, if it creates one.
    pub(crate) new_id: Option<SessionId>,
    /// The version over which a try may have been written whose answer is not known.
    pub(crate) in_doubt: Option<Version>,
}

impl Attempt {
    /// The token of the session that this creates, where both halves are settled.
    pub(crate) fn token(&self) -> Option<(Token, Verifier)> {
        self.token_of(self.new_id?)
    }

    /// The same, after settling what is not.
    pub(crate) fn settle_token(&mut self, now: Timestamp) -> (Token, Verifier) {
        self.token().unwrap_or_else(|| {
            let new = Token::generate(now);
            let id = *self.new_id.get_or_insert(new.id());
            let (secret, verifier) = self.secret.get_or_insert_with(|| hashed(new.secret().clone()));
            (Token::new(id, secret.clone()), *verifier)
        })
    }

    /// The token that it issues for a session.
    pub(crate) fn token_of(&self, id: SessionId) -> Option<(Token, Verifier)> {
        self.secret.as_ref().map(|(secret, verifier)| (Token::new(id, secret.clone()), *verifier))
    }
}

impl Batch {
    pub(crate) fn new(base: Base, changes: Changes) -> Self {
        // A session that is created has its secret made with its id.
        let secret = (changes.may_issue() && !matches!(base, Base::Fresh)).then(|| hashed(Secret::generate()));
        let attempt = Attempt { name: new_commit_name(), secret, new_id: None, in_doubt: None };
        Self { base, changes, result: None, attempt }
    }
}

/// A secret with its verifier: every try of a commit needs it, and it is a hash.
fn hashed(secret: Secret) -> (Secret, Verifier) {
    let verifier = secret.verifier();
    (secret, verifier)
}

/// A session to be ended.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) id: SessionId,
    /// The conditional write that marks the session as ended, where it may change hands before it is deleted.
    pub(crate) mark: Option<Box<Batch>>,
    /// That write is made.
    pub(crate) marked: bool,
    /// The commit by which the request that ends the session may have signed it in before.
    pub(crate) signing_in: Option<CommitName>,
    /// The client's own cookie names this session.
    pub(crate) clears_cookie: bool,
    /// The deletion may have reached the store.
    pub(crate) in_doubt: bool,
    pub(crate) reason: EndReason,
}

impl Ending {
    /// The end of a session that was read.
    ///
    /// One with an owner changes hands no more, so that it can be deleted outright. An anonymous one may have been signed
    /// in since, and work begun before that must not land after.
    pub(crate) fn of(live: Live, reason: EndReason) -> Self {
        let (id, clears_cookie) = (*live.found.record.id(), live.is_the_clients);
        let anonymous = live.found.record.owner().is_none();
        let changes = Changes { end: true, ..Changes::default() };
        let mark = anonymous.then(|| Box::new(Batch::new(Base::Live(live), changes)));
        Self { clears_cookie, mark, ..Self::outright(id, reason) }
    }

    /// The end of a session that another request has yet to store: it is looked for first, and must be what was promised.
    pub(crate) fn of_promised(promised: Promised, reason: EndReason) -> Self {
        let id = promised.id;
        let changes = Changes { end: true, ..Changes::default() };
        let mark = Some(Box::new(Batch::new(Base::Promised(promised), changes)));
        Self { mark, ..Self::outright(id, reason) }
    }

    /// The end of a session that may have been stored, and that nobody was told of.
    pub(crate) fn of_unknown(id: SessionId) -> Self {
        Self { in_doubt: true, ..Self::outright(id, EndReason::SignedOut) }
    }

    /// A deletion, and nothing before it.
    const fn outright(id: SessionId, reason: EndReason) -> Self {
        Self { id, mark: None, marked: false, signing_in: None, clears_cookie: false, in_doubt: false, reason }
    }
}

/// What the response says in `Set-Cookie`.
#[derive(Clone, Debug, Default)]
pub(crate) enum Outgoing {
    #[default]
    Nothing,
    Set {
        token: Token,
        max_age: Option<u64>,
    },
    Clear,
}

/// What the head of a response says of a session that is settled.
#[derive(Debug)]
pub(crate) struct Farewell {
    pub(crate) outgoing: Outgoing,
    /// The request has ended the session that its client came with.
    pub(crate) ended_the_clients: bool,
}

impl Base {
    /// Whether the last use that the store knows of was too long ago.
    pub(super) fn is_use_unnoted(&self, lifetime: Lifetime, now: Timestamp) -> bool {
        let Self::Live(live) = self else { return false };
        now.since(live.found.record.last_seen_timestamp()) >= lifetime.touch_interval()
    }

    /// Whether the client's cookie was written by an old key.
    pub(super) const fn is_outdated(&self) -> bool {
        matches!(self, Self::Live(live) if live.outdated)
    }
}

impl Work {
    pub(crate) fn new(base: Base) -> Self {
        let (view, owner, authenticated_at) = match &base {
            Base::Live(live) => (
                View::new(live.found.data.clone()),
                live.found.record.owner_shared().cloned(),
                live.found.header.authenticated_at,
            ),
            _ => (View::empty(), None, None),
        };
        Self {
            base,
            view,
            view_is_exact: true,
            owner,
            authenticated_at,
            changes: Changes::default(),
            stalled: None,
            signing_in: None,
            endings: Vec::new(),
            outgoing: Outgoing::Nothing,
            ended_the_clients: false,
            failed: None,
            failures: 0,
            dropped: None,
            new_id: None,
            used: false,
            edits: 0,
            ends: 0,
            reads: Reads::default(),
        }
    }

    pub(super) fn farewell(&self) -> Farewell {
        Farewell { outgoing: self.outgoing.clone(), ended_the_clients: self.ended_the_clients }
    }

    /// Refuses a write where there is nothing that it could be written to.
    pub(crate) fn writable(&self) -> Result<(), Error> {
        match (self.failed, &self.base) {
            (Some(kind), _) => Err(Error::new(kind)),
            (None, Base::Retired) => Err(Error::new(ErrorKind::Superseded)),
            (None, _) => Ok(()),
        }
    }

    /// Refuses a change of the token, beyond that, to one who came with a replaced secret.
    pub(crate) fn may_rotate(&self) -> Result<(), Error> {
        match &self.base {
            Base::Live(live) if live.presented == Presented::Replaced => Err(Error::new(ErrorKind::Superseded)),
            _ => Ok(()),
        }
    }

    pub(crate) fn note_read(&mut self, key: &str) {
        if self.view.is_as_loaded(key) {
            self.reads.add(key);
        }
    }

    /// Goes on from what a commit has stored, or from what the store has by now.
    pub(crate) fn rebase(&mut self, mut live: Live) {
        if let Base::Live(before) = &self.base {
            self.reads.compare(&before.found.data, &live.found.data);
            let same = before.found.record.id() == live.found.record.id();
            live.is_the_clients = before.is_the_clients && same;
        }
        self.base = Base::Live(live);
        // It is the id of this session, and of none that comes after.
        self.new_id = None;
        // A closure that is running on the view of before must run again.
        self.edits += 1;
    }

    pub(crate) fn put(&mut self, frame: Frame, limit: usize) -> Result<(), Error> {
        let read = self.reads.forget(frame.key());
        put(&mut self.view, frame.clone(), limit)?;
        self.record(Change::Put { frame, read });
        Ok(())
    }

    /// Has a session be stored even if nothing is written to it.
    pub(crate) fn create(&mut self) {
        if self.changes.is_empty() {
            self.record(Change::Nothing);
        }
    }

    /// Takes in a change that the view already shows.
    pub(crate) fn record(&mut self, change: Change) {
        self.edits += 1;
        match &change {
            Change::Put { .. } | Change::Nothing => {}
            Change::Remove(key) | Change::Update { key, .. } => {
                self.reads.forget(key);
            }
            Change::Clear => self.reads = Reads::default(),
        }
        self.changes.data.push(change);
    }

    pub(crate) fn sign_in(&mut self, owner: &str, now: Timestamp) {
        if self.owner.as_deref().is_some_and(|present| present != owner) || matches!(self.base, Base::Retired) {
            self.end(EndReason::Replaced);
            self.base = Base::Fresh;
        }
        let owner: Arc<str> = owner.into();
        self.owner = Some(Arc::clone(&owner));
        self.authenticated_at = Some(now);
        self.changes.rotate = false;
        self.changes.sign_in = Some(SignIn { owner, at: now, after: self.changes.data.len(), again: false });
        self.edits += 1;
    }

    /// The owner has proved again who it is.
    pub(crate) fn reauthenticate(&mut self, now: Timestamp) -> Result<(), Error> {
        let owner = self.owner.clone().ok_or_else(|| Error::new(ErrorKind::NotSignedIn))?;
        // What this request has signed in is a sign-in still.
        let again = self.changes.sign_in.is_none();
        self.sign_in(&owner, now);
        if let Some(sign_in) = &mut self.changes.sign_in {
            sign_in.again = again;
        }
        Ok(())
    }

    /// Ends the session; what is written after that begins another, but not under a token that was just retired.
    pub(crate) fn end(&mut self, reason: EndReason) {
        let next = if matches!(self.base, Base::Retired) { Base::Retired } else { Base::Fresh };
        let ended = std::mem::replace(self, Self::new(next));
        self.edits = ended.edits + 1;
        self.ends = ended.ends + 1;
        self.failed = ended.failed;
        self.failures = ended.failures;
        self.dropped = ended.dropped;
        self.endings = ended.endings;
        self.ended_the_clients = ended.ended_the_clients;
        if self.ended_the_clients {
            self.outgoing = Outgoing::Clear;
        }
        match ended.base {
            Base::Live(live) => {
                self.endings.push(Ending { signing_in: ended.signing_in, ..Ending::of(live, reason) });
            }
            Base::Promised(promised) => self.endings.push(Ending::of_promised(promised, reason)),
            Base::Fresh | Base::Retired => {}
        }
        // Taken up before that one, which may not be this request's to end.
        if let Some(stalled) = ended.stalled {
            self.end_created(&stalled);
        }
    }

    /// Ends what a commit has created, or may have, that nobody will be told of.
    pub(crate) fn end_created(&mut self, batch: &Batch) {
        let attempt = &batch.attempt;
        if let (Some(id), Some(_)) = (attempt.new_id, attempt.in_doubt) {
            self.endings.push(Ending::of_unknown(id));
        }
    }

    /// The lifetime that the session has, by its own or the layer's setting.
    pub(crate) fn lifetime(&self, default: Lifetime) -> Lifetime {
        let stored = match &self.base {
            Base::Live(live) => live.found.header.lifetime,
            _ => None,
        };
        self.changes.lifetime.as_deref().copied().or(stored).unwrap_or(default)
    }

    /// Forgets what was not committed.
    pub(crate) fn discard(&mut self) {
        self.changes = Changes::default();
        self.stalled = None;
        if let Base::Live(live) = &self.base {
            self.view = View::new(live.found.data.clone());
            self.owner = live.found.record.owner_shared().cloned();
            self.authenticated_at = live.found.header.authenticated_at;
        } else {
            self.view = View::empty();
            self.owner = None;
            self.authenticated_at = None;
        }
        self.view_is_exact = true;
        self.edits += 1;
    }
}
