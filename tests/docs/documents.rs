//! Links, commands and code of the documents: link targets and the names in commands exist, and code is compiled.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::pages;

use std::fs;
use std::path::Path;

use pages::{documents, read, root};

/// Returns the document without its code blocks.
fn prose(document: &str) -> String {
    document.split("```").step_by(2).collect()
}

/// Returns the targets of links: `[…](target)`, or `[…]: target` on a line.
fn links(document: &str) -> Vec<String> {
    let prose = prose(document);
    let inline = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    let by_name = prose.lines().filter(|line| line.starts_with('[')).filter_map(|line| line.split_once("]: "));
    inline.chain(by_name.map(|(_, target)| target)).map(|target| target.trim().to_owned()).collect()
}

/// Returns the names in `[text][name]`, and those that have a target.
fn names(document: &str) -> (Vec<String>, Vec<String>) {
    let prose = prose(document);
    let used = prose.split("][").skip(1).filter_map(|rest| rest.split_once(']')).map(|(name, _)| name.to_owned());
    let given = prose.lines().filter(|line| line.starts_with('[')).filter_map(|line| line[1..].split_once("]: "));
    (used.collect(), given.map(|(name, _)| name.to_owned()).collect())
}

/// Returns the anchor of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// Checks the target of a link. Links to other sites are not followed.
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

/// Each link names a file and a heading that exist.
#[test]
fn every_link_has_a_target() {
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
    assert!(seen > 20, "{seen} links");
}

/// A chain of links leads from the README to every document.
#[test]
fn the_readme_leads_to_every_document() {
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

/// Returns the commands of a document, in blocks and in code spans.
fn commands(document: &str) -> Vec<String> {
    let starts = |text: &str| text.split(' ').any(|word| ["cargo", "bash", "curl"].contains(&word));
    let (prose, blocks): (Vec<_>, Vec<_>) = document.split("```").enumerate().partition(|(n, _)| n % 2 == 0);
    let blocks = blocks.into_iter().filter_map(|(_, block)| block.strip_prefix("sh\n")).flat_map(str::lines);
    let spans = prose.iter().flat_map(|(_, text)| text.split('`').skip(1).step_by(2));
    blocks.chain(spans).filter(|text| starts(text)).map(|text| text.replace('\n', " ")).collect()
}

/// Returns the first name in a command that does not exist.
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
    // `cargo add` names features of other crates, except for this one.
    if !command.contains("cargo add") || words.contains(&"sessile") {
        for feature in after("--features").into_iter().flat_map(|features| features.split(',')) {
            if !manifest.lines().any(|line| line.starts_with(&format!("{feature} = "))) {
                return Some(format!("--features {feature}"));
            }
        }
    }
    if after("-p").is_some_and(|package| !["sessile-demo", "sessile-oidc"].contains(&package)) {
        return Some(command.to_owned());
    }
    let script = after("bash").filter(|script| script.contains('/'));
    script.filter(|script| !root().join(script).is_file()).map(str::to_owned)
}

/// Manifests, targets, features and scripts in commands exist.
#[test]
fn every_command_names_targets_that_exist() {
    let mut seen = 0;
    for (file, text) in documents() {
        for command in commands(&text) {
            seen += 1;
            assert_eq!(missing(&command), None, "{}: {command}", file.display());
        }
    }
    assert!(seen > 10, "{seen} commands");
}

/// Returns the guides that are included in the crate's documentation, whose code blocks are doc tests.
fn guides() -> Vec<String> {
    let guide = read("src/guide.rs");
    let pages = guide.lines().filter_map(|line| line.strip_prefix("page!(")?.split('"').nth(1));
    pages.map(|page| format!("docs/{page}.md")).collect()
}

