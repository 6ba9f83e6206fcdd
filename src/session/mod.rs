//! The session as a handler uses it.

pub mod csrf;
#[cfg(feature = "axum")]
mod extract;
pub mod flash;
mod handle;
pub mod key;
pub mod passive;
mod times;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod transaction;

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;

#[cfg(feature = "axum")]
pub use self::extract::{RecentlySignedIn, SignedIn};
#[cfg(feature = "axum")]
pub(crate) use self::extract::{missing_layer, or_nobody};
pub use self::handle::SessionHandle;
pub use self::key::Field;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
pub use self::transaction::{OpenTransaction, SessionWrite};

use self::key::{InsertKey, Key, KeyName};
use crate::commit::{Change, Precondition, PromisedSession, SessionSource, Take, Update};
use crate::error::{Error, ErrorKind};
use crate::event::EndReason;
use crate::lifetime::Lifetime;
use crate::record::{NOTES_KEY, decode, encode, is_beside_values};
use crate::request::RequestSession;
use crate::token::SessionId;

/// Maximum number of runs of one closure: one that changes its own session would never end.
const MAX_CLOSURE_RUNS: usize = 100;

/// Most notes of a session.
const MAX_NOTES: usize = 8;
/// Most bytes of a note, its name included.
const MAX_NOTE_LENGTH: usize = 256;

/// The notes of a session, by name.
pub(crate) type Notes = BTreeMap<String, String>;

pub(crate) const NOTES: Field<Notes> = Field::new(NOTES_KEY);

/// A loaded session.
///
/// Reads and writes are synchronous and in memory. The response commits what was written, unless it
/// [reports a failure](crate::SessionLayerBuilder::with_commit_on) such as a status of 5xx;
/// [`commit`](Session::commit) and the `_now` calls commit at once. Clones are the same session.
///
/// Many requests may change a session at the same time. Each keeps its changes as a *change set*, which is applied again if
/// another request has committed in between: different keys merge, [`update`](Session::update) closures run one after another,
/// and of two [`insert`](Session::insert)s of one key the later stays. No change that was answered with success is lost.
///
/// A new session is stored, and its cookie sent, when something is written to it. A visitor without writes gets no cookie.
///
/// Keys that begin with `sessile.` are the crate's own. Let no client choose a key: a value under one of them can sign its user out.
///
/// The type `M` tells the sessions of several layers apart: those of a layer
/// [`with_marker::<Admin>`](crate::SessionLayer::with_marker) are `Session<Admin>`.
///
/// ```
/// use sessile::{Error, Session};
///
/// async fn visits(session: Session) -> Result<String, Error> {
///     let n = session.update_now("visits", |n: &mut u32| { *n += 1; *n }).await?;
///     Ok(format!("visit {n}"))
/// }
/// ```
pub struct Session<M = ()> {
    request: Arc<RequestSession>,
    marker: PhantomData<fn() -> M>,
}

/// # Values
impl<M> Session<M> {
    /// Returns the value of a key, if it has one.
    ///
    /// ```
    /// # use sessile::{Error, Field, Session};
    /// # async fn handler(session: Session) -> Result<(), Error> {
    /// const THEME: Field<String> = Field::new("theme");
    /// let theme = session.get(THEME)?;
    /// let visits = session.get::<u32>("visits")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`](ErrorKind::TypeMismatch) if the value is of another type.
    pub fn get<T: DeserializeOwned>(&self, key: impl Key<T>) -> Result<Option<T>, Error> {
        let key = key.name();
        let value = {
            let mut state = self.request.state();
            state.note_read(key);
            state.view.get(key)
        };
        value.map(|value| decode(key, value.as_bytes())).transpose()
    }

