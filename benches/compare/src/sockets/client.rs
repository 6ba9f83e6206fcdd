//! A client that costs little: blocking sockets, requests that are put together once, answers of which only the end is
//! looked for.

use std::io::{Error, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Threads of the client.
const THREADS: usize = 2;

/// Connections of each thread, with one request under way on each.
const CONNECTIONS: usize = 16;

/// The requests a second that the server answers, over so long.
pub(super) fn rate(server: SocketAddr, path: &str, cookie: Option<&str>, time: Duration) -> Result<f64> {
    let cookie = cookie.map_or_else(String::new, |cookie| format!("cookie: {cookie}\r\n"));
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{cookie}\r\n");
    // Connections are made, and code is warm, before the time runs.
    send(server, request.as_bytes(), time / 10)?;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| send(server, request.as_bytes(), time))).collect();
        let mut sum = 0.0;
        for thread in threads {
            sum += thread.join().map_err(|_| Error::other("a client's thread panicked"))??;
        }
        Ok(sum)
    })
}

fn send(server: SocketAddr, request: &[u8], time: Duration) -> Result<f64> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let connection = TcpStream::connect(server)?;
        connection.set_nodelay(true)?;
        connections.push(connection);
    }
    let start = Instant::now();
    let mut answered = 0;
    let mut buffer = [0; 4096];
    while start.elapsed() < time {
        for connection in &mut connections {
            connection.write_all(request)?;
        }
        for connection in &mut connections {
            answer(connection, &mut buffer)?;
            answered += 1;
        }
    }
    Ok(f64::from(answered) / start.elapsed().as_secs_f64())
}

/// Reads one answer to its end.
fn answer(connection: &mut TcpStream, buffer: &mut [u8]) -> Result<()> {
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
            return Ok(());
        }
    }
}

/// The length of the whole answer, once its head is there.
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
