//! When what a handler did is written: with the response, by its status, at once, or never. And after the head of the
//! response is out.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use axum::routing::get;
use futures_util::stream;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use sessile::{Error, ErrorKind, MemoryStore, Session, SessionHandle, SessionLayer};
use support::client::{Client, Visitor, request, send, session_of, set_cookies};
use support::store::{Fault, FaultyStore, Gate, Op, pend};
use tokio::sync::oneshot;
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;

const FAILED: StatusCode = StatusCode::INTERNAL_SERVER_ERROR;

async fn keys_of(visitor: &mut Visitor) -> String {
    visitor.visit(async |session: Session| session.keys().join(",")).await.text().to_owned()
}

#[tokio::test]
async fn a_server_error_commits_nothing() {
    let store = MemoryStore::new();
    let layer = SessionLayer::new(store.clone());
    let mut visitor = Visitor::with_session(&layer).await;
    let token = visitor.token();
    for status in [500, 501, 502, 503, 504, 507, 599] {
        let status = StatusCode::from_u16(status).unwrap();
        let reply = visitor.visit(async move |session: Session| {
            session.insert("new", &2)?;
            session.remove("n")?;
            session.update("other", |n: &mut u32| *n += 1)?;
            session.sign_in("ada")?;
            session.rotate()?;
            Ok::<_, Error>((status, "failed"))
        });
        let reply = reply.await;
        assert_eq!((reply.status, reply.text()), (status, "failed"));
        reply.assert_no_cookie();
        assert_eq!(keys_of(&mut visitor).await, "n");
        let owner = visitor.visit(async |session: Session| format!("{:?}", session.owner()));
        assert_eq!(owner.await.text(), "None");
    }
    assert_eq!(visitor.token(), token);

    let mut stranger = Visitor::new(&layer);
    let reply = stranger.visit(async |session: Session| {
        session.insert("n", &1)?;
        Ok::<_, Error>(FAILED)
    });
    reply.await.assert_no_cookie();
    assert_eq!(store.len(), 1);
}

#[tokio::test]
async fn every_other_status_commits() {
    let layer = SessionLayer::new(MemoryStore::new());
    for status in [200, 201, 204, 302, 304, 400, 401, 404, 409, 418, 499] {
        let status = StatusCode::from_u16(status).unwrap();
        let mut visitor = Visitor::with_session(&layer).await;
        let reply = visitor.visit(async move |session: Session| {
            session.insert("new", &2)?;
            Ok::<_, Error>(status)
        });
        assert_eq!(reply.await.status, status);
        assert_eq!(keys_of(&mut visitor).await, "n,new", "{status}");
    }
}

// Checklist 26
#[tokio::test]
async fn a_session_that_was_ended_is_ended_whatever_the_status() {
    let store = MemoryStore::new();
    let layer = SessionLayer::new(store.clone());
    for owner in [None, Some("ada")] {
        let mut visitor = Visitor::with_session(&layer).await;
        if let Some(owner) = owner {
            visitor.visit(async move |session: Session| session.sign_in(owner)).await.set_cookie();
        }
        let mut other_tab = visitor.clone();
        let reply = visitor.visit(async |session: Session| {
            session.insert("before", &1)?;
            session.sign_out()?;
            session.insert("after", &2)?;
            Ok::<_, Error>(FAILED)
        });
        let reply = reply.await;
        assert_eq!(reply.status, FAILED);
        assert!(reply.set_cookie().is_removal());
        assert_eq!(keys_of(&mut other_tab).await, "");
        assert!(store.is_empty(), "what came after the end was not to be committed");
    }
}

#[tokio::test]
async fn a_predicate_on_the_status_decides_instead() {
    let never_on_errors = |status: StatusCode| status.is_success() || status.is_redirection();
    let layer = SessionLayer::builder(MemoryStore::new()).with_commit_on(never_on_errors).build().unwrap();
    for (status, committed) in [(200, true), (303, true), (404, false), (422, false), (500, false)] {
        let status = StatusCode::from_u16(status).unwrap();
        let mut visitor = Visitor::with_session(&layer).await;
        visitor.visit(async move |session: Session| session.insert("new", &2).map(|()| status)).await;
        assert_eq!(keys_of(&mut visitor).await, if committed { "n,new" } else { "n" }, "{status}");
    }

    let layer = SessionLayer::builder(MemoryStore::new()).with_commit_on(|_| true).build().unwrap();
    let mut visitor = Visitor::with_session(&layer).await;
    visitor.visit(async |session: Session| session.insert("new", &2).map(|()| FAILED)).await;
    assert_eq!(keys_of(&mut visitor).await, "n,new");

    let layer = SessionLayer::builder(MemoryStore::new()).with_commit_on(|_| false).build().unwrap();
    let mut nobody = Visitor::new(&layer);
    nobody.visit(async |session: Session| session.insert("new", &2)).await.assert_no_cookie();
}

