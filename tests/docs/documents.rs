//! The documents lead somewhere: each of their links to a file and a heading that exist, each of their commands to what it
//! names. And whatever in the README and the guides can be run is run: each command and each piece of code by something here.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::pages;

use std::fs;
use std::path::{Path, PathBuf};

use pages::{documents, read, root};

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
    let starts = |text: &str| text.split(' ').any(|word| ["cargo", "bash", "curl"].contains(&word));
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

/// What the tests run of the README, of the guides, and of the page for contributors: the command; the file that runs it, or the
/// like of it; and what to find there.
const RUN: [(&str, &str, &str); 32] = [
    ("bash benches/instructions/run", "tests/run", "bash benches/instructions/run"),
    ("bash tests/fuzz 3600", "tests/run", "bash tests/fuzz 60"),
    ("bash tests/run", ".ci/run", "exec bash tests/run"),
    ("bash tests/run-stores", "tests/run", "bash tests/run-stores"),
    ("cargo add --path", "tests/docs/getting_started.rs", "\"--path\""),
    ("cargo add axum", "tests/docs/getting_started.rs", "GUIDE, \"sh\""),
    ("cargo add http serde_json --dev", "tests/docs/getting_started.rs", "TESTING, \"sh\""),
    ("cargo add sessile", "tests/docs/getting_started.rs", "GUIDE, \"sh\""),
    ("cargo add sessile --dev --features testing", "tests/docs/getting_started.rs", "TESTING, \"sh\""),
    ("cargo add time", "tests/docs/getting_started.rs", "WRITING_A_STORE, \"sh\""),
    ("cargo add tokio --features macros,net,rt-multi-thread", "tests/docs/getting_started.rs", "GUIDE, \"sh\""),
    ("cargo add tower --dev --features util", "tests/docs/getting_started.rs", "TESTING, \"sh\""),
    ("cargo deny check", "tests/run", "cargo-deny --workspace --log-level error check"),
    ("cargo doc --open", "tests/run", "cargo doc --no-deps"),
    ("cargo install --locked cargo-deny", "tests/run", "cargo install --quiet --locked"),
    ("cargo new", "tests/docs/getting_started.rs", "GUIDE, \"sh\""),
    ("cargo new shop", "tests/docs/getting_started.rs", "GUIDE, \"sh\""),
    ("cargo run", "tests/docs/getting_started.rs", "program(program)"),
    ("cargo run --example quickstart", "tests/docs/quickstart.rs", "Site::start(\"quickstart\")"),
    ("cargo run --manifest-path tests/public-api/Cargo.toml -- --write", "tests/run", "tests/public-api/Cargo.toml"),
    ("cargo run -p sessile-demo", "examples/demo/tests/browser/demo.rs", "CARGO_BIN_EXE_sessile-demo"),
    ("cargo test", "tests/run", "\ncargo test\n"),
    ("cargo test --all-features --doc", "tests/run", "cargo test --all-features --doc"),
    ("cargo test --all-features --test sizes -- --nocapture", "tests/run-stores", "--test sizes"),
    (
        "cargo check --manifest-path tests/peers/Cargo.toml --tests",
        "tests/run",
        "cargo check --manifest-path tests/peers",
    ),
    ("cargo test --test sign_in", "tests/run", "\ncargo test\n"),
    ("cargo test -p sessile-demo --all-features", "tests/run", "cargo test -p sessile-demo --all-features"),
    ("cd shop", "tests/docs/getting_started.rs", "[\"cd\", name]"),
    ("curl -b jar -c jar http://localhost:3000", "tests/docs/getting_started.rs", "starts_with(\"curl \")"),
    (
        "DATABASE_URL=redis://localhost/ cargo run -p sessile-demo --features redis",
        "examples/demo/tests/browser/databases.rs",
        "Server::redis()",
    ),
    (
        "DATABASE_URL=sqlite:sessions.db cargo run --example quickstart --features sqlite",
        "tests/servers/sqlite.rs",
        "the_examples_keep_their_sessions_here(&url(&file))",
    ),
    ("TRYBUILD=overwrite cargo test --test compile_fail", "tests/run", "\ncargo test\n"),
];

/// What nothing runs, and why.
const BY_HAND: [(&str, &str); 4] = [
    ("bash benches/times/run", "it measures, which takes a quiet machine"),
    ("cargo run --release --manifest-path benches/", "it measures, which takes a quiet machine"),
    ("cargo deny check advisories", "it takes the network, and what it finds is another thing every day"),
    ("bash tests/mutants", "it takes a night"),
];

