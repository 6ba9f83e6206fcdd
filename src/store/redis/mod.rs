//! Redis and Valkey.

mod connection;
mod script;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use redis::cluster::ClusterClientBuilder;
use redis::sentinel::{SentinelClient, SentinelServerType};
use redis::{Client, Cmd, FromRedisValue, Value, from_redis_value};
use tokio::task::JoinSet;

use self::connection::{RedisConnection, install_tls_provider};
use self::script::{DELETE, DELETE_OWNED, INDEX, OWNED, SET, Script, TOUCH, store_error};
use super::deadline::{CONNECT_DEADLINE, DEFAULT_DEADLINE, Deadline};
use super::{Expected, Outcome, Store, Touch};
use crate::clock::{Clock, Timestamp};
use crate::error::StoreError;
use crate::record::{Record, Version};
use crate::token::SessionId;

/// Number of records that `owned_by` reads at once.
const OWNED_BATCH_SIZE: usize = 64;

const FIELDS: [&str; 6] = ["version", "realm", "owner", "last_seen", "expires_at", "state"];

/// A store in Redis or Valkey, 6.2 or newer: one server, Sentinel, or a Cluster.
///
/// Every operation is one round trip, and every write is one atomic script. Redis deletes expired records by itself. The
/// store sends a record's remaining life as a duration, so a node with a wrong clock deletes no live session.
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
/// # Durability
///
/// Redis may lose acknowledged writes in a crash unless it runs with `appendonly yes` and `appendfsync always`, and it may
/// lose them in any failover, because replicas lag. Set `maxmemory-policy noeviction`: with another policy the server may
/// evict a session, or an older copy of it may reappear. The store reads from the master only.
///
/// # Keys
///
/// A record is the hash `sessile:session:<id>`, with the fields `version`, `realm`, `owner`, `last_seen`, `expires_at` (both in
/// milliseconds since the Unix epoch), `state` and `indexed`. The sorted set `sessile:owner:<owner>` is the owner's index:
/// session ids by the time at which the entry expires. It lists every live session of the owner. It may also list ended
/// sessions, which [`owned_by`](Store::owned_by) skips; each write to the index removes expired entries.
///
/// In a Cluster the index may be on another node than the record, so the store writes it first. Creating a session with an
/// owner costs one more round trip, a sign-in two, and ending such a session one.
#[derive(Clone)]
pub struct RedisStore {
    connection: Arc<RedisConnection>,
    prefix: Arc<str>,
    deadline: Duration,
}