#[tokio::test]
async fn a_commit_is_not_undone_by_the_status_and_its_cookie_goes_out() {
    let layer = SessionLayer::new(MemoryStore::new());
    let mut visitor = Visitor::new(&layer);
    let reply = visitor.visit(async |session: Session| {
        session.insert("committed", &1)?;
        session.commit().await?;
        session.insert("left", &2)?;
        Ok::<_, Error>(FAILED)
    });
    let reply = reply.await;
    assert_eq!(reply.status, FAILED);
    reply.set_cookie();
    assert_eq!(keys_of(&mut visitor).await, "committed");

    let reply = visitor.visit(async |session: Session| {
        session.update_now("n", |n: &mut u32| *n += 1).await?;
        session.take_now::<u8>("committed").await?;
        session.rotate()?;
        session.commit().await?;
        Ok::<_, Error>(FAILED)
    });
    reply.await.set_cookie();
    assert_eq!(keys_of(&mut visitor).await, "n");
}

#[tokio::test]
async fn a_panic_that_is_caught_outside_commits_nothing() {
    async fn panics(session: Session) -> Result<(), Error> {
        session.insert("half", "done")?;
        session.sign_in("ada")?;
        std::panic::resume_unwind(Box::new("as planned"))
    }

    let store = MemoryStore::new();
    let routes = || {
        Router::new()
            .route("/panic", get(panics))
            .route("/set", get(async |session: Session| session.insert("n", &1)))
            .route("/", get(async |session: Session| session.keys().join(",")))
    };
    let outside = routes().layer(SessionLayer::new(store.clone())).layer(CatchPanicLayer::new());
    let inside = routes().layer(CatchPanicLayer::new()).layer(SessionLayer::new(store.clone()));
    for app in [outside, inside] {
        let before = store.len();
        let reply = Client::new(&app).get("/panic").await;
        assert_eq!(reply.status, FAILED);
        reply.assert_no_cookie();
        assert_eq!(store.len(), before);

        let mut client = Client::new(&app);
        client.get("/set").await;
        let reply = client.get("/panic").await;
        assert_eq!(reply.status, FAILED);
        reply.assert_no_cookie();
        assert_eq!(client.get("/").await.text(), "n");
    }
}

#[tokio::test]
async fn a_write_after_the_head_of_the_response_is_refused_and_not_lost_in_silence() {
    let (store, (tell, told)) = (MemoryStore::new(), oneshot::channel::<Session>());
    let layer = SessionLayer::new(store.clone());
    let mut visitor = Visitor::with_session(&layer).await;
    let tell = std::sync::Arc::new(std::sync::Mutex::new(Some(tell)));
    visitor.visit(async move |session: Session| tell.lock().unwrap().take().unwrap().send(session).unwrap()).await;

    let session = told.await.unwrap();
    let errors = [
        session.insert("late", &1).unwrap_err(),
        session.remove("n").unwrap_err(),
        session.clear().unwrap_err(),
        session.update("n", |n: &mut u32| *n += 1).unwrap_err(),
        session.update_now("n", |n: &mut u32| *n += 1).await.unwrap_err(),
        session.take_now::<u32>("n").await.unwrap_err(),
        session.rotate().unwrap_err(),
        session.sign_in("ada").unwrap_err(),
        session.sign_out().unwrap_err(),
        session.set_lifetime(sessile::Lifetime::new()).unwrap_err(),
        session.commit().await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::ResponseSent);
    }
    // Reading is as good as ever.
    assert_eq!(session.get::<u32>("n").unwrap(), Some(1));
    assert_eq!(keys_of(&mut visitor).await, "n");
    assert_eq!(store.len(), 1);
}

