//! A client with little overhead: blocking sockets, prepared requests, and a minimal response parser.

use std::io::{Error, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Number of threads.
const THREADS: usize = 2;

/// Number of connections per thread, with one request in progress on each.
const CONNECTIONS: usize = 16;

/// Number of connections of all threads.
pub(super) const ALL: usize = THREADS * CONNECTIONS;

/// Connections to one server.
pub(super) struct Client {
    connections: Vec<Connection>,
}

/// Connection, and the request to send on it.
struct Connection {
    stream: TcpStream,
    cookie: String,
    request: Vec<u8>,
}

/// Number of responses, and the time they took.
pub(super) struct Sent {
    pub(super) answered: f64,
    pub(super) seconds: f64,
}

impl Client {
    /// Connects. The connections use the cookies in turn.
    pub(super) fn connect(server: SocketAddr, path: &str, cookies: &[String]) -> Result<Self> {
        let mut connections = Vec::new();
        for number in 0..ALL {
            let cookie = cookies.get(number % cookies.len().max(1));
            let cookie = cookie.map_or_else(String::new, |cookie| format!("cookie: {cookie}\r\n"));
            let request = request(path, &cookie);
            let stream = TcpStream::connect(server)?;
            stream.set_nodelay(true)?;
            connections.push(Connection { stream, cookie, request });
        }
        Ok(Self { connections })
    }

    /// Sends requests for this time.
    pub(super) fn send(&mut self, time: Duration) -> Result<Sent> {
        let start = Instant::now();
        let answered: Result<u32> = thread::scope(|scope| {
            let threads: Vec<_> = self
                .connections
                .chunks_mut(CONNECTIONS)
                .map(|connections| scope.spawn(move || send(connections, time)))
                .collect();
            let mut sum = 0;
            for thread in threads {
                sum += thread.join().map_err(|_| Error::other("a client's thread panicked"))??;
            }
            Ok(sum)
        });
        Ok(Sent { answered: f64::from(answered?), seconds: start.elapsed().as_secs_f64() })
    }

    /// Returns the number in the response to `path`, in the session of the first connection.
    pub(super) fn number(&mut self, path: &str) -> Result<f64> {
        let Connection { stream, cookie, .. } = &mut self.connections[0];
        stream.write_all(&request(path, cookie))?;
        let mut buffer = [0; 4096];
        let length = answer(stream, &mut buffer)?;
        let text = std::str::from_utf8(&buffer[..length]).map_err(Error::other)?;
        text.lines().last().unwrap_or_default().parse().map_err(Error::other)
    }
}

fn request(path: &str, cookie: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{cookie}\r\n").into_bytes()
}

fn send(connections: &mut [Connection], time: Duration) -> Result<u32> {
    let start = Instant::now();
    let mut answered = 0;
    let mut buffer = [0; 4096];
    while start.elapsed() < time {
        for connection in &mut *connections {
            connection.stream.write_all(&connection.request)?;
        }
        for connection in &mut *connections {
            answer(&mut connection.stream, &mut buffer)?;
            answered += 1;
        }
    }
    Ok(answered)
}

/// Reads one response to its end and returns its length.
fn answer(connection: &mut TcpStream, buffer: &mut [u8]) -> Result<usize> {
    let mut read = 0;
    loop {
        let more = connection.read(&mut buffer[read..])?;
        read += more;
        if more == 0 {
            return Err(Error::other("the server hung up, or sent more than was expected"));
        }
        if let Some(length) = length(&buffer[..read])?
            && read >= length
        {
            return Ok(length);
        }
    }
}

/// Returns the length of the whole response, if its head is complete.
fn length(answer: &[u8]) -> Result<Option<usize>> {
    let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&answer[..head]).map_err(Error::other)?;
    if !text.starts_with("HTTP/1.1 200") {
        return Err(Error::other(format!("answered {text}")));
    }
    let body = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    let body: usize = body.and_then(|length| length.parse().ok()).unwrap_or(0);
    Ok(Some(head + 4 + body))
}
