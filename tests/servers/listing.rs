//! Tests of the lists, counts and summaries of the SQL stores: one statement and one round trip each.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::{damage, proxy, servers};

use std::time::Duration;

use sessile::store::{Cursor, Expected, Outcome, Record, RecordSummary, Store, StoreErrorKind};
use sessile::{MySqlStore, PostgresStore, SessionId, SqliteStore};

use self::proxy::Proxy;
use self::servers::{Directory, Server};
use crate::patience::Patient;

/// Number of live records.
const LIVE: u128 = 25;

async fn insert(store: &impl Store, id: u128, change: impl FnOnce(&mut sessile::store::RecordParts)) -> Record {
    let mut parts = damage::record(id, Some("a")).into_parts();
    change(&mut parts);
    let record = Record::from_parts(parts);
    assert_eq!(store.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
    record
}

/// Checks that each call answers as the records say, in one round trip.
async fn check_listing(store: &impl Store, trips: impl Fn() -> u64) {
    let mut records = Vec::new();
    // Not in the order of the ids.
    for id in (1..=LIVE).rev() {
        records
            .push(insert(store, id, |parts| parts.realm = if id <= 20 { "id".into() } else { "admin".into() }).await);
    }
    records.reverse();
    insert(store, 30, |parts| parts.expires_at = parts.last_seen - Duration::from_secs(60)).await;
    let ids: Vec<SessionId> = records.iter().map(|record| *record.id()).collect();

    for pass in ["first", "second"] {
        // The first pass connects and prepares the statements.
        let cost = |before: u64| assert!(pass == "first" || trips() <= before + 1, "more than one round trip");
        let before = trips();
        assert_eq!(store.ids_of("a", None).await.unwrap(), ids);
        cost(before);
        assert_eq!(store.ids_of("a", Some("admin")).await.unwrap(), ids[20..]);
        assert!(store.ids_of("b", None).await.unwrap().is_empty());

        let before = trips();
        assert_eq!(store.count().await.unwrap(), u64::try_from(LIVE).unwrap());
        cost(before);

        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let before = trips();
            let page = store.list(after.as_ref(), 10).await.unwrap();
            cost(before);
            assert!(page.records.len() <= 10);
            listed.extend(page.records);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(listed, records);
        let last = store.list(Some(&Cursor::new(ids[23].to_string())), 1).await.unwrap();
        assert_eq!(last.records, records[24..]);
        assert!(store.list(last.next.as_ref(), 1).await.unwrap().next.is_none());
        for cursor in ["", "0-0", "' OR 1 --"] {
            let error = store.list(Some(&Cursor::new(cursor)), 10).await.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Unsupported, "{cursor}");
        }

        let unknown = |number: u128| SessionId::from(uuid::Uuid::from_u128(1000 + number));
        for unknowns in [0, 1, 60, 475] {
            let asked: Vec<SessionId> = ids.iter().copied().chain((0..unknowns).map(unknown)).collect();
            let before = trips();
            let summaries = store.summaries_of(&asked).await.unwrap();
            cost(before);
            let expected = records.iter().map(|record| Some(RecordSummary::from(record)));
            assert_eq!(summaries, expected.chain((0..unknowns).map(|_| None)).collect::<Vec<_>>());
        }
        // The expired record, one that is asked for twice, and more ids than one statement takes.
        let expired = *damage::record(30, None).id();
        let asked = [&[expired, ids[1], ids[1]][..], &(0..1100).map(unknown).collect::<Vec<_>>(), &ids[..1]].concat();
        let summaries = store.summaries_of(&asked).await.unwrap();
        assert_eq!(summaries.len(), asked.len());
        assert_eq!(summaries.iter().flatten().count(), 3);
        assert!(summaries[0].is_none() && summaries[1] == summaries[2] && summaries[1].is_some());
        assert_eq!(store.summaries_of(&[]).await.unwrap(), []);
        store.ping().await.unwrap();
    }
}

/// The stores list, count and summarize their live records.
#[tokio::test(flavor = "multi_thread")]
async fn records_are_listed_counted_and_summarized() {
    let file = Directory::new("sqlite");
    let store = SqliteStore::patient(&format!("sqlite:{}/sessions.db", file.path().display())).await;
    store.migrate().await.unwrap();
    check_listing(&store, || 0).await;

    let server = Server::postgres();
    let proxy = Proxy::to(server.port()).await;
    let store = PostgresStore::patient(&server.url_at(proxy.port())).await;
    store.migrate().await.unwrap();
    check_listing(&store, || proxy.round_trips()).await;

    let server = Server::mariadb();
    let proxy = Proxy::to(server.port()).await;
    let store = MySqlStore::patient(&server.url_at(proxy.port())).await;
    store.migrate().await.unwrap();
    check_listing(&store, || proxy.round_trips()).await;
}
