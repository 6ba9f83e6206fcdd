//! The connections to the servers, shared by all operations and replaced when they fail.

use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo, SingleNodeRoutingInfo};
use redis::sentinel::SentinelClient;
use redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, RedisError, RedisResult, Value};
use tokio::runtime;
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::{JoinHandle, JoinSet};

use super::failure::{RedisFailure, connect_error, store_error};
use super::script::FullScript;
use crate::backoff::pause;
use crate::error::StoreError;
use crate::store::deadline::Deadline;

/// Response timeout of a Cluster client, which needs one: longer than any deadline of the store.
const CLUSTER_RESPONSE_TIMEOUT: Duration = Duration::from_secs(3600);
/// Time after which a connection may have been closed, because nothing was received.
const MAX_SILENCE: Duration = Duration::from_secs(1);
/// Number of attempts while the client of a Cluster reconnects: half a second in all.
const MAX_ATTEMPTS_WITHOUT_NODE: u32 = 20;
/// Number of commands that one call sends to a Cluster at once.
const MAX_PARALLEL_READS: usize = 64;
/// Time that the masters of a Cluster have to answer a PING. One of them may be down, and the command may be for another.
const PING_TIMEOUT: Duration = Duration::from_millis(250);
/// Time between two PINGs while the client of a Cluster reconnects.
const PING_INTERVAL: Duration = Duration::from_millis(5);

/// A command, or several at once, and how to send it.
pub(super) struct Request<'a> {
    pub(super) work: Work,
    /// The node of a Cluster that it is for, if not that of its key.
    pub(super) node: Option<&'a str>,
    /// It may be sent twice, since it changes nothing.
    pub(super) is_repeatable: bool,
    /// Returns the command with the script's code, for a server that does not have the script.
    pub(super) full_script: Option<FullScript<'a>>,
}

pub(super) enum Work {
    Command(Cmd),
    /// For one server; a Cluster takes one command at a time.
    Pipeline(Pipeline),
}

/// The connections to one server, or to one Cluster.
pub(super) struct RedisConnection {
    target: Target,
    /// Addresses for errors, without credentials.
    addresses: Box<str>,
    /// One connection for each runtime, because the task that drives a connection ends with the runtime that opened it.
    open: Mutex<Vec<Arc<OpenConnection>>>,
    /// Held while connecting, so that only one operation connects.
    connecting: AsyncMutex<()>,
}

enum Target {
    Server(Box<Client>),
    Sentinel(Box<AsyncMutex<SentinelClient>>),
    Cluster(Box<ClusterClient>),
}

/// A connection and the runtime that drives it.
pub(super) struct OpenConnection {
    connection: Connection,
    runtime: runtime::Id,
    /// A task of the runtime that ends with it: another runtime may later have the same id.
    guard: JoinHandle<()>,
    opened_at: Instant,
    /// Time of the last answer, in milliseconds after `opened_at`.
    answered_at: AtomicU64,
    /// When the masters of a Cluster were last asked whether they answer.
    checked_at: AsyncMutex<Instant>,
}

