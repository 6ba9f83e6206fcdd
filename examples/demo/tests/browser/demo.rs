//! The demo's program, on a port and a file of its own.

use std::process::Command;

use super::children::{Directory, Running};

pub struct Demo {
    directory: Directory,
    /// Where its sessions live, if that is not its own file.
    database_url: Option<String>,
    port: u16,
    running: Option<Running>,
}

impl Demo {
    pub fn start() -> Self {
        Self::start_over(None)
    }

    /// One whose sessions live in a database.
    #[cfg(all(feature = "postgres", feature = "mysql", feature = "redis"))]
    pub fn start_on(database_url: String) -> Self {
        Self::start_over(Some(database_url))
    }

    fn start_over(database_url: Option<String>) -> Self {
        let mut demo = Self { directory: Directory::new("files"), database_url, port: 0, running: None };
        demo.start_with(&[]);
        demo
    }

    /// Ends it at once, as a power failure would, and starts it on the same port and file.
    pub fn restart(&mut self) {
        self.restart_with(&[]);
    }

    pub fn stop(&mut self) {
        self.running = None;
    }

    pub fn restart_with(&mut self, environment: &[(&str, &str)]) {
        self.stop();
        self.start_with(environment);
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.port)
    }

    fn start_with(&mut self, environment: &[(&str, &str)]) {
        let log = std::fs::File::options().create(true).append(true).open(self.directory.path().join("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sessile-demo"));
        command.current_dir(self.directory.path()).env("PORT", self.port.to_string());
        command.env_remove("DATABASE_URL").env_remove("USERS_URL");
        command.envs(self.database_url.iter().map(|url| ("DATABASE_URL", url)));
        command.envs(environment.iter().copied()).stderr(log);
        let port_of = |line: &str| line.strip_prefix("listening on http://localhost:")?.parse().ok();
        let (running, port) = Running::start(&mut command, port_of);
        (self.running, self.port) = (Some(running), port);
    }
}
