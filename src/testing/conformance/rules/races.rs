//! Concurrent calls take effect one after another.

use std::iter::{once, successors};

use futures_util::FutureExt;

use crate::record::Record;
use crate::store::{Expected, Outcome, Touch};
use crate::testing::conformance::connection::{Connection, differences, version_of};
use crate::testing::conformance::probe::{LONG, Probe, changed, next};
use crate::testing::conformance::verdict::{Checked, broken, ensure};

pub(super) async fn each_version_is_written_by_one(probe: &Probe<'_>) -> Checked {
    const WRITERS: u32 = 200;
    let record = probe.stored(|_| {}).await?;
    let connections = [probe.store.clone(), probe.fixture.another().await];
    let writers = (0..WRITERS).map(|writer| {
        let (store, id) = (connections[usize::from(writer % 2 == 1)].clone(), *record.id());
        async move {
            // Each refusal is the write of another writer, and each writer writes once.
            for attempt in 1..=WRITERS {
                let current = store.live(&id).await?;
                let next = next(&current, |parts| parts.state = writer.to_be_bytes().as_slice().into());
                if store.set(&next, Expected::Version(current.version())).await? == Outcome::Written {
                    return Ok(next);
                }
                store.back_off(attempt).await;
            }
            broken(format!("a writer was refused {WRITERS} times, though the {} others wrote once each", WRITERS - 1))
        }
    });
    let mut written = probe.at_once(writers).await?;
    written.sort_unstable_by_key(Record::version);
    for (due, written) in (2..).zip(&written) {
        let version = version_of(written);
        ensure(version == due, || {
            format!("of {WRITERS} acknowledged sets one wrote version {version} instead of {due}")
        })?;
    }
    match written.last() {
        Some(last) => probe.store.holds(last).await,
        None => broken("no writer returned"),
    }
}

pub(super) async fn one_of_many_creators_writes(probe: &Probe<'_>) -> Checked {
    let connections = [probe.store.clone(), probe.fixture.another().await];
    for _ in 0..3 {
        let record = probe.record(|_| {});
        let creators = (0..50).map(|creator| {
            let store = connections[creator % 2].clone();
            let ours = next(&record, |parts| parts.version = record.version());
            async move { Ok((store.set(&ours, Expected::Absent).await?, ours)) }
        });
        let mut answers = probe.at_once(creators).await?;
        answers.retain(|(outcome, _)| *outcome == Outcome::Written);
        ensure(answers.len() == 1, || format!("{} of 50 sets with `Expected::Absent` were written", answers.len()))?;
        probe.store.holds(&answers[0].1).await?;
    }
    Ok(())
}

pub(super) async fn one_of_many_deletes_returns_true(probe: &Probe<'_>) -> Checked {
    let connections = [probe.store.clone(), probe.fixture.another().await];
    for _ in 0..5 {
        let record = probe.owned().await?;
        let deletes = (0..20).map(|delete| {
            let (store, record) = (connections[delete % 2].clone(), record.clone());
            // Some callers know the owner, and some do not.
            async move { Ok(store.delete(record.id(), record.owner().filter(|_| delete % 3 > 0)).await?) }
        });
        let answers = probe.at_once(deletes).await?;
        let deleted = answers.iter().filter(|deleted| **deleted).count();
        ensure(deleted == 1, || format!("{deleted} of 20 deletes of one record returned true"))?;
        probe.store.lacks(record.id()).await?;
    }
    Ok(())
}

