//! Which cookie of a request is looked at, and which never is: several of one name, several headers, junk, look-alikes.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use axum::Router;
use axum::routing::{get, post};
use http::StatusCode;
use sessile::event::EventKind;
use sessile::{Error, MemoryStore, Session, SessionLayer};
use support::client::{COOKIE_NAME, Client, EventLog, Reply, request_with_cookies, send, session_of};
use support::store::{CountingStore, Counts};

/// An application, what its store was asked, and its events.
struct Site {
    app: Router,
    store: CountingStore<MemoryStore>,
    events: EventLog,
}

impl Site {
    fn new() -> Self {
        async fn who(session: Session) -> Result<String, Error> {
            Ok(session.get("who")?.unwrap_or_else(|| "nobody".to_owned()))
        }

        let (store, events) = (CountingStore::new(MemoryStore::new()), EventLog::default());
        let layer = SessionLayer::builder(store.clone()).with_event_hook(events.hook()).build().unwrap();
        let app = Router::new()
            .route("/", get(who))
            .route("/be/{name}", post(be).get(be))
            .route("/rotate", post(async |session: Session| session.rotate()))
            .route("/sign-out", post(async |session: Session| session.sign_out()))
            .layer(layer);
        Self { app, store, events }
    }

    /// The token of a visitor who is known by this name.
    async fn visitor(&self, name: &str) -> String {
        let token = Client::new(&self.app).post(&format!("/be/{name}")).await.set_cookie().value;
        self.forget();
        token
    }

    /// A token whose session has ended.
    async fn stale(&self) -> String {
        let mut client = Client::new(&self.app);
        client.post("/be/gone").await;
        let token = client.token().unwrap();
        client.post("/sign-out").await;
        self.forget();
        token
    }

    /// A token that was rotated out a moment ago.
    async fn retired(&self) -> String {
        let mut client = Client::new(&self.app);
        client.post("/be/eve").await;
        let token = client.token().unwrap();
        client.post("/rotate").await;
        self.forget();
        token
    }

    fn forget(&self) {
        self.store.reset();
        self.events.take();
    }

    /// Asks with these `Cookie` headers; says what the answer was and what it cost.
    async fn ask(&self, cookies: &[&[u8]]) -> (Reply, Counts) {
        self.store.reset();
        let reply = send(&self.app, request_with_cookies("/", cookies)).await;
        (reply, self.store.counts())
    }

    #[track_caller]
    fn assert_seen(answer: &(Reply, Counts), who: &str, counts: Counts) {
        assert_eq!(answer.0.status, StatusCode::OK);
        assert_eq!(answer.0.text(), who);
        assert_eq!(answer.1, counts);
        answer.0.assert_no_cookie();
    }
}

async fn be(session: Session, axum::extract::Path(name): axum::extract::Path<String>) -> Result<(), Error> {
    session.insert("who", &name)
}

fn pair(token: &str) -> String {
    format!("{COOKIE_NAME}={token}")
}

/// A well-formed token that no server has made.
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

// Checklist 18
// checklist: 18
#[tokio::test]
async fn the_cookie_is_found_wherever_it_stands() {
    let site = Site::new();
    let own = pair(&site.visitor("ada").await);
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
        // In headers of their own, as HTTP/2 may send them, and in one.
        let split: Vec<&[u8]> = cookies.iter().map(|cookie| cookie.as_bytes()).collect();
        Site::assert_seen(&site.ask(&split).await, "ada", Counts::gets(1));
        for separator in ["; ", ";", " ;\t"] {
            let joined = cookies.join(separator);
            Site::assert_seen(&site.ask(&[joined.as_bytes()]).await, "ada", Counts::gets(1));
        }
    }
}

#[tokio::test]
async fn spaces_and_tabs_around_name_and_value_do_not_matter() {
    let site = Site::new();
    let token = site.visitor("ada").await;
    for cookie in [
        format!(" {COOKIE_NAME}={token}"),
        format!("{COOKIE_NAME}={token} "),
        format!("\t{COOKIE_NAME}\t=\t{token}\t"),
        format!("a=1; \t {COOKIE_NAME} = {token} \t ; b=2"),
    ] {
        Site::assert_seen(&site.ask(&[cookie.as_bytes()]).await, "ada", Counts::gets(1));
    }
}

