//! Each operation costs one round trip. These rules are alone, so that they count nobody else's.

use crate::store::Expected;
use crate::testing::conformance::fixture::Fixture;
use crate::testing::conformance::probe::{Checked, Probe, Stop, ensure};
use crate::testing::conformance::trial::{Trial, at_version, next};

/// Runs a call and counts what it cost.
async fn costs_one<F: Fixture, T>(trial: &Trial<'_, F>, name: &str, call: impl Future<Output = Checked<T>>) -> Checked {
    let before = count(trial)?;
    call.await?;
    let cost = count(trial)? - before;
    ensure!(cost == 1, "{name} cost {cost} round trips");
    Ok(())
}

fn count<F: Fixture>(trial: &Trial<'_, F>) -> Checked<u64> {
    let counted = trial.fixture.round_trips(trial.store.store());
    counted.ok_or_else(|| Stop::NotApplicable("the fixture cannot count the store's round trips".into()))
}

/// Calls each operation once: a store may connect and prepare its statements when it is first asked.
async fn warm_up<'a, F: Fixture>(trial: &'a Trial<'_, F>) -> Checked<&'a Probe<F::Store>> {
    count(trial)?;
    let record = trial.record(|_| {});
    trial.store.create(&record).await?;
    let second = next(&record, |_| {});
    trial.store.replace(&record, &second).await?;
    trial.store.touches(&second, trial.touch_after(1)).await?;
    trial.store.live(record.id()).await?;
    trial.store.deletes(record.id()).await?;
    Ok(&trial.store)
}

pub(super) async fn get_costs_one_round_trip<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let store = warm_up(trial).await?;
    let (record, unknown) = (trial.record(|_| {}), trial.record(|_| {}));
    store.create(&record).await?;
    costs_one(trial, "get of a record", store.holds(&record)).await?;
    costs_one(trial, "get of an unknown id", store.lacks(unknown.id())).await
}

pub(super) async fn set_costs_one_round_trip<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let store = warm_up(trial).await?;
    let record = trial.owned(&trial.owner("user:1"));
    let second = next(&record, |parts| parts.owner = Some(trial.owner("user:2").into()));
    costs_one(trial, "set that creates", store.create(&record)).await?;
    costs_one(trial, "set, refused since a record is there,", store.refuses(&second, Expected::Absent)).await?;
    costs_one(trial, "set that replaces", store.replace(&record, &second)).await?;
    let late = Expected::Version(record.version());
    costs_one(trial, "set, refused since the version is another,", store.refuses(&second, late)).await?;
    let unknown = trial.record(|_| {});
    costs_one(trial, "set, refused since nothing is there,", store.refuses(&unknown, late)).await
}

pub(super) async fn touch_costs_one_round_trip<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let store = warm_up(trial).await?;
    let (record, unknown) = (trial.record(|_| {}), trial.record(|_| {}));
    store.create(&record).await?;
    let touch = trial.touch_after(60);
    costs_one(trial, "touch of a record", store.touches(&record, touch)).await?;
    costs_one(trial, "touch of another version", store.touch(&at_version(&record, 9), touch)).await?;
    costs_one(trial, "touch of an unknown id", store.touch(&unknown, touch)).await
}

pub(super) async fn delete_costs_one_round_trip<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let store = warm_up(trial).await?;
    let record = trial.owned(&trial.owner("user:1"));
    store.create(&record).await?;
    costs_one(trial, "delete of a record", store.deletes(record.id())).await?;
    costs_one(trial, "delete of an unknown id", store.delete(record.id())).await
}
