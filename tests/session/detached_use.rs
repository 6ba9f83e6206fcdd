//! Uses outside a response: a detached session over hours, `touch` in a handler, and a body that loads after the head.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::response::Response;
use futures_util::stream;
use http::StatusCode;
use sessile::event::EventKind;
use sessile::{Error, ErrorKind, Session};
use support::client::session_of;
use support::race::{HOUR, MINUTE, World};
use support::store::{Counts, Fault, Op};

/// Returns a detached session, and the token of the client.
async fn detached(world: &World) -> (Session, String) {
    let token = world.begin_signed_in("ada").await;
    let slot = Arc::new(Mutex::new(None));
    let place = Arc::clone(&slot);
    let answer = world.send(&token, move |session| async move {
        *place.lock().unwrap() = Some(session.detach());
        Ok(())
    });
    answer.await.assert_ok();
    let session = slot.lock().unwrap().take().unwrap();
    (session, token)
}

/// Commits without changes, commits with changes, and touches every 50 minutes keep a session live for hours.
#[tokio::test]
async fn commits_and_touches_of_a_detached_session_are_uses() {
    for kind in ["empty commit", "commit", "touch"] {
        let world = World::new();
        let (session, token) = detached(&world).await;
        for round in 0..24 {
            world.advance(50 * MINUTE);
            match kind {
                "empty commit" => session.commit().await.unwrap(),
                "touch" => session.touch().await.unwrap(),
                _ => {
                    session.insert("round", &round).unwrap();
                    session.commit().await.unwrap();
                }
            }
        }
        world.advance(59 * MINUTE);
        assert!(world.is_live(&token).await, "{kind}");
    }
}

/// Before the response has stored the session, a detached one cannot end it: the commit says so.
#[tokio::test]
async fn end_of_a_promised_session_fails() {
    let world = World::new();
    let answer = world.send(support::race::NO_TOKEN, |session| async move {
        session.insert("n", &1)?;
        let detached = session.detach();
        detached.end()?;
        assert_eq!(detached.commit().await.unwrap_err().kind(), ErrorKind::Ended);
        Ok(())
    });
    assert!(world.is_live(&answer.await.token()).await);
}

/// Detached from a request whose token opens nothing any more, a session is not there: the commit says so.
#[tokio::test]
async fn commit_of_a_session_that_was_gone_before_fails() {
    let world = World::new();
    let (ended, retired) = (world.begin().await, world.begin().await);
    world.send(&ended, |session| async move { session.sign_out() }).await.assert_ok();
    world.send(&retired, |session| async move { session.rotate() }).await.assert_ok();
    for (token, kind) in [(ended, ErrorKind::Ended), (retired, ErrorKind::Superseded)] {
        let answer = world.send(&token, move |session| async move {
            assert_eq!(session.detach().commit().await.unwrap_err().kind(), kind);
            assert_eq!(session.reload().await.unwrap_err().kind(), kind);
            Ok(())
        });
        answer.await.assert_silent(StatusCode::OK);
    }
}

/// A use that the handler notes itself renews a persistent cookie, as one that the response notes does.
#[tokio::test]
async fn touch_in_a_handler_renews_a_persistent_cookie() {
    let world = World::with(|layer| layer.with_max_age(HOUR));
    let token = world.begin().await;
    for _ in 0..3 {
        world.advance(30 * MINUTE);
        let answer = world.send(&token, |session| async move { session.touch().await }).await;
        assert_eq!(answer.assert_ok().token(), token);
    }
}

/// With reloads alone the session ends after its idle timeout.
#[tokio::test]
async fn reload_of_a_detached_session_is_no_use() {
    let world = World::new();
    let (session, token) = detached(&world).await;
    for _ in 0..5 {
        world.advance(10 * MINUTE);
        session.reload().await.unwrap();
    }
    world.advance(10 * MINUTE);
    assert_eq!(session.reload().await.unwrap_err().kind(), ErrorKind::Ended);
    assert!(!world.is_live(&token).await);
}

/// A use is noted at most once per tenth of the idle timeout; until then an empty commit costs one `get`.
#[tokio::test]
async fn use_of_a_detached_session_is_noted_when_it_is_due() {
    let world = World::new();
    let (session, _) = detached(&world).await;
    for _ in 0..3 {
        assert_eq!(world.cost(session.commit()).await.1, Counts::gets(1));
        assert_eq!(world.cost(session.touch()).await.1, Counts::NONE);
        world.advance(6 * MINUTE);
        assert_eq!(world.cost(session.touch()).await.1, Counts::NONE.and_touches(1));
        world.advance(6 * MINUTE);
        assert_eq!(world.cost(session.commit()).await.1, Counts::NONE.and_touches(1));
    }
}

