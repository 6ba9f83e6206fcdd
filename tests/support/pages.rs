//! Readers for the repository's documents and other files.

#![allow(dead_code, reason = "each test binary compiles all of it and uses a part")]
#![allow(unreachable_pub, reason = "nothing outside of the test binary sees it")]
#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::fs;
use std::path::{Path, PathBuf};

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the text of a repository file.
pub fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Returns the path and the text of every document.
pub fn documents() -> Vec<(PathBuf, String)> {
    let folders = ["", "docs"].map(|folder| root().join(folder));
    let files = folders.into_iter().flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    let documents: Vec<_> = files.filter(|file| file.extension().is_some_and(|end| end == "md")).collect();
    assert!(documents.len() > 15, "{documents:?}");
    documents.into_iter().map(|file| (file.clone(), fs::read_to_string(file).unwrap())).collect()
}
