//! A Redis server on a free loopback port, without persistence; dropping it stops the process.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Result};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use redis::{Client, Connection};

/// Number of connection attempts at the start, and the time between two.
const MAX_ATTEMPTS: usize = 500;
const INTERVAL: Duration = Duration::from_millis(20);

pub(super) struct Server {
    process: Child,
    url: String,
}

/// Counters of the server.
pub(super) struct Counted {
    /// Number of calls by command, including calls from scripts.
    pub(super) commands: BTreeMap<String, u64>,
    /// Number of reads from clients, which equals the round trips if one request runs at a time.
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
        for _ in 0..MAX_ATTEMPTS {
            if server.connection().is_ok() {
                return Ok(server);
            }
            thread::sleep(INTERVAL);
        }
        Err(Error::other("redis-server does not answer: check its log"))
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
    /// Reads the counters. This is a read and an `info` call itself.
    pub(super) fn ask(connection: &mut Connection) -> Result<Self> {
        let answer: String = redis::cmd("INFO").arg("all").query(connection).map_err(Error::other)?;
        let fields: BTreeMap<&str, &str> = answer.lines().filter_map(|line| line.split_once(':')).collect();
        let Some(reads) = fields.get("total_reads_processed").and_then(|reads| reads.parse().ok()) else {
            return Err(Error::other("the server does not count its reads: use Redis 6.0 or later"));
        };
        let commands = fields.iter().filter_map(|(name, value)| {
            let calls = value.split(',').find_map(|field| field.strip_prefix("calls="))?;
            Some((name.strip_prefix("cmdstat_")?.to_owned(), calls.parse().ok()?))
        });
        Ok(Self { commands: commands.collect(), reads })
    }
}
