//! `owned_by` lists the live sessions of one owner.

use super::set::TRIES;
use crate::error::StoreErrorKind;
use crate::record::RecordParts;
use crate::store::{Expected, Outcome};
use crate::testing::conformance::probe::{LONG, Probe, Prolonged, next_for};
use crate::testing::conformance::verdict::{Checked, broken, ensure};

pub(super) async fn owned_by_without_an_index_is_unsupported(probe: &Probe<'_>) -> Checked {
    match probe.store.owned_by(&probe.owner).await {
        Err(error) if error.kind() == StoreErrorKind::Unsupported => Ok(()),
        answer => broken(format!("owned_by returned {answer:?}")),
    }
}

pub(super) async fn owned_by_lists_the_owners_sessions(probe: &Probe<'_>) -> Checked {
    let theirs = &probe.other_owner;
    let first = probe.owned().await?;
    let other = probe.stored_for(theirs).await?;
    probe.stored(|_| {}).await?;
    let second = probe.owned().await?;
    probe.lists([&first, &second]).await?;
    probe.store.lists(theirs, [&other]).await
}

pub(super) async fn owned_by_lists_the_oldest_first(probe: &Probe<'_>) -> Checked {
    let records = probe.unordered(20).await?;
    probe.lists(&records).await
}

pub(super) async fn owned_by_lists_whole_records(probe: &Probe<'_>) -> Checked {
    let first = probe.owned().await?;
    probe.lists([&first]).await?;
    let change = |parts: &mut RecordParts| {
        parts.realm = "admin".into();
        parts.expires_at += LONG;
    };
    let second = probe.replaced(&first, change).await?;
    probe.lists([&second]).await?;
    let touched = probe.touched(&second, probe.touch_after(7200)).await?;
    probe.lists([&touched]).await
}

pub(super) async fn owned_by_lists_sessions_of_every_realm(probe: &Probe<'_>) -> Checked {
    let mut sessions = Vec::new();
    for realm in ["id", "admin", "api"] {
        sessions.push(probe.stored_in(&probe.owner, realm).await?);
    }
    probe.lists(&sessions).await
}

pub(super) async fn owned_by_of_an_unknown_owner_is_empty(probe: &Probe<'_>) -> Checked {
    // Sessions that a wrong answer could list.
    probe.stored(|_| {}).await?;
    probe.owned().await?;
    probe.store.lists(&probe.other_owner, []).await
}

pub(super) async fn owned_by_lists_a_session_after_sign_in(probe: &Probe<'_>) -> Checked {
    let anonymous = probe.stored(|_| {}).await?;
    let signed_in = probe.given_to(&anonymous, Some(&probe.owner)).await?;
    probe.lists([&signed_in]).await
}

pub(super) async fn owned_by_follows_a_change_of_owner(probe: &Probe<'_>) -> Checked {
    let (first, second) = (probe.owner.as_str(), probe.other_owner.as_str());
    let mut record = probe.owned().await?;
    for owner in [Some(second), None, Some(first), Some(second)] {
        record = probe.given_to(&record, owner).await?;
        probe.listed_only_by(owner, &record).await?;
    }
    Ok(())
}

pub(super) async fn owned_by_lists_a_rewritten_session_once(probe: &Probe<'_>) -> Checked {
    let mut record = probe.owned().await?;
    for _ in 0..5 {
        let next = probe.replaced(&record, |_| {}).await?;
        probe.lists([&next]).await?;
        record = next;
    }
    Ok(())
}

pub(super) async fn owned_by_omits_deleted_sessions(probe: &Probe<'_>) -> Checked {
    let (kept, deleted) = (probe.owned().await?, probe.owned().await?);
    probe.store.deletes(&deleted).await?;
    probe.lists([&kept]).await?;
    // A new session with this id has no owner.
    probe.stored(|parts| parts.id = *deleted.id()).await?;
    probe.lists([&kept]).await?;
    probe.store.deletes(&kept).await?;
    probe.lists([]).await
}

pub(super) async fn owned_by_omits_expired_sessions(probe: &Probe<'_>) -> Checked {
    let live = probe.owned().await?;
    probe.expired(Some(&probe.owner)).await?;
    probe.lists([&live]).await
}

pub(super) async fn owned_by_omits_an_expired_id_that_was_replaced(probe: &Probe<'_>) -> Checked {
    let expired = probe.expired(Some(&probe.owner)).await?;
    let change = |parts: &mut RecordParts| {
        parts.id = *expired.id();
        parts.owner = Some(probe.other_owner.as_str().into());
    };
    let anew = probe.stored(change).await?;
    probe.listed_only_by(anew.owner(), &anew).await
}

