//! The documents lead somewhere: each of their links to a file and a heading that exist, each of their commands to what it
//! names.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every document and its text.
fn documents() -> Vec<(PathBuf, String)> {
    let folders = ["", "docs"].map(|folder| root().join(folder));
    let files = folders.into_iter().flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    let documents: Vec<_> = files.filter(|file| file.extension().is_some_and(|end| end == "md")).collect();
    assert!(documents.len() > 15, "{documents:?}");
    documents.into_iter().map(|file| (file.clone(), fs::read_to_string(file).unwrap())).collect()
}

/// The document without its pieces of code.
fn prose(document: &str) -> String {
    document.split("```").step_by(2).collect()
}

/// What the links lead to: `[…](this)`, or `[…]: this` on a line of its own.
fn links(document: &str) -> Vec<String> {
    let prose = prose(document);
    let inline = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    let by_name = prose.lines().filter(|line| line.starts_with('[')).filter_map(|line| line.split_once("]: "));
    inline.chain(by_name.map(|(_, target)| target)).map(|target| target.trim().to_owned()).collect()
}

/// The names that are used as `[text][name]`, and those that stand for something.
fn names(document: &str) -> (Vec<String>, Vec<String>) {
    let prose = prose(document);
    let used = prose.split("][").skip(1).filter_map(|rest| rest.split_once(']')).map(|(name, _)| name.to_owned());
    let given = prose.lines().filter(|line| line.starts_with('[')).filter_map(|line| line[1..].split_once("]: "));
    (used.collect(), given.map(|(name, _)| name.to_owned()).collect())
}

/// What a page calls the place of this heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// Whether a link of this document leads somewhere. Those to other sites are not followed.
fn leads_somewhere(from: &Path, target: &str) -> bool {
    if target.starts_with("https://") {
        return true;
    }
    let (file, place) = target.split_once('#').unwrap_or((target, ""));
    let file = if file.is_empty() { from.to_owned() } else { from.parent().unwrap().join(file) };
    if place.is_empty() {
        return file.exists();
    }
    let text = fs::read_to_string(file).unwrap_or_default();
    prose(&text).lines().any(|line| line.starts_with('#') && anchor(line) == place)
}

#[test]
fn every_link_leads_to_a_file_or_a_heading() {
    let mut seen = 0;
    for (file, text) in documents() {
        for target in links(&text) {
            seen += 1;
            assert!(leads_somewhere(&file, &target), "{}: nothing is at {target}", file.display());
        }
        let (used, given) = names(&text);
        for name in &used {
            assert!(given.contains(name), "{}: nothing is called [{name}]", file.display());
        }
        for name in &given {
            assert!(
                used.contains(name) || text.contains(&format!("[{name}]")),
                "{}: [{name}] is not used",
                file.display()
            );
        }
    }
    assert!(seen > 60, "{seen} links");
}

/// Every document that is read on its own page is linked from the README, or from a page that is.
#[test]
fn every_document_is_found_from_the_readme() {
    let documents = documents();
    let mut found = vec![root().join("README.md")];
    let mut next = 0;
    while let Some(file) = found.get(next).cloned() {
        next += 1;
        let text = fs::read_to_string(&file).unwrap();
        for target in links(&text).iter().filter(|target| !target.starts_with("https://")) {
            let linked = file.parent().unwrap().join(target.split('#').next().unwrap());
            if linked.extension().is_some_and(|end| end == "md") && !found.contains(&linked) {
                found.push(linked);
            }
        }
    }
    for (file, _) in documents {
        assert!(found.contains(&file), "nothing leads to {}", file.display());
    }
}

/// Every command of a document that begins with one of these words, wherever it stands: in a block or within a line.
fn commands(document: &str) -> Vec<String> {
    let starts = |text: &str| text.split(' ').any(|word| ["cargo", "bash"].contains(&word));
    let (prose, blocks): (Vec<_>, Vec<_>) = document.split("```").enumerate().partition(|(n, _)| n % 2 == 0);
    let blocks = blocks.into_iter().filter_map(|(_, block)| block.strip_prefix("sh\n")).flat_map(str::lines);
    let spans = prose.iter().flat_map(|(_, text)| text.split('`').skip(1).step_by(2));
    blocks.chain(spans).filter(|text| starts(text)).map(|text| text.replace('\n', " ")).collect()
}

/// What of a command is not there.
fn missing(command: &str) -> Option<String> {
    let words: Vec<&str> = command.split_whitespace().collect();
    let after = |option: &str| words.iter().position(|word| *word == option).and_then(|at| words.get(at + 1)).copied();
    let one_of = |files: &[String]| files.iter().any(|file| root().join(file).exists());
    let manifest_file = after("--manifest-path").unwrap_or("Cargo.toml");
    let Ok(manifest) = fs::read_to_string(root().join(manifest_file)) else { return Some(manifest_file.to_owned()) };
    let home = Path::new(manifest_file).parent().unwrap().display().to_string();
    for (option, folder) in [("--example", "examples"), ("--test", "tests"), ("--bench", "benches")] {
        let Some(name) = after(option) else { continue };
        let folder = if home.is_empty() { folder.to_owned() } else { format!("{home}/{folder}") };
        if !one_of(&[format!("{folder}/{name}.rs"), format!("{folder}/{name}/main.rs")]) {
            return Some(format!("{option} {name}"));
        }
    }
    // What is added to another package is this crate, or has features of its own.
    if !command.contains("cargo add") || words.contains(&"sessile") {
        for feature in after("--features").into_iter().flat_map(|features| features.split(',')) {
            if !manifest.lines().any(|line| line.starts_with(&format!("{feature} = "))) {
                return Some(format!("--features {feature}"));
            }
        }
    }
    if after("-p").is_some_and(|package| package != "sessile-demo") {
        return Some(command.to_owned());
    }
    let script = after("bash").filter(|script| script.contains('/'));
    script.filter(|script| !root().join(script).is_file()).map(str::to_owned)
}

#[test]
fn every_command_names_what_there_is() {
    let mut seen = 0;
    for (file, text) in documents() {
        for command in commands(&text) {
            seen += 1;
            assert_eq!(missing(&command), None, "{}: {command}", file.display());
        }
    }
    assert!(seen > 30, "{seen} commands");
}

#[test]
fn what_is_not_there_is_noticed() {
    let guide = root().join("docs/stores.md");
    for target in ["sizing.md", "#size", "scaling.md#clock", "../READ.md"] {
        assert!(!leads_somewhere(&guide, target), "{target}");
    }
    for target in ["scaling.md", "#sizing", "scaling.md#clocks", "../README.md"] {
        assert!(leads_somewhere(&guide, target), "{target}");
    }
    let text =
        "See [this](a.md) and [that][b].\n\n```text\n[not](c.md)\n```\n[b]: b.md\nRun `cargo test --test nothing`.";
    assert_eq!(links(text), ["a.md", "b.md"]);
    assert_eq!(missing(&commands(text)[0]).as_deref(), Some("--test nothing"));
    assert!(missing("cargo run --example nothing").is_some());
    assert!(missing("cargo run --features nothing").is_some());
    assert!(missing("cargo run --manifest-path nothing/Cargo.toml").is_some());
    assert!(missing("bash tests/nothing").is_some());
}
