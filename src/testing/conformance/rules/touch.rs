//! Touch moves the times of a record and changes nothing else.

use super::set::TRIES;
use crate::record::{RecordParts, Version};
use crate::store::Touch;
use crate::testing::conformance::probe::{LONG, Probe, Prolonged, at_version, touched};
use crate::testing::conformance::verdict::Checked;

pub(super) async fn touch_moves_only_last_seen_and_expiry(probe: &Probe<'_>) -> Checked {
    let change = |parts: &mut RecordParts| {
        parts.realm = "admin".into();
        parts.owner = Some(probe.owner.as_str().into());
    };
    let mut record = probe.stored(change).await?;
    for seconds in [60, 120] {
        record = probe.touched(&record, probe.touch_after(seconds)).await?;
    }
    Ok(())
}

pub(super) async fn touch_of_another_version_does_nothing(probe: &Probe<'_>) -> Checked {
    let record = probe.stored(|parts| parts.version = Version::new(5)).await?;
    for version in [0, 1, 4, 6] {
        probe.store.ignores_touch(&at_version(&record, version), probe.touch_after(60)).await?;
        probe.store.holds(&record).await?;
    }
    Ok(())
}

pub(super) async fn touch_of_an_absent_record_creates_nothing(probe: &Probe<'_>) -> Checked {
    let (unknown, deleted) = (probe.record(|_| {}), probe.stored(|_| {}).await?);
    probe.store.deletes(&deleted).await?;
    for absent in [unknown, deleted] {
        probe.store.ignores_touch(&absent, probe.touch_after(60)).await?;
        probe.store.lacks(absent.id()).await?;
    }
    Ok(())
}

pub(super) async fn touch_never_moves_the_expiry_back(probe: &Probe<'_>) -> Checked {
    let mut record = probe.stored(|_| {}).await?;
    // The second touch has an expiry in the past.
    for earlier in [LONG / 2, LONG * 2] {
        let touch = Touch::new(record.last_seen(), record.expires_at() - earlier);
        record = probe.touched(&record, touch).await?;
    }
    Ok(())
}

pub(super) async fn touch_never_moves_last_seen_back(probe: &Probe<'_>) -> Checked {
    let record = probe.stored(|_| {}).await?;
    let touch = Touch::new(record.last_seen() - LONG, record.expires_at() + LONG);
    probe.touched(&record, touch).await?;
    Ok(())
}

pub(super) async fn touch_leaves_the_version_for_the_next_set(probe: &Probe<'_>) -> Checked {
    let record = probe.stored(|_| {}).await?;
    probe.store.touches(&record, probe.touch_after(60)).await?;
    let next = probe.replaced(&record, |_| {}).await?;
    probe.store.holds(&next).await
}

pub(super) async fn touch_keeps_a_record_past_its_first_expiry(probe: &Probe<'_>) -> Checked {
    let touched = probe.prolonged(Prolonged::Touch, None).await?;
    probe.store.holds(&touched).await
}

pub(super) async fn touch_of_the_record_as_read_moves_its_times(probe: &Probe<'_>) -> Checked {
    let (first, second) = (probe.owner.as_str(), probe.other_owner.as_str());
    let mut record = probe.stored_for(first).await?;
    for (seconds, owner) in [(60, Some(second)), (120, None), (180, Some(first))] {
        let moved = probe.given_to(&record, owner).await?;
        let (read, touch) = (probe.store.live(record.id()).await?, probe.touch_after(seconds));
        probe.store.touches(&read, touch).await?;
        record = touched(&moved, touch);
        probe.store.holds(&record).await?;
        probe.listed_only_by(owner, &record).await?;
    }
    Ok(())
}

pub(super) async fn touch_after_a_change_of_owner_does_nothing(probe: &Probe<'_>) -> Checked {
    let (first, second) = (probe.owner.as_str(), probe.other_owner.as_str());
    let mut record = probe.stored_for(first).await?;
    for owner in [Some(second), None, Some(first)] {
        let moved = probe.given_to(&record, owner).await?;
        probe.store.ignores_touch(&record, probe.touch_after(60)).await?;
        probe.store.holds(&moved).await?;
        probe.listed_only_by(owner, &moved).await?;
        record = moved;
    }
    Ok(())
}

pub(super) async fn another_connection_sees_a_touch(probe: &Probe<'_>) -> Checked {
    let (here, there) = (&probe.store, probe.fixture.another().await);
    let mut record = probe.stored(|_| {}).await?;
    there.holds(&record).await?;
    for number in 1..=TRIES {
        let touch = probe.touch_after(number * 60);
        here.touches(&record, touch).await?;
        record.touch(touch);
        there.holds(&record).await?;
    }
    Ok(())
}
