//! CSRF tokens. The tests that run on every store are in `accounts/csrf.rs`.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::{accounts, support};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Body;
use axum::routing::{any, post};
use http::{Method, Request, StatusCode};
use sessile::csrf::{Csrf, CsrfFormFor, CsrfLayer};
use sessile::event::EventKind;
use sessile::{Error, ErrorKind, Lifetime, MemoryStore, Session, SessionLayer};
use support::client::{COOKIE_NAME, Client, session_of};
use support::race::{MINUTE, NO_TOKEN, World};
use support::store::{CountingStore, Counts, Fault, Op};

use accounts::csrf::{app, with_form, with_header};
use accounts::csrf_rules;

csrf_rules!(in_memory);

/// Beyond the load's `get`, a CSRF token costs nothing; without a stored session it costs one `set`.
#[tokio::test]
async fn csrf_token_of_a_stored_session_makes_no_store_calls() {
    let world = World::new();
    let token = world.begin().await;
    let (answer, counts) = world
        .cost(world.send(&token, |session| async move {
            let csrf = session.csrf_token().await?;
            assert!(session.verify_csrf(csrf.as_str()) && !session.verify_csrf(""));
            Ok(())
        }))
        .await;
    answer.assert_silent(StatusCode::OK);
    assert_eq!(counts, Counts { gets: 1, ..Counts::NONE });
    let (_, counts) =
        world.cost(world.send(NO_TOKEN, |session| async move { session.csrf_token().await.map(drop) })).await;
    assert_eq!(counts, Counts { sets: 1, ..Counts::NONE }, "a new session is stored first");
}

/// Writes before and after `csrf_token` of a new session are both stored.
#[tokio::test]
async fn csrf_token_commits_earlier_writes_of_the_request() {
    let world = World::new();
    let answer = world
        .send(NO_TOKEN, |session| async move {
            session.insert("before", &1_u64)?;
            session.csrf_token().await?;
            session.insert("after", &2_u64)
        })
        .await;
    assert_eq!(world.opens(&answer.token()).await.unwrap().keys, ["before", "after"]);
}

/// `commit` and `csrf_token` of a new session run concurrently; the token is valid and the write is stored.
#[tokio::test]
async fn csrf_token_waits_for_a_concurrent_commit() {
    let world = World::new();
    let gate = world.faults.hold_before(Op::Set, 1);
    let request = world.spawn(NO_TOKEN, |session| async move {
        session.insert("mine", &1_u64)?;
        let (stored, shown) = tokio::join!(session.commit(), session.csrf_token());
        stored?;
        let shown = shown?;
        assert!(session.verify_csrf(shown.as_str()));
        Ok(())
    });
    gate.reached().await;
    gate.release();
    let answer = request.await.unwrap();
    assert_eq!(world.stored(&answer.assert_ok().token()).await.unwrap().len(), 1);
}

/// A new session cannot be stored, so `csrf_token` fails with 503 and no cookie is set.
#[tokio::test]
async fn csrf_token_fails_with_503_if_the_store_fails() {
    let world = World::new();
    world.faults.fail_always(Op::Set, Fault::Before);
    let answer =
        world.send(NO_TOKEN, |session| async move { session.csrf_token().await.map(|token| token.to_string()) }).await;
    answer.assert_silent(StatusCode::SERVICE_UNAVAILABLE);
}

/// Three concurrent sign-ins of one owner show CSRF tokens; each is valid under each response's cookie.
#[tokio::test]
async fn csrf_tokens_of_concurrent_sign_ins_are_interchangeable() {
    let world = World::new();
    let start = world.begin().await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(
            world
                .hold(&start, |session, gate| async move {
                    gate.wait().await;
                    session.sign_in("ada")?;
                    Ok(session.csrf_token().await?.to_string())
                })
                .await,
        );
    }
    let mut shown = Vec::new();
    for request in held {
        let answer = request.finish().await;
        shown.push((answer.assert_ok().token(), answer.body));
    }
    // The browser may keep any of the three cookies.
    for (token, _) in shown.iter().rev() {
        for (_, csrf) in shown.clone() {
            let verified = world.send(token, |session| async move { Ok(session.verify_csrf(&csrf).to_string()) }).await;
            assert_eq!(verified.body, "true");
        }
    }
    assert!(world.saw(EventKind::SignedIn));
}

