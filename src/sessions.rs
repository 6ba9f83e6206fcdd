//! Sessions outside of a request.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::ser::{Error as _, SerializeMap};
use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::clock::Timestamp;
use crate::config::{Config, ConfigError};
use crate::error::{Error, ErrorKind};
use crate::event::{EndReason, EventKind};
use crate::record::{Frame, FrameRef};
use crate::session::{Base, Found, Key, Lifetime, Presented, RequestSession, Session, Work};
use crate::session::{MOST_DEPTH, NOTES, decode, delete, encode, find, owned_by};
use crate::store::Store;
use crate::token::{SessionId, Token};
use crate::transport::Candidates;

/// The sessions of a store, without a request: for administration, background work and tests.
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
/// assert!(sessions.update(&id, &Change { visits: 2 }).await?);
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
    /// The sessions of this store, with the default settings.
    ///
    /// Those of a layer, with its settings, are [`SessionLayer::sessions`](crate::SessionLayer::sessions).
    #[must_use]
    pub fn new(store: impl Store) -> Self {
        Self::of(Arc::new(Config::new(store)))
    }

    pub(crate) const fn of(config: Arc<Config>) -> Self {
        Self { config }
    }

    /// The same, for sessions that are created from here with this lifetime.
    ///
    /// # Errors
    ///
    /// A lifetime under which no session can live.
    pub fn with_lifetime(self, lifetime: Lifetime) -> Result<Self, ConfigError> {
        lifetime.check()?;
        Ok(Self::of(Arc::new(Config { lifetime, ..Config::clone(&self.config) })))
    }

    /// Creates a session with the fields or entries of `data`, a struct or a map, as its values.
    ///
    /// The [`Token`] opens it: hand it to the client, as the session cookie, and to nobody else.
    ///
    /// # Errors
    ///
    /// [`Serialize`](ErrorKind::Serialize) where `data` is no map with string keys, [`TooLarge`](ErrorKind::TooLarge),
    /// [`Unavailable`](ErrorKind::Unavailable).
    pub async fn create<T: Serialize + ?Sized>(&self, data: &T) -> Result<(SessionId, Token), Error> {
        self.create_of(None, frames_of(data)?).await
    }

    /// Creates a session that is signed in for this owner.
    ///
    /// # Errors
    ///
    /// Those of [`create`](Sessions::create).
    pub async fn create_owned_by<T>(&self, owner: &str, data: &T) -> Result<(SessionId, Token), Error>
    where
        T: Serialize + ?Sized,
    {
        self.create_of(Some((owner, self.config.clock.now())), frames_of(data)?).await
    }

    /// The session of this id; `None` where there is none or it has ended.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) where the store fails.
    pub async fn find_by_id(&self, id: &SessionId) -> Result<Option<StoredSession>, Error> {
        let found = find(&self.config, id).await?;
        Ok(found.map(StoredSession::from))
    }

    /// The session that this token opens; `None` where it opens none.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) where the store fails.
    pub async fn find_by_token(&self, token: &Token) -> Result<Option<StoredSession>, Error> {
        let now = self.config.clock.now();
        let found = find(&self.config, &token.id()).await?;
        let opens = |found: &Found| found.header.secrets.presented(&token.verifier(), now).is_live();
        Ok(found.filter(opens).map(StoredSession::from))
    }

    /// Merges the fields or entries of `data` into a session; says whether there was one. Values under other keys stay.
    ///
    /// # Errors
    ///
    /// Those of [`create`](Sessions::create), and [`Superseded`](ErrorKind::Superseded) where the session changes hands
    /// meanwhile.
    pub async fn update<T: Serialize + ?Sized>(&self, id: &SessionId, data: &T) -> Result<bool, Error> {
        let frames = frames_of(data)?;
        let Some(session) = self.open_for_write(id).await? else { return Ok(false) };
        for frame in frames {
            session.request().work().put(frame, self.config.size_limit)?;
        }
        match session.commit().await {
            Err(error) if error.kind() == ErrorKind::Ended => Ok(false),
            done => done.map(|()| true),
        }
    }

    /// A session to work with, as in a handler; its [`commit`](Session::commit) writes. `None` where there is none.
    ///
    /// It is [detached](Session::detach): it can change no token.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) where the store fails.
    pub async fn open_for_write(&self, id: &SessionId) -> Result<Option<Session>, Error> {
        let found = find(&self.config, id).await?;
        Ok(found.map(|found| self.detached(Base::Live(found.live(Presented::Current, None)))))
    }

    /// Ends a session, whoever it belongs to; says whether there was one.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) where the store fails.
    pub async fn end(&self, id: &SessionId) -> Result<bool, Error> {
        let deleted = delete(&self.config, id, &mut false).await?;
        if deleted {
            self.config.events.raise_end(*id, EndReason::Revoked);
        }
        Ok(deleted)
    }

    /// Ends a session if it belongs to this owner; says whether there was one. For a page on which owners end their sessions
    /// on other devices: an id that a form brings may be anybody's (OWASP ASVS 5.0 V7.5.2).
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) where the store fails.
    pub async fn end_if_owned_by(&self, id: &SessionId, owner: &str) -> Result<bool, Error> {
        // A session that has an owner never changes hands, so that what is deleted is what was looked at.
        match self.find_by_id(id).await? {
            Some(session) if session.owner() == Some(owner) => self.end(id).await,
            _ => Ok(false),
        }
    }

    /// The live sessions of an owner, oldest first (OWASP ASVS 5.0 V7.5.2).
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) where the store fails, or keeps no index of owners.
    pub async fn owned_by(&self, owner: &str) -> Result<Vec<StoredSession>, Error> {
        Ok(owned_by(&self.config, owner).await?.into_iter().map(StoredSession::from).collect())
    }

    /// Ends every session of an owner; says how many that were (OWASP ASVS 5.0 V7.4.2).
    ///
    /// A sign-in that is committed while this runs may not be among them.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) where the store fails; some may have been ended by then.
    pub async fn end_all_of(&self, owner: &str) -> Result<u64, Error> {
        self.end_each_of(owner, None).await
    }

    /// Ends every session of an owner but one; says how many that were (OWASP ASVS 5.0 V7.4.3).
    ///
    /// # Errors
    ///
    /// Those of [`end_all_of`](Sessions::end_all_of).
    pub async fn end_others_of(&self, owner: &str, keep: &SessionId) -> Result<u64, Error> {
        self.end_each_of(owner, Some(keep)).await
    }

    /// Deletes what has expired, by the store's own clock; says how many records that were.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) where the store fails.
    pub async fn delete_expired(&self) -> Result<u64, Error> {
        Ok(self.config.store.delete_expired().await?)
    }

    /// [Deletes what has expired](Sessions::delete_expired), every `period`, for ever: spawn it. Each pause is up to a tenth
    /// longer, so that several nodes do not keep step, and a second at least. Failures are events, and do not end it.
    ///
    /// Stores that expire by themselves ([`MemoryStore`](crate::MemoryStore) does, while there is traffic) need it not.
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
    /// Outside of a tokio runtime with a timer, when it is first polled.
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

    /// Creates a session, for an owner who has signed in at a time.
    pub(crate) async fn create_of(
        &self,
        owner: Option<(&str, Timestamp)>,
        frames: Vec<Frame>,
    ) -> Result<(SessionId, Token), Error> {
        let request = RequestSession::new(Arc::clone(&self.config), Candidates::default(), None);
        request.load().await?;
        {
            let mut work = request.work();
            if let Some((owner, at)) = owner {
                work.sign_in(owner, at);
            }
            for frame in frames {
                work.put(frame, self.config.size_limit)?;
            }
            work.create();
        }
        request.commit().await?;
        let work = request.work();
        match &work.base {
            Base::Live(live) => {
                let (token, _) = live.token.clone().ok_or_else(|| Error::new(ErrorKind::Unavailable))?;
                Ok((token.id(), token))
            }
            _ => Err(Error::new(ErrorKind::Unavailable)),
        }
    }

    async fn end_each_of(&self, owner: &str, keep: Option<&SessionId>) -> Result<u64, Error> {
        let mut ended = 0;
        for record in self.config.store.owned_by(owner).await? {
            if Some(record.id()) != keep && self.end(record.id()).await? {
                ended += 1;
            }
        }
        Ok(ended)
    }

    fn detached(&self, base: Base) -> Session {
        Session::of(Arc::new(RequestSession::detached(Arc::clone(&self.config), Work::new(base))))
    }
}

