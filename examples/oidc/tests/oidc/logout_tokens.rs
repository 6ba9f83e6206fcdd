//! Logout tokens that end sessions, and those that are refused.

use std::time::Duration;

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use sessile::store::{Expected, Outcome, Record, RecordParts, Store};
use sessile::{ErrorKind, MemoryStore, Sessions};

use crate::browser::Browser;
use crate::issuer::{EVENT, Issuer, now, sign_by, signed_part, with};
use crate::node::Node;
use crate::site::{SIGNED_IN, SIGNED_OUT, Site};

const OK: StatusCode = StatusCode::OK;
const REFUSED: StatusCode = StatusCode::BAD_REQUEST;
/// The keys were fetched less than a second ago.
const NOT_CHECKED: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
const NOT_SIGNED_IN: StatusCode = StatusCode::UNAUTHORIZED;

async fn start() -> (Issuer, Node) {
    let issuer = Issuer::start().await;
    let node = Node::start(&issuer.url, MemoryStore::new()).await;
    (issuer, node)
}

/// A logout by `sid`, with or without `sub`, ends each session of that `sid` and no other.
#[tokio::test]
async fn a_logout_by_sid_ends_its_sessions() {
    let issuer = Issuer::start().await;
    a_logout_by_sid_ends_its_sessions_on(&issuer, &Site::in_memory(&issuer.url).await).await;
}

pub async fn a_logout_by_sid_ends_its_sessions_on<S: Store + Clone>(issuer: &Issuer, site: &Site<S>) {
    let sign_in = async |claims| issuer.sign_in(&site.nodes[0], claims).await;
    for (sid, changes) in [("a", json!({ "sid": "a" })), ("b", json!({ "sid": "b", "sub": "ada" }))] {
        let mut first = sign_in(json!({ "sid": sid })).await;
        let mut second = sign_in(json!({ "sid": sid })).await;
        let mut other = sign_in(json!({ "sid": "other" })).await;
        let mut unnamed = sign_in(json!({ "sid": null, "iat": now() - 1000, "sub": "grace" })).await;
        let token = issuer.logout_token(&changes);
        assert_eq!(site.log_out(&token).await, OK);
        for ended in [&mut first, &mut second] {
            assert_eq!(site.account(ended).await, SIGNED_OUT, "{sid}");
        }
        for kept in [&mut other, &mut unnamed] {
            assert_eq!(site.account(kept).await, SIGNED_IN, "{sid}");
        }
        assert_eq!(site.nodes[0].log_out(&token).await, REFUSED, "a repetition on the other node");
    }
    let mut later = sign_in(json!({ "sid": "c" })).await;
    assert_eq!(site.account(&mut later).await, SIGNED_IN, "another session of the provider can sign in");
}

/// A logout by `sub` ends the user's sessions that began before it, whatever their `sid`.
#[tokio::test]
async fn a_logout_by_sub_ends_earlier_sessions() {
    let issuer = Issuer::start().await;
    a_logout_by_sub_ends_earlier_sessions_on(&issuer, &Site::in_memory(&issuer.url).await).await;
}

pub async fn a_logout_by_sub_ends_earlier_sessions_on<S: Store + Clone>(issuer: &Issuer, site: &Site<S>) {
    let signed_in = |sub: &str, sid: Option<&str>| json!({ "sub": sub, "sid": sid, "iat": now() - 100 });
    let sign_in = async |claims| issuer.sign_in(&site.nodes[0], claims).await;
    let mut named = sign_in(signed_in("alan", Some("n"))).await;
    let mut unnamed = sign_in(signed_in("alan", None)).await;
    let mut grace = sign_in(signed_in("grace", Some("g"))).await;
    let mut later = sign_in(json!({ "sub": "alan", "sid": "n" })).await;

    let before = json!({ "sub": "alan", "iat": now() - 80 });
    assert_eq!(site.log_out(&issuer.logout_token(&before)).await, OK);
    for ended in [&mut named, &mut unnamed] {
        assert_eq!(site.account(ended).await, SIGNED_OUT);
    }
    for kept in [&mut grace, &mut later, &mut sign_in(json!({ "sub": "alan" })).await] {
        assert_eq!(site.account(kept).await, SIGNED_IN);
    }
    // The code was issued before a logout, and is redeemed after it.
    let mut browser = Browser::new();
    let back = issuer.begin(&site.nodes[0], &mut browser, json!({ "sub": "edsger", "iat": now() + 100 })).await;
    assert_eq!(site.log_out(&issuer.logout_token(&json!({ "sub": "edsger" }))).await, OK);
    assert_eq!(browser.open(&back).await.0, StatusCode::FORBIDDEN);
    // An older logout that is late replaces no record of a newer one.
    assert_eq!(site.log_out(&issuer.logout_token(&json!({ "sub": "alan", "iat": now() + 10 }))).await, OK);
    assert_eq!(site.log_out(&issuer.logout_token(&before)).await, OK);
    let mut browser = Browser::new();
    let back = issuer.begin(&site.nodes[0], &mut browser, json!({ "sub": "alan" })).await;
    assert_eq!(browser.open(&back).await.0, StatusCode::FORBIDDEN);
}