    /// Writes a value. The last write to a key wins.
    ///
    /// To change a value depending on what it was, use [`update`](Session::update): an `insert` of a value that this request has
    /// read overwrites what another request has written in between. The layer reports that as an event, and refuses it under
    /// [strict writes](crate::SessionLayerBuilder::with_strict_writes).
    ///
    /// A [`Field<String>`](Field) also takes a `&str`, and a `Field<Vec<T>>` a `&[T]`.
    ///
    /// Values are stored as [MessagePack](https://msgpack.org), which keeps what serde's data model keeps, with these exceptions:
    ///
    /// - `Some(None)` and `Some(())` are read as `None`.
    /// - Under serde's attributes `flatten`, `untagged` and `tag`, a value is buffered without its type. Some types cannot be read
    ///   there, such as `u128`, `i128` and `IpAddr`: store them as text, or under another key.
    /// - A number of `serde_json` with more digits than an `f64` has, under its feature `arbitrary_precision`, is read only as a
    ///   `serde_json::Number` or `Value`.
    ///
    /// A value that no type could read is refused: one nested 128 levels deep, a `serde_json` raw value, or one whose `Serialize`
    /// announces more or fewer elements than it writes.
    ///
    /// ```
    /// # use sessile::{Error, Field, Session};
    /// # async fn handler(session: Session) -> Result<(), Error> {
    /// const NAME: Field<String> = Field::new("name");
    /// const TAGS: Field<Vec<u32>> = Field::new("tags");
    /// session.insert(NAME, "Ada")?;
    /// session.insert(TAGS, [1, 2].as_slice())?;
    /// session.insert(TAGS, &Vec::new())?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Serialize`](ErrorKind::Serialize) if the value cannot be serialized; the old value stays.
    /// - [`TooLarge`](ErrorKind::TooLarge) if the session would exceed its limit of bytes or of keys; the old value stays.
    /// - [`ResponseSent`](ErrorKind::ResponseSent) after the head of the response was sent.
    /// - [`Superseded`](ErrorKind::Superseded) if the client's token was retired within the last 30 seconds,
    ///   [`Ended`](ErrorKind::Ended) if its session was ended within the last minute.
    pub fn insert<T: Serialize + ?Sized>(&self, key: impl InsertKey<T>, value: &T) -> Result<(), Error> {
        let frame = encode(key.name(), value)?;
        self.request.state_for_write()?.put(frame, self.request.config().limits)
    }

    /// Removes a value; returns whether there was one.
    ///
    /// If the key has no value in this session as loaded, nothing is written: a value that another request inserts meanwhile
    /// stays.
    ///
    /// # Errors
    ///
    /// [`ResponseSent`](ErrorKind::ResponseSent) and [`Superseded`](ErrorKind::Superseded), as for [`insert`](Session::insert).
    pub fn remove(&self, key: impl KeyName) -> Result<bool, Error> {
        let mut state = self.request.state_for_write()?;
        if state.view.get(key.name()).is_none() {
            return Ok(false);
        }
        state.view.remove(key.name());
        state.record(Change::Remove(key.into_name()));
        Ok(true)
    }

    /// Removes all values. The session keeps its id, its owner, its token, its [notes](Session::note), and the
    /// [stamps](crate::user::Stamp) of its user's credentials.
    ///
    /// # Errors
    ///
    /// [`ResponseSent`](ErrorKind::ResponseSent) and [`Superseded`](ErrorKind::Superseded), as for [`insert`](Session::insert).
    pub fn clear(&self) -> Result<(), Error> {
        let mut state = self.request.state_for_write()?;
        let cleared = state.view.cleared();
        if cleared.len() == state.view.len() {
            return Ok(());
        }
        state.view = cleared;
        state.record(Change::Clear);
        Ok(())
    }

    /// Checks whether a key has a value.
    #[must_use]
    pub fn contains(&self, key: impl KeyName) -> bool {
        let mut state = self.request.state();
        state.note_read(key.name());
        state.view.get(key.name()).is_some()
    }