/// A session as it is stored, read outside of a request.
///
/// It serialises, as a map of its times, owner, notes and values, so that an operator can print it as JSON. It holds no token.
#[derive(Clone)]
pub struct StoredSession {
    found: Found,
}

impl StoredSession {
    /// The id.
    #[must_use]
    pub fn id(&self) -> SessionId {
        *self.found.record.id()
    }

    /// Who it belongs to; `None` while nobody is signed in.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        self.found.record.owner()
    }

    /// When it was created.
    #[must_use]
    pub fn created_at(&self) -> OffsetDateTime {
        self.id().created_at().unwrap_or_else(|| self.found.header.started_at.into())
    }

    /// When it was last used, to a tenth of its idle time.
    #[must_use]
    pub fn last_seen(&self) -> OffsetDateTime {
        self.found.record.last_seen()
    }

    /// When it ends, unless it is used before.
    #[must_use]
    pub fn expires_at(&self) -> OffsetDateTime {
        self.found.record.expires_at()
    }

    /// When its owner signed in.
    #[must_use]
    pub fn authenticated_at(&self) -> Option<OffsetDateTime> {
        self.found.header.authenticated_at.map(Into::into)
    }

    /// The value of a key; `None` where there is none.
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`](ErrorKind::TypeMismatch) where the value is of another type.
    pub fn get<T: DeserializeOwned>(&self, key: impl Key<T>) -> Result<Option<T>, Error> {
        let key = key.name();
        self.found.data.get(key).map(|value| decode(key, value.as_bytes())).transpose()
    }

    /// What the application [noted](Session::note) of it, by name: the user agent, say.
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`](ErrorKind::TypeMismatch) where something else is kept under the key `sessile.notes`.
    pub fn notes(&self) -> Result<BTreeMap<String, String>, Error> {
        Ok(self.get(NOTES)?.unwrap_or_default())
    }

    /// All values as one struct or map.
    ///
    /// # Errors
    ///
    /// [`TypeMismatch`](ErrorKind::TypeMismatch) where they are none.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let mut entries = Vec::new();
        for (key, value) in self.values() {
            let value =
                value.map_err(|error| Error::with_source(ErrorKind::TypeMismatch, error).at(format!("{key:?}")))?;
            entries.push((key.into(), value));
        }
        rmpv::ext::from_value(rmpv::Value::Map(entries))
            .map_err(|error| Error::with_source(ErrorKind::TypeMismatch, error))
    }

    /// The keys that have a value.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.frames().map(|frame| frame.key()).collect()
    }

    /// Those of the values: not the notes.
    fn frames(&self) -> impl Iterator<Item = FrameRef<'_>> {
        self.found.data.frames().filter(|frame| frame.key != NOTES.name().as_bytes())
    }

    fn values(&self) -> impl Iterator<Item = (String, Result<rmpv::Value, rmpv::decode::Error>)> {
        self.frames().map(|frame| {
            let mut bytes = self.found.data.bytes(frame.value.clone());
            (frame.key(), rmpv::decode::read_value_with_max_depth(&mut bytes, MOST_DEPTH))
        })
    }
}

