//! Delete removes a record, whatever its version and whichever owner is given.

use super::set::TRIES;
use crate::record::{Record, Version};
use crate::store::Expected;
use crate::testing::conformance::probe::{Probe, next};
use crate::testing::conformance::verdict::{Checked, ensure};

pub(super) async fn delete_returns_true_once(probe: &Probe<'_>) -> Checked {
    let record = probe.stored(|_| {}).await?;
    probe.store.deletes(&record).await?;
    probe.store.lacks(record.id()).await?;
    probe.store.ignores_delete(&record).await?;
    probe.store.ignores_delete(&record).await
}

pub(super) async fn delete_ignores_the_version(probe: &Probe<'_>) -> Checked {
    for version in [1, 2, 77, i64::MAX.unsigned_abs()] {
        let record = probe.stored(|parts| parts.version = Version::new(version)).await?;
        probe.store.deletes(&record).await?;
        probe.store.lacks(record.id()).await?;
    }
    Ok(())
}

pub(super) async fn delete_of_an_unknown_id_returns_false(probe: &Probe<'_>) -> Checked {
    probe.store.ignores_delete(&probe.record(|_| {})).await?;
    probe.store.ignores_delete(&probe.record(|parts| parts.owner = Some(probe.owner.as_str().into()))).await
}

pub(super) async fn a_deleted_id_can_be_created_again(probe: &Probe<'_>) -> Checked {
    let first = probe.owned().await?;
    let second = probe.replaced(&first, |_| {}).await?;
    probe.store.deletes(&second).await?;
    let anew = probe.stored(|parts| parts.id = *first.id()).await?;
    probe.store.holds(&anew).await
}

/// Checks that a delete with the `given` owner leaves no record and no list entry.
async fn removed(probe: &Probe<'_>, record: &Record, given: Option<&str>) -> Checked {
    let deleted = probe.store.delete(record.id(), given).await?;
    ensure(deleted, || format!("delete of a live record of {:?} with {given:?} returned false", record.owner()))?;
    probe.store.lacks(record.id()).await?;
    unlisted(probe, record, given).await?;
    // A later session with this id must not bring an old entry back.
    let anew = probe.stored(|parts| parts.id = *record.id()).await?;
    unlisted(probe, record, given).await?;
    probe.store.deletes(&anew).await
}

/// Checks that neither the record's owner nor the given one lists it.
async fn unlisted(probe: &Probe<'_>, record: &Record, given: Option<&str>) -> Checked {
    for owner in [record.owner(), given].into_iter().flatten().filter(|_| probe.has_owners) {
        let listed = probe.store.owned_by(owner).await?;
        ensure(listed.iter().all(|listed| listed.id() != record.id()), || {
            format!("after a delete of a record of {:?} with {given:?}, {owner:?} still lists it", record.owner())
        })?;
    }
    Ok(())
}

pub(super) async fn delete_with_the_owner_removes_the_record(probe: &Probe<'_>) -> Checked {
    removes_one_of_two(probe, Some(&probe.owner)).await
}

pub(super) async fn delete_without_an_owner_removes_the_record(probe: &Probe<'_>) -> Checked {
    removes_one_of_two(probe, None).await
}

/// Checks that a delete with the `given` owner removes one of two records.
async fn removes_one_of_two(probe: &Probe<'_>, given: Option<&str>) -> Checked {
    let (deleted, other) = (probe.owned().await?, probe.owned().await?);
    removed(probe, &deleted, given).await?;
    probe.lists([&other]).await
}

pub(super) async fn delete_with_an_outdated_owner_removes_the_record(probe: &Probe<'_>) -> Checked {
    for owner in [Some(probe.other_owner.as_str()), None] {
        let record = probe.owned().await?;
        let moved = probe.given_to(&record, owner).await?;
        removed(probe, &moved, Some(&probe.owner)).await?;
    }
    Ok(())
}

pub(super) async fn delete_with_a_wrong_owner_removes_the_record(probe: &Probe<'_>) -> Checked {
    let wrong = &probe.other_owner;
    let other = probe.stored_for(wrong).await?;
    removed(probe, &probe.owned().await?, Some(wrong)).await?;
    removed(probe, &probe.stored(|_| {}).await?, Some(wrong)).await?;
    probe.store.holds(&other).await?;
    probe.store.lists(wrong, [&other]).await
}

pub(super) async fn another_connection_sees_a_delete(probe: &Probe<'_>) -> Checked {
    let (here, there) = (&probe.store, probe.fixture.another().await);
    for _ in 0..TRIES {
        let record = probe.stored(|_| {}).await?;
        there.holds(&record).await?;
        here.deletes(&record).await?;
        there.lacks(record.id()).await?;
        there.refuses(&next(&record, |_| {}), Expected::Version(record.version())).await?;
        there.ignores_touch(&record, probe.touch_after(60)).await?;
        there.ignores_delete(&record).await?;
    }
    Ok(())
}
