//! Two nodes over one database.

use reqwest::StatusCode;
use sessile::MemoryStore;
use sessile::store::Store;

use crate::browser::Browser;
use crate::node::{CLIENT_ID, Node, Reserved};
use crate::steps::Steps;

pub const SIGNED_IN: [StatusCode; 2] = [StatusCode::OK; 2];
pub const SIGNED_OUT: [StatusCode; 2] = [StatusCode::UNAUTHORIZED; 2];

/// Two nodes, each with its own connections. Browsers sign in on the first, and logout tokens go to the second.
pub struct Site<S> {
    pub nodes: [Node; 2],
    /// The nodes' stores.
    pub steps: [Steps<S>; 2],
}

impl Site<MemoryStore> {
    pub async fn in_memory(issuer: &str) -> Self {
        let memory = MemoryStore::new();
        Self::start(issuer, [memory.clone(), memory]).await
    }
}

impl<S: Store + Clone> Site<S> {
    pub async fn start(issuer: &str, stores: [S; 2]) -> Self {
        Self::start_on([Reserved::new().await, Reserved::new().await], issuer, stores).await
    }

    pub async fn start_on(nodes: [Reserved; 2], issuer: &str, stores: [S; 2]) -> Self {
        let steps = stores.map(Steps::new);
        let [first, second] = nodes;
        let first = first.start(issuer, CLIENT_ID, steps[0].clone()).await;
        let second = second.start(issuer, CLIENT_ID, steps[1].clone()).await;
        Self { nodes: [first, second], steps }
    }

    /// Sends a logout token to the second node.
    pub async fn log_out(&self, token: &str) -> StatusCode {
        self.nodes[1].log_out(token).await
    }

    /// Returns the status of the account page on both nodes.
    pub async fn account(&self, browser: &mut Browser) -> [StatusCode; 2] {
        let first = self.nodes[0].account(browser).await;
        browser.copy_cookies(&self.nodes[0].url, &self.nodes[1].url);
        [first, self.nodes[1].account(browser).await]
    }
}
