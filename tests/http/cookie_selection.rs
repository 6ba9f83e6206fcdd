//! Selection of the session cookie: duplicates, several headers, malformed values and similar names.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use axum::Router;
use axum::routing::{get, post};
use http::{Method, StatusCode};
use sessile::event::EventKind;
use sessile::{Error, MemoryStore, Session, SessionLayer};
use support::client::{COOKIE_NAME, Client, EventLog, Reply, request_with_cookies, send, session_of};
use support::store::{CountingStore, Counts};

/// An application with store counts and events.
struct Site {
    app: Router,
    store: CountingStore<MemoryStore>,
    events: EventLog,
}

impl Site {
    fn new() -> Self {
        async fn name(session: Session) -> Result<String, Error> {
            Ok(session.get("name")?.unwrap_or_else(|| "no session".to_owned()))
        }

        let (store, events) = (CountingStore::new(MemoryStore::new()), EventLog::default());
        let layer = SessionLayer::builder(store.clone()).with_event_hook(events.hook()).build().unwrap();
        let app = Router::new()
            .route("/", get(name))
            .route("/name/{name}", post(set_name).get(set_name))
            .route("/rotate", post(async |session: Session| session.rotate()))
            .route("/sign-out", post(async |session: Session| session.sign_out()))
            .layer(layer);
        Self { app, store, events }
    }

    /// Creates a session with this name and returns its token.
    async fn token_of(&self, name: &str) -> String {
        let token = Client::new(&self.app).post(&format!("/name/{name}")).await.set_cookie().value;
        self.reset();
        token
    }

    /// Returns the token of an ended session.
    async fn ended_token(&self) -> String {
        let mut client = Client::new(&self.app);
        client.post("/name/gone").await;
        let token = client.token().unwrap();
        client.post("/sign-out").await;
        self.reset();
        token
    }

    /// Returns a token that a rotation has just retired.
    async fn retired(&self) -> String {
        let mut client = Client::new(&self.app);
        client.post("/name/eve").await;
        let token = client.token().unwrap();
        client.post("/rotate").await;
        self.reset();
        token
    }

    fn reset(&self) {
        self.store.reset();
        self.events.take();
    }

    /// Sends a request with these `Cookie` headers; returns the response and the store calls.
    async fn request(&self, cookies: &[&[u8]]) -> (Reply, Counts) {
        self.store.reset();
        let reply = send(&self.app, request_with_cookies("/", cookies)).await;
        (reply, self.store.counts())
    }

    /// Sends a `POST` request with two cookies.
    async fn send_both(&self, path: &str, pairs: &[String; 2], in_one_header: bool) -> Reply {
        let joined = pairs.join("; ");
        let headers: Vec<&[u8]> =
            if in_one_header { vec![joined.as_bytes()] } else { pairs.iter().map(|pair| pair.as_bytes()).collect() };
        let mut request = request_with_cookies(path, &headers);
        *request.method_mut() = Method::POST;
        send(&self.app, request).await
    }

    #[track_caller]
    fn assert_loaded(answer: &(Reply, Counts), name: &str, counts: Counts) {
        assert_eq!(answer.0.status, StatusCode::OK);
        assert_eq!(answer.0.text(), name);
        assert_eq!(answer.1, counts);
        answer.0.assert_no_cookie();
    }
}

async fn set_name(session: Session, axum::extract::Path(name): axum::extract::Path<String>) -> Result<(), Error> {
    session.insert("name", &name)
}

fn pair(token: &str) -> String {
    format!("{COOKIE_NAME}={token}")
}

/// Returns a well-formed token that no server issued.
fn invented(n: u8) -> String {
    let mut bytes = [n; 32];
    bytes[6] = 0x70 | (n & 0x0f);
    bytes[8] = 0x80 | (n & 0x3f);
    let token = encode(&bytes);
    assert!(sessile::Token::parse(token.as_bytes()).is_some(), "{token}");
    token
}

fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            text.push(char::from(DIGITS[(group >> (18 - 6 * digit)) as usize & 63]));
        }
    }
    text
}

