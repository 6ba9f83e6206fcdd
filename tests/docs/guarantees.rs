//! `docs/tested-guarantees.md` lists the tests of each guarantee and of each item of the security checklist.
//!
//! A comment above a test names them: `// guarantee: 3, 14` or `// checklist: 22`.
//! `SESSILE_WRITE=1 cargo test --test docs guarantees` writes the page.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use crate::pages::root;

const PAGE: &str = "docs/tested-guarantees.md";

const GUARANTEES: u32 = 14;
const CHECKLIST_ITEMS: u32 = 38;

/// Item 35, several cookies that are verified together: `docs/security.md` says why it is out of scope.
const OUT_OF_SCOPE: u32 = 35;

/// The folders with tests, and with rules that tests run on every store.
const FOLDERS: [&str; 3] = ["tests", "src/testing", "examples"];

/// Number of a guarantee or an item, to the files of its tests, to the names of the tests.
type Tests = BTreeMap<u32, BTreeMap<String, BTreeSet<String>>>;

#[derive(Default)]
struct Markers {
    guarantees: Tests,
    checklist: Tests,
}

impl Markers {
    fn of_the_repository() -> Self {
        let mut markers = Self::default();
        for folder in FOLDERS {
            for file in rust_files(&root().join(folder)) {
                let name = file.strip_prefix(root()).unwrap().display().to_string();
                markers.add(&name, &fs::read_to_string(&file).unwrap());
            }
        }
        markers
    }

    /// Adds the markers of a file. Each belongs to the next function.
    fn add(&mut self, file: &str, source: &str) {
        let (mut guarantees, mut items) = (Vec::new(), Vec::new());
        for line in source.lines().map(str::trim_start) {
            if let Some(numbers) = line.strip_prefix("// guarantee: ") {
                guarantees.extend(parse(numbers, GUARANTEES, file));
            } else if let Some(numbers) = line.strip_prefix("// checklist: ") {
                items.extend(parse(numbers, CHECKLIST_ITEMS, file));
            } else if let Some(name) = function(line) {
                for (tests, numbers) in [(&mut self.guarantees, &mut guarantees), (&mut self.checklist, &mut items)] {
                    for number in numbers.drain(..) {
                        tests.entry(number).or_default().entry(file.to_owned()).or_default().insert(name.to_owned());
                    }
                }
            } else {
                let may_follow_a_marker = line.starts_with("//") || line.starts_with("#[") || line.ends_with(")]");
                let is_pending = !guarantees.is_empty() || !items.is_empty();
                assert!(may_follow_a_marker || !is_pending, "{file}: a marker is not above a function, but {line:?}");
            }
        }
    }

    fn page(&self) -> String {
        let mut page = String::from(
            "# Tested guarantees\n\n\
             The tests of each [guarantee](guarantees.md) and of each item of the [security checklist](security.md).\n\
             Functions in `tests/support` and `src/testing` run on every store.\n\n\
             This page is generated. A comment above a test, `// guarantee: 3` or `// checklist: 22`, adds it to a table, and\n\
             `SESSILE_WRITE=1 cargo test --test docs guarantees` writes the page.\n",
        );
        for (heading, column, tests) in
            [("Guarantees", "guarantee", &self.guarantees), ("Security checklist", "item", &self.checklist)]
        {
            write!(page, "\n## {heading}\n\n| {column} | file | tests |\n|---|---|---|\n").unwrap();
            for (number, files) in tests {
                for (file, names) in files {
                    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
                    writeln!(page, "| {number} | `{file}` | {} |", names.join(", ")).unwrap();
                }
            }
        }
        page
    }
}

/// Every file of Rust in a folder and its subfolders, this one aside.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("docs/guarantees.rs") {
            files.push(path);
        }
    }
    files
}

fn parse(numbers: &str, max: u32, file: &str) -> Vec<u32> {
    let numbers = numbers.split(',').map(|number| number.trim().parse());
    let numbers: Vec<u32> = numbers.collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{file}: {error}"));
    assert!(numbers.iter().all(|number| (1..=max).contains(number)), "{file}: {numbers:?} are not all in 1..={max}");
    numbers
}

/// The name of the function that a line declares.
fn function(line: &str) -> Option<&str> {
    let line = line
        .strip_prefix("pub ")
        .or(line.strip_prefix("pub(super) "))
        .or(line.strip_prefix("pub(crate) "))
        .unwrap_or(line);
    let line = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
    line.split(['(', '<']).next()
}

/// Each guarantee and each item in scope has a test, and the page lists them all.
#[test]
fn every_guarantee_and_checklist_item_has_a_test() {
    let markers = Markers::of_the_repository();
    for number in 1..=GUARANTEES {
        assert!(markers.guarantees.contains_key(&number), "guarantee {number} has no test: mark one");
    }
    for number in (1..=CHECKLIST_ITEMS).filter(|number| *number != OUT_OF_SCOPE) {
        assert!(markers.checklist.contains_key(&number), "item {number} of the checklist has no test: mark one");
    }
    let (path, page) = (root().join(PAGE), markers.page());
    if env::var_os("SESSILE_WRITE").is_some() {
        fs::write(path, page).unwrap();
    } else {
        let written = fs::read_to_string(path).unwrap_or_default();
        assert!(written == page, "{PAGE} is out of date: SESSILE_WRITE=1 cargo test --test docs guarantees");
    }
}

/// A marker adds the next function, across attributes and doc lines, to each number.
#[test]
fn a_marker_belongs_to_the_next_function() {
    let mut markers = Markers::default();
    markers
        .add("a.rs", "// guarantee: 3, 14\n/// Doc.\n#[tokio::test]\nasync fn marked() {\n}\n\nfn unmarked() {\n}\n");
    markers.add("b.rs", "    // checklist: 22\n    pub(super) async fn rule<S: Store>(store: S) {\n");
    let page = markers.page();
    for row in ["| 3 | `a.rs` | `marked` |", "| 14 | `a.rs` | `marked` |", "| 22 | `b.rs` | `rule` |"] {
        assert!(page.contains(row), "no {row} in {page}");
    }
    assert!(!page.contains("unmarked"));
}

/// A marker above anything but a function is an error.
#[test]
#[should_panic(expected = "not above a function")]
fn a_marker_without_a_function_is_refused() {
    Markers::default().add("a.rs", "// guarantee: 3\nstruct Nothing;\n");
}
