//! A session in a handler's hands.

mod changes;
mod commit;
mod detach;
mod ending;
mod field;
mod flight;
mod handle;
mod lifetime;
mod limit;
mod load;
mod notes;
mod reads;
mod request;
mod rotation;
mod settle;
mod shared;
mod turns;
mod view;
mod work;

#[cfg(test)]
mod tests;

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;

pub use self::field::{Field, Key, KeyName};
pub use self::handle::SessionHandle;
pub use self::lifetime::Lifetime;

pub(crate) use self::changes::{Change, MOST_DEPTH, decode, encode};
pub(crate) use self::ending::delete;
pub(crate) use self::limit::owned_by;
pub(crate) use self::load::{Found, find};
pub(crate) use self::notes::NOTES;
pub(crate) use self::request::RequestSession;
pub(crate) use self::rotation::Presented;
pub(crate) use self::settle::Leave;
pub(crate) use self::turns::Turns;
pub(crate) use self::work::{Base, Farewell, Outgoing, Work};

use self::changes::{Take, Update};
use crate::error::{Error, ErrorKind};
use crate::event::EndReason;
use crate::token::SessionId;

/// How often a closure is run on a session that is changed at each run: by itself, or the request would never end.
const MOST_RUNS: usize = 100;

/// A loaded session.
///
/// Reading and writing are synchronous and in memory; what was written is committed with the response, unless its status is
/// of the class 5xx, or at once by [`commit`](Session::commit) and the `_now` calls. Clones are the same session.
///
/// Many requests may change a session at the same time. Each keeps what it did as a *change set*, which is applied
/// again to whatever the store has by then: different keys merge, [`update`](Session::update) closures run one after
/// another, and of two [`insert`](Session::insert)s of one key the later one stays. No change that was answered with
/// success is lost.
///
/// A session that is new is stored, and its cookie sent, when something is written to it. A visitor for whom nothing is
/// written gets no cookie.
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

/// # Reading and writing values
impl<M> Session<M> {
    /// The value of a key; `None` where there is none.
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
    /// [`TypeMismatch`](ErrorKind::TypeMismatch) where the value is of another type.
    pub fn get<T: DeserializeOwned>(&self, key: impl Key<T>) -> Result<Option<T>, Error> {
        let key = key.name();
        let value = {
            let mut work = self.request.work();
            work.note_read(key);
            work.view.get(key)
        };
        value.map(|value| decode(key, value.as_bytes())).transpose()
    }

    /// Writes a value. The later of two writes of one key stays.
    ///
    /// To change a value in the light of what it was, use [`update`](Session::update): a value that was read and then
    /// inserted overwrites what another request has written in between. That is reported as an event, and refused where the
    /// layer has [strict writes](crate::SessionLayerBuilder::with_strict_writes).
    ///
    /// # Errors
    ///
    /// [`Serialize`](ErrorKind::Serialize) where the value cannot be serialised, [`TooLarge`](ErrorKind::TooLarge) where
    /// the session would exceed its limit (the old value stays in both cases), [`ResponseSent`](ErrorKind::ResponseSent) once the head
    /// of the response is out, [`Superseded`](ErrorKind::Superseded) where the client's token was retired a moment ago.
    pub fn insert<T: Serialize + ?Sized>(&self, key: impl Key<T>, value: &T) -> Result<(), Error> {
        let frame = encode(key.name(), value)?;
        self.request.work_for_write()?.put(frame, self.request.config().size_limit)
    }

    /// Removes a value; says whether there was one.
    ///
    /// # Errors
    ///
    /// [`ResponseSent`](ErrorKind::ResponseSent) and [`Superseded`](ErrorKind::Superseded), as for [`insert`](Session::insert).
    pub fn remove(&self, key: impl KeyName) -> Result<bool, Error> {
        let mut work = self.request.work_for_write()?;
        if work.view.get(key.name()).is_none() {
            return Ok(false);
        }
        work.view.remove(key.name());
        work.record(Change::Remove(key.into_name()));
        Ok(true)
    }

