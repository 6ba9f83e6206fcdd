//! What `delete_expired` says. These rules are alone on the data: others' expired records would be counted too.

use crate::testing::conformance::fixture::Fixture;
use crate::testing::conformance::probe::{Checked, Stop, ensure};
use crate::testing::conformance::trial::Trial;

/// Leaves a few records that have expired, and one that has not; says how many have.
async fn leave_expired<F: Fixture>(trial: &Trial<'_, F>) -> Checked<u64> {
    if !trial.fixture.sweeps() {
        return Err(Stop::NotApplicable("the store expires records by itself".into()));
    }
    trial.store.delete_expired().await?;
    trial.store.create(&trial.record(|_| {})).await?;
    // The last of them has expired latest, so all have.
    let owner = trial.owner("user:1");
    let soon = trial.fixture.now().await + crate::testing::conformance::trial::SHORT;
    for number in 0..4 {
        let record = trial.record(|parts| {
            parts.expires_at = soon;
            parts.owner = (number % 2 == 0).then(|| owner.as_str().into());
        });
        trial.store.create(&record).await?;
    }
    trial.pass(soon).await?;
    Ok(4)
}

pub(super) async fn delete_expired_says_how_many<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let due = leave_expired(trial).await?;
    let deleted = trial.store.delete_expired().await?;
    ensure!(deleted == due, "delete_expired said {deleted} where {due} records had expired");
    Ok(())
}

pub(super) async fn delete_expired_counts_nothing_twice<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    leave_expired(trial).await?;
    trial.store.delete_expired().await?;
    let again = trial.store.delete_expired().await?;
    ensure!(again == 0, "delete_expired said {again} right after it had deleted all there was");
    Ok(())
}