/// Runs a call beside a delete, on each of 40 records. Each delete returns true, and no record is left.
async fn during_a_delete<C>(probe: &Probe<'_>, call: impl Fn(Connection, Record) -> C) -> Checked
where
    C: Future<Output = Checked> + Send + 'static,
{
    let there = probe.fixture.another().await;
    let mut records = Vec::new();
    for _ in 0..40 {
        records.push(probe.stored(|_| {}).await?);
    }
    let calls = records.iter().enumerate().flat_map(|(place, record)| {
        let (there, deleted) = (there.clone(), record.clone());
        let call = call(probe.store.clone(), record.clone()).boxed();
        let delete = async move { there.deletes(&deleted).await }.boxed();
        // The call that starts first has an advantage, so the order alternates.
        if place % 2 == 0 { [call, delete] } else { [delete, call] }
    });
    probe.at_once(calls).await?;
    for record in &records {
        probe.store.lacks(record.id()).await?;
    }
    Ok(())
}

pub(super) async fn a_set_during_a_delete_revives_nothing(probe: &Probe<'_>) -> Checked {
    let set = |store: Connection, record: Record| async move {
        // Written before the delete or refused after it: both are right.
        let _ = store.set(&next(&record, |_| {}), Expected::Version(record.version())).await?;
        Ok(())
    };
    during_a_delete(probe, set).await
}

pub(super) async fn a_touch_during_a_delete_revives_nothing(probe: &Probe<'_>) -> Checked {
    let touch = probe.touch_after(60);
    let touch = move |store: Connection, record: Record| async move {
        store.touch(&record, touch).await?;
        Ok(())
    };
    during_a_delete(probe, touch).await
}

/// Rounds of a few calls each. All calls of a round start together, so that they meet however threads are scheduled.
const ROUNDS: usize = 30;

/// Runs three successive sets beside three other calls. Each set writes the `next` of the record before. Returns the last.
async fn round<C>(
    probe: &Probe<'_>,
    first: &Record,
    next: impl Fn(&Record) -> Record,
    call: impl Fn(Record) -> C,
) -> Checked<Record>
where
    C: Future<Output = Checked> + Send + 'static,
{
    let records: Vec<_> = successors(Some(first.clone()), |record| Some(next(record))).take(4).collect();
    let (store, last) = (probe.store.clone(), records[3].clone());
    let sets = async move {
        // No other call sets, so each set is written.
        for pair in records.windows(2) {
            store.replace(&pair[0], &pair[1]).await?;
        }
        Ok(())
    };
    probe.at_once(once(sets.boxed()).chain((0..3).map(|_| call(first.clone()).boxed()))).await?;
    Ok(last)
}

pub(super) async fn touches_during_sets_undo_no_set(probe: &Probe<'_>) -> Checked {
    let there = probe.fixture.another().await;
    let mut record = probe.stored(|_| {}).await?;
    for _ in 0..ROUNDS {
        let touches = |mut current: Record| {
            let store = there.clone();
            async move {
                for _ in 0..3 {
                    store.touch(&current, Touch::new(current.last_seen(), current.expires_at() + LONG)).await?;
                    current = store.live(current.id()).await?;
                }
                Ok(())
            }
        };
        record = round(probe, &record, |record| next(record, |_| {}), touches).await?;
        let seen = probe.store.live(record.id()).await?;
        ensure(seen.version() == record.version() && seen.state() == record.state(), || {
            let (seen, due) = (version_of(&seen), version_of(&record));
            format!("after concurrent sets and touches get returned version {seen} instead of {due}")
        })?;
    }
    Ok(())
}

pub(super) async fn a_get_during_sets_sees_a_whole_record(probe: &Probe<'_>) -> Checked {
    let (there, owner) = (probe.fixture.another().await, probe.owner.clone());
    let mut record = whole(&probe.record(|_| {}), &owner);
    probe.store.create(&record).await?;
    for _ in 0..ROUNDS {
        let gets = |record: Record| {
            let (store, owner) = (there.clone(), owner.clone());
            async move {
                for _ in 0..6 {
                    let seen = store.live(record.id()).await?;
                    let due = whole(&seen, &owner);
                    ensure(seen == due, || {
                        format!("get returned fields of two versions: {}", differences(&seen, &due))
                    })?;
                }
                Ok(())
            }
        };
        record = round(probe, &record, |record| whole(&next(record, |_| {}), &owner), gets).await?;
        probe.store.holds(&record).await?;
    }
    Ok(())
}

/// Returns the record with an owner and a state that follow from its version.
fn whole(record: &Record, owner: &str) -> Record {
    let version = version_of(record);
    changed(record, |parts| {
        parts.owner = Some(format!("{owner}:{version}").into());
        parts.state = version.to_be_bytes().repeat(500 + usize::from(version.to_le_bytes()[0])).into();
    })
}
