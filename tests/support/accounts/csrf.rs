//! Tokens against cross-site request forgery.

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

use super::Over;
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

    async fn form(session: Session, CsrfForm(form, ..): CsrfForm<Rename>) -> Result<String, Error> {
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

/// A visitor who was shown a page; the token that is on it.
async fn visitor(app: &Router) -> (Client, String) {
    let mut client = Client::new(app);
    let token = shown(&mut client).await;
    (client, token)
}

async fn shown(client: &mut Client) -> String {
    let page = client.get("/page").await;
    assert_eq!(page.status, StatusCode::OK);
    page.text().to_owned()
}

#[track_caller]
fn assert_taken(reply: &Reply) {
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
}

#[track_caller]
fn assert_refused(reply: &Reply) {
    assert_eq!(reply.status, StatusCode::FORBIDDEN, "{reply:?}");
    reply.assert_no_cookie();
}

pub async fn a_page_that_shows_a_token_begins_a_session_and_its_forms_work(over: &Over) {
    let app = app(over.layer());
    let mut client = Client::new(&app);
    let page = client.get("/page").await;
    page.set_cookie();
    assert_eq!(page.text().len(), 86);
    assert!(page.text().bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
    let token = page.text().to_owned();
    assert_eq!(change(&mut client, &token).await.text(), "1");
    assert_eq!(change(&mut client, &token).await.text(), "2", "a token is good for more than one form");
    let form = format!("name=Ada+Lovelace&csrf_token={token}");
    assert_eq!(client.send(with_form("/form", FORM, form)).await.text(), "Ada Lovelace");
    client.get("/page").await.assert_no_cookie();
}

pub async fn what_is_no_token_is_refused_and_changes_nothing(over: &Over) {
    let app = app(over.layer());
    let (mut client, token) = visitor(&app).await;
    let mut flipped = token.clone().into_bytes();
    flipped[50] = if flipped[50] == b'A' { b'B' } else { b'A' };
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
        std::str::from_utf8(&flipped).unwrap(),
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
    assert_refused(&client.post("/change").await);
    assert_refused(&client.send(with_form("/form", FORM, "name=x")).await);
    let elsewhere = Request::post(format!("/change?csrf_token={token}")).body(Body::empty()).unwrap();
    assert_refused(&client.send(elsewhere).await);
    assert_eq!(
        change(&mut client, &token).await.text(),
        "1",
        "nothing was changed before, and the token is still good"
    );
    assert!(over.events.count(EventKind::CsrfRefused) > 10);
}

// checklist: 31
pub async fn a_token_of_another_session_is_refused(over: &Over) {
    let app = app(over.layer());
    let (mut victim, good) = visitor(&app).await;
    let (mut attacker, theirs) = visitor(&app).await;
    assert_refused(&change(&mut victim, &theirs).await);
    let form = format!("name=x&csrf_token={theirs}");
    assert_refused(&victim.send(with_form("/form", FORM, form.clone())).await);
    assert_refused(&victim.send(with_form("/guarded", FORM, form)).await);
    assert_refused(&change(&mut Client::new(&app), &theirs).await);
    assert_taken(&change(&mut victim, &good).await);
    assert_taken(&change(&mut attacker, &theirs).await);
    // Nor with its own cookie beside: two live sessions are none.
    let both = format!("{COOKIE_NAME}={}; {COOKIE_NAME}={}", victim.token().unwrap(), attacker.token().unwrap());
    for token in [&good, &theirs] {
        let mut request = with_header(Method::POST, "/change", token);
        request.headers_mut().insert("cookie", both.parse().unwrap());
        assert_refused(&Client::new(&app).send(request).await);
    }
}

pub async fn a_token_of_before_a_rotation_or_a_sign_in_is_refused_after(over: &Over) {
    let app = app(over.layer());
    let (mut client, first) = visitor(&app).await;
    client.post("/rotate").await.set_cookie();
    assert_refused(&change(&mut client, &first).await);
    let second = shown(&mut client).await;
    assert_taken(&change(&mut client, &second).await);
    client.post("/sign-in").await.set_cookie();
    assert_refused(&change(&mut client, &second).await);
    let third = shown(&mut client).await;
    assert_taken(&change(&mut client, &third).await);
    client.post("/sign-out").await;
    assert_refused(&change(&mut client, &third).await);
}

pub async fn a_planted_session_gives_no_token_that_works_after_the_sign_in(over: &Over) {
    let app = app(over.layer());
    let (attacker, planted) = visitor(&app).await;
    let mut victim = Client::with_cookie(&app, COOKIE_NAME, &attacker.token().unwrap());
    victim.post("/sign-in").await.set_cookie();
    assert_refused(&change(&mut victim, &planted).await);
}

pub async fn a_token_is_shown_of_what_the_same_request_makes(over: &Over) {
    let app = app(over.layer());
    let (mut client, before) = visitor(&app).await;
    for path in ["/rotate-and-show", "/sign-in-and-show"] {
        let reply = client.post(path).await;
        reply.set_cookie();
        assert_taken(&change(&mut client, reply.text()).await);
        assert_refused(&change(&mut client, &before).await);
    }
    // Where there was no session before.
    let mut client = Client::new(&app);
    let token = client.post("/sign-in-and-show").await.text().to_owned();
    assert_taken(&change(&mut client, &token).await);
}

// checklist: 31
pub async fn a_token_survives_a_periodic_rotation(over: &Over) {
    let minute = Duration::from_secs(60);
    let app = app(over.builder().with_lifetime(Lifetime::new().with_refresh_interval(minute)).build().unwrap());
    let (mut client, token) = visitor(&app).await;
    let mut sessions = vec![client.token().unwrap()];
    for _ in 0..3 {
        over.clock.advance(minute);
        let mut other_tab = client.clone();
        // The response that brings the new secret, the request that shows it for the first time, and the next one.
        for _ in 0..3 {
            assert_taken(&change(&mut client, &token).await);
            let shown = shown(&mut client).await;
            assert_taken(&change(&mut client, &shown).await);
            assert_taken(&change(&mut other_tab, &shown).await);
        }
        // A tab whose request was under way with the secret of before.
        assert_taken(&change(&mut other_tab, &token).await);
        sessions.push(client.token().unwrap());
    }
    sessions.dedup();
    assert_eq!(sessions.len(), 4, "the secret was renewed each time");
    client.post("/rotate").await;
    assert_refused(&change(&mut client, &token).await);
    let token = shown(&mut client).await;
    assert_taken(&change(&mut client, &token).await);
}

// checklist: 31
pub async fn each_token_is_masked_anew(over: &Over) {
    let app = app(over.layer());
    let (mut client, _) = visitor(&app).await;
    let mut tokens = Vec::new();
    for _ in 0..20 {
        let page = client.get("/two").await;
        tokens.extend(page.text().split(' ').map(str::to_owned));
    }
    for (place, token) in tokens.iter().enumerate() {
        assert_taken(&change(&mut client, token).await);
        for other in &tokens[..place] {
            // What compression would find in two pages: any stretch that repeats.
            let repeats = (0..80).any(|at| other.contains(&token[at..at + 6]));
            assert!(!repeats, "{token} and {other}");
        }
    }
}

pub async fn the_layer_refuses_unsafe_methods_without_a_token(over: &Over) {
    let app = app(over.layer());
    let (mut client, token) = visitor(&app).await;
    for method in ["POST", "PUT", "PATCH", "DELETE", "CONNECT", "PROPFIND", "post"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let without = Request::builder().method(&method).uri("/guarded").body(Body::empty()).unwrap();
        let reply = client.send(without).await;
        assert_eq!((reply.status, reply.text()), (StatusCode::FORBIDDEN, ""), "{method}");
        assert_eq!(client.send(with_header(method.clone(), "/guarded", "x")).await.status, StatusCode::FORBIDDEN);
    }
    assert_eq!(client.get("/guarded-count").await.text(), "None", "no handler has run");
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        assert_taken(&client.send(with_header(method, "/guarded", &token)).await);
    }
    assert_eq!(client.get("/guarded-count").await.text(), "Some(4)");
    for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE] {
        let request = Request::builder().method(method).uri("/guarded").body(Body::empty()).unwrap();
        assert_taken(&client.send(request).await);
    }
}

