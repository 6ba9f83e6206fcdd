//! A browser with a separate profile: one device of a user.

use std::process::Command;
use std::time::{Duration, Instant};

use fantoccini::key::Key;
use fantoccini::wd::{Capabilities, WindowHandle};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

use super::PASSWORD;
use super::children::Directory;
use super::demo::Demo;
use super::driver::{DevTools, Driver};

/// Time limit of every wait, long enough for a machine under load.
const TIMEOUT: Duration = Duration::from_secs(120);

pub struct Browser {
    client: Client,
    process: Option<u64>,
    // The directory is removed after the browser has exited.
    profile: Option<Directory>,
}

impl Browser {
    pub async fn start(driver: &Driver) -> Self {
        Self::start_with(driver, &[]).await
    }

    /// Starts a browser with the user agent of a phone.
    pub async fn start_phone(driver: &Driver) -> Self {
        let agent = "--user-agent=Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) \
                     Chrome/131.0.0.0 Mobile Safari/537.36";
        Self::start_with(driver, &[agent]).await
    }

    /// Starts a browser that signs a new user up, and one on a phone that signs the same user in.
    pub async fn start_two(driver: &Driver, demo: &Demo, name: &str) -> [Self; 2] {
        let laptop = Self::start(driver).await;
        laptop.sign_up(demo, name).await;
        let phone = Self::start_phone(driver).await;
        phone.sign_in(demo, name).await;
        [laptop, phone]
    }

    async fn start_with(driver: &Driver, more: &[&str]) -> Self {
        Self::start_in(driver, Directory::new("profile"), more).await
    }

    /// Closes the browser and starts it again with the same profile.
    pub async fn reopen(mut self, driver: &Driver) -> Self {
        let profile = self.profile.take().expect("a browser has a profile until it is reopened");
        self.close().await;
        Self::start_in(driver, profile, &[]).await
    }

