//! Redis and Valkey.

mod connection;
mod failure;
mod listing;
mod script;
mod stored;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use redis::cluster::ClusterClientBuilder;
use redis::sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType};
use redis::{
    Client, Cmd, ConnectionAddr, ConnectionInfo, FromRedisValue, IntoConnectionInfo, TlsMode, Value, from_redis_value,
};
use tokio::task::JoinSet;
use uuid::Uuid;

use self::connection::{RedisConnection, Request, Work, install_tls_provider};
use self::script::{DELETE, DELETE_OWNED, INDEX, SET, Script, TOUCH};
use self::stored::{MAX_HEAD, decode, decode_summary, has_owner, text_bytes, time_bytes, version_bytes};
use super::deadline::{CONNECT_DEADLINE, DEFAULT_DEADLINE, Deadline};
use super::server_clock::warn_if_clock_differs;
use super::{Cursor, Expected, Outcome, Page, RecordSummary, Store, Touch};
use crate::clock::{Clock, Timestamp};
use crate::error::{StoreError, StoreErrorKind};
use crate::record::Record;
use crate::token::SessionId;

/// Number of keys that `connect` reads to find out whether the server is a node of a Cluster.
const PROBED_KEYS: u128 = 16;
/// Number of keys that `count` asks for at once.
const COUNTED_AT_ONCE: usize = 1000;
/// Length of an id in a key.
const ENCODED_ID: usize = 22;
/// Most records of a page: the server counts them in a signed number, and the states of all are read at once.
const MAX_PAGE_SIZE: usize = 1_000;
/// Number of records that `owned_by` reads at once.
const OWNED_BATCH_SIZE: usize = 64;

/// A store in Redis or Valkey, 6.2 or newer: one server, Sentinel, or a Cluster.
///
/// Each operation on one record is one round trip, and each write is one atomic script. Redis deletes expired records by itself. The
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
/// A record is the string `sessile:<id>`, where the id is the UUID's 16 bytes in base64url, 22 characters. The sorted set
/// `sessile:owner:<owner>` is the owner's index: session ids, as 16 bytes, by the minute at which the entry expires. It lists
/// every live session of the owner. It may also list ended sessions, which [`owned_by`](Store::owned_by) skips; each write to the
/// index removes expired entries.
///
/// In a Cluster the index may be on another node than the record, so the store writes it first. Creating a session with an
/// owner costs one more round trip, a sign-in two, and ending such a session one.
///
/// [`list`](Store::list) and [`count`](Store::count) scan the keys. A server that restarts or fails over between two pages may
/// skip records, and so may a Cluster whose slots move between nodes.
///
/// # Connections
///
/// Each tokio runtime that uses the store has one connection, to the server or to each node. Before a write on a connection that
/// was idle for a second, the store sends a PING, and connects again if the server has closed it. A command that only reads is
/// sent again if its connection fails.
#[derive(Clone)]
pub struct RedisStore {
    connection: Arc<RedisConnection>,
    prefix: Arc<str>,
    deadline: Duration,
}

