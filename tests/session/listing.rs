//! Listing, counting and pinging outside a request: `list`, `count`, `ids_of` and `ping`.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::collections::{BTreeMap, BTreeSet};

use sessile::event::EventKind;
use sessile::store::{Cursor, Expected, Outcome, Record, RecordParts, Store, StoreError, StoreErrorKind, Touch};
use sessile::{Error, ErrorKind, MemoryStore, SessionId, Sessions, Transient};
use support::race::{HOUR, MINUTE, World};
use support::store::{Counts, Fault, Op};

/// Creates this many sessions of an owner, and returns their ids in ascending order.
async fn create(sessions: &Sessions, owner: &str, count: usize) -> Vec<SessionId> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(sessions.create_owned_by(owner, &BTreeMap::from([("n", 1)])).await.unwrap().0);
    }
    ids.sort_unstable();
    ids
}

/// Returns the ids of all listed sessions, in the order of the pages.
async fn listed(sessions: &Sessions, limit: usize) -> Vec<SessionId> {
    let mut ids = Vec::new();
    let mut after = None;
    loop {
        let page = sessions.list(after.as_ref(), limit).await.unwrap();
        for session in &page.sessions {
            assert_eq!(session.get::<u32>("n").unwrap(), Some(1));
        }
        ids.extend(page.sessions.iter().map(|session| session.id()));
        match page.next {
            Some(next) => after = Some(next),
            None => return ids,
        }
    }
}

/// A list has each live session of its realm once, in pages of each size.
#[tokio::test]
async fn list_returns_each_live_session_of_the_realm_once() {
    let world = World::new();
    for sessions in [world.sessions(), world.quiet()] {
        let other = sessions.clone().with_realm("admin").unwrap();
        // Timed out, and kept for the commits of requests under way.
        create(&sessions, "eve", 3).await;
        world.advance(HOUR);
        let due: BTreeSet<_> = create(&sessions, "ada", 30).await.into_iter().collect();
        let others: BTreeSet<_> = create(&other, "ada", 5).await.into_iter().collect();
        for ended in create(&sessions, "bob", 2).await {
            assert!(sessions.end(&ended).await.unwrap());
        }
        for limit in [0, 1, 7, 40, 1_000, usize::MAX] {
            let ids = listed(&sessions, limit).await;
            assert_eq!((ids.len(), BTreeSet::from_iter(ids)), (due.len(), due.clone()), "pages of {limit}");
        }
        assert_eq!(BTreeSet::from_iter(listed(&other, 7).await), others);
        sessions.end_all_of_in_every_realm("ada").await.unwrap();
    }
}

/// The count includes every realm and the transient values, and no expired record.
#[tokio::test]
async fn count_includes_every_realm_and_transient_values() {
    let world = World::new();
    for sessions in [world.sessions(), world.quiet()] {
        assert_eq!(sessions.count().await.unwrap(), 0);
        create(&sessions, "ada", 3).await;
        create(&sessions.clone().with_realm("admin").unwrap(), "ada", 2).await;
        let transient = Transient::new(world.memory.clone()).with_clock(&world.clock);
        transient.set("code", "1234", MINUTE).await.unwrap();
        assert_eq!(sessions.count().await.unwrap(), 6);
        world.advance(MINUTE);
        assert_eq!(sessions.count().await.unwrap(), 5);
        world.advance(2 * HOUR);
        assert_eq!(sessions.count().await.unwrap(), 0);
    }
}

/// `ids_of` returns the owner's sessions of this realm, the oldest first, and none that ended.
#[tokio::test]
async fn ids_of_returns_the_sessions_of_the_realm() {
    let sessions = Sessions::new(MemoryStore::new());
    let other = sessions.clone().with_realm("admin").unwrap();
    let ids = create(&sessions, "ada", 5).await;
    let admin = create(&other, "ada", 2).await;
    create(&sessions, "bob", 1).await;
    assert_eq!(sessions.ids_of("ada").await.unwrap(), ids);
    assert_eq!(other.ids_of("ada").await.unwrap(), admin);
    assert!(sessions.end(&ids[2]).await.unwrap());
    assert_eq!(sessions.ids_of("ada").await.unwrap(), [ids[0], ids[1], ids[3], ids[4]]);
    assert!(sessions.ids_of("eve").await.unwrap().is_empty());
}

/// A page, a count, the ids of an owner and a ping are one store call each, and read no record by its id.
#[tokio::test]
async fn each_listing_call_is_one_store_call() {
    let world = World::new();
    let sessions = world.sessions();
    create(&sessions, "ada", 50).await;
    let calls = async {
        assert_eq!(sessions.list(None, 100).await.unwrap().sessions.len(), 50);
        assert_eq!(sessions.count().await.unwrap(), 50);
        assert_eq!(sessions.ids_of("ada").await.unwrap().len(), 50);
        sessions.ping().await.unwrap();
    };
    assert_eq!(world.cost(calls).await.1, Counts { listings: 4, ..Counts::NONE });
}