// checklist: 18
/// The cookie is found in one header or several, at any position, beside empty and malformed pairs.
#[tokio::test]
async fn session_cookie_is_found_among_other_cookies() {
    let site = Site::new();
    let own = pair(&site.token_of("ada").await);
    let cookies: [&[&str]; 9] = [
        &[&own],
        &["a=1", &own],
        &[&own, "a=1"],
        &["a=1", "b=2", &own, "c=3"],
        &["", &own],
        &[";;", &own],
        &["a", &own, "="],
        &["=x", &own],
        &["id=x; __Secure-id=y", &own],
    ];
    for cookies in cookies {
        // In separate headers, as HTTP/2 may send them, and in one.
        let split: Vec<&[u8]> = cookies.iter().map(|cookie| cookie.as_bytes()).collect();
        Site::assert_loaded(&site.request(&split).await, "ada", Counts::gets(1));
        for separator in ["; ", ";", " ;\t"] {
            let joined = cookies.join(separator);
            Site::assert_loaded(&site.request(&[joined.as_bytes()]).await, "ada", Counts::gets(1));
        }
    }
}

/// Spaces and tabs around name, value and separators do not hide the session cookie.
#[tokio::test]
async fn whitespace_around_cookie_name_and_value_is_ignored() {
    let site = Site::new();
    let token = site.token_of("ada").await;
    for cookie in [
        format!(" {COOKIE_NAME}={token}"),
        format!("{COOKIE_NAME}={token} "),
        format!("\t{COOKIE_NAME}\t=\t{token}\t"),
        format!("a=1; \t {COOKIE_NAME} = {token} \t ; b=2"),
    ] {
        Site::assert_loaded(&site.request(&[cookie.as_bytes()]).await, "ada", Counts::gets(1));
    }
}

// checklist: 19
/// A malformed, invented or ended token before or after the valid cookie does not change the session that is loaded.
#[tokio::test]
async fn invalid_cookie_beside_valid_one_is_ignored() {
    let site = Site::new();
    let good = pair(&site.token_of("ada").await);
    let ended = pair(&site.ended_token().await);
    let (malformed, invented) = (pair("evil"), pair(&invented(1)));
    for (evil, gets) in [(&malformed, 1), (&invented, 2), (&ended, 2)] {
        let orders: [Vec<&[u8]>; 2] = [vec![evil.as_bytes(), good.as_bytes()], vec![good.as_bytes(), evil.as_bytes()]];
        for order in orders {
            Site::assert_loaded(&site.request(&order).await, "ada", Counts::gets(gets));
            Site::assert_loaded(&site.request(&[&order.join(&b"; "[..])]).await, "ada", Counts::gets(gets));
        }
        let events = site.events.take();
        assert!(events.iter().all(|event| *event == (EventKind::Unknown, None)), "{events:?}");
    }
}

/// The same cookie three times in two headers costs one `get` and opens its session.
#[tokio::test]
async fn duplicate_cookies_cost_one_get() {
    let site = Site::new();
    let own = pair(&site.token_of("ada").await);
    let both = format!("{own}; {own}");
    Site::assert_loaded(&site.request(&[both.as_bytes(), own.as_bytes()]).await, "ada", Counts::gets(1));
}

/// Another session's retired token before or after the valid cookie does not change the session that is loaded.
#[tokio::test]
async fn retired_token_beside_valid_cookie_is_ignored() {
    let site = Site::new();
    let (good, retired) = (pair(&site.token_of("ada").await), pair(&site.retired().await));
    for cookies in [[&good, &retired], [&retired, &good]] {
        Site::assert_loaded(&site.request(&cookies.map(|cookie| cookie.as_bytes())).await, "ada", Counts::gets(2));
    }
}

/// Nine copies of an invented token, or eight malformed ones, precede the valid cookie, which still opens its session.
#[tokio::test]
async fn repeated_invalid_cookies_do_not_displace_valid_one() {
    let site = Site::new();
    let good = pair(&site.token_of("ada").await);
    let planted = pair(&invented(1));
    let malformed = pair(&"!".repeat(sessile::Token::LENGTH));
    for filler in [&planted, &malformed] {
        let cookies = format!("{planted}; {}{good}", format!("{filler}; ").repeat(8));
        Site::assert_loaded(&site.request(&[cookies.as_bytes()]).await, "ada", Counts::gets(2));
    }
}

/// A token with the same id and a wrong secret costs no second `get`; alone, it opens no session.
#[tokio::test]
async fn wrong_secret_beside_right_one_costs_no_extra_get() {
    let site = Site::new();
    let token = site.token_of("ada").await;
    let forged = with_wrong_secret(&token);
    for cookies in [[&forged, &token], [&token, &forged]] {
        let cookies: Vec<String> = cookies.iter().map(|token| pair(token)).collect();
        let cookies: Vec<&[u8]> = cookies.iter().map(|cookie| cookie.as_bytes()).collect();
        Site::assert_loaded(&site.request(&cookies).await, "ada", Counts::gets(1));
    }
    Site::assert_loaded(&site.request(&[pair(&forged).as_bytes()]).await, "no session", Counts::gets(1));
}