pub(super) async fn owned_by_lists_touched_sessions(probe: &Probe<'_>) -> Checked {
    let touched = probe.prolonged(Prolonged::Touch, Some(&probe.owner)).await?;
    probe.lists([&touched]).await
}

pub(super) async fn a_refused_set_changes_no_list(probe: &Probe<'_>) -> Checked {
    let record = probe.owned().await?;
    let taken = next_for(&record, Some(&probe.other_owner));
    probe.store.refuses(&taken, Expected::Version(taken.version())).await?;
    probe.store.refuses(&taken, Expected::Absent).await?;
    probe.listed_only_by(record.owner(), &record).await
}

pub(super) async fn owned_by_omits_sessions_without_an_owner(probe: &Probe<'_>) -> Checked {
    let (anonymous, empty) = (probe.stored(|_| {}).await?, probe.stored_for("").await?);
    // The empty owner may have sessions outside this rule, so the rule looks only for its own.
    let listed = probe.store.owned_by("").await?;
    probe.store.deletes(&empty).await?;
    ensure(listed.iter().all(|listed| listed.id() != anonymous.id()), || {
        "owned_by of the empty owner listed a session without an owner".into()
    })?;
    ensure(listed.contains(&empty), || "owned_by of the empty owner did not list its session".into())
}

pub(super) async fn owned_by_lists_300_sessions(probe: &Probe<'_>) -> Checked {
    let mut records = Vec::new();
    for _ in 0..300 {
        records.push(probe.owned().await?);
    }
    probe.lists(&records).await
}

pub(super) async fn owned_by_is_exact_after_concurrent_sets(probe: &Probe<'_>) -> Checked {
    const WRITERS: usize = 3;
    let owners = [probe.owner.clone(), probe.other_owner.clone()];
    let mut sessions = Vec::new();
    for _ in 0..12 {
        sessions.push(probe.stored(|_| {}).await?);
    }
    // Each round is checked, since the next one could repair its errors.
    for round in 0..10 {
        let writers = sessions.iter().flat_map(|session| (0..WRITERS).map(move |writer| (session, writer)));
        let writers = writers.map(|(session, writer)| {
            let (store, id, owner) = (probe.store.clone(), *session.id(), owners.get((round + writer) % 3).cloned());
            async move {
                for _ in 0..WRITERS {
                    let current = store.live(&id).await?;
                    let moved = next_for(&current, owner.as_deref());
                    if store.set(&moved, Expected::Version(current.version())).await? == Outcome::Written {
                        return Ok(());
                    }
                }
                broken(format!("a set was refused {WRITERS} times, though the other writers wrote once each"))
            }
        });
        probe.at_once(writers).await?;
        for session in &mut sessions {
            *session = probe.store.live(session.id()).await?;
        }
        for owner in &owners {
            probe.store.lists(owner, sessions.iter().filter(|record| record.owner() == Some(owner))).await?;
        }
    }
    Ok(())
}

pub(super) async fn another_connection_lists_the_owners_sessions(probe: &Probe<'_>) -> Checked {
    let (here, there) = (&probe.store, probe.fixture.another().await);
    let owner = &probe.owner;
    for _ in 0..TRIES {
        there.lists(owner, []).await?;
        let record = probe.owned().await?;
        there.lists(owner, [&record]).await?;
        there.replace(&record, &next_for(&record, None)).await?;
        here.lists(owner, []).await?;
    }
    Ok(())
}

/// Checks that each owner has only the session that is written for it.
async fn distinct(probe: &Probe<'_>, owners: &[String]) -> Checked {
    let mut records = Vec::new();
    for owner in owners {
        records.push(probe.stored_for(owner).await?);
    }
    for (owner, record) in owners.iter().zip(&records) {
        probe.store.lists(owner, [record]).await?;
    }
    Ok(())
}

/// Checks that these owners, after one unique prefix, have one session each.
pub(super) async fn owners_are_distinct(probe: &Probe<'_>, owners: &[&str]) -> Checked {
    let owners: Vec<_> = owners.iter().map(|owner| format!("{}{owner}", probe.owner)).collect();
    distinct(probe, &owners).await
}

pub(super) async fn owners_differ_by_spaces(probe: &Probe<'_>) -> Checked {
    let name = &probe.owner;
    let after = ["", " ", "  ", "\t", "\u{a0}"].map(|space| format!("{name}{space}"));
    let before = [" ", "\t"].map(|space| format!("{space}{name}"));
    distinct(probe, &[&after[..], &before].concat()).await
}

pub(super) async fn long_owners_differ_by_their_last_character(probe: &Probe<'_>) -> Checked {
    let name = format!("{}{}", probe.owner, "u".repeat(300));
    distinct(probe, &["1", "2", "", "22"].map(|last| format!("{name}{last}"))).await
}
