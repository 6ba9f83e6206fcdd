//! Its tables in SQL databases.

use std::time::Duration;

use sqlx::AssertSqlSafe;

use super::{decode, is_id};
use crate::error::StoreError;
use crate::error::{ConfigError, ConfigErrorKind};
use crate::migrate::{LegacySession, LegacySessions};

/// How long an operation may take.
const DEADLINE: Duration = Duration::from_secs(2);

macro_rules! table {
    ($(#[$documentation:meta])+ $name:ident, $pool:ty, $default:literal, $quote:literal, $parameter:literal) => {
        $(#[$documentation])+
        #[derive(Clone, Debug)]
        pub struct $name {
            pool: $pool,
            table: String,
        }

        impl $name {
            /// The sessions in the table that its store makes by default.
            #[must_use]
            pub fn new(pool: $pool) -> Self {
                Self { pool, table: $default.to_owned() }
            }

            /// Names the table: `table`, or `schema.table`.
            ///
            /// # Errors
            ///
            /// Where a name has anything but ASCII letters, digits, underscores and hyphens.
            pub fn with_table(mut self, table: &str) -> Result<Self, ConfigError> {
                self.table = quoted(table, $quote)?;
                Ok(self)
            }
        }

        impl LegacySessions for $name {
            async fn load(&self, cookie: &str) -> Result<Option<LegacySession>, StoreError> {
                if !is_id(cookie) {
                    return Ok(None);
                }
                let sql = format!("SELECT data FROM {} WHERE id = {}", self.table, $parameter);
                let query = sqlx::query_scalar::<_, Vec<u8>>(AssertSqlSafe(sql)).bind(cookie.to_owned());
                let found = in_time(query.fetch_optional(&self.pool)).await?;
                let session = found.map(|data| decode(&data)).transpose()?;
                Ok(session.filter(|session| time::OffsetDateTime::now_utc() < session.expires_at()))
            }

            async fn delete(&self, cookie: &str) -> Result<(), StoreError> {
                let sql = format!("DELETE FROM {} WHERE id = {}", self.table, $parameter);
                let query = sqlx::query(AssertSqlSafe(sql)).bind(cookie.to_owned());
                in_time(query.execute(&self.pool)).await.map(drop)
            }
        }
    };
}

#[cfg(feature = "postgres")]
table! {
    /// Its sessions in PostgreSQL: the table `tower_sessions.session`.
    ///
    /// ```no_run
    /// # async fn start(pool: sqlx::PgPool) {
    /// use sessile::migrate::MigrationLayer;
    /// use sessile::migrate::tower_sessions::PostgresSessions;
    ///
    /// let migration = MigrationLayer::new(PostgresSessions::new(pool));
    /// # }
    /// ```
    PostgresSessions, sqlx::PgPool, r#""tower_sessions"."session""#, '"', "$1"
}

#[cfg(feature = "mysql")]
table! {
    /// Its sessions in MySQL and MariaDB: the table `tower_sessions.session`.
    MySqlSessions, sqlx::MySqlPool, "`tower_sessions`.`session`", '`', "?"
}

#[cfg(feature = "sqlite")]
table! {
    /// Its sessions in SQLite: the table `tower_sessions`.
    SqliteSessions, sqlx::SqlitePool, r#""tower_sessions""#, '"', "?"
}

async fn in_time<T>(answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
    let answer = tokio::time::timeout(DEADLINE, answer).await;
    answer.map_err(StoreError::unavailable)?.map_err(StoreError::unavailable)
}

fn quoted(table: &str, quote: char) -> Result<String, ConfigError> {
    let is_name = |name: &str| {
        let mut bytes = name.bytes();
        !name.is_empty() && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    };
    let names: Vec<&str> = table.split('.').collect();
    if names.len() > 2 || !names.iter().all(|name| is_name(name)) {
        return Err(ConfigError::new(
            ConfigErrorKind::Store,
            format!("{table:?} is not the name of a table, or of one in a schema"),
        ));
    }
    let quoted = names.iter().map(|name| format!("{quote}{name}{quote}"));
    Ok(quoted.collect::<Vec<_>>().join("."))
}
