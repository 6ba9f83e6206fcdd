//! Tests of the index of owners in Redis.

use sessile::RedisStore;
use sessile::store::{Expected, Outcome, Record, Store, Touch, Version};

use super::{ask_owner, escaped, key, number};
use crate::damage;
use crate::patience::Patient;
use crate::servers::{self, Server};

const HOUR: time::Duration = time::Duration::HOUR;
const DAY: time::Duration = time::Duration::DAY;

/// An owner's index lists the live sessions only, and expires soon after the last of them.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_index_lists_live_sessions_and_expires_with_them() {
    let server = Server::redis();
    let store = RedisStore::patient(&server.url()).await.with_prefix("app:");
    for number in 1..200 {
        let record = damage::record(number, Some("a"));
        assert_eq!(store.set(&record, Expected::Absent).await.unwrap(), Outcome::Written);
        if number % 10 != 0 {
            assert!(store.delete(record.id(), record.owner()).await.unwrap());
        }
    }
    assert_eq!(servers::ask(server.port(), "ZCARD app:owner:a"), ":19\r\n");
    let left: i64 = servers::ask(server.port(), "PTTL app:owner:a").trim_start_matches(':').trim().parse().unwrap();
    assert!((3_600_000..=7_200_000).contains(&left), "the index expires in {left} ms; its sessions, in 3,600,000");
    assert_eq!(store.owned_by("a").await.unwrap().len(), 19);
}

/// A key in an owner's index that holds no record stops no end: all sessions end in one step.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_key_in_an_index_stops_no_end() {
    let server = Server::redis();
    let store = RedisStore::patient(&server.url()).await;
    let records = [1, 2, 3, 4].map(|number| damage::record(number, Some("a")));
    for record in &records {
        assert_eq!(store.set(record, Expected::Absent).await.unwrap(), Outcome::Written);
    }
    let foreign = [key("sessile:", &records[1]), key("sessile:", &records[2])];
    servers::ask(server.port(), &format!("SET {} text", foreign[0]));
    servers::ask(server.port(), &format!("DEL {}", foreign[1]));
    servers::ask(server.port(), &format!("RPUSH {} text", foreign[1]));
    let ended = store.delete_owned_by("a", None, None).await.unwrap();
    assert_eq!(ended, [*records[0].id(), *records[3].id()]);
    for foreign in foreign {
        assert_eq!(servers::ask(server.port(), &format!("EXISTS {foreign}")), ":1\r\n");
    }
}

/// An owner's index and its entries outlive the sessions, whichever write gave a session its longest life.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_index_outlives_its_longest_session() {
    let server = Server::redis();
    let store = RedisStore::patient(&server.url()).await;
    an_index_outlives_its_longest_session(&store, std::slice::from_ref(&server)).await;
}

pub(super) async fn an_index_outlives_its_longest_session(store: &RedisStore, servers: &[Server]) {
    let written = async |record: &Record, expected: Expected| {
        assert_eq!(store.set(record, expected).await.unwrap(), Outcome::Written);
    };
    let [created, replaced, touched, shorter] = ["created", "replaced", "touched", "shorter"];
    // A second session with a longer life.
    written(&lasting(1, created, HOUR), Expected::Absent).await;
    written(&lasting(2, created, DAY), Expected::Absent).await;
    // The same session, written and touched with a longer life.
    let short = lasting(3, replaced, HOUR);
    written(&short, Expected::Absent).await;
    written(&lasting(3, replaced, DAY), Expected::Version(short.version())).await;
    let short = lasting(4, touched, HOUR);
    written(&short, Expected::Absent).await;
    assert!(store.touch(&short, Touch::new(short.last_seen(), short.last_seen() + DAY)).await.unwrap());
    // A second session with a shorter life.
    written(&lasting(5, shorter, DAY), Expected::Absent).await;
    written(&lasting(6, shorter, HOUR), Expected::Absent).await;
    for (id, owner) in [(2, created), (3, replaced), (4, touched), (5, shorter)] {
        assert_index_outlives(servers, id, owner);
    }
}

/// Returns a record that expires this long after it was last seen.
pub(super) fn lasting(id: u128, owner: &str, life: time::Duration) -> Record {
    let mut parts = damage::record(id, Some(owner)).into_parts();
    parts.expires_at = parts.last_seen + life;
    Record::from_parts(parts)
}

/// Checks that an owner's index, and its entry of a record that lives for a day, expire later than the record.
#[track_caller]
pub(super) fn assert_index_outlives(servers: &[Server], id: u128, owner: &str) {
    let record = damage::record(id, None);
    let left = number(&ask_owner(servers, &format!("PTTL {}", key("sessile:", &record))));
    let index = number(&ask_owner(servers, &format!("PTTL sessile:owner:{owner}")));
    assert!(index > left, "{owner}: the index expires in {index} ms, the session in {left}");
    let score = ask_owner(servers, &format!("ZSCORE sessile:owner:{owner} {}", escaped(&record)));
    let score = score.lines().nth(1).unwrap().parse::<i64>().unwrap() * 60;
    let expires_at =
        (time::OffsetDateTime::now_utc() + time::Duration::milliseconds(left.try_into().unwrap())).unix_timestamp();
    assert!(score > expires_at, "{owner}: the entry expires at {score}, the session at {expires_at}");
}

/// A stale index entry, left by a delete without the owner or by a change of owner, is skipped and expires.
#[tokio::test(flavor = "multi_thread")]
async fn a_stale_index_entry_is_skipped() {
    let server = Server::redis();
    let store = RedisStore::patient(&server.url()).await;
    let [deleted, moved] = [1, 2].map(|id| damage::record(id, Some("a")));
    for record in [&deleted, &moved] {
        assert_eq!(store.set(record, Expected::Absent).await.unwrap(), Outcome::Written);
    }
    assert!(store.delete(deleted.id(), None).await.unwrap());
    let mut parts = moved.clone().into_parts();
    (parts.owner, parts.version) = (Some("b".into()), Version::new(2));
    let next = Record::from_parts(parts);
    assert_eq!(store.set(&next, Expected::Version(moved.version())).await.unwrap(), Outcome::Written);
    assert_eq!(servers::ask(server.port(), "ZCARD sessile:owner:a"), ":2\r\n");
    assert!(store.owned_by("a").await.unwrap().is_empty());
    assert_eq!(store.owned_by("b").await.unwrap(), [next]);
    let left: i64 = servers::ask(server.port(), "PTTL sessile:owner:a").trim_start_matches(':').trim().parse().unwrap();
    assert!((1..=7_200_000).contains(&left), "the index expires in {left} ms");
}
