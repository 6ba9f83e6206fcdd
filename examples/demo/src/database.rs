//! The database: a table of users, and the store of the sessions.

use std::error::Error;
use std::str::FromStr;
use std::time::Duration;

use sessile::{SessionLayer, SqliteStore};

use sessile::config::{ConfigError, SiteData};

use sessile::store::Store;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};

use crate::settings::Settings;
use crate::users::Users;

/// Opens the database, makes the tables that are missing, and puts the layer of the sessions over it.
pub async fn open(settings: &Settings) -> Result<(Users, SessionLayer), Box<dyn Error>> {
    let url = &settings.database_url;
    let users_url = if url.starts_with("sqlite:") { url } else { &settings.users_url };
    let pool = open_sqlite(users_url).await?;
    let users = Users::new(pool.clone());
    users.migrate().await?;

    // An application has one of these.
    let layer = match url.split(':').next().unwrap_or_default() {
        "sqlite" => {
            let store = SqliteStore::new(pool);
            store.migrate().await?;
            layer_over(store)?
        }
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => {
            let store = sessile::PostgresStore::connect(url).await?;
            store.migrate().await?;
            layer_over(store)?
        }
        #[cfg(feature = "mysql")]
        "mysql" | "mariadb" => {
            let store = sessile::MySqlStore::connect(url).await?;
            store.migrate().await?;
            layer_over(store)?
        }
        #[cfg(feature = "redis")]
        "redis" | "rediss" | "valkey" | "valkeys" => layer_over(sessile::RedisStore::connect(url).await?)?,
        other => return Err(no_store(other).into()),
    };
    Ok((users, layer))
}

/// What to say of a `DATABASE_URL` whose store this program was built without.
fn no_store(scheme: &str) -> String {
    let feature = match scheme {
        "postgres" | "postgresql" => "postgres",
        "mysql" | "mariadb" => "mysql",
        "redis" | "rediss" | "valkey" | "valkeys" => "redis",
        _ => return format!("DATABASE_URL: there is no store for {scheme:?}"),
    };
    format!("DATABASE_URL: for {scheme}, run it with --features {feature}")
}

/// The defaults of the layer are an hour idle and a day in all, and a cookie `__Host-id` that is `Secure`, `HttpOnly` and
/// `SameSite=Lax`. A shop wants some more.
fn layer_over(store: impl Store) -> Result<SessionLayer, ConfigError> {
    SessionLayer::builder(store)
        // Who signs in on an eleventh device is signed out on the one that signed in first.
        .with_owner_limit(10)
        // What a browser has kept of a member's pages goes with the session.
        .with_clear_site_data([SiteData::Cache, SiteData::Storage])
        .build()
}

/// One pool for users and sessions. The store asks for WAL mode and for a busy timeout.
async fn open_sqlite(url: &str) -> Result<SqlitePool, sqlx::Error> {
    let options = SqliteConnectOptions::from_str(url)?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(Duration::from_secs(5));
    SqlitePool::connect_with(options).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_is_not_built_in_is_told_by_its_feature() {
        for (scheme, feature) in [("postgresql", "postgres"), ("mariadb", "mysql"), ("valkeys", "redis")] {
            assert!(no_store(scheme).ends_with(&format!("--features {feature}")), "{}", no_store(scheme));
        }
        assert_eq!(no_store("oracle"), "DATABASE_URL: there is no store for \"oracle\"");
    }
}
