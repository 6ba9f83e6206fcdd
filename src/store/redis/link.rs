//! The way to the servers: one connection that all operations share, made anew when it fails.

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

pub(super) struct Link {
    to: To,
    /// The connection, and how many there were before it.
    open: Mutex<(Option<Connection>, u64)>,
    /// One connects at a time.
    opening: AsyncMutex<()>,
}

enum To {
    Server(Box<Client>),
    Sentinel(Box<AsyncMutex<SentinelClient>>),
    Cluster(Box<ClusterClient>),
}

#[derive(Clone)]
pub(super) enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// A connection that is in use, and which it is.
pub(super) struct Used {
    pub(super) connection: Connection,
    number: u64,
}

impl Link {
    pub(super) fn to_server(client: Client) -> Self {
        Self::new(To::Server(Box::new(client)))
    }

    pub(super) fn to_sentinel(client: SentinelClient) -> Self {
        Self::new(To::Sentinel(Box::new(AsyncMutex::new(client))))
    }

    /// The client would send again what may have been done already; it must not.
    pub(super) fn to_cluster(builder: ClusterClientBuilder) -> RedisResult<Self> {
        let builder = builder.retries(0).response_timeout(Duration::from_secs(3600)).overall_response_timeout(None);
        Ok(Self::new(To::Cluster(Box::new(builder.build()?))))
    }

    fn new(to: To) -> Self {
        Self { to, open: Mutex::new((None, 0)), opening: AsyncMutex::new(()) }
    }

    pub(super) const fn is_cluster(&self) -> bool {
        matches!(self.to, To::Cluster(_))
    }

    /// The connection that is open, or a new one.
    pub(super) async fn connection(&self) -> RedisResult<Used> {
        if let Some(open) = self.present() {
            return Ok(open);
        }
        let _turn = self.opening.lock().await;
        if let Some(open) = self.present() {
            return Ok(open);
        }
        let connection = self.connect().await?;
        let mut open = self.open();
        open.1 += 1;
        open.0 = Some(connection.clone());
        Ok(Used { connection, number: open.1 })
    }

    /// This connection has failed. A Cluster's mends itself, node by node.
    pub(super) fn fail(&self, used: &Used) {
        if !self.is_cluster() {
            self.give_up(used);
        }
    }

    /// This connection hangs: the next operation makes a new one.
    pub(super) fn give_up(&self, used: &Used) {
        let mut open = self.open();
        if open.1 == used.number {
            open.0 = None;
        }
    }

    async fn connect(&self) -> RedisResult<Connection> {
        // Deadlines are ours.
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
        Ok(match &self.to {
            To::Server(client) => Connection::One(client.get_multiplexed_async_connection_with_config(&config).await?),
            To::Sentinel(client) => {
                Connection::One(client.lock().await.get_async_connection_with_config(&config).await?)
            }
            To::Cluster(client) => Connection::Cluster(client.get_async_connection().await?),
        })
    }

    fn present(&self) -> Option<Used> {
        let open = self.open();
        open.0.clone().map(|connection| Used { connection, number: open.1 })
    }

    fn open(&self) -> MutexGuard<'_, (Option<Connection>, u64)> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Settles which cryptography TLS uses, where the application has not: rustls panics where more than one is linked in.
pub(super) fn settle_cryptography(urls: &[&str]) {
    #[cfg(feature = "tls-rustls")]
    if urls.iter().any(|url| url.starts_with("rediss:") || url.starts_with("valkeys:")) {
        // It fails where the application has settled it.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    #[cfg(not(feature = "tls-rustls"))]
    let _ = urls;
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.to {
            To::Server(_) => "Server",
            To::Sentinel(_) => "Sentinel",
            To::Cluster(_) => "Cluster",
        })
    }
}

impl Connection {
    pub(super) async fn ask(&mut self, command: &Cmd) -> RedisResult<Value> {
        match self {
            Self::One(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }

    /// Asks the node to which a key is just being moved.
    pub(super) async fn ask_at(&mut self, node: &str, command: &Cmd) -> RedisResult<Value> {
        let (host, port) = node.rsplit_once(':').unwrap_or((node, ""));
        let (host, port) = (host.to_owned(), port.parse().unwrap_or_default());
        let Self::Cluster(connection) = self else { return self.ask(command).await };
        let mut pipeline = redis::pipe();
        pipeline.cmd("ASKING").add_command(command.clone());
        let answers = connection.route_pipeline(pipeline, 0, 2, SingleNodeRoutingInfo::ByAddress { host, port });
        answers.await?.pop().unwrap_or(Value::Nil).extract_error()
    }
}
