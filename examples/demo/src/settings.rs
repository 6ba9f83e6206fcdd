//! Settings from the environment.

use std::env;
use std::error::Error;
use std::str::FromStr;
use std::time::Duration;

use sessile::Lifetime;

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
    /// `IDLE_TIMEOUT` and `ABSOLUTE_TIMEOUT`, in seconds: lifetime of a session that is not remembered. Default: an hour and
    /// a day.
    pub lifetime: Lifetime,
    /// `ADMIN`: name of a user who becomes an administrator, and stays one. Default: none.
    pub admin: Option<String>,
    /// `WARN_BEFORE`, in seconds: time before the end of a session at which an open page warns. Default: 60.
    pub warn_before: Duration,
}

impl Settings {
    pub fn from_env() -> Result<Self, Box<dyn Error>> {
        let default = Lifetime::new();
        let seconds =
            |name, default: Duration| Ok::<_, Box<dyn Error>>(Duration::from_secs(read(name, default.as_secs())?));
        let idle = seconds("IDLE_TIMEOUT", default.idle_timeout().unwrap_or_default())?;
        let absolute = seconds("ABSOLUTE_TIMEOUT", default.absolute_timeout())?;
        Ok(Self {
            port: read("PORT", 3000)?,
            database_url: read("DATABASE_URL", "sqlite:demo.db".to_owned())?,
            users_url: read("USERS_URL", "sqlite:demo.db".to_owned())?,
            confirm_within: seconds("CONFIRM_WITHIN", Duration::from_secs(300))?,
            lifetime: default.with_idle_timeout(idle).with_absolute_timeout(absolute),
            admin: env::var("ADMIN").ok(),
            warn_before: seconds("WARN_BEFORE", Duration::from_secs(60))?,
        })
    }
}

fn read<T: FromStr<Err: Error>>(name: &str, default: T) -> Result<T, Box<dyn Error>> {
    match env::var(name) {
        Ok(text) => text.parse().map_err(|error| format!("{name}={text}: {error}").into()),
        Err(_) => Ok(default),
    }
}
