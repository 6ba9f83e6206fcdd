//! What has expired is absent to every operation.

use std::time::Duration;

use crate::store::Expected;
use crate::testing::conformance::fixture::Fixture;
use crate::testing::conformance::probe::{Checked, ensure};
use crate::testing::conformance::together::join;
use crate::testing::conformance::trial::{LONG, Prolonged, Trial, next};

pub(super) async fn a_record_is_absent_once_it_has_expired<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let expired = trial.expired(|_| {}).await?;
    trial.store.lacks(expired.id()).await
}

pub(super) async fn set_of_a_version_is_refused_once_it_has_expired<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let expired = trial.expired(|_| {}).await?;
    let next = next(&expired, |parts| parts.expires_at += LONG);
    trial.store.refuses(&next, Expected::Version(expired.version())).await?;
    trial.store.lacks(expired.id()).await
}

pub(super) async fn set_absent_writes_once_it_has_expired<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let expired = trial.expired(|_| {}).await?;
    let anew = trial.record(|parts| {
        parts.id = *expired.id();
        parts.expires_at += LONG;
    });
    trial.store.create(&anew).await?;
    trial.store.holds(&anew).await
}

pub(super) async fn touch_revives_nothing_that_has_expired<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let expired = trial.expired(|_| {}).await?;
    let touched = trial.store.touch(&expired, trial.touch_after(3600)).await?;
    ensure!(!touched, "touch of a record that has expired answered true");
    trial.store.lacks(expired.id()).await
}

pub(super) async fn delete_of_an_expired_record_says_false<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let expired = trial.expired(|_| {}).await?;
    ensure!(!trial.store.delete(expired.id()).await?, "delete of a record that has expired answered true");
    trial.store.lacks(expired.id()).await
}

pub(super) async fn a_record_written_into_the_past_is_absent_at_once<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    for ago in [1, 86_400 * 365 * 80] {
        let past = trial.record(|parts| parts.expires_at = trial.now - Duration::from_secs(ago));
        trial.store.create(&past).await?;
        trial.store.lacks(past.id()).await?;
        trial.store.refuses(&next(&past, |_| {}), Expected::Version(past.version())).await?;
        let anew = trial.record(|parts| parts.id = *past.id());
        trial.store.create(&anew).await?;
        trial.store.holds(&anew).await?;
        let past = trial.record(|parts| parts.expires_at = trial.now - Duration::from_secs(ago));
        trial.store.create(&past).await?;
        ensure!(!trial.store.delete(past.id()).await?, "delete of a record written into the past answered true");
    }
    Ok(())
}

pub(super) async fn a_set_into_the_past_ends_a_live_record<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let owner = trial.owner("user:1");
    let record = trial.owned(&owner);
    trial.store.create(&record).await?;
    let past = next(&record, |parts| parts.expires_at = trial.now - LONG);
    trial.store.replace(&record, &past).await?;
    trial.store.lacks(record.id()).await?;
    for version in [record.version(), past.version()] {
        trial.store.refuses(&next(&past, |parts| parts.expires_at += 2 * LONG), Expected::Version(version)).await?;
    }
    if trial.fixture.has_owners() {
        trial.store.lists(&owner, []).await?;
    }
    Ok(())
}

pub(super) async fn delete_expired_leaves_what_lives<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let owner = trial.owner("user:1");
    let live = [
        trial.record(|_| {}),
        trial.owned(&owner),
        trial.record(|parts| parts.expires_at += LONG * 24 * 365 * 100),
        trial.record(|parts| parts.last_seen -= LONG * 24 * 365),
    ];
    for record in &live {
        trial.store.create(record).await?;
    }
    let expired = trial.expired(|parts| parts.owner = Some(owner.as_str().into())).await?;
    trial.store.delete_expired().await?;
    for record in &live {
        trial.store.holds(record).await?;
    }
    trial.store.lacks(expired.id()).await?;
    if trial.fixture.has_owners() {
        trial.store.lists(&owner, [&live[1]]).await?;
    }
    Ok(())
}

pub(super) async fn delete_expired_leaves_what_was_touched<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let owner = trial.owner("user:1");
    let touched = [None, Some(owner.as_str())].map(|owner| trial.prolonged(Prolonged::Touch, owner));
    for touched in join(touched).await {
        let touched = touched?;
        trial.store.delete_expired().await?;
        trial.store.holds(&touched).await?;
    }
    Ok(())
}