impl RedisStore {
    /// Connects to the server at a URL: `redis://host/`, or `rediss://host/` with the feature `tls-rustls`.
    ///
    /// # Errors
    ///
    /// If the URL is invalid, or the store cannot connect within five seconds.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        install_tls_provider(&[url]);
        let client = Client::open(url).map_err(StoreError::other)?;
        Self::new(client).connected().await
    }

    /// Connects to the master of this name through the sentinels at these URLs.
    ///
    /// # Errors
    ///
    /// If a URL is invalid, or the store cannot connect to the master within five seconds.
    pub async fn connect_sentinel(urls: &[&str], master: &str) -> Result<Self, StoreError> {
        install_tls_provider(urls);
        let master: String = master.into();
        let client = SentinelClient::build(urls.to_vec(), master, None, SentinelServerType::Master);
        Self::from_sentinel(client.map_err(StoreError::other)?).connected().await
    }

    /// Connects to the Cluster of the nodes at these URLs.
    ///
    /// # Errors
    ///
    /// If a URL is invalid, or the store cannot connect to any node within five seconds.
    pub async fn connect_cluster(urls: &[&str]) -> Result<Self, StoreError> {
        install_tls_provider(urls);
        Self::from_cluster(ClusterClientBuilder::new(urls.to_vec()))?.connected().await
    }

    /// Creates a store over a client that the application has already.
    ///
    /// It connects on first use. For TLS, an application that links several rustls providers must install a default one
    /// first.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self::from_connection(RedisConnection::to_server(client))
    }

    /// Creates a store on the master that a Sentinel client finds; it connects on first use.
    #[must_use]
    pub fn from_sentinel(client: SentinelClient) -> Self {
        Self::from_connection(RedisConnection::to_sentinel(client))
    }

    /// Creates a store on a Cluster; it connects on first use.
    ///
    /// The store switches the client's retries off, because they could apply a write twice if an answer was lost.
    ///
    /// # Errors
    ///
    /// If the client cannot be built.
    pub fn from_cluster(builder: ClusterClientBuilder) -> Result<Self, StoreError> {
        Ok(Self::from_connection(RedisConnection::to_cluster(builder).map_err(store_error)?))
    }

    fn from_connection(connection: RedisConnection) -> Self {
        Self { connection: Arc::new(connection), prefix: "sessile:".into(), deadline: DEFAULT_DEADLINE }
    }

    async fn connected(self) -> Result<Self, StoreError> {
        Deadline::new(CONNECT_DEADLINE).limit(self.connection.checkout()).await?.map_err(store_error)?;
        Ok(self)
    }

    /// Sets the prefix of all keys. Default: `sessile:`.
    #[must_use]
    pub fn with_prefix(mut self, prefix: &str) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets the time limit of an operation, connecting included. Default: 2 seconds.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    fn key(&self, id: &SessionId) -> Vec<u8> {
        format!("{}session:{id}", self.prefix).into_bytes()
    }

    fn index_key(&self, owner: &str) -> Vec<u8> {
        format!("{}owner:{owner}", self.prefix).into_bytes()
    }

    /// Returns the keys of a write: the record and, unless it may be on another node, the owner's index.
    fn write_keys(&self, id: &SessionId, owner: Option<&str>) -> Vec<Vec<u8>> {
        let index = owner.filter(|_| !self.connection.is_cluster()).map(|owner| self.index_key(owner));
        [self.key(id)].into_iter().chain(index).collect()
    }

    /// Runs a script that answers with a negated life if the caller must write the owner's index for this life first.
    ///
    /// `arguments` adds the script's arguments, which say whether the caller has written the index.
    async fn write(
        &self,
        script: &Script,
        record: &Record,
        mut index_for: Option<i64>,
        arguments: impl Fn(&mut Cmd, bool) + Sync,
    ) -> Result<bool, StoreError> {
        let keys = self.write_keys(record.id(), record.owner());
        loop {
            if let (Some(owner), Some(life)) = (record.owner(), index_for) {
                let index = [self.index_key(owner)];
                let answer = self.script(&INDEX, &index, false, |command| {
                    command.arg(record.id().to_string()).arg(life);
                });
                answer.await?;
            }
            match self.script(script, &keys, false, |command| arguments(command, index_for.is_some())).await? {
                Value::Int(life @ ..0) if index_for.is_none() => index_for = Some(-life),
                answer => return parsed_bool(&answer),
            }
        }
    }

    /// Runs a script. One that only reads is repeatable: it may be sent twice.
    async fn script(
        &self,
        script: &Script,
        keys: &[Vec<u8>],
        is_repeatable: bool,
        arguments: impl Fn(&mut Cmd) + Sync,
    ) -> Result<Value, StoreError> {
        let with_arguments = |mut command: Cmd| {
            arguments(&mut command);
            command
        };
        let full_script = || with_arguments(script.in_full(keys));
        let command = with_arguments(script.by_hash(keys));
        self.connection.run(command, Deadline::new(self.deadline), is_repeatable, Some(&full_script)).await
    }

    /// Returns the ids in an owner's index, oldest first. Some may have ended, or have another owner now.
    async fn indexed_ids(&self, owner: &str) -> Result<Vec<SessionId>, StoreError> {
        let listed: Vec<String> = parsed(self.script(&OWNED, &[self.index_key(owner)], true, |_| {}).await?)?;
        let mut ids: Vec<SessionId> = listed.iter().filter_map(|id| id.parse().ok()).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// Removes ended sessions from an owner's index.
    async fn remove_entries(&self, ids: &[SessionId], owner: &str) -> Result<(), StoreError> {
        let mut command = redis::cmd("ZREM");
        command.arg(self.index_key(owner));
        for id in ids {
            command.arg(id.to_string());
        }
        self.repeatable(command).await.map(drop)
    }

    /// Deletes those of these records that have this owner and realm, in one script.
    async fn delete_owned(
        &self,
        ids: &[SessionId],
        owner: &str,
        realm: Option<&str>,
    ) -> Result<Vec<SessionId>, StoreError> {
        let index = (!self.connection.is_cluster()).then(|| self.index_key(owner));
        let keys: Vec<_> = ids.iter().map(|id| self.key(id)).chain(index).collect();
        let answer = self.script(&DELETE_OWNED, &keys, false, |command| {
            command.arg(owner).arg(i32::from(realm.is_some())).arg(realm.unwrap_or_default());
            for id in ids {
                command.arg(id.to_string());
            }
        });
        let deleted: Vec<String> = parsed(answer.await?)?;
        Ok(deleted.iter().filter_map(|id| id.parse().ok()).collect())
    }

    /// Runs a command that may be sent twice.
    async fn repeatable(&self, command: Cmd) -> Result<Value, StoreError> {
        self.connection.run(command, Deadline::new(self.deadline), true, None).await
    }
}