#[derive(Clone)]
enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl RedisConnection {
    pub(super) fn to_server(client: Client) -> Self {
        let address = client.get_connection_info().addr().to_string();
        Self::new(Target::Server(Box::new(client)), address)
    }

    pub(super) fn to_sentinel(client: SentinelClient, addresses: String) -> Self {
        Self::new(Target::Sentinel(Box::new(AsyncMutex::new(client))), addresses)
    }

    /// Creates a connection without the client's retries, which could apply a write twice.
    ///
    /// Fails if the builder has a strategy for reads: a replica lags behind its master.
    pub(super) fn to_cluster(builder: ClusterClientBuilder, addresses: String) -> Result<Self, StoreError> {
        // The client reveals in no other way whether it reads from replicas.
        if format!("{builder:?}").contains("read_routing_factory: \"set\"") {
            return Err(StoreError::unsupported("the client reads from replicas, which lag; remove its read routing"));
        }
        let builder = builder.retries(0).response_timeout(CLUSTER_RESPONSE_TIMEOUT).overall_response_timeout(None);
        let client = builder.build().map_err(store_error)?;
        Ok(Self::new(Target::Cluster(Box::new(client)), addresses))
    }

    fn new(target: Target, addresses: String) -> Self {
        Self { target, addresses: addresses.into(), open: Mutex::default(), connecting: AsyncMutex::new(()) }
    }

    pub(super) const fn is_cluster(&self) -> bool {
        matches!(self.target, Target::Cluster(_))
    }

    /// Runs a request before the deadline.
    ///
    /// It is sent again only if the server has certainly not run it, or if it is repeatable and its connection failed.
    pub(super) async fn run(&self, mut request: Request<'_>, deadline: Deadline) -> Result<Value, StoreError> {
        let mut was_read_only = false;
        // A node to which the key's slot is being migrated.
        let mut asking: Option<String> = None;
        for attempt in 1.. {
            let open = match self.open_here() {
                Some(open) => open,
                None => deadline.limit(pin!(self.checkout())).await??,
            };
            if !request.is_repeatable {
                let is_alive = open.is_alive(deadline).await;
                if !matches!(is_alive, Ok(true)) {
                    self.replace(&open);
                    is_alive?;
                    continue;
                }
            }
            let answer = {
                // Pinned in its place, since it is large.
                let sending = pin!(open.send(&request, asking.take()));
                deadline.limit(sending).await
            };
            let answer = match answer {
                Ok(answer) => answer,
                Err(exceeded) => {
                    self.replace(&open);
                    return Err(exceeded);
                }
            };
            let error = match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            match (RedisFailure::new(&error), &request.full_script) {
                (RedisFailure::NoScript, Some(full_script)) => {
                    request.work = Work::Command(full_script());
                    continue;
                }
                (RedisFailure::Ask, _) => {
                    asking = error.redirect_node().map(|(node, _)| node.to_owned());
                    continue;
                }
                (RedisFailure::Moved | RedisFailure::CrossSlot, _) if !self.is_cluster() => {
                    let text = format!("{} is a node of a Cluster; use `connect_cluster`", self.addresses);
                    return Err(StoreError::unsupported(text));
                }
                (RedisFailure::Moved | RedisFailure::NotReady, _) => {}
                (RedisFailure::NoNode, _) if attempt < MAX_ATTEMPTS_WITHOUT_NODE => {}
                (RedisFailure::ReadOnly, _) => {
                    // A sentinel, or the name of the server, may lead to the new master.
                    self.replace_single(&open);
                    if std::mem::replace(&mut was_read_only, true) {
                        let text = format!("{} is a replica (READONLY); connect to the master", self.addresses);
                        return Err(StoreError::unavailable(text));
                    }
                }
                (RedisFailure::Connection, _) => {
                    self.replace_single(&open);
                    if !std::mem::take(&mut request.is_repeatable) {
                        return Err(store_error(error));
                    }
                    continue;
                }
                _ => return Err(store_error(error)),
            }
            if deadline.limit(pause(attempt)).await.is_err() {
                return Err(store_error(error));
            }
        }
        unreachable!("the deadline ends the loop")
    }

    /// Runs commands that only read, all at once on one server, and returns their answers in the same order.
    pub(super) async fn read(
        self: &Arc<Self>,
        commands: Vec<Cmd>,
        deadline: Deadline,
    ) -> Result<Vec<Value>, StoreError> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        if !self.is_cluster() {
            let mut pipeline = Pipeline::with_capacity(commands.len());
            for command in commands {
                pipeline.add_command(command);
            }
            return match self.run(Request::reading(Work::Pipeline(pipeline)), deadline).await? {
                Value::Array(answers) => Ok(answers),
                _ => Err(StoreError::other("unexpected answer of the client")),
            };
        }
        let mut answers = vec![Value::Nil; commands.len()];
        let mut reads = JoinSet::new();
        for (position, command) in commands.into_iter().enumerate() {
            let connection = Arc::clone(self);
            reads.spawn(
                async move { (position, connection.run(Request::reading(Work::Command(command)), deadline).await) },
            );
            if reads.len() == MAX_PARALLEL_READS {
                store_next(&mut reads, &mut answers).await?;
            }
        }
        while !reads.is_empty() {
            store_next(&mut reads, &mut answers).await?;
        }
        Ok(answers)
    }

    /// Returns the addresses of a Cluster's masters, in ascending order.
    pub(super) async fn masters(&self, deadline: Deadline) -> Result<Vec<String>, StoreError> {
        let open = deadline.limit(self.checkout()).await??;
        let Connection::Cluster(mut connection) = open.connection.clone() else { return Ok(Vec::new()) };
        let answers = deadline.limit(ping_masters(&mut connection)).await?.map_err(store_error)?;
        let Value::Map(answers) = answers else { return Err(StoreError::other("unexpected answer of the client")) };
        let mut masters: Vec<String> = Vec::with_capacity(answers.len());
        for (address, _) in answers {
            masters.push(redis::from_redis_value(address).map_err(StoreError::other)?);
        }
        masters.sort_unstable();
        Ok(masters)
    }

    /// Returns the open connection of this runtime, or connects.
    pub(super) async fn checkout(&self) -> Result<Arc<OpenConnection>, StoreError> {
        let _guard = self.connecting.lock().await;
        if let Some(open) = self.open_here() {
            return Ok(open);
        }
        let connection = self.connect().await.map_err(|error| connect_error(&self.addresses, error))?;
        let open = Arc::new(OpenConnection::new(connection, runtime::Handle::current().id()));
        let mut all = self.open();
        all.retain(|open| !open.guard.is_finished());
        all.push(Arc::clone(&open));
        Ok(open)
    }

    /// Replaces a failed connection, unless it is a Cluster's, which reconnects to each node by itself.
    fn replace_single(&self, open: &Arc<OpenConnection>) {
        if !self.is_cluster() {
            self.replace(open);
        }
    }

    /// Makes the next operation connect, unless another one has already.
    fn replace(&self, failed: &Arc<OpenConnection>) {
        self.open().retain(|open| !Arc::ptr_eq(open, failed));
    }

    /// Connects; the caller limits the time.
    async fn connect(&self) -> RedisResult<Connection> {
        // The store applies its own deadlines.
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
        loop {
            let connected = match &self.target {
                Target::Server(client) => {
                    client.get_multiplexed_async_connection_with_config(&config).await.map(Connection::Single)
                }
                Target::Sentinel(client) => {
                    client.lock().await.get_async_connection_with_config(&config).await.map(Connection::Single)
                }
                Target::Cluster(client) => client.get_async_connection().await.map(Connection::Cluster),
            };
            // The client gives the sentinels half a second and the nodes of a Cluster one.
            if connected.as_ref().is_err_and(is_timeout) {
                continue;
            }
            return connected;
        }
    }

    /// Returns the open connection of this runtime.
    fn open_here(&self) -> Option<Arc<OpenConnection>> {
        let runtime = runtime::Handle::current().id();
        self.open().iter().find(|open| open.runtime == runtime && !open.guard.is_finished()).cloned()
    }

    fn open(&self) -> MutexGuard<'_, Vec<Arc<OpenConnection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RedisConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.target {
            Target::Server(_) => "Server",
            Target::Sentinel(_) => "Sentinel",
            Target::Cluster(_) => "Cluster",
        })
    }
}