pub async fn the_layer_reads_the_token_of_a_form_and_hands_the_form_on(over: &Over) {
    let app = app(over.layer());
    let (mut client, token) = visitor(&app).await;
    for body in [
        format!("csrf_token={token}"),
        format!("name=Ada%20Lovelace&csrf_token={token}&more={}", "x".repeat(100_000)),
        format!("a=%ff&csrf_token={token}"),
    ] {
        for content_type in [FORM, "Application/X-WWW-Form-Urlencoded; charset=utf-8"] {
            let reply = client.send(with_form("/guarded", content_type, body.clone())).await;
            assert_taken(&reply);
            assert_eq!(reply.text(), body);
        }
    }
    // A header that is wrong is not made up for by a form.
    let mut both = with_form("/guarded", FORM, format!("csrf_token={token}"));
    both.headers_mut().insert("x-csrf-token", "x".parse().unwrap());
    assert_eq!(client.send(both).await.status, StatusCode::FORBIDDEN);
    // What is no form is not read as one.
    for content_type in ["text/plain", "multipart/form-data; boundary=x", "application/json", ""] {
        let reply = client.send(with_form("/guarded", content_type, format!("csrf_token={token}"))).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{content_type}");
    }
    let long = format!("csrf_token={token}&x={}", "x".repeat(3 * 1024 * 1024));
    assert_eq!(client.send(with_form("/guarded", FORM, long)).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}

pub async fn a_form_that_cannot_be_taken_says_why(over: &Over) {
    let app = app(over.layer());
    let (mut client, token) = visitor(&app).await;
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
    // A header that is wrong is not made up for by the field.
    let mut both = with_form("/form", FORM, with_token("name=Ada"));
    both.headers_mut().insert("x-csrf-token", "x".parse().unwrap());
    assert_refused(&client.send(both).await);
}

pub async fn a_client_under_a_retired_token_is_shown_none(over: &Over) {
    let app = app(over.layer());
    let (mut client, token) = visitor(&app).await;
    let mut behind = client.clone();
    client.post("/rotate").await;
    let page = behind.get("/page").await;
    assert_eq!(page.status, StatusCode::CONFLICT);
    page.assert_no_cookie();
    assert_refused(&change(&mut behind, &token).await);
}
