//! Sessions outside a request: `Sessions` creates, finds, updates, lists and ends them.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sessile::Token;
use sessile::event::EventKind;
use sessile::store::Store;
use sessile::testing::ManualClock;
use sessile::{Error, ErrorKind, Lifetime, MemoryStore, Session, SessionId, SessionLayer, Sessions};
use support::client::{EventLog, Jar, Visitor};
use support::store::{Fault, FaultyStore, Op};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Preferences {
    theme: String,
    visits: u32,
    #[serde(default)]
    tags: Vec<String>,
}

fn preferences() -> Preferences {
    Preferences { theme: "dark".to_owned(), visits: 1, tags: vec!["a".to_owned()] }
}

fn sessions() -> Sessions {
    Sessions::new(MemoryStore::new())
}

/// A visitor whose cookie jar holds this token.
fn visitor_with(layer: &SessionLayer, token: &Token) -> Visitor {
    let mut visitor = Visitor::new(layer);
    let mut jar = Jar::default();
    jar.put(layer.cookie_name(), &token.expose_secret());
    visitor.jar = jar;
    visitor
}

/// Converting an id to a UUID or to text and back gives the same id.
#[tokio::test]
async fn session_id_round_trips_through_uuid_and_text() {
    let (id, _) = sessions().create(&json!({})).await.unwrap();
    assert_eq!(uuid::Uuid::from(id), *id.as_uuid());
    assert_eq!(SessionId::from(uuid::Uuid::from(id)), id);
    assert_eq!(id.to_string().parse::<SessionId>().unwrap(), id);
    assert_eq!(id.to_string(), id.as_uuid().to_string());
}

/// Both look-ups return the same id, keys and values, no owner, and a type mismatch for the wrong type.
#[tokio::test]
async fn created_session_is_found_by_id_and_by_token() {
    let sessions = sessions();
    let (id, token) = sessions.create(&preferences()).await.unwrap();
    assert_eq!(token.id(), id);
    for found in [sessions.find_by_id(&id).await.unwrap(), sessions.find_by_token(&token).await.unwrap()] {
        let found = found.unwrap();
        assert_eq!(found.id(), id);
        assert_eq!(found.owner(), None);
        assert_eq!(found.keys(), ["theme", "visits", "tags"]);
        assert_eq!(found.get::<u32>("visits").unwrap(), Some(1));
        assert_eq!(found.get::<u32>("missing").unwrap(), None);
        assert_eq!(found.get::<u32>("theme").unwrap_err().kind(), ErrorKind::TypeMismatch);
        assert_eq!(found.to::<Preferences>().unwrap(), preferences());
    }
}

/// A map with string keys, a JSON object and `()` are accepted; other values fail with `Serialize`.
#[tokio::test]
async fn only_structs_maps_and_unit_are_session_data() {
    let sessions = sessions();
    let (id, _) = sessions.create(&BTreeMap::from([("a", 1), ("b", 2)])).await.unwrap();
    assert_eq!(sessions.find_by_id(&id).await.unwrap().unwrap().keys(), ["a", "b"]);
    let (id, _) = sessions.create(&()).await.unwrap();
    assert_eq!(sessions.find_by_id(&id).await.unwrap().unwrap().keys(), [""; 0]);
    let (id, _) = sessions.create(&json!({})).await.unwrap();
    assert!(sessions.find_by_id(&id).await.unwrap().is_some());

    assert_eq!(sessions.create(&7).await.unwrap_err().kind(), ErrorKind::Serialize);
    assert_eq!(sessions.create("text").await.unwrap_err().kind(), ErrorKind::Serialize);
    assert_eq!(sessions.create(&[1, 2]).await.unwrap_err().kind(), ErrorKind::Serialize);
    assert_eq!(sessions.create(&BTreeMap::from([(1, 2)])).await.unwrap_err().kind(), ErrorKind::Serialize);
}

/// A token with a session's id and another session's secret finds nothing; the real token does.
#[tokio::test]
async fn token_with_wrong_secret_finds_no_session() {
    let sessions = sessions();
    let (_, token) = sessions.create(&preferences()).await.unwrap();
    let (_, other) = sessions.create(&preferences()).await.unwrap();
    let (text, other) = (token.expose_secret(), other.expose_secret());
    // The characters from 24 on encode the secret only.
    let forged = format!("{}{}", &text[..24], &other[24..]);
    let forged = Token::parse(forged.as_bytes()).unwrap();
    assert_eq!(forged.id(), token.id());
    assert!(sessions.find_by_token(&forged).await.unwrap().is_none());
    assert!(sessions.find_by_token(&token).await.unwrap().is_some());
}

