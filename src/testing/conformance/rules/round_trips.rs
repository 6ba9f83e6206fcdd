//! Each operation on a record costs one round trip, and one on many at most two.

use crate::store::Expected;
use crate::testing::conformance::connection::{Connection, are_ids_in_order, are_ids_of};
use crate::testing::conformance::probe::{Probe, at_version, next, next_for};
use crate::testing::conformance::verdict::{Checked, Failed, Verdict, ensure};

/// Runs a call and checks that it costs one round trip.
async fn costs_one<T, E>(probe: &Probe<'_>, name: &str, call: impl Future<Output = Result<T, E>>) -> Checked
where
    Failed: From<E>,
{
    let (cost, _) = cost_of(probe, call).await?;
    ensure(cost == Some(1), || format!("{name} cost {cost:?} round trips"))
}

/// Runs a call and returns the number of its round trips, and its answer.
async fn cost_of<T, E>(probe: &Probe<'_>, call: impl Future<Output = Result<T, E>>) -> Checked<(Option<u64>, T)>
where
    Failed: From<E>,
{
    let before = probe.fixture.round_trips();
    let answer = call.await?;
    Ok((probe.fixture.round_trips().zip(before).map(|(after, before)| after - before), answer))
}

/// Calls each operation once: a store may connect and prepare its statements on the first call.
async fn warm_up<'a>(probe: &'a Probe<'_>) -> Checked<&'a Connection> {
    let record = probe.stored(|_| {}).await?;
    let second = probe.replaced(&record, |_| {}).await?;
    probe.store.touches(&second, probe.touch_after(1)).await?;
    probe.store.live(record.id()).await?;
    probe.store.replace_keeping_times(&second, &next(&second, |_| {})).await?;
    probe.store.deletes(&record).await?;
    Ok(&probe.store)
}

pub(super) async fn get_costs_one_round_trip(probe: &Probe<'_>) -> Checked {
    let store = warm_up(probe).await?;
    let (record, unknown) = (probe.stored(|_| {}).await?, probe.record(|_| {}));
    costs_one(probe, "get of a record", store.holds(&record)).await?;
    costs_one(probe, "get of an unknown id", store.lacks(unknown.id())).await
}

pub(super) async fn set_costs_one_round_trip(probe: &Probe<'_>) -> Checked {
    let store = warm_up(probe).await?;
    let record = probe.record(|parts| parts.owner = Some(probe.owner.as_str().into()));
    let second = next_for(&record, Some(&probe.other_owner));
    costs_one(probe, "set that creates", store.create(&record)).await?;
    costs_one(probe, "set that is refused by a record", store.refuses(&second, Expected::Absent)).await?;
    costs_one(probe, "set that replaces", store.replace(&record, &second)).await?;
    let late = Expected::Version(record.version());
    costs_one(probe, "set that is refused by another version", store.refuses(&second, late)).await?;
    let third = next_for(&second, Some(&probe.owner));
    costs_one(probe, "set that keeps the times", store.replace_keeping_times(&second, &third)).await?;
    let unknown = probe.record(|_| {});
    costs_one(probe, "set of a version of an unknown id", store.refuses(&unknown, late)).await
}

pub(super) async fn touch_costs_one_round_trip(probe: &Probe<'_>) -> Checked {
    let store = warm_up(probe).await?;
    let (record, unknown, touch) = (probe.stored(|_| {}).await?, probe.record(|_| {}), probe.touch_after(60));
    costs_one(probe, "touch of a record", store.touches(&record, touch)).await?;
    costs_one(probe, "touch of another version", store.touch(&at_version(&record, 9), touch)).await?;
    costs_one(probe, "touch of an unknown id", store.touch(&unknown, touch)).await
}

pub(super) async fn delete_costs_one_round_trip(probe: &Probe<'_>) -> Checked {
    let store = warm_up(probe).await?;
    for given in [Some(probe.owner.as_str()), None] {
        let record = probe.owned().await?;
        costs_one(probe, "delete of a record", store.delete(record.id(), given)).await?;
        store.lacks(record.id()).await?;
    }
    costs_one(probe, "delete of an unknown id", store.delete(probe.record(|_| {}).id(), None)).await
}

pub(super) async fn delete_owned_by_costs_two_round_trips_at_most(probe: &Probe<'_>) -> Checked {
    needs_owners(probe)?;
    // The first call warms the store up.
    for count in [2, 0, 1, 100] {
        let records = probe.many_owned(count).await?;
        let (cost, deleted) = cost_of(probe, probe.store.delete_owned_by(&probe.owner, None, None)).await?;
        are_ids_of(&deleted, &records)?;
        ensure(count == 2 || cost <= Some(2), || {
            format!("delete_owned_by of {count} sessions cost {cost:?} round trips")
        })?;
    }
    Ok(())
}

pub(super) async fn ids_of_costs_two_round_trips_at_most(probe: &Probe<'_>) -> Checked {
    needs_owners(probe)?;
    // Warms the store up.
    probe.store.ids_of(&probe.owner, Some("id")).await?;
    let mut records = Vec::new();
    for more in [0, 1, 49] {
        records.extend(probe.many_owned(more).await?);
        let (cost, ids) = cost_of(probe, probe.store.ids_of(&probe.owner, Some("id"))).await?;
        are_ids_in_order(&ids, &records.iter().collect::<Vec<_>>())?;
        ensure(cost <= Some(2), || format!("ids_of {} sessions cost {cost:?} round trips", records.len()))?;
    }
    Ok(())
}

pub(super) async fn summaries_of_costs_two_round_trips_at_most(probe: &Probe<'_>) -> Checked {
    let records = probe.many_owned(50).await?;
    let ids: Vec<_> = records.iter().map(|record| *record.id()).collect();
    let due: Vec<_> = records.iter().map(Some).collect();
    // The first call warms the store up.
    for count in [2, 1, 50] {
        let (cost, ()) = cost_of(probe, probe.store.summarizes(&ids[..count], &due[..count])).await?;
        ensure(count == 2 || cost <= Some(2), || format!("summaries_of {count} ids cost {cost:?} round trips"))?;
    }
    Ok(())
}

pub(super) async fn ping_costs_one_round_trip(probe: &Probe<'_>) -> Checked {
    let store = warm_up(probe).await?;
    store.ping().await?;
    costs_one(probe, "ping", store.ping()).await
}

fn needs_owners(probe: &Probe<'_>) -> Checked {
    if probe.has_owners {
        return Ok(());
    }
    Err(Failed(Verdict::NotApplicable("the store has no index of owners".into())))
}