// Checklist 19
#[tokio::test]
async fn a_planted_cookie_beside_the_real_one_changes_nothing_in_any_order() {
    let site = Site::new();
    let good = pair(&site.visitor("ada").await);
    let stale = pair(&site.stale().await);
    let (junk, invented) = (pair("evil"), pair(&invented(1)));
    for (evil, gets) in [(&junk, 1), (&invented, 2), (&stale, 2)] {
        let orders: [Vec<&[u8]>; 2] = [vec![evil.as_bytes(), good.as_bytes()], vec![good.as_bytes(), evil.as_bytes()]];
        for order in orders {
            Site::assert_seen(&site.ask(&order).await, "ada", Counts::gets(gets));
            Site::assert_seen(&site.ask(&[&order.join(&b"; "[..])]).await, "ada", Counts::gets(gets));
        }
        let told = site.events.take();
        assert!(told.iter().all(|event| *event == (EventKind::Unknown, None)), "{told:?}");
    }
}

#[tokio::test]
async fn the_same_cookie_twice_is_one() {
    let site = Site::new();
    let own = pair(&site.visitor("ada").await);
    let both = format!("{own}; {own}");
    Site::assert_seen(&site.ask(&[both.as_bytes(), own.as_bytes()]).await, "ada", Counts::gets(1));
}

#[tokio::test]
async fn a_cookie_that_was_just_rotated_out_beside_the_real_one_changes_nothing_in_any_order() {
    let site = Site::new();
    let (good, retired) = (pair(&site.visitor("ada").await), pair(&site.retired().await));
    for cookies in [[&good, &retired], [&retired, &good]] {
        Site::assert_seen(&site.ask(&cookies.map(|cookie| cookie.as_bytes())).await, "ada", Counts::gets(2));
    }
}

#[tokio::test]
async fn neither_one_planted_cookie_many_times_nor_junk_crowds_the_real_one_out() {
    let site = Site::new();
    let good = pair(&site.visitor("ada").await);
    let planted = pair(&invented(1));
    let junk = pair(&"!".repeat(sessile::Token::LENGTH));
    for filler in [&planted, &junk] {
        let cookies = format!("{planted}; {}{good}", format!("{filler}; ").repeat(8));
        Site::assert_seen(&site.ask(&[cookies.as_bytes()]).await, "ada", Counts::gets(2));
    }
}

#[tokio::test]
async fn a_wrong_secret_beside_the_right_one_of_the_same_session_costs_nothing_more() {
    let site = Site::new();
    let token = site.visitor("ada").await;
    let forged = encode_with_id_of(&token);
    for cookies in [[&forged, &token], [&token, &forged]] {
        let cookies: Vec<String> = cookies.iter().map(|token| pair(token)).collect();
        let cookies: Vec<&[u8]> = cookies.iter().map(|cookie| cookie.as_bytes()).collect();
        Site::assert_seen(&site.ask(&cookies).await, "ada", Counts::gets(1));
    }
    Site::assert_seen(&site.ask(&[pair(&forged).as_bytes()]).await, "nobody", Counts::gets(1));
}

/// A token with the same id and another secret.
fn encode_with_id_of(token: &str) -> String {
    let id = session_of(token);
    let forged = encode(&[&id.as_uuid().as_bytes()[..], &[7; 16]].concat());
    assert_eq!(session_of(&forged), id);
    forged
}

// Checklist 19
// checklist: 19
#[tokio::test]
async fn two_live_sessions_in_one_request_are_none_and_an_event() {
    let site = Site::new();
    let (ada, eve) = (pair(&site.visitor("ada").await), pair(&site.visitor("eve").await));
    for (first, second) in [(&ada, &eve), (&eve, &ada)] {
        for cookies in [vec![first.as_bytes(), second.as_bytes()], vec![format!("{first}; {second}").as_bytes()]] {
            Site::assert_seen(&site.ask(&cookies).await, "nobody", Counts::gets(2));
            assert_eq!(site.events.take(), [(EventKind::Ambiguous, None)]);
        }
    }
    // Each by itself is as good as ever.
    Site::assert_seen(&site.ask(&[ada.as_bytes()]).await, "ada", Counts::gets(1));
    Site::assert_seen(&site.ask(&[eve.as_bytes()]).await, "eve", Counts::gets(1));
}

