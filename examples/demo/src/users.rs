//! The users table.

use sqlx::SqlitePool;

/// User without the password hash, which only the password check reads.
#[derive(Clone, Debug)]
pub struct User {
    pub id: i64,
    pub name: String,
}

impl User {
    /// Returns the owner of the user's sessions. It must not change, so it holds the id rather than the name.
    pub fn owner(&self) -> String {
        format!("user:{}", self.id)
    }
}

#[derive(Clone)]
pub struct Users {
    pool: SqlitePool,
}

impl Users {
    pub fn new(pool: SqlitePool) -> Self {
        Self { pool }
    }

    pub async fn migrate(&self) -> Result<(), sqlx::Error> {
        let table = "CREATE TABLE IF NOT EXISTS users \
                     (id integer PRIMARY KEY, name text NOT NULL UNIQUE COLLATE NOCASE, password text NOT NULL)";
        sqlx::query(table).execute(&self.pool).await?;
        Ok(())
    }

    /// Adds a user. Returns `None` if the name is taken.
    pub async fn add(&self, name: &str, hash: &str) -> Result<Option<User>, sqlx::Error> {
        let add = "INSERT INTO users (name, password) VALUES (?, ?) ON CONFLICT DO NOTHING RETURNING id, name";
        let row = sqlx::query_as(add).bind(name).bind(hash).fetch_optional(&self.pool).await?;
        Ok(row.map(|(id, name)| User { id, name }))
    }

    /// Returns the user with this name, and the password hash.
    pub async fn by_name(&self, name: &str) -> Result<Option<(User, String)>, sqlx::Error> {
        let find = "SELECT id, name, password FROM users WHERE name = ?";
        let row = sqlx::query_as(find).bind(name).fetch_optional(&self.pool).await?;
        Ok(row.map(|(id, name, hash)| (User { id, name }, hash)))
    }

    /// Returns the user whose sessions have this owner.
    pub async fn by_owner(&self, owner: &str) -> Result<Option<User>, sqlx::Error> {
        let Some(id) = owner.strip_prefix("user:").and_then(|id| id.parse::<i64>().ok()) else { return Ok(None) };
        let find = "SELECT id, name FROM users WHERE id = ?";
        let row = sqlx::query_as(find).bind(id).fetch_optional(&self.pool).await?;
        Ok(row.map(|(id, name)| User { id, name }))
    }

    pub async fn set_password(&self, user: &User, hash: &str) -> Result<(), sqlx::Error> {
        sqlx::query("UPDATE users SET password = ? WHERE id = ?").bind(hash).bind(user.id).execute(&self.pool).await?;
        Ok(())
    }
}
