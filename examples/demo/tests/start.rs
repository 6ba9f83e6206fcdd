//! Errors that keep the demo from starting.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use std::net::TcpListener;
use std::process::Command;

/// Starts the demo with these environment variables and returns the last line of its error output.
fn startup_error(environment: &[(&str, &str)]) -> String {
    let directory = std::env::temp_dir().join(format!("sessile-demo-start-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sessile-demo"));
    command
        .current_dir(&directory)
        .env("PORT", "0")
        .env_remove("DATABASE_URL")
        .env_remove("USERS_URL")
        .env_remove("ADMIN");
    let output = command.envs(environment.iter().copied()).output().unwrap();
    std::fs::remove_dir_all(directory).unwrap();
    assert_eq!(output.status.code(), Some(1), "the demo exits with status 1");
    String::from_utf8(output.stderr).unwrap().lines().last().unwrap().to_owned()
}

/// A taken port, an invalid port, an unknown database, a missing folder and an unknown user each exit with one clear line.
#[test]
fn startup_errors_name_the_variable_and_the_remedy() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let error = startup_error(&[("PORT", &port)]);
    assert!(error.starts_with(&format!("port {port} cannot be had (")), "{error}");
    assert!(error.ends_with("PORT in the environment names another"), "{error}");

    assert!(startup_error(&[("PORT", "many")]).starts_with("PORT=many: "));
    assert_eq!(startup_error(&[("DATABASE_URL", "oracle:demo")]), "DATABASE_URL: there is no store for \"oracle\"");
    let error = startup_error(&[("DATABASE_URL", "sqlite:no/such/folder/demo.db")]);
    assert_eq!(error.matches("unable to open").count(), 1, "{error}");
    let error = "ADMIN=ada: no user has this name; start without ADMIN and sign up first";
    assert_eq!(startup_error(&[("ADMIN", "ada")]), error);
}