#[tokio::test]
async fn a_write_between_two_live_sessions_goes_into_neither() {
    let site = Site::new();
    let (ada, eve) = (site.visitor("ada").await, site.visitor("eve").await);
    let both = format!("{}; {}", pair(&ada), pair(&eve));
    let reply = send(&site.app, request_with_cookies("/be/mallory", &[both.as_bytes()])).await;
    let third = reply.set_cookie().value;
    assert!(![session_of(&ada), session_of(&eve)].contains(&session_of(&third)));
    Site::assert_seen(&site.ask(&[pair(&ada).as_bytes()]).await, "ada", Counts::gets(1));
    Site::assert_seen(&site.ask(&[pair(&eve).as_bytes()]).await, "eve", Counts::gets(1));
}

// guarantee: 11
#[tokio::test]
async fn any_number_of_tokens_costs_at_most_four_gets() {
    let site = Site::new();
    for count in [4u8, 5, 50, 200] {
        let tokens: Vec<String> = (0..count).map(|n| pair(&invented(n))).collect();
        let (joined, expected) = (tokens.join("; "), Counts::gets(4));
        Site::assert_seen(&site.ask(&[joined.as_bytes()]).await, "nobody", expected);
        let split: Vec<&[u8]> = tokens.iter().map(|token| token.as_bytes()).collect();
        Site::assert_seen(&site.ask(&split).await, "nobody", expected);
    }
}

// Checklist 4
// guarantee: 4
// checklist: 4
#[tokio::test]
async fn an_invented_token_is_never_adopted() {
    let site = Site::new();
    let token = invented(9);
    let mut client = Client::with_cookie(&site.app, COOKIE_NAME, &token);
    let reply = client.get("/").await;
    assert_eq!(reply.text(), "nobody");
    reply.assert_no_cookie();
    let made = client.post("/be/eve").await.set_cookie().value;
    assert_ne!(session_of(&made), session_of(&token));
    Site::assert_seen(&site.ask(&[pair(&token).as_bytes()]).await, "nobody", Counts::gets(1));
}

// Checklist 4
// guarantee: 4
// checklist: 4
#[tokio::test]
async fn the_token_of_an_ended_session_is_never_adopted() {
    let site = Site::new();
    let token = site.stale().await;
    let mut client = Client::with_cookie(&site.app, COOKIE_NAME, &token);
    let made = client.post("/be/eve").await.set_cookie().value;
    assert_ne!(session_of(&made), session_of(&token));
    Site::assert_seen(&site.ask(&[pair(&token).as_bytes()]).await, "nobody", Counts::gets(1));
}

// Checklist 5
// checklist: 5
#[tokio::test]
async fn a_malformed_token_costs_no_store_call_and_is_not_reflected() {
    let site = Site::new();
    let good = site.visitor("ada").await;
    let mut v4 = [5u8; 32];
    (v4[6], v4[8]) = (0x45, 0x85);
    let mut other_variant = [5u8; 32];
    (other_variant[6], other_variant[8]) = (0x75, 0x05);
    let last = good.chars().last().unwrap();
    let not_canonical = {
        const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let place = DIGITS.find(last).unwrap();
        assert_eq!(place % 4, 0, "a canonical token ends so");
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
        format!("\"{good}\"").into_bytes(),
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
        let answer = site.ask(&[&cookie]).await;
        Site::assert_seen(&answer, "nobody", Counts::NONE);
        for (name, header) in &answer.0.headers {
            let reflected = !value.is_empty() && header.as_bytes().windows(value.len()).any(|part| part == value);
            assert!(!reflected, "{name} reflects {}", String::from_utf8_lossy(&value));
        }
        // Beside the real one it is nothing at all.
        let beside = [cookie.as_slice(), b"; ", pair(&good).as_bytes()].concat();
        Site::assert_seen(&site.ask(&[&beside]).await, "ada", Counts::gets(1));
    }
}

