//! Set with `Expected::VersionKeepingTimes` writes everything but the times.

use std::time::Duration;

use crate::record::{Record, RecordParts};
use crate::store::Expected;
use crate::testing::conformance::probe::{LONG, Probe, Prolonged, SHORT, at_version, next, noise};
use crate::testing::conformance::verdict::{Checked, ensure};

/// Writes `next` over the stored record, whose times must stay. Returns the record that is stored then.
async fn replaced_keeping_times(probe: &Probe<'_>, stored: &Record, next: Record) -> Checked<Record> {
    probe.store.replace_keeping_times(stored, &next).await?;
    let mut due = next;
    due.keep_times_of(stored);
    probe.store.holds(&due).await?;
    Ok(due)
}

pub(super) async fn set_keeping_times_leaves_the_times_of_a_touch(probe: &Probe<'_>) -> Checked {
    let mut stored = probe.owned().await?;
    for seconds in [60, 120] {
        // Prepared from the record as it was before the touch.
        let next = next(&stored, |_| {});
        let touched = probe.touched(&stored, probe.touch_after(seconds)).await?;
        stored = replaced_keeping_times(probe, &touched, next).await?;
        probe.lists([&stored]).await?;
    }
    Ok(())
}

pub(super) async fn set_keeping_times_ignores_the_times_it_is_given(probe: &Probe<'_>) -> Checked {
    let mut stored = probe.stored(|_| {}).await?;
    let (past, year) = (probe.now - LONG, Duration::from_secs(86_400 * 365));
    for (last_seen, expires_at) in [(past, past), (probe.now + year, probe.now + year)] {
        let change = |parts: &mut RecordParts| (parts.last_seen, parts.expires_at) = (last_seen, expires_at);
        stored = replaced_keeping_times(probe, &stored, next(&stored, change)).await?;
    }
    Ok(())
}

pub(super) async fn set_keeping_times_replaces_all_other_fields(probe: &Probe<'_>) -> Checked {
    let mut stored = probe.stored(|parts| parts.state = noise(5_000)).await?;
    let (first, second) = (probe.owner.as_str(), probe.other_owner.as_str());
    for (realm, owner, length) in
        [("admin", Some(first), 3), ("id", Some(first), 7_000), ("id", Some(second), 0), ("api", None, 300)]
    {
        let change = |parts: &mut RecordParts| {
            parts.realm = realm.into();
            parts.owner = owner.map(Into::into);
            parts.state = noise(length);
        };
        stored = replaced_keeping_times(probe, &stored, next(&stored, change)).await?;
        probe.listed_only_by(owner, &stored).await?;
    }
    Ok(())
}

pub(super) async fn set_keeping_times_of_another_version_is_refused(probe: &Probe<'_>) -> Checked {
    let first = probe.owned().await?;
    let stored = probe.replaced(&first, |_| {}).await?;
    let later = next(&stored, |parts| parts.owner = Some(probe.other_owner.as_str().into()));
    for other in [first, at_version(&stored, 9)] {
        probe.store.refuses(&later, Expected::VersionKeepingTimes(other.version())).await?;
        probe.store.holds(&stored).await?;
        probe.listed_only_by(stored.owner(), &stored).await?;
    }
    Ok(())
}

pub(super) async fn set_keeping_times_of_an_absent_record_is_refused(probe: &Probe<'_>) -> Checked {
    let (unknown, deleted) = (probe.record(|_| {}), probe.stored(|_| {}).await?);
    probe.store.deletes(&deleted).await?;
    for absent in [unknown, deleted] {
        probe.store.refuses(&next(&absent, |_| {}), Expected::VersionKeepingTimes(absent.version())).await?;
        probe.store.lacks(absent.id()).await?;
    }
    Ok(())
}

pub(super) async fn set_keeping_times_revives_no_expired_record(probe: &Probe<'_>) -> Checked {
    let expired = probe.expired(Some(&probe.owner)).await?;
    let next = next(&expired, |parts| parts.expires_at += LONG);
    probe.store.refuses(&next, Expected::VersionKeepingTimes(expired.version())).await?;
    probe.store.lacks(expired.id()).await?;
    probe.lists([]).await
}

pub(super) async fn set_keeping_times_does_not_prolong_a_life(probe: &Probe<'_>) -> Checked {
    let expires_at = probe.expiry_after(SHORT).await;
    let change = |parts: &mut RecordParts| {
        parts.expires_at = expires_at;
        parts.owner = Some(probe.owner.as_str().into());
    };
    let record = probe.stored(change).await?;
    let later = next(&record, |parts| parts.expires_at += LONG);
    // Refused if the record has expired by now.
    let _ = probe.store.set(&later, Expected::VersionKeepingTimes(record.version())).await?;
    probe.pass(SHORT).await?;
    probe.store.lacks(record.id()).await?;
    probe.lists([]).await
}

pub(super) async fn set_keeping_times_does_not_shorten_a_life(probe: &Probe<'_>) -> Checked {
    // The record lives by a touch, and each set is given the expiry from before.
    let mut stored = probe.prolonged(Prolonged::Touch, Some(&probe.owner)).await?;
    let first = probe.now + SHORT;
    for owner in [&probe.owner, &probe.other_owner] {
        let change = |parts: &mut RecordParts| {
            parts.expires_at = first;
            parts.owner = Some(owner.as_str().into());
        };
        stored = replaced_keeping_times(probe, &stored, next(&stored, change)).await?;
        probe.pass(SHORT).await?;
        probe.store.holds(&stored).await?;
        probe.listed_only_by(Some(owner), &stored).await?;
    }
    Ok(())
}

pub(super) async fn set_keeping_times_undoes_no_concurrent_touch(probe: &Probe<'_>) -> Checked {
    const ROUNDS: u64 = 20;
    let there = probe.fixture.another().await;
    let mut stored = probe.stored(|_| {}).await?;
    for round in 1..=ROUNDS {
        let touch = probe.touch_after(round * 60);
        let calls = (0..4).map(|call| {
            let (store, there, read) = (probe.store.clone(), there.clone(), stored.clone());
            async move {
                match call % 2 {
                    0 => Ok(there.touch(&read, touch).await?),
                    // One of the sets is written.
                    _ => {
                        let next = next(&read, |_| {});
                        let _ = store.set(&next, Expected::VersionKeepingTimes(read.version())).await?;
                        Ok(false)
                    }
                }
            }
        });
        let is_touched = probe.at_once(calls).await?.contains(&true);
        let seen = probe.store.live(stored.id()).await?;
        let due = if is_touched { touch.expires_at } else { stored.expires_at() };
        ensure(seen.expires_at() == due, || {
            format!("after concurrent sets and touches the expiry was {} instead of {due}", seen.expires_at())
        })?;
        stored = seen;
    }
    Ok(())
}
