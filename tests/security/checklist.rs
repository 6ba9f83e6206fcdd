//! The security checklist of `docs/security.md`, item by item, over HTTP: a short test each.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::collections::HashSet;

use axum::Router;
use axum::routing::{any, get, post};
use base64::Engine;
use http::{HeaderValue, Method, StatusCode};
use sessile::config::SameSite;
use sessile::csrf::CsrfLayer;
use sessile::event::EventKind;
use sessile::store::Store;
use sessile::{Error, ErrorKind, Lifetime, MemoryStore, Session, SessionLayer, SessionLayerBuilder, SignedIn, Token};
use support::client::{COOKIE_NAME, Client, Reply, Visitor, request, request_with_cookies, send, session_of};
use support::race::{DAY, HOUR, MINUTE, NO_TOKEN, SECOND, World};
use support::store::Counts;

/// The client's secret: the half of a token after the session id.
const SECRET: std::ops::Range<usize> = 22..43;

fn builder() -> SessionLayerBuilder {
    SessionLayer::builder(MemoryStore::new())
}

fn app(layer: SessionLayer) -> Router {
    async fn who(session: Session) -> Result<String, Error> {
        let owner = session.owner().map(|owner| owner.to_string());
        Ok(format!("{} {:?}", owner.unwrap_or_else(|| "nobody".to_owned()), session.get::<u32>("n")?))
    }

    Router::new()
        .route("/", any(who))
        .route("/set", any(async |session: Session| session.update("n", |n: &mut u32| *n += 1)))
        .route("/sign-in", post(async |session: Session| session.sign_in("ada")))
        .route("/rotate", post(async |session: Session| session.rotate()))
        .route("/sign-out", post(async |session: Session| session.sign_out()))
        .route("/members", get(async |user: SignedIn| user.owner().to_owned()))
        .layer(layer)
}

fn default_app() -> Router {
    app(SessionLayer::new(MemoryStore::new()))
}

/// Creates a session over a layer with these settings; returns its client and the response that set the cookie.
async fn visitor_of(builder: SessionLayerBuilder) -> (Client, Reply) {
    let mut client = Client::new(&app(builder.build().unwrap()));
    let reply = client.post("/set").await;
    (client, reply)
}

#[track_caller]
fn assert_refused(builder: SessionLayerBuilder) {
    let error = builder.build().expect_err("it is refused");
    assert!(!error.to_string().is_empty());
}

/// Returns a valid token that the server did not issue.
fn invented(n: u8) -> String {
    let mut bytes = [n; 32];
    bytes[6] = 0x70;
    bytes[8] = 0x80;
    let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    assert!(Token::parse(text.as_bytes()).is_some());
    text
}

/// The default name reveals no technology, and any valid name works.
// checklist: 1
#[tokio::test]
async fn the_cookie_name_can_be_set_and_reveals_nothing() {
    let (_, reply) = visitor_of(builder()).await;
    assert_eq!(reply.set_cookie().name, "__Host-id");
    let (_, reply) = visitor_of(builder().with_name("shop")).await;
    assert_eq!(reply.set_cookie().name, "__Host-shop");
    for (name, value) in &reply.headers {
        let text = format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())).to_lowercase();
        assert!(!text.contains("sessile") && !text.contains("axum"), "{text}");
    }
}

/// A secret has 128 bits, and no two tokens are equal.
// checklist: 2
#[tokio::test]
async fn secrets_have_128_random_bits() {
    let app = default_app();
    let (mut ids, mut secrets) = (HashSet::new(), HashSet::new());
    let mut ones = [0_u32; 21];
    for _ in 0..10_000 {
        let token = send(&app, request(Method::POST, "/set")).await.set_cookie().value;
        assert_eq!(token.len(), Token::LENGTH);
        for (place, character) in token[SECRET].bytes().enumerate() {
            // The letters are half of the alphabet and a little more: enough to see a place that is not random.
            ones[place] += u32::from(character.is_ascii_lowercase());
        }
        assert!(ids.insert(session_of(&token)) && secrets.insert(token[SECRET].to_owned()));
    }
    // 26 of 64 characters are lower case: 4,062 of 10,000, and the last place takes fewer values.
    assert!(ones[..20].iter().all(|count| (3_800..4_300).contains(count)), "{ones:?}");
}