#[tokio::test]
async fn a_task_that_outlives_the_response_is_told_that_it_is_too_late() {
    let layer = SessionLayer::new(MemoryStore::new());
    let mut visitor = Visitor::with_session(&layer).await;
    let (go, gone) = oneshot::channel::<()>();
    let (report, reported) = oneshot::channel();
    let ends = std::sync::Arc::new(std::sync::Mutex::new(Some((gone, report))));
    let reply = visitor.visit(async move |handle: SessionHandle| {
        let (gone, report) = ends.lock().unwrap().take().unwrap();
        tokio::spawn(async move {
            gone.await.unwrap();
            // Loaded as late as that, too.
            let written = handle.load().await.and_then(|session| session.insert("late", &1));
            report.send(written.map_err(|error| error.kind())).unwrap();
        });
    });
    assert_eq!(reply.await.status, StatusCode::OK);
    go.send(()).unwrap();
    assert_eq!(reported.await.unwrap(), Err(ErrorKind::ResponseSent));
    assert_eq!(keys_of(&mut visitor).await, "n");
}

#[tokio::test]
async fn a_streamed_body_cannot_write_any_more() {
    async fn streamed(session: Session) -> impl IntoResponse {
        let line = async move {
            let read: Option<u32> = session.get("n").unwrap();
            let written = session.insert("from the body", &1).map_err(|error| error.kind());
            Ok::<_, Infallible>(format!("{read:?} {written:?}"))
        };
        Body::from_stream(stream::once(line))
    }

    let layer = SessionLayer::new(MemoryStore::new());
    let mut visitor = Visitor::with_session(&layer).await;
    let reply = visitor.visit(streamed).await;
    assert_eq!(reply.text(), "Some(1) Err(Closed)");
    assert_eq!(keys_of(&mut visitor).await, "n");
}

#[tokio::test]
async fn a_response_waits_for_the_commit_that_another_task_has_begun() {
    let store = FaultyStore::new(MemoryStore::new());
    let gate = store.hold_before(Op::Set, 1);
    let begun = gate.clone();
    let handler = async move |session: Session| {
        session.insert("n", &1)?;
        let same = session.clone();
        tokio::spawn(async move { same.commit().await });
        begun.reached().await;
        Ok::<_, Error>("done")
    };
    let app = Router::new()
        .route("/", get(handler))
        .route("/keys", get(async |session: Session| session.keys().join(",")))
        .layer(SessionLayer::new(store.clone()));
    let (head, body) = answer_after(&gate, &app, request(Method::GET, "/")).await.into_parts();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "done");
    let cookies = set_cookies(&head.headers);
    assert_eq!(cookies.len(), 1, "the session that was created is the client's");
    let mut client = Client::with_cookie(&app, &cookies[0].name, &cookies[0].value);
    assert_eq!(client.get("/keys").await.text(), "n");
}

