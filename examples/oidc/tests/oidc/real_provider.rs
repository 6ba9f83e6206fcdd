//! The package `oidc-provider` signs users in, and sends its own logout tokens.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sessile::SqliteStore;

use crate::browser::Browser;
use crate::node::{CLIENT_ID, Node, Reserved};

/// A running provider.
struct Provider {
    program: Child,
    issuer: String,
}

impl Provider {
    fn start(clients: &Value) -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let target = here.join("../../target");
        let (node, modules) = (target.join("servers/node"), target.join("provider/node_modules"));
        for path in [&node, &modules] {
            assert!(path.exists(), "{} is missing: run `sh .ci/servers`", path.display());
        }
        let mut command = Command::new(node);
        command.arg(here.join("tests/provider/provider.mjs")).arg(modules).arg(clients.to_string());
        let mut program = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(program.stdout.take().unwrap()).lines().map_while(Result::ok);
        let issuer = lines.find_map(|line| line.strip_prefix("listening on ").map(str::to_owned));
        Self { program, issuer: issuer.expect("the provider prints its address") }
    }

    /// Signs the browser's user out at the provider, which then sends its logout tokens.
    async fn sign_out(&self, browser: &mut Browser) {
        let (_, page) = browser.open(&format!("{}/session/end", self.issuer)).await;
        let value =
            page.split("name=\"xsrf\" value=\"").nth(1).expect("the page has a form").split('"').next().unwrap();
        let url = format!("{}/session/end/confirm", self.issuer);
        let answer = browser.send(Method::POST, &url, &[("xsrf", value), ("logout", "yes")]).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// A database file, removed when dropped.
struct Database(PathBuf);

impl Database {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sessile-oidc-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    /// Connects a node.
    async fn connect(&self) -> SqliteStore {
        let store = SqliteStore::connect(&format!("sqlite:{}/sessions.db", self.0.display())).await.unwrap();
        store.migrate().await.unwrap();
        store
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Two nodes over one database file. The browser uses the first, and the provider sends logout tokens to the second.
struct Site {
    provider: Provider,
    nodes: [Node; 2],
    _database: Database,
}

impl Site {
    async fn start(sends_sid: bool) -> Self {
        let [first, second] = [Reserved::new().await, Reserved::new().await];
        let provider = Provider::start(&json!([{
            "client_id": CLIENT_ID,
            "client_secret": "secret",
            "redirect_uris": [format!("{}/callback", first.url())],
            "post_logout_redirect_uris": [format!("{}/", first.url())],
            "backchannel_logout_uri": format!("{}/logout/back-channel", second.url()),
            "backchannel_logout_session_required": sends_sid,
        }]));
        let database = Database::new();
        let first = first.start(&provider.issuer, CLIENT_ID, database.connect().await).await;
        let second = second.start(&provider.issuer, CLIENT_ID, database.connect().await).await;
        Self { provider, nodes: [first, second], _database: database }
    }

    async fn sign_in(&self, browser: &mut Browser) {
        let page = browser.open(&format!("{}/sign-in", self.nodes[0].url)).await;
        assert_eq!(page, (StatusCode::OK, "signed in as provider:ada\n".to_owned()));
    }

    /// Returns the status of the account page on both nodes.
    async fn account(&self, browser: &mut Browser) -> [StatusCode; 2] {
        let first = self.nodes[0].account(browser).await;
        browser.copy_cookies(&self.nodes[0].url, &self.nodes[1].url);
        [first, self.nodes[1].account(browser).await]
    }
}

const SIGNED_IN: [StatusCode; 2] = [StatusCode::OK; 2];
const SIGNED_OUT: [StatusCode; 2] = [StatusCode::UNAUTHORIZED; 2];

/// A sign-out at the provider ends the browser's sessions on all nodes, after rotations, and those of no other browser.
#[tokio::test]
async fn a_sign_out_at_the_provider_ends_its_sessions() {
    let site = Site::start(true).await;
    let (mut browser, mut other) = (Browser::new(), Browser::new());
    site.sign_in(&mut browser).await;
    let mut before = browser.clone();
    // The provider does not ask again; the sign-in rotates the token.
    site.sign_in(&mut browser).await;
    assert_eq!(site.account(&mut browser).await, SIGNED_IN);
    assert_ne!(site.account(&mut before).await, SIGNED_IN);
    site.sign_in(&mut other).await;

    site.provider.sign_out(&mut browser).await;
    assert_eq!(site.account(&mut browser).await, SIGNED_OUT);
    assert_eq!(site.account(&mut other).await, SIGNED_IN);
    site.sign_in(&mut browser).await;
    assert_eq!(site.account(&mut browser).await, SIGNED_IN);
}

/// A provider that names no session ends all earlier sessions of the user.
#[tokio::test]
async fn a_sign_out_without_sid_ends_the_users_sessions() {
    let site = Site::start(false).await;
    let (mut browser, mut other) = (Browser::new(), Browser::new());
    site.sign_in(&mut browser).await;
    site.sign_in(&mut other).await;

    site.provider.sign_out(&mut browser).await;
    assert_eq!(site.account(&mut browser).await, SIGNED_OUT);
    assert_eq!(site.account(&mut other).await, SIGNED_OUT);
    // Its times are in seconds: a sign-in within the second of the logout counts as earlier.
    tokio::time::sleep(Duration::from_secs(1)).await;
    site.sign_in(&mut browser).await;
    assert_eq!(site.account(&mut browser).await, SIGNED_IN);
}

/// A sign-out here leads to the provider's page, which leads back to the home page.
#[tokio::test]
async fn a_sign_out_here_continues_at_the_provider() {
    let site = Site::start(true).await;
    let mut browser = Browser::new();
    site.sign_in(&mut browser).await;
    let answer = browser.send(Method::POST, &format!("{}/sign-out", site.nodes[0].url), &[("-", "-")]).await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    assert_eq!(site.account(&mut browser).await, SIGNED_OUT);
    let url = answer.headers()["location"].to_str().unwrap();
    assert!(url.starts_with(&format!("{}/session/end?", site.provider.issuer)), "{url}");
    let (status, page) = browser.open(url).await;
    assert!(status == StatusCode::OK && page.contains("name=\"xsrf\""), "{status} {page}");
    site.provider.sign_out(&mut browser).await;
}
