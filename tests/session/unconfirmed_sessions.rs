//! Unconfirmed lifetime: a shorter lifetime for anonymous sessions whose token the client has not presented yet.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use sessile::{Lifetime, MemoryStore, SessionLayer};
use support::race::{HOUR, MINUTE, NO_TOKEN, World};
use support::store::Counts;

fn world() -> World {
    World::with(|layer| layer.with_unconfirmed_lifetime(10 * MINUTE))
}

/// With ten minutes, a hundred sessions whose tokens are never presented expire together, and are freed after the margin.
#[tokio::test]
async fn unconfirmed_sessions_expire_after_the_setting() {
    let world = world();
    let mut tokens = Vec::new();
    for _ in 0..100 {
        tokens.push(world.begin().await);
    }
    world.advance(10 * MINUTE);
    assert_eq!(world.sessions().delete_expired().await.unwrap(), 0);
    for token in &tokens {
        assert!(world.sessions().find_by_id(&support::client::session_of(token)).await.unwrap().is_none());
    }
    world.advance(5 * MINUTE);
    assert_eq!(world.sessions().delete_expired().await.unwrap(), 100);
    assert_eq!(world.memory.len(), 0);
}

/// The first read costs a get and a touch, the next one a get; the session lives for the full idle timeout.
#[tokio::test]
async fn first_read_confirms_a_session_with_one_touch() {
    let world = world();
    let token = world.begin().await;
    let (live, counts) = world.cost(world.is_live(&token)).await;
    assert!(live);
    assert_eq!(counts, Counts::gets(1).and_touches(1));
    let (_, counts) = world.cost(world.is_live(&token)).await;
    assert_eq!(counts, Counts::gets(1));
    world.advance(59 * MINUTE);
    assert!(world.is_live(&token).await);
}

/// The first write costs a get and a set; the session lives for the full idle timeout.
#[tokio::test]
async fn first_write_confirms_a_session_without_a_touch() {
    let world = world();
    let token = world.begin().await;
    let (_, counts) = world.cost(world.insert(&token, "n", 1)).await;
    assert_eq!(counts, Counts::gets(1).and_sets(1));
    world.advance(59 * MINUTE);
    assert!(world.is_live(&token).await);
}

/// A request that creates a session and commits it four times leaves it unconfirmed.
#[tokio::test]
async fn further_commits_of_the_creating_request_do_not_confirm() {
    let world = world();
    let token = world
        .send(NO_TOKEN, |session| async move {
            for n in 0..3 {
                session.insert("n", &n)?;
                session.commit().await?;
            }
            session.set_lifetime(Lifetime::new().with_idle_timeout(24 * HOUR))?;
            session.commit().await
        })
        .await
        .token();
    world.advance(10 * MINUTE);
    assert!(!world.is_live(&token).await);
}

/// A sign-in at creation, and one after the first commit, both give the full idle timeout.
#[tokio::test]
async fn signed_in_session_has_its_full_lifetime_at_once() {
    let world = world();
    let signed_in_at_creation = world.begin_signed_in("ada").await;
    let signed_in_after_a_commit = world
        .send(NO_TOKEN, |session| async move {
            session.insert("n", &1)?;
            session.commit().await?;
            session.sign_in("bob")
        })
        .await
        .token();
    world.advance(59 * MINUTE);
    for token in [signed_in_at_creation, signed_in_after_a_commit] {
        assert!(world.is_live(&token).await);
    }
}

/// A commit through `open_for_write` leaves an unconfirmed session unconfirmed and a confirmed one confirmed.
#[tokio::test]
async fn write_outside_a_request_does_not_change_confirmation() {
    let world = world();
    let (unconfirmed, confirmed) = (world.begin().await, world.begin().await);
    assert!(world.is_live(&confirmed).await);
    for token in [&unconfirmed, &confirmed] {
        let id = support::client::session_of(token);
        let session = world.sessions().open_for_write(&id).await.unwrap().unwrap();
        session.insert("job", &1).unwrap();
        session.commit().await.unwrap();
    }
    world.advance(10 * MINUTE);
    assert!(!world.is_live(&unconfirmed).await);
    assert!(world.is_live(&confirmed).await);
}

/// A write from outside under a longer commit margin neither ends an unconfirmed session nor lengthens it.
#[tokio::test]
async fn a_longer_margin_ends_no_unconfirmed_session() {
    let world = world();
    let id = support::client::session_of(&world.begin().await);
    let longer = world.sessions().with_lifetime(Lifetime::new().with_commit_margin(30 * MINUTE)).unwrap();
    assert!(longer.merge(&id, &serde_json::json!({ "written": 7 })).await.unwrap());
    for (wait, is_live) in [(9, true), (1, false)] {
        world.advance(wait * MINUTE);
        assert_eq!(longer.find_by_id(&id).await.unwrap().is_some(), is_live);
    }
}

/// With an idle timeout of one minute, a read costs no touch and the session expires after a minute.
#[tokio::test]
async fn shorter_idle_timeout_applies_to_unconfirmed_sessions() {
    let short = Lifetime::new().with_idle_timeout(MINUTE);
    let world = World::with(|layer| layer.with_lifetime(short).with_unconfirmed_lifetime(10 * MINUTE));
    let token = world.begin().await;
    let (_, counts) = world.cost(world.is_live(&token)).await;
    assert_eq!(counts, Counts::gets(1));
    world.advance(MINUTE);
    assert!(!world.is_live(&token).await);
}

/// Without the setting, `set_lifetime` after the first commit of the creating request takes effect.
#[tokio::test]
async fn lifetime_set_in_a_second_commit_applies_by_default() {
    let world = World::new();
    let token = world
        .send(NO_TOKEN, |session| async move {
            session.insert("n", &1)?;
            session.commit().await?;
            session.set_lifetime(Lifetime::new().with_idle_timeout(10 * HOUR))
        })
        .await
        .token();
    world.advance(9 * HOUR);
    assert!(world.is_live(&token).await);
}

/// `build` fails with an error that names the unconfirmed lifetime.
#[test]
fn unconfirmed_lifetime_of_zero_is_a_config_error() {
    let builder = SessionLayer::builder(MemoryStore::new()).with_unconfirmed_lifetime(std::time::Duration::ZERO);
    assert!(builder.build().unwrap_err().to_string().contains("unconfirmed"));
}
