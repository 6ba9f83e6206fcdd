//! Compares the public interface of sessile, with all features, with `api.txt`; `--write` replaces that file.
//!
//! The interface is read from rustdoc's JSON output, an unstable option that a stable compiler accepts with
//! `RUSTC_BOOTSTRAP`.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.join("../..").canonicalize()?;
    let api = public_api::Builder::from_rustdoc_json(run_rustdoc(&root)?)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()?;
    // The guide modules contain documentation only.
    let items = api.items().map(|item| format!("{item}\n")).filter(|item| !item.starts_with("pub mod sessile::guide"));
    let actual: String = items.collect();
    let list = here.join("api.txt");
    if std::env::args().any(|argument| argument == "--write") {
        std::fs::write(list, actual)?;
        return Ok(ExitCode::SUCCESS);
    }
    let expected = std::fs::read_to_string(list)?;
    if actual == expected {
        println!("the public interface matches api.txt: {} items", actual.lines().count());
        return Ok(ExitCode::SUCCESS);
    }
    let print_difference = |sign: &'static str, lines: &str, others: &str| {
        let others: std::collections::BTreeSet<&str> = others.lines().collect();
        for line in lines.lines().filter(|line| !others.contains(line)) {
            println!("{sign} {line}");
        }
    };
    print_difference("-", &expected, &actual);
    print_difference("+", &actual, &expected);
    println!("\nthe public interface differs from api.txt; if that is intended, update it:");
    println!("cargo run --manifest-path tests/public-api/Cargo.toml -- --write");
    Ok(ExitCode::FAILURE)
}

/// Runs rustdoc and returns the path of its JSON output.
fn run_rustdoc(root: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let target = root.join("target/rustdoc");
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["rustdoc", "--quiet", "--lib", "--all-features", "--target-dir"])
        .arg(&target)
        .args(["--", "-Z", "unstable-options", "--output-format", "json"])
        .env("RUSTC_BOOTSTRAP", "1")
        .current_dir(root)
        .status()?;
    if !status.success() {
        return Err("rustdoc failed".into());
    }
    Ok(target.join("doc/sessile.json"))
}