/// Rust code of the guides is a doc test, that of the README is run by `getting_started`. `tests/peers` compiles the code of other
/// crates, and the tests of PostgreSQL and Redis run the statements and the permissions. Everything else is a diagram.
#[test]
fn all_code_in_documents_is_compiled() {
    let peers = read("tests/peers/build.rs");
    let (postgres, permissions) = (read("tests/servers/postgres.rs"), read("tests/servers/redis/permissions.rs"));
    let (guides, mut seen) = (guides(), 0);
    for (file, text) in documents() {
        let name = file.strip_prefix(root()).unwrap().display().to_string();
        for block in text.split("```").skip(1).step_by(2) {
            let (language, code) = block.split_once('\n').unwrap();
            seen += 1;
            let is_seen_to = match language {
                "rust" | "rust,no_run" => guides.contains(&name) || name == "README.md",
                "text" => {
                    let guide = file.file_stem().unwrap().to_str().unwrap();
                    let is_picture = code.contains(['│', '─', '▶']);
                    let is_run = code.starts_with("ACL SETUSER") && permissions.contains(&format!("/{name}\")"));
                    is_picture || is_run || peers.contains(&format!("\"{guide}\""))
                }
                "sql" => postgres.contains(&format!("include_str!(\"../../{name}\")")),
                "sh" => true,
                _ => false,
            };
            assert!(is_seen_to, "{name}: nothing compiles or runs this:\n```{block}");
        }
    }
    assert!(seen > 20, "{seen} pieces of code");
}

/// Reports on an earlier source, which name its files.
const REPORTS: [&str; 2] = ["measurements.md", "mutants.md"];

/// Code spans such as `src/store` and `tests/run` name files and folders that exist.
#[test]
fn every_path_in_a_code_span_exists() {
    let folders = ["src/", "tests/", "examples/", "benches/", "docs/", "fuzz/"];
    let mut seen = 0;
    for (file, text) in documents() {
        if REPORTS.iter().any(|report| file.ends_with(report)) {
            continue;
        }
        let prose = prose(&text);
        let spans =
            prose.split('`').skip(1).step_by(2).filter(|span| folders.iter().any(|folder| span.starts_with(folder)));
        for path in spans.filter(|span| span.chars().all(|c| c.is_alphanumeric() || "/._-".contains(c))) {
            seen += 1;
            assert!(root().join(path).exists(), "{}: there is no {path}", file.display());
        }
    }
    assert!(seen > 5, "{seen} paths");
}

/// Each example has its command in its first lines, and a document that links to it.
#[test]
fn every_example_says_how_to_run_it() {
    let manifest = read("Cargo.toml");
    let documents = documents();
    let files = fs::read_dir(root().join("examples")).unwrap().map(|entry| entry.unwrap().path());
    let mut seen = 0;
    for file in files.filter(|file| file.is_file()) {
        seen += 1;
        let name = file.file_stem().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//! "), "{name} does not begin with its subject");
        let needs = manifest.split("[[example]]").find(|entry| entry.starts_with(&format!("\nname = \"{name}\"\n")));
        let feature =
            needs.and_then(|entry| entry.lines().nth(2)?.strip_prefix("required-features = [\"")?.split('"').next());
        let features = feature.map(|feature| format!(" --features {feature}")).unwrap_or_default();
        let is_told = |verb| text.contains(&format!("cargo {verb} --example {name}{features}\n//! ```"));
        assert!(is_told("run") || is_told("test"), "{name} does not say how to run it");
        let link = format!("examples/{name}.rs)");
        assert!(documents.iter().any(|(_, text)| text.contains(&link)), "no document leads to {name}");
    }
    assert!(seen > 15, "{seen} examples");
    for (file, text) in documents {
        let named = text.split("example `").skip(1).filter_map(|rest| rest.split_once('`')).map(|(name, _)| name);
        for name in named.filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_')) {
            assert!(root().join(format!("examples/{name}.rs")).is_file(), "{}: no example {name}", file.display());
        }
    }
}

/// The checks fail for links and commands without a target.
#[test]
fn missing_targets_are_noticed() {
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