/// A session that has lost the name of the provider's session ends with every logout of its user.
#[tokio::test]
async fn a_session_without_its_origin_ends() {
    let issuer = Issuer::start().await;
    let store = MemoryStore::new();
    let node = Node::start(&issuer.url, store.clone()).await;
    let mut browser = issuer.sign_in(&node, json!({ "sid": "a" })).await;
    let sessions = Sessions::new(store);
    let stored = sessions.owned_by("provider:ada").await.unwrap();
    let session = sessions.open_for_write(&stored[0].id()).await.unwrap().unwrap();
    session.clear().unwrap();
    session.commit().await.unwrap();
    assert_eq!(node.account(&mut browser).await, OK);
    assert_eq!(node.log_out(&issuer.logout_token(&json!({ "sid": "b", "sub": "ada" }))).await, OK);
    assert_eq!(node.account(&mut browser).await, NOT_SIGNED_IN);
}

/// A logout ends a session past its idle timeout, in which a request that began before could still commit.
#[tokio::test]
async fn a_logout_ends_idle_sessions() {
    let issuer = Issuer::start().await;
    let store = MemoryStore::new();
    let node = Node::start(&issuer.url, store.clone()).await;
    let sessions = Sessions::new(store.clone());
    for (sid, logout) in [("a", json!({ "sid": "a" })), ("b", json!({ "sub": "ada", "iat": now() + 30 }))] {
        let mut browser = issuer.sign_in(&node, json!({ "sid": sid })).await;
        let id = sessions.owned_by("provider:ada").await.unwrap()[0].id();
        let request = sessions.open_for_write(&id).await.unwrap().unwrap();
        let parts = store.get(&id).await.unwrap().unwrap().into_parts();
        let last_seen = parts.last_seen - Duration::from_secs(61 * 60);
        let expires_at = last_seen + Duration::from_secs(65 * 60);
        let idle = Record::from_parts(RecordParts { last_seen, expires_at, ..parts });
        assert!(store.delete(&id, None).await.unwrap());
        assert_eq!(store.set(&idle, Expected::Absent).await.unwrap(), Outcome::Written);
        assert_eq!(node.account(&mut browser.clone()).await, NOT_SIGNED_IN);

        let other = json!({ "sid": "other", "sub": "ada" });
        assert_eq!(node.log_out(&issuer.logout_token(&other)).await, OK);
        assert_eq!(sessions.ids_of("provider:ada").await.unwrap(), [id], "{sid}");
        assert_eq!(node.log_out(&issuer.logout_token(&logout)).await, OK);
        request.insert("upload", &1).unwrap();
        assert_eq!(request.commit().await.map_err(|error| error.kind()), Err(ErrorKind::Ended), "{sid}");
        assert_eq!(node.account(&mut browser).await, NOT_SIGNED_IN, "{sid}");
    }
}

/// A logout by a `sid` that two users were given ends the sessions of both.
#[tokio::test]
async fn a_sid_of_two_users_ends_the_sessions_of_both() {
    let issuer = Issuer::start().await;
    for logout in [json!({ "sid": "x" }), json!({ "sid": "x", "sub": "ada" })] {
        let store = MemoryStore::new();
        let node = Node::start(&issuer.url, store.clone()).await;
        let mut ada = issuer.sign_in(&node, json!({ "sub": "ada", "sid": "x" })).await;
        let mut grace = issuer.sign_in(&node, json!({ "sub": "grace", "sid": "x" })).await;
        let mut other = issuer.sign_in(&node, json!({ "sub": "grace", "sid": "y" })).await;
        for _ in 0..10 {
            ada = issuer.sign_in(&node, json!({ "sub": "ada", "sid": "x" })).await;
        }
        assert_eq!(node.log_out(&issuer.logout_token(&logout)).await, OK);
        assert_eq!([node.account(&mut ada).await, node.account(&mut grace).await], [NOT_SIGNED_IN; 2], "{logout}");
        assert_eq!(node.account(&mut other).await, OK, "{logout}");
        let links = Sessions::new(store).with_realm("oidc-links").unwrap().list(None, 100).await.unwrap();
        assert_eq!(links.sessions.len(), 3, "one for each sid and owner");
    }
}

