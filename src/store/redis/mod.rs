//! Sessions in Redis and Valkey.

mod link;
mod script;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::cluster::ClusterClientBuilder;
use redis::sentinel::{SentinelClient, SentinelServerType};
use redis::{Client, Cmd, FromRedisValue, Value, from_redis_value};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use self::link::{Link, settle_cryptography};
use self::script::{DELETE, Fault, INDEX, OWNED, SET, Stored, TOUCH, store_error};
use super::late::Late;
use super::{Expected, Outcome, Store, Touch};
use crate::backoff::pause;
use crate::clock::{Clock, Timestamp};
use crate::error::StoreError;
use crate::record::{Record, Version};
use crate::token::SessionId;

/// Longest pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_millis(250);
/// How long an operation may take unless it is told otherwise.
const DEADLINE: Duration = Duration::from_secs(2);
/// How many records are asked for at a time when an owner's are listed.
const AT_ONCE: usize = 64;

const FIELDS: [&str; 5] = ["version", "owner", "last_seen", "expires_at", "state"];

/// A store in Redis or Valkey, 6.2 or newer: one server, servers under Sentinel, or a Cluster.
///
/// Every operation is one round trip, and every write one step on the server: a script. Records expire by themselves. A
/// life is given to the server as a length of time, so that a node whose clock is wrong deletes nobody's session.
///
/// ```no_run
/// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
/// use sessile::{RedisStore, SessionLayer};
///
/// let store = RedisStore::connect("redis://localhost/").await?;
/// let layer = SessionLayer::new(store);
/// # Ok(()) }
/// ```
///
/// # What Redis keeps
///
/// What it has acknowledged may be gone after a crash unless it runs with `appendonly yes` and `appendfsync always`, and
/// after a failover in any case, because replicas lag. It must not evict records of its own accord: set
/// `maxmemory-policy noeviction`, or a session may be gone, or come back from an older copy, at any time. Reads go to the
/// master: a replica that lags is no store.
///
/// # Keys
///
/// A record is the hash `sessile:session:<id>`, with the fields `version`, `owner`, `last_seen`, `expires_at` (both in
/// milliseconds since the Unix epoch), `state` and `indexed`. The ids of an owner are in the sorted set
/// `sessile:owner:<owner>`, by when they leave it. It may hold a session that is gone, never lacks one that is there, is
/// tidied whenever it is written, and expires after the last of its sessions.
///
/// In a Cluster the set is on another node than the record, so it is written first: creating a session that has an owner
/// costs one round trip more, a sign-in two, and ending one another that tidies up.
#[derive(Clone)]
pub struct RedisStore {
    link: Arc<Link>,
    prefix: Arc<str>,
    deadline: Duration,
}

