//! Session secrets never appear in the store, the log, `Debug` output or errors.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::capture::Capture;
use crate::support;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use sessile::store::{Expected, Outcome, Record, Store, StoreError, Touch};
use sessile::{Error, Lifetime, Session, SessionId, SessionLayer, Token};
use support::race::{MINUTE, NO_TOKEN, World, both};
use support::store::{Fault, Op};
use tracing::Level;

/// A store that dumps each record written to it.
struct Recording<S> {
    inner: S,
    dump: Capture,
}

impl<S: Store> Store for Recording<S> {
    async fn get(&self, id: &SessionId) -> Result<Option<Record>, StoreError> {
        self.inner.get(id).await
    }

    async fn set(&self, record: &Record, expected: Expected) -> Result<Outcome, StoreError> {
        self.dump.add(&record.encode());
        self.dump.add(record.state());
        self.dump.add_debug(record);
        self.dump.add_debug(&record.clone().into_parts());
        self.inner.set(record, expected).await
    }

    async fn touch(&self, record: &Record, touch: Touch) -> Result<bool, StoreError> {
        self.inner.touch(record, touch).await
    }

    async fn delete(&self, id: &SessionId, owner: Option<&str>) -> Result<bool, StoreError> {
        self.inner.delete(id, owner).await
    }

    async fn owned_by(&self, owner: &str) -> Result<Vec<Record>, StoreError> {
        self.inner.owned_by(owner).await
    }

    async fn delete_owned_by(
        &self,
        owner: &str,
        realm: Option<&str>,
        keep: Option<&SessionId>,
    ) -> Result<Vec<SessionId>, StoreError> {
        self.inner.delete_owned_by(owner, realm, keep).await
    }
}

fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Returns the token and its 16 secret bytes in every encoding that output might use.
fn forms(token: &str) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = URL_SAFE_NO_PAD.decode(token).unwrap();
    let secret = &bytes[16..];
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let listed = format!("{secret:?}");
    vec![
        ("token", token.as_bytes().to_vec()),
        // The characters from 22 on encode the secret, except for two bits.
        ("token's end", token.as_bytes()[22..].to_vec()),
        ("secret", secret.to_vec()),
        ("secret, in base64url", base64(secret).into_bytes()),
        ("secret, in hex", hex.clone().into_bytes()),
        ("secret, in capital hex", hex.to_uppercase().into_bytes()),
        ("secret, as a list", listed.trim_matches(['[', ']']).as_bytes().to_vec()),
    ]
}

async fn debug_and_commit(session: Session, dump: Capture) -> Result<(), Error> {
    dump.add_debug(&session);
    dump.add_debug(&session.clone().detach());
    session.insert("n", &1)?;
    dump.add_debug(&session);
    session.commit().await?;
    dump.add_debug(&session);
    Ok(())
}

