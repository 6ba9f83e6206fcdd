//! State of a session during a request, and lifetimes set for one session.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::time::Duration;

use http::StatusCode;
use sessile::testing::ManualClock;
use sessile::{Error, ErrorKind, Lifetime, MemoryStore, Session, SessionLayer};
use support::client::{Visitor, session_of};

fn visitor() -> Visitor {
    Visitor::new(&SessionLayer::new(MemoryStore::new()))
}

/// `is_new`, `id`, `owner` and `authenticated_at` before and after a commit, a sign-in and a sign-out.
#[tokio::test]
async fn session_state_follows_commit_sign_in_and_sign_out() {
    let clock = ManualClock::new();
    let layer = SessionLayer::builder(MemoryStore::new().with_clock(&clock)).with_clock(&clock).build().unwrap();
    let mut visitor = Visitor::new(&layer);
    let started = clock.now();
    let reply = visitor.visit(async |session: Session| {
        assert!(session.is_new() && session.id().is_none());
        assert!(session.owner().is_none() && session.authenticated_at().is_none());
        session.insert("n", &1)?;
        assert!(session.is_new());
        session.commit().await?;
        assert!(!session.is_new() && session.id().is_some());
        Ok::<_, Error>(())
    });
    assert_eq!(reply.await.status, StatusCode::OK);
    let id = session_of(&visitor.token().unwrap());
    assert_eq!(id.created_at().unwrap().unix_timestamp(), started.unix_timestamp());

    clock.advance(Duration::from_secs(60));
    let now = clock.now();
    let reply = visitor.visit(async move |session: Session| {
        assert_eq!(session.id(), Some(id));
        session.sign_in("ada")?;
        assert_eq!(session.owner().as_deref(), Some("ada"));
        let since_millisecond = |at: time::OffsetDateTime| at.unix_timestamp_nanos() / 1_000_000;
        assert_eq!(session.authenticated_at().map(since_millisecond), Some(since_millisecond(now)));
        Ok::<_, Error>(())
    });
    assert_eq!(reply.await.status, StatusCode::OK);
    let reply = visitor.visit(async move |session: Session| {
        assert_eq!((session.id(), session.owner().as_deref()), (Some(id), Some("ada")));
        assert!(session.authenticated_at().is_some());
        session.sign_out()?;
        assert!(session.is_new() && session.id().is_none());
        assert!(session.owner().is_none() && session.authenticated_at().is_none());
        assert_eq!(session.keys(), [""; 0]);
        Ok::<_, Error>(())
    });
    assert_eq!(reply.await.status, StatusCode::OK);
}

/// A session with 14 days idle and 90 days absolute stays live across writes 13 days apart; others expire.
#[tokio::test]
async fn lifetime_of_one_session_is_kept_by_later_writes() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let clock = ManualClock::new();
    let layer = SessionLayer::builder(MemoryStore::new().with_clock(&clock)).with_clock(&clock).build().unwrap();
    let mut visitor = Visitor::new(&layer);
    let long_lifetime =
        Lifetime::new().with_idle_timeout(14 * DAY).with_absolute_timeout(90 * DAY).with_max_age(30 * DAY);
    let cookie = visitor
        .visit(async move |session: Session| {
            session.sign_in("ada")?;
            session.set_lifetime(long_lifetime)
        })
        .await
        .set_cookie();
    assert_eq!(cookie.max_age(), Some(30 * 24 * 60 * 60));

    let mut default_visitor = Visitor::new(&layer);
    assert!(!default_visitor.visit(async |session: Session| session.sign_in("bob")).await.set_cookie().has("Max-Age"));

    for _ in 0..6 {
        clock.advance(13 * DAY);
        let reply = visitor.visit(async |session: Session| {
            session.update("n", |n: &mut u32| *n += 1)?;
            Ok::<_, Error>(session.owner().unwrap_or_default().to_string())
        });
        let reply = reply.await;
        assert_eq!(reply.text(), "ada");
        // Max-Age never exceeds the 30 days, and falls to the remaining 12 of 90 after 78 days.
        assert!(reply.set_cookie().max_age() <= Some(30 * 24 * 60 * 60));
    }
    let reply = default_visitor.visit(async |session: Session| session.owner().unwrap_or_default().to_string());
    assert_eq!(reply.await.text(), "");
    clock.advance(12 * DAY);
    let reply = visitor.visit(async |session: Session| session.owner().unwrap_or_default().to_string());
    assert_eq!(reply.await.text(), "", "the absolute timeout has passed");
}

/// Zero timeouts, a refresh interval under 30 seconds and a Max-Age over the maximum fail with `InvalidLifetime`.
#[tokio::test]
async fn invalid_lifetime_is_refused() {
    let mut visitor = visitor();
    let reply = visitor.visit(async |session: Session| {
        for lifetime in [
            Lifetime::new().with_idle_timeout(Duration::ZERO),
            Lifetime::new().with_absolute_timeout(Duration::ZERO),
            Lifetime::new().with_refresh_interval(Duration::from_secs(29)),
            Lifetime::new().with_max_age(Lifetime::MAX_COOKIE_AGE + Duration::from_secs(1)),
        ] {
            assert_eq!(session.set_lifetime(lifetime).unwrap_err().kind(), ErrorKind::InvalidLifetime);
        }
        Ok::<_, Error>(())
    });
    let reply = reply.await;
    assert_eq!(reply.status, StatusCode::OK);
    reply.assert_no_cookie();
}

/// `set_lifetime` without any other change sends the same token with the new Max-Age.
#[tokio::test]
async fn lifetime_change_sends_the_cookie_again() {
    let mut visitor = visitor();
    visitor.visit(async |session: Session| session.insert("n", &1)).await;
    let token = visitor.token();
    let week = Duration::from_secs(7 * 24 * 60 * 60);
    let lifetime = Lifetime::new().with_idle_timeout(week).with_absolute_timeout(week).with_max_age(week);
    let cookie = visitor.visit(async move |session: Session| session.set_lifetime(lifetime)).await.set_cookie();
    assert_eq!((Some(cookie.value.clone()), cookie.max_age().map(|age| age > 604_700)), (token, Some(true)));
}