    /// Returns the keys that have a value.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let mut keys = self.request.state().view.keys();
        keys.retain(|key| !is_beside_values(key));
        keys
    }

    /// Changes a value in place. A missing value starts from its default.
    ///
    /// The closure runs now, on the values that this request sees, and again if another request has changed the session before
    /// this one commits. So counters and lists are exact. It returns nothing, since the result of this run may not be what is
    /// stored; [`update_now`](Session::update_now) returns what is.
    ///
    /// ```
    /// # use sessile::{Error, Session};
    /// # async fn handler(session: Session, item: String) -> Result<(), Error> {
    /// session.update("cart", move |cart: &mut Vec<String>| cart.push(item))
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`](ErrorKind::TypeMismatch) if the present value is of another type, and those of
    /// [`insert`](Session::insert).
    pub fn update<T, F>(&self, key: impl Key<T>, closure: F) -> Result<(), Error>
    where
        T: Serialize + DeserializeOwned + Default + 'static,
        F: FnOnce(&mut T) + Clone + Send + 'static,
    {
        self.apply(Change::Update { key: key.into_name(), update: Box::new(Update::<T, F>::new(closure)) })
    }

    /// [Updates](Session::update) a value, [commits](Session::commit), and returns the result of the stored run.
    ///
    /// No two requests get the same number from one counter. The call also commits everything that was written before; the
    /// status of the response does not undo it.
    ///
    /// # Errors
    ///
    /// Those of [`update`](Session::update) and of [`commit`](Session::commit).
    pub async fn update_now<T, R, F>(&self, key: impl Key<T>, closure: F) -> Result<R, Error>
    where
        T: Serialize + DeserializeOwned + Default + 'static,
        R: Send + 'static,
        F: FnOnce(&mut T) -> R + Clone + Send + 'static,
    {
        let result = LastResult::default();
        let each = result.clone();
        self.update(key, move |value: &mut T| each.put(closure(value)))?;
        self.commit().await?;
        result.take()
    }

    /// Removes a value, [commits](Session::commit), and returns the value.
    ///
    /// Exactly one of several concurrent requests gets the value. If there was none when the session was loaded, nothing is
    /// written. The call also commits everything that was written before; the status of the response does not undo it.
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`](ErrorKind::TypeMismatch) if the value is of another type, and those of [`commit`](Session::commit).
    pub async fn take_now<T>(&self, key: impl Key<T>) -> Result<Option<T>, Error>
    where
        T: DeserializeOwned + Send + 'static,
    {
        {
            let state = self.request.state();
            state.check_writable()?;
            if state.view.get(key.name()).is_none() {
                return Ok(None);
            }
        }
        let result = LastResult::default();
        let each = result.clone();
        let take = Take::<T, _>::new(move |value| each.put(value));
        self.apply(Change::Update { key: key.into_name(), update: Box::new(take) })?;
        self.commit().await?;
        result.take()
    }

    /// Applies a change that runs a closure: outside the lock, and again if the view has changed meanwhile.
    fn apply(&self, change: Change) -> Result<(), Error> {
        let limits = self.request.config().limits;
        for _ in 0..MAX_CLOSURE_RUNS {
            let (mut view, revision) = {
                let state = self.request.state_for_write()?;
                (state.view.clone(), state.revision)
            };
            change.apply(&mut view, limits)?;
            let mut state = self.request.state_for_write()?;
            if state.revision == revision {
                state.view = view;
                state.record(change);
                return Ok(());
            }
        }
        Err(Error::new(ErrorKind::Conflict).with_context("the closure changes the session that it runs on"))
    }
}

/// # Notes
impl<M> Session<M> {
    /// Adds a note for [the list of the owner's sessions](crate::StoredSession::notes), such as the user agent.
    ///
    /// The layer adds no note by itself, since such data is personal. A note that is already there costs nothing. Control
    /// characters become spaces, and a note is cut to 256 bytes, its name included. Of more than eight notes the last by name are
    /// removed. Notes stand beside the values: [`keys`](Session::keys) does not list them, and [`clear`](Session::clear) keeps
    /// them.
    ///
    /// ```
    /// # use sessile::{Error, Session};
    /// # async fn handler(session: Session, headers: http::HeaderMap) -> Result<(), Error> {
    /// session.sign_in("user:42")?;
    /// if let Some(agent) = headers.get("user-agent").and_then(|agent| agent.to_str().ok()) {
    ///     session.note("user_agent", agent)?;
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`update`](Session::update).
    pub fn note(&self, name: &str, text: &str) -> Result<(), Error> {
        let name = one_line(name, MAX_NOTE_LENGTH);
        let text = one_line(text, MAX_NOTE_LENGTH - name.len());
        if self.get(NOTES)?.is_some_and(|notes| notes.get(&name) == Some(&text)) {
            return Ok(());
        }
        self.update(NOTES, move |notes| {
            notes.insert(name, text);
            while notes.len() > MAX_NOTES {
                notes.pop_last();
            }
        })
    }
}