/// A token reveals nothing of the session's data or owner.
// checklist: 3
#[tokio::test]
async fn tokens_are_opaque() {
    let app = default_app();
    let (mut first, mut second) = (Client::new(&app), Client::new(&app));
    for client in [&mut first, &mut second] {
        client.post("/sign-in").await;
    }
    assert_ne!(first.token().unwrap()[SECRET], second.token().unwrap()[SECRET], "the same owner, the same data");
    let before = first.token();
    first.post("/set").await;
    assert_eq!(first.token(), before, "what is written does not show in the token");
    assert_eq!(first.get("/").await.text(), "ada Some(1)", "it is in the store");
    assert_eq!(second.get("/").await.text(), "ada None");
}

/// A session that begins under an invented token gets a new id.
// checklist: 4
#[tokio::test]
async fn an_unknown_id_is_never_adopted() {
    let app = default_app();
    for n in 0..20 {
        let token = invented(n);
        let mut client = Client::with_cookie(&app, COOKIE_NAME, &token);
        assert_eq!(client.get("/").await.text(), "nobody None");
        let made = client.post("/set").await.set_cookie().value;
        assert_ne!(session_of(&made), session_of(&token));
        assert_eq!(Client::with_cookie(&app, COOKIE_NAME, &token).get("/").await.text(), "nobody None");
    }
}

/// Malformed cookies neither reach the store nor appear in the response.
// checklist: 5
#[tokio::test]
async fn an_invalid_token_costs_no_store_call() {
    let world = World::new();
    let app = app(world.layer.clone());
    let live = world.begin().await;
    let with_null = [&live.as_bytes()[..20], b"\0", &live.as_bytes()[21..]].concat();
    assert!(HeaderValue::from_bytes(&with_null).is_err(), "a NUL does not get as far as here");
    let marker = "REFLECTED";
    for value in [
        "x".repeat(8 * 1024) + marker,
        format!("\"{live}"),
        format!("\"{marker}"),
        format!("'; DROP TABLE sessions; -- {marker}"),
        format!("<script>{marker}</script>"),
        format!("..%2f..%2f{marker}"),
        format!("{live}{marker}"),
        live[1..].to_owned(),
        format!("{live}="),
        live.to_uppercase(),
    ] {
        world.store.reset();
        let cookie = [COOKIE_NAME.as_bytes(), b"=", value.as_bytes()].concat();
        let reply = send(&app, request_with_cookies("/", &[&cookie])).await;
        assert_eq!((reply.status, reply.text()), (StatusCode::OK, "nobody None"), "{value}");
        assert_eq!(world.counts(), Counts::NONE, "{value}");
        assert!(!format!("{:?}", reply.headers).contains(marker));
    }
}