/// Returns a token with the same id and another secret.
fn with_wrong_secret(token: &str) -> String {
    let id = session_of(token);
    let forged = encode(&[&id.as_uuid().as_bytes()[..], &[7; 16]].concat());
    assert_eq!(session_of(&forged), id);
    forged
}

// checklist: 19
/// Two valid cookies raise `Ambiguous` and open no session; each cookie alone still works.
#[tokio::test]
async fn two_live_sessions_in_one_request_open_neither() {
    let site = Site::new();
    let (ada, eve) = (pair(&site.token_of("ada").await), pair(&site.token_of("eve").await));
    for (first, second) in [(&ada, &eve), (&eve, &ada)] {
        for cookies in [vec![first.as_bytes(), second.as_bytes()], vec![format!("{first}; {second}").as_bytes()]] {
            Site::assert_loaded(&site.request(&cookies).await, "no session", Counts::gets(2));
            assert_eq!(site.events.take(), [(EventKind::Ambiguous, None)]);
        }
    }
    // Each cookie alone still works.
    Site::assert_loaded(&site.request(&[ada.as_bytes()]).await, "ada", Counts::gets(1));
    Site::assert_loaded(&site.request(&[eve.as_bytes()]).await, "eve", Counts::gets(1));
}

/// A write with two valid cookies creates a new session and ends both others, in one `Cookie` header or two.
#[tokio::test]
async fn write_with_two_live_sessions_replaces_both() {
    let site = Site::new();
    for order in [[0, 1], [1, 0]] {
        for in_one_header in [false, true] {
            let tokens = [site.token_of("ada").await, site.token_of("eve").await];
            let pairs = order.map(|place| pair(&tokens[place]));
            let reply = site.send_both("/name/mallory", &pairs, in_one_header).await;
            let third = reply.set_cookie().value;
            assert!(tokens.iter().all(|token| session_of(token) != session_of(&third)));
            for token in &tokens {
                Site::assert_loaded(&site.request(&[pair(token).as_bytes()]).await, "no session", Counts::gets(1));
                let beside = [pair(token), pair(&third)];
                let beside = beside.each_ref().map(|pair| pair.as_bytes());
                Site::assert_loaded(&site.request(&beside).await, "mallory", Counts::gets(2));
            }
        }
    }
}

/// A sign-out with two valid cookies ends both sessions and removes the cookie, in one `Cookie` header or two.
#[tokio::test]
async fn sign_out_with_two_live_sessions_ends_both() {
    let site = Site::new();
    for order in [[0, 1], [1, 0]] {
        for in_one_header in [false, true] {
            let tokens = [site.token_of("ada").await, site.token_of("eve").await];
            let pairs = order.map(|place| pair(&tokens[place]));
            assert!(site.send_both("/sign-out", &pairs, in_one_header).await.set_cookie().is_removal());
            for token in &tokens {
                Site::assert_loaded(&site.request(&[pair(token).as_bytes()]).await, "no session", Counts::gets(1));
            }
        }
    }
}

// guarantee: 11
/// Four to 200 invented tokens, in one header or many, cost exactly four `get` calls.
#[tokio::test]
async fn any_number_of_tokens_costs_at_most_four_gets() {
    let site = Site::new();
    for count in [4u8, 5, 50, 200] {
        let tokens: Vec<String> = (0..count).map(|n| pair(&invented(n))).collect();
        let (joined, expected) = (tokens.join("; "), Counts::gets(4));
        Site::assert_loaded(&site.request(&[joined.as_bytes()]).await, "no session", expected);
        let split: Vec<&[u8]> = tokens.iter().map(|token| token.as_bytes()).collect();
        Site::assert_loaded(&site.request(&split).await, "no session", expected);
    }
}

// guarantee: 4
// checklist: 4
/// A well-formed token without a session opens nothing, and a write creates a session under a new id.
#[tokio::test]
async fn invented_token_is_never_adopted() {
    let site = Site::new();
    let token = invented(9);
    let mut client = Client::with_cookie(&site.app, COOKIE_NAME, &token);
    let reply = client.get("/").await;
    assert_eq!(reply.text(), "no session");
    reply.assert_no_cookie();
    let made = client.post("/name/eve").await.set_cookie().value;
    assert_ne!(session_of(&made), session_of(&token));
    Site::assert_loaded(&site.request(&[pair(&token).as_bytes()]).await, "no session", Counts::gets(1));
}

