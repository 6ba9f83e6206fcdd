//! Real database servers, private to a test: each in a temporary directory of its own, on a free port of the loopback,
//! ended when the test ends.

#![allow(dead_code, reason = "each test binary compiles all of it and uses a part")]
#![allow(unreachable_pub, missing_debug_implementations, reason = "nothing outside of the test binary sees it")]
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a server may take to start. A machine under load is slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory that goes with its owner.
pub struct Directory {
    path: PathBuf,
    /// How much it holds.
    room: Room,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// As much as its disk.
    Plenty,
    /// Little: it is a disk of its own, in memory.
    Disk,
    /// Its disk is large, but no file in it may be larger than so many bytes. What there is without a permission to mount.
    Files(u64),
}

impl Directory {
    pub fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sessile-{name}-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self { path, room: Room::Plenty }
    }

    /// One of so many megabytes, or, where nothing can be mounted, with files of so many megabytes less.
    pub fn small(name: &str, megabytes: u64, less: u64) -> Self {
        let mut directory = Self::new(name);
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o"]).arg(format!("size={megabytes}m")).arg("none").arg(&directory.path);
        let mounted = mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        directory.room = if mounted { Room::Disk } else { Room::Files((megabytes - less) << 20) };
        if !mounted {
            eprintln!("nothing can be mounted here, so the disk is not small: its files are (ulimit -f)");
        }
        fs::set_permissions(&directory.path, fs::Permissions::from_mode(0o755)).unwrap();
        directory
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn room(&self) -> Room {
        self.room
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.room == Room::Disk {
            let _ = Command::new("umount").arg("--lazy").arg(&self.path).status();
        }
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A running server.
pub struct Server {
    program: PathBuf,
    arguments: Vec<String>,
    /// Whom it runs as, where that is not us.
    user: Option<(u32, u32)>,
    ready: fn(&Server) -> bool,
    port: u16,
    child: Option<Child>,
    directory: Directory,
}

impl Server {
    /// PostgreSQL, with the superuser and the database `postgres`.
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
        let ready = |server: &Server| {
            let port = server.port.to_string();
            let mut asked = Command::new(program("pg_isready", "postgresql-client"));
            asked.args(["-q", "-h", "127.0.0.1", "-p", &port]).status().is_ok_and(|status| status.success())
        };
        Self::start_new(program("postgres", "postgresql"), arguments, user, ready, port, directory)
    }

    /// MariaDB, with the user `app` and the database `app`.
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
        // One that starts removes the temporary tables of others from the directory that they share.
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

    /// Redis, with every write on the disk before it is acknowledged.
    pub fn redis() -> Self {
        Self::redis_with(&[])
    }

    pub fn redis_with(settings: &[&str]) -> Self {
        Self::redis_in(Directory::new("redis"), settings)
    }

    pub fn redis_in(directory: Directory, settings: &[&str]) -> Self {
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
        Self::start_new(program("redis-server", "redis-server"), arguments, None, answers_ping, port, directory)
    }

    /// A sentinel that watches `master` under the name `main`.
    pub fn sentinel(master: &Self) -> Self {
        let directory = Directory::new("sentinel");
        let port = free_port();
        let file = directory.path().join("sentinel.conf");
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor main 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 5000\n",
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

    /// Starts it again, after it was killed, and waits until it answers.
    pub fn start(&mut self) {
        let started = Instant::now();
        loop {
            let log = File::options().create(true).append(true).open(self.directory.path().join("log")).unwrap();
            let mut command = match self.directory.room() {
                Room::Files(most) => {
                    let mut limited = Command::new("sh");
                    // In blocks of 512 bytes. The servers are to see an error and not the signal.
                    limited.arg("-c").arg(format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", most / 512));
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
                    // What the last one held is not free yet.
                    break;
                }
            }
        }
    }

    /// Ends it at once, as a power failure would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of the server, reached through another port if there is a proxy before it.
    pub fn url_at(&self, port: u16) -> String {
        match self.program.file_name().unwrap().to_str().unwrap() {
            "postgres" => format!("postgres://postgres@127.0.0.1:{port}/postgres"),
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
        // PostgreSQL takes its children with it only where it is told.
        let told = Command::new("sh").arg("-c").arg(format!("kill -QUIT {}", child.id())).status();
        let soon = Instant::now() + Duration::from_secs(if told.is_ok() { 3 } else { 0 });
        while Instant::now() < soon && matches!(child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Three masters that share the slots.
pub fn cluster() -> Vec<Server> {
    let settings = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
    let servers: Vec<_> = (0..3)
        .map(|_| {
            let bus = free_port().to_string();
            Server::redis_with(&[&settings[..], &["--cluster-port", &bus]].concat())
        })
        .collect();
    let mut create = Command::new(program("redis-cli", "redis-tools"));
    create.args(["--cluster", "create"]);
    create.args(servers.iter().map(|server| format!("127.0.0.1:{}", server.port)));
    run(create.args(["--cluster-replicas", "0", "--cluster-yes"]));
    let started = Instant::now();
    while !servers.iter().all(|server| ask(server.port, "CLUSTER INFO").contains("cluster_state:ok")) {
        assert!(started.elapsed() < PATIENCE, "the cluster does not come together");
        std::thread::sleep(Duration::from_millis(50));
    }
    servers
}

/// Where a program is. Debian keeps some of PostgreSQL's out of the path.
pub fn program(name: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    places.extend(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    places.splice(0..0, versions.map(|version| version.path().join("bin")));
    let found = places.into_iter().map(|place| place.join(name)).find(|file| file.is_file());
    found
        .unwrap_or_else(|| panic!("there is no {name} here: install the Debian package {package} (or run .ci/servers)"))
}

/// Who a server runs as that refuses to run as root.
pub fn unprivileged(name: &str) -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| {
        let output = Command::new("id").args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse::<u32>().ok()
    };
    if id(&["-u"]) != Some(0) {
        return None;
    }
    let user = id(&["-u", name]).zip(id(&["-g", name]));
    Some(user.unwrap_or_else(|| panic!("there is no user {name} here: install the server's Debian package")))
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

pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// MariaDB speaks first.
fn greets(server: &Server) -> bool {
    let Ok(stream) = TcpStream::connect(("127.0.0.1", server.port)) else { return false };
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    BufReader::new(stream).fill_buf().is_ok_and(|greeting| !greeting.is_empty())
}

fn answers_ping(server: &Server) -> bool {
    ask(server.port, "PING").starts_with("+PONG")
}

/// One command to a Redis server, and the beginning of what it says.
pub fn ask(port: u16, command: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return String::new() };
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut stream_out = stream.try_clone().unwrap();
    if stream_out.write_all(format!("{command}\r\n").as_bytes()).is_err() {
        return String::new();
    }
    let mut buffer = [0; 4096];
    let read = std::io::Read::read(&mut stream, &mut buffer).unwrap_or(0);
    String::from_utf8_lossy(&buffer[..read]).into_owned()
}
