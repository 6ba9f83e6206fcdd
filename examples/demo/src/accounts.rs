//! The users table, and the signed-in user of a request.

use std::error::Error;
use std::sync::Arc;

use sessile::user::{CurrentUser, Stamp, Users};
use sqlx::SqlitePool;

const SCHEMA: [&str; 4] = [
    "CREATE TABLE IF NOT EXISTS users \
     (id integer PRIMARY KEY, name text NOT NULL UNIQUE COLLATE NOCASE, password text NOT NULL)",
    "CREATE TABLE IF NOT EXISTS administrators (user_id integer PRIMARY KEY)",
    "CREATE VIEW IF NOT EXISTS accounts AS \
     SELECT id, name, id IN (SELECT user_id FROM administrators) AS is_admin, password FROM users",
    "CREATE TABLE IF NOT EXISTS stamp_key (id integer PRIMARY KEY CHECK (id = 1), bytes blob NOT NULL)",
];

/// Maximum number of characters of a name.
pub const MAX_NAME_LENGTH: usize = 32;

type Row = (i64, String, bool, String);

/// User without the password hash, which only the password check reads.
#[derive(Clone, Debug)]
pub struct Account {
    pub id: i64,
    pub name: String,
    pub is_admin: bool,
    stamp: Stamp,
}

/// Checks whether an account can have this name.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().count() <= MAX_NAME_LENGTH && !name.chars().any(char::is_control)
}

#[derive(Clone)]
pub struct Accounts {
    pool: SqlitePool,
    /// Key of the stamps: random, and kept in the database, so that they outlast a restart.
    stamp_key: Arc<[u8]>,
}

/// The signed-in user of a request, not loaded yet.
pub type Current = CurrentUser<Accounts>;

impl Users for Accounts {
    /// The id rather than the name, since the owner of a session must not change.
    type Id = i64;
    type User = Account;
    type Error = sqlx::Error;

    async fn find(&self, id: &i64) -> Result<Option<Account>, sqlx::Error> {
        let find = sqlx::query_as("SELECT * FROM accounts WHERE id = ?").bind(id);
        Ok(find.fetch_optional(&self.pool).await?.map(|row| self.account(row)))
    }

    fn id(account: &Account) -> i64 {
        account.id
    }

    fn may_act_as(&self, actor: &Account, user: &Account) -> bool {
        actor.is_admin && !user.is_admin
    }

    fn stamp(&self, account: &Account) -> Stamp {
        account.stamp.clone()
    }
}

impl Accounts {
    /// Creates what is missing in the database: tables, and the key of the stamps.
    pub async fn open(pool: SqlitePool) -> Result<Self, Box<dyn Error>> {
        for statement in SCHEMA {
            sqlx::query(statement).execute(&pool).await?;
        }
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        let keep = "INSERT INTO stamp_key VALUES (1, ?) ON CONFLICT DO NOTHING";
        sqlx::query(keep).bind(&key[..]).execute(&pool).await?;
        let key: Vec<u8> = sqlx::query_scalar("SELECT bytes FROM stamp_key").fetch_one(&pool).await?;
        Ok(Self { pool, stamp_key: key.into() })
    }

    /// Adds a user. Returns `None` if the name is taken.
    pub async fn add(&self, name: &str, hash: &str) -> Result<Option<Account>, sqlx::Error> {
        let add =
            "INSERT INTO users (name, password) VALUES (?, ?) ON CONFLICT DO NOTHING RETURNING id, name, 0, password";
        let row = sqlx::query_as(add).bind(name).bind(hash).fetch_optional(&self.pool).await?;
        Ok(row.map(|row| self.account(row)))
    }

    /// Returns all users, by name.
    pub async fn all(&self) -> Result<Vec<Account>, sqlx::Error> {
        let rows = sqlx::query_as("SELECT * FROM accounts ORDER BY name").fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(|row| self.account(row)).collect())
    }

    /// Returns the user with this name, and the password hash.
    pub async fn by_name(&self, name: &str) -> Result<Option<(Account, String)>, sqlx::Error> {
        let find = sqlx::query_as("SELECT * FROM accounts WHERE name = ?").bind(name);
        let row: Option<Row> = find.fetch_optional(&self.pool).await?;
        Ok(row.map(|row| (self.account(row.clone()), row.3)))
    }

    /// Makes a user an administrator. Returns whether a user has this name.
    pub async fn promote(&self, name: &str) -> Result<bool, sqlx::Error> {
        let promote = "INSERT OR REPLACE INTO administrators SELECT id FROM users WHERE name = ?";
        Ok(sqlx::query(promote).bind(name).execute(&self.pool).await?.rows_affected() > 0)
    }

    /// Returns the account with another password, which is not stored yet.
    pub fn with_password(&self, account: Account, hash: &str) -> Account {
        Account { stamp: self.stamp_of(hash), ..account }
    }

    pub async fn set_password(&self, account: &Account, hash: &str) -> Result<(), sqlx::Error> {
        let set = sqlx::query("UPDATE users SET password = ? WHERE id = ?").bind(hash).bind(account.id);
        set.execute(&self.pool).await?;
        Ok(())
    }

    fn account(&self, (id, name, is_admin, hash): Row) -> Account {
        Account { id, name, is_admin, stamp: self.stamp_of(&hash) }
    }

    fn stamp_of(&self, hash: &str) -> Stamp {
        Stamp::from_password_hash(&self.stamp_key, hash.as_bytes())
    }
}
