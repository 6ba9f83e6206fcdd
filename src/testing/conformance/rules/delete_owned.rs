//! `delete_owned_by` deletes the live sessions of one owner and returns their ids.

use futures_util::FutureExt;

use super::set::TRIES;
use crate::error::StoreErrorKind;
use crate::store::Expected;
use crate::testing::conformance::connection::are_ids_of;
use crate::testing::conformance::probe::{Probe, next};
use crate::testing::conformance::verdict::{Checked, broken};

pub(super) async fn delete_owned_by_without_an_index_is_unsupported(probe: &Probe<'_>) -> Checked {
    match probe.store.delete_owned_by(&probe.owner, None, None).await {
        Err(error) if error.kind() == StoreErrorKind::Unsupported => Ok(()),
        answer => broken(format!("delete_owned_by returned {answer:?}")),
    }
}

pub(super) async fn delete_owned_by_deletes_the_owners_sessions(probe: &Probe<'_>) -> Checked {
    let ours = [probe.owned().await?, probe.owned().await?, probe.stored_in(&probe.owner, "admin").await?];
    let (theirs, anonymous) = (probe.stored_for(&probe.other_owner).await?, probe.stored(|_| {}).await?);
    probe.store.deletes_owned_by(&probe.owner, None, None, &ours).await?;
    probe.lists([]).await?;
    for other in [&theirs, &anonymous] {
        probe.store.holds(other).await?;
    }
    probe.store.lists(&probe.other_owner, [&theirs]).await
}

pub(super) async fn delete_owned_by_of_a_realm_leaves_the_others(probe: &Probe<'_>) -> Checked {
    let mut sessions = Vec::new();
    for realm in ["id", "admin", "Admin", "admin2", "adm%", "id"] {
        sessions.push(probe.stored_in(&probe.owner, realm).await?);
    }
    for realm in ["unknown", "admin", "adm%", "id"] {
        let (due, left): (Vec<_>, Vec<_>) = sessions.into_iter().partition(|record| record.realm() == realm);
        probe.store.deletes_owned_by(&probe.owner, Some(realm), None, &due).await?;
        probe.lists(&left).await?;
        sessions = left;
    }
    Ok(())
}

pub(super) async fn delete_owned_by_keeps_the_given_session(probe: &Probe<'_>) -> Checked {
    let theirs = probe.stored_for(&probe.other_owner).await?;
    let sessions = probe.many_owned(5).await?;
    let (kept, others) = (&sessions[2], [&sessions[..2], &sessions[3..]].concat());
    probe.store.deletes_owned_by(&probe.owner, None, Some(kept.id()), &others).await?;
    probe.store.holds(kept).await?;
    probe.lists([kept]).await?;
    probe.store.deletes_owned_by(&probe.owner, Some(kept.realm()), Some(kept.id()), &[]).await?;
    // The id of another owner's session keeps none.
    probe.store.deletes_owned_by(&probe.owner, None, Some(theirs.id()), std::slice::from_ref(kept)).await?;
    probe.store.holds(&theirs).await
}

pub(super) async fn delete_owned_by_of_an_unknown_owner_is_empty(probe: &Probe<'_>) -> Checked {
    let (anonymous, ours) = (probe.stored(|_| {}).await?, probe.owned().await?);
    probe.store.deletes_owned_by(&probe.other_owner, None, None, &[]).await?;
    probe.store.holds(&anonymous).await?;
    probe.store.holds(&ours).await?;
    probe.store.deletes_owned_by(&probe.owner, None, None, &[ours]).await?;
    probe.store.deletes_owned_by(&probe.owner, None, None, &[]).await
}

pub(super) async fn delete_owned_by_follows_a_change_of_owner(probe: &Probe<'_>) -> Checked {
    let (first, second) = (probe.owner.as_str(), probe.other_owner.as_str());
    let given = probe.given_to(&probe.owned().await?, Some(second)).await?;
    let taken = probe.given_to(&probe.stored_for(second).await?, None).await?;
    probe.store.deletes_owned_by(first, None, None, &[]).await?;
    probe.store.holds(&given).await?;
    probe.store.deletes_owned_by(second, None, None, &[given]).await?;
    probe.store.holds(&taken).await
}