/// A token that is forged, altered, repeated or of another purpose is answered 400 and ends nothing.
#[tokio::test]
async fn invalid_logout_tokens_are_refused() {
    let (issuer, node) = start().await;
    let mut browser = issuer.sign_in(&node, json!({ "sid": "a" })).await;
    let header = issuer.logout_header();
    let claims = || with(&issuer.logout_claims(), &json!({ "sid": "a" }));
    let by_header = |changes: Value| issuer.sign(&with(&header, &changes), &claims());
    let by_claims = |changes: Value| issuer.sign(&header, &with(&claims(), &changes));
    let null_nonce = || {
        let mut claims = claims();
        claims["nonce"] = Value::Null;
        claims
    };
    let valid = issuer.sign(&header, &claims());
    let [head, _, signature] = valid.split('.').collect::<Vec<_>>().try_into().unwrap();
    let [_, other_claims, _] =
        by_claims(json!({ "sid": "b" })).split('.').map(str::to_owned).collect::<Vec<_>>().try_into().unwrap();
    let unsigned = signed_part(&json!({ "alg": "none" }), &claims());

    let forged = [
        ("another key under the same id", sign_by(99, &header, &claims())),
        ("another key under an unknown id", sign_by(99, &with(&header, &json!({ "kid": "99" })), &claims())),
        ("another key without an id", sign_by(99, &with(&header, &json!({ "kid": null })), &claims())),
        ("other claims under the signature", format!("{head}.{other_claims}.{signature}")),
        ("another algorithm", by_header(json!({ "alg": "RS256" }))),
    ];
    for (case, token) in forged {
        let status = node.log_out(&token).await;
        assert!(status == REFUSED || status == NOT_CHECKED, "{case}: {status}");
    }
    let refused = [
        ("no algorithm", format!("{unsigned}.")),
        ("no algorithm, with a signature", format!("{unsigned}.{signature}")),
        ("the public key as a shared secret", issuer.sign_by_public_key(&claims())),
        ("the type of an access token", by_header(json!({ "typ": "at+jwt" }))),
        ("a critical header", by_header(json!({ "crit": ["exp"] }))),
        ("another issuer", by_claims(json!({ "iss": "http://127.0.0.1:1" }))),
        ("no issuer", by_claims(json!({ "iss": null }))),
        ("another audience", by_claims(json!({ "aud": "bank" }))),
        ("one more audience", by_claims(json!({ "aud": ["shop", "bank"] }))),
        ("no audience", by_claims(json!({ "aud": null }))),
        ("a nonce", by_claims(json!({ "nonce": "n" }))),
        ("a nonce that is null", issuer.sign(&header, &null_nonce())),
        ("no events", by_claims(json!({ "events": null }))),
        ("other events", by_claims(json!({ "events": { "urn:other": {} } }))),
        ("an event that is no object", by_claims(json!({ "events": { EVENT: true } }))),
        ("the past", by_claims(json!({ "iat": now() - 1000, "exp": now() - 500 }))),
        ("no expiry", by_claims(json!({ "exp": null }))),
        ("the future", by_claims(json!({ "iat": now() + 1000, "exp": now() + 2000 }))),
        ("no time", by_claims(json!({ "iat": null }))),
        ("no id", by_claims(json!({ "jti": null }))),
        ("neither sub nor sid", by_claims(json!({ "sid": null }))),
        ("a sid that is a number", by_claims(json!({ "sid": 1 }))),
        ("an ID token", issuer.sign(&header, &with(&claims(), &json!({ "events": null, "nonce": "n", "sub": "ada" })))),
        ("two parts", format!("{head}.{signature}")),
        ("five parts, as an encrypted token has", format!("{valid}.a.b")),
        ("no token", String::new()),
    ];
    for (case, token) in refused {
        assert_eq!(node.log_out(&token).await, REFUSED, "{case}");
    }
    assert_eq!(node.log_out_form(&[]).await, REFUSED, "no parameter");
    let twice = [("logout_token", valid.as_str()), ("logout_token", &valid)];
    assert_eq!(node.log_out_form(&twice).await, REFUSED, "the parameter twice");
    let url = format!("{}/logout/back-channel", node.url);
    let not_a_form = Client::new().post(&url).body(format!("logout_token={valid}")).send().await.unwrap();
    assert_eq!(not_a_form.status(), REFUSED, "a body that is not a form");
    assert_eq!(node.account(&mut browser).await, OK);

    assert_eq!(node.log_out_form(&[("other", "1"), ("logout_token", &valid)]).await, OK);
    assert_eq!(node.account(&mut browser).await, NOT_SIGNED_IN);
    assert_eq!(node.log_out(&valid).await, REFUSED, "a repetition");
}

