//! The commands and programs of the README and of the guides "Getting started", "Testing" and "Writing a store".
//!
//! The tests run the commands in a new application, build the programs and send them requests.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use support::site::Site;

const GUIDE: &str = include_str!("../../docs/getting-started.md");
const README: &str = include_str!("../../README.md");
const TESTING: &str = include_str!("../../docs/testing.md");
const WRITING_A_STORE: &str = include_str!("../../docs/writing-a-store.md");

/// Returns the code blocks in this language, with their hidden lines.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let blocks = document.split("```").skip(1).step_by(2).filter_map(|block| block.split_once('\n'));
    let blocks = blocks.filter(|(told, _)| told.split(',').next() == Some(language));
    let shown = |line: &str| format!("{}\n", line.strip_prefix("# ").unwrap_or(line));
    blocks.map(|(_, code)| code.lines().map(shown).collect()).collect()
}

/// A new application in a temporary folder.
struct Application(PathBuf);

impl Application {
    /// Runs the commands of "Getting started".
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // Outside this repository: cargo would add it to the workspace.
        let start = std::env::temp_dir().join(format!("sessile-new-user-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&start);
        fs::create_dir_all(&start).unwrap();
        let mut application = Self(start);
        application.follow(&blocks(GUIDE, "sh")[0]);
        application
    }

    /// Runs these lines of a guide.
    fn follow(&mut self, lines: &str) {
        for line in lines.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["cd", name] => {
                    self.0.push(name);
                    // The locked versions of this crate.
                    fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock"), self.0.join("Cargo.lock")).unwrap();
                }
                ["cargo", "add", "sessile", ref options @ ..] => {
                    self.cargo(&[&["add", "--path", env!("CARGO_MANIFEST_DIR")], options].concat());
                }
                ["cargo", ref arguments @ ..] => self.cargo(arguments),
                _ => panic!("what to do with {line:?}?"),
            }
        }
    }

    fn cargo(&self, arguments: &[&str]) {
        let mut command = Command::new(env!("CARGO"));
        command.args(arguments).current_dir(&self.0);
        // Offline, with the downloads of this crate's build.
        command.env("CARGO_NET_OFFLINE", "true").env("CARGO_TARGET_DIR", self.target());
        // Each application is built once.
        command.env("CARGO_INCREMENTAL", "0").env("CARGO_PROFILE_DEV_DEBUG", "0");
        let output = command.output().expect("cargo runs");
        assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn write(&self, file: &str, text: &str) {
        let file = self.0.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    /// Returns the target folder, which all applications share.
    fn target(&self) -> PathBuf {
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("new-user-target")
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.target().join("debug").join(name));
        command.current_dir(&self.0);
        command
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.0.parent().unwrap());
    }
}

/// Returns the program with any free port in place of port 3000, which may be taken.
fn on_any_port(program: &str) -> String {
    assert_eq!(program.matches("127.0.0.1:3000").count(), 1);
    program.replace("127.0.0.1:3000", "127.0.0.1:0")
}

/// The guide's program without sessions.
const WITHOUT: &str = r#"
use axum::{Router, routing::get};

async fn visits() -> String {
    format!("a visit\n")
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    tracing_subscriber::fmt::init();
    let app = Router::new().route("/", get(visits));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await
}
"#;

/// The guide's commands build its program and the README's; both keep sessions.
#[tokio::test]
#[ignore = "builds an application and its dependencies: cargo test --test docs -- --ignored"]
async fn programs_of_guide_and_readme_have_sessions() {
    let application = Application::new();
    application.write("src/main.rs", &on_any_port(&blocks(GUIDE, "rust")[0]));
    application.write("src/bin/readme.rs", &on_any_port(&blocks(README, "rust")[0]));
    application.write("src/bin/without.rs", &on_any_port(WITHOUT));
    application.cargo(&["build"]);

    for program in ["shop", "readme"] {
        let site = Site::run(&mut application.program(program));
        let mut visitor = site.visitor();
        for visit in 1..=3 {
            assert_eq!(visitor.get("/").await, (200, format!("visit {visit}\n")));
        }
        assert_eq!(site.visitor().get("/").await.1, "visit 1\n");
        for visit in 1..=2 {
            if let Some(said) = application.curl(&site) {
                assert_eq!(said, format!("visit {visit}\n"), "{program}");
            }
        }
        let _ = fs::remove_file(application.0.join("jar"));
    }
    let site = Site::run(&mut application.program("without"));
    assert_eq!(site.visitor().get("/").await.1, "a visit\n");
}

impl Application {
    /// Runs the guide's curl command and returns the response body, or `None` without curl.
    fn curl(&self, site: &Site) -> Option<String> {
        let command = GUIDE.split('`').find(|span| span.starts_with("curl ")).expect("the guide names it");
        let port = site.address().rsplit(':').next().unwrap();
        let command = command.replace("3000", port);
        let mut words = command.split(' ');
        let mut curl = Command::new(words.next().unwrap());
        match curl.args(words).args(["--silent", "--noproxy", "localhost"]).current_dir(&self.0).output() {
            Ok(output) => Some(String::from_utf8(output.stdout).unwrap()),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NotFound);
                // The test harness hides the output of a test that passes.
                let told = writeln!(std::io::stderr(), "there is no curl here: the guide's command was not run");
                told.expect("somewhere to write");
                None
            }
        }
    }
}

/// The guide's program has five lines more than one without sessions.
#[test]
fn a_session_takes_five_lines() {
    let axums: Vec<&str> = WITHOUT.lines().collect();
    let guides = &blocks(GUIDE, "rust")[0];
    let ours: Vec<&str> = guides.lines().filter(|line| !axums.contains(line)).collect();
    assert_eq!(ours.len(), 5, "{ours:#?}");
}

/// The code of two guides builds with the dependencies that they add.
#[test]
#[ignore = "builds an application and its dependencies: cargo test --test docs -- --ignored"]
fn guides_name_every_dependency() {
    let mut application = Application::new();
    for commands in [blocks(TESTING, "sh"), blocks(WRITING_A_STORE, "sh")].concat() {
        application.follow(&commands);
    }
    // Examples see the development dependencies.
    let mut programs: Vec<String> = Vec::new();
    for (n, code) in blocks(TESTING, "rust").iter().enumerate() {
        programs.push(format!("testing_{n}"));
        application.write(&format!("examples/testing_{n}.rs"), code);
    }
    assert_eq!(programs.len(), 3);
    // The store and its tests are one program, without the line that stands in for the store in the documentation.
    let store = blocks(WRITING_A_STORE, "rust").concat();
    let stand_in = "use sessile::MemoryStore as MapStore;\n";
    assert!(store.contains(stand_in));
    programs.push("store".to_owned());
    application.write("examples/store.rs", &store.replace(stand_in, ""));
    application.cargo(&["build", "--examples"]);

    for program in programs {
        let output = application.program(&format!("examples/{program}")).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