/// `Sessions::end` ends no session of another realm.
#[tokio::test]
async fn end_of_another_realms_session_does_nothing() {
    let store = MemoryStore::new();
    let (sessions, others) = (Sessions::new(store.clone()), Sessions::new(store).with_realm("admin").unwrap());
    let (id, _) = sessions.create(&preferences()).await.unwrap();
    assert!(!others.end(&id).await.unwrap());
    assert!(sessions.find_by_id(&id).await.unwrap().is_some());
    assert!(sessions.end(&id).await.unwrap());
}

/// An update keeps the other keys; it returns false for an ended and an unknown session and creates none.
#[tokio::test]
async fn update_merges_keys_and_returns_false_if_not_found() {
    let sessions = sessions();
    let (id, _) = sessions.create(&preferences()).await.unwrap();
    assert!(sessions.merge(&id, &json!({ "visits": 2, "new": [1, 2] })).await.unwrap());
    let found = sessions.find_by_id(&id).await.unwrap().unwrap();
    assert_eq!(found.to::<Preferences>().unwrap(), Preferences { visits: 2, ..preferences() });
    assert_eq!(found.get::<Vec<u8>>("new").unwrap(), Some(vec![1, 2]));

    assert!(sessions.end(&id).await.unwrap());
    assert!(!sessions.merge(&id, &json!({ "visits": 3 })).await.unwrap());
    assert!(sessions.find_by_id(&id).await.unwrap().is_none());
    let unknown: SessionId = "0199f3a0-0000-7000-8000-000000000000".parse().unwrap();
    assert!(!sessions.merge(&unknown, &json!({ "visits": 3 })).await.unwrap());
    assert!(sessions.find_by_id(&unknown).await.unwrap().is_none());
}

/// An update over the size limit or of an unsupported type fails and leaves every key as it was.
#[tokio::test]
async fn refused_update_changes_no_key() {
    let layer = SessionLayer::builder(MemoryStore::new()).with_size_limit(200).build().unwrap();
    let sessions = layer.sessions();
    let (id, _) = sessions.create(&preferences()).await.unwrap();
    let error = sessions.merge(&id, &json!({ "visits": 9, "big": "x".repeat(300) })).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(sessions.merge(&id, &[1]).await.unwrap_err().kind(), ErrorKind::Serialize);
    assert_eq!(sessions.find_by_id(&id).await.unwrap().unwrap().to::<Preferences>().unwrap(), preferences());
    let error = sessions.create(&json!({ "big": "x".repeat(300) })).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
}

/// `Sessions::merge` changes a key during a request; the request's closure counts on from the new value.
#[tokio::test]
async fn update_outside_a_request_merges_with_its_commit() {
    let layer = SessionLayer::new(MemoryStore::new());
    let sessions = layer.sessions();
    let (id, token) = sessions.create(&json!({ "n": 1 })).await.unwrap();
    let mut visitor = visitor_with(&layer, &token);
    let outside = sessions.clone();
    let reply = visitor.visit(async move |session: Session| {
        session.update("n", |n: &mut u32| *n += 1)?;
        session.insert("inside", &1)?;
        assert!(outside.merge(&id, &json!({ "n": 10, "outside": 1 })).await?);
        Ok::<_, Error>(())
    });
    assert_eq!(reply.await.status, StatusCode::OK);
    let found = sessions.find_by_id(&id).await.unwrap().unwrap();
    assert_eq!(
        found.to::<BTreeMap<String, u32>>().unwrap(),
        BTreeMap::from([("inside".to_owned(), 1), ("n".to_owned(), 11), ("outside".to_owned(), 1),])
    );
}

/// A request with the token of `create_owned_by` loads the session with its id, owner and values.
#[tokio::test]
async fn token_created_outside_a_request_opens_its_session() {
    let layer = SessionLayer::new(MemoryStore::new());
    let (id, token) = layer.sessions().create_owned_by("ada", &preferences()).await.unwrap();
    let mut visitor = visitor_with(&layer, &token);
    let reply = visitor.visit(async move |session: Session| {
        assert_eq!(session.id(), Some(id));
        assert_eq!(session.owner().as_deref(), Some("ada"));
        assert!(session.authenticated_at().is_some());
        session.get::<String>("theme").map(Option::unwrap_or_default)
    });
    assert_eq!(reply.await.text(), "dark");
}

