//! The demo program with a separate port and directory for each test.

use std::process::Command;
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};

use super::children::{ChildProcess, Directory};
use super::servers::free_port;

pub struct Demo {
    directory: Directory,
    /// Database of the sessions, if it is not the demo's default file.
    database_url: Option<String>,
    port: u16,
    process: Option<ChildProcess>,
}

impl Demo {
    pub fn start() -> Self {
        Self::start_over(None)
    }

    /// Starts the demo with its sessions in a database.
    #[cfg(all(feature = "postgres", feature = "mysql", feature = "redis"))]
    pub fn start_on(database_url: String) -> Self {
        Self::start_over(Some(database_url))
    }

    fn start_over(database_url: Option<String>) -> Self {
        let mut demo = Self { directory: Directory::new("files"), database_url, port: free_port(), process: None };
        demo.start_with(&[]);
        demo
    }

    /// Kills the demo and starts it again with the same port and directory.
    pub fn restart(&mut self) {
        self.restart_with(&[]);
    }

    pub fn stop(&mut self) {
        self.process = None;
    }

    pub fn restart_with(&mut self, environment: &[(&str, &str)]) {
        self.stop();
        self.start_with(environment);
    }

    /// Moves the last use of all sessions into the past.
    pub async fn age_sessions(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap();
        let age = sqlx::query("UPDATE sessile_sessions SET last_seen = last_seen - ?").bind(by);
        age.execute(&mut self.database().await).await.unwrap();
    }

    /// Deletes all sessions, as a sweep does after they have expired.
    pub async fn delete_sessions(&self) {
        self.change("DELETE FROM sessile_sessions").await;
    }

    /// Changes the demo's database beside the demo.
    pub async fn change(&self, statement: &'static str) {
        sqlx::query(statement).execute(&mut self.database().await).await.unwrap();
    }

    /// Returns the last use of the session that was used longest ago, in milliseconds since 1970.
    pub async fn last_use(&self) -> i64 {
        sqlx::query_scalar("SELECT min(last_seen) FROM sessile_sessions")
            .fetch_one(&mut self.database().await)
            .await
            .unwrap()
    }

    async fn database(&self) -> SqliteConnection {
        let file = SqliteConnectOptions::new().filename(self.directory.path().join("demo.db"));
        file.busy_timeout(Duration::from_secs(60)).connect().await.unwrap()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.port)
    }

    fn start_with(&mut self, environment: &[(&str, &str)]) {
        let log = std::fs::File::options().create(true).append(true).open(self.directory.path().join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sessile-demo"));
        command.current_dir(self.directory.path()).env("PORT", self.port.to_string());
        command.env_remove("DATABASE_URL").env_remove("USERS_URL").env_remove("ADMIN");
        command.envs(self.database_url.iter().map(|url| ("DATABASE_URL", url)));
        command.envs(environment.iter().copied()).stderr(log);
        let port_of = |line: &str| line.strip_prefix("listening on http://localhost:")?.parse::<u16>().ok();
        let (process, port) = ChildProcess::start(&mut command, port_of);
        assert_eq!(port, self.port);
        self.process = Some(process);
    }
}