#[tokio::test]
async fn who_waited_to_load_what_another_has_loaded_takes_nobodys_turn() {
    let store = FaultyStore::new(MemoryStore::new());
    let (loading, writing) = (store.hold_before(Op::Get, 1), store.hold_before(Op::Set, 2));
    let (begun, stored) = (loading.clone(), writing.clone());
    let handler = async move |handle: SessionHandle| {
        let second = handle.clone();
        let mut first = Box::pin(handle.load());
        assert!(poll_once(&mut first).await.is_none(), "the store is at work");
        let second = tokio::spawn(async move { second.load().await.is_ok() });
        pend(2).await;
        begun.release();
        let session = first.await?;
        session.insert("n", &1)?;
        let same = session.clone();
        let mut commit = Box::pin(async move { same.commit().await });
        assert!(poll_once(&mut commit).await.is_none(), "the commit is on its way");
        assert!(second.await.expect("the task did not panic"));
        tokio::spawn(commit);
        stored.reached().await;
        Ok::<_, Error>("done")
    };
    let create = async |session: Session| session.insert("n", &0);
    let app = Router::new().route("/", get(handler).post(create)).layer(SessionLayer::new(store.clone()));
    let created = app.clone().oneshot(request(Method::POST, "/")).await.unwrap();
    let cookie = set_cookies(created.headers()).remove(0);
    let mut asked = request(Method::GET, "/");
    let pair = format!("{}={}", cookie.name, cookie.value);
    asked.headers_mut().insert("cookie", pair.parse().expect("a cookie is a value"));
    assert_eq!(answer_after(&writing, &app, asked).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_commit_that_fails_in_another_task_fails_the_response() {
    let store = FaultyStore::new(MemoryStore::new());
    let gate = store.hold_before(Op::Set, 1);
    store.fail_always(Op::Set, Fault::Before);
    let begun = gate.clone();
    let handler = async move |session: Session| {
        session.insert("n", &1)?;
        let same = session.clone();
        tokio::spawn(async move { same.commit().await });
        begun.reached().await;
        Ok::<_, Error>("done")
    };
    let app = Router::new().route("/", get(handler)).layer(SessionLayer::new(store.clone()));
    let answer = answer_after(&gate, &app, request(Method::GET, "/")).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
}

/// The answer to a request whose commit is held at this gate: it does not go out before the gate is opened.
async fn answer_after(gate: &Gate, app: &Router, request: Request<Body>) -> Response<Body> {
    let mut response = Box::pin(app.clone().oneshot(request));
    for _ in 0..100 {
        if let Some(early) = poll_once(&mut response).await {
            panic!("{} went out before what it acknowledges was stored", early.unwrap().status());
        }
        pend(1).await;
    }
    gate.release();
    response.await.unwrap()
}

/// Polls a future one time.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

#[tokio::test]
async fn a_commit_that_was_given_up_waiting_for_goes_on_with_the_response() {
    let store = FaultyStore::new(MemoryStore::new());
    let layer = SessionLayer::new(store.clone());
    let mut visitor = Visitor::with_session(&layer).await;
    let gate = store.hold_before(Op::Set, 1);
    let impatient = gate.clone();
    let reply = visitor.visit(async move |session: Session| {
        session.update("n", |n: &mut u32| *n += 1)?;
        tokio::select! {
            biased;
            done = session.commit() => done?,
            () = impatient.reached() => {}
        }
        impatient.release();
        session.update("n", |n: &mut u32| *n += 1)
    });
    assert_eq!(reply.await.status, StatusCode::OK);
    let reply = visitor.visit(async |session: Session| format!("{:?}", session.get::<u32>("n").unwrap()));
    assert_eq!(reply.await.text(), "Some(3)");
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_a_session_that_is_whole() {
    let store = MemoryStore::new();
    let app = Router::new()
        .route(
            "/",
            get(async |session: Session| {
                session.insert("n", &1)?;
                std::future::pending::<()>().await;
                Ok::<_, Error>(())
            }),
        )
        .route("/keys", get(async |session: Session| session.keys().join(",")))
        .layer(SessionLayer::new(store.clone()));
    let mut response = Box::pin(app.clone().oneshot(request(Method::GET, "/")));
    assert!(poll_once(&mut response).await.is_none());
    drop(response);
    assert!(store.is_empty());
    assert_eq!(send(&app, request(Method::GET, "/keys")).await.text(), "");
}

#[tokio::test]
async fn what_goes_on_after_the_client_went_away_is_told_that_it_is_too_late() {
    let (tell, told) = oneshot::channel::<Session>();
    let tell = std::sync::Arc::new(std::sync::Mutex::new(Some(tell)));
    let handler = async move |session: Session| {
        session.insert("n", &1)?;
        tell.lock().unwrap().take().unwrap().send(session).unwrap();
        std::future::pending::<()>().await;
        Ok::<_, Error>(())
    };
    let store = MemoryStore::new();
    let app = Router::new().route("/", get(handler)).layer(SessionLayer::new(store.clone()));
    let mut response = Box::pin(app.oneshot(request(Method::GET, "/")));
    assert!(poll_once(&mut response).await.is_none());
    drop(response);
    let session = told.await.unwrap();
    assert_eq!(session.insert("late", &1).unwrap_err().kind(), ErrorKind::ResponseSent);
    assert_eq!(session.commit().await.unwrap_err().kind(), ErrorKind::ResponseSent);
    assert!(store.is_empty());
}

#[tokio::test]
async fn rotating_replaces_the_token_and_keeps_the_session() {
    let layer = SessionLayer::new(MemoryStore::new());
    let mut visitor = Visitor::with_session(&layer).await;
    let mut old = visitor.clone();
    let rotated = visitor.visit(async |session: Session| session.rotate()).await.set_cookie();
    assert_ne!(Some(rotated.value.clone()), old.token());
    assert_eq!(session_of(&rotated.value), session_of(&old.token().unwrap()));
    assert_eq!(keys_of(&mut visitor).await, "n");
    assert_eq!(keys_of(&mut old).await, "");
    let reply = old.visit(async |session: Session| session.insert("late", &1)).await;
    assert_eq!(reply.status, StatusCode::CONFLICT);
    reply.assert_no_cookie();
    assert_eq!(keys_of(&mut visitor).await, "n");
}

#[tokio::test]
async fn a_commit_that_waits_for_one_that_fails_is_told_that_what_it_was_to_write_is_dropped() {
    let store = FaultyStore::new(MemoryStore::new());
    let layer = SessionLayer::new(store.clone());
    let mut visitor = Visitor::with_session(&layer).await;
    let gate = store.hold_before(Op::Set, 1);
    store.fail_always(Op::Set, Fault::Before);
    let reply = visitor.visit(async move |session: Session| {
        session.insert("first", &1)?;
        let mut first = Box::pin(session.commit());
        assert!(poll_once(&mut first).await.is_none(), "it is on its way");
        gate.reached().await;
        session.insert("second", &2)?;
        let mut second = Box::pin(session.commit());
        assert!(poll_once(&mut second).await.is_none(), "it waits for the first");
        gate.release();
        assert_eq!(first.await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(second.await.unwrap_err().kind(), ErrorKind::Unavailable);
        Ok::<_, Error>(StatusCode::BAD_REQUEST)
    });
    assert_eq!(reply.await.status, StatusCode::BAD_REQUEST);
    store.heal();
    assert_eq!(keys_of(&mut visitor).await, "n");
}

#[tokio::test]
async fn a_commit_after_one_that_was_refused_is_a_commit_of_its_own() {
    let layer = SessionLayer::builder(MemoryStore::new()).with_strict_writes(true).build().unwrap();
    let sessions = layer.sessions();
    let mut visitor = Visitor::with_session(&layer).await;
    let reply = visitor.visit(async move |session: Session| {
        session.get::<u32>("n")?;
        let id = session.id().expect("it is stored");
        sessions.update(&id, &std::collections::BTreeMap::from([("n", 2)])).await?;
        session.insert("n", &3)?;
        assert_eq!(session.commit().await.unwrap_err().kind(), ErrorKind::Conflict);
        session.insert("another", &4)?;
        session.commit().await
    });
    assert_eq!(reply.await.status, StatusCode::OK);
    assert_eq!(keys_of(&mut visitor).await, "n,another");
}

#[tokio::test]
async fn an_answer_that_claims_no_success_stands_though_a_commit_of_its_handler_has_failed() {
    let store = FaultyStore::new(MemoryStore::new());
    let layer = SessionLayer::new(store.clone());
    let mut visitor = Visitor::with_session(&layer).await;
    store.fail_always(Op::Set, Fault::Before);
    for (status, answered) in [(404, 404), (422, 422), (200, 503), (303, 503)] {
        let [status, answered] = [status, answered].map(|status| StatusCode::from_u16(status).unwrap());
        let reply = visitor.visit(async move |session: Session| {
            session.insert("n", &2)?;
            assert_eq!(session.commit().await.unwrap_err().kind(), ErrorKind::Unavailable);
            Ok::<_, Error>(status)
        });
        let reply = reply.await;
        assert_eq!(reply.status, answered);
        reply.assert_no_cookie();
    }
}

#[tokio::test]
async fn an_answer_stands_though_its_handler_was_told_that_the_session_has_ended() {
    let layer = SessionLayer::new(MemoryStore::new());
    let sessions = layer.sessions();
    let mut visitor = Visitor::with_session(&layer).await;
    let reply = visitor.visit(async move |session: Session| {
        sessions.end(&session.id().expect("it is stored")).await?;
        session.insert("n", &2)?;
        assert_eq!(session.commit().await.unwrap_err().kind(), ErrorKind::Ended);
        Ok::<_, Error>("done")
    });
    let reply = reply.await;
    assert_eq!((reply.status, reply.text()), (StatusCode::OK, "done"));
    reply.assert_no_cookie();
}
