//! Sessions outside a request.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::commit::{SessionSource, end_by_id, find, has_live_actor, live_sessions, unexpired_of};
use crate::config::{Config, ConfigError, check_realm};
use crate::error::{Error, ErrorKind};
use crate::event::{EndReason, EventKind};
use crate::lifetime::Lifetime;
use crate::record::{Frame, LoadedRecord, encode_entries};
use crate::request::{RequestSession, RequestState};
use crate::session::Session;
use crate::store::{Cursor, Store};
use crate::stored_session::StoredSession;
use crate::token::{SessionId, Token};

/// The sessions of a store, for administration, background work and tests.
///
/// ```
/// # async fn run() -> Result<(), sessile::Error> {
/// use sessile::{MemoryStore, Sessions};
/// use serde::Serialize;
///
/// #[derive(Serialize)]
/// struct Visitor { theme: &'static str, visits: u32 }
///
/// let sessions = Sessions::new(MemoryStore::new());
/// let (id, token) = sessions.create(&Visitor { theme: "dark", visits: 1 }).await?;
///
/// let session = sessions.find_by_id(&id).await?.expect("it was just created");
/// assert_eq!(session.get::<u32>("visits")?, Some(1));
///
/// #[derive(Serialize)]
/// struct Change { visits: u32 }
/// assert!(sessions.merge(&id, &Change { visits: 2 }).await?);
/// assert!(sessions.end(&id).await?);
/// assert!(sessions.find_by_token(&token).await?.is_none());
/// # Ok(()) }
/// # tokio::runtime::Runtime::new().unwrap().block_on(run()).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Sessions {
    config: Arc<Config>,
}

impl Sessions {
    /// Creates the sessions of a store with the default settings.
    ///
    /// [`SessionLayer::sessions`](crate::SessionLayer::sessions) has the settings of a layer.
    #[must_use]
    pub fn new(store: impl Store) -> Self {
        Self::from_config(Arc::new(Config::new(store)))
    }

    pub(crate) const fn from_config(config: Arc<Config>) -> Self {
        Self { config }
    }

    /// Sets the lifetime of the sessions that it creates.
    ///
    /// # Errors
    ///
    /// A lifetime under which no session can live.
    pub fn with_lifetime(self, lifetime: Lifetime) -> Result<Self, ConfigError> {
        lifetime.check()?;
        Ok(Self::from_config(Arc::new(Config { lifetime, ..Config::clone(&self.config) })))
    }

    /// Sets the realm of the sessions, as the layer that they belong to. Default: `id`.
    ///
    /// [`SessionLayer::sessions`](crate::SessionLayer::sessions) has the realm of its layer.
    ///
    /// # Errors
    ///
    /// A realm that is empty, longer than 255 bytes, or not of visible ASCII characters.
    pub fn with_realm(self, realm: &str) -> Result<Self, ConfigError> {
        check_realm(realm)?;
        let mut config = Config::clone(&self.config);
        config.set_realm(realm.into());
        Ok(Self::from_config(Arc::new(config)))
    }

    /// Creates a session with the fields of a struct, or the entries of a map, as its values.
    ///
    /// The [`Token`] opens the session: give it only to the client, as the session cookie.
    ///
    /// # Errors
    ///
    /// [`Serialize`](ErrorKind::Serialize) if `data` is neither a struct nor a map with string keys, [`TooLarge`](ErrorKind::TooLarge),
    /// [`Unavailable`](ErrorKind::Unavailable).
    pub async fn create<T: Serialize + ?Sized>(&self, data: &T) -> Result<(SessionId, Token), Error> {
        self.create_with_frames(None, encode_entries(data)?).await
    }

    /// Creates a session that is signed in to an owner.
    ///
    /// # Errors
    ///
    /// Those of [`create`](Sessions::create).
    pub async fn create_owned_by<T>(&self, owner: &str, data: &T) -> Result<(SessionId, Token), Error>
    where
        T: Serialize + ?Sized,
    {
        self.create_with_frames(Some((owner, self.config.clock.now())), encode_entries(data)?).await
    }

    /// Returns the session of an id, if it is live.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) if the store fails.
    pub async fn find_by_id(&self, id: &SessionId) -> Result<Option<StoredSession>, Error> {
        let found = find(&self.config, id).await?;
        Ok(found.map(|found| self.stored(found)))
    }

    /// Returns the session that a token opens, if it is live.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) if the store fails.
    pub async fn find_by_token(&self, token: &Token) -> Result<Option<StoredSession>, Error> {
        let now = self.config.clock.now();
        let found = find(&self.config, &token.id()).await?;
        let is_opened = |found: &LoadedRecord| found.header.secrets.status(&token.verifier(), now).is_live();
        Ok(found.filter(is_opened).map(|found| self.stored(found)))
    }