impl Store for RedisStore {
    async fn get(&self, id: &SessionId) -> Result<Option<Record>, StoreError> {
        let mut command = redis::cmd("HMGET");
        command.arg(self.key(id)).arg(&FIELDS);
        parsed_record(id, self.repeatable(command).await?)
    }

    async fn set(&self, record: &Record, expected: Expected) -> Result<Outcome, StoreError> {
        let expires_at = record.expiry();
        let is_new = expected == Expected::Absent;
        let keeps_times = matches!(expected, Expected::VersionKeepingTimes(_));
        let expected = expected.version().map(|version| version.get().to_string()).unwrap_or_default();
        // No entry of a new session can be in the index, so that the first answer would demand one.
        let index_for = (is_new && self.connection.is_cluster()).then(|| remaining_life(expires_at));
        let is_written = self.write(&SET, record, index_for, |command, is_indexed| {
            command.arg(&expected).arg(record.version().get()).arg(record.realm());
            command.arg(record.last_seen_timestamp().milliseconds()).arg(expires_at.milliseconds());
            command.arg(remaining_life(expires_at)).arg(record.state()).arg(record.id().to_string());
            command.arg(i32::from(is_indexed)).arg(i32::from(keeps_times)).arg(record.owner());
        });
        Ok(if is_written.await? { Outcome::Written } else { Outcome::Refused })
    }

    async fn touch(&self, record: &Record, touch: Touch) -> Result<bool, StoreError> {
        let (last_seen, expires_at) = (Timestamp::from(touch.last_seen), Timestamp::from(touch.expires_at));
        let moved = self.write(&TOUCH, record, None, |command, is_indexed| {
            command.arg(record.version().get()).arg(last_seen.milliseconds()).arg(expires_at.milliseconds());
            command.arg(remaining_life(expires_at)).arg(record.id().to_string()).arg(i32::from(is_indexed));
        });
        moved.await
    }

    async fn delete(&self, id: &SessionId, owner: Option<&str>) -> Result<bool, StoreError> {
        let keys = self.write_keys(id, owner);
        let answer = self.script(&DELETE, &keys, false, |command| {
            command.arg(id.to_string());
        });
        let is_deleted = parsed_bool(&answer.await?)?;
        if let Some(owner) = owner.filter(|_| is_deleted && self.connection.is_cluster()) {
            // Readers skip an entry that stays behind, and it expires: no reason to fail.
            let _ = self.remove_entries(&[*id], owner).await;
        }
        Ok(is_deleted)
    }

    async fn remove_from_index(&self, id: &SessionId, owner: &str) -> Result<(), StoreError> {
        self.remove_entries(&[*id], owner).await
    }

    fn is_remote(&self) -> bool {
        true
    }

