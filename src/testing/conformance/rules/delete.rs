//! What was deleted is gone, and whoever deleted it knows.

use crate::record::Version;
use crate::testing::conformance::fixture::Fixture;
use crate::testing::conformance::probe::{Checked, ensure};
use crate::testing::conformance::trial::{Trial, next};

pub(super) async fn delete_says_true_once<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let record = trial.record(|_| {});
    trial.store.create(&record).await?;
    trial.store.deletes(record.id()).await?;
    trial.store.lacks(record.id()).await?;
    for _ in 0..2 {
        ensure!(!trial.store.delete(record.id()).await?, "delete of a record that was deleted before answered true");
    }
    Ok(())
}

pub(super) async fn delete_takes_every_version<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    for version in [1, 2, 77, i64::MAX.unsigned_abs()] {
        let record = trial.record(|parts| parts.version = Version::new(version));
        trial.store.create(&record).await?;
        trial.store.deletes(record.id()).await?;
        trial.store.lacks(record.id()).await?;
    }
    Ok(())
}

pub(super) async fn delete_of_an_unknown_id_says_false<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let unknown = trial.record(|_| {});
    ensure!(!trial.store.delete(unknown.id()).await?, "delete of an id that was never written answered true");
    Ok(())
}

pub(super) async fn an_id_can_be_written_anew_after_a_delete<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let first = trial.owned(&trial.owner("user:1"));
    let second = next(&first, |_| {});
    trial.store.create(&first).await?;
    trial.store.replace(&first, &second).await?;
    trial.store.deletes(first.id()).await?;
    let anew = trial.record(|parts| parts.id = *first.id());
    trial.store.create(&anew).await?;
    trial.store.holds(&anew).await
}