// guarantee: 4
// checklist: 4
/// A write with the token of a session that has just ended is refused, and opens nothing.
#[tokio::test]
async fn token_of_ended_session_is_never_adopted() {
    let site = Site::new();
    let token = site.ended_token().await;
    let reply = Client::with_cookie(&site.app, COOKIE_NAME, &token).post("/name/eve").await;
    assert_eq!(reply.status, StatusCode::CONFLICT);
    reply.assert_no_cookie();
    Site::assert_loaded(&site.request(&[pair(&token).as_bytes()]).await, "no session", Counts::gets(1));
}

// checklist: 5
/// Thirty malformed values cost no store call, appear in no response header, and do not hide a valid cookie.
#[tokio::test]
async fn malformed_token_costs_no_store_call_and_is_not_reflected() {
    let site = Site::new();
    let good = site.token_of("ada").await;
    let mut v4 = [5u8; 32];
    (v4[6], v4[8]) = (0x45, 0x85);
    let mut other_variant = [5u8; 32];
    (other_variant[6], other_variant[8]) = (0x75, 0x05);
    let last = good.chars().last().unwrap();
    let not_canonical = {
        const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let place = DIGITS.find(last).unwrap();
        assert_eq!(place % 4, 0, "a canonical token has zero padding bits");
        format!("{}{}", &good[..42], &DIGITS[place + 1..place + 2])
    };
    let malformed: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"x".repeat(8 * 1024),
        good.repeat(190).into_bytes(),
        good[..42].into(),
        format!("{good}A").into_bytes(),
        format!("{good}=").into_bytes(),
        format!("{}=", &good[..42]).into_bytes(),
        not_canonical.into_bytes(),
        format!("\"\"{good}\"\"").into_bytes(),
        format!("\"{good}").into_bytes(),
        format!("\" {good} \"").into_bytes(),
        format!("\"{}\"", &good[..41]).into_bytes(),
        format!("{}\"", &good[..42]).into_bytes(),
        format!("{} ", &good[..42]).into_bytes(),
        format!("{} {}", &good[..21], &good[21..42]).into_bytes(),
        format!("{}+", &good[..42]).into_bytes(),
        format!("{}/", &good[..42]).into_bytes(),
        format!("%41{}", &good[3..]).into_bytes(),
        good.to_uppercase().into_bytes(),
        [&good.as_bytes()[..42], b"\xff"].concat(),
        [&good.as_bytes()[..42], b"\x80"].concat(),
        [&good.as_bytes()[..42], b"\t"].concat(),
        "ä".repeat(21).into_bytes(),
        [b'\xff'; 43].into(),
        encode(&v4).into_bytes(),
        encode(&other_variant).into_bytes(),
        encode(&[0; 32]).into_bytes(),
        encode(&[0xff; 32]).into_bytes(),
        session_of(&good).to_string().into_bytes(),
        b"<script>alert(1)</script>".into(),
        b"' OR 1=1 --".into(),
        b"../../../../etc/passwd".into(),
    ];
    for value in malformed {
        let cookie = [COOKIE_NAME.as_bytes(), b"=", &value].concat();
        let answer = site.request(&[&cookie]).await;
        Site::assert_loaded(&answer, "no session", Counts::NONE);
        for (name, header) in &answer.0.headers {
            let reflected = !value.is_empty() && header.as_bytes().windows(value.len()).any(|part| part == value);
            assert!(!reflected, "{name} reflects {}", String::from_utf8_lossy(&value));
        }
        // A valid cookie beside it still works.
        let beside = [cookie.as_slice(), b"; ", pair(&good).as_bytes()].concat();
        Site::assert_loaded(&site.request(&[&beside]).await, "ada", Counts::gets(1));
    }
}

/// A token in one pair of quotes opens its session, as RFC 6265 allows; the same token twice is one candidate.
#[tokio::test]
async fn quoted_cookie_value_opens_its_session() {
    let site = Site::new();
    let ada = site.token_of("ada").await;
    let quoted = pair(&format!("\"{ada}\""));
    for cookie in [quoted.clone(), format!("a=b; {quoted} ; c=d"), format!("{quoted}; {}", pair(&ada))] {
        Site::assert_loaded(&site.request(&[cookie.as_bytes()]).await, "ada", Counts::gets(1));
    }
}

