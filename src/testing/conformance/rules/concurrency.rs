//! Many calls at once.

use std::pin::Pin;
use std::time::Duration;

use crate::backoff::pause;
use crate::record::Record;
use crate::store::{Expected, Outcome, Touch};
use crate::testing::conformance::fixture::Fixture;
use crate::testing::conformance::probe::{Checked, Probe, Stop, differences, ensure};
use crate::testing::conformance::trial::{LONG, Trial, next, version_of};

pub(super) async fn each_version_is_written_by_one<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    const WRITERS: u32 = 200;
    let record = trial.record(|_| {});
    trial.store.create(&record).await?;
    let connections = [trial.store.clone(), trial.another().await];
    let writers = (0..WRITERS).map(|writer| {
        let store = connections[usize::from(writer % 2 == 1)].clone();
        let id = *record.id();
        async move {
            // Each refusal is another's write, and each of the others writes once.
            for attempt in 1..=WRITERS {
                let current = store.live(&id).await?;
                let next = next(&current, |parts| parts.state = writer.to_be_bytes().as_slice().into());
                if store.set(&next, Expected::Version(current.version())).await? == Outcome::Written {
                    return Ok(next);
                }
                pause(attempt, Duration::from_millis(250)).await;
            }
            Err(Stop::Broken(format!(
                "a writer was refused {WRITERS} times, by one write each of {} others",
                WRITERS - 1
            )))
        }
    });
    let mut written = trial.at_once(writers).await?;
    written.sort_unstable_by_key(Record::version);
    for (place, written) in (2..).zip(&written) {
        ensure!(
            version_of(written) == place,
            "of {WRITERS} writers that were all told Written, one wrote version {} where {place} was next",
            version_of(written)
        );
    }
    match written.last() {
        Some(last) => trial.store.holds(last).await,
        None => Ok(()),
    }
}

pub(super) async fn one_of_many_creators_writes<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let connections = [trial.store.clone(), trial.another().await];
    for _ in 0..3 {
        let record = trial.record(|_| {});
        let creators = (0..50).map(|creator| {
            let store = connections[creator % 2].clone();
            let ours = next(&record, |parts| parts.version = record.version());
            async move { Ok((store.set(&ours, Expected::Absent).await?, ours)) }
        });
        let answers = trial.at_once(creators).await?;
        let written: Vec<_> = answers.iter().filter(|(outcome, _)| *outcome == Outcome::Written).collect();
        ensure!(written.len() == 1, "{} of 50 sets that expected nothing were told Written", written.len());
        trial.store.holds(&written[0].1).await?;
    }
    Ok(())
}

pub(super) async fn one_of_many_deletes_says_true<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let connections = [trial.store.clone(), trial.another().await];
    for _ in 0..5 {
        let record = trial.record(|_| {});
        trial.store.create(&record).await?;
        let deletes = (0..20).map(|delete| {
            let (store, id) = (connections[delete % 2].clone(), *record.id());
            async move { store.delete(&id).await }
        });
        let answers = trial.at_once(deletes).await?;
        let deleted = answers.iter().filter(|deleted| **deleted).count();
        ensure!(deleted == 1, "{deleted} of 20 deletes of one record answered true");
        trial.store.lacks(record.id()).await?;
    }
    Ok(())
}

/// One of several calls at once that are not of one kind.
type Call<T> = Pin<Box<dyn Future<Output = Checked<T>> + Send>>;

