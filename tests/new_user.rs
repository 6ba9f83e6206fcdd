//! The guide "Getting started" and the README as a newcomer follows them: the commands are run, the programs are built and
//! visited.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::site::Site;

const GUIDE: &str = include_str!("../docs/getting-started.md");
const README: &str = include_str!("../README.md");

/// The first piece of code in this language.
fn first_block(document: &'static str, language: &str) -> &'static str {
    let start = document.find(&format!("```{language}")).expect("the document has one");
    let block = document[start..].split_once('\n').unwrap().1;
    block.split_once("```").unwrap().0
}

fn cargo(directory: &Path, arguments: &[&str]) {
    let mut command = Command::new(env!("CARGO"));
    command.args(arguments).current_dir(directory);
    // From what this crate's own build has downloaded, into a folder that is kept.
    command.env("CARGO_NET_OFFLINE", "true").env("CARGO_TARGET_DIR", target());
    let output = command.output().expect("cargo runs");
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("new-user-target")
}

#[tokio::test]
async fn the_commands_and_the_programs_of_the_guide_and_the_readme_make_a_working_session() {
    // Away from here: cargo would take it for a part of this crate's workspace.
    let start = std::env::temp_dir().join(format!("sessile-new-user-{}", std::process::id()));
    let _ = fs::remove_dir_all(&start);
    fs::create_dir_all(&start).unwrap();
    let mut directory = start.clone();
    for line in first_block(GUIDE, "sh").lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["cd", name] => {
                directory.push(name);
                // The versions that this crate is tested with.
                fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock"), directory.join("Cargo.lock")).unwrap();
            }
            ["cargo", "add", "sessile"] => cargo(&directory, &["add", "--path", env!("CARGO_MANIFEST_DIR")]),
            ["cargo", ref arguments @ ..] => cargo(&directory, arguments),
            _ => panic!("what to do with {line:?}?"),
        }
    }
    fs::create_dir(directory.join("src/bin")).unwrap();
    for (document, file) in [(GUIDE, "src/main.rs"), (README, "src/bin/readme.rs")] {
        // Any free port, in the place of the one that may be taken here.
        let program = first_block(document, "rust").replace("127.0.0.1:3000", "127.0.0.1:0");
        fs::write(directory.join(file), program).unwrap();
    }
    cargo(&directory, &["build"]);

    for program in ["shop", "readme"] {
        let site = Site::run(&mut Command::new(target().join("debug").join(program)));
        let mut visitor = site.visitor();
        for visit in 1..=3 {
            assert_eq!(visitor.get("/").await, (200, format!("visit {visit}\n")));
        }
        assert_eq!(site.visitor().get("/").await.1, "visit 1\n");
    }
    fs::remove_dir_all(start).unwrap();
}

#[test]
fn a_session_takes_five_lines_besides_axums_own() {
    let ours = first_block(GUIDE, "rust").lines().filter(|line| line.to_lowercase().contains("sess")).count();
    assert!(ours <= 5, "{ours}");
}
