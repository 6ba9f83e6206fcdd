//! Settings from the environment.

use std::env;
use std::error::Error;
use std::str::FromStr;
use std::time::Duration;

pub struct Settings {
    /// `PORT`. Default: 3000. Port 0 takes any free port.
    pub port: u16,
    /// `DATABASE_URL`: database of the sessions. Default: `sqlite:demo.db`. `postgres://…`, `mysql://…` and `redis://…`
    /// need the feature of that name.
    pub database_url: String,
    /// `USERS_URL`: SQLite file of the users if the sessions are in another database. Default: `sqlite:demo.db`.
    pub users_url: String,
    /// `CONFIRM_WITHIN`, in seconds: maximum age of the last password entry for changing the password. Default: 300.
    pub confirm_within: Duration,
}

impl Settings {
    pub fn from_env() -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            port: read("PORT", 3000)?,
            database_url: read("DATABASE_URL", "sqlite:demo.db".to_owned())?,
            users_url: read("USERS_URL", "sqlite:demo.db".to_owned())?,
            confirm_within: Duration::from_secs(read("CONFIRM_WITHIN", 300)?),
        })
    }
}

fn read<T: FromStr<Err: Error>>(name: &str, default: T) -> Result<T, Box<dyn Error>> {
    match env::var(name) {
        Ok(text) => text.parse().map_err(|error| format!("{name}={text}: {error}").into()),
        Err(_) => Ok(default),
    }
}
