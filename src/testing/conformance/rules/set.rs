//! A set writes what it was given, over what it expected, or nothing.

use crate::record::Version;
use crate::store::Expected;
use crate::testing::conformance::fixture::Fixture;
use crate::testing::conformance::probe::Checked;
use crate::testing::conformance::trial::{LONG, Prolonged, SHORT, Trial, milliseconds, next, noise};

pub(super) async fn set_absent_writes_where_nothing_is<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let record = trial.record(|_| {});
    trial.store.create(&record).await?;
    trial.store.holds(&record).await
}

pub(super) async fn set_absent_is_refused_where_a_record_is<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let record = trial.record(|_| {});
    trial.store.create(&record).await?;
    for other in [next(&record, |parts| parts.version = record.version()), next(&record, |_| {})] {
        trial.store.refuses(&other, Expected::Absent).await?;
        trial.store.holds(&record).await?;
    }
    Ok(())
}

pub(super) async fn set_writes_over_the_version_it_expects<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let mut record = trial.record(|_| {});
    trial.store.create(&record).await?;
    for _ in 0..3 {
        let next = next(&record, |_| {});
        trial.store.replace(&record, &next).await?;
        trial.store.holds(&next).await?;
        record = next;
    }
    Ok(())
}

pub(super) async fn set_expecting_an_older_version_is_refused<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let first = trial.record(|_| {});
    trial.store.create(&first).await?;
    let second = next(&first, |_| {});
    trial.store.replace(&first, &second).await?;
    for late in [next(&first, |_| {}), next(&second, |_| {})] {
        trial.store.refuses(&late, Expected::Version(first.version())).await?;
        trial.store.holds(&second).await?;
    }
    Ok(())
}

pub(super) async fn set_expecting_a_newer_version_is_refused<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let record = trial.record(|_| {});
    trial.store.create(&record).await?;
    let second = next(&record, |_| {});
    trial.store.refuses(&next(&second, |_| {}), Expected::Version(second.version())).await?;
    trial.store.holds(&record).await
}

pub(super) async fn set_of_a_version_creates_nothing<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let record = trial.record(|_| {});
    for expected in [0, 1, 5] {
        trial.store.refuses(&next(&record, |_| {}), Expected::Version(Version::new(expected))).await?;
        trial.store.lacks(record.id()).await?;
    }
    Ok(())
}

pub(super) async fn set_of_a_version_revives_nothing<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let record = trial.record(|_| {});
    trial.store.create(&record).await?;
    trial.store.deletes(record.id()).await?;
    trial.store.refuses(&next(&record, |_| {}), Expected::Version(record.version())).await?;
    trial.store.lacks(record.id()).await
}

pub(super) async fn set_replaces_every_part<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let owner = trial.owner("user:1");
    let first = trial.record(|parts| {
        parts.owner = Some(owner.into());
        parts.state = noise(5_000);
    });
    trial.store.create(&first).await?;
    let second = next(&first, |parts| {
        parts.owner = None;
        parts.last_seen -= LONG;
        parts.expires_at -= LONG / 2;
        parts.state = noise(3);
    });
    trial.store.replace(&first, &second).await?;
    trial.store.holds(&second).await?;
    let third = next(&second, |parts| {
        parts.owner = Some(trial.owner("user:2").into());
        parts.expires_at += LONG;
        parts.state = noise(7_000);
    });
    trial.store.replace(&second, &third).await?;
    trial.store.holds(&third).await
}

pub(super) async fn set_can_shorten_a_life<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let first = trial.record(|_| {});
    trial.store.create(&first).await?;
    let expires_at = milliseconds(trial.fixture.now().await) + SHORT;
    trial.store.replace(&first, &next(&first, |parts| parts.expires_at = expires_at)).await?;
    trial.pass(expires_at).await?;
    trial.store.lacks(first.id()).await
}

pub(super) async fn set_can_lengthen_a_life<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let prolonged = trial.prolonged(Prolonged::Set, None).await?;
    trial.store.holds(&prolonged).await
}

pub(super) async fn ids_are_independent<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    // Made in one millisecond, so that they share their first six bytes; and one that differs in a single bit.
    let bystander = trial.record(|_| {});
    let near = trial.record(|parts| {
        let mut bytes = *bystander.id().as_uuid().as_bytes();
        bytes[15] ^= 1;
        parts.id = uuid::Uuid::from_bytes(bytes).into();
    });
    for other in [near, trial.record(|_| {})] {
        trial.store.create(&bystander).await?;
        trial.store.create(&other).await?;
        trial.store.holds(&bystander).await?;
        let second = next(&other, |_| {});
        trial.store.replace(&other, &second).await?;
        trial.store.holds(&bystander).await?;
        trial.store.touches(&second, trial.touch_after(60)).await?;
        trial.store.holds(&bystander).await?;
        trial.store.deletes(other.id()).await?;
        trial.store.holds(&bystander).await?;
        trial.store.deletes(bystander.id()).await?;
    }
    Ok(())
}
