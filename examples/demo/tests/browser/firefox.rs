//! The main flow in Firefox, driven by WebDriver BiDi: the protocol that Firefox speaks without a separate driver.

use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::PASSWORD;
use super::children::{ChildProcess, Directory};
use super::demo::Demo;

/// Time limit of every wait, long enough for a machine under load.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A cart survives the sign-up; a second browser signs in, is signed out twice, which its open page says, and administers.
#[tokio::test]
async fn main_flow_works_in_firefox() {
    let mut demo = Demo::start();
    let mut laptop = Firefox::start().await;
    laptop.open(&demo.url("/")).await;
    laptop.press("//button[@aria-label='Add Assam to the cart']").await;
    laptop.until_says("Assam is in your cart.").await;
    laptop.press("//a[normalize-space()='Sign up']").await;
    laptop.until_says("At least 8 characters").await;
    laptop.fill("name", "ada").await;
    laptop.fill("password", PASSWORD).await;
    laptop.press("//main//button").await;
    laptop.until_says("Welcome, ada.").await;
    laptop.open(&demo.url("/cart")).await;
    laptop.until_says("€6.40 each").await;

    let mut phone = Firefox::start().await;
    phone.open(&demo.url("/devices?view=all")).await;
    phone.until_says("Please sign in to see your devices.").await;
    phone.fill("name", "ada").await;
    phone.fill("password", PASSWORD).await;
    phone.press("//main//button").await;
    phone.until_says("Welcome back, ada.").await;
    phone.until_says("Firefox on Linux").await;
    phone.until("location.pathname + location.search === '/devices?view=all'").await;

    laptop.open(&demo.url("/devices")).await;
    laptop.press("//button[normalize-space()='Sign out all other devices']").await;
    laptop.until_says("All other devices are signed out.").await;
    phone.run("check()").await;
    phone.until_says("You were signed out on another device.").await;
    phone.press("//dialog//a[normalize-space()='Sign in']").await;
    phone.fill("name", "ada").await;
    phone.fill("password", PASSWORD).await;
    phone.press("//main//button").await;
    phone.until("location.pathname + location.search === '/devices?view=all'").await;

    phone.open(&demo.url("/admin")).await;
    phone.until_says("This page is for administrators").await;
    demo.restart_with(&[("ADMIN", "ada"), ("CONFIRM_WITHIN", "0")]);
    phone.open(&demo.url("/admin")).await;
    phone.until_says("Administrator").await;
    laptop.open(&demo.url("/password")).await;
    laptop.until_says("Confirm that it is you").await;
    demo.restart();
    laptop.fill("password", PASSWORD).await;
    laptop.press("//main//button").await;
    laptop.until_says("Change your password").await;
    laptop.fill("password", "seven spoons of sugar").await;
    laptop.press("//main//button").await;
    laptop.until_says("Your password is changed, and 1 other device is signed out.").await;
    phone.run("check()").await;
    phone.until_says("Your password was changed.").await;

    laptop.press("//form[@action='/sign-out']//button").await;
    laptop.until_says("You are signed out").await;
    laptop.open(&demo.url("/devices")).await;
    laptop.until_says("Please sign in to see your devices.").await;
}

/// A Firefox with a separate profile and one tab.
struct Firefox {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    calls: u64,
    tab: String,
    _process: ChildProcess,
    // The directory is removed after the browser was killed.
    _profile: Directory,
}