/// After `end`, a second `end` returns false, the token opens nothing, and one `Ended` event was reported.
#[tokio::test]
async fn end_by_id_ends_the_session_at_once() {
    let events = EventLog::default();
    let layer = SessionLayer::builder(MemoryStore::new()).with_event_hook(events.hook()).build().unwrap();
    let sessions = layer.sessions();
    let (id, token) = sessions.create(&preferences()).await.unwrap();
    assert!(sessions.end(&id).await.unwrap());
    assert!(!sessions.end(&id).await.unwrap());
    assert!(sessions.find_by_token(&token).await.unwrap().is_none());
    let mut visitor = visitor_with(&layer, &token);
    let reply = visitor.visit(async |session: Option<Session>| session.is_some().to_string()).await;
    assert_eq!(reply.text(), "false");
    assert_eq!(events.count(EventKind::Ended), 1);
}

// checklist: 27
/// `end_others_of` keeps one of four sessions, `end_all_of` ends it too; other owners keep their sessions.
#[tokio::test]
async fn owner_sessions_are_listed_oldest_first_and_ended_in_bulk() {
    let layer = SessionLayer::new(MemoryStore::new());
    let sessions = layer.sessions();
    let mut visitors = Vec::new();
    for _ in 0..4 {
        let mut visitor = Visitor::new(&layer);
        visitor.visit(async |session: Session| session.sign_in("ada")).await;
        visitors.push(visitor);
    }
    let mut bob = Visitor::new(&layer);
    bob.visit(async |session: Session| session.sign_in("bob")).await;
    Visitor::new(&layer).visit(async |session: Session| session.insert("n", &1)).await;

    let listed: Vec<SessionId> = sessions.owned_by("ada").await.unwrap().iter().map(|found| found.id()).collect();
    assert_eq!(listed.len(), 4);
    assert!(listed.is_sorted());
    for found in sessions.owned_by("ada").await.unwrap() {
        assert_eq!(found.owner(), Some("ada"));
        assert!(found.authenticated_at().is_some());
    }
    assert!(sessions.owned_by("unknown").await.unwrap().is_empty());
    assert!(sessions.owned_by("").await.unwrap().is_empty());

    let owner = async |session: Session| session.owner().unwrap_or_default().to_string();
    let kept = support::client::session_of(&visitors[2].token().unwrap());
    assert_eq!(sessions.end_others_of("ada", &kept).await.unwrap().len(), 3);
    for (n, visitor) in visitors.iter_mut().enumerate() {
        assert_eq!(visitor.visit(owner).await.text(), if n == 2 { "ada" } else { "" });
    }
    assert_eq!(sessions.end_all_of("ada").await.unwrap().len(), 1);
    assert_eq!(visitors[2].visit(owner).await.text(), "");
    assert_eq!(sessions.end_all_of("ada").await.unwrap().len(), 0);
    assert_eq!(bob.visit(owner).await.text(), "bob");
}

/// A sign-in of another owner and a sign-out both remove the session from the previous owner's list.
#[tokio::test]
async fn sign_out_removes_the_session_from_its_owners_list() {
    let layer = SessionLayer::new(MemoryStore::new());
    let mut visitor = Visitor::new(&layer);
    visitor.visit(async |session: Session| session.sign_in("ada")).await;
    assert_eq!(layer.sessions().owned_by("ada").await.unwrap().len(), 1);
    visitor.visit(async |session: Session| session.sign_in("bob")).await;
    assert!(layer.sessions().owned_by("ada").await.unwrap().is_empty());
    assert_eq!(layer.sessions().owned_by("bob").await.unwrap().len(), 1);
    visitor.visit(async |session: Session| session.sign_out()).await;
    assert!(layer.sessions().owned_by("bob").await.unwrap().is_empty());
}

