//! Tests of `RedisStore` on Valkey, and on the earliest version of Redis that it supports.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::patience::Patient;
use crate::{faults, nodes, servers};

use sessile::RedisStore;
use sessile::testing::conformance::check;

use crate::redis::Stores;
use servers::{Server, ask};

/// Creates the tests for one server.
macro_rules! tests_on {
    ($server:ident, $version:literal) => {
        mod $server {
            use super::*;

            /// The server is of this version, and the store passes the conformance suite on it.
            #[tokio::test(flavor = "multi_thread")]
            async fn it_keeps_every_rule_of_the_contract() {
                let server = Server::$server();
                let info = ask(server.port(), "INFO server");
                assert!(info.contains($version), "{info}");
                check(&Stores(server)).await.assert();
            }

            /// Parallel writers on two nodes lose no change, and a sign-out on one node ends the session on both.
            #[tokio::test(flavor = "multi_thread")]
            async fn two_nodes_lose_nothing_and_end_together() {
                let server = Server::$server();
                let store = async || RedisStore::patient(&server.url()).await;
                nodes::parallel_writers_on_two_nodes_lose_nothing(store().await, store().await).await;
                nodes::a_sign_out_on_one_node_ends_the_session_on_both(store().await, store().await).await;
            }

            /// Acknowledged writes survive repeated kills of the server under load.
            #[tokio::test(flavor = "multi_thread")]
            async fn no_acknowledged_write_is_lost_while_the_server_is_killed() {
                let server = Server::$server();
                let store = RedisStore::patient(&server.url()).await;
                faults::no_acknowledged_write_is_lost(server, store).await;
            }
        }
    };
}

tests_on!(valkey, "valkey_version:9.1.");
tests_on!(redis_6_2, "redis_version:6.2.");
