//! The connection to the servers, shared by all operations and replaced when it fails.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::SingleNodeRoutingInfo;
use redis::sentinel::SentinelClient;
use redis::{AsyncConnectionConfig, Client, Cmd, RedisResult, Value};
use tokio::sync::Mutex as AsyncMutex;

use super::script::{RedisFailure, store_error};
use crate::backoff::pause;
use crate::error::StoreError;
use crate::store::deadline::Deadline;

/// Response timeout of a Cluster client, which needs one: longer than any deadline of the store.
const CLUSTER_RESPONSE_TIMEOUT: Duration = Duration::from_secs(3600);

pub(super) struct RedisConnection {
    target: Target,
    /// The connection, and the number of connections opened so far.
    current: Mutex<(Option<Connection>, u64)>,
    /// Held while connecting, so that only one operation connects.
    connecting: AsyncMutex<()>,
}

enum Target {
    Server(Box<Client>),
    Sentinel(Box<AsyncMutex<SentinelClient>>),
    Cluster(Box<ClusterClient>),
}

#[derive(Clone)]
enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// A connection in use, with its number.
pub(super) struct Checkout {
    connection: Connection,
    number: u64,
}

impl RedisConnection {
    pub(super) fn to_server(client: Client) -> Self {
        Self::new(Target::Server(Box::new(client)))
    }

    pub(super) fn to_sentinel(client: SentinelClient) -> Self {
        Self::new(Target::Sentinel(Box::new(AsyncMutex::new(client))))
    }

    /// Creates a connection without the client's retries, which could apply a write twice.
    pub(super) fn to_cluster(builder: ClusterClientBuilder) -> RedisResult<Self> {
        let builder = builder.retries(0).response_timeout(CLUSTER_RESPONSE_TIMEOUT).overall_response_timeout(None);
        Ok(Self::new(Target::Cluster(Box::new(builder.build()?))))
    }

    fn new(target: Target) -> Self {
        Self { target, current: Mutex::new((None, 0)), connecting: AsyncMutex::new(()) }
    }

    pub(super) const fn is_cluster(&self) -> bool {
        matches!(self.target, Target::Cluster(_))
    }

    /// Runs a command before the deadline.
    ///
    /// A command is sent again only if the server has certainly not run it, or if it is `repeatable` and its connection
    /// failed. `full_script` returns the command with the script's code, for a server that does not have the script.
    pub(super) async fn run(
        &self,
        mut command: Cmd,
        deadline: Deadline,
        mut repeatable: bool,
        full_script: Option<&(dyn Fn() -> Cmd + Sync)>,
    ) -> Result<Value, StoreError> {
        let mut node: Option<String> = None;
        for attempt in 1.. {
            let mut checkout = deadline.limit(self.checkout()).await?.map_err(store_error)?;
            let answer = match node.take() {
                None => deadline.limit(checkout.connection.send(&command)).await,
                Some(node) => deadline.limit(checkout.connection.send_asking(&node, &command)).await,
            };
            let error = match answer {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => error,
                Err(exceeded) => {
                    self.replace(&checkout);
                    return Err(exceeded);
                }
            };
            match (RedisFailure::new(&error), full_script) {
                (RedisFailure::NoScript, Some(full_script)) => {
                    command = full_script();
                    continue;
                }
                (RedisFailure::Ask, _) => {
                    node = error.redirect_node().map(|(node, _)| node.to_owned());
                    continue;
                }
                (RedisFailure::NotReady, _) => {}
                (RedisFailure::ReadOnly, _) => self.replace_single(&checkout),
                (RedisFailure::Connection, _) => {
                    self.replace_single(&checkout);
                    if !std::mem::take(&mut repeatable) {
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

    /// Returns the open connection, or connects.
    pub(super) async fn checkout(&self) -> RedisResult<Checkout> {
        if let Some(checkout) = self.open_checkout() {
            return Ok(checkout);
        }
        let _guard = self.connecting.lock().await;
        if let Some(checkout) = self.open_checkout() {
            return Ok(checkout);
        }
        let connection = self.connect().await?;
        let mut current = self.current();
        current.1 += 1;
        current.0 = Some(connection.clone());
        Ok(Checkout { connection, number: current.1 })
    }

    /// Replaces a failed connection, unless it is a Cluster's, which reconnects to each node by itself.
    fn replace_single(&self, checkout: &Checkout) {
        if !self.is_cluster() {
            self.replace(checkout);
        }
    }

    /// Makes the next operation connect, unless another one has already.
    fn replace(&self, checkout: &Checkout) {
        let mut current = self.current();
        if current.1 == checkout.number {
            current.0 = None;
        }
    }

    async fn connect(&self) -> RedisResult<Connection> {
        // The store applies its own deadlines.
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
        Ok(match &self.target {
            Target::Server(client) => {
                Connection::Single(client.get_multiplexed_async_connection_with_config(&config).await?)
            }
            Target::Sentinel(client) => {
                Connection::Single(client.lock().await.get_async_connection_with_config(&config).await?)
            }
            Target::Cluster(client) => Connection::Cluster(client.get_async_connection().await?),
        })
    }

    fn open_checkout(&self) -> Option<Checkout> {
        let current = self.current();
        current.0.clone().map(|connection| Checkout { connection, number: current.1 })
    }

    fn current(&self) -> MutexGuard<'_, (Option<Connection>, u64)> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
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

impl Connection {
    async fn send(&mut self, command: &Cmd) -> RedisResult<Value> {
        match self {
            Self::Single(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }

    /// Sends a command to the node to which the key's slot is being migrated.
    async fn send_asking(&mut self, node: &str, command: &Cmd) -> RedisResult<Value> {
        let (host, port) = node.rsplit_once(':').unwrap_or((node, ""));
        let (host, port) = (host.to_owned(), port.parse().unwrap_or_default());
        let Self::Cluster(connection) = self else { return self.send(command).await };
        let mut pipeline = redis::pipe();
        pipeline.cmd("ASKING").add_command(command.clone());
        let answers = connection.route_pipeline(pipeline, 0, 2, SingleNodeRoutingInfo::ByAddress { host, port });
        answers.await?.pop().unwrap_or(Value::Nil).extract_error()
    }
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