impl RedisStore {
    /// Connects to the server of this URL: `redis://host/`, or `rediss://host/` with the feature `tls-rustls`.
    ///
    /// # Errors
    ///
    /// Where the URL is none, or the server cannot be reached within two seconds.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        settle_cryptography(&[url]);
        let client = Client::open(url).map_err(StoreError::other)?;
        Self::new(client).connected().await
    }

    /// Connects to the master of this name, as the sentinels at these URLs know it.
    ///
    /// # Errors
    ///
    /// Where a URL is none, or the master cannot be reached within two seconds.
    pub async fn connect_sentinel(urls: &[&str], master: &str) -> Result<Self, StoreError> {
        settle_cryptography(urls);
        let master: String = master.into();
        let client = SentinelClient::build(urls.to_vec(), master, None, SentinelServerType::Master);
        Self::with_sentinel(client.map_err(StoreError::other)?).connected().await
    }

    /// Connects to the Cluster that the nodes at these URLs belong to.
    ///
    /// # Errors
    ///
    /// Where a URL is none, or no node can be reached within two seconds.
    pub async fn connect_cluster(urls: &[&str]) -> Result<Self, StoreError> {
        settle_cryptography(urls);
        Self::with_cluster(ClusterClientBuilder::new(urls.to_vec()))?.connected().await
    }

    /// On the server of a client that the application has already. It connects when it is first used. Over TLS, an
    /// application that links more than one rustls provider must have installed one as the default by then.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self::over(Link::to_server(client))
    }

    /// On the master that a client of Sentinel finds. It connects when it is first used.
    #[must_use]
    pub fn with_sentinel(client: SentinelClient) -> Self {
        Self::over(Link::to_sentinel(client))
    }

    /// On a Cluster. It connects when it is first used. The client's retries are switched off: they would apply a write
    /// twice whose answer was lost.
    ///
    /// # Errors
    ///
    /// Where the client cannot be built.
    pub fn with_cluster(builder: ClusterClientBuilder) -> Result<Self, StoreError> {
        Ok(Self::over(Link::to_cluster(builder).map_err(store_error)?))
    }

    fn over(link: Link) -> Self {
        Self { link: Arc::new(link), prefix: "sessile:".into(), deadline: DEADLINE }
    }

    async fn connected(self) -> Result<Self, StoreError> {
        let deadline = Instant::now() + self.deadline;
        let connected = timeout_at(deadline, self.link.connection()).await;
        connected.map_err(|_| StoreError::unavailable(Late(self.deadline)))?.map_err(store_error)?;
        Ok(self)
    }

    /// What all keys begin with. Default: `sessile:`.
    #[must_use]
    pub fn with_prefix(mut self, prefix: &str) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How long an operation may take, connecting included. Default: 2 seconds.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    fn key(&self, id: &SessionId) -> Vec<u8> {
        format!("{}session:{id}", self.prefix).into_bytes()
    }

    fn index_key(&self, owner: &[u8]) -> Vec<u8> {
        [self.prefix.as_bytes(), b"owner:", owner].concat()
    }

    /// What the keys of the indexes begin with, for a script that may write them; nothing where they are elsewhere.
    fn index_prefix(&self) -> String {
        if self.link.is_cluster() { String::new() } else { format!("{}owner:", self.prefix) }
    }

    /// Lists a session under its owner, in a Cluster.
    async fn index(&self, owner: &[u8], id: &SessionId, life: i64) -> Result<(), StoreError> {
        self.script(&INDEX, &self.index_key(owner), |command| {
            command.arg(id.to_string()).arg(life);
        })
        .await
        .map(drop)
    }

    async fn script(
        &self,
        script: &Stored,
        key: &[u8],
        arguments: impl Fn(&mut Cmd) + Sync,
    ) -> Result<Value, StoreError> {
        let mut command = script.by_hash(key);
        arguments(&mut command);
        let in_full = || {
            let mut command = script.in_full(key);
            arguments(&mut command);
            command
        };
        self.run(command, Some(&in_full)).await
    }

    /// Runs a command before the deadline. It is sent again only where it is certain that it was not carried out, or, a
    /// read, has nothing to carry out.
    async fn run(&self, mut command: Cmd, script: Option<&(dyn Fn() -> Cmd + Sync)>) -> Result<Value, StoreError> {
        let deadline = Instant::now() + self.deadline;
        let late = |_| StoreError::unavailable(Late(self.deadline));
        let mut repeatable = script.is_none();
        let mut node: Option<String> = None;
        for attempt in 1.. {
            let mut used = timeout_at(deadline, self.link.connection()).await.map_err(late)?.map_err(store_error)?;
            let answer = match node.take() {
                None => timeout_at(deadline, used.connection.ask(&command)).await,
                Some(node) => timeout_at(deadline, used.connection.ask_at(&node, &command)).await,
            };
            let error = match answer {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => error,
                Err(elapsed) => {
                    self.link.give_up(&used);
                    return Err(late(elapsed));
                }
            };
            match (Fault::of(&error), script) {
                (Fault::NoScript, Some(in_full)) => {
                    command = in_full();
                    continue;
                }
                (Fault::Ask, _) => {
                    node = error.redirect_node().map(|(node, _)| node.to_owned());
                    continue;
                }
                (Fault::NotYet, _) => {}
                (Fault::ReadOnly, _) => self.link.fail(&used),
                (Fault::Connection, _) => {
                    self.link.fail(&used);
                    if !std::mem::take(&mut repeatable) {
                        return Err(store_error(error));
                    }
                    continue;
                }
                _ => return Err(store_error(error)),
            }
            if timeout_at(deadline, pause(attempt, MAX_PAUSE)).await.is_err() {
                return Err(store_error(error));
            }
        }
        unreachable!("a deadline passes")
    }
}

impl Store for RedisStore {
    async fn get(&self, id: &SessionId) -> Result<Option<Record>, StoreError> {
        let mut command = redis::cmd("HMGET");
        command.arg(self.key(id)).arg(&FIELDS);
        read(id, self.run(command, None).await?)
    }

    async fn set(&self, record: &Record, expected: Expected) -> Result<Outcome, StoreError> {
        let key = self.key(record.id());
        let owner = record.owner().map(str::as_bytes);
        let expected = match expected {
            Expected::Absent => String::new(),
            Expected::Version(version) => version.get().to_string(),
        };
        let mut is_indexed = false;
        loop {
            if let Some(owner) = owner.filter(|_| self.link.is_cluster() && (is_indexed || expected.is_empty())) {
                self.index(owner, record.id(), life(record.expiry())).await?;
                is_indexed = true;
            }
            let answer = self.script(&SET, &key, |command| {
                command.arg(&expected).arg(record.version().get());
                command.arg(record.last_seen_timestamp().milliseconds()).arg(record.expiry().milliseconds());
                command.arg(life(record.expiry()));
                command.arg(record.state()).arg(record.id().to_string()).arg(self.index_prefix());
                command.arg(i32::from(is_indexed)).arg(owner);
            });
            match answer.await? {
                Value::Int(0) => return Ok(Outcome::Refused),
                Value::Int(1) => return Ok(Outcome::Written),
                Value::Int(2) if !is_indexed => is_indexed = true,
                other => return Err(unexpected(&other)),
            }
        }
    }

