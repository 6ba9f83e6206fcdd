//! CSRF tokens, over any store.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{any, get, post};
use http::header::CONTENT_TYPE;
use http::{Method, Request, StatusCode};
use serde::Deserialize;
use sessile::csrf::{Csrf, CsrfForm, CsrfLayer};
use sessile::event::EventKind;
use sessile::{Error, Lifetime, Session, SessionLayer};

use super::Setup;
use crate::support::client::{COOKIE_NAME, Client, Reply};

const FORM: &str = "application/x-www-form-urlencoded";

#[derive(Deserialize)]
struct Rename {
    name: String,
}

pub fn app(layer: SessionLayer) -> Router {
    async fn page(session: Session) -> Result<String, Error> {
        Ok(session.csrf_token().await?.to_string())
    }

    async fn two(session: Session) -> Result<String, Error> {
        Ok(format!("{} {}", session.csrf_token().await?, session.csrf_token().await?.as_str()))
    }

    async fn change(session: Csrf) -> Result<String, Error> {
        session
            .update_now("changes", |n: &mut u32| {
                *n += 1;
                *n
            })
            .await
            .map(|n| n.to_string())
    }

    async fn form(session: Session, CsrfForm(form): CsrfForm<Rename>) -> Result<String, Error> {
        session.insert("name", &form.name)?;
        Ok(form.name)
    }

    async fn rotate_and_show(session: Session) -> Result<String, Error> {
        session.rotate()?;
        Ok(session.csrf_token().await?.to_string())
    }

    async fn sign_in_and_show(session: Session) -> Result<String, Error> {
        session.sign_in("ada")?;
        Ok(session.csrf_token().await?.to_string())
    }

    async fn guarded(session: Session, body: String) -> Result<String, Error> {
        session.update("guarded", |n: &mut u32| *n += 1)?;
        Ok(body)
    }

    let guarded = Router::new().route("/guarded", any(guarded)).layer(CsrfLayer::new());
    Router::new()
        .route("/page", get(page))
        .route("/two", get(two))
        .route("/change", post(change))
        .route("/form", post(form))
        .route("/rotate", post(async |session: Session| session.rotate()))
        .route("/sign-in", post(async |session: Session| session.sign_in("ada")))
        .route("/sign-out", post(async |session: Session| session.sign_out()))
        .route("/rotate-and-show", post(rotate_and_show))
        .route("/sign-in-and-show", post(sign_in_and_show))
        .route(
            "/guarded-count",
            get(async |session: Session| Ok::<_, Error>(format!("{:?}", session.get::<u32>("guarded")?))),
        )
        .merge(guarded)
        .layer(layer)
}

pub fn with_header(method: Method, path: &str, token: &str) -> Request<Body> {
    Request::builder().method(method).uri(path).header("X-CSRF-Token", token).body(Body::empty()).unwrap()
}

pub fn with_form(path: &str, content_type: &str, body: impl Into<String>) -> Request<Body> {
    Request::post(path).header(CONTENT_TYPE, content_type).body(Body::from(body.into())).unwrap()
}

async fn change(client: &mut Client, token: &str) -> Reply {
    client.send(with_header(Method::POST, "/change", token)).await
}

/// Creates a client with a session and returns it with a CSRF token.
async fn client_with_token(app: &Router) -> (Client, String) {
    let mut client = Client::new(app);
    let token = csrf_token_of(&mut client).await;
    (client, token)
}

async fn csrf_token_of(client: &mut Client) -> String {
    let page = client.get("/page").await;
    assert_eq!(page.status, StatusCode::OK);
    page.text().to_owned()
}

#[track_caller]
fn assert_accepted(reply: &Reply) {
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
}

#[track_caller]
fn assert_refused(reply: &Reply) {
    assert_eq!(reply.status, StatusCode::FORBIDDEN, "{reply:?}");
    reply.assert_no_cookie();
}