// guarantee: 8
// checklist: 7
/// A flow through every operation is captured at TRACE; no token or secret is found in any encoding.
#[tokio::test]
async fn store_log_debug_and_errors_contain_no_secret() {
    let (dump, _guard) = Capture::log(Level::TRACE);

    let base = World::new();
    let store = Recording { inner: base.store.clone(), dump: dump.clone() };
    let lifetime = Lifetime::new().with_refresh_interval(MINUTE);
    let events = dump.clone();
    let builder = SessionLayer::builder(store)
        .with_clock(&base.clock)
        .with_lifetime(lifetime)
        .with_event_hook(move |event| events.add_debug(event));
    dump.add_debug(&builder);
    let layer = builder.build().unwrap();
    dump.add_debug(&layer);
    dump.add_debug(&layer.sessions());
    let world = base.with_layer(layer);

    let mut tokens = Vec::new();
    let first = world.begin().await;
    tokens.push(first.clone());
    for text in [&first, &Token::parse(first.as_bytes()).unwrap().expose_secret()] {
        dump.add_debug(&Token::parse(text.as_bytes()).unwrap());
    }

    // A refresh, the promotion of the pending token, and a replay.
    world.advance(MINUTE);
    let handler_dump = dump.clone();
    let second = world.send(&first, |session| debug_and_commit(session, handler_dump)).await.token();
    tokens.push(second.clone());
    world.insert(&second, "n", 2).await.assert_ok();
    world.advance(Duration::from_secs(31));
    assert!(!world.is_live(&first).await);

    // A sign-in, a request under the retired token, and failing store calls.
    let third = world.send(&second, |session| async move { session.sign_in("ada") }).await.token();
    tokens.push(third.clone());
    let handler_dump = dump.clone();
    world
        .send(&second, move |session| async move {
            handler_dump.add_debug(&session);
            handler_dump.add_error(&session.insert("n", &1).unwrap_err());
            handler_dump.add_error(&session.rotate().unwrap_err());
            Ok(())
        })
        .await
        .assert_ok();
    base.faults.fail_always(Op::Set, Fault::Before);
    let handler_dump = dump.clone();
    world
        .send(&third, move |session| async move {
            handler_dump.add_error(&session.update_now("n", |n: &mut u32| *n += 1).await.unwrap_err());
            Ok(StatusCode::SERVICE_UNAVAILABLE)
        })
        .await;
    base.faults.heal();
    base.faults.fail(Op::Get, 1, Fault::Before);
    let handler_dump = dump.clone();
    world
        .send_unloaded(&third, move |handle| async move {
            handler_dump.add_debug(&handle);
            handler_dump.add_error(&handle.load().await.unwrap_err());
            handle.load().await?;
            handler_dump.add_debug(&handle);
            Ok(())
        })
        .await
        .assert_ok();

    // A stored session as an administrator reads it, and one created outside a request.
    let stored = world.sessions().find_by_id(&support::client::session_of(&third)).await.unwrap().unwrap();
    dump.add_debug(&stored);
    dump.add(serde_json::to_string_pretty(&stored).unwrap().as_bytes());
    let (_, token) =
        world.sessions().create(&[("n", 1)].into_iter().collect::<std::collections::HashMap<_, _>>()).await.unwrap();
    dump.add_debug(&token);
    tokens.push(token.expose_secret());

    // A rotation, a sign-in of another owner, two live sessions in one request, and a sign-out.
    let fourth = world.send(&third, |session| async move { session.rotate() }).await.token();
    tokens.push(fourth.clone());
    let fifth = world.send(&fourth, |session| async move { session.sign_in("bob") }).await.token();
    tokens.push(fifth.clone());
    tokens.extend(world.send(NO_TOKEN, |session| async move { session.sign_in("eve") }).await.new_token());
    let sixth = world.insert(&both(&fifth, &token.expose_secret()), "n", 1).await.token();
    tokens.push(sixth.clone());
    assert!(world.send(&sixth, |session| async move { session.sign_out() }).await.is_removal());

    // The search works: it finds the session id in the log and in the records.
    assert!(dump.contains(support::client::session_of(&first).to_string().as_bytes()));
    assert!(dump.contains(support::client::session_of(&first).as_uuid().as_bytes()));
    assert!(dump.contains(b"session event: Replayed"), "the log was not captured");
    assert!(dump.contains(b"session event: StoreFailed"), "the log was not captured");
    for token in tokens {
        for (form, bytes) in forms(&token) {
            assert!(!dump.contains(&bytes), "the {form} of {token} was captured");
        }
    }
}

// guarantee: 8
// checklist: 36
/// Tokens forged from the id and each 16 bytes of the record open nothing.
#[tokio::test]
async fn bytes_of_a_stored_record_open_no_session() {
    let world = World::new();
    let token = world.begin_signed_in("ada").await;
    let id = support::client::session_of(&token);
    let record = world.memory.get(&id).await.unwrap().unwrap();
    // An attacker with read access to the store knows the id, and can try the record's bytes as the secret.
    for secret in record.state().windows(16) {
        let mut bytes = id.as_uuid().as_bytes().to_vec();
        bytes.extend_from_slice(secret);
        let forged = base64(&bytes);
        assert!(!world.is_live(&forged).await);
    }
    assert!(world.is_live(&token).await);
}
