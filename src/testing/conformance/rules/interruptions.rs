//! A call whose future is dropped is made whole or not at all; a server may complete it a little later.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use crate::record::Record;
use crate::store::{Expected, Outcome};
use crate::testing::conformance::connection::{Connection, differences};
use crate::testing::conformance::probe::{LONG, Probe, next, noise, touched};
use crate::testing::conformance::verdict::{Checked, broken, ensure};

/// Maximum number of polls before a call is dropped.
const MAX_POLLS: usize = 8;

/// Polls a call this many times, then drops it; returns whether the call was completed.
async fn dropped_after(polls: usize, call: impl Future<Output = Checked>) -> Checked<bool> {
    let (mut call, mut left) = (pin!(call), polls);
    poll_fn(|context| {
        left -= 1;
        match call.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(output.map(|()| true)),
            Poll::Pending if left == 0 => Poll::Ready(Ok(false)),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Writes over the stored record, which must be one of these two.
async fn write_over(store: &Connection, before: &Record, after: &Record) -> Checked {
    for _ in 0..2 {
        let seen = store.live(before.id()).await?;
        ensure(seen == *before || seen == *after, || {
            let (before, after) = (differences(&seen, before), differences(&seen, after));
            format!("get returned neither the record before the call ({before}) nor the one after it ({after})")
        })?;
        let last = next(&seen, |_| {});
        if store.set(&last, Expected::Version(seen.version())).await? == Outcome::Written {
            return store.holds(&last).await;
        }
        // The dropped call took effect between the get and the set.
    }
    broken("set was refused twice, though no other call was running")
}

pub(super) async fn a_dropped_set_has_happened_or_not(probe: &Probe<'_>) -> Checked {
    for polls in 1..=MAX_POLLS {
        let before = probe.owned().await?;
        let after = next(&before, |parts| {
            parts.owner = Some(probe.other_owner.as_str().into());
            parts.state = noise(10_000);
        });
        if dropped_after(polls, probe.store.replace(&before, &after)).await? {
            probe.store.holds(&after).await?;
        }
        write_over(&probe.store, &before, &after).await?;
    }
    Ok(())
}

pub(super) async fn a_dropped_set_keeping_times_has_happened_or_not(probe: &Probe<'_>) -> Checked {
    for polls in 1..=MAX_POLLS {
        let before = probe.owned().await?;
        let given = next(&before, |parts| parts.expires_at += LONG);
        let mut after = given.clone();
        after.keep_times_of(&before);
        if dropped_after(polls, probe.store.replace_keeping_times(&before, &given)).await? {
            probe.store.holds(&after).await?;
        }
        write_over(&probe.store, &before, &after).await?;
    }
    Ok(())
}

pub(super) async fn a_dropped_touch_has_happened_or_not(probe: &Probe<'_>) -> Checked {
    let touch = probe.touch_after(60);
    for polls in 1..=MAX_POLLS {
        let before = probe.stored(|_| {}).await?;
        let after = touched(&before, touch);
        if dropped_after(polls, probe.store.touches(&before, touch)).await? {
            probe.store.holds(&after).await?;
        }
        write_over(&probe.store, &before, &after).await?;
    }
    Ok(())
}

pub(super) async fn a_dropped_delete_has_happened_or_not(probe: &Probe<'_>) -> Checked {
    for polls in 1..=MAX_POLLS {
        let record = probe.owned().await?;
        if dropped_after(polls, probe.store.deletes(&record)).await? {
            probe.store.lacks(record.id()).await?;
        }
        if let Some(seen) = probe.store.get(record.id()).await? {
            ensure(seen == record, || format!("get returned half a record: {}", differences(&seen, &record)))?;
        }
        // Returns false if the dropped delete took effect.
        probe.store.delete(record.id(), Some(&probe.owner)).await?;
        probe.store.lacks(record.id()).await?;
        probe.lists([]).await?;
    }
    Ok(())
}

pub(super) async fn a_dropped_delete_owned_by_leaves_whole_records(probe: &Probe<'_>) -> Checked {
    for polls in 1..=MAX_POLLS {
        // Another owner each round, since a server may carry out the dropped call of an earlier round late.
        let owner = format!("{}{polls}", probe.owner);
        let mut records = Vec::new();
        for _ in 0..3 {
            records.push(probe.stored_for(&owner).await?);
        }
        if dropped_after(polls, probe.store.deletes_owned_by(&owner, None, None, &records)).await? {
            probe.store.lacks_all(&records).await?;
        }
        for record in &records {
            if let Some(seen) = probe.store.get(record.id()).await? {
                ensure(seen == *record, || format!("get returned half a record: {}", differences(&seen, record)))?;
            }
        }
        // Returns the ids that the dropped call has not deleted.
        probe.store.delete_owned_by(&owner, None, None).await?;
        probe.store.lacks_all(&records).await?;
        probe.store.lists(&owner, []).await?;
    }
    Ok(())
}
