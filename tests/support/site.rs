//! Example programs, run as child processes with a real socket.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use http::header::COOKIE;
use reqwest::{Method, Response};
use serde_json::Value;

use super::client::Jar;

/// A running program. Dropping it ends the program.
pub struct Site {
    program: Child,
    address: String,
}

impl Site {
    /// Starts an example on a free port.
    pub fn start(example: &str) -> Self {
        Self::start_with(example, &[])
    }

    /// Starts an example with these environment variables.
    pub fn start_with(example: &str, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(program(example));
        command.env("PORT", "0").envs(environment.iter().copied());
        Self::run(&mut command)
    }

    /// Starts a program that prints its address.
    pub fn run(command: &mut Command) -> Self {
        let mut program = command.stdout(Stdio::piped()).spawn().expect("the program starts");
        let mut line = String::new();
        BufReader::new(program.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").map(str::to_owned);
        // Built before the address is checked, so that a panic ends the program too.
        let mut site = Self { program, address: String::new() };
        site.address = address.unwrap_or_else(|| panic!("the program must print its address, not {line:?}"));
        site
    }

    /// `http://127.0.0.1:…`
    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn visitor(&self) -> Visitor {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Visitor { http, address: self.address.clone(), jar: Jar::default() }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// Returns an example's path. The first call builds all examples that need no feature.
fn program(example: &str) -> PathBuf {
    static PROGRAMS: OnceLock<HashMap<String, PathBuf>> = OnceLock::new();
    // `tests/run` has built them, with other features than the default ones.
    if let Some(folder) = std::env::var_os("SESSILE_EXAMPLES") {
        return PathBuf::from(folder).join(example);
    }
    let programs = PROGRAMS.get_or_init(|| {
        let output = Command::new(env!("CARGO"))
            .args(["build", "--examples", "--message-format", "json"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stderr(Stdio::inherit())
            .output()
            .expect("cargo runs");
        assert!(output.status.success(), "the examples build");
        let messages = output.stdout.lines().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        let named = |message: Value| {
            let name = message["target"]["name"].as_str()?.to_owned();
            Some((name, PathBuf::from(message["executable"].as_str()?)))
        };
        messages.filter_map(named).collect()
    });
    programs.get(example).unwrap_or_else(|| panic!("there is no example {example}")).clone()
}

/// A client with an accessible cookie jar. It follows no redirect.
#[derive(Clone)]
pub struct Visitor {
    http: reqwest::Client,
    address: String,
    pub jar: Jar,
}

impl Visitor {
    pub async fn request(&mut self, method: Method, path: &str, body: &str) -> Response {
        let request = self.http.request(method, self.url(path)).body(body.to_owned());
        self.send(request).await
    }

    /// Returns the response's status and text.
    pub async fn get(&mut self, path: &str) -> (u16, String) {
        let response = self.request(Method::GET, path, "").await;
        (response.status().as_u16(), response.text().await.unwrap())
    }

    pub async fn post(&mut self, path: &str, body: &str) -> (u16, String) {
        let response = self.request(Method::POST, path, body).await;
        (response.status().as_u16(), response.text().await.unwrap())
    }

    pub async fn post_json(&mut self, path: &str, body: &Value) -> u16 {
        self.request_json(path, body).await.status().as_u16()
    }

    pub async fn request_json(&mut self, path: &str, body: &Value) -> Response {
        let request = self.http.post(self.url(path)).json(body);
        self.send(request).await
    }

    pub async fn post_form(&mut self, path: &str, form: String) -> (u16, String) {
        let request =
            self.http.post(self.url(path)).header("content-type", "application/x-www-form-urlencoded").body(form);
        let response = self.send(request).await;
        (response.status().as_u16(), response.text().await.unwrap())
    }

    pub async fn get_json(&mut self, path: &str) -> Value {
        self.request(Method::GET, path, "").await.json().await.unwrap()
    }

    /// Returns the URL for a path; keeps an absolute URL from a redirect.
    fn url(&self, path: &str) -> String {
        if path.starts_with('/') { format!("{}{path}", self.address) } else { path.to_owned() }
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> Response {
        let request = match self.jar.header() {
            Some(cookies) => request.header(COOKIE, cookies),
            None => request,
        };
        let response = request.send().await.unwrap();
        self.jar.take_in(response.headers());
        response
    }
}
