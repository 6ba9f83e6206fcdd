//! Real database servers for one test, each in a temporary directory and on a free loopback port.
//!
//! A server ends when the test drops it.

#![allow(dead_code, reason = "each test binary uses a part of this file")]
#![allow(unreachable_pub, missing_debug_implementations, reason = "the items are private to a test binary")]
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Time after which a test fails instead of waiting on, and time limit of an operation that it expects to succeed.
///
/// A loaded machine may stop a program for seconds.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Number of ports that a test process reserves.
const PORTS: u16 = 1_000;

/// A temporary directory, removed when dropped.
pub struct Directory {
    path: PathBuf,
    space: DiskSpace,
}

/// Space that a server has in its directory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum DiskSpace {
    /// The space of the temporary directory's disk.
    Shared,
    /// A small disk in memory.
    SmallDisk,
    /// A limit of each file's size in bytes; used where the test may not mount a disk.
    FileLimit(u64),
}

impl Directory {
    pub fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sessile-{name}-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self { path, space: DiskSpace::Shared }
    }

    /// Creates a directory of limited size; without a mount, files are limited to `megabytes - margin`.
    pub fn small(name: &str, megabytes: u64, margin: u64) -> Self {
        let mut directory = Self::new(name);
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o"]).arg(format!("size={megabytes}m")).arg("none").arg(&directory.path);
        let mounted = mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        directory.space = if mounted { DiskSpace::SmallDisk } else { DiskSpace::FileLimit((megabytes - margin) << 20) };
        if !mounted {
            eprintln!("this test may not mount a small disk, so it limits the size of files (ulimit -f)");
        }
        fs::set_permissions(&directory.path, fs::Permissions::from_mode(0o755)).unwrap();
        directory
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn space(&self) -> DiskSpace {
        self.space
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.space == DiskSpace::SmallDisk {
            let _ = Command::new("umount").arg("--lazy").arg(&self.path).status();
        }
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A running server.
pub struct Server {
    program: PathBuf,
    arguments: Vec<String>,
    /// User and group of the process, if not those of the test.
    user: Option<(u32, u32)>,
    ready: fn(&Server) -> bool,
    port: u16,
    child: Option<Child>,
    directory: Directory,
}

impl Server {
    /// Starts PostgreSQL with the superuser and the database `postgres`.
    pub fn postgres() -> Self {
        Self::postgres_with(&[])
    }

    pub fn postgres_with(settings: &[&str]) -> Self {
        Self::postgres_in(Directory::new("postgres"), settings)
    }

    pub fn postgres_in(directory: Directory, settings: &[&str]) -> Self {
        let user = unprivileged("postgres");
        hand_over(directory.path(), user);
        let data = directory.path().join("data");
        let mut initdb = Command::new(program("initdb", "postgresql"));
        initdb.args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--pgdata"]).arg(&data);
        run(as_user(&mut initdb, user));
        let port = free_port();
        let mut arguments = vec![
            "-D".into(),
            data.display().to_string(),
            "-p".into(),
            port.to_string(),
            "-k".into(),
            directory.path().display().to_string(),
        ];
        for setting in ["listen_addresses=127.0.0.1", "max_connections=200"].iter().chain(settings) {
            arguments.extend(["-c".into(), (*setting).to_owned()]);
        }
        Self::start_new(program("postgres", "postgresql"), arguments, user, pg_is_ready, port, directory)
    }

    /// Starts PgBouncer in front of this PostgreSQL server, in a mode and with settings such as `default_pool_size = 2`.
    pub fn pgbouncer(&self, mode: &str, settings: &[&str]) -> Self {
        let directory = Directory::new("pgbouncer");
        let user = unprivileged("postgres");
        let (path, port) = (directory.path(), free_port());
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}/users\npool_mode = {mode}\nmax_client_conn = 500\n\
             server_login_retry = 0.1\n{}\n",
            self.port,
            path.display(),
            settings.join("\n")
        );
        fs::write(path.join("pgbouncer.ini"), text).unwrap();
        fs::write(path.join("users"), "\"postgres\" \"\"\n").unwrap();
        hand_over(path, user);
        let arguments = vec![path.join("pgbouncer.ini").display().to_string()];
        Self::start_new(program("pgbouncer", "pgbouncer"), arguments, user, pg_is_ready, port, directory)
    }

    /// Starts MariaDB with the user `app` and the database `app`.
    pub fn mariadb() -> Self {
        Self::mariadb_with(&[])
    }

    pub fn mariadb_with(settings: &[&str]) -> Self {
        Self::mariadb_in(Directory::new("mariadb"), settings)
    }

    pub fn mariadb_in(directory: Directory, settings: &[&str]) -> Self {
        let user = unprivileged("mysql");
        let path = directory.path().display().to_string();
        let grants = "CREATE DATABASE IF NOT EXISTS app;\n\
                      CREATE USER IF NOT EXISTS app@'%' IDENTIFIED BY '';\nGRANT ALL ON *.* TO app@'%' WITH GRANT OPTION;\n";
        fs::write(directory.path().join("grants.sql"), grants).unwrap();
        hand_over(directory.path(), user);
        let mut install = Command::new(program("mariadb-install-db", "mariadb-server"));
        install.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
        // A server that starts removes other servers' temporary tables from a shared directory.
        install.arg(format!("--tmpdir={path}")).arg(format!("--datadir={path}/data"));
        run(as_user(&mut install, user));
        let port = free_port();
        let mut arguments = vec![
            "--no-defaults".into(),
            format!("--datadir={path}/data"),
            format!("--socket={path}/socket"),
            format!("--pid-file={path}/pid"),
            format!("--init-file={path}/grants.sql"),
            format!("--port={port}"),
            "--bind-address=127.0.0.1".into(),
            "--skip-name-resolve".into(),
            format!("--tmpdir={path}"),
            "--max-allowed-packet=64M".into(),
            "--innodb-buffer-pool-size=64M".into(),
            "--innodb-log-file-size=160M".into(),
            "--max-connections=300".into(),
        ];
        arguments.extend(settings.iter().map(|setting| format!("--{setting}")));
        Self::start_new(program("mariadbd", "mariadb-server"), arguments, user, greets, port, directory)
    }

    /// Starts Redis, which writes to disk before it acknowledges.
    pub fn redis() -> Self {
        Self::redis_with(&[])
    }

    pub fn redis_with(settings: &[&str]) -> Self {
        Self::redis_in(Directory::new("redis"), settings)
    }

    pub fn redis_in(directory: Directory, settings: &[&str]) -> Self {
        Self::redis_by(program("redis-server", "redis-server"), directory, settings)
    }

    /// Starts Valkey 9.1, with the settings of [`redis`](Self::redis).
    pub fn valkey() -> Self {
        Self::redis_by(packaged("valkey-server-9.1"), Directory::new("valkey"), &[])
    }

    /// Starts the earliest Redis that the store supports, with the settings of [`redis`](Self::redis).
    pub fn redis_6_2() -> Self {
        Self::redis_by(packaged("redis-server-6.2"), Directory::new("redis-6.2"), &[])
    }

    fn redis_by(program: PathBuf, directory: Directory, settings: &[&str]) -> Self {
        let port = free_port();
        let path = directory.path().display().to_string();
        let port_text = port.to_string();
        let mut arguments = Vec::new();
        for argument in [
            "--port",
            &port_text,
            "--bind",
            "127.0.0.1",
            "--dir",
            &path,
            "--save",
            "",
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
        ] {
            arguments.push(argument.to_owned());
        }
        arguments.extend(settings.iter().map(|setting| (*setting).to_owned()));
        Self::start_new(program, arguments, None, answers_ping, port, directory)
    }

    /// Starts a sentinel that monitors `master` under the name `main`.
    pub fn sentinel(master: &Self) -> Self {
        Self::sentinel_with(master, "")
    }

    /// Starts a sentinel with more lines of configuration.
    pub fn sentinel_with(master: &Self, lines: &str) -> Self {
        let directory = Directory::new("sentinel");
        let port = free_port();
        let file = directory.path().join("sentinel.conf");
        // The sentinel takes no master for down because the machine is slow.
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor main 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds main 120000\nsentinel failover-timeout main 5000\n{lines}\n",
            directory.path().display(),
            master.port
        );
        fs::write(&file, text).unwrap();
        let arguments = vec![file.display().to_string(), "--sentinel".into()];
        Self::start_new(program("redis-server", "redis-server"), arguments, None, answers_ping, port, directory)
    }

    fn start_new(
        program: PathBuf,
        arguments: Vec<String>,
        user: Option<(u32, u32)>,
        ready: fn(&Self) -> bool,
        port: u16,
        directory: Directory,
    ) -> Self {
        let mut server = Self { program, arguments, user, ready, port, child: None, directory };
        server.start();
        server
    }

    /// Starts the server, again if it was killed, and waits until it answers.
    pub fn start(&mut self) {
        let started = Instant::now();
        loop {
            let log = File::options().create(true).append(true).open(self.directory.path().join("log")).unwrap();
            let mut command = match self.directory.space() {
                DiskSpace::FileLimit(bytes) => {
                    let mut limited = Command::new("sh");
                    // ulimit counts blocks of 512 bytes. Without the trap, a signal would end the server.
                    limited.arg("-c").arg(format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", bytes / 512));
                    limited.arg(&self.program);
                    limited
                }
                _ => Command::new(&self.program),
            };
            command.args(&self.arguments).current_dir(self.directory.path()).stdin(Stdio::null());
            command.stdout(log.try_clone().unwrap()).stderr(log);
            self.child = Some(as_user(&mut command, self.user).spawn().unwrap());
            loop {
                if (self.ready)(self) {
                    return;
                }
                assert!(started.elapsed() < PATIENCE, "{} does not start:\n{}", self.program.display(), self.log());
                let exited = self.child.as_mut().unwrap().try_wait().unwrap();
                std::thread::sleep(Duration::from_millis(20));
                if exited.is_some() {
                    // The killed server's port or files may be in use for a moment: start it again.
                    break;
                }
            }
        }
    }

    /// Starts the server again if it has ended by itself.
    pub fn restart_if_ended(&mut self) {
        if self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_some()) {
            self.start();
        }
    }

    /// Kills the server (SIGKILL).
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Those of PostgreSQL would answer for another moment.
            let children = children_of(child.id());
            let _ = child.kill();
            if !children.is_empty() {
                let _ = Command::new("kill").arg("-KILL").args(children).stderr(Stdio::null()).status();
            }
            let _ = child.wait();
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the server's URL with another port, for instance a proxy's.
    pub fn url_at(&self, port: u16) -> String {
        match self.program.file_name().unwrap().to_str().unwrap() {
            "postgres" | "pgbouncer" => format!("postgres://postgres@127.0.0.1:{port}/postgres"),
            "mariadbd" => format!("mysql://app@127.0.0.1:{port}/app"),
            _ => format!("redis://127.0.0.1:{port}/"),
        }
    }

    pub fn url(&self) -> String {
        self.url_at(self.port)
    }

    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // PostgreSQL ends its child processes only after a signal that it can handle.
        let signaled = Command::new("sh").arg("-c").arg(format!("kill -QUIT {}", child.id())).status();
        let until = Instant::now() + Duration::from_secs(if signaled.is_ok() { 3 } else { 0 });
        while Instant::now() < until && matches!(child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Starts a Redis Cluster of three masters.
pub fn cluster() -> Vec<Server> {
    cluster_with_replicas(0)
}

/// Starts a Redis Cluster of three masters with so many replicas each.
pub fn cluster_with_replicas(replicas: usize) -> Vec<Server> {
    // No node takes another one for down because the machine is slow.
    let settings = ["--cluster-enabled", "yes", "--cluster-node-timeout", "60000"];
    let servers: Vec<_> = (0..3 * (1 + replicas))
        .map(|_| {
            let bus = free_port().to_string();
            Server::redis_with(&[&settings[..], &["--cluster-port", &bus]].concat())
        })
        .collect();
    let mut create = Command::new(program("redis-cli", "redis-tools"));
    create.args(["--cluster", "create"]);
    create.args(servers.iter().map(|server| format!("127.0.0.1:{}", server.port)));
    run(create.args(["--cluster-replicas", &replicas.to_string(), "--cluster-yes"]));
    until_cluster_is_ready(&servers);
    servers
}

/// Waits until all nodes of a Cluster find it complete.
pub fn until_cluster_is_ready(servers: &[Server]) {
    let started = Instant::now();
    while !servers.iter().all(|server| ask(server.port, "CLUSTER INFO").contains("cluster_state:ok")) {
        assert!(started.elapsed() < PATIENCE, "the cluster does not become ready");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Returns the path of a program. Debian installs PostgreSQL's outside of `PATH`.
pub fn program(name: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    places.extend(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    places.splice(0..0, versions.map(|version| version.path().join("bin")));
    let found = places.into_iter().map(|place| place.join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{name} is missing: install the Debian package {package}, or run .ci/servers"))
}

/// Returns the path of a server that `.ci/servers` takes from a Python package.
fn packaged(name: &str) -> PathBuf {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/servers").join(name);
    assert!(file.is_file(), "{name} is missing: run .ci/servers");
    file
}

/// Returns the ids of a process's children, by `/proc/*/stat`: after the name in brackets come the state and the parent's id.
fn children_of(parent: u32) -> Vec<String> {
    let is_child = |id: &String| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let of_parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1));
        of_parent.is_some_and(|id| id == parent.to_string())
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|entry| entry.file_name().into_string().ok()).filter(is_child).collect()
}

/// Returns user and group for a server that refuses to run as root.
pub fn unprivileged(name: &str) -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| {
        let output = Command::new("id").args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse::<u32>().ok()
    };
    if id(&["-u"]) != Some(0) {
        return None;
    }
    let user = id(&["-u", name]).zip(id(&["-g", name]));
    Some(user.unwrap_or_else(|| panic!("the user {name} is missing: install the server's Debian package")))
}

pub fn hand_over(path: &Path, user: Option<(u32, u32)>) {
    if let Some((user, group)) = user {
        chown(path, Some(user), Some(group)).unwrap();
    }
}

fn as_user(command: &mut Command, user: Option<(u32, u32)>) -> &mut Command {
    match user {
        Some((user, group)) => command.uid(user).gid(group).current_dir("/"),
        None => command,
    }
}

pub fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{command:?} failed:\n{}", String::from_utf8_lossy(&text));
}

