//! Anonymous sessions whose token has not come back yet live for a short time only, where that is asked for.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

use crate::support;

use sessile::{Lifetime, MemoryStore, SessionLayer};
use support::race::{HOUR, MINUTE, NOBODY, World};
use support::store::Counts;

fn world() -> World {
    World::with(|layer| layer.with_unconfirmed_lifetime(10 * MINUTE))
}

#[tokio::test]
async fn a_session_whose_token_never_comes_back_is_gone_after_ten_minutes() {
    let world = world();
    for _ in 0..100 {
        world.begin().await;
    }
    world.advance(9 * MINUTE);
    assert_eq!(world.sessions().delete_expired().await.unwrap(), 0);
    world.advance(MINUTE);
    assert_eq!(world.sessions().delete_expired().await.unwrap(), 100);
    assert_eq!(world.memory.len(), 0);
}

#[tokio::test]
async fn reading_with_the_token_gives_the_session_its_whole_lifetime_at_the_cost_of_one_touch() {
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

#[tokio::test]
async fn writing_with_the_token_does_so_without_a_touch() {
    let world = world();
    let token = world.begin().await;
    let (_, counts) = world.cost(world.insert(&token, "n", 1)).await;
    assert_eq!(counts, Counts::gets(1).and_sets(1));
    world.advance(59 * MINUTE);
    assert!(world.is_live(&token).await);
}

#[tokio::test]
async fn the_request_that_creates_a_session_does_not_confirm_it_by_a_second_write() {
    let world = world();
    let token = world
        .send(NOBODY, |session| async move {
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

#[tokio::test]
async fn one_that_is_signed_in_has_its_whole_lifetime_at_once() {
    let world = world();
    let at_once = world.begin_signed_in("ada").await;
    let later = world
        .send(NOBODY, |session| async move {
            session.insert("n", &1)?;
            session.commit().await?;
            session.sign_in("bob")
        })
        .await
        .token();
    world.advance(59 * MINUTE);
    for token in [at_once, later] {
        assert!(world.is_live(&token).await);
    }
}

#[tokio::test]
async fn background_work_neither_confirms_nor_shortens_a_session() {
    let world = world();
    let (dropped, kept) = (world.begin().await, world.begin().await);
    assert!(world.is_live(&kept).await);
    for token in [&dropped, &kept] {
        let id = support::client::session_of(token);
        let session = world.sessions().open_for_write(&id).await.unwrap().unwrap();
        session.insert("job", &1).unwrap();
        session.commit().await.unwrap();
    }
    world.advance(10 * MINUTE);
    assert!(!world.is_live(&dropped).await);
    assert!(world.is_live(&kept).await);
}

#[tokio::test]
async fn a_lifetime_that_is_shorter_anyway_stays() {
    let short = Lifetime::new().with_idle_timeout(MINUTE);
    let world = World::with(|layer| layer.with_lifetime(short).with_unconfirmed_lifetime(10 * MINUTE));
    let token = world.begin().await;
    let (_, counts) = world.cost(world.is_live(&token)).await;
    assert_eq!(counts, Counts::gets(1));
    world.advance(MINUTE);
    assert!(!world.is_live(&token).await);
}

#[tokio::test]
async fn without_the_setting_a_longer_lifetime_given_in_a_second_commit_holds() {
    let world = World::new();
    let token = world
        .send(NOBODY, |session| async move {
            session.insert("n", &1)?;
            session.commit().await?;
            session.set_lifetime(Lifetime::new().with_idle_timeout(10 * HOUR))
        })
        .await
        .token();
    world.advance(9 * HOUR);
    assert!(world.is_live(&token).await);
}

#[test]
fn a_lifetime_of_zero_is_refused_when_the_layer_is_built() {
    let builder = SessionLayer::builder(MemoryStore::new()).with_unconfirmed_lifetime(std::time::Duration::ZERO);
    assert!(builder.build().unwrap_err().to_string().contains("unconfirmed"));
}