impl RedisStore {
    /// Connects to the server at a URL: `redis://user:password@host:6379/0`, or `rediss://…` with the feature `tls-rustls`.
    ///
    /// # Errors
    ///
    /// If the URL is invalid, or the store cannot connect within five seconds;
    /// [`Unsupported`](crate::store::StoreErrorKind::Unsupported) if the server is a node of a Cluster.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        install_tls_provider(&[url]);
        let client = Client::open(url).map_err(StoreError::other)?;
        Self::new(client).connected().await
    }

    /// Connects to the master of this name through the sentinels at these URLs.
    ///
    /// `master` is the name, or a URL with the name in place of the host, if the master needs a password, TLS or a database
    /// number: `rediss://user:password@main/3`. The URLs of the sentinels have the sentinels' own password.
    ///
    /// # Errors
    ///
    /// If a URL is invalid, or the store cannot connect to the master within five seconds.
    pub async fn connect_sentinel(urls: &[&str], master: &str) -> Result<Self, StoreError> {
        install_tls_provider(&[urls, &[master]].concat());
        let sentinels = connection_infos(urls)?;
        let addresses = addresses(&sentinels);
        let (master, info) = if master.contains("://") { master_node(master)? } else { (master.to_owned(), None) };
        let client = SentinelClient::build(sentinels, master.clone(), info, SentinelServerType::Master);
        let client = client.map_err(StoreError::other)?;
        let addresses = format!("the master {master} of the sentinels {addresses}");
        Self::from_connection(RedisConnection::to_sentinel(client, addresses)).connected().await
    }

    /// Connects to the Cluster of the nodes at these URLs.
    ///
    /// # Errors
    ///
    /// If a URL is invalid, or the store cannot connect to any node within five seconds.
    pub async fn connect_cluster(urls: &[&str]) -> Result<Self, StoreError> {
        install_tls_provider(urls);
        let nodes = connection_infos(urls)?;
        let addresses = addresses(&nodes);
        let connection = RedisConnection::to_cluster(ClusterClientBuilder::new(nodes), addresses)?;
        Self::from_connection(connection).connected().await
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
        Self::from_connection(RedisConnection::to_sentinel(client, "the master of the sentinels".into()))
    }

    /// Creates a store on a Cluster; it connects on first use.
    ///
    /// The store switches the client's retries off, because they could apply a write twice if an answer was lost.
    ///
    /// # Errors
    ///
    /// If the client cannot be built; [`Unsupported`](crate::store::StoreErrorKind::Unsupported) if the builder routes reads to
    /// replicas, which lag behind their masters.
    pub fn from_cluster(builder: ClusterClientBuilder) -> Result<Self, StoreError> {
        RedisConnection::to_cluster(builder, "the nodes of the Cluster".into()).map(Self::from_connection)
    }

    fn from_connection(connection: RedisConnection) -> Self {
        Self { connection: Arc::new(connection), prefix: "sessile:".into(), deadline: DEFAULT_DEADLINE }
    }

    /// Connects, and checks the server.
    async fn connected(self) -> Result<Self, StoreError> {
        let deadline = Deadline::new(CONNECT_DEADLINE);
        deadline.limit(self.connection.checkout()).await??;
        // Restricted users may not ask for the time, or use these keys.
        if let Ok(time) = self.connection.run(Request::reading(Work::Command(redis::cmd("TIME"))), deadline).await
            && let Ok((seconds, _)) = parsed::<(i64, i64)>(time)
        {
            warn_if_clock_differs("Redis", Timestamp::from_milliseconds(seconds.saturating_mul(1000)));
        }
        if !self.connection.is_cluster() {
            // A node of a Cluster refuses the keys of other nodes.
            let ids = (1..=PROBED_KEYS).map(|id| SessionId::from(Uuid::from_u128(id)));
            let gets = ids.map(|id| command("GET", self.key(&id))).collect();
            if let Err(error) = self.connection.read(gets, deadline).await
                && error.kind() == StoreErrorKind::Unsupported
            {
                return Err(error);
            }
        }
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
        let mut key = Vec::with_capacity(self.prefix.len() + ENCODED_ID);
        key.extend_from_slice(self.prefix.as_bytes());
        key.resize(self.prefix.len() + ENCODED_ID, 0);
        let encoded = URL_SAFE_NO_PAD.encode_slice(id_bytes(id), &mut key[self.prefix.len()..]);
        debug_assert_eq!(encoded, Ok(ENCODED_ID));
        key
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
                let answer = self.script(&INDEX, &index, |command| {
                    command.arg(id_bytes(record.id())).arg(life);
                });
                answer.await?;
            }
            match self.script(script, &keys, |command| arguments(command, index_for.is_some())).await? {
                Value::Int(life @ ..0) if index_for.is_none() => index_for = Some(-life),
                answer => return parsed_bool(&answer),
            }
        }
    }

    /// Runs a script.
    async fn script(
        &self,
        script: &Script,
        keys: &[Vec<u8>],
        arguments: impl Fn(&mut Cmd) + Sync,
    ) -> Result<Value, StoreError> {
        let with_arguments = |mut command: Cmd| {
            arguments(&mut command);
            command
        };
        let full_script = || with_arguments(script.in_full(keys));
        let work = Work::Command(with_arguments(script.by_hash(keys)));
        let request = Request { work, node: None, is_repeatable: false, full_script: Some(&full_script) };
        self.connection.run(request, Deadline::new(self.deadline)).await
    }

    /// Returns the ids in an owner's index, oldest first. Some may have ended, or have another owner now.
    async fn indexed_ids(&self, owner: &str) -> Result<Vec<SessionId>, StoreError> {
        let mut command = command("ZRANGE", self.index_key(owner));
        command.arg(0).arg(-1);
        let listed: Vec<Vec<u8>> = parsed(self.repeatable(command).await?)?;
        let mut ids: Vec<SessionId> = listed.iter().filter_map(|id| parsed_id(id)).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// Removes ended sessions from an owner's index.
    async fn remove_entries(&self, ids: &[SessionId], owner: &str) -> Result<(), StoreError> {
        let mut command = command("ZREM", self.index_key(owner));
        for id in ids {
            command.arg(id_bytes(id));
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
        let answer = self.script(&DELETE_OWNED, &keys, |command| {
            command.arg(owner_bytes(owner, realm));
            for id in ids {
                command.arg(id_bytes(id));
            }
        });
        let deleted: Vec<Vec<u8>> = parsed(answer.await?)?;
        Ok(deleted.iter().filter_map(|id| parsed_id(id)).collect())
    }

    /// Reads whole records, all at once on one server; `None` for one that is missing.
    async fn records(&self, ids: &[SessionId]) -> Result<Vec<Option<Record>>, StoreError> {
        let gets = ids.iter().map(|id| command("GET", self.key(id))).collect();
        let answers = self.connection.read(gets, Deadline::new(self.deadline)).await?;
        ids.iter().zip(answers).map(|(id, answer)| parsed_record(id, answer)).collect()
    }

    /// Reads the heads of records and `more` bytes after them, all at once on one server; empty for one that is missing.
    async fn heads(&self, ids: &[SessionId], more: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        let get = |id| {
            let mut command = command("GETRANGE", self.key(id));
            command.arg(0).arg(MAX_HEAD + more);
            command
        };
        let answers = self.connection.read(ids.iter().map(get).collect(), Deadline::new(self.deadline)).await?;
        answers.into_iter().map(parsed).collect()
    }

    /// Runs a command that may be sent twice.
    async fn repeatable(&self, command: Cmd) -> Result<Value, StoreError> {
        self.connection.run(Request::reading(Work::Command(command)), Deadline::new(self.deadline)).await
    }
}

impl Store for RedisStore {
    async fn get(&self, id: &SessionId) -> Result<Option<Record>, StoreError> {
        parsed_record(id, self.repeatable(command("GET", self.key(id))).await?)
    }

    async fn set(&self, record: &Record, expected: Expected) -> Result<Outcome, StoreError> {
        let expires_at = record.expiry();
        let is_new = expected == Expected::Absent;
        let mut front = version_bytes(record.version());
        let life = if matches!(expected, Expected::VersionKeepingTimes(_)) {
            String::new()
        } else {
            front.extend_from_slice(&time_bytes(record.last_seen_timestamp()));
            front.extend_from_slice(&time_bytes(expires_at));
            remaining_life(expires_at).to_string()
        };
        let expected = expected.version().map(version_bytes).unwrap_or_default();
        let owner = text_bytes(record.owner());
        let back = [&owner, &text_bytes(Some(record.realm())), record.state()].concat();
        // No entry of a new session can be in the index, so that the first answer would demand one.
        let index_for = (is_new && self.connection.is_cluster()).then(|| remaining_life(expires_at));
        let is_written = self.write(&SET, record, index_for, |command, is_indexed| {
            command.arg(&expected).arg(&front).arg(&back).arg(&life).arg(MAX_HEAD + owner.len() - 1);
            if record.owner().is_some() {
                command.arg(&owner).arg(id_bytes(record.id())).arg(i32::from(is_indexed));
            }
        });
        Ok(if is_written.await? { Outcome::Written } else { Outcome::Refused })
    }

    async fn touch(&self, record: &Record, touch: Touch) -> Result<bool, StoreError> {
        let (last_seen, expires_at) = (Timestamp::from(touch.last_seen), Timestamp::from(touch.expires_at));
        let moved = self.write(&TOUCH, record, None, |command, is_indexed| {
            command.arg(version_bytes(record.version()));
            command.arg(&time_bytes(last_seen)).arg(&time_bytes(expires_at)).arg(remaining_life(expires_at));
            command.arg(i32::from(record.owner().is_some())).arg(id_bytes(record.id())).arg(i32::from(is_indexed));
        });
        moved.await
    }

    async fn delete(&self, id: &SessionId, owner: Option<&str>) -> Result<bool, StoreError> {
        let keys = self.write_keys(id, owner);
        let answer = self.script(&DELETE, &keys, |command| {
            command.arg(id_bytes(id));
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
            // The index may list sessions that have ended or have another owner now.
            let found = self.records(ids).await?;
            records.extend(found.into_iter().flatten().filter(|record| record.owner() == Some(owner)));
        }
        Ok(records)
    }

    async fn ids_of(&self, owner: &str, realm: Option<&str>) -> Result<Vec<SessionId>, StoreError> {
        let ids = self.indexed_ids(owner).await?;
        let owner = owner_bytes(owner, realm);
        let heads = self.heads(&ids, owner.len()).await?;
        let mut owned = Vec::with_capacity(ids.len());
        for (id, head) in ids.into_iter().zip(&heads) {
            if !head.is_empty() && has_owner(head, &owner)? {
                owned.push(id);
            }
        }
        Ok(owned)
    }

    async fn summaries_of(&self, ids: &[SessionId]) -> Result<Vec<Option<RecordSummary>>, StoreError> {
        let heads = self.heads(ids, 0).await?;
        heads.iter().map(|head| if head.is_empty() { Ok(None) } else { decode_summary(head).map(Some) }).collect()
    }

    /// Scans the keys of the server, or of one master of a Cluster after the other.
    async fn list(&self, after: Option<&Cursor>, limit: usize) -> Result<Page, StoreError> {
        let (ids, next) = self.scan(after, limit.clamp(1, MAX_PAGE_SIZE)).await?;
        Ok(Page { records: self.records(&ids).await?.into_iter().flatten().collect(), next })
    }

    async fn count(&self) -> Result<u64, StoreError> {
        let (mut count, mut next) = (0, None);
        loop {
            let (ids, following) = self.scan(next.as_ref(), COUNTED_AT_ONCE).await?;
            count += ids.len() as u64;
            if following.is_none() {
                return Ok(count);
            }
            next = following;
        }
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

fn command(name: &str, key: Vec<u8>) -> Cmd {
    let mut command = redis::cmd(name);
    command.arg(key);
    command
}

fn id_bytes(id: &SessionId) -> &[u8] {
    id.as_uuid().as_bytes()
}

fn parsed_id(bytes: &[u8]) -> Option<SessionId> {
    Uuid::from_slice(bytes).ok().map(SessionId::from)
}

/// Returns an owner, or an owner and a realm, as records have them.
fn owner_bytes(owner: &str, realm: Option<&str>) -> Vec<u8> {
    let realm = realm.map(|realm| text_bytes(Some(realm))).unwrap_or_default();
    [text_bytes(Some(owner)), realm].concat()
}

fn connection_infos(urls: &[&str]) -> Result<Vec<ConnectionInfo>, StoreError> {
    urls.iter().map(|url| url.into_connection_info().map_err(StoreError::other)).collect()
}

/// Returns the addresses, without credentials.
fn addresses(infos: &[ConnectionInfo]) -> String {
    infos.iter().map(|info| info.addr().to_string()).collect::<Vec<_>>().join(", ")
}

/// Reads the URL of a master, which has the master's name in place of a host.
fn master_node(url: &str) -> Result<(String, Option<SentinelNodeConnectionInfo>), StoreError> {
    let info = url.into_connection_info().map_err(StoreError::other)?;
    let node = SentinelNodeConnectionInfo::default().set_redis_connection_info(info.redis_settings().clone());
    match info.addr() {
        ConnectionAddr::Tcp(name, _) => Ok((name.clone(), Some(node))),
        ConnectionAddr::TcpTls { host, insecure, .. } => {
            let mode = if *insecure { TlsMode::Insecure } else { TlsMode::Secure };
            Ok((host.clone(), Some(node.set_tls_mode(mode))))
        }
        _ => Err(StoreError::other("the URL of a master has its name in place of the host")),
    }
}

fn parsed_record(id: &SessionId, answer: Value) -> Result<Option<Record>, StoreError> {
    match answer {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => decode(id, &bytes).map(Some),
        _ => Err(StoreError::corrupt("the answer has another type")),
    }
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