/// Returns a free loopback port, which neither another test nor a client's connection takes before a server does.
///
/// It is below the ports that systems give to connections, and in a range that this process reserves.
pub fn free_port() -> u16 {
    static RESERVED: LazyLock<UdpSocket> = LazyLock::new(|| {
        // A socket of another protocol marks the range until the process ends, however it ends.
        let mut ranges = (10_000..32_000).step_by(usize::from(PORTS));
        ranges.find_map(|first| UdpSocket::bind(("127.0.0.1", first)).ok()).expect("a range of ports is free")
    });
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = RESERVED.local_addr().unwrap().port();
    let mut ports = std::iter::repeat_with(|| first + NEXT.fetch_add(1, Ordering::Relaxed) % PORTS);
    // A server of a test that was killed may have one.
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a port is free")
}

/// Returns whether PostgreSQL, or PgBouncer in front of it, accepts connections.
fn pg_is_ready(server: &Server) -> bool {
    let port = server.port.to_string();
    let mut pg_isready = Command::new(program("pg_isready", "postgresql-client"));
    pg_isready.args(["-q", "-h", "127.0.0.1", "-p", &port]).status().is_ok_and(|status| status.success())
}

/// Returns whether MariaDB has sent its greeting.
fn greets(server: &Server) -> bool {
    let Ok(stream) = TcpStream::connect(("127.0.0.1", server.port)) else { return false };
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    BufReader::new(stream).fill_buf().is_ok_and(|greeting| !greeting.is_empty())
}

fn answers_ping(server: &Server) -> bool {
    let answer = ask_within(Duration::from_secs(1), server.port, "PING");
    // A server with a password answers, too.
    ["+PONG", "-NOAUTH"].iter().any(|expected| answer.starts_with(expected))
}

/// Sends a command to a Redis server, and returns its answer.
pub fn ask(port: u16, command: &str) -> String {
    ask_within(PATIENCE, port, command)
}

fn ask_within(limit: Duration, port: u16, command: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return String::new() };
    stream.set_read_timeout(Some(limit)).unwrap();
    // The server answers what it has received, and then closes the connection, too.
    let sent = stream.write_all(format!("{command}\r\n").as_bytes()).and_then(|()| stream.shutdown(Shutdown::Write));
    if sent.is_err() {
        return String::new();
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}