    /// Merges the fields or entries of `data` into a session; returns whether there was one. Other values stay.
    ///
    /// # Errors
    ///
    /// Those of [`create`](Sessions::create), and [`Superseded`](ErrorKind::Superseded) if the session changes hands
    /// meanwhile.
    pub async fn merge<T: Serialize + ?Sized>(&self, id: &SessionId, data: &T) -> Result<bool, Error> {
        let frames = encode_entries(data)?;
        let Some(session) = self.open_for_write(id).await? else { return Ok(false) };
        for frame in frames {
            session.request().state().put(frame, self.config.limits)?;
        }
        match session.commit().await {
            Err(error) if error.kind() == ErrorKind::Ended => Ok(false),
            done => done.map(|()| true),
        }
    }

    /// Returns a session to read and write as in a handler, if it is live. [`commit`](Session::commit) writes it.
    ///
    /// It is [detached](Session::detach): it cannot change its token.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) if the store fails.
    pub async fn open_for_write(&self, id: &SessionId) -> Result<Option<Session>, Error> {
        let found = find(&self.config, id).await?;
        Ok(found.map(|found| self.detached(SessionSource::Loaded(found))))
    }

    /// Ends a session of any owner; returns whether there was one.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) if the store fails.
    pub async fn end(&self, id: &SessionId) -> Result<bool, Error> {
        self.end_with(id, None).await
    }

