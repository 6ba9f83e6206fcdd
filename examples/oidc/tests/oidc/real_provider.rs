//! The package `oidc-provider` signs users in, and sends its own logout tokens.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sessile::MemoryStore;
use sessile::store::Store;

use crate::browser::Browser;
use crate::node::{CLIENT_ID, Reserved};
use crate::site::{SIGNED_IN, SIGNED_OUT, Site};

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

/// Starts a site, and a provider whose logout tokens have a `sid`, or not.
async fn start<S: Store + Clone>(sends_sid: bool, stores: [S; 2]) -> (Provider, Site<S>) {
    let nodes = [Reserved::new().await, Reserved::new().await];
    let provider = Provider::start(&json!([{
        "client_id": CLIENT_ID,
        "client_secret": "secret",
        "redirect_uris": [format!("{}/callback", nodes[0].url())],
        "post_logout_redirect_uris": [format!("{}/", nodes[0].url())],
        "backchannel_logout_uri": format!("{}/logout/back-channel", nodes[1].url()),
        "backchannel_logout_session_required": sends_sid,
    }]));
    let site = Site::start_on(nodes, &provider.issuer, stores).await;
    (provider, site)
}

async fn in_memory(sends_sid: bool) -> (Provider, Site<MemoryStore>) {
    let memory = MemoryStore::new();
    start(sends_sid, [memory.clone(), memory]).await
}

async fn sign_in<S>(site: &Site<S>, browser: &mut Browser) {
    let page = browser.open(&format!("{}/sign-in", site.nodes[0].url)).await;
    assert_eq!(page, (StatusCode::OK, "signed in as provider:ada\n".to_owned()));
}

/// A sign-out at the provider ends the browser's sessions on all nodes, after rotations, and those of no other browser.
pub async fn a_sign_out_ends_the_providers_session_on<S: Store + Clone>(stores: [S; 2]) {
    let (provider, site) = start(true, stores).await;
    let (mut browser, mut other) = (Browser::new(), Browser::new());
    sign_in(&site, &mut browser).await;
    let mut before = browser.clone();
    // The provider does not ask again; the sign-in rotates the token.
    sign_in(&site, &mut browser).await;
    assert_eq!(site.account(&mut browser).await, SIGNED_IN);
    assert_ne!(site.account(&mut before).await, SIGNED_IN);
    sign_in(&site, &mut other).await;

    provider.sign_out(&mut browser).await;
    assert_eq!(site.account(&mut browser).await, SIGNED_OUT);
    assert_eq!(site.account(&mut other).await, SIGNED_IN);
    sign_in(&site, &mut browser).await;
    assert_eq!(site.account(&mut browser).await, SIGNED_IN);
}

/// A provider that names no session ends all earlier sessions of the user.
#[tokio::test]
async fn a_sign_out_without_sid_ends_the_users_sessions() {
    let (provider, site) = in_memory(false).await;
    let (mut browser, mut other) = (Browser::new(), Browser::new());
    sign_in(&site, &mut browser).await;
    sign_in(&site, &mut other).await;

    provider.sign_out(&mut browser).await;
    assert_eq!(site.account(&mut browser).await, SIGNED_OUT);
    assert_eq!(site.account(&mut other).await, SIGNED_OUT);
    // Its times are in seconds: a sign-in within the second of the logout counts as earlier.
    tokio::time::sleep(Duration::from_secs(1)).await;
    sign_in(&site, &mut browser).await;
    assert_eq!(site.account(&mut browser).await, SIGNED_IN);
}

/// A sign-out here leads to the provider's page, which leads back to the home page.
#[tokio::test]
async fn a_sign_out_here_continues_at_the_provider() {
    let (provider, site) = in_memory(true).await;
    let mut browser = Browser::new();
    sign_in(&site, &mut browser).await;
    let answer = browser.send(Method::POST, &format!("{}/sign-out", site.nodes[0].url), &[("-", "-")]).await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    assert_eq!(site.account(&mut browser).await, SIGNED_OUT);
    let url = answer.headers()["location"].to_str().unwrap();
    assert!(url.starts_with(&format!("{}/session/end?", provider.issuer)), "{url}");
    let (status, page) = browser.open(url).await;
    assert!(status == StatusCode::OK && page.contains("name=\"xsrf\""), "{status} {page}");
    provider.sign_out(&mut browser).await;
}
