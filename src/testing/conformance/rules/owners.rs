//! `owned_by` lists the live sessions of one owner.

use super::set::TRIES;
use crate::error::StoreErrorKind;
use crate::store::{Expected, Outcome};
use crate::testing::conformance::probe::{LONG, Probe, Prolonged, next_for, touched};
use crate::testing::conformance::verdict::{Checked, broken, ensure};

pub(super) async fn owned_by_without_an_index_is_unsupported(probe: &Probe<'_>) -> Checked {
    match probe.store.store().owned_by(&probe.owner("user:1")).await {
        Err(error) if error.kind() == StoreErrorKind::Unsupported => Ok(()),
        answer => broken(format!("owned_by returned {answer:?}")),
    }
}

pub(super) async fn owned_by_lists_the_owners_sessions(probe: &Probe<'_>) -> Checked {
    let (ours, theirs) = (probe.owner("user:1"), probe.owner("user:2"));
    let first = probe.stored_for(&ours).await?;
    let other = probe.stored_for(&theirs).await?;
    probe.stored(|_| {}).await?;
    let second = probe.stored_for(&ours).await?;
    probe.store.lists(&ours, [&first, &second]).await?;
    probe.store.lists(&theirs, [&other]).await
}

pub(super) async fn owned_by_lists_the_oldest_first(probe: &Probe<'_>) -> Checked {
    let owner = probe.owner("user:1");
    let mut records: Vec<_> =
        (0..20).map(|_| probe.record(|parts| parts.owner = Some(owner.as_str().into()))).collect();
    records.sort_unstable_by_key(|record| *record.id());
    // Every third record, in rounds: neither first to last nor last to first.
    for place in 0..records.len() {
        probe.store.create(&records[place * 3 % records.len()]).await?;
    }
    probe.store.lists(&owner, &records).await
}

pub(super) async fn owned_by_lists_whole_records(probe: &Probe<'_>) -> Checked {
    let owner = probe.owner("user:1");
    let first = probe.stored_for(&owner).await?;
    probe.store.lists(&owner, [&first]).await?;
    let second = probe.replaced(&first, |parts| parts.expires_at += LONG).await?;
    probe.store.lists(&owner, [&second]).await?;
    let touch = probe.touch_after(7200);
    probe.store.touches(&second, touch).await?;
    probe.store.lists(&owner, [&touched(second, touch)]).await
}

pub(super) async fn owned_by_of_an_unknown_owner_is_empty(probe: &Probe<'_>) -> Checked {
    // Sessions that a wrong answer could list.
    probe.stored(|_| {}).await?;
    probe.stored_for(&probe.owner("user:1")).await?;
    probe.store.lists(&probe.owner("unknown"), []).await
}

pub(super) async fn owned_by_lists_a_session_after_sign_in(probe: &Probe<'_>) -> Checked {
    let owner = probe.owner("user:1");
    let anonymous = probe.stored(|_| {}).await?;
    let signed_in = probe.given_to(&anonymous, Some(&owner)).await?;
    probe.store.lists(&owner, [&signed_in]).await
}

pub(super) async fn owned_by_follows_a_change_of_owner(probe: &Probe<'_>) -> Checked {
    let (first, second) = (probe.owner("user:1"), probe.owner("user:2"));
    let mut record = probe.stored_for(&first).await?;
    for owner in [Some(&second), None, Some(&first), Some(&second)] {
        let moved = probe.given_to(&record, owner.map(String::as_str)).await?;
        for listed in [&first, &second] {
            probe.store.lists(listed, (owner == Some(listed)).then_some(&moved)).await?;
        }
        record = moved;
    }
    Ok(())
}

pub(super) async fn owned_by_lists_a_rewritten_session_once(probe: &Probe<'_>) -> Checked {
    let owner = probe.owner("user:1");
    let mut record = probe.stored_for(&owner).await?;
    for _ in 0..5 {
        let next = probe.replaced(&record, |_| {}).await?;
        probe.store.lists(&owner, [&next]).await?;
        record = next;
    }
    Ok(())
}

pub(super) async fn owned_by_omits_deleted_sessions(probe: &Probe<'_>) -> Checked {
    let owner = probe.owner("user:1");
    let (kept, deleted) = (probe.stored_for(&owner).await?, probe.stored_for(&owner).await?);
    probe.store.deletes(&deleted).await?;
    probe.store.lists(&owner, [&kept]).await?;
    // A new session with this id has no owner.
    probe.stored(|parts| parts.id = *deleted.id()).await?;
    probe.store.lists(&owner, [&kept]).await?;
    probe.store.deletes(&kept).await?;
    probe.store.lists(&owner, []).await
}