    async fn owned_by(&self, owner: &str) -> Result<Vec<Record>, StoreError> {
        let ids = self.indexed_ids(owner).await?;
        let mut records = Vec::with_capacity(ids.len());
        for ids in ids.chunks(OWNED_BATCH_SIZE) {
            let mut gets = JoinSet::new();
            for (position, id) in ids.iter().copied().enumerate() {
                let store = self.clone();
                gets.spawn(async move { (position, store.get(&id).await) });
            }
            let mut found = vec![None; ids.len()];
            while let Some(joined) = gets.join_next().await {
                let (position, record) = joined.map_err(StoreError::other)?;
                found[position] = record?;
            }
            // The index may list sessions that have ended or have another owner now.
            records.extend(found.into_iter().flatten().filter(|record| record.owner() == Some(owner)));
        }
        Ok(records)
    }

    /// Deletes all records in one script; in a Cluster, where each may be on another node, several at a time, the newest first.
    async fn delete_owned_by(
        &self,
        owner: &str,
        realm: Option<&str>,
        keep: Option<&SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        let mut ids = self.indexed_ids(owner).await?;
        ids.retain(|id| keep != Some(id));
        if !self.connection.is_cluster() {
            return self.delete_owned(&ids, owner, realm).await;
        }
        ids.reverse();
        let mut deleted = Vec::new();
        for ids in ids.chunks(OWNED_BATCH_SIZE) {
            let mut deletions = JoinSet::new();
            for id in ids.iter().copied() {
                let (store, owner, realm) = (self.clone(), owner.to_owned(), realm.map(str::to_owned));
                deletions.spawn(async move { store.delete_owned(&[id], &owner, realm.as_deref()).await });
            }
            while let Some(joined) = deletions.join_next().await {
                deleted.extend(joined.map_err(StoreError::other)??);
            }
        }
        if !deleted.is_empty() {
            // Readers skip entries that stay behind, and they expire: no reason to fail.
            let _ = self.remove_entries(&deleted, owner).await;
        }
        Ok(deleted)
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("connection", &self.connection)
            .field("prefix", &self.prefix)
            .field("deadline", &self.deadline)
            .finish()
    }
}

/// Returns the time until an expiry, in milliseconds, by this node's clock.
///
/// The node computed the expiry by the same clock, so the difference is right even if the clock is wrong.
fn remaining_life(expires_at: Timestamp) -> i64 {
    expires_at.milliseconds() - Clock::system().now().milliseconds()
}

fn parsed_record(id: &SessionId, fields: Value) -> Result<Option<Record>, StoreError> {
    let fields: [Option<Vec<u8>>; 6] = parsed(fields)?;
    if fields.iter().all(Option::is_none) {
        return Ok(None);
    }
    let [version, realm, owner, last_seen, expires_at, state] = fields;
    let version = Version::new(parsed_number("version", version)?);
    let text = |field: Option<Vec<u8>>| field.map(String::from_utf8).transpose().map_err(StoreError::corrupt);
    let realm = text(realm)?.ok_or_else(|| missing("realm"))?.into();
    let owner = text(owner)?.map(Arc::from);
    let last_seen = Timestamp::from_milliseconds(parsed_number("last_seen", last_seen)?);
    let expires_at = Timestamp::from_milliseconds(parsed_number("expires_at", expires_at)?);
    let state = state.ok_or_else(|| missing("state"))?;
    Ok(Some(Record::new(*id, version, realm, owner, (last_seen, expires_at), state.into())))
}

fn missing(field: &str) -> StoreError {
    StoreError::corrupt(format!("the field {field} is missing"))
}

fn parsed_number<T: FromStr>(name: &str, field: Option<Vec<u8>>) -> Result<T, StoreError> {
    let number = field.and_then(|field| std::str::from_utf8(&field).ok()?.parse().ok());
    number.ok_or_else(|| StoreError::corrupt(format!("the field {name} is missing or not a number")))
}

fn parsed<T: FromRedisValue>(value: Value) -> Result<T, StoreError> {
    // The text of the client would contain the answer.
    from_redis_value(value).map_err(|_| StoreError::corrupt("the answer has another type"))
}

fn parsed_bool(answer: &Value) -> Result<bool, StoreError> {
    match answer {
        Value::Int(0) => Ok(false),
        Value::Int(1) => Ok(true),
        _ => Err(StoreError::other("unexpected answer of a script")),
    }
}