    async fn start_in(driver: &Driver, profile: Directory, more: &[&str]) -> Self {
        let directory = format!("--user-data-dir={}", profile.path().display());
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            &directory,
        ];
        let arguments: Vec<_> = arguments.iter().chain(more).collect();
        let capabilities = json!({
            "browserName": "chrome",
            "timeouts": { "script": TIMEOUT.as_millis() },
            "goog:chromeOptions": { "binary": "/usr/bin/chromium", "args": arguments },
        });
        let capabilities: Capabilities = capabilities.as_object().unwrap().clone();
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let client = builder.capabilities(capabilities).connect(&driver.url).await.unwrap();
        let process = client.capabilities().and_then(|all| all.get("goog:processID")).and_then(Value::as_u64);
        Self { client, process, profile: Some(profile) }
    }

    pub async fn open(&self, demo: &Demo, path: &str) {
        self.client.goto(&demo.url(path)).await.unwrap();
    }

    pub async fn open_url(&self, url: &str) {
        self.client.goto(url).await.unwrap();
    }

    pub async fn back(&self) {
        self.client.back().await.unwrap();
    }

    /// Presses the button with this text.
    pub async fn press(&self, text: &str) {
        self.find(&format!("//button[normalize-space()='{text}']")).await.click().await.unwrap();
    }

    /// Follows the link with this text.
    pub async fn follow(&self, text: &str) {
        self.find(&format!("//a[normalize-space()='{text}']")).await.click().await.unwrap();
    }

    /// Presses the element with this accessible name.
    pub async fn press_named(&self, name: &str) {
        self.find(&format!("//*[@aria-label='{name}']")).await.click().await.unwrap();
    }

    pub async fn fill(&self, field: &str, value: &str) {
        let element = self.find(&format!("//input[@name='{field}' and not(@hidden)]")).await;
        element.clear().await.unwrap();
        element.send_keys(value).await.unwrap();
    }

    pub async fn tick(&self, field: &str) {
        self.find(&format!("//input[@name='{field}']")).await.click().await.unwrap();
    }

    /// Types into the focused element.
    pub async fn type_keys(&self, keys: &str) {
        self.client.active_element().await.unwrap().send_keys(keys).await.unwrap();
    }

    /// Presses Tab until the element with this accessible name, label or text has the focus.
    pub async fn tab_to(&self, name: &str) {
        let focused = "const at = document.activeElement;
            return at.ariaLabel || at.labels?.[0]?.innerText || at.innerText";
        let mut seen = Vec::new();
        while seen.len() < 60 {
            self.type_keys(&Key::Tab).await;
            let found = self.run(focused).await;
            if found == name {
                return;
            }
            seen.push(found);
        }
        panic!("{name:?} never has the focus; focused: {seen:?}");
    }

    /// Opens a tab, to which the following calls apply. Returns the tab before and this one.
    pub async fn open_tab(&self) -> [WindowHandle; 2] {
        let before = self.client.window().await.unwrap();
        let tab = self.client.new_window(true).await.unwrap().handle;
        self.switch_to(&tab).await;
        [before, tab]
    }

    pub async fn switch_to(&self, tab: &WindowHandle) {
        self.client.switch_to_window(tab.clone()).await.unwrap();
    }

    /// Waits until this dialog is open, or none.
    pub async fn until_dialog(&self, id: Option<&str>) {
        let open = "[...document.querySelectorAll('dialog[open]')].map((dialog) => dialog.id).join()";
        self.until(&format!("document.readyState === 'complete' && {open} === {:?}", id.unwrap_or_default())).await;
    }

    async fn find(&self, xpath: &str) -> fantoccini::elements::Element {
        self.client.wait().at_most(TIMEOUT).for_element(Locator::XPath(xpath)).await.unwrap()
    }

    /// Runs the body of an async function in the page and returns its result.
    pub async fn run(&self, script: &str) -> Value {
        let wrapped = format!(
            "const done = arguments[0]; (async () => {{ {script} }})().then(done, (e) => done({{ thrown: String(e) }}))"
        );
        let value = self.client.execute_async(&wrapped, vec![]).await.unwrap();
        assert!(value.get("thrown").is_none(), "{value}");
        value
    }

    /// Waits until this script expression is true, also across page loads.
    pub async fn until(&self, condition: &str) {
        let started = Instant::now();
        loop {
            // The script cannot run while a page loads.
            if self.client.execute(&format!("return Boolean({condition})"), vec![]).await.is_ok_and(|it| it == true) {
                return;
            }
            if started.elapsed() > TIMEOUT {
                panic!("timeout waiting for {condition}\n{}", self.text().await);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn until_at(&self, path: &str) {
        self.until(&format!("location.pathname + location.search === {path:?} && document.readyState === 'complete'"))
            .await;
    }

    pub async fn until_says(&self, text: &str) {
        self.until(&format!("document.body.innerText.includes({text:?})")).await;
    }

    pub async fn path(&self) -> String {
        self.client.current_url().await.unwrap().path().to_owned()
    }

    /// Returns the visible text of the page.
    pub async fn text(&self) -> String {
        let text = self.client.execute("return document.body.innerText", vec![]).await.unwrap();
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Returns the number of packets in the cart as the page shows it.
    pub async fn in_cart(&self) -> u64 {
        let text = self.client.execute("return Number(document.querySelector('#in-cart').textContent)", vec![]).await;
        text.unwrap().as_u64().unwrap()
    }

    pub async fn devtools(&self, command: &'static str, parameters: Value) -> Value {
        self.client.issue_cmd(DevTools { command, parameters }).await.unwrap()
    }

    /// Returns the session cookie with its attributes.
    pub async fn cookie(&self, demo: &Demo) -> Option<Value> {
        let cookies = self.cookies(demo).await;
        assert!(cookies.len() <= 1, "{cookies:?}");
        cookies.into_iter().next()
    }

    /// Returns the cookies of the demo with their attributes, by name.
    pub async fn cookies(&self, demo: &Demo) -> Vec<Value> {
        let answer = self.devtools("Network.getCookies", json!({ "urls": [demo.url("/")] })).await;
        let mut cookies = answer["cookies"].as_array().unwrap().clone();
        cookies.sort_by_key(|cookie| cookie["name"].to_string());
        cookies
    }

    /// Returns the value of the session cookie.
    pub async fn token(&self, demo: &Demo) -> String {
        let cookie = self.cookie(demo).await.expect("a session");
        cookie["value"].as_str().unwrap().to_owned()
    }

    /// Presses the sign-out button of the page header.
    pub async fn sign_out(&self) {
        self.find("//form[@action='/sign-out']//button").await.click().await.unwrap();
    }

    pub async fn sign_up(&self, demo: &Demo, name: &str) {
        self.open(demo, "/sign-up").await;
        self.fill("name", name).await;
        self.fill("password", PASSWORD).await;
        self.press("Sign up").await;
        self.until_says(&format!("Welcome, {name}.")).await;
    }

    pub async fn sign_in(&self, demo: &Demo, name: &str) {
        self.open(demo, "/sign-in").await;
        self.fill("name", name).await;
        self.fill("password", PASSWORD).await;
        self.press("Sign in").await;
        self.until_says(&format!("Welcome back, {name}.")).await;
    }

    /// Closes the browser.
    pub async fn close(mut self) {
        self.client.clone().close().await.unwrap();
        self.process = None;
    }
}

impl Drop for Browser {
    /// Kills the browser after a panic; its child processes exit with it.
    fn drop(&mut self) {
        if let Some(process) = self.process {
            let _ = Command::new("kill").args(["-KILL", &process.to_string()]).status();
        }
    }
}