impl Firefox {
    async fn start() -> Self {
        assert!(
            Command::new("firefox-esr").arg("--version").output().is_ok(),
            "Firefox is not installed: install the Debian package firefox-esr (or run .ci/servers)"
        );
        let profile = Directory::new("firefox");
        let mut command = Command::new("sh");
        // Firefox names its address in the error output.
        let start = "exec firefox-esr --headless --no-remote --remote-debugging-port 0 --profile \"$0\" 2>&1";
        command.args(["-c", start]).arg(profile.path()).env("HOME", profile.path());
        let address = |line: &str| Some(line.strip_prefix("WebDriver BiDi listening on ")?.to_owned());
        let (process, address) = ChildProcess::start(&mut command, address);
        let (socket, _) = connect_async(format!("{address}/session")).await.unwrap();
        let mut firefox = Self { socket, calls: 0, tab: String::new(), _process: process, _profile: profile };
        firefox.call("session.new", json!({ "capabilities": {} })).await;
        let tree = firefox.call("browsingContext.getTree", json!({})).await;
        firefox.tab = tree["contexts"][0]["context"].as_str().unwrap().to_owned();
        firefox
    }

    async fn open(&mut self, url: &str) {
        let target = json!({ "context": self.tab, "url": url, "wait": "complete" });
        self.call("browsingContext.navigate", target).await;
    }

    /// Clicks the element at this XPath, as a mouse does.
    async fn press(&mut self, xpath: &str) {
        let element = self.find(xpath).await;
        let click = json!([
            { "type": "pointerMove", "x": 0, "y": 0, "origin": { "type": "element", "element": element } },
            { "type": "pointerDown", "button": 0 },
            { "type": "pointerUp", "button": 0 },
        ]);
        self.act(json!({ "type": "pointer", "id": "mouse", "actions": click })).await;
    }

    /// Types into a field, as a keyboard does.
    async fn fill(&mut self, field: &str, text: &str) {
        self.press(&format!("//input[@name='{field}']")).await;
        let key = |kind: &str, key: char| json!({ "type": kind, "value": key });
        let keys: Vec<_> = text.chars().flat_map(|typed| [key("keyDown", typed), key("keyUp", typed)]).collect();
        self.act(json!({ "type": "key", "id": "keyboard", "actions": keys })).await;
    }

    async fn act(&mut self, source: Value) {
        self.call("input.performActions", json!({ "context": self.tab, "actions": [source] })).await;
    }

    /// Waits for an element, and scrolls it into view.
    async fn find(&mut self, xpath: &str) -> Value {
        let found = format!("document.evaluate({xpath:?}, document, null, 9, null).singleNodeValue");
        self.until(&found).await;
        let show = format!("{{ const found = {found}; found.scrollIntoView({{ block: 'center' }}); found }}");
        let element = self.run(&show).await;
        json!({ "sharedId": element["sharedId"] })
    }

    async fn until_says(&mut self, text: &str) {
        self.until(&format!("document.body.innerText.includes({text:?})")).await;
    }

    async fn until(&mut self, condition: &str) {
        let started = Instant::now();
        while self.run(&format!("Boolean(document.body && {condition})")).await["value"] != true {
            if started.elapsed() > TIMEOUT {
                panic!("timeout waiting for {condition}\n{}", self.run("document.body.innerText").await["value"]);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Returns the value of a script; `null` if the page was left meanwhile.
    async fn run(&mut self, script: &str) -> Value {
        let target = json!({ "context": self.tab });
        let evaluation = json!({ "expression": script, "target": target, "awaitPromise": true });
        let answer = self.send("script.evaluate", evaluation).await;
        answer["result"]["result"].clone()
    }

    async fn call(&mut self, method: &str, parameters: Value) -> Value {
        let mut answer = self.send(method, parameters).await;
        assert_eq!(answer["type"], "success", "{method}: {answer}");
        answer["result"].take()
    }

    async fn send(&mut self, method: &str, parameters: Value) -> Value {
        self.calls += 1;
        let command = json!({ "id": self.calls, "method": method, "params": parameters });
        self.socket.send(Message::text(command.to_string())).await.unwrap();
        loop {
            let message = self.socket.next().await.expect("Firefox is running").unwrap();
            let Message::Text(text) = message else { continue };
            let answer: Value = serde_json::from_str(&text).unwrap();
            if answer["id"] == self.calls {
                return answer;
            }
        }
    }
}
