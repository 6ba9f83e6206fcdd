//! Lists the public interface of sessile with all features, and compares it with `api.txt`; `--write` writes that anew.
//!
//! It reads rustdoc's JSON, which a stable compiler gives out only where it is told to: by `RUSTC_BOOTSTRAP`.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.join("../..").canonicalize()?;
    let api = public_api::Builder::from_rustdoc_json(document(&root)?)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()?;
    // The guides are there for rustdoc alone.
    let items = api.items().map(|item| format!("{item}\n")).filter(|item| !item.starts_with("pub mod sessile::guide"));
    let listed: String = items.collect();
    let list = here.join("api.txt");
    if std::env::args().any(|argument| argument == "--write") {
        std::fs::write(list, listed)?;
        return Ok(ExitCode::SUCCESS);
    }
    let known = std::fs::read_to_string(list)?;
    if listed == known {
        println!("the public interface is as listed: {} items", listed.lines().count());
        return Ok(ExitCode::SUCCESS);
    }
    let lines = |text: &'static str, here: &str, there: &str| {
        let there: std::collections::BTreeSet<&str> = there.lines().collect();
        for line in here.lines().filter(|line| !there.contains(line)) {
            println!("{text} {line}");
        }
    };
    lines("-", &known, &listed);
    lines("+", &listed, &known);
    println!("\nthe public interface is not as listed. If that is meant, write the list anew:");
    println!("cargo run --manifest-path tests/public-api/Cargo.toml -- --write");
    Ok(ExitCode::FAILURE)
}

/// Has rustdoc describe the crate; says where.
fn document(root: &Path) -> Result<PathBuf, Box<dyn Error>> {
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