/// A record that cannot be read raises an event, and the list has the others.
#[tokio::test]
async fn an_unreadable_record_is_reported_and_not_listed() {
    let world = World::new();
    let ids = create(&world.sessions(), "ada", 3).await;
    let whole = world.memory.get(&ids[1]).await.unwrap().unwrap();
    let damaged = Record::from_parts(RecordParts { state: [7; 3].into(), ..whole.clone().into_parts() });
    let replaced = world.memory.set(&damaged, Expected::Version(whole.version())).await.unwrap();
    assert_eq!(replaced, Outcome::Written);
    let seen: BTreeSet<_> = listed(&world.sessions(), 10).await.into_iter().collect();
    assert_eq!(seen, BTreeSet::from([ids[0], ids[2]]));
    assert_eq!(world.events.count(EventKind::Corrupt), 1);
    assert_eq!(world.memory.get(&ids[1]).await.unwrap(), Some(damaged), "it is neither changed nor deleted");
}

/// A cursor of another store is refused.
#[tokio::test]
async fn a_cursor_of_another_store_is_refused() {
    let sessions = Sessions::new(MemoryStore::new());
    create(&sessions, "ada", 3).await;
    for text in ["", "7", "not an id"] {
        let error = sessions.list(Some(&Cursor::new(text)), 10).await.unwrap_err();
        let kinds = (error.kind(), store_error_kind(&error));
        assert_eq!(kinds, (ErrorKind::Unavailable, Some(StoreErrorKind::Unsupported)), "{text}");
    }
}

fn store_error_kind(error: &Error) -> Option<StoreErrorKind> {
    Some(std::error::Error::source(error)?.downcast_ref::<StoreError>()?.kind())
}

/// A store that fails is an error of each call, and no call is repeated.
#[tokio::test]
async fn listing_calls_return_the_failures_of_the_store() {
    let world = World::new();
    let sessions = world.sessions();
    create(&sessions, "ada", 1).await;
    world.faults.fail_always(Op::List, Fault::Before);
    let calls = async {
        [
            sessions.list(None, 10).await.unwrap_err(),
            sessions.count().await.unwrap_err(),
            sessions.ids_of("ada").await.unwrap_err(),
            sessions.ping().await.unwrap_err(),
        ]
    };
    let (errors, counts) = world.cost(calls).await;
    for error in errors {
        let kinds = (error.kind(), store_error_kind(&error));
        assert_eq!(kinds, (ErrorKind::Unavailable, Some(StoreErrorKind::Unavailable)));
    }
    assert_eq!(counts, Counts { listings: 4, ..Counts::NONE });
    world.faults.heal();
    sessions.ping().await.unwrap();
}

/// A store with the provided methods: it delegates only the required ones, and the index of owners.
struct Provided(MemoryStore);

impl Store for Provided {
    async fn get(&self, id: &SessionId) -> Result<Option<Record>, StoreError> {
        self.0.get(id).await
    }

    async fn set(&self, record: &Record, expected: Expected) -> Result<Outcome, StoreError> {
        self.0.set(record, expected).await
    }

    async fn touch(&self, record: &Record, touch: Touch) -> Result<bool, StoreError> {
        self.0.touch(record, touch).await
    }

    async fn delete(&self, id: &SessionId, owner: Option<&str>) -> Result<bool, StoreError> {
        self.0.delete(id, owner).await
    }

    async fn owned_by(&self, owner: &str) -> Result<Vec<Record>, StoreError> {
        self.0.owned_by(owner).await
    }
}

/// A store that overrides nothing has ids, summaries and a ping, and neither a list nor a count.
#[tokio::test]
async fn the_provided_methods_need_no_listing() {
    let memory = MemoryStore::new();
    let ids = create(&Sessions::new(memory.clone()), "ada", 3).await;
    let provided = Provided(memory.clone());
    assert_eq!(provided.ids_of("ada", Some("id")).await.unwrap(), ids);
    assert!(provided.ids_of("ada", Some("admin")).await.unwrap().is_empty());
    let asked = [ids[2], SessionId::from(uuid::Uuid::nil()), ids[0], ids[2]];
    assert_eq!(provided.summaries_of(&asked).await.unwrap(), memory.summaries_of(&asked).await.unwrap());
    provided.ping().await.unwrap();
    for error in [provided.list(None, 10).await.unwrap_err(), provided.count().await.unwrap_err()] {
        assert_eq!(error.kind(), StoreErrorKind::Unsupported);
    }
}