/// The JSON has id, owner, times and values; neither JSON nor `Debug` shows the secret, and `Debug` no values.
#[tokio::test]
async fn stored_session_serializes_to_json_without_its_token() {
    let clock = ManualClock::new();
    let layer = SessionLayer::builder(MemoryStore::new().with_clock(&clock)).with_clock(&clock).build().unwrap();
    let sessions = layer.sessions();
    let data = json!({ "theme": "dark", "n": -5, "pi": 3.5, "none": null, "list": [1, "two", { "three": true }] });
    let (id, token) = sessions.create_owned_by("ada", &data).await.unwrap();
    let found = sessions.find_by_id(&id).await.unwrap().unwrap();
    let text = serde_json::to_string_pretty(&found).unwrap();
    let printed: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(printed["id"], id.to_string());
    assert_eq!(printed["owner"], "ada");
    assert_eq!(printed["values"], data);
    for time in ["created_at", "last_seen", "expires_at", "authenticated_at"] {
        let at = printed[time].as_str().unwrap();
        assert!(at.ends_with('Z') && at.contains('T'), "{time}: {at}");
    }
    assert_eq!(found.expires_at() - found.last_seen(), time::Duration::HOUR);
    let secret = &token.expose_secret()[22..];
    for shown in [text, format!("{found:?}"), format!("{token:?}"), format!("{sessions:?}")] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(!format!("{found:?}").contains("dark"));

    let (id, _) = sessions.create(&()).await.unwrap();
    let printed = serde_json::to_value(sessions.find_by_id(&id).await.unwrap().unwrap()).unwrap();
    assert_eq!((&printed["owner"], &printed["authenticated_at"]), (&json!(null), &json!(null)));
    assert_eq!(printed["values"], json!({}));
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Plan {
    Free,
    Paid { cents: u128, note: Option<String> },
    Seats(u8, i128),
}

/// Values whose encoding depends on the type that reads them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Everything {
    plans: Vec<Plan>,
    plan: Plan,
    unit: Plan,
    outcome: Result<u8, String>,
    address: std::net::IpAddr,
    device: uuid::Uuid,
    large: (u128, i128),
    bytes: Vec<u8>,
    deep: serde_json::Value,
    none: Option<u8>,
}

fn everything() -> Everything {
    Everything {
        plans: vec![Plan::Free, Plan::Seats(1, i128::MIN)],
        plan: Plan::Paid { cents: u128::MAX, note: Some("monthly".to_owned()) },
        unit: Plan::Free,
        outcome: Err("declined".to_owned()),
        address: "2001:db8::1".parse().unwrap(),
        device: uuid::Uuid::from_u128(7),
        large: (u128::MAX, i128::MIN),
        bytes: vec![0, 200],
        deep: (0..126).fold(json!("core"), |inner, _| json!([inner])),
        none: None,
    }
}

/// A whole session is read as each of its values is: enums, results, addresses, 128-bit integers and 126 levels.
#[tokio::test]
async fn whole_session_reads_as_its_values_do() {
    let layer = SessionLayer::new(MemoryStore::new());
    let sessions = layer.sessions();
    let (id, token) = sessions.create(&everything()).await.unwrap();
    let found = sessions.find_by_id(&id).await.unwrap().unwrap();
    assert_eq!(found.get("plan").unwrap(), Some(everything().plan));
    assert_eq!(found.get("address").unwrap(), Some(everything().address));
    assert_eq!(found.get("deep").unwrap(), Some(everything().deep));
    assert_eq!(found.to::<Everything>().unwrap(), everything());
    assert_eq!(found.to::<Option<Everything>>().unwrap(), Some(everything()));

    // The same values, inserted one by one.
    let reply = visitor_with(&layer, &token)
        .visit(async |session: Session| {
            let Everything { plans, plan, unit, outcome, address, device, large, bytes, deep, none } = everything();
            session.clear()?;
            session.insert("plans", &plans)?;
            session.insert("plan", &plan)?;
            session.insert("unit", &unit)?;
            session.insert("outcome", &outcome)?;
            session.insert("address", &address)?;
            session.insert("device", &device)?;
            session.insert("large", &large)?;
            session.insert("bytes", &bytes)?;
            session.insert("deep", &deep)?;
            session.insert("none", &none)
        })
        .await;
    assert_eq!(reply.status, StatusCode::OK);
    let found = sessions.find_by_id(&id).await.unwrap().unwrap();
    assert_eq!(found.to::<Everything>().unwrap(), everything());
    let printed = serde_json::to_value(&found).unwrap();
    assert_eq!(printed["values"]["deep"], everything().deep);
}

