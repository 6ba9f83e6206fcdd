//! Its keys in Redis.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Client, Cmd, FromRedisValue};
use tokio::sync::Mutex;

use super::{decode, is_id};
use crate::error::StoreError;
use crate::migrate::{LegacySession, LegacySessions};

/// How long an operation may take, connecting included.
const DEADLINE: Duration = Duration::from_secs(2);

/// Its sessions in Redis: each under its id, without a prefix.
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
    /// The sessions on the server of this client. It connects when the first old cookie comes.
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
            // It may hang or be gone: the next one begins with a connection of its own.
            *self.connection.lock().await = None;
        }
        answer
    }

    async fn connected(&self) -> Result<MultiplexedConnection, redis::RedisError> {
        let mut kept = self.connection.lock().await;
        if let Some(connection) = &*kept {
            return Ok(connection.clone());
        }
        let connection = self.client.get_multiplexed_async_connection().await?;
        Ok(kept.insert(connection).clone())
    }
}

impl LegacySessions for RedisSessions {
    async fn load(&self, cookie: &str) -> Result<Option<LegacySession>, StoreError> {
        if !is_id(cookie) {
            return Ok(None);
        }
        let mut command = Cmd::new();
        command.arg("GET").arg(cookie);
        let found = self.run::<Option<Vec<u8>>>(command).await?;
        let session = found.map(|data| decode(&data)).transpose()?;
        Ok(session.filter(|session| time::OffsetDateTime::now_utc() < session.expires_at()))
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