/// A commit with nothing to write fails with `Ended` or `Superseded` if the session is gone, before and after a touch.
#[tokio::test]
async fn empty_commit_of_a_gone_session_fails() {
    for is_touch_due in [false, true] {
        for kind in [ErrorKind::Ended, ErrorKind::Superseded] {
            let world = World::new();
            let anonymous = world.begin().await;
            let slot = Arc::new(Mutex::new(None));
            let place = Arc::clone(&slot);
            let answer = world.send(&anonymous, move |session| async move {
                *place.lock().unwrap() = Some(session.detach());
                Ok(())
            });
            answer.await.assert_ok();
            let session = slot.lock().unwrap().take().unwrap();
            if kind == ErrorKind::Ended {
                world.send(&anonymous, |session| async move { session.sign_out() }).await.assert_ok();
            } else {
                world.send(&anonymous, |session| async move { session.sign_in("ada") }).await.assert_ok();
            }
            if is_touch_due {
                world.advance(6 * MINUTE);
                assert_eq!(session.touch().await.unwrap_err().kind(), kind);
            }
            assert_eq!(session.commit().await.unwrap_err().kind(), kind);
        }
    }
}

/// A session that expired is gone for its detached half too.
#[tokio::test]
async fn empty_commit_after_the_expiry_fails() {
    let world = World::new();
    let (session, _) = detached(&world).await;
    world.advance(HOUR + 5 * MINUTE);
    assert_eq!(session.commit().await.unwrap_err().kind(), ErrorKind::Ended);
}

/// Another request's write comes between: the touch is tried again on the newer record.
#[tokio::test]
async fn touch_of_a_detached_session_follows_other_writes() {
    let world = World::new();
    let (session, token) = detached(&world).await;
    world.advance(5 * MINUTE);
    world.insert(&token, "n", 1).await.assert_ok();
    world.advance(6 * MINUTE);
    session.touch().await.unwrap();
    let stored = world.quiet().find_by_id(&session_of(&token)).await.unwrap().unwrap();
    assert_eq!(stored.last_seen(), world.clock.now());
    assert_eq!(session.get::<u32>("n").unwrap(), Some(1));
}

/// `touch` in a handler notes the use at once, and the response notes it no second time.
#[tokio::test]
async fn touch_in_a_handler_replaces_that_of_the_response() {
    let world = World::new();
    let token = world.begin().await;
    world.advance(6 * MINUTE);
    let (answer, counts) = world.cost(world.send(&token, |session| async move { session.touch().await })).await;
    answer.assert_silent(StatusCode::OK);
    assert_eq!(counts, Counts::gets(1).and_touches(1));
}

/// A touch that fails is an error with an event, and the session stays as it is.
#[tokio::test]
async fn failed_touch_of_a_handler_is_an_error() {
    let world = World::new();
    let (session, token) = detached(&world).await;
    world.advance(6 * MINUTE);
    world.faults.fail(Op::Touch, 1, Fault::Before);
    assert_eq!(session.touch().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(world.events.count(EventKind::UpkeepFailed), 1);
    session.touch().await.unwrap();
    assert!(world.is_live(&token).await);
}

/// A streamed body loads the session after the head was sent: its use is noted, and its writes are refused.
#[tokio::test]
async fn body_that_loads_after_the_head_is_a_use() {
    for fault in [None, Some(Fault::Before)] {
        let world = World::new();
        let token = world.begin().await;
        world.advance(30 * MINUTE);
        if let Some(fault) = fault {
            world.faults.fail(Op::Touch, 1, fault);
        }
        let answer = world.send_unloaded(&token, |handle| async move {
            let body = stream::once(async move {
                let session = handle.load().await?;
                assert_eq!(session.insert("late", &1).unwrap_err().kind(), ErrorKind::ResponseSent);
                Ok::<_, Error>(format!("{:?}", session.get::<bool>("start")?))
            });
            Ok(Response::new(Body::from_stream(body)))
        });
        assert_eq!(answer.await.body, "Some(true)");
        let noted = world.quiet().find_by_id(&session_of(&token)).await.unwrap().unwrap().last_seen();
        assert_eq!(noted == world.clock.now(), fault.is_none());
        assert_eq!(world.saw(EventKind::UpkeepFailed), fault.is_some());
    }
}
