//! A touch notes that a session was used, and does no more.

use crate::record::Version;
use crate::store::Touch;
use crate::testing::conformance::fixture::Fixture;
use crate::testing::conformance::probe::{Checked, ensure};
use crate::testing::conformance::trial::{LONG, Prolonged, Trial, at_version, next};

pub(super) async fn touch_moves_last_seen_and_expiry_alone<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let mut record = trial.owned(&trial.owner("user:1"));
    trial.store.create(&record).await?;
    for seconds in [60, 120] {
        let touch = trial.touch_after(seconds);
        trial.store.touches(&record, touch).await?;
        record.touch(touch);
        trial.store.holds(&record).await?;
    }
    Ok(())
}

pub(super) async fn touch_of_another_version_does_nothing<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let record = trial.record(|parts| parts.version = Version::new(5));
    trial.store.create(&record).await?;
    for version in [0, 1, 4, 6] {
        let touched = trial.store.touch(&at_version(&record, version), trial.touch_after(60)).await?;
        ensure!(!touched, "touch of version {version} where 5 is stored answered true");
        trial.store.holds(&record).await?;
    }
    Ok(())
}

pub(super) async fn touch_of_an_absent_record_creates_nothing<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let (unknown, deleted) = (trial.record(|_| {}), trial.record(|_| {}));
    trial.store.create(&deleted).await?;
    trial.store.deletes(deleted.id()).await?;
    for absent in [unknown, deleted] {
        let touched = trial.store.touch(&absent, trial.touch_after(60)).await?;
        ensure!(!touched, "touch of an absent record answered true");
        trial.store.lacks(absent.id()).await?;
    }
    Ok(())
}

pub(super) async fn touch_never_moves_the_expiry_back<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let mut record = trial.record(|_| {});
    trial.store.create(&record).await?;
    for earlier in [LONG / 2, LONG * 2] {
        // The second would have expired already.
        let touch = Touch::new(record.last_seen(), record.expires_at() - earlier);
        trial.store.touches(&record, touch).await?;
        record.touch(touch);
        trial.store.holds(&record).await?;
    }
    Ok(())
}

pub(super) async fn touch_never_moves_last_seen_back<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let mut record = trial.record(|_| {});
    trial.store.create(&record).await?;
    let touch = Touch::new(record.last_seen() - LONG, record.expires_at() + LONG);
    trial.store.touches(&record, touch).await?;
    record.touch(touch);
    trial.store.holds(&record).await
}

pub(super) async fn set_after_a_touch_writes_over_the_same_version<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let record = trial.record(|_| {});
    trial.store.create(&record).await?;
    trial.store.touches(&record, trial.touch_after(60)).await?;
    let next = next(&record, |_| {});
    trial.store.replace(&record, &next).await?;
    trial.store.holds(&next).await
}

pub(super) async fn touch_keeps_a_record_past_its_first_expiry<F: Fixture>(trial: &Trial<'_, F>) -> Checked {
    let touched = trial.prolonged(Prolonged::Touch, None).await?;
    trial.store.holds(&touched).await
}