/// # Signing in and out
impl<M> Session<M> {
    /// Returns the id; `None` for a session that is not stored yet.
    #[must_use]
    pub fn id(&self) -> Option<SessionId> {
        match &self.request.state().source {
            SessionSource::Loaded(loaded) => Some(*loaded.record.id()),
            SessionSource::Promised(promised) => Some(promised.id),
            SessionSource::New | SessionSource::Retired(_) | SessionSource::Ended(_) => None,
        }
    }

    /// Checks whether the session is not stored yet.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.id().is_none()
    }

    /// Returns the owner; `None` if the session is not signed in.
    #[must_use]
    pub fn owner(&self) -> Option<Arc<str>> {
        self.request.state().owner.clone()
    }

    /// Returns the owner who [acts](crate::acting) as the owner of this session.
    #[must_use]
    pub fn actor(&self) -> Option<Arc<str>> {
        self.request.state().actor().map(|actor| Arc::clone(&actor.owner))
    }

    /// Returns the own session of the owner who [acts](crate::acting) as the owner of this one.
    ///
    /// It is for what concerns the actor alone, such as a message after this session ends. `None` also for a
    /// [detached](Session::detach) session and in a transaction; [`actor`](Session::actor) tells whether another owner acts.
    #[must_use]
    pub fn actor_session(&self) -> Option<Self> {
        self.request.actors_own().filter(|own| own.is_loaded()).map(|own| Self::new(Arc::clone(own)))
    }

    /// Returns when the owner signed in. `None` if another owner [acts](crate::acting) as this one.
    #[must_use]
    pub fn authenticated_at(&self) -> Option<OffsetDateTime> {
        self.request.state().authenticated_at.map(Into::into)
    }

    /// Returns why the session of the client's token ended, if that was within the last minute, or by this request.
    ///
    /// A page can tell its user, for example, that another sign-in has ended this one. Sessions that
    /// [`end_all_of`](crate::Sessions::end_all_of) ended, and expired ones, give no reason.
    #[must_use]
    pub fn end_reason(&self) -> Option<EndReason> {
        let state = self.request.state();
        match &state.source {
            SessionSource::Ended(mark) => mark.header.ended,
            _ if state.owner.is_none() => state.end_reason,
            _ => None,
        }
    }

    /// Signs in an owner: call it after the client has authenticated.
    ///
    /// Sets the owner, rotates the token, restarts both timeouts, and keeps the values of the anonymous session (OWASP ASVS 5.0
    /// V7.2.4). Requests under the old token fail from then on. If another owner is signed in, that session ends, and a new one
    /// starts with a new id and no values.
    ///
    /// The session has the layer's lifetime, unless the same request [sets](Session::set_lifetime) another, before or after this
    /// call: "remember me" ends with the next sign-in.
    ///
    /// ```
    /// # use sessile::{Error, Session};
    /// # struct User { id: u64 }
    /// async fn sign_in(session: Session, user: User) -> Result<(), Error> {
    ///     session.sign_in(&format!("user:{}", user.id))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ResponseSent`](ErrorKind::ResponseSent), [`Detached`](ErrorKind::Detached),
    /// [`ActingAsAnother`](ErrorKind::ActingAsAnother), and [`Superseded`](ErrorKind::Superseded) if the client presented a token
    /// that a refresh has replaced.
    pub fn sign_in(&self, owner: &str) -> Result<(), Error> {
        self.sign_in_if(owner, None)
    }

    /// Signs in on this session, or on another one if a change of this one that is not loaded yet violates the condition.
    pub(crate) fn sign_in_if(&self, owner: &str, precondition: Option<Precondition>) -> Result<(), Error> {
        self.request.check_is_not_acting()?;
        let now = self.request.config().clock.now();
        let mut state = self.request.state_for_rotation()?;
        if !matches!(state.source, SessionSource::Retired(_) | SessionSource::Ended(_)) {
            state.check_writable()?;
        }
        state.sign_in_if(owner, now, precondition);
        Ok(())
    }

    /// Notes that the owner has authenticated again, rotates the token, and restarts both timeouts.
    ///
    /// Call it when an action requires a recent proof (NIST SP 800-63B-4 §5.2; OWASP ASVS 5.0 V7.5.3). The session keeps its id,
    /// its values, and the lifetime that [`set_lifetime`](Session::set_lifetime) gave it. Otherwise it has the effect of
    /// [`sign_in`](Session::sign_in) by the present owner, except that no other session starts, and no cookie is sent, if this
    /// one is ended meanwhile.
    ///
    /// # Errors
    ///
    /// [`NotSignedIn`](ErrorKind::NotSignedIn) if the session has no owner, and those of [`sign_in`](Session::sign_in).
    pub fn reauthenticate(&self) -> Result<(), Error> {
        self.request.check_is_not_acting()?;
        let now = self.request.config().clock.now();
        let mut state = self.request.state_for_rotation()?;
        state.check_writable()?;
        state.reauthenticate(now)
    }

    /// Checks that the owner authenticated at most `age` ago.
    ///
    /// ```
    /// use std::time::Duration;
    /// use sessile::{Error, Session};
    ///
    /// async fn change_password(session: Session) -> Result<(), Error> {
    ///     session.require_recent(Duration::from_secs(5 * 60))?;
    ///     // …
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ReauthenticationRequired`](ErrorKind::ReauthenticationRequired) if it was longer ago, and
    /// [`NotSignedIn`](ErrorKind::NotSignedIn) if the session has no owner. Both are a 401.
    /// [`ActingAsAnother`](ErrorKind::ActingAsAnother), a 403, if another owner acts as this one.
    pub fn require_recent(&self, age: Duration) -> Result<(), Error> {
        let now = self.request.config().clock.now();
        let mut state = self.request.state();
        match (&state.owner, state.authenticated_at) {
            (Some(_), Some(at)) if now.since(at) <= age => Ok(()),
            (Some(_), _) if state.actor().is_some() => Err(Error::new(ErrorKind::ActingAsAnother)),
            (Some(_), _) => {
                state.needs_reauthentication = true;
                Err(Error::new(ErrorKind::ReauthenticationRequired))
            }
            (None, _) => Err(state.not_signed_in()),
        }
    }

    /// Signs out. The same as [`end`](Session::end).
    ///
    /// # Errors
    ///
    /// Those of [`end`](Session::end).
    pub fn sign_out(&self) -> Result<(), Error> {
        self.end()
    }

    /// Ends the session, with all its values, and removes the client's cookie.
    ///
    /// Nothing revives an ended session: later writes of other requests are dropped. The response ends it, whatever its
    /// status; [`commit`](Session::commit) ends it at once. If a service inside the layer fails instead of answering, as some
    /// timeout layers do, there is no response, and the session stays. A write after this call starts a new session.
    ///
    /// # Errors
    ///
    /// [`ResponseSent`](ErrorKind::ResponseSent) after the head of the response was sent, and
    /// [`Superseded`](ErrorKind::Superseded) if the client's token was retired within the last 30 seconds: nothing ends then.
    pub fn end(&self) -> Result<(), Error> {
        self.request.state_if_open()?.end(EndReason::SignedOut, self.request.sent_token())
    }

    /// Ends the session for a reason of the crate's own. After the head of the response was sent, a later request does it.
    #[cfg(feature = "axum")]
    pub(crate) fn end_by_layer(&self, reason: EndReason) -> Result<(), Error> {
        match self.request.state_if_open() {
            Ok(mut state) => self.request.end_by_layer(&mut state, reason),
            Err(_) => Ok(()),
        }
    }

    /// Checks whether the request has demanded a more recent authentication than the owner's.
    #[cfg(feature = "axum")]
    pub(crate) fn needs_reauthentication(&self) -> bool {
        self.request.state().needs_reauthentication
    }

    /// Rotates the token: the old one opens nothing once this is committed. The session keeps its id and its values.
    ///
    /// Call it when the privileges of the session change (OWASP ASVS 5.0 V7.2.4); [`sign_in`](Session::sign_in) rotates by
    /// itself. Of concurrent requests one rotates, and the others continue with its result. A session that is not stored yet
    /// has no token to replace: nothing happens.
    ///
    /// # Errors
    ///
    /// [`ResponseSent`](ErrorKind::ResponseSent), [`Detached`](ErrorKind::Detached), and
    /// [`Superseded`](ErrorKind::Superseded) if the client's token was replaced or retired within the last 30 seconds.
    pub fn rotate(&self) -> Result<(), Error> {
        let mut state = self.request.state_for_rotation()?;
        state.check_writable()?;
        if state.source.loaded().is_some() && state.changes.sign_in.is_none() {
            state.changes.rotate = true;
            state.revision += 1;
        }
        Ok(())
    }

    /// Sets the lifetime of this session, such as for "remember me". Later commits keep it, until the next
    /// [`sign_in`](Session::sign_in).
    ///
    /// The response sends the cookie again, with the new `Max-Age`, or without one: the browser then drops the cookie when it is
    /// closed.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use sessile::{Error, Lifetime, Session};
    /// # const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    /// # async fn handler(session: Session, remember: bool) -> Result<(), Error> {
    /// session.sign_in("user:42")?;
    /// if remember {
    ///     let month = Lifetime::new().with_idle_timeout(7 * DAY).with_absolute_timeout(30 * DAY).with_max_age(30 * DAY);
    ///     session.set_lifetime(month)?;
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidLifetime`](ErrorKind::InvalidLifetime), [`ActingAsAnother`](ErrorKind::ActingAsAnother), and
    /// [`ResponseSent`](ErrorKind::ResponseSent) and [`Superseded`](ErrorKind::Superseded) as for [`insert`](Session::insert).
    pub fn set_lifetime(&self, lifetime: Lifetime) -> Result<(), Error> {
        lifetime.check().map_err(|error| Error::with_source(ErrorKind::InvalidLifetime, error))?;
        self.request.check_is_not_acting()?;
        self.request.state_for_write()?.set_lifetime(lifetime);
        Ok(())
    }
}

