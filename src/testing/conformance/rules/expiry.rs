//! An expired record is absent to every operation.

use std::time::Duration;

use futures_util::future::try_join;

use crate::store::Expected;
use crate::testing::conformance::probe::{LONG, Probe, Prolonged, next};
use crate::testing::conformance::verdict::{Checked, ensure};

pub(super) async fn a_record_is_absent_once_it_has_expired(probe: &Probe<'_>) -> Checked {
    let expired = probe.expired(None).await?;
    probe.store.lacks(expired.id()).await
}

pub(super) async fn set_of_a_version_is_refused_after_expiry(probe: &Probe<'_>) -> Checked {
    let expired = probe.expired(None).await?;
    let next = next(&expired, |parts| parts.expires_at += LONG);
    probe.store.refuses(&next, Expected::Version(expired.version())).await?;
    probe.store.lacks(expired.id()).await
}

pub(super) async fn set_absent_replaces_an_expired_record(probe: &Probe<'_>) -> Checked {
    let expired = probe.expired(None).await?;
    let anew = probe.stored(|parts| parts.id = *expired.id()).await?;
    probe.store.holds(&anew).await
}

pub(super) async fn touch_does_not_revive_an_expired_record(probe: &Probe<'_>) -> Checked {
    let expired = probe.expired(None).await?;
    probe.store.ignores_touch(&expired, probe.touch_after(3600)).await?;
    probe.store.lacks(expired.id()).await
}

pub(super) async fn delete_of_an_expired_record_returns_false(probe: &Probe<'_>) -> Checked {
    let expired = probe.expired(None).await?;
    probe.store.ignores_delete(&expired).await?;
    probe.store.lacks(expired.id()).await
}

pub(super) async fn a_record_written_as_expired_is_absent(probe: &Probe<'_>) -> Checked {
    for ago in [1, 86_400 * 365 * 80].map(Duration::from_secs) {
        let past = probe.stored(|parts| parts.expires_at = probe.now - ago).await?;
        probe.store.lacks(past.id()).await?;
        probe.store.refuses(&next(&past, |_| {}), Expected::Version(past.version())).await?;
        let anew = probe.stored(|parts| parts.id = *past.id()).await?;
        probe.store.holds(&anew).await?;
        let past = probe.stored(|parts| parts.expires_at = probe.now - ago).await?;
        probe.store.ignores_delete(&past).await?;
    }
    Ok(())
}

pub(super) async fn set_with_a_past_expiry_ends_a_record(probe: &Probe<'_>) -> Checked {
    let record = probe.owned().await?;
    let past = probe.replaced(&record, |parts| parts.expires_at = probe.now - LONG).await?;
    probe.store.lacks(record.id()).await?;
    for version in [record.version(), past.version()] {
        probe.store.refuses(&next(&past, |parts| parts.expires_at += 2 * LONG), Expected::Version(version)).await?;
    }
    probe.lists([]).await
}

pub(super) async fn delete_expired_keeps_live_records(probe: &Probe<'_>) -> Checked {
    let owner = &probe.owner;
    let live = [
        probe.stored(|_| {}).await?,
        probe.owned().await?,
        probe.stored(|parts| parts.expires_at += Duration::from_secs(86_400 * 365 * 100)).await?,
        probe.stored(|parts| parts.last_seen -= Duration::from_secs(86_400 * 365)).await?,
    ];
    let expired = probe.expired(Some(owner)).await?;
    probe.store.delete_expired().await?;
    for record in &live {
        probe.store.holds(record).await?;
    }
    probe.store.lacks(expired.id()).await?;
    probe.lists([&live[1]]).await
}

pub(super) async fn delete_expired_keeps_touched_records(probe: &Probe<'_>) -> Checked {
    let prolonged = |owner| probe.prolonged(Prolonged::Touch, owner);
    let (one, other) = try_join(prolonged(None), prolonged(Some(&probe.owner))).await?;
    for touched in [one, other] {
        probe.store.delete_expired().await?;
        probe.store.holds(&touched).await?;
    }
    Ok(())
}

pub(super) async fn delete_expired_returns_the_number_deleted(probe: &Probe<'_>) -> Checked {
    probe.leave_four_expired().await?;
    let deleted = probe.store.delete_expired().await?;
    ensure(deleted == 4, || format!("delete_expired returned {deleted} when 4 records had expired"))
}

pub(super) async fn delete_expired_counts_each_record_once(probe: &Probe<'_>) -> Checked {
    probe.leave_four_expired().await?;
    probe.store.delete_expired().await?;
    let again = probe.store.delete_expired().await?;
    ensure(again == 0, || format!("delete_expired returned {again} after all expired records were deleted"))
}