pub(super) async fn delete_owned_by_omits_expired_sessions(probe: &Probe<'_>) -> Checked {
    let live = probe.owned().await?;
    probe.expired(Some(&probe.owner)).await?;
    probe.store.deletes_owned_by(&probe.owner, None, None, &[live]).await
}

pub(super) async fn delete_owned_by_compares_owners_by_bytes(probe: &Probe<'_>) -> Checked {
    let owners = ["", "x", "X", " ", "é", "e\u{301}", "_", "%", "*"].map(|end| format!("{}{end}", probe.owner));
    let mut sessions = Vec::new();
    for owner in &owners {
        sessions.push(probe.stored_for(owner).await?);
    }
    for (place, owner) in owners.iter().enumerate() {
        probe.store.deletes_owned_by(owner, None, None, &sessions[place..=place]).await?;
        for left in &sessions[place + 1..] {
            probe.store.holds(left).await?;
        }
    }
    Ok(())
}

pub(super) async fn delete_owned_by_deletes_300_sessions(probe: &Probe<'_>) -> Checked {
    let sessions = probe.many_owned(300).await?;
    probe.store.deletes_owned_by(&probe.owner, Some("id"), None, &sessions).await?;
    probe.lists([]).await
}

pub(super) async fn delete_owned_by_frees_the_ids(probe: &Probe<'_>) -> Checked {
    let sessions = probe.many_owned(2).await?;
    probe.store.deletes_owned_by(&probe.owner, None, None, &sessions).await?;
    for deleted in &sessions {
        probe.store.refuses(&next(deleted, |_| {}), Expected::Version(deleted.version())).await?;
        let keeping_times = Expected::VersionKeepingTimes(deleted.version());
        probe.store.refuses(&next(deleted, |_| {}), keeping_times).await?;
        probe.store.ignores_touch(deleted, probe.touch_after(60)).await?;
        probe.store.ignores_delete(deleted).await?;
    }
    let anew = probe.stored(|parts| parts.id = *sessions[0].id()).await?;
    probe.store.holds(&anew).await?;
    probe.lists([]).await
}

pub(super) async fn another_connection_sees_delete_owned_by(probe: &Probe<'_>) -> Checked {
    let there = probe.fixture.another().await;
    for _ in 0..TRIES {
        let sessions = probe.many_owned(2).await?;
        there.lists(&probe.owner, &sessions).await?;
        probe.store.deletes_owned_by(&probe.owner, None, None, &sessions).await?;
        there.lacks_all(&sessions).await?;
        there.lists(&probe.owner, []).await?;
    }
    Ok(())
}

pub(super) async fn a_set_during_delete_owned_by_revives_nothing(probe: &Probe<'_>) -> Checked {
    let there = probe.fixture.another().await;
    for _ in 0..TRIES {
        let sessions = probe.many_owned(4).await?;
        let sets = sessions.iter().flat_map(|record| {
            let expected = [Expected::Version(record.version()), Expected::VersionKeepingTimes(record.version())];
            expected.map(|expected| {
                let (store, record) = (probe.store.clone(), record.clone());
                async move {
                    // Written before the delete or refused after it: both are right.
                    let _ = store.set(&next(&record, |_| {}), expected).await?;
                    Ok(Vec::new())
                }
                .boxed()
            })
        });
        let (there, owner) = (there.clone(), probe.owner.clone());
        let delete = async move { Ok(there.delete_owned_by(&owner, None, None).await?) }.boxed();
        let calls: Vec<_> = sets.chain([delete]).collect();
        let deleted = probe.at_once(calls).await?.concat();
        are_ids_of(&deleted, &sessions)?;
        probe.store.lacks_all(&sessions).await?;
        probe.lists([]).await?;
    }
    Ok(())
}

pub(super) async fn delete_owned_by_returns_each_id_once(probe: &Probe<'_>) -> Checked {
    let connections = [probe.store.clone(), probe.fixture.another().await];
    for _ in 0..TRIES {
        let sessions = probe.many_owned(10).await?;
        let calls = (0..4).map(|call| {
            let (store, owner) = (connections[call % 2].clone(), probe.owner.clone());
            async move { Ok(store.delete_owned_by(&owner, None, None).await?) }
        });
        let deleted = probe.at_once(calls).await?.concat();
        are_ids_of(&deleted, &sessions)?;
    }
    Ok(())
}