    /// Removes every value. The session itself stays, with its id, its owner, its token and its [notes](Session::note).
    ///
    /// # Errors
    ///
    /// [`ResponseSent`](ErrorKind::ResponseSent) and [`Superseded`](ErrorKind::Superseded), as for [`insert`](Session::insert).
    pub fn clear(&self) -> Result<(), Error> {
        let mut work = self.request.work_for_write()?;
        let cleared = work.view.cleared();
        if cleared.len() == work.view.len() {
            return Ok(());
        }
        work.view = cleared;
        work.record(Change::Clear);
        Ok(())
    }

    /// Whether the key has a value.
    #[must_use]
    pub fn contains(&self, key: impl KeyName) -> bool {
        let mut work = self.request.work();
        work.note_read(key.name());
        work.view.get(key.name()).is_some()
    }

    /// All keys that have a value.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let mut keys = self.request.work().view.keys();
        keys.retain(|key| key != NOTES.name());
        keys
    }

    /// Changes a value in the light of what it is; where there is none, it starts from the default.
    ///
    /// The closure runs now, on what this request sees, and again where another request has changed the session
    /// before this one commits. So counters and lists are exact, and the closure returns nothing: what this run
    /// computed may not be what is stored. [`update_now`](Session::update_now) returns what is.
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
    /// [`TypeMismatch`](ErrorKind::TypeMismatch) where the present value is of another type, and those of [`insert`](Session::insert).
    pub fn update<T, F>(&self, key: impl Key<T>, closure: F) -> Result<(), Error>
    where
        T: Serialize + DeserializeOwned + Default + 'static,
        F: FnOnce(&mut T) + Clone + Send + 'static,
    {
        self.apply(Change::Update { key: key.into_name(), update: Box::new(Update::<T, F>::new(closure)) })
    }

    /// [Updates](Session::update) a value, [commits](Session::commit), and returns what the closure returned in the run that was stored. No
    /// two requests are ever given the same number.
    ///
    /// It commits everything that was written before, too, and is not undone by the status of the response.
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
        let result = Winner::default();
        let seen = result.clone();
        self.update(key, move |value: &mut T| seen.put(closure(value)))?;
        self.commit().await?;
        result.take()
    }

    /// Takes a value out, [commits](Session::commit), and returns it. Of several requests one is given it. Where there is
    /// none when the session is loaded, nothing is written.
    ///
    /// It commits everything that was written before, too, and is not undone by the status of the response.
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`](ErrorKind::TypeMismatch) where the value is of another type, and those of [`commit`](Session::commit).
    pub async fn take_now<T>(&self, key: impl Key<T>) -> Result<Option<T>, Error>
    where
        T: DeserializeOwned + Send + 'static,
    {
        if self.request.work_for_write()?.view.get(key.name()).is_none() {
            return Ok(None);
        }
        let result = Winner::default();
        let seen = result.clone();
        let take = Take::<T, _>::new(move |value| seen.put(value));
        self.apply(Change::Update { key: key.into_name(), update: Box::new(take) })?;
        self.commit().await?;
        result.take()
    }

    /// Applies a change that runs a closure: outside the lock, and again if somebody else was quicker.
    fn apply(&self, change: Change) -> Result<(), Error> {
        let limit = self.request.config().size_limit;
        for _ in 0..MOST_RUNS {
            let (mut view, edits) = {
                let work = self.request.work_for_write()?;
                (work.view.clone(), work.edits)
            };
            change.apply(&mut view, limit)?;
            let mut work = self.request.work_for_write()?;
            if work.edits == edits {
                work.view = view;
                work.record(change);
                return Ok(());
            }
        }
        Err(Error::new(ErrorKind::Conflict).at("the closure changes the session that it is run on"))
    }
}

/// # The session itself
impl<M> Session<M> {
    /// The id; `None` for a session that is not stored yet.
    #[must_use]
    pub fn id(&self) -> Option<SessionId> {
        match &self.request.work().base {
            Base::Live(live) => Some(*live.found.record.id()),
            Base::Promised(promised) => Some(promised.id),
            Base::Fresh | Base::Retired => None,
        }
    }

    /// Whether the client came without a live session, and none has been committed since.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.id().is_none()
    }

    /// Who the session belongs to; `None` while nobody is signed in.
    #[must_use]
    pub fn owner(&self) -> Option<Arc<str>> {
        self.request.work().owner.clone()
    }

    /// When the owner signed in.
    #[must_use]
    pub fn authenticated_at(&self) -> Option<OffsetDateTime> {
        self.request.work().authenticated_at.map(Into::into)
    }

    /// Signs in: call it when the client has proved who it is.
    ///
    /// Sets the owner, gives the client a new token and retires the old one, restarts both lifetimes, and keeps what
    /// the anonymous session held (OWASP ASVS 5.0 V7.2.4). What others do with the session under the old token from now
    /// on fails. Over another owner's session it ends that one and begins a new one, with a new id and no data.
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
    /// [`ResponseSent`](ErrorKind::ResponseSent), [`Detached`](ErrorKind::Detached), and [`Superseded`](ErrorKind::Superseded) where
    /// the client came with a token that a periodic rotation has replaced.
    pub fn sign_in(&self, owner: &str) -> Result<(), Error> {
        let now = self.request.config().clock.now();
        let mut work = self.request.work_for_rotation()?;
        if !matches!(work.base, Base::Retired) {
            work.writable()?;
        }
        work.sign_in(owner, now);
        Ok(())
    }

    /// Notes that the owner has proved again who it is, before something that asks for it: gives the client a new token, and
    /// restarts both lifetimes (NIST SP 800-63B-4 §5.2; OWASP ASVS 5.0 V7.5.3). The session keeps its id and its data.
    ///
    /// Its effect is that of [`sign_in`](Session::sign_in) by the owner that the session has, but for one thing: where the
    /// session is ended meanwhile, no other is begun, and the response sets no cookie.
    ///
    /// # Errors
    ///
    /// [`NotSignedIn`](ErrorKind::NotSignedIn) where nobody is signed in, and those of [`sign_in`](Session::sign_in).
    pub fn reauthenticate(&self) -> Result<(), Error> {
        let now = self.request.config().clock.now();
        let mut work = self.request.work_for_rotation()?;
        work.writable()?;
        work.reauthenticate(now)
    }

    /// Makes sure that the owner has proved who it is not longer ago than `age`.
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
    /// [`ReauthenticationRequired`](ErrorKind::ReauthenticationRequired) where it was longer ago, and [`NotSignedIn`](ErrorKind::NotSignedIn) where
    /// nobody is signed in. Both are a 401.
    pub fn require_recent(&self, age: Duration) -> Result<(), Error> {
        let now = self.request.config().clock.now();
        let work = self.request.work();
        match (&work.owner, work.authenticated_at) {
            (Some(_), Some(at)) if now.since(at) <= age => Ok(()),
            (Some(_), _) => Err(Error::new(ErrorKind::ReauthenticationRequired)),
            (None, _) => Err(Error::new(ErrorKind::NotSignedIn)),
        }
    }

    /// Signs out: ends the session, with all its data. The same as [`end`](Session::end).
    ///
    /// # Errors
    ///
    /// [`ResponseSent`](ErrorKind::ResponseSent) once the head of the response is out.
    pub fn sign_out(&self) -> Result<(), Error> {
        self.end()
    }

    /// Ends the session and removes the client's cookie. Nothing brings it back: what other requests still write to
    /// it is dropped.
    ///
    /// It is done with the response, whatever its status, or at once by [`commit`](Session::commit). Where a service within the
    /// layer fails instead of answering, as some timeouts do, there is no response, and it is not done. What is written after
    /// this call begins a new session.
    ///
    /// # Errors
    ///
    /// [`ResponseSent`](ErrorKind::ResponseSent) once the head of the response is out.
    pub fn end(&self) -> Result<(), Error> {
        self.request.work_for_end()?.end(EndReason::SignedOut);
        Ok(())
    }

    /// Gives the client a new token; the old one opens nothing from the commit on. The session keeps its id and its
    /// data. Call it when what the session may do changes (OWASP ASVS 5.0 V7.2.4); [`sign_in`](Session::sign_in) does it by
    /// itself.
    ///
    /// Of several requests at once one rotates, and the others go on with what it has done. A session that is not stored
    /// yet has no token to replace: nothing happens.
    ///
    /// # Errors
    ///
    /// [`ResponseSent`](ErrorKind::ResponseSent), [`Detached`](ErrorKind::Detached), and [`Superseded`](ErrorKind::Superseded) where
    /// the client's token was replaced or retired a moment ago.
    pub fn rotate(&self) -> Result<(), Error> {
        let mut work = self.request.work_for_rotation()?;
        work.writable()?;
        if matches!(work.base, Base::Live(_)) && work.changes.sign_in.is_none() {
            work.changes.rotate = true;
            work.edits += 1;
        }
        Ok(())
    }

    /// Gives this session a lifetime of its own, kept across later writes: "remember me".
    ///
    /// # Errors
    ///
    /// [`InvalidLifetime`](ErrorKind::InvalidLifetime) where it cannot work, and [`ResponseSent`](ErrorKind::ResponseSent) and
    /// [`Superseded`](ErrorKind::Superseded) as for [`insert`](Session::insert).
    pub fn set_lifetime(&self, lifetime: Lifetime) -> Result<(), Error> {
        lifetime.check().map_err(|error| Error::with_source(ErrorKind::InvalidLifetime, error))?;
        let mut work = self.request.work_for_write()?;
        work.changes.lifetime = Some(Box::new(lifetime));
        work.edits += 1;
        Ok(())
    }

    /// Writes what was done so far, now, rather than with the response; it is not undone by the response's status.
    ///
    /// All parts of a handler share what was done so far, futures that run beside this one included: it is written together, and
    /// where that fails it is dropped together, and only the part that has called this is told. A token that is issued goes out
    /// with the response: where another request rotates again before that, the browser may keep the older, which is dead. So
    /// [`rotate`](Session::rotate) late in a slow handler.
    ///
    /// # Errors
    ///
    /// Nothing that an error names was written, but for [`Unavailable`](ErrorKind::Unavailable), after which nobody knows.
    /// [`Superseded`](ErrorKind::Superseded): the session changed hands. [`Ended`](ErrorKind::Ended): it was ended.
    /// [`Conflict`](ErrorKind::Conflict): strict writes. [`TooLarge`](ErrorKind::TooLarge), [`TypeMismatch`](ErrorKind::TypeMismatch):
    /// the changes do not fit what the session holds by now. [`Detached`](ErrorKind::Detached): it would create a session.
    pub async fn commit(&self) -> Result<(), Error> {
        drop(self.request.work_for_end()?);
        self.check_not_failed()?;
        self.request.commit().await?;
        if self.request.is_detached() {
            self.request.settle(true, false).await?;
        }
        Ok(())
    }

    fn check_not_failed(&self) -> Result<(), Error> {
        match self.request.work().failed {
            Some(kind) => Err(Error::new(kind)),
            None => Ok(()),
        }
    }
}

impl<M> Session<M> {
    pub(crate) fn request(&self) -> &RequestSession {
        &self.request
    }

    pub(crate) const fn of(request: Arc<RequestSession>) -> Self {
        Self { request, marker: PhantomData }
    }
}

impl<M> Clone for Session<M> {
    fn clone(&self) -> Self {
        Self::of(Arc::clone(&self.request))
    }
}

impl<M> fmt::Debug for Session<M> {
    /// Names the session; no value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.id()).field("owner", &self.owner()).finish_non_exhaustive()
    }
}

/// Where each run of a closure leaves its result: the last run is the one that was stored.
struct Winner<R>(Arc<Mutex<Option<R>>>);

impl<R> Winner<R> {
    fn put(&self, result: R) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
    }

    fn take(&self) -> Result<R, Error> {
        let result = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        result.ok_or_else(|| Error::new(ErrorKind::ResponseSent))
    }
}

impl<R> Default for Winner<R> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<R> Clone for Winner<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
