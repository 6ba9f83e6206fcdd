//! Extracts the code of the other crate, which is the first `text` block, from each migration guide.

use std::env;
use std::fs;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let guides = [
        "from-actix-session",
        "from-async-session",
        "from-axum-login",
        "from-axum-session",
        "from-axum-session-auth",
        "from-cookies",
        "from-tower-sessions",
    ];
    for guide in guides {
        let file = format!("../../docs/{guide}.md");
        println!("cargo::rerun-if-changed={file}");
        let document = fs::read_to_string(&file)?;
        let code = document.split("```text\n").nth(1).and_then(|rest| rest.split("```").next());
        let code = code.ok_or_else(|| format!("{file} has no code of the other crate: add a `text` block"))?;
        // `include!` needs one expression.
        let code = format!("{{\n{code}\nOk(())\n}}\n");
        fs::write(PathBuf::from(env::var("OUT_DIR")?).join(format!("{guide}.rs")), code)?;
    }
    Ok(())
}