impl From<Found> for StoredSession {
    fn from(found: Found) -> Self {
        Self { found }
    }
}

impl Serialize for StoredSession {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = |at: OffsetDateTime| at.format(&Rfc3339).map_err(S::Error::custom);
        let mut map = serializer.serialize_map(Some(8))?;
        map.serialize_entry("id", &self.id())?;
        map.serialize_entry("owner", &self.owner())?;
        map.serialize_entry("created_at", &text(self.created_at())?)?;
        map.serialize_entry("last_seen", &text(self.last_seen())?)?;
        map.serialize_entry("expires_at", &text(self.expires_at())?)?;
        map.serialize_entry("authenticated_at", &self.authenticated_at().map(text).transpose()?)?;
        map.serialize_entry("notes", &self.notes().unwrap_or_default())?;
        map.serialize_entry("values", &Values(self))?;
        map.end()
    }
}

struct Values<'a>(&'a StoredSession);

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // What cannot be read is shown as nothing: an operator should see the rest.
        serializer.collect_map(self.0.values().map(|(key, value)| (key, value.ok())))
    }
}

impl fmt::Debug for StoredSession {
    /// Names the session and its keys; no value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredSession")
            .field("record", &self.found.record)
            .field("keys", &self.keys())
            .finish_non_exhaustive()
    }
}

/// The fields of a struct, or the entries of a map, as frames.
fn frames_of<T: Serialize + ?Sized>(data: &T) -> Result<Vec<Frame>, Error> {
    let refused = |text: &str| Error::new(ErrorKind::Serialize).at(text);
    let bytes = rmp_serde::to_vec_named(data).map_err(|error| Error::with_source(ErrorKind::Serialize, error))?;
    let value = rmpv::decode::read_value_with_max_depth(&mut bytes.as_slice(), MOST_DEPTH)
        .map_err(|error| Error::with_source(ErrorKind::Serialize, error))?;
    let entries = match value {
        rmpv::Value::Map(entries) => entries,
        rmpv::Value::Nil => Vec::new(),
        _ => return Err(refused("a session's data is a struct or a map")),
    };
    let frame = |(key, value): (rmpv::Value, rmpv::Value)| {
        let key = key.as_str().ok_or_else(|| refused("the keys of a session's data are strings"))?;
        encode(key, &value)
    };
    entries.into_iter().map(frame).collect()
}
