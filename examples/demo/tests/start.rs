//! What keeps the demo from starting is said in words.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::net::TcpListener;
use std::process::Command;

/// What the demo says, with these in its environment, before it gives up.
fn last_words(environment: &[(&str, &str)]) -> String {
    let directory = std::env::temp_dir().join(format!("sessile-demo-start-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sessile-demo"));
    command.current_dir(&directory).env("PORT", "0").env_remove("DATABASE_URL").env_remove("USERS_URL");
    let output = command.envs(environment.iter().copied()).output().unwrap();
    std::fs::remove_dir_all(directory).unwrap();
    assert_eq!(output.status.code(), Some(1), "it does not start");
    String::from_utf8(output.stderr).unwrap().lines().last().unwrap().to_owned()
}

#[test]
fn what_keeps_it_from_starting_is_said_in_words() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let said = last_words(&[("PORT", &port)]);
    assert!(said.starts_with(&format!("port {port} cannot be had (")), "{said}");
    assert!(said.ends_with("PORT in the environment names another"), "{said}");

    assert!(last_words(&[("PORT", "many")]).starts_with("PORT=many: "));
    assert_eq!(last_words(&[("DATABASE_URL", "oracle:demo")]), "DATABASE_URL: there is no store for \"oracle\"");
    let said = last_words(&[("DATABASE_URL", "sqlite:no/such/folder/demo.db")]);
    assert_eq!(said.matches("unable to open").count(), 1, "{said}");
}