/// A page without a session shows a token and sets a cookie; the token is accepted repeatedly in headers and forms.
pub async fn csrf_token_creates_session_and_is_accepted(setup: &Setup) {
    let app = app(setup.layer());
    let mut client = Client::new(&app);
    let page = client.get("/page").await;
    page.set_cookie();
    assert_eq!(page.text().len(), 86);
    assert!(page.text().bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
    let token = page.text().to_owned();
    assert_eq!(change(&mut client, &token).await.text(), "1");
    assert_eq!(change(&mut client, &token).await.text(), "2", "a token is accepted more than once");
    let form = format!("name=Ada+Lovelace&csrf_token={token}");
    assert_eq!(client.send(with_form("/form", FORM, form)).await.text(), "Ada Lovelace");
    client.get("/page").await.assert_no_cookie();
}

/// Returns the token with the first of a character's six bits flipped.
fn altered(token: &str, place: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = token.as_bytes().to_vec();
    let value = ALPHABET.iter().position(|character| *character == bytes[place]).unwrap();
    bytes[place] = ALPHABET[value ^ 32];
    String::from_utf8(bytes).unwrap()
}

/// Malformed, altered, missing and misplaced tokens get 403 and an event, and the handler never runs.
pub async fn invalid_csrf_tokens_are_refused_without_changes(setup: &Setup) {
    let app = app(setup.layer());
    let (mut client, token) = client_with_token(&app).await;
    let zeros = "A".repeat(86);
    let session_token = client.token().unwrap();
    for wrong in [
        "",
        "null",
        &token[1..],
        &token[..85],
        &format!("{token}A"),
        &format!("{token}=="),
        &token.to_lowercase(),
        &zeros,
        &session_token,
        &session_token.repeat(2),
        &"A".repeat(8 * 1024),
        "ééééééééééééééééééééééééééééééééééééééééééé",
    ] {
        let mut request = with_header(Method::POST, "/change", "x");
        *request.headers_mut().get_mut("x-csrf-token").unwrap() =
            http::HeaderValue::from_bytes(wrong.as_bytes()).unwrap();
        assert_refused(&client.send(request).await);
        let form = form_urlencoded::Serializer::new("name=x".to_owned()).append_pair("csrf_token", wrong).finish();
        assert_refused(&client.send(with_form("/form", FORM, form)).await);
    }
    for place in 0..token.len() {
        let altered = altered(&token, place);
        assert_refused(&change(&mut client, &altered).await);
        for path in ["/form", "/guarded"] {
            let form = format!("name=x&csrf_token={altered}");
            assert_refused(&client.send(with_form(path, FORM, form)).await);
        }
    }
    assert_refused(&client.post("/change").await);
    assert_refused(&client.send(with_form("/form", FORM, "name=x")).await);
    let in_query = Request::post(format!("/change?csrf_token={token}")).body(Body::empty()).unwrap();
    assert_refused(&client.send(in_query).await);
    assert_eq!(
        change(&mut client, &token).await.text(),
        "1",
        "earlier requests changed nothing, and the token is still valid"
    );
    assert!(setup.events.count(EventKind::CsrfRefused) > 10);
}

// checklist: 31
/// An attacker's own valid token is refused in the victim's session, without a session, and beside two live sessions.
pub async fn csrf_token_of_another_session_is_refused(setup: &Setup) {
    let app = app(setup.layer());
    let (mut victim, own) = client_with_token(&app).await;
    let (mut attacker, theirs) = client_with_token(&app).await;
    assert_refused(&change(&mut victim, &theirs).await);
    let form = format!("name=x&csrf_token={theirs}");
    assert_refused(&victim.send(with_form("/form", FORM, form.clone())).await);
    assert_refused(&victim.send(with_form("/guarded", FORM, form)).await);
    assert_refused(&change(&mut Client::new(&app), &theirs).await);
    assert_accepted(&change(&mut victim, &own).await);
    assert_accepted(&change(&mut attacker, &theirs).await);
    // Two live sessions in one request: neither is used.
    let both = format!("{COOKIE_NAME}={}; {COOKIE_NAME}={}", victim.token().unwrap(), attacker.token().unwrap());
    for token in [&own, &theirs] {
        let mut request = with_header(Method::POST, "/change", token);
        request.headers_mut().insert("cookie", both.parse().unwrap());
        assert_refused(&Client::new(&app).send(request).await);
    }
}

/// A rotation, a sign-in and a sign-out each invalidate earlier tokens; a newly shown token is accepted.
pub async fn csrf_token_from_before_rotation_or_sign_in_is_refused(setup: &Setup) {
    let app = app(setup.layer());
    let (mut client, first) = client_with_token(&app).await;
    client.post("/rotate").await.set_cookie();
    assert_refused(&change(&mut client, &first).await);
    let second = csrf_token_of(&mut client).await;
    assert_accepted(&change(&mut client, &second).await);
    client.post("/sign-in").await.set_cookie();
    assert_refused(&change(&mut client, &second).await);
    let third = csrf_token_of(&mut client).await;
    assert_accepted(&change(&mut client, &third).await);
    client.post("/sign-out").await;
    assert_refused(&change(&mut client, &third).await);
}

/// The victim signs in to a session that an attacker planted; the attacker's CSRF token is then refused.
pub async fn csrf_token_of_planted_session_is_refused_after_sign_in(setup: &Setup) {
    let app = app(setup.layer());
    let (attacker, planted) = client_with_token(&app).await;
    let mut victim = Client::with_cookie(&app, COOKIE_NAME, &attacker.token().unwrap());
    victim.post("/sign-in").await.set_cookie();
    assert_refused(&change(&mut victim, &planted).await);
}

/// A token shown after a rotation or a sign-in of the same request is accepted; earlier tokens are refused.
pub async fn csrf_token_belongs_to_session_after_rotation_in_request(setup: &Setup) {
    let app = app(setup.layer());
    let (mut client, before) = client_with_token(&app).await;
    for path in ["/rotate-and-show", "/sign-in-and-show"] {
        let reply = client.post(path).await;
        reply.set_cookie();
        assert_accepted(&change(&mut client, reply.text()).await);
        assert_refused(&change(&mut client, &before).await);
    }
    // Without an earlier session.
    let mut client = Client::new(&app);
    let token = client.post("/sign-in-and-show").await.text().to_owned();
    assert_accepted(&change(&mut client, &token).await);
}

// checklist: 31
/// Three refreshes keep earlier tokens valid in both tabs; an explicit rotation invalidates them.
pub async fn csrf_token_survives_refresh(setup: &Setup) {
    let minute = Duration::from_secs(60);
    let app = app(setup.builder().with_lifetime(Lifetime::new().with_refresh_interval(minute)).build().unwrap());
    let (mut client, token) = client_with_token(&app).await;
    let mut sessions = vec![client.token().unwrap()];
    for _ in 0..3 {
        setup.clock.advance(minute);
        let mut other_tab = client.clone();
        // The response with the pending token, the first request that sends it, and one more request.
        for _ in 0..3 {
            assert_accepted(&change(&mut client, &token).await);
            let shown = csrf_token_of(&mut client).await;
            assert_accepted(&change(&mut client, &shown).await);
            assert_accepted(&change(&mut other_tab, &shown).await);
        }
        // A concurrent request with the replaced token.
        assert_accepted(&change(&mut other_tab, &token).await);
        sessions.push(client.token().unwrap());
    }
    sessions.dedup();
    assert_eq!(sessions.len(), 4, "each interval issued a new token");
    client.post("/rotate").await;
    assert_refused(&change(&mut client, &token).await);
    let token = csrf_token_of(&mut client).await;
    assert_accepted(&change(&mut client, &token).await);
}

// checklist: 31
/// Forty tokens of one session share no run of six characters, and each is accepted.
pub async fn each_csrf_token_has_a_fresh_mask(setup: &Setup) {
    let app = app(setup.layer());
    let (mut client, _) = client_with_token(&app).await;
    let mut tokens = Vec::new();
    for _ in 0..20 {
        let page = client.get("/two").await;
        tokens.extend(page.text().split(' ').map(str::to_owned));
    }
    for (place, token) in tokens.iter().enumerate() {
        assert_accepted(&change(&mut client, token).await);
        for other in &tokens[..place] {
            // Repeated text would let compression reveal the token (BREACH).
            let repeats = (0..80).any(|at| other.contains(&token[at..at + 6]));
            assert!(!repeats, "{token} and {other}");
        }
    }
}

/// Unsafe and unknown methods get 403 without a valid token; safe methods need none.
pub async fn csrf_layer_refuses_unsafe_methods_without_token(setup: &Setup) {
    let app = app(setup.layer());
    let (mut client, token) = client_with_token(&app).await;
    for method in ["POST", "PUT", "PATCH", "DELETE", "CONNECT", "PROPFIND", "post"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let without = Request::builder().method(&method).uri("/guarded").body(Body::empty()).unwrap();
        let reply = client.send(without).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{method}");
        assert!(reply.text().contains("form has expired"), "{}", reply.text());
        assert_eq!(client.send(with_header(method.clone(), "/guarded", "x")).await.status, StatusCode::FORBIDDEN);
    }
    assert_eq!(client.get("/guarded-count").await.text(), "None", "no handler ran");
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        assert_accepted(&client.send(with_header(method, "/guarded", &token)).await);
    }
    assert_eq!(client.get("/guarded-count").await.text(), "Some(4)");
    for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE] {
        let request = Request::builder().method(method).uri("/guarded").body(Body::empty()).unwrap();
        assert_accepted(&client.send(request).await);
    }
}