/// # Committing
impl<M> Session<M> {
    /// Commits the changes so far at once; the status of the response does not undo them.
    ///
    /// All tasks of a request share one change set: it is written together, and dropped together if the commit fails. Only the task
    /// that called this gets the error. On a [detached](Session::detach) session it also notes the use of the session, and makes
    /// sure that the session is still there if there is nothing to write. A new token is sent with the response. If another request
    /// rotates before that, the browser may keep the older token, which is dead: call [`rotate`](Session::rotate) late in a slow
    /// handler.
    ///
    /// # Errors
    ///
    /// After any error but [`Unavailable`](ErrorKind::Unavailable) nothing was written; after that one the outcome is unknown.
    ///
    /// - [`Superseded`](ErrorKind::Superseded): the session changed hands.
    /// - [`Ended`](ErrorKind::Ended): the session was ended.
    /// - [`Conflict`](ErrorKind::Conflict): a value that was read has changed (strict writes).
    /// - [`TooLarge`](ErrorKind::TooLarge), [`TypeMismatch`](ErrorKind::TypeMismatch): the changes do not fit the values that
    ///   another request has written meanwhile.
    /// - [`Detached`](ErrorKind::Detached): a detached session cannot create a session.
    pub async fn commit(&self) -> Result<(), Error> {
        if let Some(kind) = self.request.state_if_open()?.failed {
            return Err(Error::new(kind));
        }
        if self.request.is_detached() { self.request.commit_detached().await } else { self.request.commit().await }
    }

