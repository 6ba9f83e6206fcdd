//! The time of a commit: with the response (depending on its status), in the handler, or never; and writes after the
//! response head is sent.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use axum::routing::get;
use futures_util::stream;
use http::response::Parts;
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

/// Responses with 5xx statuses commit no write, sign-in or rotation, set no cookie and create no session.
#[tokio::test]
async fn server_error_discards_all_changes() {
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

/// Statuses from 200 to 499 commit the handler's insert.
#[tokio::test]
async fn every_status_below_500_commits() {
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

// checklist: 26
/// A sign-out in a 500 response ends the session and removes the cookie; writes after it are discarded.
#[tokio::test]
async fn sign_out_takes_effect_with_any_status() {
    let store = MemoryStore::new();
    let layer = SessionLayer::new(store.clone());
    for (others, owner) in [None, Some("ada")].into_iter().enumerate() {
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
        assert_eq!(store.len(), others + 1, "the mark of the end alone: changes after the sign-out must be discarded");
    }
}

/// Custom predicates commit only success and redirects, every status, or none.
#[tokio::test]
async fn commit_on_predicate_decides_which_statuses_commit() {
    let never_on_errors = |head: &Parts| head.status.is_success() || head.status.is_redirection();
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
    let mut stranger = Visitor::new(&layer);
    stranger.visit(async |session: Session| session.insert("new", &2)).await.assert_no_cookie();
}

/// Changes committed in the handler stay after status 500, and their cookie is sent; later changes are discarded.
#[tokio::test]
async fn explicit_commit_survives_an_error_status() {
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

/// A handler panics after writes; with `CatchPanicLayer` inside or outside, nothing is stored and no cookie is set.
#[tokio::test]
async fn caught_panic_commits_nothing() {
    async fn panics(session: Session) -> Result<(), Error> {
        session.insert("half", "done")?;
        session.sign_in("ada")?;
        std::panic::resume_unwind(Box::new("planned panic"))
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

/// Every changing operation on a session kept past the response fails; reads still work, and nothing is stored.
#[tokio::test]
async fn write_after_response_head_fails_with_response_sent() {
    let (store, (sender, receiver)) = (MemoryStore::new(), oneshot::channel::<Session>());
    let layer = SessionLayer::new(store.clone());
    let mut visitor = Visitor::with_session(&layer).await;
    let sender = std::sync::Arc::new(std::sync::Mutex::new(Some(sender)));
    visitor.visit(async move |session: Session| sender.lock().unwrap().take().unwrap().send(session).unwrap()).await;

    let session = receiver.await.unwrap();
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
    // Reads still work.
    assert_eq!(session.get::<u32>("n").unwrap(), Some(1));
    assert_eq!(keys_of(&mut visitor).await, "n");
    assert_eq!(store.len(), 1);
}

/// A task loads the session after the response and writes; the write fails with `ResponseSent`.
#[tokio::test]
async fn load_and_write_after_response_fail_with_response_sent() {
    let layer = SessionLayer::new(MemoryStore::new());
    let mut visitor = Visitor::with_session(&layer).await;
    let (go, gone) = oneshot::channel::<()>();
    let (report, reported) = oneshot::channel();
    let ends = std::sync::Arc::new(std::sync::Mutex::new(Some((gone, report))));
    let reply = visitor.visit(async move |handle: SessionHandle| {
        let (gone, report) = ends.lock().unwrap().take().unwrap();
        tokio::spawn(async move {
            gone.await.unwrap();
            // The first load of this request.
            let written = handle.load().await.and_then(|session| session.insert("late", &1));
            report.send(written.map_err(|error| error.kind())).unwrap();
        });
    });
    assert_eq!(reply.await.status, StatusCode::OK);
    go.send(()).unwrap();
    assert_eq!(reported.await.unwrap(), Err(ErrorKind::ResponseSent));
    assert_eq!(keys_of(&mut visitor).await, "n");
}

/// A body stream reads the session, but its insert fails and nothing is stored.
#[tokio::test]
async fn streamed_body_cannot_write_to_session() {
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
    assert_eq!(reply.text(), "Some(1) Err(ResponseSent)");
    assert_eq!(keys_of(&mut visitor).await, "n");
}

/// A spawned task's commit is blocked at the store; the response, with its cookie, is sent only after it.
#[tokio::test]
async fn response_waits_for_commit_of_another_task() {
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
    let (head, body) = response_after(&gate, &app, request(Method::GET, "/")).await.into_parts();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "done");
    let cookies = set_cookies(&head.headers);
    assert_eq!(cookies.len(), 1, "the response sets the new session's cookie");
    let mut client = Client::with_cookie(&app, &cookies[0].name, &cookies[0].value);
    assert_eq!(client.get("/keys").await.text(), "n");
}

/// A second task waits for the first task's load; afterwards the response still waits for the pending commit.
#[tokio::test]
async fn response_waits_for_commit_after_a_shared_load() {
    let store = FaultyStore::new(MemoryStore::new());
    let (loading, writing) = (store.hold_before(Op::Get, 1), store.hold_before(Op::Set, 2));
    let (begun, stored) = (loading.clone(), writing.clone());
    let handler = async move |handle: SessionHandle| {
        let second = handle.clone();
        let mut first = Box::pin(handle.load());
        assert!(poll_once(&mut first).await.is_none(), "the load is pending");
        let second = tokio::spawn(async move { second.load().await.is_ok() });
        pend(2).await;
        begun.release();
        let session = first.await?;
        session.insert("n", &1)?;
        let same = session.clone();
        let mut commit = Box::pin(async move { same.commit().await });
        assert!(poll_once(&mut commit).await.is_none(), "the commit is pending");
        assert!(second.await.expect("the task did not panic"));
        tokio::spawn(commit);
        stored.reached().await;
        Ok::<_, Error>("done")
    };
    let create = async |session: Session| session.insert("n", &0);
    let app = Router::new().route("/", get(handler).post(create)).layer(SessionLayer::new(store.clone()));
    let created = app.clone().oneshot(request(Method::POST, "/")).await.unwrap();
    let cookie = set_cookies(created.headers()).remove(0);
    let mut next = request(Method::GET, "/");
    let pair = format!("{}={}", cookie.name, cookie.value);
    next.headers_mut().insert("cookie", pair.parse().expect("a cookie pair is a valid header value"));
    assert_eq!(response_after(&writing, &app, next).await.status(), StatusCode::OK);
}

/// A spawned task's commit fails at the store; the response has status 503.
#[tokio::test]
async fn failed_commit_in_another_task_fails_response() {
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
    let answer = response_after(&gate, &app, request(Method::GET, "/")).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
}

/// Returns the response to a request whose commit is held at the gate; panics if it is sent before the release.
async fn response_after(gate: &Gate, app: &Router, request: Request<Body>) -> Response<Body> {
    let mut response = Box::pin(app.clone().oneshot(request));
    for _ in 0..100 {
        if let Some(early) = poll_once(&mut response).await {
            panic!("{} was sent before its changes were stored", early.unwrap().status());
        }
        pend(1).await;
    }
    gate.release();
    response.await.unwrap()
}

/// Polls a future once.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

/// The handler stops waiting for a blocked commit and updates again; the response commits both increments once.
#[tokio::test]
async fn abandoned_commit_is_completed_with_the_response() {
    let store = FaultyStore::new(MemoryStore::new());
    let layer = SessionLayer::new(store.clone());
    let mut visitor = Visitor::with_session(&layer).await;
    let gate = store.hold_before(Op::Set, 1);
    let held = gate.clone();
    let reply = visitor.visit(async move |session: Session| {
        session.update("n", |n: &mut u32| *n += 1)?;
        tokio::select! {
            biased;
            done = session.commit() => done?,
            () = held.reached() => {}
        }
        held.release();
        session.update("n", |n: &mut u32| *n += 1)
    });
    assert_eq!(reply.await.status, StatusCode::OK);
    let reply = visitor.visit(async |session: Session| format!("{:?}", session.get::<u32>("n").unwrap()));
    assert_eq!(reply.await.text(), "Some(3)");
}

/// The request is dropped while its handler waits after an insert; no session is stored.
#[tokio::test]
async fn disconnect_before_response_commits_nothing() {
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

/// A session kept past a dropped request refuses inserts and commits; nothing is stored.
#[tokio::test]
async fn write_after_client_disconnect_fails_with_response_sent() {
    let (sender, receiver) = oneshot::channel::<Session>();
    let sender = std::sync::Arc::new(std::sync::Mutex::new(Some(sender)));
    let handler = async move |session: Session| {
        session.insert("n", &1)?;
        sender.lock().unwrap().take().unwrap().send(session).unwrap();
        std::future::pending::<()>().await;
        Ok::<_, Error>(())
    };
    let store = MemoryStore::new();
    let app = Router::new().route("/", get(handler)).layer(SessionLayer::new(store.clone()));
    let mut response = Box::pin(app.oneshot(request(Method::GET, "/")));
    assert!(poll_once(&mut response).await.is_none());
    drop(response);
    let session = receiver.await.unwrap();
    assert_eq!(session.insert("late", &1).unwrap_err().kind(), ErrorKind::ResponseSent);
    assert_eq!(session.commit().await.unwrap_err().kind(), ErrorKind::ResponseSent);
    assert!(store.is_empty());
}

/// The new token opens the same session; the retired token reads nothing, and its write gets 409.
#[tokio::test]
async fn rotation_replaces_token_and_keeps_session_id() {
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

/// Two commits of one request overlap and the first fails; both report `Unavailable`, and neither change is stored.
#[tokio::test]
async fn commit_queued_behind_a_failed_commit_fails_too() {
    let store = FaultyStore::new(MemoryStore::new());
    let layer = SessionLayer::new(store.clone());
    let mut visitor = Visitor::with_session(&layer).await;
    let gate = store.hold_before(Op::Set, 1);
    store.fail_always(Op::Set, Fault::Before);
    let reply = visitor.visit(async move |session: Session| {
        session.insert("first", &1)?;
        let mut first = Box::pin(session.commit());
        assert!(poll_once(&mut first).await.is_none(), "the first commit is pending");
        gate.reached().await;
        session.insert("second", &2)?;
        let mut second = Box::pin(session.commit());
        assert!(poll_once(&mut second).await.is_none(), "the second commit waits for the first");
        gate.release();
        assert_eq!(first.await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(second.await.unwrap_err().kind(), ErrorKind::Unavailable);
        Ok::<_, Error>(StatusCode::BAD_REQUEST)
    });
    assert_eq!(reply.await.status, StatusCode::BAD_REQUEST);
    store.heal();
    assert_eq!(keys_of(&mut visitor).await, "n");
}

/// Under strict writes a conflicting commit is refused; the next commit of the same request succeeds.
#[tokio::test]
async fn commit_after_refused_commit_is_independent() {
    let layer = SessionLayer::builder(MemoryStore::new()).with_strict_writes(true).build().unwrap();
    let sessions = layer.sessions();
    let mut visitor = Visitor::with_session(&layer).await;
    let reply = visitor.visit(async move |session: Session| {
        session.get::<u32>("n")?;
        let id = session.id().expect("the session is stored");
        sessions.merge(&id, &std::collections::BTreeMap::from([("n", 2)])).await?;
        session.insert("n", &3)?;
        assert_eq!(session.commit().await.unwrap_err().kind(), ErrorKind::Conflict);
        session.insert("another", &4)?;
        session.commit().await
    });
    assert_eq!(reply.await.status, StatusCode::OK);
    assert_eq!(keys_of(&mut visitor).await, "n,another");
}

/// After a failed commit, 404 and 422 responses stay as they are; 200 and 303 become 503.
#[tokio::test]
async fn client_error_status_stands_after_failed_commit() {
    let store = FaultyStore::new(MemoryStore::new());
    let layer = SessionLayer::new(store.clone());
    let mut visitor = Visitor::with_session(&layer).await;
    store.fail_always(Op::Set, Fault::Before);
    for (status, expected) in [(404, 404), (422, 422), (200, 503), (303, 503)] {
        let [status, expected] = [status, expected].map(|status| StatusCode::from_u16(status).unwrap());
        let reply = visitor.visit(async move |session: Session| {
            session.insert("n", &2)?;
            assert_eq!(session.commit().await.unwrap_err().kind(), ErrorKind::Unavailable);
            Ok::<_, Error>(status)
        });
        let reply = reply.await;
        assert_eq!(reply.status, expected);
        reply.assert_no_cookie();
    }
}

/// The session ends during the request and the commit fails with `Ended`; the response stays 200, without a cookie.
#[tokio::test]
async fn response_stands_after_commit_fails_with_ended() {
    let layer = SessionLayer::new(MemoryStore::new());
    let sessions = layer.sessions();
    let mut visitor = Visitor::with_session(&layer).await;
    let reply = visitor.visit(async move |session: Session| {
        sessions.end(&session.id().expect("the session is stored")).await?;
        session.insert("n", &2)?;
        assert_eq!(session.commit().await.unwrap_err().kind(), ErrorKind::Ended);
        Ok::<_, Error>("done")
    });
    let reply = reply.await;
    assert_eq!((reply.status, reply.text()), (StatusCode::OK, "done"));
    reply.assert_no_cookie();
}