/// A session is read as a tagged or an untagged enum, as a newtype, or in part; the error names the key.
#[tokio::test]
async fn whole_session_reads_as_many_types() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged {
        Guest { visits: u32 },
    }
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Guest { visits: u32 },
    }
    #[derive(Debug, PartialEq, Deserialize)]
    struct Wrapper(BTreeMap<String, serde_json::Value>);
    #[derive(Debug, PartialEq, Deserialize)]
    struct Split {
        visits: u32,
        #[serde(flatten)]
        rest: BTreeMap<String, String>,
    }

    let sessions = sessions();
    let (id, _) = sessions.create(&Tagged::Guest { visits: 3 }).await.unwrap();
    let found = sessions.find_by_id(&id).await.unwrap().unwrap();
    assert_eq!(found.to::<Tagged>().unwrap(), Tagged::Guest { visits: 3 });
    assert_eq!(found.to::<Untagged>().unwrap(), Untagged::Guest { visits: 3 });
    assert_eq!(found.to::<Wrapper>().unwrap().0["visits"], 3);
    let rest = BTreeMap::from([("kind".to_owned(), "Guest".to_owned())]);
    assert_eq!(found.to::<Split>().unwrap(), Split { visits: 3, rest });
    let (id, _) = sessions.create(&Plan::Paid { cents: 1, note: None }).await.unwrap();
    let found = sessions.find_by_id(&id).await.unwrap().unwrap();
    assert_eq!(found.to::<Plan>().unwrap(), Plan::Paid { cents: 1, note: None });
    let error = found.to::<BTreeMap<String, u32>>().unwrap_err();
    assert!(error.to_string().contains("\"Paid\"") && error.to_string().contains("a map"), "{error}");
}

/// `open_for_write` gives a session that updates, commits and signs out; only `rotate` fails, with `Detached`.
#[tokio::test]
async fn session_opened_for_write_works_as_in_a_handler() {
    let sessions = sessions();
    let (id, token) = sessions.create(&json!({ "n": 1 })).await.unwrap();
    let session = sessions.open_for_write(&id).await.unwrap().unwrap();
    let n = session.update_now("n", |n: &mut u32| {
        *n += 1;
        *n
    });
    assert_eq!(n.await.unwrap(), 2);
    assert_eq!(session.rotate().unwrap_err().kind(), ErrorKind::Detached);
    session.sign_out().unwrap();
    session.commit().await.unwrap();
    assert!(sessions.find_by_token(&token).await.unwrap().is_none());
    assert!(sessions.open_for_write(&id).await.unwrap().is_none());
}

/// A session created with a one-minute idle timeout expires after a minute; one with the default does not.
#[tokio::test]
async fn sessions_with_lifetime_sets_the_idle_timeout() {
    let clock = ManualClock::new();
    let layer = SessionLayer::builder(MemoryStore::new().with_clock(&clock)).with_clock(&clock).build().unwrap();
    let minute = Duration::from_secs(60);
    let short = layer.sessions().with_lifetime(Lifetime::new().with_idle_timeout(minute)).unwrap();
    let (short_id, _) = short.create(&preferences()).await.unwrap();
    let (long_id, _) = layer.sessions().create(&preferences()).await.unwrap();
    clock.advance(minute);
    assert!(layer.sessions().find_by_id(&short_id).await.unwrap().is_none());
    assert!(layer.sessions().find_by_id(&long_id).await.unwrap().is_some());
    assert!(layer.sessions().with_lifetime(Lifetime::new().with_idle_timeout(Duration::ZERO)).is_err());
}

/// Fifty expired sessions are not listed, found or updated, and `delete_expired` empties the store.
#[tokio::test]
async fn expired_sessions_are_not_found_and_can_be_deleted() {
    let clock = ManualClock::new();
    let store = MemoryStore::new().with_clock(&clock);
    let layer = SessionLayer::builder(store.clone()).with_clock(&clock).build().unwrap();
    let sessions = layer.sessions();
    let mut ids = Vec::new();
    for _ in 0..50 {
        ids.push(sessions.create_owned_by("ada", &preferences()).await.unwrap());
    }
    clock.advance(Duration::from_secs(60 * 60));
    assert!(sessions.owned_by("ada").await.unwrap().is_empty());
    for (id, token) in &ids {
        assert!(sessions.find_by_id(id).await.unwrap().is_none());
        assert!(sessions.find_by_token(token).await.unwrap().is_none());
        assert!(!sessions.merge(id, &preferences()).await.unwrap());
    }
    // The records stay for the commits of requests under way.
    clock.advance(Duration::from_secs(5 * 60));
    sessions.delete_expired().await.unwrap();
    assert!(store.is_empty());
    assert_eq!(sessions.delete_expired().await.unwrap(), 0);
}

