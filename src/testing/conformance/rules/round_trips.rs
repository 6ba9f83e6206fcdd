//! Each operation costs one round trip.

use crate::store::Expected;
use crate::testing::conformance::connection::Connection;
use crate::testing::conformance::probe::{Probe, at_version, next_for};
use crate::testing::conformance::verdict::{Checked, Failed, ensure};

/// Runs a call and counts its round trips.
async fn costs_one<T, E>(probe: &Probe<'_>, name: &str, call: impl Future<Output = Result<T, E>>) -> Checked
where
    Failed: From<E>,
{
    let before = probe.fixture.round_trips();
    call.await?;
    let cost = probe.fixture.round_trips().zip(before).map(|(after, before)| after - before);
    ensure(cost == Some(1), || format!("{name} cost {cost:?} round trips"))
}

/// Calls each operation once: a store may connect and prepare its statements on the first call.
async fn warm_up<'a>(probe: &'a Probe<'_>) -> Checked<&'a Connection> {
    let record = probe.stored(|_| {}).await?;
    let second = probe.replaced(&record, |_| {}).await?;
    probe.store.touches(&second, probe.touch_after(1)).await?;
    probe.store.live(record.id()).await?;
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
