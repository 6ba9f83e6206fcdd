//! The accounts of both ports, in SQLite, and the sessions in the same database.

use std::error::Error;
use std::time::Duration;

use axum::http::StatusCode;
use password_auth::verify_password;
use serde::Deserialize;
use sessile::user::{LocalPath, NextPath, Stamp, Users};
use sessile::{Lifetime, SessionLayer, SqliteStore};
use sqlx::sqlite::SqlitePoolOptions;
use sqlx::{FromRow, SqlitePool};
use tokio::task::spawn_blocking;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// A secret of the site; a real one comes from its configuration.
const STAMP_KEY: &[u8] = b"replace this by 16 random bytes";

#[derive(Clone, FromRow)]
pub struct Account {
    pub id: i64,
    pub username: String,
    password: String,
}

/// The fields of the sign-in form.
#[derive(Deserialize)]
pub struct Credentials {
    username: String,
    password: String,
    #[serde(flatten)]
    pub next: NextPath,
}

pub struct Accounts(pub SqlitePool);

impl Accounts {
    /// Returns the account of these credentials; `None` if the name or the password is wrong.
    pub async fn verify(&self, form: &Credentials) -> Result<Option<Account>, StatusCode> {
        let found = sqlx::query_as("select id, username, password from users where username = ?").bind(&form.username);
        let found: Option<Account> = found.fetch_optional(&self.0).await.map_err(failed)?;
        let password = form.password.clone();
        // A check takes long on purpose, and would hold up other requests of the thread.
        let check = move || found.filter(|account| verify_password(password, &account.password).is_ok());
        spawn_blocking(check).await.map_err(failed)
    }
}

impl Users for Accounts {
    type Id = i64;
    type User = Account;
    type Error = sqlx::Error;

    async fn find(&self, id: &i64) -> Result<Option<Account>, sqlx::Error> {
        let found = sqlx::query_as("select id, username, password from users where id = ?");
        found.bind(id).fetch_optional(&self.0).await
    }

    fn id(account: &Account) -> i64 {
        account.id
    }

    fn stamp(&self, account: &Account) -> Stamp {
        Stamp::from_password_hash(STAMP_KEY, account.password.as_bytes())
    }
}

/// Creates the tables of the sessions and of the application.
pub async fn open(db: SqlitePool, tables: &'static str) -> Result<(Accounts, SessionLayer), Box<dyn Error>> {
    sqlx::raw_sql(tables).execute(&db).await?;
    let store = SqliteStore::new(db.clone());
    store.migrate().await?;
    let lifetime = Lifetime::new().with_idle_timeout(DAY).with_absolute_timeout(30 * DAY).with_max_age(DAY);
    let sessions = SessionLayer::builder(store).with_secure(false).with_lifetime(lifetime).build()?;
    tokio::spawn(sessions.sessions().sweep_every(Duration::from_secs(60)));
    Ok((Accounts(db), sessions))
}

/// Opens a database in memory.
pub async fn in_memory() -> Result<SqlitePool, sqlx::Error> {
    // The database is lost with its last connection.
    SqlitePoolOptions::new().idle_timeout(None).max_lifetime(None).connect("sqlite::memory:").await
}

pub fn sign_in_page() -> LocalPath {
    LocalPath::from_static("/login")
}

fn failed(error: impl Error) -> StatusCode {
    eprintln!("{error}");
    StatusCode::INTERNAL_SERVER_ERROR
}