/// With get, set and delete failing, each call returns `Unavailable` with the store's error as its source.
#[tokio::test]
async fn store_failures_are_unavailable_errors_with_a_source() {
    let store = FaultyStore::new(MemoryStore::new());
    let sessions = Sessions::new(store.clone());
    let (id, token) = sessions.create(&preferences()).await.unwrap();
    for op in [Op::Get, Op::Set, Op::Delete] {
        store.fail_always(op, Fault::Before);
    }
    let errors = [
        sessions.find_by_id(&id).await.unwrap_err(),
        sessions.find_by_token(&token).await.unwrap_err(),
        sessions.merge(&id, &preferences()).await.unwrap_err(),
        sessions.end(&id).await.unwrap_err(),
        sessions.create(&preferences()).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(std::error::Error::source(&error).is_some());
    }
    store.heal();
    assert!(sessions.find_by_token(&token).await.unwrap().is_some());
}

// checklist: 2
/// Among 10,000 new sessions no id, token or secret repeats, and each bit of the secrets is set about half the time.
#[tokio::test]
async fn ids_tokens_and_secrets_are_unique_and_unbiased() {
    let sessions = sessions();
    let (mut ids, mut tokens, mut secrets) = (HashSet::new(), HashSet::new(), HashSet::new());
    let mut bits = [[0u32; 2]; 128];
    for _ in 0..10_000 {
        let (id, token) = sessions.create(&()).await.unwrap();
        let text = token.expose_secret();
        assert_eq!(text.len(), Token::LENGTH);
        // The last 21 characters are 124 of the secret's 128 bits, and two that are always zero.
        let secret = text[22..].to_owned();
        for (place, character) in secret.bytes().enumerate() {
            let digit = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".iter();
            let digit = digit.enumerate().find(|(_, known)| **known == character).unwrap().0;
            for bit in 0..6 {
                bits[place * 6 + bit][digit >> (5 - bit) & 1] += 1;
            }
        }
        assert!(ids.insert(id) && tokens.insert(text) && secrets.insert(secret));
    }
    // The bounds are ten standard deviations from the mean of 5,000.
    for (place, [zeros, ones]) in bits[..124].iter().enumerate() {
        assert!(*zeros > 4_500 && *ones > 4_500, "bit {place} is set {ones} times");
    }
}

// checklist: 36
/// After a sign-in and a rotation, the encoded record has the id, but neither the token nor its secret.
#[tokio::test]
async fn stored_record_does_not_contain_the_token_or_its_secret() {
    let store = MemoryStore::new();
    let layer = SessionLayer::new(store.clone());
    let mut visitor = Visitor::new(&layer);
    visitor.visit(async |session: Session| session.sign_in("ada")).await;
    visitor.visit(async |session: Session| session.rotate()).await;
    let token = visitor.token().unwrap();
    let id = support::client::session_of(&token);
    let record = store.get(&id).await.unwrap().unwrap();
    let dump = record.encode();
    let dumped = |needle: &[u8]| dump.windows(needle.len()).any(|part| part == needle);
    assert!(dumped(id.as_uuid().as_bytes()), "the record contains the session id");
    assert!(!dumped(token.as_bytes()) && !dumped(&token.as_bytes()[22..]));
    // The secret's bytes start inside the 22nd character, so they are compared decoded as well.
    let secret = decode(&token)[16..].to_vec();
    assert_eq!(secret.len(), 16);
    assert!(!dumped(&secret) && !dumped(&secret[..8]));
    assert!(!format!("{record:?}").contains(&token[22..]));
}

fn decode(token: &str) -> Vec<u8> {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (mut bits, mut count, mut bytes) = (0usize, 0, Vec::new());
    for character in token.bytes() {
        bits = bits << 6 | digits.iter().position(|digit| *digit == character).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).unwrap());
        }
    }
    bytes
}
