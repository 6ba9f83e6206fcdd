//! The documents say which tests show what they claim: the tests are there.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::pages;

use std::fs;
use std::path::PathBuf;

use pages::{documents, read, root};

/// Whatever is written in a document as `file::test`, where the file is one of the tests or the suite for stores.
fn named(document: &str) -> Vec<(String, String)> {
    let spans = document.split('`').skip(1).step_by(2);
    let names = spans.filter_map(|span| span.split_once("::"));
    let tests = names.filter(|(file, test)| !sources(file).is_empty() && test.contains('_') && !test.contains(':'));
    tests.map(|(file, test)| (file.to_owned(), test.to_owned())).collect()
}

/// The sources of a test: its file or its folder.
fn sources(test: &str) -> Vec<PathBuf> {
    let mut sources = vec![root().join(format!("tests/{test}.rs"))];
    let mut folders = vec![root().join(format!("tests/{test}"))];
    match test {
        "conformance" => {
            folders.extend(["src/testing/conformance/rules", "examples"].map(|folder| root().join(folder)))
        }
        // Those that run on every store are made in the file of their name by a macro.
        "csrf" | "flash" => sources.push(root().join(format!("tests/accounts/{test}.rs"))),
        "browser" => folders.push(root().join("examples/demo/tests/browser")),
        _ => {}
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

/// How many tests a document names at least.
fn least(document: &str) -> usize {
    match document {
        "guarantees.md" => 120,
        "security.md" => 80,
        "architecture.md" | "mutants.md" => 5,
        "measurements.md" => 2,
        _ => 0,
    }
}

#[test]
fn every_test_that_a_document_names_exists() {
    let mut seen = 0;
    for (document, text) in documents() {
        let (document, named) = (document.file_name().unwrap().to_str().unwrap(), named(&text));
        for (file, test) in &named {
            assert!(exists(file, test), "{document}: {file}::{test} does not exist");
        }
        assert!(named.len() >= least(document), "{document} names {} tests", named.len());
        seen += named.len();
    }
    assert!(seen > 250, "{seen} tests are named");
}

#[test]
fn every_guarantee_has_its_row() {
    let table = read("docs/guarantees.md");
    for number in 1..=14 {
        let row = table.lines().find(|line| line.starts_with(&format!("| {number} | ")));
        assert!(row.is_some_and(|row| !named(row).is_empty()), "guarantee {number} has no test");
    }
}

#[test]
fn every_item_of_the_checklist_has_its_row_and_every_test_of_an_item_or_an_attack_is_named_in_one() {
    let table = read("docs/security.md");
    for number in 1..=38 {
        assert!(table.contains(&format!("\n| {number} | ")), "item {number} has no row");
    }
    for (file, prefix) in [("security_checklist", "item_"), ("security_attacks", "attack_")] {
        let source = read(&format!("tests/{file}.rs"));
        let tests = source.lines().filter_map(|line| {
            let line = line.trim_start();
            line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?.split('(').next()
        });
        for test in tests.filter(|test| test.starts_with(prefix)) {
            assert!(table.contains(&format!("`{file}::{test}`")), "{test} is in no row of the table");
        }
    }
}

/// The rows of the README's table beside its peers: the heading of the measurements, and the row beneath it, that each is of.
const FIGURES: [(&str, &str, &str); 17] = [
    (
        "of 50 parallel requests that set a key each, keys kept",
        "Parallel requests, beside other crates",
        "of 50 requests that set a key each, keys kept",
    ),
    (
        "a counter after 50 parallel increments",
        "Parallel requests, beside other crates",
        "a counter after 50 increments",
    ),
    (
        "a write that spans a sign-out revives the session",
        "Parallel requests, beside other crates",
        "a write that spans a sign-out revives the session",
    ),
    ("an invented cookie is adopted", "Parallel requests, beside other crates", "an invented cookie is adopted"),
    ("allocations: cookie sent, session not used", "Allocations", "cookie, untouched"),
    ("allocations: read one value of 3", "Allocations", "read a u64 of 3 keys"),
    ("allocations: read one value of 52", "Allocations", "read a u64 of 52 keys, 10 KB"),
    ("allocations: change one value of 3", "Allocations", "increment, 3 keys"),
    ("allocations: change one value of 52", "Allocations", "increment, 52 keys, 10 KB"),
    ("time: cookie sent, session not used", "In proportion to tower-sessions", "cookie, untouched"),
    ("time: read one value of 3", "In proportion to tower-sessions", "read a u64 of 3 keys"),
    ("time: read one value of 52", "In proportion to tower-sessions", "read a u64 of 52 keys, 10 KB"),
    ("time: change one value of 3", "In proportion to tower-sessions", "increment, 3 keys"),
    ("time: change one value of 52", "In proportion to tower-sessions", "increment, 52 keys, 10 KB"),
    ("time: create a session", "In proportion to tower-sessions", "create a session"),
    ("heap bytes of a session of three values", "Memory", "live heap bytes of a session"),
    (
        "of that, left once all have expired and traffic goes on",
        "Memory",
        "of that, left once all have expired and traffic goes on",
    ),
];

/// The cells of the tables beneath this heading and before the next.
fn rows(document: &str, heading: &str) -> Vec<Vec<String>> {
    let after = document.lines().skip_while(|line| line.trim_start_matches('#') != format!(" {heading}")).skip(1);
    let rows = after.take_while(|line| !line.starts_with('#')).filter(|line| line.starts_with("| "));
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

#[test]
fn the_figures_of_the_readme_are_those_of_the_measurements() {
    let (readme, measurements) = (read("README.md"), read("docs/measurements.md"));
    let claimed = rows(&readme, "Beside its peers");
    // The first is the names of the crates.
    assert_eq!(claimed.len(), FIGURES.len() + 1);
    for row in &claimed[1..] {
        let (_, heading, name) = FIGURES.iter().find(|(claim, ..)| *claim == row[0]).unwrap();
        let measured = rows(&measurements, heading);
        let measured = measured.iter().find(|measured| measured[0] == *name);
        let measured = measured.unwrap_or_else(|| panic!("{heading} has no row {name:?}"));
        assert_eq!(row[1..4], measured[1..4], "{:?}, beneath {heading:?}", row[0]);
    }
}

#[test]
fn a_name_that_no_test_has_is_noticed() {
    let named = named("`commits::a_server_error_commits_nothing`, `commits::no_such_test`, `sessile::Error`, `a::b_c`");
    assert_eq!(named.len(), 2, "{named:?}");
    assert!(exists("commits", "a_server_error_commits_nothing"));
    assert!(!exists("commits", "no_such_test"));
}
