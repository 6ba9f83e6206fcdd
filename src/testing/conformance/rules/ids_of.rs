//! `ids_of` returns the ids of the live sessions of one owner.

use super::set::TRIES;
use crate::error::StoreErrorKind;
use crate::testing::conformance::probe::Probe;
use crate::testing::conformance::verdict::{Checked, broken};

pub(super) async fn ids_of_without_an_index_is_unsupported(probe: &Probe<'_>) -> Checked {
    match probe.store.ids_of(&probe.owner, None).await {
        Err(error) if error.kind() == StoreErrorKind::Unsupported => Ok(()),
        answer => broken(format!("ids_of returned {answer:?}")),
    }
}

pub(super) async fn ids_of_returns_the_owners_sessions(probe: &Probe<'_>) -> Checked {
    let ours = [probe.owned().await?, probe.owned().await?, probe.stored_in(&probe.owner, "admin").await?];
    let theirs = probe.stored_for(&probe.other_owner).await?;
    probe.stored(|_| {}).await?;
    probe.store.has_ids(&probe.owner, None, &ours).await?;
    probe.store.has_ids(&probe.other_owner, None, [&theirs]).await
}

pub(super) async fn ids_of_returns_the_smallest_first(probe: &Probe<'_>) -> Checked {
    let records = probe.unordered(20).await?;
    probe.store.has_ids(&probe.owner, None, &records).await?;
    probe.store.has_ids(&probe.owner, Some("id"), &records).await
}

pub(super) async fn ids_of_a_realm_omits_the_others(probe: &Probe<'_>) -> Checked {
    let mut sessions = Vec::new();
    for realm in ["id", "admin", "Admin", "admin2", "adm%", "id"] {
        sessions.push(probe.stored_in(&probe.owner, realm).await?);
    }
    probe.stored_in(&probe.other_owner, "admin").await?;
    for realm in ["unknown", "admin", "adm%", "id", ""] {
        let due = sessions.iter().filter(|record| record.realm() == realm);
        probe.store.has_ids(&probe.owner, Some(realm), due).await?;
    }
    Ok(())
}

pub(super) async fn ids_of_an_unknown_owner_is_empty(probe: &Probe<'_>) -> Checked {
    // Sessions that a wrong answer could list.
    probe.stored(|_| {}).await?;
    probe.owned().await?;
    probe.store.has_ids(&probe.other_owner, None, []).await
}

pub(super) async fn ids_of_follows_a_change_of_owner(probe: &Probe<'_>) -> Checked {
    let (first, second) = (probe.owner.as_str(), probe.other_owner.as_str());
    let mut record = probe.stored(|_| {}).await?;
    for owner in [Some(first), Some(second), None, Some(first)] {
        record = probe.given_to(&record, owner).await?;
        for listed in [first, second] {
            probe.store.has_ids(listed, None, (owner == Some(listed)).then_some(&record)).await?;
        }
    }
    Ok(())
}

pub(super) async fn ids_of_omits_deleted_and_expired_sessions(probe: &Probe<'_>) -> Checked {
    let (live, deleted) = (probe.owned().await?, probe.owned().await?);
    probe.store.deletes(&deleted).await?;
    probe.expired(Some(&probe.owner)).await?;
    probe.store.has_ids(&probe.owner, None, [&live]).await?;
    probe.store.has_ids(&probe.owner, Some(live.realm()), [&live]).await
}

pub(super) async fn ids_of_compares_owners_by_bytes(probe: &Probe<'_>) -> Checked {
    let owners = ["", "x", "X", " ", "é", "e\u{301}", "_", "%", "*"].map(|end| format!("{}{end}", probe.owner));
    let mut sessions = Vec::new();
    for owner in &owners {
        sessions.push(probe.stored_for(owner).await?);
    }
    for (owner, session) in owners.iter().zip(&sessions) {
        probe.store.has_ids(owner, None, [session]).await?;
    }
    Ok(())
}

pub(super) async fn ids_of_returns_300_sessions(probe: &Probe<'_>) -> Checked {
    let records = probe.many_owned(300).await?;
    probe.store.has_ids(&probe.owner, None, &records).await?;
    probe.store.has_ids(&probe.owner, Some("id"), &records).await
}

pub(super) async fn ids_of_changes_nothing(probe: &Probe<'_>) -> Checked {
    let records = probe.many_owned(3).await?;
    for realm in [None, Some("id"), Some("unknown")] {
        probe.store.ids_of(&probe.owner, realm).await?;
        for record in &records {
            probe.store.holds(record).await?;
        }
        probe.lists(&records).await?;
    }
    Ok(())
}

pub(super) async fn another_connection_sees_ids_of(probe: &Probe<'_>) -> Checked {
    let there = probe.fixture.another().await;
    for _ in 0..TRIES {
        there.has_ids(&probe.owner, None, []).await?;
        let record = probe.owned().await?;
        there.has_ids(&probe.owner, None, [&record]).await?;
        probe.store.deletes(&record).await?;
    }
    Ok(())
}
