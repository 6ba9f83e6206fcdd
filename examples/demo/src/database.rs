//! The database: the users and the session store.

use std::error::Error;
use std::str::FromStr;
use std::time::Duration;

use sessile::config::{ConfigError, SiteData};
use sessile::store::Store;
use sessile::{Lifetime, SessionLayer, SqliteStore};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};

use crate::accounts::Accounts;
use crate::settings::Settings;

/// Opens the database, creates missing tables, and builds the session layer.
pub async fn open(settings: &Settings) -> Result<(Accounts, SessionLayer), Box<dyn Error>> {
    let (url, lifetime) = (&settings.database_url, settings.lifetime);
    let users_url = if url.starts_with("sqlite:") { url } else { &settings.users_url };
    let pool = open_sqlite(users_url).await?;
    let accounts = Accounts::open(pool.clone()).await?;
    if let Some(name) = &settings.admin
        && !accounts.promote(name).await?
    {
        return Err(format!("ADMIN={name}: no user has this name; start without ADMIN and sign up first").into());
    }

    // An application needs only one of these.
    let layer = match url.split(':').next().unwrap_or_default() {
        "sqlite" => {
            let store = SqliteStore::new(pool);
            store.migrate().await?;
            layer_over(store, lifetime)?
        }
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => {
            let store = sessile::PostgresStore::connect(url).await?;
            store.migrate().await?;
            layer_over(store, lifetime)?
        }
        #[cfg(feature = "mysql")]
        "mysql" | "mariadb" => {
            let store = sessile::MySqlStore::connect(url).await?;
            store.migrate().await?;
            layer_over(store, lifetime)?
        }
        #[cfg(feature = "redis")]
        "redis" | "rediss" | "valkey" | "valkeys" => layer_over(sessile::RedisStore::connect(url).await?, lifetime)?,
        other => return Err(no_store(other).into()),
    };
    Ok((accounts, layer))
}

/// Returns the error for a `DATABASE_URL` whose store is not built in.
fn no_store(scheme: &str) -> String {
    let feature = match scheme {
        "postgres" | "postgresql" => "postgres",
        "mysql" | "mariadb" => "mysql",
        "redis" | "rediss" | "valkey" | "valkeys" => "redis",
        _ => return format!("DATABASE_URL: there is no store for {scheme:?}"),
    };
    format!("DATABASE_URL: for {scheme}, run it with --features {feature}")
}

/// Builds the session layer.
///
/// By default the cookie is `__Host-id` with `Secure`, `HttpOnly` and `SameSite=Lax`.
fn layer_over(store: impl Store, lifetime: Lifetime) -> Result<SessionLayer, ConfigError> {
    SessionLayer::builder(store)
        .with_lifetime(lifetime)
        // Signing in on an eleventh device ends the session that signed in first.
        .with_owner_limit(10)
        // A sign-out also clears the pages that the browser has cached.
        .with_clear_site_data([SiteData::Cache, SiteData::Storage])
        .build()
}

/// Opens one pool for users and sessions. The store needs WAL mode and a busy timeout.
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

    /// The error for a store that is not built in names its feature.
    #[test]
    fn an_error_names_the_feature_of_a_missing_store() {
        for (scheme, feature) in [("postgresql", "postgres"), ("mariadb", "mysql"), ("valkeys", "redis")] {
            assert!(no_store(scheme).ends_with(&format!("--features {feature}")), "{}", no_store(scheme));
        }
        assert_eq!(no_store("oracle"), "DATABASE_URL: there is no store for \"oracle\"");
    }
}