#[tokio::test]
async fn a_quote_is_a_character_like_any_other() {
    let site = Site::new();
    let (ada, eve) = (pair(&site.visitor("ada").await), pair(&site.visitor("eve").await));
    // The quotes open nothing, so the semicolons inside end the pairs, and both sessions are seen.
    let smuggled = format!("a=\"x; {eve}; y\"");
    Site::assert_seen(&site.ask(&[smuggled.as_bytes()]).await, "eve", Counts::gets(1));
    let beside = format!("a=\"x; {eve}; y\"; {ada}");
    Site::assert_seen(&site.ask(&[beside.as_bytes()]).await, "nobody", Counts::gets(2));
    // Nor does a quote hide the cookies after it.
    let open = format!("a=\"x; {ada}");
    Site::assert_seen(&site.ask(&[open.as_bytes()]).await, "ada", Counts::gets(1));
    let escaped = format!("a=\"\\\"; {ada}");
    Site::assert_seen(&site.ask(&[escaped.as_bytes()]).await, "ada", Counts::gets(1));
}

#[tokio::test]
async fn a_name_that_only_looks_like_ours_is_another_name() {
    let site = Site::new();
    let token = site.visitor("ada").await;
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
        Site::assert_seen(&site.ask(&[cookie.as_bytes()]).await, "nobody", Counts::NONE);
    }
    for cookie in
        [token.clone(), format!("={token}"), format!("{COOKIE_NAME} {token}"), format!("{COOKIE_NAME}:{token}")]
    {
        Site::assert_seen(&site.ask(&[cookie.as_bytes()]).await, "nobody", Counts::NONE);
    }
    for byte in [0x80u8, 0x85, 0xa0, 0xe2, 0xff] {
        let cookie = [&[byte][..], COOKIE_NAME.as_bytes(), b"=", token.as_bytes()].concat();
        Site::assert_seen(&site.ask(&[&cookie]).await, "nobody", Counts::NONE);
    }
    let nested = format!("a={COOKIE_NAME}={token}");
    Site::assert_seen(&site.ask(&[nested.as_bytes()]).await, "nobody", Counts::NONE);
}

// Checklist 6
// checklist: 6
#[tokio::test]
async fn nothing_but_the_cookie_carries_a_session() {
    let site = Site::new();
    let token = site.visitor("ada").await;
    let paths = [format!("/?{COOKIE_NAME}={token}"), format!("/?id={token}&sid={token}"), format!("/#{token}")];
    for path in paths {
        let reply = Client::new(&site.app).get(&path).await;
        assert_eq!(reply.text(), "nobody");
    }
    for name in ["__host-id", "id", "authorization", "x-session-id", "x-id", "set-cookie", "cookie2"] {
        for value in [token.clone(), format!("Bearer {token}"), pair(&token)] {
            let mut request = request_with_cookies("/", &[]);
            request.headers_mut().insert(http::HeaderName::from_static(name), value.parse().unwrap());
            assert_eq!(send(&site.app, request).await.text(), "nobody", "{name}: {value}");
        }
    }
    let form = format!("id={token}&{COOKIE_NAME}={token}");
    let made = Client::new(&site.app).post_body("/be/eve", form).await.set_cookie().value;
    assert_ne!(session_of(&made), session_of(&token));
    assert_eq!(site.store.counts().gets, 0);
    Site::assert_seen(&site.ask(&[pair(&token).as_bytes()]).await, "ada", Counts::gets(1));
}

#[tokio::test]
async fn a_stale_cookie_is_left_alone() {
    let site = Site::new();
    let stale = pair(&site.stale().await);
    Site::assert_seen(&site.ask(&[stale.as_bytes()]).await, "nobody", Counts::gets(1));
    let mut client = Client::with_cookie(&site.app, COOKIE_NAME, &invented(3));
    client.post("/sign-out").await.assert_no_cookie();
}