/// A detached session shares valid tokens with its request; without a stored session it fails with `Detached`.
#[tokio::test]
async fn detached_session_shows_csrf_tokens_only_if_stored() {
    let world = World::new();
    let token = world.begin().await;
    world
        .send(&token, |session| async move {
            let csrf = session.csrf_token().await?;
            let detached = session.detach();
            assert!(detached.verify_csrf(csrf.as_str()));
            assert!(session.verify_csrf(detached.csrf_token().await?.as_str()));
            Ok(())
        })
        .await
        .assert_ok();
    world
        .send(NO_TOKEN, |session| async move {
            let error = session.detach().csrf_token().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Detached);
            assert!(!session.verify_csrf("x"));
            Ok(())
        })
        .await
        .assert_silent(StatusCode::OK);
    // A session that only the response will store.
    world
        .send(NO_TOKEN, |session| async move {
            session.insert("n", &1_u64)?;
            let error = session.detach().csrf_token().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Detached);
            Ok(())
        })
        .await
        .assert_ok();
}

/// `Debug` hides the token; `Display` and `Serialize` write it.
#[tokio::test]
async fn csrf_token_is_redacted_in_debug_output() {
    let world = World::new();
    world
        .send(NO_TOKEN, |session| async move {
            let token = session.csrf_token().await?;
            assert_eq!(format!("{token:?}"), "CsrfToken(…)");
            assert_eq!(serde_json::to_string(&token).unwrap(), format!("\"{token}\""));
            assert_eq!(format!("{token}"), token.as_str());
            Ok(())
        })
        .await
        .assert_ok();
}

/// A safe request costs no store call, a refused unsafe request one `get`, and one without a session none.
#[tokio::test]
async fn csrf_layer_costs_at_most_one_get() {
    let store = CountingStore::new(MemoryStore::new());
    let app = Router::new().route("/", any(async || "hello")).layer(CsrfLayer::new());
    let app = app.layer(SessionLayer::new(store.clone()));
    let (_, token) = SessionLayer::new(store.clone())
        .sessions()
        .create(&[("n", 1)].map(|pair| pair).into_iter().collect::<std::collections::BTreeMap<_, _>>())
        .await
        .unwrap();
    let mut client = Client::with_token(&app, &token);
    store.reset();
    assert_eq!(client.get("/").await.text(), "hello");
    assert_eq!(store.counts(), Counts::NONE);
    assert_eq!(client.post("/").await.status, StatusCode::FORBIDDEN);
    assert_eq!(store.counts(), Counts { gets: 1, ..Counts::NONE });
    // Without a session cookie, no store call is made and no form is read.
    store.reset();
    let form = with_form("/", "application/x-www-form-urlencoded", "x".repeat(3 * 1024 * 1024));
    assert_eq!(Client::new(&app).send(form).await.status, StatusCode::FORBIDDEN);
    assert_eq!(store.counts(), Counts::NONE);
}

/// Without a live session, the body of a form is not read, whatever the header `X-CSRF-Token` says.
#[tokio::test]
async fn form_without_a_session_is_refused_before_it_is_read() {
    let world = World::new();
    let marked = SessionLayer::builder(world.store.clone()).with_name("marked").with_clock(&world.clock);
    let app = app(world.layer.clone())
        .route("/marked", post(async |_: CsrfFormFor<World, ()>| ()))
        .layer(marked.build().unwrap().with_marker::<World>());
    let ended = world.begin().await;
    world.send(&ended, |session| async move { session.sign_out() }).await.assert_ok();
    world.advance(MINUTE);
    let mut signed_in = Client::new(&app);
    let token = signed_in.get("/page").await.text().to_owned();
    let clients = [("no cookie", Client::new(&app)), ("ended", Client::with_cookie(&app, COOKIE_NAME, &ended))];
    for (name, mut client) in clients {
        for path in ["/form", "/marked", "/guarded"] {
            for header in [None, Some(&token)] {
                let (request, is_read) = observed_form(path, &token, header);
                assert_eq!(client.send(request).await.status, StatusCode::FORBIDDEN, "{name} {path} {header:?}");
                assert!(!is_read.load(Ordering::SeqCst), "{name} {path} {header:?}");
            }
        }
    }
    let (request, is_read) = observed_form("/form", &token, None);
    assert_eq!(signed_in.send(request).await.text(), "Ada");
    assert!(is_read.load(Ordering::SeqCst), "the form of a client with a session is read");
}

/// Creates a request with a form, and a flag that is set when the body is read.
fn observed_form(path: &str, token: &str, header: Option<&String>) -> (Request<Body>, Arc<AtomicBool>) {
    let is_read = Arc::new(AtomicBool::new(false));
    let (flag, form) = (Arc::clone(&is_read), format!("name=Ada&csrf_token={token}"));
    let body = futures_util::stream::once(async move {
        flag.store(true, Ordering::SeqCst);
        Ok::<_, std::convert::Infallible>(form)
    });
    let mut request = Request::post(path).header("content-type", "application/x-www-form-urlencoded");
    if let Some(header) = header {
        request = request.header("x-csrf-token", header);
    }
    (request.body(Body::from_stream(body)).unwrap(), is_read)
}

