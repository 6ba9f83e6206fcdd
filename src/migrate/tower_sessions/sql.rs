//! Sessions of tower-sessions in SQL databases.

use std::time::Duration;

use sqlx::AssertSqlSafe;

use super::{is_id, live};
use crate::error::{ConfigError, ConfigErrorKind, StoreError};
use crate::migrate::{LegacySession, LegacySessions};

/// Maximum duration of an operation.
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
            /// Creates a reader of the default table of tower-sessions.
            #[must_use]
            pub fn new(pool: $pool) -> Self {
                Self { pool, table: $default.to_owned() }
            }

            /// Sets the table: `table` or `schema.table`. Default: the table named above.
            ///
            /// # Errors
            ///
            /// If a name is empty or has characters other than ASCII letters, digits, underscores and hyphens.
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
                live(in_time(query.fetch_optional(&self.pool)).await?)
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
    /// Sessions of tower-sessions in PostgreSQL, by default in the table `tower_sessions.session`.
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
    /// Sessions of tower-sessions in MySQL and MariaDB, by default in the table `tower_sessions.session`.
    MySqlSessions, sqlx::MySqlPool, "`tower_sessions`.`session`", '`', "?"
}

#[cfg(feature = "sqlite")]
table! {
    /// Sessions of tower-sessions in SQLite, by default in the table `tower_sessions`.
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
            format!(
                "{table:?} is not a table name: use `table` or `schema.table`, of ASCII letters, digits, underscores and hyphens"
            ),
        ));
    }
    let quoted = names.iter().map(|name| format!("{quote}{name}{quote}"));
    Ok(quoted.collect::<Vec<_>>().join("."))
}
