//! Tokens against cross-site request forgery. The rules that hold on every store are in `accounts/csrf.rs`.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::{accounts, support};

use axum::Router;
use axum::body::Body;
use axum::routing::{any, post};
use http::{Method, Request, StatusCode};
use sessile::csrf::{Csrf, CsrfLayer};
use sessile::event::EventKind;
use sessile::{Error, ErrorKind, Lifetime, MemoryStore, Session, SessionLayer};
use support::client::{Client, session_of};
use support::race::{MINUTE, NOBODY, World};
use support::store::{CountingStore, Counts, Fault, Op};

use accounts::csrf::{app, with_form, with_header};
use accounts::csrf_rules;

csrf_rules!(in_memory);

#[tokio::test]
async fn a_token_costs_nothing_where_the_session_is_stored() {
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
        world.cost(world.send(NOBODY, |session| async move { session.csrf_token().await.map(drop) })).await;
    assert_eq!(counts, Counts { sets: 1, ..Counts::NONE }, "one that is not stored yet is stored");
}

#[tokio::test]
async fn what_was_written_before_a_token_is_shown_goes_along_and_stays() {
    let world = World::new();
    let answer = world
        .send(NOBODY, |session| async move {
            session.insert("before", &1_u64)?;
            session.csrf_token().await?;
            session.insert("after", &2_u64)
        })
        .await;
    assert_eq!(world.opens(&answer.token()).await.unwrap().keys, ["before", "after"]);
}

#[tokio::test]
async fn a_task_beside_that_stores_the_session_first_loses_nothing_by_a_token() {
    let world = World::new();
    let gate = world.faults.hold_before(Op::Set, 1);
    let request = world.spawn(NOBODY, |session| async move {
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

#[tokio::test]
async fn a_store_that_fails_shows_no_token() {
    let world = World::new();
    world.faults.fail_always(Op::Set, Fault::Before);
    let answer =
        world.send(NOBODY, |session| async move { session.csrf_token().await.map(|token| token.to_string()) }).await;
    answer.assert_silent(StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn sign_ins_of_one_owner_at_once_show_tokens_that_work_for_each_of_them() {
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
    // Whichever cookie the browser keeps, every page that it shows is of this session.
    for (token, _) in shown.iter().rev() {
        for (_, csrf) in shown.clone() {
            let verified = world.send(token, |session| async move { Ok(session.verify_csrf(&csrf).to_string()) }).await;
            assert_eq!(verified.body, "true");
        }
    }
    assert!(world.saw(EventKind::SignedIn));
}

#[tokio::test]
async fn a_detached_session_shows_tokens_of_what_is_stored() {
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
        .send(NOBODY, |session| async move {
            let error = session.detach().csrf_token().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Detached);
            assert!(!session.verify_csrf("x"));
            Ok(())
        })
        .await
        .assert_silent(StatusCode::OK);
    // One that the response of its request is yet to store.
    world
        .send(NOBODY, |session| async move {
            session.insert("n", &1_u64)?;
            let error = session.detach().csrf_token().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Detached);
            Ok(())
        })
        .await
        .assert_ok();
}

#[tokio::test]
async fn a_token_is_for_the_page_and_not_for_the_log() {
    let world = World::new();
    world
        .send(NOBODY, |session| async move {
            let token = session.csrf_token().await?;
            assert_eq!(format!("{token:?}"), "CsrfToken(…)");
            assert_eq!(serde_json::to_string(&token).unwrap(), format!("\"{token}\""));
            assert_eq!(format!("{token}"), token.as_str());
            Ok(())
        })
        .await
        .assert_ok();
}

#[tokio::test]
async fn the_layer_costs_a_safe_request_nothing_and_refuses_another_with_one_get() {
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
    // Without a session nothing is asked, and no form is read.
    store.reset();
    let form = with_form("/", "application/x-www-form-urlencoded", "x".repeat(3 * 1024 * 1024));
    assert_eq!(Client::new(&app).send(form).await.status, StatusCode::FORBIDDEN);
    assert_eq!(store.counts(), Counts::NONE);
}

#[tokio::test]
async fn a_layer_or_an_extractor_without_its_session_layer_is_a_500() {
    let app = Router::new().route("/", post(async || ())).layer(CsrfLayer::new());
    assert_eq!(Client::new(&app).post("/").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    let app = Router::new().route("/", post(async |_: Csrf| ()));
    assert_eq!(Client::new(&app).post("/").await.status, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn a_marker_names_whose_tokens_are_asked_for() {
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

#[tokio::test]
async fn a_store_that_fails_is_a_503_and_not_a_refusal() {
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

#[tokio::test]
async fn a_refusal_names_the_session_in_an_event() {
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

/// What a browser says of a request by itself is `tower_http`'s to judge, before the session is looked at.
#[tokio::test]
async fn a_request_that_the_browser_says_is_from_elsewhere_is_refused_before_its_session_is_loaded() {
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
