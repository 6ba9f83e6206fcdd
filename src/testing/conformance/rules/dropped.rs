//! A call that is dropped half-way has happened or not; it may also happen a little later, on a server.

use crate::record::Record;
use crate::store::{Expected, Outcome};
use crate::testing::conformance::fixture::Fixture;
use crate::testing::conformance::probe::{Checked, Probe, Stop, differences, ensure};
use crate::testing::conformance::together::dropped_after;
use crate::testing::conformance::trial::{Trial, next, noise};

/// How often a call is polled before it is dropped, at most.
const POLLS: usize = 8;

/// The stored record, which must be one of the two.
async fn either<S: crate::store::Store>(store: &Probe<S>, before: &Record, after: &Record) -> Checked<Record> {
    let seen = store.live(before.id()).await?;
    ensure!(
        seen == *before || seen == *after,
        "get found a record that is neither the one before ({}) nor the one after ({})",
        differences(&seen, before),
        differences(&seen, after)
    );
    Ok(seen)
}

/// Writes over whichever of the two is stored.
async fn write_over<S: crate::store::Store>(store: &Probe<S>, before: &Record, after: &Record) -> Checked {
    for _ in 0..2 {
        let seen = either(store, before, after).await?;
        let last = next(&seen, |_| {});
        if store.set(&last, Expected::Version(seen.version())).await? == Outcome::Written {
            return store.holds(&last).await;
        }
        // It was refused, so the dropped call has happened since.
    }
    Err(Stop::Broken("set was refused twice over a record that nobody else wrote".into()))
}

pub(super) async fn a_dropped_set_has_happened_or_not<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let store = &trial.store;
    for polls in 1..=POLLS {
        let before = trial.owned(&trial.owner("user:1"));
        store.create(&before).await?;
        let after = next(&before, |parts| {
            parts.owner = Some(trial.owner("user:2").into());
            parts.state = noise(10_000);
        });
        let done = dropped_after(polls, store.replace(&before, &after)).await;
        if let Some(done) = done {
            done?;
            store.holds(&after).await?;
        }
        write_over(store, &before, &after).await?;
    }
    Ok(())
}

pub(super) async fn a_dropped_touch_has_happened_or_not<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let store = &trial.store;
    for polls in 1..=POLLS {
        let before = trial.record(|_| {});
        store.create(&before).await?;
        let touch = trial.touch_after(60);
        let mut after = before.clone();
        after.touch(touch);
        let done = dropped_after(polls, store.touches(&before, touch)).await;
        if let Some(done) = done {
            done?;
            store.holds(&after).await?;
        }
        write_over(store, &before, &after).await?;
    }
    Ok(())
}

pub(super) async fn a_dropped_delete_has_happened_or_not<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let store = &trial.store;
    for polls in 1..=POLLS {
        let record = trial.owned(&trial.owner("user:1"));
        store.create(&record).await?;
        let done = dropped_after(polls, store.deletes(record.id())).await;
        if let Some(done) = done {
            done?;
            store.lacks(record.id()).await?;
        }
        if let Some(seen) = store.get(record.id()).await? {
            ensure!(seen == record, "get found half a record: {}", differences(&seen, &record));
        }
        // Both may be the one that deletes it.
        store.delete(record.id()).await?;
        store.lacks(record.id()).await?;
        if let Some(owner) = record.owner().filter(|_| trial.fixture.has_owners()) {
            store.lists(owner, []).await?;
        }
    }
    Ok(())
}
