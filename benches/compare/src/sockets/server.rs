//! A server of one candidate, as a child process of this program.

use std::io::{BufRead, BufReader, Error, ErrorKind, Result, Write, stdin};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use axum::Router;
use rustix::time::{ClockId, clock_gettime};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::candidate::Candidate;
use crate::client::Client;
use crate::workload::{ROWS, Row};

/// Running process. Dropping it stops the process, which also stops if its parent ends.
pub(super) struct Server {
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    address: SocketAddr,
    cookies: Vec<String>,
}

impl Server {
    pub(super) fn start(
        redis: Option<&str>,
        candidate: Candidate,
        row: usize,
        workers: usize,
        sessions: usize,
    ) -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["serve", candidate.name(), &row.to_string(), &workers.to_string(), &sessions.to_string()])
            .args(redis)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let questions = process.stdin.take().expect("the stream is piped");
        let mut answers = BufReader::new(process.stdout.take().expect("the stream is piped"));
        let greeting = line(&mut answers)?;
        let mut greeting = greeting.split('\t').map(str::to_owned);
        let address = greeting.next().unwrap_or_default().parse().map_err(Error::other)?;
        Ok(Self { process, questions, answers, address, cookies: greeting.collect() })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the cookies of the server's sessions.
    pub(super) fn cookies(&self) -> &[String] {
        &self.cookies
    }

    /// Returns the processor time of all threads so far, in the kernel and in user space.
    pub(super) fn processor_time(&mut self) -> Result<Duration> {
        writeln!(self.questions)?;
        line(&mut self.answers)?.parse().map(Duration::from_nanos).map_err(Error::other)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn line(answers: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    answers.read_line(&mut line)?;
    Ok(line.trim_end_matches('\n').to_owned())
}

/// Runs the server process: prints its address and the cookies of its sessions, then its processor time for each line
/// of input.
pub(crate) fn serve(arguments: &[String]) -> Result<()> {
    let usage = || Error::new(ErrorKind::InvalidInput, "serve CANDIDATE ROW WORKERS SESSIONS [URL]");
    let [candidate, row, workers, sessions, url @ ..] = arguments else { return Err(usage()) };
    let candidate = Candidate::from_name(candidate).ok_or_else(usage)?;
    let row = row.parse().ok().and_then(|row: usize| ROWS.get(row)).ok_or_else(usage)?;
    let workers = workers.parse().map_err(|_| usage())?;
    let sessions = sessions.parse().map_err(|_| usage())?;
    let redis = url.first().map(String::as_str);

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()?;
    let app = runtime.block_on(candidate.app_on(redis));
    let mut greeting = runtime.block_on(listening(&runtime, app.clone()))?.to_string();
    for cookie in runtime.block_on(cookies(app, row, sessions)) {
        greeting = greeting + "\t" + &cookie;
    }
    println!("{greeting}");
    for line in stdin().lines() {
        line?;
        let spent = clock_gettime(ClockId::ProcessCPUTime);
        println!("{}", spent.tv_sec * 1_000_000_000 + spent.tv_nsec);
    }
    runtime.shutdown_background();
    Ok(())
}

async fn listening(runtime: &Runtime, app: Router) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    runtime.spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

async fn cookies(app: Router, row: &Row, sessions: usize) -> Vec<String> {
    let mut cookies = Vec::new();
    if let Some(seed) = row.seed {
        for _ in 0..sessions {
            let mut client = Client::new(app.clone());
            client.sign_on(seed).await;
            cookies.extend(client.cookie().map(str::to_owned));
        }
    }
    cookies
}