/// Runs a call on each of 40 records and a delete of it at once; then none is left, and each delete found its own.
async fn meets_a_delete<F, W>(trial: &Trial<'_, F>, call: impl Fn(Probe<F::Store>, Record) -> W) -> Checked
where
    F: Fixture,
    W: Future<Output = Checked> + Send + 'static,
{
    let there = trial.another().await;
    let records: Vec<_> = (0..40).map(|_| trial.record(|_| {})).collect();
    for record in &records {
        trial.store.create(record).await?;
    }
    let calls = records.iter().enumerate().flat_map(|(place, record)| {
        let call = call(trial.store.clone(), record.clone());
        let (store, id) = (there.clone(), *record.id());
        // A delete answers whether there was something to delete.
        let call: Call<Option<bool>> = Box::pin(async move { call.await.map(|()| None) });
        let delete: Call<Option<bool>> = Box::pin(async move { store.delete(&id).await.map(Some) });
        // Whichever is begun first has an advantage, so they take turns.
        if place % 2 == 0 { [call, delete] } else { [delete, call] }
    });
    let answers = trial.at_once(calls).await?;
    let missed = answers.iter().filter(|answer| **answer == Some(false)).count();
    ensure!(missed == 0, "{missed} deletes of a live record answered false");
    for record in &records {
        trial.store.lacks(record.id()).await?;
    }
    Ok(())
}

pub(super) async fn a_set_that_meets_a_delete_revives_nothing<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    meets_a_delete(trial, |store, record| async move {
        let next = next(&record, |_| {});
        // Written before the delete or refused after it: both are right.
        store.set(&next, Expected::Version(record.version())).await.map(|_| ())
    })
    .await
}

pub(super) async fn a_touch_that_meets_a_delete_revives_nothing<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let touch = trial.touch_after(60);
    meets_a_delete(trial, move |store, record| async move { store.touch(&record, touch).await.map(|_| ()) }).await
}

/// Rounds of a few calls each: all of a round begin together, so that they meet in each, however threads are scheduled.
const ROUNDS: usize = 30;

pub(super) async fn touches_that_meet_sets_lose_none<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let mut record = trial.record(|_| {});
    trial.store.create(&record).await?;
    let there = trial.another().await;
    for _ in 0..ROUNDS {
        let setter: Call<Record> = {
            let (store, mut record) = (trial.store.clone(), record.clone());
            Box::pin(async move {
                for _ in 0..3 {
                    let next = next(&record, |_| {});
                    // Nobody else sets, so each is written.
                    store.replace(&record, &next).await?;
                    record = next;
                }
                Ok(record)
            })
        };
        let touchers = (0..3).map(|_| -> Call<Record> {
            let (store, mut current) = (there.clone(), record.clone());
            Box::pin(async move {
                for _ in 0..3 {
                    let touch = Touch::new(current.last_seen(), current.expires_at() + LONG);
                    store.touch(&current, touch).await?;
                    current = store.live(current.id()).await?;
                }
                Ok(current)
            })
        });
        let mut answers = trial.at_once(std::iter::once(setter).chain(touchers)).await?;
        record = answers.swap_remove(0);
        let seen = trial.store.live(record.id()).await?;
        ensure!(
            seen.version() == record.version() && seen.state() == record.state(),
            "after sets and touches at once get found version {} where {} was written last",
            version_of(&seen),
            version_of(&record)
        );
    }
    Ok(())
}

pub(super) async fn reads_see_whole_records<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let owner = trial.owner("user");
    let mut record = whole(&trial.record(|_| {}), &owner);
    trial.store.create(&record).await?;
    let there = trial.another().await;
    for _ in 0..ROUNDS {
        let writer: Call<Record> = {
            let (store, mut record, owner) = (trial.store.clone(), record.clone(), owner.clone());
            Box::pin(async move {
                for _ in 0..3 {
                    let next = whole(&next(&record, |_| {}), &owner);
                    store.replace(&record, &next).await?;
                    record = next;
                }
                Ok(record)
            })
        };
        let readers = (0..3).map(|_| -> Call<Record> {
            let (store, mut seen, owner) = (there.clone(), record.clone(), owner.clone());
            Box::pin(async move {
                for _ in 0..6 {
                    seen = store.live(seen.id()).await?;
                    let due = whole(&seen, &owner);
                    ensure!(seen == due, "get found parts of two records: {}", differences(&seen, &due));
                }
                Ok(seen)
            })
        });
        record = trial.at_once(std::iter::once(writer).chain(readers)).await?.swap_remove(0);
        trial.store.holds(&record).await?;
    }
    Ok(())
}

/// The record of this version, of which every other part follows from the version.
fn whole(record: &Record, owner: &str) -> Record {
    let version = version_of(record);
    let mut parts = record.clone().into_parts();
    parts.owner = Some(format!("{owner}:{version}").into());
    parts.state = version.to_be_bytes().repeat(500 + usize::from(version.to_le_bytes()[0])).into();
    Record::from_parts(parts)
}
