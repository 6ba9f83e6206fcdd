//! The README's figures are those of `docs/measurements.md`.

use crate::pages::read;

/// The cells of each table row.
fn rows<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Vec<&'a str>> {
    let rows = lines.filter(|line| line.starts_with("| "));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// The rows of the README's table that compares crates, without its header.
fn claimed(readme: &str) -> Vec<Vec<&str>> {
    let comparison = readme.lines().skip_while(|line| !(line.starts_with("| ") && line.contains("tower-sessions")));
    rows(comparison.skip(1).take_while(|line| line.starts_with('|')))
}

/// The measurements have a row with the same figures for each row of the README's comparison.
#[test]
fn the_readmes_figures_are_in_the_measurements() {
    let (readme, measurements) = (read("README.md"), read("docs/measurements.md"));
    let (claimed, measured) = (claimed(&readme), rows(measurements.lines()));
    assert!(!claimed.is_empty(), "the README compares no crates");
    for row in claimed {
        let figures = &row[1..];
        assert!(
            measured.iter().any(|measured| measured[1..].starts_with(figures)),
            "docs/measurements.md has no row with the figures {figures:?} of {:?}",
            row[0]
        );
    }
}
