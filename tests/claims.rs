//! The documents say which tests show what they claim: the tests are there.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::fs;
use std::path::{Path, PathBuf};

/// Whatever is written in a document as `file::test`, where the file is one of the tests or the suite for stores.
fn named(document: &str) -> Vec<(String, String)> {
    let spans = document.split('`').skip(1).step_by(2);
    let names = spans.filter_map(|span| span.split_once("::"));
    let tests = names.filter(|(file, test)| !sources(file).is_empty() && test.contains('_') && !test.contains(':'));
    tests.map(|(file, test)| (file.to_owned(), test.to_owned())).collect()
}

/// The sources of a test: its file or its folder.
fn sources(test: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = vec![root.join(format!("tests/{test}.rs"))];
    let mut folders = vec![root.join(format!("tests/{test}"))];
    if test == "conformance" {
        folders.push(root.join("src/testing/conformance/rules"));
    }
    for folder in folders {
        sources.extend(fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()));
    }
    sources.retain(|source| source.is_file());
    sources
}

fn exists(file: &str, test: &str) -> bool {
    // Rules of the contract are generic over the store.
    let is_there = |source: &PathBuf| {
        let text = fs::read_to_string(source).unwrap();
        ["(", "<"].iter().any(|after| text.contains(&format!("fn {test}{after}")))
    };
    sources(file).iter().any(is_there)
}

fn document(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).unwrap()
}

#[test]
fn every_test_that_a_document_names_exists() {
    for (name, least) in [("guarantees.md", 50), ("proof.md", 2), ("mutants.md", 5)] {
        let named = named(&document(name));
        for (file, test) in &named {
            assert!(exists(file, test), "{name}: {file}::{test} does not exist");
        }
        assert!(named.len() >= least, "{name} names {} tests", named.len());
    }
}

#[test]
fn every_guarantee_has_its_row() {
    let table = document("guarantees.md");
    for number in 1..=14 {
        let row = table.lines().find(|line| line.starts_with(&format!("| {number} | ")));
        assert!(row.is_some_and(|row| !named(row).is_empty()), "guarantee {number} has no test");
    }
}

#[test]
fn a_name_that_no_test_has_is_noticed() {
    let named = named("`commits::a_server_error_commits_nothing`, `commits::no_such_test`, `sessile::Error`, `a::b_c`");
    assert_eq!(named.len(), 2, "{named:?}");
    assert!(exists("commits", "a_server_error_commits_nothing"));
    assert!(!exists("commits", "no_such_test"));
}