/// Forms keep their body, a wrong header is never replaced by a form field, and other content types are not read.
pub async fn csrf_layer_reads_form_token_and_passes_body_on(setup: &Setup) {
    let app = app(setup.layer());
    let (mut client, token) = client_with_token(&app).await;
    for body in [
        format!("csrf_token={token}"),
        format!("name=Ada%20Lovelace&csrf_token={token}&more={}", "x".repeat(100_000)),
        format!("a=%ff&csrf_token={token}"),
    ] {
        for content_type in [FORM, "Application/X-WWW-Form-Urlencoded; charset=utf-8"] {
            let reply = client.send(with_form("/guarded", content_type, body.clone())).await;
            assert_accepted(&reply);
            assert_eq!(reply.text(), body);
        }
    }
    // A valid form field does not replace a wrong header.
    let mut both = with_form("/guarded", FORM, format!("csrf_token={token}"));
    both.headers_mut().insert("x-csrf-token", "x".parse().unwrap());
    assert_eq!(client.send(both).await.status, StatusCode::FORBIDDEN);
    // Other content types are not read as forms.
    for content_type in ["text/plain", "multipart/form-data; boundary=x", "application/json", ""] {
        let reply = client.send(with_form("/guarded", content_type, format!("csrf_token={token}"))).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{content_type}");
    }
    let long = format!("csrf_token={token}&x={}", "x".repeat(3 * 1024 * 1024));
    assert_eq!(client.send(with_form("/guarded", FORM, long)).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}

/// Wrong content type, missing field, oversized body and missing token get 415, 422, 413 and 403.
pub async fn rejected_csrf_form_has_matching_status(setup: &Setup) {
    let app = app(setup.layer());
    let (mut client, token) = client_with_token(&app).await;
    let with_token = |rest: &str| format!("csrf_token={token}&{rest}");
    for (content_type, body, expected) in [
        ("application/json", with_token("name=x"), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (FORM, with_token("other=x"), StatusCode::UNPROCESSABLE_ENTITY),
        (FORM, with_token(&"x".repeat(3 * 1024 * 1024)), StatusCode::PAYLOAD_TOO_LARGE),
        (FORM, "other=x".to_owned(), StatusCode::FORBIDDEN),
    ] {
        assert_eq!(client.send(with_form("/form", content_type, body)).await.status, expected);
    }
    let mut by_header = with_form("/form", FORM, "name=Ada");
    by_header.headers_mut().insert("x-csrf-token", token.parse().unwrap());
    assert_eq!(client.send(by_header).await.text(), "Ada");
    // A valid field does not replace a wrong header.
    let mut both = with_form("/form", FORM, with_token("name=Ada"));
    both.headers_mut().insert("x-csrf-token", "x".parse().unwrap());
    assert_refused(&client.send(both).await);
}

/// After a rotation in another tab, the page and a form with the earlier CSRF token get 409 without a cookie.
pub async fn retired_token_gets_no_csrf_token(setup: &Setup) {
    let app = app(setup.layer());
    let (mut client, token) = client_with_token(&app).await;
    let mut other_tab = client.clone();
    client.post("/rotate").await;
    let page = other_tab.get("/page").await;
    assert_eq!(page.status, StatusCode::CONFLICT);
    page.assert_no_cookie();
    let form = change(&mut other_tab, &token).await;
    assert_eq!(form.status, StatusCode::CONFLICT);
    form.assert_no_cookie();
}