/// The README, the guides, and the page for contributors. What was measured, and how, is in the others.
fn to_be_followed() -> Vec<(PathBuf, String)> {
    let guides = guides();
    let is_one = |file: &Path| {
        let name = file.strip_prefix(root()).unwrap().display().to_string();
        ["README.md", "CONTRIBUTING.md", "SECURITY.md"].contains(&name.as_str()) || guides.contains(&name)
    };
    documents().into_iter().filter(|(file, _)| is_one(file)).collect()
}

/// The guides that are pages of the crate's documentation, whose code is compiled with it.
fn guides() -> Vec<String> {
    let guide = read("src/guide.rs");
    let pages = guide.lines().filter_map(|line| line.strip_prefix("page!(")?.split('"').nth(1));
    pages.map(|page| format!("docs/{page}.md")).collect()
}

#[test]
fn every_command_of_the_readme_and_the_guides_is_run() {
    let mut found = Vec::new();
    for (file, text) in to_be_followed() {
        for command in commands(&text).into_iter().chain(shell_lines(&text)) {
            let is_run = RUN.iter().any(|(known, _, _)| *known == command);
            let is_not = BY_HAND.iter().any(|(start, _)| command.starts_with(start));
            assert!(is_run || is_not, "{}: nothing is known to run {command:?}", file.display());
            found.push(command);
        }
    }
    for (command, file, there) in RUN {
        assert!(found.iter().any(|it| it == command), "no document says {command:?}");
        assert!(read(file).contains(there), "{command}: no {there:?} in {file}");
    }
    for (start, why) in BY_HAND {
        assert!(found.iter().any(|command| command.starts_with(start)), "no document says {start:?}, {why}");
    }
}

/// The lines of all blocks for a shell, whatever they begin with.
fn shell_lines(document: &str) -> Vec<String> {
    let blocks = document.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("sh\n"));
    blocks.flat_map(str::lines).map(str::to_owned).collect()
}

/// Rust is compiled, and run where it needs no server, with the documentation; the README's is run by `new_user`. What is shown of
/// other crates is compiled by `tests/peers`, statements are sent by the tests of their database. All else are pictures.
#[test]
fn every_piece_of_code_of_the_readme_and_the_guides_is_compiled_or_run() {
    let peers = read("tests/peers/build.rs");
    let postgres = read("tests/servers/postgres.rs");
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
                    is_picture || peers.contains(&format!("\"{guide}\""))
                }
                "sql" => postgres.contains(&format!("include_str!(\"../../{name}\")")),
                "sh" => true,
                _ => false,
            };
            assert!(is_seen_to, "{name}: nothing compiles or runs this:\n```{block}");
        }
    }
    assert!(seen > 50, "{seen} pieces of code");
}

#[test]
fn every_file_in_the_picture_of_the_architecture_is_there() {
    let page = read("docs/architecture.md");
    let named = |word: &str| word.ends_with(".rs").then(|| word.to_owned());
    let named: Vec<_> = page.split(|c: char| !c.is_alphanumeric() && !"._".contains(c)).filter_map(named).collect();
    assert!(named.len() > 8, "{named:?}");
    for file in named {
        let places = ["src", "src/session", "src/store/memory"].map(|folder| root().join(folder).join(&file));
        assert!(places.iter().any(|place| place.is_file()), "there is no {file}");
    }
}

#[test]
fn every_example_says_when_to_take_it_and_how_to_run_it() {
    let manifest = read("Cargo.toml");
    let readme = read("README.md");
    let files = fs::read_dir(root().join("examples")).unwrap().map(|entry| entry.unwrap().path());
    let mut seen = 0;
    for file in files.filter(|file| file.is_file()) {
        seen += 1;
        let name = file.file_stem().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//! When "), "{name} does not begin with when to take it");
        let needs = manifest.split("[[example]]").find(|entry| entry.starts_with(&format!("\nname = \"{name}\"\n")));
        let feature =
            needs.and_then(|entry| entry.lines().nth(2)?.strip_prefix("required-features = [\"")?.split('"').next());
        let features = feature.map(|feature| format!(" --features {feature}")).unwrap_or_default();
        let is_told = |verb| text.contains(&format!("cargo {verb} --example {name}{features}\n//! ```"));
        assert!(is_told("run") || is_told("test"), "{name} does not say how to run it");
        assert!(readme.contains(&format!("(examples/{name}.rs)")), "the README does not lead to {name}");
    }
    assert!(seen > 15, "{seen} examples");
    for (file, text) in documents() {
        let named = text.split("example `").skip(1).filter_map(|rest| rest.split_once('`')).map(|(name, _)| name);
        for name in named.filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_')) {
            assert!(root().join(format!("examples/{name}.rs")).is_file(), "{}: no example {name}", file.display());
        }
    }
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
