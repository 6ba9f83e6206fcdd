//! `SqliteStore` on a file.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

#[path = "support/nodes.rs"]
mod nodes;
#[path = "support/servers.rs"]
mod servers;

use std::time::Duration;

use sessile::SqliteStore;
use sessile::testing::conformance::{Fixture, Task, check};

use self::servers::Directory;

fn url(directory: &Directory) -> String {
    format!("sqlite:{}/sessions.db", directory.path().display())
}

impl Fixture for Directory {
    type Store = SqliteStore;

    async fn open(&self) -> Self::Store {
        let store = SqliteStore::connect(&url(self)).await.unwrap();
        store.migrate().await.unwrap();
        store.with_deadline(Duration::from_secs(20))
    }

    async fn another(&self, _store: &Self::Store) -> Self::Store {
        self.open().await
    }

    fn spawn(&self, task: Task) {
        tokio::spawn(task);
    }

    async fn advance(&self, by: Duration) {
        tokio::time::sleep(by).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_every_rule_of_the_contract() {
    let report = check(&Directory::new("sqlite")).await;
    eprintln!("{report}");
    report.assert();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_lose_nothing_and_end_together() {
    let file = Directory::new("sqlite");
    let store = async || SqliteStore::connect(&url(&file)).await.unwrap();
    store().await.migrate().await.unwrap();
    nodes::nothing_is_lost_between_two_nodes(store().await, store().await).await;
    nodes::a_sign_out_on_one_node_ends_the_session_on_both(store().await, store().await).await;
}
