//! Takes the code of the other crate, which is the first piece of text, out of each guide to moving.

use std::env;
use std::fs;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for guide in ["from-actix-session", "from-axum-session", "from-tower-sessions"] {
        let file = format!("../../docs/{guide}.md");
        println!("cargo::rerun-if-changed={file}");
        let document = fs::read_to_string(&file)?;
        let code = document.split("```text\n").nth(1).and_then(|rest| rest.split("```").next());
        let code = code.ok_or_else(|| format!("{file} shows no code of theirs"))?;
        // One expression, as `include!` asks for.
        let code = format!("{{\n{code}\nOk(())\n}}\n");
        fs::write(PathBuf::from(env::var("OUT_DIR")?).join(format!("{guide}.rs")), code)?;
    }
    Ok(())
}
