//! The quickstart example as its users run it: the real program, on a real socket, every route of it.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod support;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use http::header::COOKIE;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use support::client::{Jar, set_cookies};
use tokio::task::JoinSet;

/// The running program. It ends with the test.
struct Site {
    program: Child,
    address: String,
}

impl Site {
    fn start() -> Self {
        let program = Command::new(build()).env("PORT", "0").stdout(Stdio::piped()).spawn();
        let mut program = program.expect("the example starts");
        let mut line = String::new();
        BufReader::new(program.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").map(str::to_owned);
        // From here on, dropping the site ends the program, whatever it said.
        let mut site = Self { program, address: String::new() };
        site.address = address.unwrap_or_else(|| panic!("the example says where it listens, not {line:?}"));
        site
    }

    fn visitor(&self) -> Visitor {
        Visitor { http: reqwest::Client::new(), address: self.address.clone(), jar: Jar::default() }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// Builds the example with the cargo that runs this test; says where it lies.
fn build() -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args(["build", "--example", "quickstart", "--message-format", "json"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "the example builds");
    let messages = output.stdout.lines().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let executable = |message: Value| {
        let ours = message["target"]["name"] == "quickstart";
        message["executable"].as_str().filter(|_| ours).map(PathBuf::from)
    };
    messages.filter_map(executable).last().expect("the example is a program")
}

/// A client by hand, since the cookie is for https alone: browsers make an exception for localhost, libraries do not.
#[derive(Clone)]
struct Visitor {
    http: reqwest::Client,
    address: String,
    jar: Jar,
}

impl Visitor {
    async fn request(&mut self, method: Method, path: &str, body: &str) -> Response {
        let mut request = self.http.request(method, format!("{}{path}", self.address)).body(body.to_owned());
        if let Some(cookies) = self.jar.header() {
            request = request.header(COOKIE, cookies);
        }
        let response = request.send().await.unwrap();
        self.jar.take_in(response.headers());
        response
    }

    /// The status and the text of the answer.
    async fn get(&mut self, path: &str) -> (u16, String) {
        let response = self.request(Method::GET, path, "").await;
        (response.status().as_u16(), response.text().await.unwrap())
    }

    async fn post(&mut self, path: &str, body: &str) -> (u16, String) {
        let response = self.request(Method::POST, path, body).await;
        (response.status().as_u16(), response.text().await.unwrap())
    }

    async fn me(&mut self) -> Option<Value> {
        let response = self.request(Method::GET, "/me", "").await;
        match response.status() {
            StatusCode::OK => Some(response.json().await.unwrap()),
            status => {
                assert_eq!(status, StatusCode::NOT_FOUND);
                None
            }
        }
    }
}

fn ok(text: &str) -> (u16, String) {
    (200, text.to_owned())
}

#[tokio::test]
async fn every_route_of_the_quickstart_does_what_it_says() {
    let site = Site::start();
    let mut visitor = site.visitor();
    assert_eq!(visitor.me().await, None);
    assert_eq!(visitor.get("/static").await, ok("the same for everybody"));
    assert!(visitor.jar.is_empty());

    let response = visitor.request(Method::GET, "/", "").await;
    let cookie = set_cookies(response.headers()).remove(0);
    assert_eq!((cookie.name.as_str(), cookie.attribute("SameSite")), ("__Host-id", Some("Lax")));
    assert!(cookie.has("Secure") && cookie.has("HttpOnly"));
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.text().await.unwrap(), "visit 1\n");
    assert_eq!(visitor.get("/").await, ok("visit 2\n"));
    let me = visitor.me().await.unwrap();
    assert_eq!(me["owner"], Value::Null);

    assert_eq!(visitor.get("/get/theme").await.0, 404);
    assert_eq!(visitor.post("/set/theme", "dark").await, ok("set\n"));
    assert_eq!(visitor.get("/get/theme").await, ok("dark"));
    assert_eq!(visitor.post("/remove/theme", "").await, ok("removed\n"));
    assert_eq!(visitor.post("/remove/theme", "").await, ok("was not there\n"));
    assert_eq!(visitor.get("/get/theme").await.0, 404);

    assert_eq!(visitor.get("/slow/slow?ms=5").await, ok("set, slowly\n"));
    assert_eq!(visitor.get("/slow-read/slow?ms=5").await, ok("slow"));
    assert_eq!(visitor.get("/slow-read/missing").await.0, 404);
    assert_eq!(visitor.get("/fail/failed").await, (500, "failed\n".to_owned()));
    assert_eq!(visitor.get("/get/failed").await.0, 404);

    let mut old = visitor.clone();
    assert_eq!(visitor.post("/rotate", "").await, ok("rotated\n"));
    assert_eq!(old.me().await, None);
    assert_eq!(visitor.me().await.unwrap(), me);

    let mut old = visitor.clone();
    assert_eq!(visitor.post("/sign-in?user=ada", "").await, ok("signed in as ada\n"));
    assert_eq!(old.me().await, None);
    assert_eq!(visitor.me().await.unwrap(), json!({ "id": me["id"], "owner": "ada" }));
    assert_eq!(visitor.get("/get/slow").await, ok("slow"));
    assert_eq!(visitor.post("/clear", "").await, ok("cleared\n"));
    assert_eq!(visitor.get("/get/slow").await.0, 404);
    assert_eq!(visitor.me().await.unwrap()["owner"], "ada");

    let mut old = visitor.clone();
    assert_eq!(visitor.post("/sign-out", "").await, ok("signed out\n"));
    assert!(visitor.jar.is_empty());
    assert_eq!(visitor.me().await, None);
    assert_eq!(old.me().await, None);
    assert_eq!(visitor.get("/").await, ok("visit 1\n"));
}

#[tokio::test]
async fn fifty_requests_at_once_lose_nothing() {
    let site = Site::start();
    let mut visitor = site.visitor();
    visitor.get("/").await;

    let mut requests = JoinSet::new();
    for n in 0..50 {
        let mut visitor = visitor.clone();
        requests.spawn(async move { visitor.post(&format!("/set/key{n}"), &format!("value {n}")).await });
    }
    for answer in requests.join_all().await {
        assert_eq!(answer, ok("set\n"));
    }
    for n in 0..50 {
        assert_eq!(visitor.get(&format!("/get/key{n}")).await, ok(&format!("value {n}")));
    }

    let mut requests = JoinSet::new();
    for _ in 0..50 {
        let mut visitor = visitor.clone();
        requests.spawn(async move { visitor.get("/").await });
    }
    let answers: BTreeSet<_> = requests.join_all().await.into_iter().collect();
    let expected: BTreeSet<_> = (2..=51).map(|n| ok(&format!("visit {n}\n"))).collect();
    assert_eq!(answers, expected);
}

// Checklist 26
#[tokio::test]
async fn slow_writes_and_a_sign_out_at_once_leave_no_session_behind() {
    let site = Site::start();
    for owner in [false, true] {
        let mut visitor = site.visitor();
        visitor.get("/").await;
        if owner {
            visitor.post("/sign-in?user=ada", "").await;
        }
        let mut old = visitor.clone();
        let mut requests = JoinSet::new();
        for n in 0..20 {
            let mut tab = visitor.clone();
            requests.spawn(async move { tab.get(&format!("/slow/key{n}?ms={}", n * 5)).await.0 });
        }
        assert_eq!(visitor.post("/sign-out", "").await, ok("signed out\n"));
        // Those that came before the sign-out are dropped; those that came after begin sessions of their own.
        for status in requests.join_all().await {
            assert!([200, 409].contains(&status), "{status}");
        }
        assert_eq!(old.me().await, None);
    }
}