/// A semicolon inside quotes still ends a pair, and an open quote does not hide later cookies.
#[tokio::test]
async fn quotes_in_cookie_header_have_no_special_meaning() {
    let site = Site::new();
    let (ada, eve) = (pair(&site.token_of("ada").await), pair(&site.token_of("eve").await));
    // Semicolons inside quotes end the pairs, so both cookies are read.
    let smuggled = format!("a=\"x; {eve}; y\"");
    Site::assert_loaded(&site.request(&[smuggled.as_bytes()]).await, "eve", Counts::gets(1));
    let beside = format!("a=\"x; {eve}; y\"; {ada}");
    Site::assert_loaded(&site.request(&[beside.as_bytes()]).await, "no session", Counts::gets(2));
    // An open quote does not hide the cookies after it.
    let open = format!("a=\"x; {ada}");
    Site::assert_loaded(&site.request(&[open.as_bytes()]).await, "ada", Counts::gets(1));
    let escaped = format!("a=\"\\\"; {ada}");
    Site::assert_loaded(&site.request(&[escaped.as_bytes()]).await, "ada", Counts::gets(1));
}

/// Names with Unicode spaces, other case, other prefixes or missing parts open no session and cost no store call.
#[tokio::test]
async fn similar_cookie_names_are_ignored() {
    let site = Site::new();
    let token = site.token_of("ada").await;
    let names = [
        "\u{2000}__Host-id",
        "\u{a0}__Host-id",
        "\u{feff}__Host-id",
        "\u{3000}__Host-id",
        "__Host-id\u{2000}",
        "\u{85}__Host-id",
        "__host-id",
        "__HOST-ID",
        "__Host-ID",
        "__Host-Id",
        "id",
        "__Secure-id",
        "__Host-Http-id",
        "x__Host-id",
        "__Host-idx",
        "__Host-i",
        "__Host- id",
        "\"__Host-id\"",
        "$__Host-id",
        "__Host%2Did",
        "",
        "__Host-ⅰd",
    ];
    for name in names {
        let cookie = format!("{name}={token}");
        Site::assert_loaded(&site.request(&[cookie.as_bytes()]).await, "no session", Counts::NONE);
    }
    for cookie in
        [token.clone(), format!("={token}"), format!("{COOKIE_NAME} {token}"), format!("{COOKIE_NAME}:{token}")]
    {
        Site::assert_loaded(&site.request(&[cookie.as_bytes()]).await, "no session", Counts::NONE);
    }
    for byte in [0x80u8, 0x85, 0xa0, 0xe2, 0xff] {
        let cookie = [&[byte][..], COOKIE_NAME.as_bytes(), b"=", token.as_bytes()].concat();
        Site::assert_loaded(&site.request(&[&cookie]).await, "no session", Counts::NONE);
    }
    let nested = format!("a={COOKIE_NAME}={token}");
    Site::assert_loaded(&site.request(&[nested.as_bytes()]).await, "no session", Counts::NONE);
}

// checklist: 6
/// A valid token in the URL, other headers or a form body opens no session and costs no store call.
#[tokio::test]
async fn token_outside_the_cookie_is_ignored() {
    let site = Site::new();
    let token = site.token_of("ada").await;
    let paths = [format!("/?{COOKIE_NAME}={token}"), format!("/?id={token}&sid={token}"), format!("/#{token}")];
    for path in paths {
        let reply = Client::new(&site.app).get(&path).await;
        assert_eq!(reply.text(), "no session");
    }
    for name in ["__host-id", "id", "authorization", "x-session-id", "x-id", "set-cookie", "cookie2"] {
        for value in [token.clone(), format!("Bearer {token}"), pair(&token)] {
            let mut request = request_with_cookies("/", &[]);
            request.headers_mut().insert(http::HeaderName::from_static(name), value.parse().unwrap());
            assert_eq!(send(&site.app, request).await.text(), "no session", "{name}: {value}");
        }
    }
    let form = format!("id={token}&{COOKIE_NAME}={token}");
    let made = Client::new(&site.app).post_body("/name/eve", form).await.set_cookie().value;
    assert_ne!(session_of(&made), session_of(&token));
    assert_eq!(site.store.counts().gets, 0);
    Site::assert_loaded(&site.request(&[pair(&token).as_bytes()]).await, "ada", Counts::gets(1));
}

/// The cookie of an ended session stays, also at a sign-out; a sign-out removes an invented and a malformed one.
#[tokio::test]
async fn cookie_of_an_ended_session_is_not_removed() {
    let site = Site::new();
    let ended = pair(&site.ended_token().await);
    Site::assert_loaded(&site.request(&[ended.as_bytes()]).await, "no session", Counts::gets(1));
    let ended = site.ended_token().await;
    Client::with_cookie(&site.app, COOKIE_NAME, &ended).post("/sign-out").await.assert_no_cookie();
    for value in [invented(3).as_str(), "malformed"] {
        let reply = Client::with_cookie(&site.app, COOKIE_NAME, value).post("/sign-out").await;
        assert!(reply.set_cookie().is_removal());
    }
}
