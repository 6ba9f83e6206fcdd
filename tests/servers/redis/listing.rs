//! Tests of the lists of records in Redis, page by page and by owner.

use std::collections::BTreeSet;

use sessile::store::{Cursor, Expected, Outcome, Record, Store, StoreErrorKind};
use sessile::{RedisStore, SessionId};

use super::Stores;
use super::cluster::Cluster;
use crate::damage;
use crate::patience::Patient;
use crate::proxy::ProxiedStore;
use crate::servers::{self, Server};
use sessile::testing::conformance::Fixture;

/// Stores records with these ids.
async fn fill(store: &RedisStore, ids: std::ops::Range<u128>) -> BTreeSet<SessionId> {
    let mut stored = BTreeSet::new();
    for id in ids {
        let record = damage::record(id, Some("a"));
        assert_eq!(store.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
        stored.insert(*record.id());
    }
    stored
}

/// Reads every page of this length.
async fn list(store: &RedisStore, limit: usize) -> Vec<Record> {
    let (mut records, mut next) = (Vec::new(), None);
    loop {
        let page = store.list(next.as_ref(), limit).await.unwrap();
        records.extend(page.records);
        match page.next {
            Some(following) => next = Some(following),
            None => return records,
        }
    }
}

/// Lists contain the records of the store's prefix and nothing else, whatever characters it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_contains_only_keys_of_the_prefix() {
    let server = Server::redis();
    let connected = RedisStore::patient(&server.url()).await;
    for prefix in ["a*:", "a?:", "[ab]:", "[^a]:", "a\\:", "*", "ab:", "{a}:"] {
        fill(&connected.clone().with_prefix(prefix), 1..4).await;
    }
    for key in ["ab:owner:AAAAAAAAAAAAAAAAAAAAAA", "ab:!!!!!!!!!!!!!!!!!!!!!!", "ab:", "*AAAAAAAAAAAAAAAAAAAAAB"] {
        assert!(servers::ask(server.port(), &format!("SET {key} foreign")).starts_with("+OK"));
    }
    for prefix in ["a*:", "a?:", "[ab]:", "[^a]:", "a\\:", "*", "ab:", "{a}:"] {
        let store = connected.clone().with_prefix(prefix);
        let ids: BTreeSet<_> = list(&store, 2).await.iter().map(|record| *record.id()).collect();
        assert_eq!(ids, (1..4).map(|id| *damage::record(id, None).id()).collect(), "{prefix}");
        assert_eq!(store.count().await.unwrap(), 3, "{prefix}");
    }
}

/// A list and a count of a Cluster contain the records of all nodes.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_a_cluster_contains_all_nodes() {
    let cluster = Cluster(servers::cluster());
    let store = cluster.connect().await;
    let ids = fill(&store, 1..100).await;
    for limit in [1, 10, 1000] {
        let listed = list(&store, limit).await;
        assert_eq!(listed.len(), 99, "pages of {limit}");
        assert_eq!(listed.iter().map(|record| *record.id()).collect::<BTreeSet<_>>(), ids, "pages of {limit}");
    }
    assert_eq!(store.count().await.unwrap(), 99);
    assert_eq!(store.ids_of("a", Some("id")).await.unwrap(), ids.iter().copied().collect::<Vec<_>>());
    assert!(store.ids_of("a", Some("other")).await.unwrap().is_empty());
    let summaries = store.summaries_of(&ids.iter().copied().collect::<Vec<_>>()).await.unwrap();
    assert!(summaries.iter().all(Option::is_some));
}

/// A cursor of another store is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_another_store_is_refused() {
    let server = Server::redis();
    let cluster = Cluster(servers::cluster());
    let stores = [RedisStore::patient(&server.url()).await, cluster.connect().await];
    for store in stores {
        for text in ["", "x", "-1", "127.0.0.1:1/0", "127.0.0.1:1", "0197b5a0-0000-7000-8000-000000000000"] {
            let error = store.list(Some(&Cursor::new(text)), 10).await.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Unsupported, "{text}");
        }
    }
}

/// Ids and summaries cost two round trips and one, and a page of records two, however many there are.
#[tokio::test(flavor = "multi_thread")]
async fn lists_cost_two_round_trips_at_most() {
    let stores = Stores(Server::redis());
    let ProxiedStore { store, proxy } = stores.open().await;
    // So many that the commands for them fit into one segment: the server begins to answer before it has read all of several.
    let ids: Vec<_> = fill(&store, 1..500).await.into_iter().collect();
    let before = proxy.round_trips();
    assert_eq!(store.ids_of("a", None).await.unwrap(), ids);
    assert_eq!(proxy.round_trips() - before, 2, "ids");
    let before = proxy.round_trips();
    let summaries = store.summaries_of(&ids[..50]).await.unwrap();
    assert_eq!(summaries.iter().flatten().count(), 50);
    assert_eq!(proxy.round_trips() - before, 1, "summaries");
    let before = proxy.round_trips();
    // The server counts the key of the owner's index, too, if its scan meets it.
    assert!(store.list(None, 101).await.unwrap().records.len() >= 100);
    assert_eq!(proxy.round_trips() - before, 2, "a page");
}
