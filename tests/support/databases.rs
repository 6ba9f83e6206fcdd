//! Runs of the example programs that read `DATABASE_URL`, over a real database.

#![allow(dead_code, reason = "each test binary uses a part of this file")]
#![allow(unreachable_pub, missing_debug_implementations, reason = "the items are private to a test binary")]
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use axum::http::header::{COOKIE, SET_COOKIE};

/// A session continues after a restart, in the quickstart and in the example named after the database.
pub async fn the_examples_keep_their_sessions_here(url: &str) {
    for example in ["quickstart", url.split(':').next().unwrap()] {
        let program = build(example);
        let mut site = Site::start(&program, url);
        let (first, cookie) = site.visit(None).await;
        assert_eq!(first, "visit 1\n", "{example}");
        let cookie = cookie.expect("a new session sets its cookie");
        assert_eq!(site.visit(Some(&cookie)).await.0, "visit 2\n", "{example}");
        drop(site);
        site = Site::start(&program, url);
        assert_eq!(site.visit(Some(&cookie)).await.0, "visit 3\n", "{example}");
    }
}

struct Site {
    program: Child,
    address: String,
}

impl Site {
    fn start(program: &PathBuf, url: &str) -> Self {
        let mut command = Command::new(program);
        let mut program = command.env("PORT", "0").env("DATABASE_URL", url).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(program.stdout.take().unwrap()).read_line(&mut line).unwrap();
        // From here on, a panic drops the site, which ends the program.
        let mut site = Self { program, address: String::new() };
        site.address = line.trim().strip_prefix("listening on ").expect("the program prints its address").to_owned();
        site
    }

    /// Returns the page and the cookie that it sets.
    async fn visit(&self, cookie: Option<&str>) -> (String, Option<String>) {
        let mut request = reqwest::Client::new().get(&self.address);
        if let Some(cookie) = cookie {
            request = request.header(COOKIE, cookie);
        }
        let response = request.send().await.unwrap();
        let set = response.headers().get(SET_COOKIE);
        let cookie = set.map(|set| set.to_str().unwrap().split(';').next().unwrap().to_owned());
        (response.text().await.unwrap(), cookie)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// Builds an example with every store, and returns its path.
pub fn build(example: &str) -> PathBuf {
    // `tests/run` has built them.
    if let Some(folder) = std::env::var_os("SESSILE_EXAMPLES") {
        return PathBuf::from(folder).join(example);
    }
    let mut cargo = Command::new(env!("CARGO"));
    // The variables that cargo sets for this test's package would make other build scripts run again.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CARGO_") && !is_user_setting(name)) {
        cargo.env_remove(name);
    }
    let output = cargo
        .args(["build", "--all-features", "--example", example, "--message-format", "json"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "the example builds");
    let messages = output.stdout.lines().map(|line| serde_json::from_str::<serde_json::Value>(&line.unwrap()).unwrap());
    let executables = messages.filter(|message| message["target"]["name"] == example);
    let executables = executables.filter_map(|message| message["executable"].as_str().map(PathBuf::from));
    executables.last().expect("the example is a program")
}

fn is_user_setting(name: &str) -> bool {
    ["CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_BUILD_", "CARGO_NET_", "CARGO_ENCODED_RUSTFLAGS"]
        .iter()
        .any(|kept| name.starts_with(kept))
}
