//! What a call has answered is there for the next, from whichever connection it comes.

use crate::store::Expected;
use crate::testing::conformance::fixture::Fixture;
use crate::testing::conformance::probe::{Checked, ensure};
use crate::testing::conformance::trial::{Trial, next};

/// How often each is tried: a copy that lags does not always lag.
const TRIES: u64 = 10;

pub(super) async fn another_connection_sees_a_set<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let (here, there) = (&trial.store, trial.another().await);
    let mut record = trial.record(|_| {});
    here.create(&record).await?;
    there.holds(&record).await?;
    for _ in 0..TRIES {
        let next = next(&record, |_| {});
        here.replace(&record, &next).await?;
        there.holds(&next).await?;
        record = next;
    }
    Ok(())
}

pub(super) async fn another_connection_sees_a_touch<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let (here, there) = (&trial.store, trial.another().await);
    let mut record = trial.record(|_| {});
    here.create(&record).await?;
    there.holds(&record).await?;
    for number in 1..=TRIES {
        let touch = trial.touch_after(number * 60);
        here.touches(&record, touch).await?;
        record.touch(touch);
        there.holds(&record).await?;
    }
    Ok(())
}

pub(super) async fn another_connection_sees_a_delete<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let (here, there) = (&trial.store, trial.another().await);
    for _ in 0..TRIES {
        let record = trial.record(|_| {});
        here.create(&record).await?;
        there.holds(&record).await?;
        here.deletes(record.id()).await?;
        there.lacks(record.id()).await?;
        there.refuses(&next(&record, |_| {}), Expected::Version(record.version())).await?;
        let touched = there.touch(&record, trial.touch_after(60)).await?;
        ensure!(!touched, "touch of a record that another connection has deleted answered true");
        ensure!(!there.delete(record.id()).await?, "delete of what another connection has deleted answered true");
    }
    Ok(())
}

pub(super) async fn another_connections_set_counts<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let (here, there) = (&trial.store, trial.another().await);
    let mut record = trial.record(|_| {});
    here.create(&record).await?;
    there.refuses(&record, Expected::Absent).await?;
    for _ in 0..TRIES {
        let second = next(&record, |_| {});
        there.replace(&record, &second).await?;
        here.refuses(&next(&record, |_| {}), Expected::Version(record.version())).await?;
        here.holds(&second).await?;
        record = next(&second, |_| {});
        here.replace(&second, &record).await?;
        there.refuses(&next(&second, |_| {}), Expected::Version(second.version())).await?;
    }
    there.holds(&record).await
}

pub(super) async fn another_connection_lists_the_owners_sessions<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    trial.needs_owners()?;
    let (here, there) = (&trial.store, trial.another().await);
    let owner = trial.owner("user:1");
    for _ in 0..TRIES {
        there.lists(&owner, []).await?;
        let record = trial.owned(&owner);
        here.create(&record).await?;
        there.lists(&owner, [&record]).await?;
        let signed_out = next(&record, |parts| parts.owner = None);
        there.replace(&record, &signed_out).await?;
        here.lists(&owner, []).await?;
    }
    Ok(())
}
