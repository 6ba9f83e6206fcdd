//! `summaries_of` returns versions and times, and `ping` nothing.

use std::time::Duration;

use super::set::TRIES;
use crate::record::RecordParts;
use crate::testing::conformance::probe::{LONG, Probe};
use crate::testing::conformance::verdict::Checked;
use crate::token::SessionId;

pub(super) async fn summaries_of_returns_versions_and_times(probe: &Probe<'_>) -> Checked {
    let written = probe.owned().await?;
    let id = *written.id();
    probe.store.summarizes(&[id], &[Some(&written)]).await?;
    let change = |parts: &mut RecordParts| {
        parts.owner = None;
        parts.realm = "admin".into();
        parts.expires_at += LONG;
    };
    let replaced = probe.replaced(&written, change).await?;
    probe.store.summarizes(&[id], &[Some(&replaced)]).await?;
    let touched = probe.touched(&replaced, probe.touch_after(7200)).await?;
    probe.store.summarizes(&[id], &[Some(&touched)]).await
}

pub(super) async fn summaries_of_answers_in_the_order_of_the_ids(probe: &Probe<'_>) -> Checked {
    let mut records = Vec::new();
    for seconds in [5, 3, 8, 1, 9, 2] {
        records.push(probe.stored(|parts| parts.expires_at += Duration::from_secs(seconds)).await?);
    }
    let ids: Vec<SessionId> = records.iter().map(|record| *record.id()).collect();
    let due: Vec<_> = records.iter().map(Some).collect();
    probe.store.summarizes(&ids, &due).await?;
    let (ids, due): (Vec<_>, Vec<_>) = ids.into_iter().zip(due).rev().unzip();
    probe.store.summarizes(&ids, &due).await
}

pub(super) async fn summaries_of_answers_each_id(probe: &Probe<'_>) -> Checked {
    let (one, other) = (probe.stored(|_| {}).await?, probe.stored(|parts| parts.expires_at += LONG).await?);
    probe.store.summarizes(&[], &[]).await?;
    let ids = [one.id(), other.id(), one.id(), one.id()].map(|id| *id);
    probe.store.summarizes(&ids, &[Some(&one), Some(&other), Some(&one), Some(&one)]).await
}

pub(super) async fn summaries_of_an_absent_record_is_none(probe: &Probe<'_>) -> Checked {
    let (live, deleted, unknown) = (probe.stored(|_| {}).await?, probe.owned().await?, probe.record(|_| {}));
    probe.store.deletes(&deleted).await?;
    let expired = probe.expired(None).await?;
    let ids = [unknown.id(), deleted.id(), live.id(), expired.id()].map(|id| *id);
    probe.store.summarizes(&ids, &[None, None, Some(&live), None]).await
}

pub(super) async fn summaries_of_answers_1000_ids(probe: &Probe<'_>) -> Checked {
    let mut records = Vec::new();
    let mut due = Vec::new();
    for place in 0..1_000 {
        let is_stored = place % 100 == 99;
        records.push(if is_stored { probe.stored(|_| {}).await? } else { probe.record(|_| {}) });
        due.push(is_stored);
    }
    let ids: Vec<SessionId> = records.iter().map(|record| *record.id()).collect();
    let due: Vec<_> = records.iter().zip(due).map(|(record, is_stored)| is_stored.then_some(record)).collect();
    probe.store.summarizes(&ids, &due).await
}

pub(super) async fn summaries_of_changes_nothing(probe: &Probe<'_>) -> Checked {
    let (record, unknown) = (probe.owned().await?, probe.record(|_| {}));
    for _ in 0..2 {
        probe.store.summaries_of(&[*record.id(), *unknown.id()]).await?;
        probe.store.holds(&record).await?;
        probe.store.lacks(unknown.id()).await?;
        probe.lists([&record]).await?;
    }
    Ok(())
}

pub(super) async fn another_connection_sees_summaries_of(probe: &Probe<'_>) -> Checked {
    let there = probe.fixture.another().await;
    for _ in 0..TRIES {
        let record = probe.stored(|_| {}).await?;
        let id = *record.id();
        there.summarizes(&[id], &[Some(&record)]).await?;
        let next = probe.replaced(&record, |_| {}).await?;
        there.summarizes(&[id], &[Some(&next)]).await?;
        probe.store.deletes(&next).await?;
        there.summarizes(&[id], &[None]).await?;
    }
    Ok(())
}

pub(super) async fn ping_succeeds_and_changes_nothing(probe: &Probe<'_>) -> Checked {
    let record = probe.owned().await?;
    for _ in 0..2 {
        probe.store.ping().await?;
        probe.store.holds(&record).await?;
        probe.lists([&record]).await?;
    }
    Ok(())
}