    async fn touch(&self, record: &Record, touch: Touch) -> Result<bool, StoreError> {
        let (id, version) = (record.id(), record.version());
        let (last_seen, expires_at) = (Timestamp::from(touch.last_seen), Timestamp::from(touch.expires_at));
        let key = self.key(id);
        let mut is_indexed = false;
        loop {
            let answer = self.script(&TOUCH, &key, |command| {
                command.arg(version.get()).arg(last_seen.milliseconds()).arg(expires_at.milliseconds());
                command.arg(life(expires_at));
                command.arg(id.to_string()).arg(self.index_prefix()).arg(i32::from(is_indexed));
            });
            match answer.await? {
                Value::Int(answer) => return Ok(answer == 1),
                Value::BulkString(owner) if !is_indexed => {
                    self.index(&owner, id, life(expires_at)).await?;
                    is_indexed = true;
                }
                other => return Err(unexpected(&other)),
            }
        }
    }

    async fn delete(&self, id: &SessionId, _: Option<&str>) -> Result<bool, StoreError> {
        let key = self.key(id);
        let answer = self.script(&DELETE, &key, |command| {
            command.arg(id.to_string()).arg(self.index_prefix());
        });
        match answer.await? {
            Value::Int(answer) => Ok(answer == 1),
            Value::BulkString(owner) => {
                if self.link.is_cluster() {
                    // What stays behind is passed over, and goes in time: no reason to fail.
                    let mut command = redis::cmd("ZREM");
                    command.arg(self.index_key(&owner)).arg(id.to_string());
                    let _ = self.run(command, None).await;
                }
                Ok(true)
            }
            other => Err(unexpected(&other)),
        }
    }

    async fn owned_by(&self, owner: &str) -> Result<Vec<Record>, StoreError> {
        let listed = self.script(&OWNED, &self.index_key(owner.as_bytes()), |_| {}).await?;
        let listed: Vec<String> = parsed(listed)?;
        let mut ids: Vec<SessionId> = listed.iter().filter_map(|id| id.parse().ok()).collect();
        ids.sort_unstable();
        let mut records = Vec::with_capacity(ids.len());
        for ids in ids.chunks(AT_ONCE) {
            let mut gets = JoinSet::new();
            for (place, id) in ids.iter().copied().enumerate() {
                let store = self.clone();
                gets.spawn(async move { (place, store.get(&id).await) });
            }
            let mut found = vec![None; ids.len()];
            while let Some(got) = gets.join_next().await {
                let (place, record) = got.map_err(StoreError::other)?;
                found[place] = record?;
            }
            // The index may be ahead of the record, and behind it.
            records.extend(found.into_iter().flatten().filter(|record| record.owner() == Some(owner)));
        }
        Ok(records)
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("RedisStore");
        debug.field("link", &self.link).field("prefix", &self.prefix).field("deadline", &self.deadline).finish()
    }
}

/// How much longer a record lives, in milliseconds: by how far its end is from now, not by when that is.
fn life(expires_at: Timestamp) -> i64 {
    expires_at.milliseconds() - Clock::system().now().milliseconds()
}

fn read(id: &SessionId, fields: Value) -> Result<Option<Record>, StoreError> {
    let fields: [Option<Vec<u8>>; 5] = parsed(fields)?;
    if fields.iter().all(Option::is_none) {
        return Ok(None);
    }
    let [version, owner, last_seen, expires_at, state] = fields;
    let owner = owner.map(String::from_utf8).transpose().map_err(StoreError::corrupt)?.map(Arc::from);
    let times = (number(last_seen)?, number(expires_at)?);
    let times = (Timestamp::from_milliseconds(times.0), Timestamp::from_milliseconds(times.1));
    let state = state.ok_or_else(|| StoreError::corrupt("a record without a state"))?;
    Ok(Some(Record::new(*id, Version::new(number(version)?), owner, times, state.into())))
}

fn number<T: std::str::FromStr>(field: Option<Vec<u8>>) -> Result<T, StoreError> {
    let field = field.as_deref().and_then(|field| std::str::from_utf8(field).ok());
    field.and_then(|field| field.parse().ok()).ok_or_else(|| StoreError::corrupt("a record without one of its numbers"))
}

fn parsed<T: FromRedisValue>(value: Value) -> Result<T, StoreError> {
    from_redis_value(value).map_err(StoreError::corrupt)
}

fn unexpected(answer: &Value) -> StoreError {
    StoreError::other(format!("the server gave an answer of another kind: {answer:?}"))
}
