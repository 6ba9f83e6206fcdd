//! Tests of `RedisStore` on a Cluster of three masters, which they start.

use redis::cluster::ClusterClientBuilder;
use sessile::RedisStore;
use sessile::store::{Expected, Outcome, Record, Store, Touch, Version};
use sessile::testing::conformance::check;

use super::connections::pass_late;
use super::index::{an_index_outlives_its_longest_session, assert_index_outlives, lasting};
use super::{Direct, ask_owner, key, number};
use crate::proxy::Proxy;
use crate::servers::{self, PATIENCE, Server};
use crate::{damage, faults, nodes};

/// Three masters. They have no proxies, because the nodes send their own addresses to clients.
pub(super) struct Cluster(pub(super) Vec<Server>);

impl Cluster {
    pub(super) async fn connect(&self) -> RedisStore {
        let urls: Vec<_> = self.0.iter().map(Server::url).collect();
        let urls: Vec<_> = urls.iter().map(String::as_str).collect();
        patiently!(RedisStore::connect_cluster(&urls))
    }
}

/// The store passes the conformance suite on a Cluster.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_keeps_every_rule_of_the_contract() {
    let cluster = Cluster(servers::cluster());
    let report = check(&Direct(|| cluster.connect())).await;
    eprintln!("{report}");
    report.assert();
}

/// On a Cluster, parallel writers lose no change, and a sign-out ends the session on both nodes.
#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_on_a_cluster_lose_nothing_and_end_together() {
    let cluster = Cluster(servers::cluster());
    nodes::parallel_writers_on_two_nodes_lose_nothing(cluster.connect().await, cluster.connect().await).await;
    nodes::a_sign_out_on_one_node_ends_the_session_on_both(cluster.connect().await, cluster.connect().await).await;
}

/// An operation that connects waits for a node that answers late, up to its own deadline.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_answers_late_costs_no_request() {
    let cluster = Cluster(servers::cluster());
    let proxy = Proxy::to(cluster.0[0].port()).await;
    let builder = ClusterClientBuilder::new([cluster.0[0].url_at(proxy.port())]);
    let store = RedisStore::from_cluster(builder).unwrap().with_deadline(PATIENCE);
    proxy.hang();
    let record = damage::record(1, None);
    let (got, ()) = tokio::join!(store.get(record.id()), pass_late(&proxy));
    assert_eq!(got.unwrap(), None);
}

/// Acknowledged writes survive repeated kills of one Cluster node under load.
#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_write_is_lost_while_a_cluster_node_is_killed() {
    let mut cluster = Cluster(servers::cluster());
    let store = cluster.connect().await;
    let victim = cluster.0.remove(1);
    faults::no_acknowledged_write_is_lost(victim, store).await;
}

/// In a Cluster, a delete with the owner removes the entry from the owner's index.
#[tokio::test(flavor = "multi_thread")]
async fn a_delete_on_a_cluster_removes_the_index_entry() {
    let cluster = Cluster(servers::cluster());
    let store = cluster.connect().await;
    let record = damage::record(1, Some("a"));
    assert_eq!(store.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
    let listed = || ask_owner(&cluster.0, "ZCARD sessile:owner:a");
    assert_eq!(listed(), ":1\r\n");
    assert!(store.delete(record.id(), record.owner()).await.unwrap());
    assert_eq!(listed(), ":0\r\n");
}

/// On a Cluster, an owner's index and its entries outlive the sessions, too.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_index_on_a_cluster_outlives_its_longest_session() {
    let cluster = Cluster(servers::cluster());
    an_index_outlives_its_longest_session(&cluster.connect().await, &cluster.0).await;
}