    /// Returns the same session for work that outlives the request: a WebSocket, an event stream, a background task.
    ///
    /// It starts from what this request sees now, and only [`commit`](Session::commit) writes its changes. Without a response it
    /// can neither create a session nor change a token: [`sign_in`](Session::sign_in) and [`rotate`](Session::rotate) fail with
    /// [`Detached`](ErrorKind::Detached). If this request has yet to store the session, the detached one works once the head of
    /// the response was sent.
    ///
    /// It follows the session, not a token: after a refresh, a rotation and a repeated sign-in of the owner it still commits. After
    /// a sign-in on the anonymous session it fails with [`Superseded`](ErrorKind::Superseded), and after the end of the session
    /// with [`Ended`](ErrorKind::Ended).
    ///
    /// ```
    /// # use sessile::{Error, Session};
    /// # async fn handler(session: Session) -> Result<(), Error> {
    /// let background = session.detach();
    /// let work = async move {
    ///     background.insert("report", "ready")?;
    ///     background.commit().await
    /// };
    /// # work.await
    /// # }
    /// ```
    #[must_use]
    pub fn detach(&self) -> Self {
        let now = self.request.config().clock.now();
        let mut state = self.request.state();
        let signs_in = state.changes.sign_in.is_some();
        let source = match &state.source {
            SessionSource::Loaded(loaded) if !state.changes.is_empty() || state.interrupted.is_some() => {
                let epoch = loaded.header.epoch + u64::from(signs_in && loaded.record.owner().is_none());
                let id = *loaded.record.id();
                let (owner, actor) = (state.owner.clone(), state.actor().cloned());
                SessionSource::Promised(PromisedSession { id, epoch, owner, actor })
            }
            SessionSource::New if !state.changes.is_empty() => {
                let id = *state.new_id.get_or_insert_with(|| SessionId::generate(now));
                let (owner, actor) = (state.owner.clone(), state.actor().cloned());
                SessionSource::Promised(PromisedSession { id, epoch: u64::from(signs_in), owner, actor })
            }
            other => other.clone(),
        };
        let mut detached = state.copy_over(source);
        detached.failed = state.failed;
        drop(state);
        let detached = RequestSession::detached(Arc::clone(self.request.shared_config()), detached);
        detached.set_passive(self.request.is_passive());
        Self::new(Arc::new(detached))
    }