/// Tokens in the URL, the body and other headers are ignored.
// checklist: 6
#[tokio::test]
async fn only_the_cookie_carries_a_token() {
    let app = default_app();
    let mut client = Client::new(&app);
    client.post("/set").await;
    let token = client.token().unwrap();
    for name in [COOKIE_NAME, "id", "sid", "session"] {
        let mut plain = request(Method::POST, &format!("/?{name}={token}"));
        for header in [name, "authorization", "x-session", "cookie2"] {
            let value = if header == "authorization" { format!("Bearer {token}") } else { token.clone() };
            let header = http::HeaderName::from_bytes(header.to_lowercase().as_bytes()).unwrap();
            plain.headers_mut().insert(header, value.parse().unwrap());
        }
        plain.headers_mut().insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
        *plain.body_mut() = format!("{name}={token}").into();
        assert_eq!(send(&app, plain).await.text(), "nobody None");
        assert_eq!(send(&app, request(Method::GET, &format!("/{name}={token}"))).await.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(client.get("/").await.text(), "nobody Some(1)");
}

/// `HttpOnly` is set, and no body or other header has the token.
// checklist: 7
#[tokio::test]
async fn the_token_is_only_in_an_http_only_cookie() {
    let mut client = Client::new(&default_app());
    for path in ["/set", "/", "/sign-in", "/", "/rotate", "/set"] {
        let reply = client.post(path).await;
        let token = client.token().unwrap();
        assert!(!reply.text().contains(&token[SECRET]));
        for (name, value) in &reply.headers {
            let holds = String::from_utf8_lossy(value.as_bytes()).contains(&token[SECRET]);
            assert!(!holds || name == "set-cookie", "{name}");
        }
        for cookie in reply.set_cookies() {
            assert!(cookie.has("HttpOnly"));
        }
    }
}

/// `Secure` is set unless the application turns it off.
// checklist: 8
#[tokio::test]
async fn the_cookie_is_secure_by_default() {
    let (_, reply) = visitor_of(builder()).await;
    assert!(reply.set_cookie().has("Secure"));
    let (_, reply) = visitor_of(builder().with_secure(false)).await;
    assert!(!reply.set_cookie().has("Secure"));
    // What the request says of its scheme changes nothing.
    let mut plain = request(Method::POST, "http://localhost/set");
    plain.headers_mut().insert("x-forwarded-proto", "http".parse().unwrap());
    assert!(send(&default_app(), plain).await.set_cookie().has("Secure"));
}

/// `SameSite` is in every cookie; `None` requires `Secure`.
// checklist: 9
#[tokio::test]
async fn same_site_is_always_set() {
    let (_, reply) = visitor_of(builder()).await;
    assert_eq!(reply.set_cookie().attribute("SameSite"), Some("Lax"));
    for (same_site, said) in [(SameSite::Strict, "Strict"), (SameSite::Lax, "Lax"), (SameSite::None, "None")] {
        let (_, reply) = visitor_of(builder().with_same_site(same_site)).await;
        assert_eq!(reply.set_cookie().attribute("SameSite"), Some(said));
    }
    assert_refused(builder().with_same_site(SameSite::None).with_secure(false));
}

/// The attributes decide between `__Host-`, `__Secure-` and no prefix.
// checklist: 10
#[tokio::test]
async fn the_name_has_the_strongest_prefix_possible() {
    for (builder, name) in [
        (builder(), "__Host-id"),
        (builder().with_domain("example.com"), "__Secure-id"),
        (builder().with_path("/app"), "__Secure-id"),
        (builder().with_secure(false), "id"),
    ] {
        let (_, reply) = visitor_of(builder).await;
        assert_eq!(reply.set_cookie().name, name);
    }
    // A prefix of one's own could disagree with the attributes.
    for name in ["__Host-id", "__host-id", "__Secure-id", "__SECURE-id"] {
        assert_refused(builder().with_name(name).with_domain("example.com"));
        assert_refused(builder().with_name(name).with_path("/app"));
    }
}

/// `with_http_prefix` selects `__Http-` or `__Host-Http-`, and requires their attributes.
// checklist: 11
#[tokio::test]
async fn http_prefixes_are_available() {
    let (_, reply) = visitor_of(builder().with_http_prefix(true)).await;
    assert_eq!(reply.set_cookie().name, "__Host-Http-id");
    let (_, reply) = visitor_of(builder().with_http_prefix(true).with_path("/app")).await;
    assert_eq!(reply.set_cookie().name, "__Http-id");
    assert_refused(builder().with_http_prefix(true).with_http_only(false));
    assert_refused(builder().with_http_prefix(true).with_secure(false));
}

/// The cookie has no `Domain`, and a path only as configured.
// checklist: 12
#[tokio::test]
async fn the_cookie_is_for_its_host_by_default() {
    let (_, reply) = visitor_of(builder()).await;
    assert_eq!((reply.set_cookie().attribute("Domain"), reply.set_cookie().attribute("Path")), (None, Some("/")));
    let (_, reply) = visitor_of(builder().with_path("/app")).await;
    assert_eq!(reply.set_cookie().attribute("Path"), Some("/app"));
}

/// The name is a token of RFC 9110, the value has cookie octets only.
// checklist: 13
#[tokio::test]
async fn cookie_name_and_value_follow_the_grammar() {
    for name in ["", "a b", "a;b", "a=b", "a\"b", "a,b", "ä", "a\n", "a(b"] {
        assert_refused(builder().with_name(name));
    }
    for _ in 0..100 {
        let (_, reply) = visitor_of(builder()).await;
        let value = reply.set_cookie().value;
        assert!(value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{value}");
    }
}

/// The builder refuses cookies that browsers would drop.
// checklist: 14
#[tokio::test]
async fn an_oversized_cookie_is_refused_at_build() {
    let prefix = "__Host-".len();
    let longest = 4096 - Token::LENGTH - prefix;
    let (_, reply) = visitor_of(builder().with_realm("id").with_name("n".repeat(longest))).await;
    let cookie = reply.set_cookie();
    assert_eq!(cookie.name.len() + cookie.value.len(), 4096);
    assert_refused(builder().with_realm("id").with_name("n".repeat(longest + 1)));
    assert!(builder().with_path(format!("/{}", "p".repeat(1023))).build().is_ok());
    assert_refused(builder().with_path(format!("/{}", "p".repeat(1024))));
}

/// A longer session is sent its cookie again.
// checklist: 15
#[tokio::test]
async fn max_age_is_at_most_400_days() {
    assert_refused(builder().with_max_age(401 * DAY));
    let lifetime =
        Lifetime::new().with_idle_timeout(500 * DAY).with_absolute_timeout(1000 * DAY).with_max_age(400 * DAY);
    let world = World::with(|layer| layer.with_lifetime(lifetime));
    let mut client = Client::new(&app(world.layer.clone()));
    assert_eq!(client.post("/set").await.set_cookie().max_age(), Some(34_560_000));
    for _ in 0..2 {
        world.advance(390 * DAY);
        assert_eq!(client.get("/").await.set_cookie().max_age().unwrap().min(18_000_000), 18_000_000);
        assert_eq!(client.get("/").await.text(), "nobody Some(1)");
    }
}

/// The cookie lasts for the browser session; the server enforces lifetimes.
// checklist: 16
#[tokio::test]
async fn the_cookie_expiry_enforces_nothing() {
    let (_, reply) = visitor_of(builder()).await;
    assert!(!reply.set_cookie().has("Max-Age") && !reply.set_cookie().has("Expires"));
    // A client that keeps the cookie beyond its session has nothing.
    let world = World::with(|layer| layer.with_max_age(DAY));
    let mut client = Client::new(&app(world.layer.clone()));
    client.post("/set").await;
    world.advance(2 * DAY);
    assert_eq!(client.get("/").await.text(), "nobody None");
}

/// Each response has one `Set-Cookie` for the session, no attribute twice.
// checklist: 17
#[tokio::test]
async fn a_response_sets_the_cookie_once() {
    async fn much(session: Session) -> Result<(), Error> {
        session.insert("n", &1)?;
        session.sign_in("ada")?;
        session.commit().await?;
        session.rotate()?;
        session.commit().await?;
        session.sign_in("eve")
    }

    async fn more(session: Session) -> Result<(), Error> {
        much(session.clone()).await?;
        session.sign_out()
    }

    let layer = SessionLayer::new(MemoryStore::new());
    let mut visitor = Visitor::new(&layer);
    for reply in [visitor.visit(much).await, visitor.visit(much).await, visitor.visit(more).await] {
        let cookie = reply.set_cookie();
        let names = cookie.attribute_names();
        let distinct: HashSet<String> = names.iter().map(|name| name.to_lowercase()).collect();
        assert_eq!(distinct.len(), names.len(), "{names:?}");
    }
    assert!(visitor.jar.is_empty());
}

/// The session cookie can be in any `Cookie` header.
// checklist: 18
#[tokio::test]
async fn a_cookie_is_found_in_several_headers() {
    let app = default_app();
    let mut client = Client::new(&app);
    client.post("/set").await;
    let own = format!("{COOKIE_NAME}={}", client.token().unwrap());
    // HTTP/2 sends each pair in a header of its own.
    for headers in [
        vec!["a=1", own.as_str()],
        vec![own.as_str(), "a=1"],
        vec!["a=1; b=2", own.as_str(), "c=3"],
        vec!["a=1", "", own.as_str()],
    ] {
        let headers: Vec<&[u8]> = headers.into_iter().map(str::as_bytes).collect();
        assert_eq!(send(&app, request_with_cookies("/", &headers)).await.text(), "nobody Some(1)");
    }
}

/// Duplicates of the session cookie are handled alike in every order.
// checklist: 19
#[tokio::test]
async fn the_order_of_cookies_decides_nothing() {
    let app = default_app();
    let mut client = Client::new(&app);
    client.post("/set").await;
    let own = format!("{COOKIE_NAME}={}", client.token().unwrap());
    let mut other = Client::new(&app);
    other.post("/set").await;
    let live = format!("{COOKIE_NAME}={}", other.token().unwrap());
    let dead = format!("{COOKIE_NAME}={}", invented(1));
    for (planted, expected) in [(&dead, "nobody Some(1)"), (&live, "nobody None")] {
        for cookies in [format!("{planted}; {own}"), format!("{own}; {planted}")] {
            let reply = send(&app, request_with_cookies("/", &[cookies.as_bytes()])).await;
            assert_eq!(reply.text(), expected, "{cookies}");
        }
    }
}

/// `Partitioned` requires `Secure`, and the removal repeats the identifying attributes.
// checklist: 20
#[tokio::test]
async fn partitioned_needs_secure() {
    assert_refused(builder().with_partitioned(true).with_secure(false));
    let settings = builder().with_partitioned(true).with_domain("example.com").with_path("/app");
    let (mut client, reply) = visitor_of(settings).await;
    let set = reply.set_cookie();
    let removal = client.post("/sign-out").await.set_cookie();
    assert!(removal.is_removal() && client.jar.is_empty());
    assert_eq!(removal.name, set.name);
    for attribute in ["Path", "Domain", "Partitioned", "Secure", "HttpOnly", "SameSite"] {
        assert!(set.has(attribute));
        assert_eq!(removal.attribute(attribute), set.attribute(attribute), "{attribute}");
    }
}

/// A client whose browser evicted the cookie is a new visitor.
// checklist: 21
#[tokio::test]
async fn a_missing_cookie_is_no_error() {
    let (mut client, _) = visitor_of(builder()).await;
    client.jar.clear();
    let reply = client.get("/").await;
    assert_eq!((reply.status, reply.text()), (StatusCode::OK, "nobody None"));
    assert_eq!(client.get("/members").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(client.post("/set").await.status, StatusCode::OK);
    assert_eq!(client.post("/sign-out").await.status, StatusCode::OK);
}

/// The old token opens nothing after a sign-in or a rotation.
// checklist: 22
#[tokio::test]
async fn sign_in_and_rotation_replace_the_token() {
    let app = default_app();
    let mut client = Client::new(&app);
    client.post("/set").await;
    // At the sign-in, at a sign-in again, and where the application says that something has changed.
    for path in ["/sign-in", "/sign-in", "/rotate"] {
        let mut behind = client.clone();
        client.post(path).await.set_cookie();
        assert_ne!(client.token().unwrap()[SECRET], behind.token().unwrap()[SECRET]);
        assert_eq!(behind.get("/").await.text(), "nobody None");
        for reply in [behind.get("/members").await, behind.post("/set").await] {
            assert_eq!(reply.status, StatusCode::CONFLICT);
            reply.assert_no_cookie();
        }
        assert_eq!(client.get("/").await.text(), "ada Some(1)");
    }
}

/// The idle timeout ends an unused session; use extends it.
// checklist: 23
#[tokio::test]
async fn an_idle_session_ends_on_the_server() {
    let world = World::new();
    let mut client = Client::new(&app(world.layer.clone()));
    client.post("/set").await;
    for _ in 0..5 {
        world.advance(50 * MINUTE);
        assert_eq!(client.get("/").await.text(), "nobody Some(1)");
    }
    world.advance(HOUR);
    assert_eq!(client.get("/").await.text(), "nobody None");
}

/// No use extends the absolute timeout.
// checklist: 24
#[tokio::test]
async fn the_absolute_timeout_ends_a_busy_session() {
    let world = World::new();
    let mut client = Client::new(&app(world.layer.clone()));
    client.post("/sign-in").await;
    for _ in 0..47 {
        world.advance(30 * MINUTE);
        client.post("/set").await;
        assert_eq!(client.get("/members").await.status, StatusCode::OK);
        client.post("/rotate").await;
    }
    world.advance(30 * MINUTE);
    assert_eq!(client.get("/members").await.status, StatusCode::UNAUTHORIZED);
}

/// Concurrent requests keep working while the token is refreshed.
// checklist: 25
#[tokio::test]
async fn tokens_refresh_while_requests_run() {
    let world = World::with(|layer| layer.with_lifetime(Lifetime::new().with_refresh_interval(MINUTE)));
    let app = app(world.layer.clone());
    let mut client = Client::new(&app);
    client.post("/set").await;
    world.advance(MINUTE);
    let before = client.clone();
    let mut renewed = 0;
    for _ in 0..10 {
        // Tabs that all come with the old token.
        let mut tab = before.clone();
        let reply = tab.post("/set").await;
        assert_eq!(reply.status, StatusCode::OK);
        if let Some(cookie) = reply.set_cookies().pop() {
            renewed += 1;
            client.jar.put(COOKIE_NAME, &cookie.value);
        }
    }
    assert_eq!(renewed, 1);
    assert_eq!(client.get("/").await.text(), "nobody Some(11)");
    assert_eq!(before.clone().get("/").await.text(), "nobody Some(11)", "for the grace");
    world.advance(31 * SECOND);
    assert_eq!(before.clone().get("/").await.text(), "nobody None");
}

/// No slow concurrent request brings the data back.
// checklist: 26
#[tokio::test]
async fn a_sign_out_ends_the_session() {
    let world = World::new();
    let token = world.begin_signed_in("ada").await;
    let slow = world
        .hold(&token, |session, gate| async move {
            gate.wait().await;
            session.insert("slow", &1)
        })
        .await;
    let mut client = Client::with_cookie(&app(world.layer.clone()), COOKIE_NAME, &token);
    assert!(client.post("/sign-out").await.set_cookie().is_removal());
    assert_eq!(world.live_sessions(), 0);
    slow.finish().await.assert_silent(StatusCode::OK);
    assert_eq!(world.live_sessions(), 0);
    assert!(!world.is_live(&token).await);
}

/// One, all others or all sessions of an owner can be ended.
// checklist: 27
#[tokio::test]
async fn sessions_of_an_owner_are_listed_and_ended() {
    let layer = SessionLayer::new(MemoryStore::new());
    let (app, sessions) = (app(layer.clone()), layer.sessions());
    let mut jars = Vec::new();
    for _ in 0..4 {
        let mut client = Client::new(&app);
        client.post("/sign-in").await;
        jars.push(client);
    }
    let ids: Vec<_> = jars.iter().map(|client| session_of(&client.token().unwrap())).collect();
    let listed = sessions.owned_by("ada").await.unwrap();
    let listed: HashSet<_> = listed.iter().map(|session| session.id()).collect();
    assert_eq!(listed, ids.iter().copied().collect());
    assert!(sessions.owned_by("eve").await.unwrap().is_empty());
    let mut alive = async |expected: [bool; 4]| {
        for (client, expected) in jars.iter_mut().zip(expected) {
            let status = if expected { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
            assert_eq!(client.get("/members").await.status, status);
        }
    };
    assert!(sessions.end(&ids[3]).await.unwrap());
    alive([true, true, true, false]).await;
    sessions.end_others_of("ada", &ids[1]).await.unwrap();
    alive([false, true, false, false]).await;
    sessions.end_all_of("ada").await.unwrap();
    alive([false; 4]).await;
}

/// The owner limit ends the session with the oldest sign-in.
// checklist: 28
#[tokio::test]
async fn a_sign_in_beyond_the_limit_ends_the_oldest() {
    let world = World::with(|layer| layer.with_owner_limit(3));
    let app = app(world.layer.clone());
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = Client::new(&app);
        client.post("/sign-in").await;
        clients.push(client);
        world.advance(SECOND);
    }
    let mut answers = Vec::new();
    for client in &mut clients {
        answers.push(client.get("/members").await.status.as_u16());
    }
    assert_eq!(answers, [401, 200, 200, 200]);
}

/// A recent authentication is required, and another one renews it.
// checklist: 29
#[tokio::test]
async fn a_stale_authentication_is_refused() {
    let world = World::new();
    let app = Router::new()
        .route("/sign-in", post(async |session: Session| session.sign_in("ada")))
        .route("/again", post(async |session: Session| session.reauthenticate()))
        .route("/pay", post(async |session: Session| session.require_recent(5 * MINUTE)))
        .layer(world.layer.clone());
    let mut client = Client::new(&app);
    client.post("/sign-in").await;
    assert_eq!(client.post("/pay").await.status, StatusCode::OK);
    world.advance(6 * MINUTE);
    assert_eq!(client.post("/pay").await.status, StatusCode::UNAUTHORIZED);
    let behind = client.clone();
    client.post("/again").await.set_cookie();
    assert_eq!(client.post("/pay").await.status, StatusCode::OK);
    assert_eq!(behind.clone().post("/pay").await.status, StatusCode::CONFLICT);
    world.advance(30 * SECOND);
    assert_eq!(behind.clone().post("/pay").await.status, StatusCode::UNAUTHORIZED);
}

/// Reading creates no record, and a session can take a provider's lifetime.
// checklist: 30
#[tokio::test]
async fn a_visit_creates_no_session() {
    let world = World::new();
    let app = app(world.layer.clone());
    for method in [Method::GET, Method::POST] {
        let reply = send(&app, request(method, "/")).await;
        reply.assert_no_cookie();
    }
    assert_eq!(world.counts(), Counts::NONE);
    // An identity provider's session of ten minutes ends ours as well.
    let answer = world
        .send(NO_TOKEN, |session| async move {
            session.sign_in("ada")?;
            session.set_lifetime(Lifetime::new().with_idle_timeout(10 * MINUTE).with_absolute_timeout(10 * MINUTE))
        })
        .await;
    let token = answer.token();
    world.advance(9 * MINUTE);
    assert!(world.is_live(&token).await);
    world.advance(MINUTE);
    assert!(!world.is_live(&token).await);
}

/// CSRF tokens of another session, or from before the sign-in, are invalid.
// checklist: 31
#[tokio::test]
async fn a_foreign_or_old_csrf_token_is_refused() {
    let guarded = Router::new().route("/change", post(async || "done")).layer(CsrfLayer::new());
    let shown = async |session: Session| session.csrf_token().await.map(|token| token.to_string());
    let app = Router::new()
        .route("/page", get(shown))
        .route("/sign-in", post(async |session: Session| session.sign_in("ada")))
        .merge(guarded)
        .layer(SessionLayer::new(MemoryStore::new()));
    let (mut client, mut other) = (Client::new(&app), Client::new(&app));
    let own = client.get("/page").await.text().to_owned();
    let others = other.get("/page").await.text().to_owned();
    let change = async |client: &mut Client, token: &str| {
        let mut request = request(Method::POST, "/change");
        request.headers_mut().insert("x-csrf-token", token.parse().unwrap());
        client.send(request).await.status
    };
    assert_eq!(change(&mut client, &own).await, StatusCode::OK);
    assert_eq!(change(&mut client, &others).await, StatusCode::FORBIDDEN);
    assert_eq!(client.post("/change").await.status, StatusCode::FORBIDDEN);
    client.post("/sign-in").await;
    assert_eq!(change(&mut client, &own).await, StatusCode::FORBIDDEN);
}

/// Responses that set the cookie are `no-store`, those that read it `private`.
// checklist: 32
#[tokio::test]
async fn responses_with_session_data_are_not_cached() {
    let mut client = Client::new(&default_app());
    for path in ["/set", "/sign-in", "/rotate"] {
        let reply = client.post(path).await;
        reply.set_cookie();
        assert_eq!((reply.header("cache-control"), reply.header("vary")), (Some("no-store"), Some("cookie")), "{path}");
    }
    assert_eq!(client.get("/").await.header("vary"), Some("cookie"));
    let reply = client.post("/sign-out").await;
    reply.set_cookie();
    assert_eq!(reply.header("cache-control"), Some("no-store"));
}

/// Every event has the session's public id and no token.
// checklist: 33
#[tokio::test]
async fn events_name_the_session_by_its_id() {
    let world = World::new();
    let mut client = Client::new(&app(world.layer.clone()));
    for path in ["/set", "/sign-in", "/rotate", "/sign-out"] {
        client.post(path).await;
    }
    let told = world.events.take();
    let id = told[0].1.expect("it names the session");
    let kinds = [EventKind::Created, EventKind::SignedIn, EventKind::Rotated, EventKind::Rotated, EventKind::Ended];
    assert_eq!(told, kinds.map(|kind| (kind, Some(id))));
}

/// A hundred unknown tokens raise a hundred events.
// checklist: 34
#[tokio::test]
async fn each_guess_is_an_event() {
    let world = World::new();
    let app = app(world.layer.clone());
    let mut victim = Client::new(&app);
    victim.post("/sign-in").await;
    world.events.take();
    for n in 0..100 {
        Client::with_cookie(&app, COOKIE_NAME, &invented(n)).get("/").await;
    }
    assert_eq!(world.events.take(), [(EventKind::Unknown, None); 100]);
    // The name of a session is known, its secret is guessed.
    let token = victim.token().unwrap();
    for n in 0..100 {
        let guess = token[..=SECRET.start].to_owned() + &invented(n)[SECRET.start + 1..];
        assert_eq!(
            Client::with_cookie(&app, COOKIE_NAME, &guess).get("/members").await.status,
            StatusCode::UNAUTHORIZED
        );
    }
    assert_eq!(world.events.take(), [(EventKind::Unknown, Some(session_of(&token))); 100]);
}

/// Nothing that is stored opens a session.
// checklist: 36
#[tokio::test]
async fn the_stored_record_is_no_cookie() {
    let store = MemoryStore::new();
    let app = app(SessionLayer::new(store.clone()));
    let mut client = Client::new(&app);
    for path in ["/set", "/sign-in", "/rotate"] {
        client.post(path).await;
        let token = client.token().unwrap();
        let dump = store.get(&session_of(&token)).await.unwrap().unwrap().encode();
        let secret = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(&token).unwrap()[16..].to_vec();
        assert!(!dump.windows(4).any(|part| secret.windows(4).any(|of_secret| part == of_secret)));
        assert!(!dump.windows(token.len()).any(|part| part == token.as_bytes()));
    }
}

/// Deserialization is typed, and concurrent writers both count.
// checklist: 37
#[tokio::test]
async fn a_value_of_another_type_is_an_error() {
    let world = World::new();
    let token = world.begin().await;
    world
        .send(&token, |session| async move {
            session.insert("n", "a text")?;
            assert_eq!(session.get::<u64>("n").unwrap_err().kind(), ErrorKind::TypeMismatch);
            session.remove("n").map(drop)
        })
        .await
        .assert_ok();
    let mut writers = Vec::new();
    for _ in 0..2 {
        let writer = world.hold(&token, |session, gate| async move {
            gate.wait().await;
            session.update("n", |n: &mut u32| *n += 1)
        });
        writers.push(writer.await);
    }
    for writer in writers {
        writer.finish().await.assert_ok();
    }
    assert_eq!(world.read::<u32>(&token, "n").await, Some(2));
}

/// The application sets the timeouts and offers the sign-out.
// checklist: 38
#[tokio::test]
async fn timeouts_and_sign_out_are_configurable() {
    let world = World::with(|layer| {
        layer.with_lifetime(Lifetime::new().with_idle_timeout(15 * MINUTE).with_absolute_timeout(12 * HOUR))
    });
    let mut client = Client::new(&app(world.layer.clone()));
    client.post("/sign-in").await;
    assert_eq!(client.get("/members").await.status, StatusCode::OK, "so a page can show the way out");
    world.advance(15 * MINUTE);
    assert_eq!(client.get("/members").await.status, StatusCode::UNAUTHORIZED);
}
