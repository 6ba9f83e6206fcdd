//! Begin, last use and end of a session, as its page can show them.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use std::time::Duration;

use http::StatusCode;
use sessile::{Error, Lifetime, Session};
use support::race::{DAY, HOUR, MINUTE, NO_TOKEN, World};
use time::OffsetDateTime;

fn world() -> World {
    let lifetime = Lifetime::new().with_idle_timeout(HOUR).with_absolute_timeout(2 * HOUR);
    World::with(|layer| layer.with_lifetime(lifetime))
}

fn milliseconds(at: Option<OffsetDateTime>) -> i128 {
    at.unwrap().unix_timestamp_nanos() / 1_000_000
}

/// Returns a time of the session in a request, as milliseconds after `start`.
async fn ask(
    world: &World,
    token: &str,
    start: OffsetDateTime,
    touches: bool,
    time: fn(&Session) -> Option<OffsetDateTime>,
) -> Duration {
    let (sender, receiver) = std::sync::mpsc::channel();
    let answer = world.send(token, move |session: Session| async move {
        if touches {
            session.touch().await?;
        }
        sender.send(milliseconds(time(&session))).unwrap();
        Ok(())
    });
    answer.await.assert_silent(StatusCode::OK);
    let after = receiver.recv().unwrap() - milliseconds(Some(start));
    Duration::from_millis(u64::try_from(after).unwrap())
}

/// A session shows its begin, last use, idle end and absolute end; a touch moves the second and the third.
#[tokio::test]
async fn a_session_shows_when_it_began_and_ends() {
    let world = world();
    let start = world.clock.now();
    let token = world.begin().await;
    world.advance(3 * MINUTE);
    assert_eq!(ask(&world, &token, start, true, Session::last_seen).await, Duration::ZERO, "within a tenth");
    assert_eq!(ask(&world, &token, start, true, Session::expires_at).await, HOUR);
    world.advance(27 * MINUTE);
    assert_eq!(ask(&world, &token, start, true, Session::last_seen).await, 30 * MINUTE);
    world.advance(20 * MINUTE);
    assert_eq!(ask(&world, &token, start, true, Session::expires_at).await, 50 * MINUTE + HOUR);
    assert_eq!(ask(&world, &token, start, false, Session::absolute_expiry).await, 2 * HOUR);
    world.advance(30 * MINUTE);
    assert_eq!(ask(&world, &token, start, true, Session::expires_at).await, 2 * HOUR, "the absolute end is earlier");
    let created = ask(&world, &token, start, false, Session::created_at).await;
    assert_eq!(created, Duration::ZERO);
}

/// A session that is not stored has no times, and the layer's lifetime; one with a lifetime of its own shows that.
#[tokio::test]
async fn a_new_session_has_no_times() {
    let world = world();
    let answer = world.send(NO_TOKEN, |session: Session| async move {
        assert_eq!((session.created_at(), session.last_seen()), (None, None));
        assert_eq!((session.expires_at(), session.absolute_expiry()), (None, None));
        assert_eq!(session.lifetime().idle_timeout(), Some(HOUR));
        session.set_lifetime(Lifetime::aal1().with_max_age(DAY))?;
        session.insert("n", &1)?;
        session.commit().await?;
        assert_eq!(session.lifetime().absolute_timeout(), 30 * DAY);
        assert_eq!((session.lifetime().idle_timeout(), session.lifetime().max_age()), (None, Some(DAY)));
        assert_eq!(session.lifetime().refresh_interval(), None);
        assert_eq!(session.expires_at(), session.absolute_expiry());
        Ok::<_, Error>(())
    });
    answer.await.assert_ok();
}