    /// Commits the changes so far and reads the session again, with the changes of other requests.
    ///
    /// Reading again is no use of the session: call [`touch`](Session::touch) as well if the user is present.
    ///
    /// # Errors
    ///
    /// [`Ended`](ErrorKind::Ended) if the session was ended, [`Superseded`](ErrorKind::Superseded) if it changed hands, and
    /// those of [`commit`](Session::commit).
    pub async fn reload(&self) -> Result<(), Error> {
        drop(self.request.state_if_open()?);
        self.request.commit().await?;
        self.request.refetch().await
    }

    /// Notes that the session is in use, which keeps it from reaching its idle timeout.
    ///
    /// A response notes the use of its request by itself. Call this in a stream, or on a socket, when a message means that the
    /// user is present. It asks the store at most once per tenth of the idle timeout.
    ///
    /// # Errors
    ///
    /// [`Ended`](ErrorKind::Ended) and [`Superseded`](ErrorKind::Superseded) if the store was asked and the session has ended or
    /// changed hands, [`Unavailable`](ErrorKind::Unavailable) if the store fails.
    pub async fn touch(&self) -> Result<(), Error> {
        self.request.note_use().await.map(drop)
    }
}

impl<M> Session<M> {
    pub(crate) const fn new(request: Arc<RequestSession>) -> Self {
        Self { request, marker: PhantomData }
    }

    pub(crate) fn request(&self) -> &RequestSession {
        &self.request
    }
}

impl<M> Clone for Session<M> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.request))
    }
}

impl<M> fmt::Debug for Session<M> {
    /// Shows the id and the owner, but no value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.id()).field("owner", &self.owner()).finish_non_exhaustive()
    }
}

/// The result of the last run of a closure, which is the run that was stored.
struct LastResult<R>(Arc<Mutex<Option<R>>>);

impl<R> LastResult<R> {
    fn put(&self, result: R) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
    }

    fn take(&self) -> Result<R, Error> {
        let result = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        result.ok_or_else(|| Error::new(ErrorKind::ResponseSent))
    }
}

impl<R> Default for LastResult<R> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<R> Clone for LastResult<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Returns the start of a text, at most `bytes` long, without control characters.
fn one_line(text: &str, bytes: usize) -> String {
    let mut line: String = text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    let end = (0..=bytes.min(line.len())).rev().find(|&end| line.is_char_boundary(end));
    line.truncate(end.unwrap_or(0));
    line
}