    /// Ends a session if it belongs to an owner; returns whether there was one.
    ///
    /// For a page on which users end their sessions on other devices: the id in a form may be another user's (OWASP ASVS 5.0
    /// V7.5.2).
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) if the store fails.
    pub async fn end_if_owned_by(&self, id: &SessionId, owner: &str) -> Result<bool, Error> {
        self.end_with(id, Some(owner)).await
    }

    /// Returns the live sessions of an owner, oldest first (OWASP ASVS 5.0 V7.5.2).
    ///
    /// It is for showing them. To end some of them call [`end_others_of`](Sessions::end_others_of) or
    /// [`end_matching_of`](Sessions::end_matching_of): this list omits a session past its idle timeout, which a slow request revives.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) if the store fails or has no index of owners.
    pub async fn owned_by(&self, owner: &str) -> Result<Vec<StoredSession>, Error> {
        let records = self.config.store.owned_by(owner).await?;
        self.usable(live_sessions(&self.config, records)).await
    }

    /// Returns the ids of an owner's sessions in this realm, in ascending order, that is, oldest first.
    ///
    /// The stores of this crate read no values for it. Unlike [`owned_by`](Sessions::owned_by) it lists a session until its record
    /// expires: at most the [commit margin](Lifetime::with_commit_margin) after its idle timeout.
    ///
    /// # Errors
    ///
    /// Those of [`owned_by`](Sessions::owned_by).
    pub async fn ids_of(&self, owner: &str) -> Result<Vec<SessionId>, Error> {
        Ok(self.config.store.ids_of(owner, Some(&self.config.realm)).await?)
    }

    /// Returns a page of the live sessions of this realm, in the store's own order.
    ///
    /// Pass the [`next`](SessionPage::next) of each page to the next call until it is `None`. A session that is live during the
    /// whole listing is in at least one page; one that begins or ends meanwhile may be missing. While sessions are written, or a Redis
    /// server resizes its table, one may be listed twice: where it matters, compare the ids.
    ///
    /// The store reads about `limit` records at once, each with all its values, of this and other realms: a page may have fewer
    /// sessions, or none, and yet be followed by another. A limit of 0 counts as 1. A record that cannot be read raises an event
    /// and is left out.
    ///
    /// ```
    /// # async fn run() -> Result<(), sessile::Error> {
    /// use std::collections::BTreeMap;
    /// use sessile::{Error, MemoryStore, Sessions};
    ///
    /// async fn sessions_by_owner(sessions: &Sessions) -> Result<BTreeMap<String, u64>, Error> {
    ///     let mut totals = BTreeMap::new();
    ///     let mut after = None;
    ///     loop {
    ///         let page = sessions.list(after.as_ref(), 500).await?;
    ///         for session in &page.sessions {
    ///             *totals.entry(session.owner().unwrap_or("anonymous").to_owned()).or_default() += 1;
    ///         }
    ///         match page.next {
    ///             Some(next) => after = Some(next),
    ///             None => return Ok(totals),
    ///         }
    ///     }
    /// }
    ///
    /// let sessions = Sessions::new(MemoryStore::new());
    /// sessions.create_owned_by("user:42", &()).await?;
    /// sessions.create_owned_by("user:42", &()).await?;
    /// assert_eq!(sessions_by_owner(&sessions).await?["user:42"], 2);
    /// # Ok(()) }
    /// # tokio::runtime::Runtime::new().unwrap().block_on(run()).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) if the store fails, cannot list its sessions, or refuses the cursor.
    pub async fn list(&self, after: Option<&Cursor>, limit: usize) -> Result<SessionPage, Error> {
        let page = self.config.store.list(after, limit).await?;
        let found = live_sessions(&self.config, page.records);
        Ok(SessionPage { sessions: self.usable(found).await?, next: page.next })
    }

    /// Returns the number of live records in the store, for a metric.
    ///
    /// It counts the sessions of every realm, those that ended less than a minute ago, and the values of
    /// [`Transient`](crate::Transient). While sessions are written, it is approximate. [`list`](Sessions::list) counts exactly.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) if the store fails or cannot list its records.
    pub async fn count(&self) -> Result<u64, Error> {
        Ok(self.config.store.count().await?)
    }

    /// Checks that the store answers, for a health check of the process.
    ///
    /// It makes one call, which reads nothing of a session and fails at the store's deadline: 2 seconds, unless the store has
    /// another. A failed check is no reason to restart the process.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) if the store fails.
    pub async fn ping(&self) -> Result<(), Error> {
        Ok(self.config.store.ping().await?)
    }

    /// Ends all sessions of an owner in this realm; returns their ids (OWASP ASVS 5.0 V7.4.2).
    ///
    /// Their clients learn no [reason](crate::Session::end_reason).
    ///
    /// A session that was signed in before the call begins is ended, and one that is signed in after it has returned stays. A sign-in
    /// that is committed while it runs may be missed. A sign-in on a session that has ended begins another one, with another id.
    ///
    /// The stores of this crate do it in one step, so that a dropped future ends all or none; in a Redis Cluster, session by
    /// session, the newest first.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) if the store fails; some may have been ended by then.
    pub async fn end_all_of(&self, owner: &str) -> Result<Vec<SessionId>, Error> {
        self.end_each_of(owner, Some(&self.config.realm), None).await
    }

    /// Ends all sessions of an owner in every realm; returns their ids.
    ///
    /// Use it when an account is closed or was taken over: the owner may be signed in to other layers and services on the same store. It
    /// also ends the session of the request that calls it. It does not end a session of another crate that a `MigrationLayer` has not moved
    /// yet: end that in its own store.
    ///
    /// # Errors
    ///
    /// Those of [`end_all_of`](Sessions::end_all_of).
    pub async fn end_all_of_in_every_realm(&self, owner: &str) -> Result<Vec<SessionId>, Error> {
        self.end_each_of(owner, None, None).await
    }

    /// Ends all sessions of an owner in this realm but one; returns their ids (OWASP ASVS 5.0 V7.4.3).
    ///
    /// Their clients learn no [reason](crate::Session::end_reason).
    ///
    /// # Errors
    ///
    /// Those of [`end_all_of`](Sessions::end_all_of).
    pub async fn end_others_of(&self, owner: &str, keep: &SessionId) -> Result<Vec<SessionId>, Error> {
        self.end_each_of(owner, Some(&self.config.realm), Some(keep)).await
    }

    /// Ends the sessions of an owner in this realm that a predicate selects, one by one; returns their ids.
    ///
    /// The predicate also gets the sessions past their idle timeout: a request that began before may revive one within the
    /// [commit margin](Lifetime::with_commit_margin). Clients learn the [reason](crate::Session::end_reason), unlike that of
    /// [`end_others_of`](Sessions::end_others_of). A record that cannot be read raises an event and stays.
    ///
    /// ```
    /// # async fn run() -> Result<(), sessile::Error> {
    /// # use sessile::{MemoryStore, Sessions};
    /// # use std::collections::BTreeMap;
    /// # let sessions = Sessions::new(MemoryStore::new());
    /// # sessions.create_owned_by("user:42", &BTreeMap::from([("app", "kiosk")])).await?;
    /// # sessions.create_owned_by("user:42", &()).await?;
    /// let is_kiosk = |app: Option<String>| app.as_deref() == Some("kiosk");
    /// let ended = sessions.end_matching_of("user:42", |session| session.get("app").is_ok_and(is_kiosk)).await?;
    /// # assert_eq!(ended.len(), 1);
    /// # Ok(()) }
    /// # tokio::runtime::Runtime::new().unwrap().block_on(run()).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`end_all_of`](Sessions::end_all_of).
    pub async fn end_matching_of<F>(&self, owner: &str, predicate: F) -> Result<Vec<SessionId>, Error>
    where
        F: FnMut(&StoredSession) -> bool,
    {
        let found = unexpired_of(&self.config, owner).await?;
        let matching = found.into_iter().map(|found| self.stored(found)).filter(predicate);
        let ids: Vec<_> = matching.map(|session| session.id()).collect();
        let mut ended = Vec::new();
        for id in ids {
            if self.end_if_owned_by(&id, owner).await? {
                ended.push(id);
            }
        }
        Ok(ended)
    }

    /// Deletes expired records, by the clock of the store; returns their number.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) if the store fails.
    pub async fn delete_expired(&self) -> Result<u64, Error> {
        Ok(self.config.store.delete_expired().await?)
    }

    /// [Deletes expired records](Sessions::delete_expired) every `period`, forever: spawn it.
    ///
    /// Each pause is at least a second, and up to a tenth longer than `period`, so that several nodes drift apart. A failure
    /// raises an event. Stores that expire records by themselves do not need it: [`MemoryStore`](crate::MemoryStore), as long as
    /// it has traffic, and `RedisStore`.
    ///
    /// ```no_run
    /// # use sessile::{MemoryStore, SessionLayer};
    /// # let layer = SessionLayer::new(MemoryStore::new());
    /// let sweep = layer.sessions().sweep_every(std::time::Duration::from_secs(60));
    /// tokio::spawn(sweep);
    /// ```
    ///
    /// # Panics
    ///
    /// When it is polled outside a tokio runtime with a timer.
    pub async fn sweep_every(self, period: Duration) {
        loop {
            let jitter = f64::from(crate::token::random::<1>()[0]) / 2550.0;
            let pause = Duration::try_from_secs_f64(period.as_secs_f64() * (1.0 + jitter)).unwrap_or(period);
            tokio::time::sleep(pause.max(Duration::from_secs(1))).await;
            if let Err(error) = self.config.store.delete_expired().await {
                self.config.events.raise_failure(EventKind::StoreFailed, None, &error);
            }
        }
    }

    /// Leaves out the sessions whose actor's own session has ended.
    async fn usable(&self, found: Vec<LoadedRecord>) -> Result<Vec<StoredSession>, Error> {
        let mut sessions = Vec::with_capacity(found.len());
        for found in found {
            if has_live_actor(&self.config, &found).await? {
                sessions.push(self.stored(found));
            }
        }
        Ok(sessions)
    }

    /// Creates a session, signed in to an owner since a time.
    pub(crate) async fn create_with_frames(
        &self,
        owner: Option<(&str, Timestamp)>,
        frames: Vec<Frame>,
    ) -> Result<(SessionId, Token), Error> {
        let request = RequestSession::without_request(Arc::clone(&self.config));
        request.load().await?;
        {
            let mut state = request.state();
            if let Some((owner, at)) = owner {
                state.sign_in(owner, at);
            }
            for frame in frames {
                state.put(frame, self.config.limits)?;
            }
            state.create();
        }
        request.commit().await?;
        let state = request.state();
        let token = state.source.loaded().and_then(|loaded| loaded.token.clone());
        let (token, _) = token.ok_or_else(|| Error::new(ErrorKind::Unavailable))?;
        Ok((token.id(), token))
    }

    async fn end_with(&self, id: &SessionId, owner: Option<&str>) -> Result<bool, Error> {
        let ended = end_by_id(&self.config, id, owner, EndReason::Revoked).await?;
        if ended {
            self.config.events.raise_end(*id, EndReason::Revoked);
        }
        Ok(ended)
    }

    async fn end_each_of(
        &self,
        owner: &str,
        realm: Option<&str>,
        keep: Option<&SessionId>,
    ) -> Result<Vec<SessionId>, Error> {
        let ended = self.config.store.delete_owned_by(owner, realm, keep).await?;
        for id in &ended {
            self.config.events.raise_end(*id, EndReason::Revoked);
        }
        Ok(ended)
    }

    fn stored(&self, found: LoadedRecord) -> StoredSession {
        StoredSession::new(found, self.config.lifetime)
    }

    fn detached(&self, source: SessionSource) -> Session {
        let state = RequestState::new(source);
        Session::new(Arc::new(RequestSession::detached(Arc::clone(&self.config), state)))
    }
}

/// A page of stored sessions, as [`Sessions::list`] returns it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionPage {
    /// The live sessions. A page may have fewer than were asked for, or none, and yet be followed by another.
    pub sessions: Vec<StoredSession>,
    /// Position of the next page; `None` after the last one.
    pub next: Option<Cursor>,
}
