//! Values in a stored record that no honest hand has written: nested without end, broken, or longer than they say.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::collections::BTreeMap;

use http::StatusCode;
use sessile::event::EventKind;
use sessile::store::{Expected, Outcome, Record, Store, Version};
use sessile::{Error, ErrorKind, MemoryStore, Session, SessionLayer};
use support::client::{EventLog, Visitor, session_of};

fn visitor() -> Visitor {
    Visitor::new(&SessionLayer::new(MemoryStore::new()))
}

/// Changes the stored record of a session, as a store with a broken or hostile hand in it would.
async fn change(store: &MemoryStore, token: &str, change: impl FnOnce(&[u8]) -> Vec<u8>) {
    let mut parts = store.get(&session_of(token)).await.unwrap().unwrap().into_parts();
    parts.state = change(&parts.state).into();
    let expected = Expected::Version(parts.version);
    parts.version = Version::new(parts.version.get() + 1);
    assert_eq!(store.set(&Record::from_parts(parts), expected).await.unwrap(), Outcome::Written);
}

/// Puts a frame into it.
async fn plant(store: &MemoryStore, token: &str, key: &str, value: &[u8]) {
    let number = |mut number: usize| {
        let mut bytes = Vec::new();
        while number >= 0x80 {
            bytes.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
            number >>= 7;
        }
        bytes.push(u8::try_from(number).unwrap());
        bytes
    };
    let frame = [number(key.len()), key.as_bytes().to_vec(), number(value.len()), value.to_vec()].concat();
    change(store, token, |state| [state, &frame].concat()).await;
}

// Checklist 37
// guarantee: 11
// checklist: 37
#[tokio::test]
async fn a_value_nested_100_000_deep_is_an_error_and_not_a_crash() {
    let store = MemoryStore::new();
    let layer = SessionLayer::new(store.clone());
    let mut visitor = Visitor::with_session(&layer).await;
    let token = visitor.token().unwrap();
    for (key, link) in [("arrays", &b"\x91"[..]), ("maps", b"\x81\xa1k"), ("keys", b"\x81"), ("cut", b"\x91")] {
        let mut bomb = link.repeat(100_000);
        bomb.extend_from_slice(if key == "cut" { b"" } else { b"\xc0" });
        plant(&store, &token, key, &bomb).await;
    }
    let reply = visitor.visit(async |session: Session| {
        for key in ["arrays", "maps", "keys", "cut"] {
            assert_eq!(session.get::<serde_json::Value>(key).unwrap_err().kind(), ErrorKind::TypeMismatch, "{key}");
            assert_eq!(session.get::<serde::de::IgnoredAny>(key).unwrap_err().kind(), ErrorKind::TypeMismatch, "{key}");
            assert_eq!(session.get::<u8>(key).unwrap_err().kind(), ErrorKind::TypeMismatch, "{key}");
            let error = session.update(key, |value: &mut serde_json::Value| *value = 1.into()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TypeMismatch, "{key}");
        }
        // The rest of the session is as good as ever.
        assert_eq!(session.get::<u8>("n")?, Some(1));
        session.insert("after", &2)
    });
    assert_eq!(reply.await.status, StatusCode::OK);

    let stored = layer.sessions().find_by_id(&session_of(&token)).await.unwrap().unwrap();
    assert_eq!(stored.get::<serde_json::Value>("arrays").unwrap_err().kind(), ErrorKind::TypeMismatch);
    // Printing it must not crash either, whatever it prints.
    let _ = serde_json::to_string(&stored);
    assert_eq!(stored.to::<BTreeMap<String, serde_json::Value>>().unwrap_err().kind(), ErrorKind::TypeMismatch);
}

#[tokio::test]
async fn what_is_taken_in_can_be_read_again_however_deep_it_is() {
    fn nest(levels: usize) -> serde_json::Value {
        (0..levels).fold(serde_json::Value::Null, |inner, _| serde_json::Value::Array(vec![inner]))
    }

    let mut visitor = visitor();
    let reply = visitor.visit(async |session: Session| {
        // As deep as what `serde_json` takes from a client.
        for levels in [1, 50, 127] {
            session.insert("shallow", &nest(levels))?;
            assert_eq!(session.get("shallow")?, Some(nest(levels)), "{levels}");
        }
        for levels in [128, 129, 200, 300, 500] {
            let deep = nest(levels);
            match session.insert("deep", &deep) {
                Ok(()) => assert_eq!(session.get("deep")?, Some(deep), "{levels}"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Serialize, "{levels}"),
            }
        }
        Ok::<_, Error>(())
    });
    assert_eq!(reply.await.status, StatusCode::OK);
}

#[tokio::test]
async fn bytes_that_are_no_value_are_an_error_and_leave_the_rest() {
    let store = MemoryStore::new();
    let mut visitor = Visitor::new(&SessionLayer::new(store.clone()));
    visitor.visit(async |session: Session| session.insert("n", &1)).await;
    let token = visitor.token().unwrap();
    for (n, value) in [&b""[..], b"\xc1", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xdd\x7f\xff\xff\xff"]
        .iter()
        .enumerate()
    {
        plant(&store, &token, &format!("broken {n}"), value).await;
    }
    let reply = visitor.visit(async |session: Session| {
        for n in 0..5 {
            let key = format!("broken {n}");
            assert!(session.contains(&key));
            assert_eq!(session.get::<Vec<u64>>(&key).unwrap_err().kind(), ErrorKind::TypeMismatch);
            assert_eq!(session.get::<BTreeMap<String, u8>>(&key).unwrap_err().kind(), ErrorKind::TypeMismatch);
            assert_eq!(session.get::<String>(&key).unwrap_err().kind(), ErrorKind::TypeMismatch);
        }
        session.update("n", |n: &mut u8| *n += 1)
    });
    assert_eq!(reply.await.status, StatusCode::OK);
    let reply = visitor.visit(async |session: Session| session.get::<u8>("n").map(|n| format!("{n:?}")));
    assert_eq!(reply.await.text(), "Some(2)");
}

#[tokio::test]
async fn frames_that_a_store_broke_after_this_process_wrote_them_are_refused() {
    let (store, events) = (MemoryStore::new(), EventLog::default());
    let layer = SessionLayer::builder(store.clone()).with_event_hook(events.hook()).build().unwrap();
    // The frame of the text: a length and a key, a length and a value.
    let frame = b"\x01n\x05\xa4text".len();
    for cut in 0..=frame {
        let mut visitor = Visitor::new(&layer);
        visitor.visit(async |session: Session| session.insert("n", "text")).await.set_cookie();
        change(&store, &visitor.token().unwrap(), |state| state[..state.len() - cut].to_vec()).await;
        events.take();
        let reply =
            visitor.visit(async |session: Session| format!("{:?} {:?}", session.is_new(), session.keys())).await;
        let (text, told) = match cut {
            0 => (r#"false ["n"]"#, vec![]),
            whole if whole == frame => ("false []", vec![]),
            _ => ("true []", vec![EventKind::Corrupt]),
        };
        assert_eq!((reply.status, reply.text()), (StatusCode::OK, text), "without the last {cut} bytes");
        assert_eq!(events.kinds(), told, "without the last {cut} bytes");
    }
}