impl OpenConnection {
    fn new(connection: Connection, runtime: runtime::Id) -> Self {
        let opened_at = Instant::now();
        Self {
            connection,
            runtime,
            guard: tokio::spawn(std::future::pending()),
            opened_at,
            answered_at: AtomicU64::new(0),
            checked_at: AsyncMutex::new(opened_at),
        }
    }

    /// Sends a request; with `asking`, to the node to which the key's slot is being migrated.
    async fn send(&self, request: &Request<'_>, asking: Option<String>) -> RedisResult<Value> {
        let answer = match (&self.connection, &request.work) {
            (Connection::Single(connection), Work::Command(command)) => {
                command.query_async(&mut connection.clone()).await
            }
            (Connection::Single(connection), Work::Pipeline(pipeline)) => {
                pipeline.query_async(&mut connection.clone()).await
            }
            (Connection::Cluster(connection), Work::Command(command)) => {
                Box::pin(send_to_cluster(connection.clone(), command, request.node, asking)).await
            }
            (Connection::Cluster(connection), Work::Pipeline(pipeline)) => {
                pipeline.query_async(&mut connection.clone()).await
            }
        };
        self.note_answer();
        answer
    }

    fn note_answer(&self) {
        let after = u64::try_from(self.opened_at.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.answered_at.store(after, Ordering::Relaxed);
    }

    /// Checks, before a command that must not be sent twice, that the server has not closed an idle connection.
    ///
    /// Any answer will do, an error of the server too. A Cluster's client itself replaces the connections that fail.
    async fn is_alive(&self, deadline: Deadline) -> Result<bool, StoreError> {
        match self.connection.clone() {
            Connection::Single(mut connection) => {
                let answered_at = Duration::from_millis(self.answered_at.load(Ordering::Relaxed));
                if self.opened_at.elapsed().saturating_sub(answered_at) < MAX_SILENCE {
                    return Ok(true);
                }
                let answer: RedisResult<Value> =
                    deadline.limit(redis::cmd("PING").query_async(&mut connection)).await?;
                self.note_answer();
                Ok(!answer.is_err_and(|error| is_lost(&error)))
            }
            Connection::Cluster(mut connection) => {
                let mut checked_at = deadline.limit(self.checked_at.lock()).await?;
                if checked_at.elapsed() >= MAX_SILENCE {
                    let all_answer = async {
                        while ping_masters(&mut connection).await.is_err_and(|error| is_lost(&error)) {
                            tokio::time::sleep(PING_INTERVAL).await;
                        }
                    };
                    let _ = tokio::time::timeout(PING_TIMEOUT, all_answer).await;
                    *checked_at = Instant::now();
                }
                Ok(true)
            }
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.guard.abort();
    }
}

impl Request<'_> {
    /// Creates a request that changes nothing.
    pub(super) const fn reading(work: Work) -> Self {
        Self { work, node: None, is_repeatable: true, full_script: None }
    }
}

async fn send_to_cluster(
    mut connection: ClusterConnection,
    command: &Cmd,
    node: Option<&str>,
    asking: Option<String>,
) -> RedisResult<Value> {
    match (asking, node) {
        (Some(node), _) => {
            let mut pipeline = redis::pipe();
            pipeline.cmd("ASKING").add_command(command.clone());
            let mut answers = connection.route_pipeline(pipeline, 0, 2, route_to(&node)).await?;
            answers.pop().unwrap_or(Value::Nil).extract_error()
        }
        (None, Some(node)) => {
            let route = RoutingInfo::SingleNode(route_to(node));
            connection.route_command(command.clone(), route).await?.extract_error()
        }
        (None, None) => command.query_async(&mut connection).await,
    }
}

/// Waits for one of these reads, and stores its answer at its position.
async fn store_next(
    reads: &mut JoinSet<(usize, Result<Value, StoreError>)>,
    answers: &mut [Value],
) -> Result<(), StoreError> {
    if let Some(read) = reads.join_next().await {
        let (position, answer) = read.map_err(StoreError::other)?;
        answers[position] = answer?;
    }
    Ok(())
}

/// Checks whether an error is no answer of a server: even a server that refuses a PING is alive.
fn is_lost(error: &RedisError) -> bool {
    matches!(RedisFailure::new(error), RedisFailure::Connection | RedisFailure::NoNode)
}

/// Checks whether the client has waited for too short a time; the error of a Cluster says so in its text alone.
fn is_timeout(error: &RedisError) -> bool {
    error.is_timeout() || error.to_string().contains("timed out")
}

fn route_to(node: &str) -> SingleNodeRoutingInfo {
    let (host, port) = node.rsplit_once(':').unwrap_or((node, ""));
    SingleNodeRoutingInfo::ByAddress { host: host.to_owned(), port: port.parse().unwrap_or_default() }
}

/// Sends a PING to each master of a Cluster, and returns their answers by their addresses.
async fn ping_masters(connection: &mut ClusterConnection) -> RedisResult<Value> {
    let masters = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
    connection.route_command(redis::cmd("PING"), masters).await
}

/// Installs a default rustls provider unless the application has one: rustls panics if several are linked.
pub(super) fn install_tls_provider(urls: &[&str]) {
    #[cfg(feature = "tls-rustls")]
    if urls.iter().any(|url| url.starts_with("rediss:") || url.starts_with("valkeys:")) {
        // This fails if the application has installed one.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    #[cfg(not(feature = "tls-rustls"))]
    let _ = urls;
}