/// A new key of the provider is fetched once it signs; forged key ids cause few requests.
#[tokio::test]
async fn new_keys_are_fetched_at_a_bounded_rate() {
    let (issuer, node) = start().await;
    let mut browser = issuer.sign_in(&node, json!({ "sid": "a" })).await;
    issuer.rotate_key();
    issuer.serve_keys(false);
    let token = issuer.logout_token(&json!({ "sid": "a" }));
    assert_eq!(node.log_out(&token).await, StatusCode::BAD_GATEWAY, "the provider may send it again");
    assert_eq!(node.account(&mut browser).await, OK);
    issuer.serve_keys(true);
    // They are asked for again, and not sooner.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(node.log_out(&token).await, OK);
    assert_eq!(node.account(&mut browser).await, NOT_SIGNED_IN);

    let started = std::time::Instant::now();
    let before = issuer.key_fetches();
    for n in 0..50 {
        let header = with(&issuer.logout_header(), &json!({ "kid": format!("forged-{n}") }));
        let status = node.log_out(&sign_by(99, &header, &issuer.logout_claims())).await;
        assert!(status == REFUSED || status == NOT_CHECKED, "{status}");
    }
    let fetches = issuer.key_fetches() - before;
    assert!(fetches as u64 <= started.elapsed().as_secs() + 1, "{fetches} fetches");
}

/// The front channel ends the session that it names, without a cookie, in a frame of the provider alone.
#[tokio::test]
async fn the_front_channel_ends_the_named_session() {
    let (issuer, node) = start().await;
    let mut browser = issuer.sign_in(&node, json!({ "sid": "a" })).await;
    let mut other = issuer.sign_in(&node, json!({ "sid": "b" })).await;
    let front = async |query: &str| {
        let url = format!("{}/logout/front-channel?{query}", node.url);
        Browser::new().send(Method::GET, &url, &[]).await
    };
    for query in [format!("iss={}", issuer.url), "sid=a".to_owned(), "iss=http://127.0.0.1:1&sid=a".to_owned()] {
        assert_eq!(front(&query).await.status(), REFUSED, "{query}");
    }
    assert_eq!(front(&format!("iss={}&sid=unknown", issuer.url)).await.status(), OK);
    assert_eq!(node.account(&mut browser).await, OK);

    let response = front(&format!("iss={}&sid=a", issuer.url)).await;
    assert_eq!(response.status(), OK);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["content-security-policy"], format!("frame-ancestors {}", issuer.url));
    assert_eq!([node.account(&mut browser).await, node.account(&mut other).await], [NOT_SIGNED_IN, OK]);
}

/// Repeated requests of the front channel to end a session leave one record.
#[tokio::test]
async fn the_front_channel_leaves_one_record() {
    let issuer = Issuer::start().await;
    let store = MemoryStore::new();
    let node = Node::start(&issuer.url, store.clone()).await;
    let sessions = Sessions::new(store);
    let mut browser = issuer.sign_in(&node, json!({ "sid": "a" })).await;
    let before = sessions.count().await.unwrap();
    let url = format!("{}/logout/front-channel?iss={}&sid=a", node.url, issuer.url);
    for _ in 0..20 {
        assert_eq!(Browser::new().send(Method::GET, &url, &[]).await.status(), OK);
    }
    assert_eq!(node.account(&mut browser).await, NOT_SIGNED_IN);
    // The mark of the session that has ended is in its place.
    assert_eq!(sessions.count().await.unwrap(), before + 1);
}