/// The CSRF layer and the `Csrf` extractor answer 500 without a session layer.
#[tokio::test]
async fn csrf_without_a_session_layer_is_a_500() {
    let app = Router::new().route("/", post(async || ())).layer(CsrfLayer::new());
    assert_eq!(Client::new(&app).post("/").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    let app = Router::new().route("/", post(async |_: Csrf| ()));
    assert_eq!(Client::new(&app).post("/").await.status, StatusCode::INTERNAL_SERVER_ERROR);
}

/// With two session layers, the layer and the extractor for `Admin` accept the admin token and refuse the other.
#[tokio::test]
async fn marker_selects_the_session_of_csrf_tokens() {
    struct Admin;

    async fn page(visitor: Session, admin: Session<Admin>) -> Result<String, Error> {
        Ok(format!("{} {}", visitor.csrf_token().await?, admin.csrf_token().await?))
    }

    let admins = SessionLayer::builder(MemoryStore::new()).with_name("admin").build().unwrap().with_marker::<Admin>();
    let guarded = Router::new().route("/guarded", post(async || ())).layer(CsrfLayer::new().with_marker::<Admin>());
    let app = Router::new()
        .route("/", any(page))
        .route("/extractor", post(async |_: Csrf<Admin>| ()))
        .merge(guarded)
        .layer(admins)
        .layer(SessionLayer::new(MemoryStore::new()));
    let mut client = Client::new(&app);
    let page = client.get("/").await;
    let (visitors, admins) = page.text().split_once(' ').unwrap();
    for path in ["/guarded", "/extractor"] {
        assert_eq!(client.send(with_header(Method::POST, path, visitors)).await.status, StatusCode::FORBIDDEN);
        assert_eq!(client.send(with_header(Method::POST, path, admins)).await.status, StatusCode::OK);
    }
}

/// A failed load answers 503 instead of 403; the next request with the token succeeds.
#[tokio::test]
async fn store_failure_during_csrf_check_is_a_503() {
    let world = World::new();
    let app = app(world.layer.clone());
    let mut client = Client::new(&app);
    let token = client.get("/page").await.text().to_owned();
    for path in ["/change", "/guarded"] {
        world.faults.fail(Op::Get, 1, Fault::Before);
        let reply = client.send(with_header(Method::POST, path, &token)).await;
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(client.send(with_header(Method::POST, path, &token)).await.status, StatusCode::OK);
    }
}

/// The extractor and the layer raise `CsrfRefused` with the session's id.
#[tokio::test]
async fn csrf_refusal_raises_an_event_with_the_session() {
    let world = World::new();
    let app = app(world.layer.clone());
    let mut client = Client::new(&app);
    client.get("/page").await;
    let id = session_of(&client.token().unwrap());
    world.events.take();
    for path in ["/change", "/guarded"] {
        client.post(path).await;
        assert_eq!(world.events.take(), [(EventKind::CsrfRefused, Some(id))]);
    }
}

/// `tower_http`'s CSRF layer refuses foreign `Sec-Fetch-Site` and `Origin` values without a store call.
#[tokio::test]
async fn cross_site_request_is_refused_before_the_session_loads() {
    let world = World::with(|layer| layer.with_lifetime(Lifetime::new().with_idle_timeout(MINUTE)));
    let app = app(world.layer.clone()).layer(tower_http::csrf::CsrfLayer::new());
    let mut client = Client::new(&app);
    let token = client.get("/page").await.text().to_owned();
    let from = |site: &str, origin: &str| {
        let request = with_header(Method::POST, "/change", &token).into_parts();
        let mut request = Request::from_parts(request.0, Body::empty());
        request.headers_mut().insert("host", "shop.example".parse().unwrap());
        if !site.is_empty() {
            request.headers_mut().insert("sec-fetch-site", site.parse().unwrap());
        }
        if !origin.is_empty() {
            request.headers_mut().insert("origin", origin.parse().unwrap());
        }
        request
    };
    world.store.reset();
    for (site, origin) in [
        ("cross-site", ""),
        ("same-site", ""),
        ("cross-site", "https://evil.example"),
        ("", "https://evil.example"),
        ("", "null"),
    ] {
        assert_eq!(client.send(from(site, origin)).await.status, StatusCode::FORBIDDEN, "{site} {origin}");
    }
    assert_eq!(world.counts(), Counts::NONE);
    for (site, origin) in [("same-origin", "https://shop.example"), ("", "https://shop.example"), ("", "")] {
        assert_eq!(client.send(from(site, origin)).await.status, StatusCode::OK, "{site} {origin}");
    }
}
