//! Sessions of tower-sessions in Redis.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Client, Cmd, FromRedisValue};
use tokio::sync::Mutex;

use super::{is_id, live};
use crate::error::StoreError;
use crate::migrate::{LegacySession, LegacySessions};

/// Maximum duration of an operation, connecting included.
const DEADLINE: Duration = Duration::from_secs(2);

/// Sessions of tower-sessions in Redis.
///
/// The key of a session is its id, without a prefix.
///
/// ```no_run
/// # fn start() -> Result<(), Box<dyn std::error::Error>> {
/// use sessile::migrate::MigrationLayer;
/// use sessile::migrate::tower_sessions::RedisSessions;
///
/// let migration = MigrationLayer::new(RedisSessions::new(redis::Client::open("redis://localhost/")?));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct RedisSessions {
    client: Client,
    connection: Arc<Mutex<Option<MultiplexedConnection>>>,
}

impl RedisSessions {
    /// Creates a reader that connects with this client at the first old cookie.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, connection: Arc::default() }
    }

    async fn run<T: FromRedisValue>(&self, command: Cmd) -> Result<T, StoreError> {
        let answer = async {
            let mut connection = self.connected().await?;
            command.query_async(&mut connection).await
        };
        let answer = tokio::time::timeout(DEADLINE, answer).await;
        let answer = answer.map_err(StoreError::unavailable).and_then(|answer| answer.map_err(StoreError::unavailable));
        if answer.is_err() {
            // The connection may hang or be closed: the next operation opens another.
            *self.connection.lock().await = None;
        }
        answer
    }

    async fn connected(&self) -> Result<MultiplexedConnection, redis::RedisError> {
        let mut current = self.connection.lock().await;
        if let Some(connection) = &*current {
            return Ok(connection.clone());
        }
        let connection = self.client.get_multiplexed_async_connection().await?;
        Ok(current.insert(connection).clone())
    }
}

impl LegacySessions for RedisSessions {
    async fn load(&self, cookie: &str) -> Result<Option<LegacySession>, StoreError> {
        if !is_id(cookie) {
            return Ok(None);
        }
        let mut command = Cmd::new();
        command.arg("GET").arg(cookie);
        live(self.run(command).await?)
    }

    async fn delete(&self, cookie: &str) -> Result<(), StoreError> {
        let mut command = Cmd::new();
        command.arg("DEL").arg(cookie);
        self.run::<i64>(command).await.map(drop)
    }
}

impl fmt::Debug for RedisSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSessions").finish_non_exhaustive()
    }
}