/// On a Cluster, a refused write with a shorter life does not shorten the stored session's index entry.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_write_on_a_cluster_keeps_the_index_entry() {
    let cluster = Cluster(servers::cluster());
    let store = cluster.connect().await;
    let record = lasting(1, "a", time::Duration::DAY);
    assert_eq!(store.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
    // The store writes the index before the server refuses the record.
    assert_eq!(store.set(&lasting(1, "a", time::Duration::HOUR), Expected::Absent).await.unwrap(), Outcome::Refused);
    assert_index_outlives(&cluster.0, 1, "a");
}

/// Each operation finds its record while a slot is half migrated from one node to another.
#[tokio::test(flavor = "multi_thread")]
async fn records_are_found_while_their_slot_moves_to_another_node() {
    let cluster = Cluster(servers::cluster());
    // The hash tag puts all keys of this store into one slot.
    let store = cluster.connect().await.with_prefix("{app}:");
    let records: Vec<_> = (1..=6).map(|id| damage::record(id, Some("a"))).collect();
    for record in &records {
        assert_eq!(store.set(record, Expected::Absent).await.unwrap(), Outcome::Written);
    }
    let slot = number(&servers::ask(cluster.0[0].port(), "CLUSTER KEYSLOT {app}:"));
    let holds = |server: &&Server| number(&servers::ask(server.port(), &format!("CLUSTER COUNTKEYSINSLOT {slot}"))) > 0;
    let from = cluster.0.iter().find(holds).expect("a node has the slot");
    let to = cluster.0.iter().find(|server| server.port() != from.port()).unwrap();
    let send = |server: &Server, command: &str| {
        let said = servers::ask(server.port(), command);
        assert!(said.starts_with("+OK"), "{command}: {said}");
    };
    let name = |server: &Server| servers::ask(server.port(), "CLUSTER MYID").lines().nth(1).unwrap().to_owned();
    send(to, &format!("CLUSTER SETSLOT {slot} IMPORTING {}", name(from)));
    send(from, &format!("CLUSTER SETSLOT {slot} MIGRATING {}", name(to)));
    let key = |record: &Record| key("{app}:", record);
    for record in &records[..4] {
        send(from, &format!("MIGRATE 127.0.0.1 {} {} 0 5000", to.port(), key(record)));
    }
    send(to, "SCRIPT FLUSH");

    for record in &records {
        assert_eq!(store.get(record.id()).await.unwrap().as_ref(), Some(record));
    }
    // A record that has moved, one that has not, and a new one.
    for record in [&records[0], &records[4]] {
        let mut parts = record.clone().into_parts();
        parts.version = Version::new(2);
        let next = Record::from_parts(parts);
        assert_eq!(store.set(&next, Expected::Version(record.version())).await.unwrap(), Outcome::Written);
        assert_eq!(store.set(&next, Expected::Version(record.version())).await.unwrap(), Outcome::Refused);
        assert_eq!(store.get(record.id()).await.unwrap(), Some(next));
    }
    let touch = Touch::new(records[1].last_seen(), records[1].expires_at() + time::Duration::hours(1));
    assert!(store.touch(&records[1], touch).await.unwrap());
    for record in [&records[2], &records[5]] {
        assert!(store.delete(record.id(), None).await.unwrap());
        assert!(!store.delete(record.id(), None).await.unwrap());
    }
    let new = damage::record(7, Some("a"));
    assert_eq!(store.set(&new, Expected::Absent).await.unwrap(), Outcome::Written);

    // The migration ends.
    let rest = [key(&records[4]), "{app}:owner:a".to_owned()];
    for key in rest {
        send(from, &format!("MIGRATE 127.0.0.1 {} {key} 0 5000", to.port()));
    }
    for server in [to, from] {
        send(server, &format!("CLUSTER SETSLOT {slot} NODE {}", name(to)));
    }
    let listed = store.owned_by("a").await.unwrap();
    let listed: Vec<_> = listed.iter().map(|record| *record.id()).collect();
    assert_eq!(listed, [&records[0], &records[1], &records[3], &records[4], &new].map(|record| *record.id()));
}
