//! A Redis server of our own: on a free port of the loopback, without persistence, ended when it is dropped.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Result};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use redis::{Client, Connection};

/// How often it is asked whether it is there yet, and how long is waited in between.
const TRIES: usize = 500;
const PAUSE: Duration = Duration::from_millis(20);

pub(super) struct Server {
    process: Child,
    url: String,
}

/// What the server has counted so far.
pub(super) struct Counted {
    /// Calls of each command, those that a script makes included.
    pub(super) commands: BTreeMap<String, u64>,
    /// How often something was read from a client: the round trips, as long as one request is under way at a time.
    pub(super) reads: u64,
}

impl Server {
    pub(super) fn start() -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let process = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| match error.kind() {
                ErrorKind::NotFound => Error::other("redis-server is missing: install Debian's package redis-server"),
                _ => error,
            })?;
        let server = Self { process, url: format!("redis://127.0.0.1:{port}/") };
        for _ in 0..TRIES {
            if server.connection().is_ok() {
                return Ok(server);
            }
            thread::sleep(PAUSE);
        }
        Err(Error::other("redis-server does not answer"))
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn connection(&self) -> Result<Connection> {
        Client::open(self.url.as_str()).and_then(|client| client.get_connection()).map_err(Error::other)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Counted {
    /// Asks for it. The question is a read itself, and a call of `info`.
    pub(super) fn ask(connection: &mut Connection) -> Result<Self> {
        let answer: String = redis::cmd("INFO").arg("all").query(connection).map_err(Error::other)?;
        let fields: BTreeMap<&str, &str> = answer.lines().filter_map(|line| line.split_once(':')).collect();
        let Some(reads) = fields.get("total_reads_processed").and_then(|reads| reads.parse().ok()) else {
            return Err(Error::other("a server before Redis 6.0 does not say how often it has read"));
        };
        let commands = fields.iter().filter_map(|(name, value)| {
            let calls = value.split(',').find_map(|field| field.strip_prefix("calls="))?;
            Some((name.strip_prefix("cmdstat_")?.to_owned(), calls.parse().ok()?))
        });
        Ok(Self { commands: commands.collect(), reads })
    }
}