pub(super) async fn owned_by_omits_expired_sessions(probe: &Probe<'_>) -> Checked {
    let owner = probe.owner("user:1");
    let live = probe.stored_for(&owner).await?;
    probe.expired(Some(&owner)).await?;
    probe.store.lists(&owner, [&live]).await
}

pub(super) async fn owned_by_omits_an_expired_id_that_was_replaced(probe: &Probe<'_>) -> Checked {
    let (first, second) = (probe.owner("user:1"), probe.owner("user:2"));
    let expired = probe.expired(Some(&first)).await?;
    let anew = probe.record(|parts| {
        parts.id = *expired.id();
        parts.owner = Some(second.as_str().into());
    });
    probe.store.create(&anew).await?;
    probe.store.lists(&first, []).await?;
    probe.store.lists(&second, [&anew]).await
}

pub(super) async fn owned_by_lists_touched_sessions(probe: &Probe<'_>) -> Checked {
    let owner = probe.owner("user:1");
    let touched = probe.prolonged(Prolonged::Touch, Some(&owner)).await?;
    probe.store.lists(&owner, [&touched]).await
}

pub(super) async fn a_refused_set_changes_no_list(probe: &Probe<'_>) -> Checked {
    let (ours, theirs) = (probe.owner("user:1"), probe.owner("user:2"));
    let record = probe.stored_for(&ours).await?;
    let taken = next_for(&record, Some(&theirs));
    probe.store.refuses(&taken, Expected::Version(taken.version())).await?;
    probe.store.refuses(&taken, Expected::Absent).await?;
    probe.store.lists(&theirs, []).await?;
    probe.store.lists(&ours, [&record]).await
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
    let owner = probe.owner("user:1");
    let mut records = Vec::new();
    for _ in 0..300 {
        records.push(probe.stored_for(&owner).await?);
    }
    probe.store.lists(&owner, &records).await
}

pub(super) async fn owned_by_is_exact_after_concurrent_sets(probe: &Probe<'_>) -> Checked {
    const WRITERS: usize = 3;
    let owners = [probe.owner("user:1"), probe.owner("user:2")];
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
    let (here, there) = (&probe.store, probe.another().await);
    let owner = probe.owner("user:1");
    for _ in 0..TRIES {
        there.lists(&owner, []).await?;
        let record = probe.stored_for(&owner).await?;
        there.lists(&owner, [&record]).await?;
        there.replace(&record, &next_for(&record, None)).await?;
        here.lists(&owner, []).await?;
    }
    Ok(())
}

/// Writes a session for each owner; each owner must have exactly that session.
async fn distinct<'a>(probe: &Probe<'_>, name: &str, forms: impl IntoIterator<Item = &'a str>) -> Checked {
    let mut records = Vec::new();
    for form in forms {
        records.push(probe.stored_for(&format!("{name}{form}")).await?);
    }
    for record in &records {
        probe.store.lists(record.owner().unwrap_or_default(), [record]).await?;
    }
    Ok(())
}

pub(super) async fn owners_differ_by_case(probe: &Probe<'_>) -> Checked {
    distinct(probe, &probe.owner(""), ["User:1", "user:1", "USER:1", "ΣΣ", "σς"]).await
}

pub(super) async fn owners_differ_by_spaces(probe: &Probe<'_>) -> Checked {
    let name = probe.owner("user");
    distinct(probe, &name, ["", " ", "  ", "\t", "\u{a0}"]).await?;
    distinct(probe, "", [format!(" {name}"), format!("\t{name}")].iter().map(String::as_str)).await
}

pub(super) async fn owners_differ_by_accents_and_composition(probe: &Probe<'_>) -> Checked {
    let forms = ["renee", "renée", "rene\u{301}e", "strasse", "straße", "ﬁ", "fi", "i", "ı", "a\u{200b}", "a"];
    distinct(probe, &probe.owner(""), forms).await
}

pub(super) async fn wildcards_in_an_owner_match_only_themselves(probe: &Probe<'_>) -> Checked {
    let forms = ["user", "%", "_ser", "u%", "*", "u*", "?ser", "[a-z]ser", "u.*", "us\\er"];
    distinct(probe, &probe.owner(""), forms).await
}

pub(super) async fn long_owners_differ_by_their_last_character(probe: &Probe<'_>) -> Checked {
    distinct(probe, &probe.owner(&"u".repeat(300)), ["1", "2", "", "22"]).await
}

pub(super) async fn a_prefix_of_an_owner_is_another_owner(probe: &Probe<'_>) -> Checked {
    distinct(probe, &probe.owner("user:1"), ["", "2", ":admin", ":", "\u{1}"]).await
}
